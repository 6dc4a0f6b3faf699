//! What an image is called: where it is pushed to, and how the document names it.

use serde_json::Value;

use super::PackageError;
use crate::{
    image::{Digest, Reference},
    manifest::Manifest,
};

/// Where the image goes: to what was said, or else to what the document says, which may have a digest already.
pub(super) fn reference(push: Option<&str>, manifest: &Manifest) -> Result<Reference, PackageError> {
    if let Some(text) = push {
        let reference = parse(text)?;
        return match reference.digest() {
            Some(_) => Err(PackageError::HasDigest(text.to_owned())),
            None => Ok(with_tag(text, reference, manifest)),
        };
    }
    let spec = manifest.spec();
    let text = spec.get("image").and_then(Value::as_str).unwrap_or_default();
    parse(text)
}

fn parse(text: &str) -> Result<Reference, PackageError> {
    text.parse().map_err(|source| PackageError::Reference {
        reference: text.to_owned(),
        source,
    })
}

/// Without a tag it gets the version's, in which `+`, which no tag may have, becomes `_`.
fn with_tag(text: &str, reference: Reference, manifest: &Manifest) -> Reference {
    let has_tag = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag {
        return reference;
    }
    let tag = manifest.version.to_string().replace('+', "_");
    Reference::with_tag(reference.registry().to_owned(), reference.repository().to_owned(), tag)
}

/// How the document names the image.
pub(super) fn by_digest(reference: &Reference, digest: &Digest) -> String {
    format!("{}/{}@{digest}", reference.registry(), reference.repository())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    fn of(push: Option<&str>) -> Result<String, PackageError> {
        let document = "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: a}, spec: {version: 1.0.0+b, image: \"a:1\"}}";
        reference(push, &manifest::parse(document).unwrap()).map(|reference| reference.whole())
    }

    #[test]
    fn a_reference_without_a_tag_gets_the_version() {
        assert_eq!(
            of(Some("registry.example:5000/a")).unwrap(),
            "registry.example:5000/a:1.0.0_b"
        );
        assert_eq!(
            of(Some("registry.example:5000/b/a:x")).unwrap(),
            "registry.example:5000/b/a:x"
        );
        assert_eq!(of(None).unwrap(), "docker.io/library/a:1");
    }

    #[test]
    fn a_reference_is_refused_for_each_of_its_reasons() {
        assert!(matches!(of(Some("Registry/A B")), Err(PackageError::Reference { .. })));
        let digest = format!("registry.example/a@sha256:{}", "0".repeat(64));
        assert!(matches!(of(Some(&digest)), Err(PackageError::HasDigest(_))));
    }
}
