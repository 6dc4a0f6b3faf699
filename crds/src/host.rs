//! What plugins run with: the versions of the dashboard and of the cluster, and what a plugin asks of them.

use std::fmt;

use semver::Version;

use crate::Requirement;

/// The versions that plugins of this cluster run with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// Of Kite Plugins.
    pub kite: Version,
    /// Of the API server.
    pub kubernetes: Version,
}

/// The API server gave a version that is none.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the API server's version {text:?}")]
pub struct HostVersionError {
    text: String,
    source: semver::Error,
}

impl Host {
    /// Reads the `gitVersion` of the API server's `/version`: `v1.34.4-gke.100`, `v1.33.1+k3s1`, `v1.32.0-eks-abc`.
    /// What stands behind the three numbers is the distribution's own, no pre-release and often no semantic version at
    /// all.
    pub fn kubernetes_version(git_version: &str) -> Result<Version, HostVersionError> {
        let numbers = git_version.strip_prefix('v').unwrap_or(git_version);
        let numbers = numbers.split(['-', '+']).next().unwrap_or_default();
        Version::parse(numbers).map_err(|source| HostVersionError {
            text: git_version.chars().take(80).collect(),
            source,
        })
    }
}

/// One of the things that a plugin runs with.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HostPart {
    Kite,
    Kubernetes,
}

/// A version that a plugin cannot run with. Shown, it is a text a person can act on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unmet {
    pub part: HostPart,
    pub required: Requirement,
    pub found: Version,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { required, found, .. } = self;
        match self.part {
            HostPart::Kite => write!(f, "needs Kite Plugins {required}, this is {found}: "),
            HostPart::Kubernetes => write!(f, "needs Kubernetes {required}, this cluster has {found}: "),
        }?;
        f.write_str("take a version of the plugin that runs with it, or change spec.compatibility if it does")
    }
}

/// What of the host is not as a plugin's `compatibility` asks.
pub fn unmet(kite: Option<&Requirement>, kubernetes: Option<&Requirement>, host: &Host) -> Vec<Unmet> {
    let parts = [
        (HostPart::Kite, kite, &host.kite),
        (HostPart::Kubernetes, kubernetes, &host.kubernetes),
    ];
    let unmet = parts.into_iter().filter_map(|(part, required, found)| {
        let required = required.filter(|required| !required.matches_host(found))?;
        Some(Unmet {
            part,
            required: required.clone(),
            found: found.clone(),
        })
    });
    unmet.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(text: &str) -> Requirement {
        Requirement::parse(text).unwrap()
    }

    fn host() -> Host {
        Host {
            kite: Version::new(0, 2, 0),
            kubernetes: Host::kubernetes_version("v1.29.4-gke.100").unwrap(),
        }
    }

    #[test]
    fn the_version_of_every_distribution_is_read() {
        for (text, numbers) in [
            ("v1.34.4", (1, 34, 4)),
            ("v1.34.4-gke.100", (1, 34, 4)),
            ("v1.33.1+k3s1", (1, 33, 1)),
            ("v1.32.0-eks-abc", (1, 32, 0)),
            ("v1.31.0-eks.007", (1, 31, 0)),
            ("v1.35.0-alpha.1.12+0a1b2c-dirty", (1, 35, 0)),
            ("1.30.2", (1, 30, 2)),
        ] {
            let (major, minor, patch) = numbers;
            assert_eq!(
                Host::kubernetes_version(text).unwrap(),
                Version::new(major, minor, patch),
                "{text}"
            );
        }
    }

    #[test]
    fn a_version_that_is_none_is_refused() {
        for text in ["", "v", "v1.30", "v1.30+", "vv1.30.0", "v1.30.x", "latest", " v1.30.0"] {
            let error = Host::kubernetes_version(text).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("failed to read the API server's version {text:?}")
            );
        }
    }

    #[test]
    fn nothing_is_unmet_where_nothing_is_asked_or_all_is_there() {
        assert_eq!(unmet(None, None, &host()), []);
        assert_eq!(
            unmet(Some(&requirement(">=0.1")), Some(&requirement("1.29.4")), &host()),
            []
        );
    }

    #[test]
    fn each_side_that_is_unmet_says_what_was_asked_and_what_is_there() {
        let unmet = unmet(Some(&requirement("^0.1")), Some(&requirement(">=1.30")), &host());
        let messages: Vec<String> = unmet.iter().map(Unmet::to_string).collect();
        assert_eq!(
            messages,
            [
                "needs Kite Plugins ^0.1, this is 0.2.0: take a version of the plugin that runs with it, or change \
                 spec.compatibility if it does",
                "needs Kubernetes >=1.30, this cluster has 1.29.4: take a version of the plugin that runs with it, or \
                 change spec.compatibility if it does",
            ]
        );
    }
}
