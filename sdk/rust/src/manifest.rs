//! What the plugin's own `plugin.yaml` says.

use kite_api::{KitePlugin, Permission};
use semver::Version;

/// Why the embedded `plugin.yaml` is no good.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not YAML, or not a `KitePlugin`.
    #[error("failed to parse it")]
    Parse(#[source] serde_saphyr::Error),
    /// `spec.version` is not a semantic version.
    #[error("failed to accept spec.version, {version:?}, which must be three numbers as 1.2.3 is")]
    Version {
        /// The version that stands there.
        version: String,
        /// The cause.
        source: semver::Error,
    },
    /// `spec.permissions` is longer than an object's may be.
    #[error(
        "failed to accept spec.permissions: there are {0}, the limit is {MAX_PERMISSIONS}, so join those that differ in one list only"
    )]
    Permissions(usize),
}

/// Most rules of a grant.
const MAX_PERMISSIONS: usize = 32;

/// What the plugin says of itself by it.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) version: Version,
    pub(crate) permissions: Vec<Permission>,
    /// The web file by which its pages begin, if it has pages.
    pub(crate) remote_entry: Option<String>,
}

/// Reads the text of a `plugin.yaml`.
pub(crate) fn read(text: &str) -> Result<Manifest, ManifestError> {
    // One sentence: the place is told, and who reads it has the file.
    let options = serde_saphyr::options! { with_snippet: false };
    let plugin: KitePlugin = serde_saphyr::from_str_with_options(text, options).map_err(ManifestError::Parse)?;
    let spec = plugin.spec;
    let version = spec.version;
    let version = Version::parse(&version).map_err(|source| ManifestError::Version { version, source })?;
    if spec.permissions.len() > MAX_PERMISSIONS {
        return Err(ManifestError::Permissions(spec.permissions.len()));
    }
    Ok(Manifest {
        version,
        permissions: spec.permissions,
        remote_entry: spec.frontend.map(|frontend| frontend.remote_entry),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "{apiGroups: [''], resources: [pods], verbs: [get]}";

    fn of(spec: &str) -> Result<Manifest, ManifestError> {
        read(&format!(
            "apiVersion: kite.dev/v1alpha1\nkind: KitePlugin\nmetadata: {{name: a}}\nspec: {spec}"
        ))
    }

    #[test]
    fn what_the_plugin_says_of_itself_is_read() {
        let manifest = of(&format!(
            "{{version: 1.2.3-rc.1, image: a, permissions: [{RULE}], frontend: {{remoteEntry: a.js}}}}"
        ))
        .unwrap();
        assert_eq!(manifest.version.to_string(), "1.2.3-rc.1");
        assert_eq!(manifest.permissions.len(), 1);
        assert_eq!(manifest.remote_entry.as_deref(), Some("a.js"));
    }

    #[test]
    fn a_bad_manifest_is_refused_for_each_of_its_reasons() {
        assert!(matches!(of("["), Err(ManifestError::Parse(_))));
        assert!(matches!(of("{image: a}"), Err(ManifestError::Parse(_))));
        assert!(matches!(
            of("{version: one, image: a}"),
            Err(ManifestError::Version { .. })
        ));
        let many = [RULE; 33].join(", ");
        assert!(matches!(
            of(&format!("{{version: 1.0.0, image: a, permissions: [{many}]}}")),
            Err(ManifestError::Permissions(33))
        ));
    }
}
