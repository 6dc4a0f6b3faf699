//! What the plugin's own `plugin.yaml` says.

use kite_api::KitePlugin;
use semver::Version;

/// Why the embedded `plugin.yaml` is no good.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not YAML, or not a `KitePlugin`.
    #[error("failed to parse it")]
    Parse(#[source] serde_saphyr::Error),
    /// `spec.version` is not a semantic version.
    #[error("failed to accept spec.version, {version:?}")]
    Version { version: String, source: semver::Error },
}

/// The version in the text of a `plugin.yaml`.
pub(crate) fn version(text: &str) -> Result<Version, ManifestError> {
    let plugin: KitePlugin = serde_saphyr::from_str(text).map_err(ManifestError::Parse)?;
    let version = plugin.spec.version;
    Version::parse(&version).map_err(|source| ManifestError::Version { version, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spec: &str) -> Result<Version, ManifestError> {
        version(&format!(
            "apiVersion: kite.dev/v1alpha1\nkind: KitePlugin\nmetadata: {{name: a}}\nspec: {spec}"
        ))
    }

    #[test]
    fn the_version_is_read() {
        assert_eq!(of("{version: 1.2.3-rc.1, image: a}").unwrap().to_string(), "1.2.3-rc.1");
    }

    #[test]
    fn a_bad_manifest_is_refused_for_each_of_its_reasons() {
        assert!(matches!(of("["), Err(ManifestError::Parse(_))));
        assert!(matches!(of("{image: a}"), Err(ManifestError::Parse(_))));
        assert!(matches!(
            of("{version: one, image: a}"),
            Err(ManifestError::Version { .. })
        ));
    }
}
