//! A question that the API server answers: may the user do this?

use std::fmt::{self, Write as _};

use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::Resource as _;

use crate::{
    KitePlugin,
    rights::{Place, Right},
};

/// Whether the user may do this.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Question {
    pub group: String,
    /// With its subresource, as `pods/log`.
    pub resource: String,
    pub verb: &'static str,
    pub place: Place,
    /// The name of the only object. Absent: all.
    pub name: Option<String>,
}

impl Question {
    pub(super) fn of_right(right: &Right) -> Self {
        Self {
            group: right.group.clone(),
            resource: right.resource.clone(),
            verb: right.verb.as_str(),
            place: right.place.clone(),
            name: right.name.clone(),
        }
    }

    pub(super) fn of_plugin(verb: &'static str, name: &str) -> Self {
        Self {
            group: KitePlugin::group(&()).into_owned(),
            resource: KitePlugin::plural(&()).into_owned(),
            verb,
            place: Place::Cluster,
            name: Some(name.to_owned()),
        }
    }

    pub(super) fn of_secret(name: &str, plugins: &str) -> Self {
        Self {
            group: String::new(),
            resource: String::from("secrets"),
            verb: "get",
            place: Place::Namespace(plugins.to_owned()),
            name: Some(name.to_owned()),
        }
    }

    /// What a review of the user's access asks, with the subresource apart, as the policies ask it.
    pub fn attributes(&self) -> ResourceAttributes {
        let mut parts = self.resource.split('/');
        ResourceAttributes {
            group: Some(self.group.clone()),
            resource: parts.next().map(str::to_owned),
            subresource: parts.next().map(str::to_owned),
            verb: Some(self.verb.to_owned()),
            namespace: match &self.place {
                Place::Cluster => None,
                Place::Namespace(name) => Some(name.clone()),
            },
            name: self.name.clone(),
            ..ResourceAttributes::default()
        }
    }
}

/// In the words in which the policies refuse: `list nodes in the whole cluster`.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, Plain(&self.resource))?;
        if !self.group.is_empty() {
            write!(f, ".{}", Plain(&self.group))?;
        }
        if let Some(name) = &self.name {
            write!(f, " \"{}\"", Plain(name))?;
        }
        match &self.place {
            Place::Cluster => f.write_str(" in the whole cluster"),
            Place::Namespace(name) => write!(f, " in namespace {}", Plain(name)),
        }
    }
}

/// A text from a file that no API server has accepted: what no name has in it would only serve to deceive a reader.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| c.is_ascii_graphic() && c != '"';
        self.0
            .chars()
            .try_for_each(|c| f.write_char(if is_plain(c) { c } else { '?' }))
    }
}
