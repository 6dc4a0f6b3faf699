//! What an answer tells beside what was asked for.

use http::{HeaderMap, HeaderName, HeaderValue};
use kite_api::PluginName;

use crate::directory::Active;

/// Says of which plugin an answer is.
pub const PLUGIN: HeaderName = HeaderName::from_static("x-kite-plugin");
/// Says of which revision of the plugin an answer is.
pub const REVISION: HeaderName = HeaderName::from_static("x-kite-revision");

/// What an answer tells beside what was asked for.
#[derive(Default)]
pub(super) struct Told {
    pub(super) served: Option<Served>,
    /// The cookies of a session that goes on.
    pub(super) renewed: Vec<HeaderValue>,
}

/// Which plugin and revision an answer is of, or would have been.
pub(super) struct Served {
    plugin: HeaderValue,
    revision: HeaderValue,
}

impl Served {
    pub(super) fn of(plugin: &PluginName, active: &Active) -> Self {
        Self {
            // A label, which every field value can have.
            plugin: HeaderValue::from_str(plugin.as_str()).unwrap_or(HeaderValue::from_static("-")),
            revision: HeaderValue::from(active.revision),
        }
    }

    pub(super) fn tell(self, headers: &mut HeaderMap) {
        headers.insert(PLUGIN, self.plugin);
        headers.insert(REVISION, self.revision);
    }
}
