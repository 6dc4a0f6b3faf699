//! What an answer tells beside what was asked for.

use http::{HeaderMap, HeaderName, HeaderValue};
use kite_api::PluginName;

use super::{over::Over, revision};
use crate::directory::Revision;

/// Says of which plugin an answer is.
pub const PLUGIN: HeaderName = HeaderName::from_static("x-kite-plugin");

/// What an answer tells beside what was asked for.
#[derive(Default)]
pub(super) struct Told {
    pub(super) served: Option<Served>,
    /// The cookies of a session that goes on.
    pub(super) renewed: Vec<HeaderValue>,
    /// When it ends whatever there is to come.
    pub(super) over: Option<Over>,
}

/// Which plugin and revision an answer is of, or would have been.
pub(super) struct Served {
    plugin: HeaderValue,
    revision: HeaderValue,
}

impl Served {
    pub(super) fn of(plugin: &PluginName, serving: &Revision) -> Self {
        Self {
            // A label, which every field value can have.
            plugin: HeaderValue::from_str(plugin.as_str()).unwrap_or(HeaderValue::from_static("-")),
            revision: HeaderValue::from(serving.number),
        }
    }

    pub(super) fn tell(self, headers: &mut HeaderMap) {
        headers.insert(PLUGIN, self.plugin);
        headers.insert(revision::FIELD, self.revision);
    }
}
