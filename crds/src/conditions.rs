//! The conditions of a plugin's status, and the reasons that they give.

/// A pod of the plugin is available.
pub const WORKLOAD_AVAILABLE: &str = "WorkloadAvailable";
/// The running plugin was asked what it is, and is what the object says.
pub const DESCRIBED: &str = "Described";
/// All of the above hold.
pub const READY: &str = "Ready";
/// kstatus: the operator is at work. Present only when true.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: the operator cannot go on without a change. Present only when true.
pub const STALLED: &str = "Stalled";

/// Why a condition has the status that it has.
pub mod reasons {
    /// The condition holds.
    pub const AVAILABLE: &str = "Available";
    /// The plugin answered, and is what the object says.
    pub const DESCRIBED: &str = "Described";
    /// Everything holds.
    pub const LOADED: &str = "Loaded";
    /// `spec.enabled` is false.
    pub const DISABLED: &str = "Disabled";
    /// The object is being deleted.
    pub const STOPPED: &str = "Stopped";
    /// Pods are on their way.
    pub const PROGRESSING: &str = "Progressing";
    /// The image could not be pulled.
    pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
    /// The container ends again and again.
    pub const CRASH_LOOPING: &str = "CrashLooping";
    /// No node takes the pod.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// The API server refused an object.
    pub const REFUSED: &str = "Refused";
    /// The plugin could not be asked.
    pub const UNREACHABLE: &str = "Unreachable";
    /// The plugin says that it is another.
    pub const NAME_MISMATCH: &str = "NameMismatch";
    /// The plugin says that it is another version.
    pub const VERSION_MISMATCH: &str = "VersionMismatch";
    /// The plugin's pods differ from one another.
    pub const REPLICA_MISMATCH: &str = "ReplicaMismatch";
    /// The plugin speaks another version of the protocol.
    pub const PROTOCOL_MISMATCH: &str = "ProtocolMismatch";
    /// A tool that the plugin offers breaks the rules for tools.
    pub const TOOL_INVALID: &str = "ToolInvalid";
}
