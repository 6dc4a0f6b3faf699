//! Whether one pod is what its object says, and in what it is not.

use kite_api::{PluginName, ToolStatus, conditions::reasons};
use semver::Version;

use super::{ask::Answer, in_short, judge::OnRecord, shown};

/// Whether a pod that gave this answer is what the object says, and offers what is on record.
pub(super) fn is_as_said(
    plugin: &PluginName,
    version: &Version,
    on_record: Option<OnRecord<'_>>,
    answer: &Answer,
) -> bool {
    on_record.is_none_or(|on_record| on_record.hash == answer.hash) && differs(plugin, version, "", answer).is_ok()
}

/// Whether a pod that gave this answer is the one plugin, of the one version, that is on record, and offers the same.
pub(super) fn is_recorded(plugin: &PluginName, version: &Version, on_record: OnRecord<'_>, answer: &Answer) -> bool {
    answer.name == plugin.as_str() && answer.version == version.to_string() && answer.hash == on_record.hash
}

/// In what a pod is not what it should be.
pub(super) struct Difference {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The version that the pod says it is, where that means something.
    pub(super) version: Option<String>,
}

/// The tools of a pod that is what it should be.
pub(super) fn differs<'a>(
    plugin: &PluginName,
    version: &Version,
    pod: &str,
    answer: &'a Answer,
) -> Result<&'a Vec<ToolStatus>, Difference> {
    let mismatch = |reason, message| Difference {
        reason,
        message,
        // Of another plugin, or in another protocol, the version says nothing.
        version: (reason == reasons::VERSION_MISMATCH || reason == reasons::TOOL_INVALID)
            .then(|| shown(&answer.version)),
    };
    if answer.protocol != kite_proto::PROTOCOL {
        let message = format!(
            "pod {pod} speaks version {} of the plugin protocol, this operator version {}: use an image that was built \
             with a matching SDK",
            answer.protocol,
            kite_proto::PROTOCOL,
        );
        return Err(mismatch(reasons::PROTOCOL_MISMATCH, message));
    }
    if answer.name != plugin.as_str() {
        let message = format!(
            "pod {pod} says that it is {:?}: correct spec.image, or let the plugin answer the name that {} tells it",
            shown(&answer.name),
            kite_proto::NAME_VARIABLE,
        );
        return Err(mismatch(reasons::NAME_MISMATCH, message));
    }
    let wanted = version.to_string();
    if answer.version != wanted {
        let message = format!(
            "pod {pod} says that its version is {:?}, spec.version says {wanted:?}: correct spec.version or spec.image",
            shown(&answer.version),
        );
        return Err(mismatch(reasons::VERSION_MISMATCH, message));
    }
    answer
        .tools
        .as_ref()
        .map_err(|error| mismatch(reasons::TOOL_INVALID, format!("pod {pod}: {}", in_short(error))))
}
