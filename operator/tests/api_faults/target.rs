//! What a request to the API server is about, by its path.

/// A collection, or one object of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    /// The collection's path.
    pub(crate) collection: String,
    /// The resource in the plural.
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// `None`: the path is none of a resource.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (version, rest) = match segments.as_slice() {
            ["api", _, ..] => segments.split_at(2),
            ["apis", _, _, ..] => segments.split_at(3),
            _ => return None,
        };
        let (within, resource, rest) = match rest {
            ["namespaces", _, resource, rest @ ..] => (rest_of(&segments, version.len(), 2), *resource, rest),
            [resource, rest @ ..] => (Vec::new(), *resource, rest),
            [] => return None,
        };
        let collection: Vec<&str> = version.iter().copied().chain(within).chain([resource]).collect();
        let mut rest = rest.iter().map(|segment| (*segment).to_owned());
        Some(Self {
            collection: format!("/{}", collection.join("/")),
            resource: resource.to_owned(),
            name: rest.next(),
            subresource: rest.next(),
        })
    }

    /// The object's own path.
    pub(crate) fn object(&self) -> Option<String> {
        Some(format!("{}/{}", self.collection, self.name.as_deref()?))
    }

    /// Whether it is a part of what a plugin is made of, and not only told about it.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self.resource.as_str(), "events" | "leases")
    }
}

fn rest_of<'a>(segments: &[&'a str], from: usize, count: usize) -> Vec<&'a str> {
    segments.iter().skip(from).take(count).copied().collect()
}

#[test]
fn a_path_says_what_it_is_about() {
    let told = |path| Target::of(path).map(|it| (it.collection, it.resource, it.name, it.subresource));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        told("/apis/apps/v1/namespaces/plugins/deployments/a"),
        Some((
            "/apis/apps/v1/namespaces/plugins/deployments".into(),
            "deployments".into(),
            some("a"),
            None
        ))
    );
    assert_eq!(
        told("/apis/kite.dev/v1alpha1/kiteplugins/a/status"),
        Some((
            "/apis/kite.dev/v1alpha1/kiteplugins".into(),
            "kiteplugins".into(),
            some("a"),
            some("status")
        ))
    );
    assert_eq!(
        told("/api/v1/namespaces/a"),
        Some(("/api/v1/namespaces".into(), "namespaces".into(), some("a"), None))
    );
    assert_eq!(told("/version"), None);
}
