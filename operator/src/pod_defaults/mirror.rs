//! Registries in the place of others: how an image's reference is written anew.

use std::str::FromStr;

use oci_spec::distribution::Reference;

/// Stands for every registry.
const ALL: &str = "*";

/// A place of images in the place of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mirror {
    from: Replaced,
    /// A registry's host, and what stands before each repository's name there.
    to: String,
}

/// Which images a mirror is for.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Replaced {
    /// Those of every registry: its host is replaced.
    All,
    /// Those whose whole name is this or begins with it and a slash: that much is replaced.
    Name(String),
}

/// A text that is no mirror.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum MirrorError {
    #[error(
        "failed to read the mirror {0:?}: write what it replaces, =, and what takes its place, as in docker.io=mirror.example/hub"
    )]
    Form(String),
    #[error(
        "failed to read {0:?}, which the mirror replaces: write a registry's host, such as docker.io, with as much of the path as you like, or * for every registry"
    )]
    From(String),
    #[error(
        "failed to read {0:?}, the mirror: write a registry's host, such as mirror.example or localhost:5000, with as much of a path as you like"
    )]
    To(String),
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let (from, to) = text.split_once('=').ok_or_else(|| MirrorError::Form(text.to_owned()))?;
        let from = match from {
            ALL => Replaced::All,
            name => Replaced::Name(place(name).ok_or_else(|| MirrorError::From(name.to_owned()))?),
        };
        let to = place(to).ok_or_else(|| MirrorError::To(to.to_owned()))?;
        Ok(Self { from, to })
    }
}

/// A registry's host with a part of a path, as it begins an image's whole name.
fn place(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    // Two more segments, so that nothing is filled in before them.
    let whole: Reference = format!("{text}/a/a").parse().ok()?;
    let place = format!("{}/{}", whole.registry(), whole.repository());
    let place = place.strip_suffix("/a/a")?;
    let (host, _) = text.split_once('/').unwrap_or((text, ""));
    let is_host = host.contains(['.', ':']) || host == "localhost";
    is_host.then(|| place.to_owned())
}

impl Mirror {
    /// The image's name there, and how much of `name` it replaces, if it is for images of that name. One that lies in the mirror already is
    /// left there.
    fn replaces(&self, registry: &str, name: &str) -> Option<(usize, String)> {
        if below(name, &self.to).is_some() {
            return None;
        }
        let (length, rest) = match &self.from {
            Replaced::All => (0, name.strip_prefix(registry)?),
            Replaced::Name(from) => (from.len(), below(name, from)?),
        };
        // A host alone is no image's name.
        if rest.is_empty() && !self.to.contains('/') {
            return None;
        }
        Some((length, format!("{}{rest}", self.to)))
    }
}

/// What of `name` follows on `place`, if it is that or lies below it.
fn below<'a>(name: &'a str, place: &str) -> Option<&'a str> {
    let rest = name.strip_prefix(place)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The reference of `image` at the mirror that names most of it. `None`: no mirror is for it, or it is no reference.
pub(super) fn mirrored(mirrors: &[Mirror], image: &str) -> Option<String> {
    // What reads a reference takes ten megabytes as soon as it is first used, which most operators need not have.
    if mirrors.is_empty() {
        return None;
    }
    let reference: Reference = image.parse().ok()?;
    let registry = reference.registry();
    let name = format!("{registry}/{}", reference.repository());
    let found = mirrors.iter().filter_map(|mirror| mirror.replaces(registry, &name));
    let (_, mut whole) = found.max_by_key(|(length, _)| *length)?;
    if let Some(tag) = reference.tag() {
        whole = format!("{whole}:{tag}");
    }
    if let Some(digest) = reference.digest() {
        whole = format!("{whole}@{digest}");
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mirrors(texts: &[&str]) -> Vec<Mirror> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_image_is_pulled_from_the_mirror_that_names_most_of_it() {
        let mirrors = mirrors(&[
            "docker.io=mirror.example/hub",
            "quay.io/team=mirror.example:5000/team",
            "quay.io/team/tool=localhost/tool",
            "*=other.example",
        ]);
        let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for (image, expected) in [
            ("hello", "mirror.example/hub/library/hello:latest"),
            ("hello:1.2", "mirror.example/hub/library/hello:1.2"),
            ("index.docker.io/team/hello", "mirror.example/hub/team/hello:latest"),
            ("quay.io/team/hello:1", "mirror.example:5000/team/hello:1"),
            ("quay.io/team/tool:1", "localhost/tool:1"),
            ("quay.io/team/tool/part:1", "localhost/tool/part:1"),
            ("quay.io/teams/hello:1", "other.example/teams/hello:1"),
            ("registry.example:5000/a/b:1", "other.example/a/b:1"),
        ] {
            assert_eq!(mirrored(&mirrors, image).as_deref(), Some(expected), "{image}");
        }
        let both = format!("docker.io/team/hello:1.2@{digest}");
        let expected = format!("mirror.example/hub/team/hello:1.2@{digest}");
        assert_eq!(mirrored(&mirrors, &both), Some(expected));
        let alone = format!("docker.io/team/hello@{digest}");
        let expected = format!("mirror.example/hub/team/hello@{digest}");
        assert_eq!(mirrored(&mirrors, &alone), Some(expected));
    }

    #[test]
    fn what_no_mirror_is_for_and_what_lies_in_one_stays() {
        let hub = mirrors(&["docker.io=mirror.example/hub"]);
        for image in ["quay.io/team/hello:1", "docker.io.example/hello:1", "Not An Image"] {
            assert_eq!(mirrored(&hub, image), None, "{image}");
        }
        let all = mirrors(&["*=mirror.example/all"]);
        assert_eq!(mirrored(&all, "mirror.example/all/team/hello:1"), None);
        assert_eq!(
            mirrored(&all, "mirror.example/team/hello:1").as_deref(),
            Some("mirror.example/all/team/hello:1")
        );
        assert_eq!(mirrored(&[], "hello"), None);
    }

    #[test]
    fn a_text_that_is_no_mirror_is_refused_with_what_to_write() {
        let refused = |text: &str| Mirror::from_str(text).unwrap_err();
        assert_eq!(refused("docker.io"), MirrorError::Form(String::from("docker.io")));
        for from in [
            "team",
            "",
            "Upper/x",
            "docker.io//x",
            "https://docker.io",
            "quay.io/Team",
        ] {
            let text = format!("{from}=mirror.example");
            assert_eq!(refused(&text), MirrorError::From(from.to_owned()), "{text}");
        }
        for to in ["mirror", "", "*", "http://mirror.example", "mirror.example/hub:1"] {
            let text = format!("docker.io={to}");
            assert_eq!(refused(&text), MirrorError::To(to.to_owned()), "{text}");
        }
        let slash: Mirror = "docker.io/=mirror.example/hub/".parse().unwrap();
        assert_eq!(slash, "docker.io=mirror.example/hub".parse().unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is replaced, the image keeps the end of its name, its tag and its digest, and lies in the mirror.
        #[test]
        fn an_image_keeps_what_says_which_it_is(
            host in "[a-z]{1,8}\\.example(:[1-9][0-9]{0,3})?",
            path in prop::collection::vec("[a-z0-9]{1,8}", 1..4),
            tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}"),
            digest in prop::option::of("sha256:[0-9a-f]{64}"),
            to in "[a-z]{1,8}\\.mirror(/[a-z0-9]{1,8}){0,2}",
            replaced in 0_usize..4,
        ) {
            let path_text = path.join("/");
            let tag = tag.or_else(|| digest.is_none().then(|| String::from("latest")));
            let mut end = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            if let Some(digest) = digest {
                end = format!("{end}@{digest}");
            }
            let image = format!("{host}/{path_text}{end}");
            let kept = replaced.min(path.len());
            let from = [std::slice::from_ref(&host), &path[..kept]].concat().join("/");
            let rest = path[kept..].iter().fold(String::new(), |rest, segment| rest + "/" + segment);
            let mirror = format!("{from}={to}");
            let mirrored = mirrored(&mirrors(&[&mirror]), &image);
            if rest.is_empty() && !to.contains('/') {
                prop_assert_eq!(mirrored, None);
                return Ok(());
            }
            let expected = format!("{to}{rest}{end}");
            prop_assert_eq!(mirrored.as_deref(), Some(expected.as_str()), "{} {}", mirror, image);
            let again: Reference = mirrored.unwrap_or_default().parse().unwrap();
            prop_assert_eq!(again.registry(), to.split('/').next().unwrap_or_default());
        }

        /// A mirror for every registry replaces its host and nothing else; another host is none of a mirror's business.
        #[test]
        fn only_what_is_named_is_replaced(host in "[a-z]{1,8}\\.example", path in "[a-z]{1,8}(/[a-z]{1,8}){0,2}") {
            let image = format!("{host}/{path}:1");
            prop_assert_eq!(mirrored(&mirrors(&["docker.io=mirror.test"]), &image), None);
            prop_assert_eq!(mirrored(&mirrors(&["*=mirror.test/x"]), &image), Some(format!("mirror.test/x/{path}:1")));
        }
    }
}
