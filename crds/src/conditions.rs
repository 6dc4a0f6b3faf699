//! The conditions of a plugin's status, and the reasons that they give.

/// The plugins that this one needs are there, in range and ready, and so are dashboard and cluster.
pub const DEPENDENCIES_SATISFIED: &str = "DependenciesSatisfied";
/// A pod of the plugin is available.
pub const WORKLOAD_AVAILABLE: &str = "WorkloadAvailable";
/// The running plugin was asked what it is, and is what the object says.
pub const DESCRIBED: &str = "Described";
/// The plugin has what its grant gives it.
pub const PERMISSIONS_GRANTED: &str = "PermissionsGranted";
/// The settings are what their schema says, and the plugin accepts them.
pub const SETTINGS_ACCEPTED: &str = "SettingsAccepted";
/// Everything in the object has an effect. Not counted in Ready.
pub const IN_EFFECT: &str = "InEffect";
/// All of the above hold, but `InEffect`, which is not counted.
pub const READY: &str = "Ready";
/// kstatus: the operator is at work. Present only when true.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: the operator cannot go on without a change. Present only when true.
pub const STALLED: &str = "Stalled";

/// Why a condition has the status that it has.
pub mod reasons {
    /// Nothing that the plugin depends on is lacking.
    pub const SATISFIED: &str = "Satisfied";
    /// A plugin that it depends on does not exist, or is being deleted.
    pub const MISSING: &str = "Missing";
    /// It depends on itself by way of others.
    pub const CYCLE: &str = "Cycle";
    /// A plugin that it depends on is not ready.
    pub const NOT_READY: &str = "NotReady";
    /// Dashboard or cluster have not the version that it can run with.
    pub const HOST_VERSION: &str = "HostVersion";
    /// The plugin may do what its grant says.
    pub const GRANTED: &str = "Granted";
    /// A namespace of the grant was deleted and made again.
    pub const NAMESPACE_REPLACED: &str = "NamespaceReplaced";
    /// The settings are what the schema says, and no pod refuses them.
    pub const ACCEPTED: &str = "Accepted";
    /// The settings are not what the schema says.
    pub const SCHEMA_VIOLATION: &str = "SchemaViolation";
    /// The schema of the settings cannot be used.
    pub const SCHEMA_INVALID: &str = "SchemaInvalid";
    /// Everything in the object has an effect.
    pub const IN_EFFECT: &str = "InEffect";
    /// The object has fields on which this version does not act.
    pub const NOT_YET_BUILT: &str = "NotYetBuilt";
    /// The object names a slot that the dashboard does not have.
    pub const UNKNOWN_SLOT: &str = "UnknownSlot";
    /// A revision that serves has lost rights with which it was made, because the object gives them no longer.
    pub const OLD_REVISION_LACKS_RIGHTS: &str = "OldRevisionLacksRights";
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
    /// The process takes more memory than it may, and is ended for it.
    pub const OUT_OF_MEMORY: &str = "OutOfMemory";
    /// The plugin runs, and the kubelet's probe of it fails.
    pub const PROBE_FAILING: &str = "ProbeFailing";
    /// A Secret or `ConfigMap` that the pod needs is not there, or a key in it; or the Secret of the settings.
    pub const SECRET_MISSING: &str = "SecretMissing";
    /// No node takes the pod.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// The API server refused an object, or the plugin its settings.
    pub const REFUSED: &str = "Refused";
    /// The plugin could not be asked, or not be given its settings.
    pub const UNREACHABLE: &str = "Unreachable";
    /// The plugin says that it is another.
    pub const NAME_MISMATCH: &str = "NameMismatch";
    /// The plugin says that it is another version; or a plugin that it depends on has one that is out of range.
    pub const VERSION_MISMATCH: &str = "VersionMismatch";
    /// The plugin's pods differ from one another.
    pub const REPLICA_MISMATCH: &str = "ReplicaMismatch";
    /// The plugin offers something else than is recorded of its revision.
    pub const DEFINITIONS_CHANGED: &str = "DefinitionsChanged";
    /// The plugin speaks another version of the protocol.
    pub const PROTOCOL_MISMATCH: &str = "ProtocolMismatch";
    /// A tool that the plugin offers breaks the rules for tools.
    pub const TOOL_INVALID: &str = "ToolInvalid";
}
