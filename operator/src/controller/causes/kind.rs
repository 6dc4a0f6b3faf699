//! The closed list of causes: what each is called, what to do about it, and where that is explained.

use kite_api::conditions::reasons;

/// What can keep a plugin's pods from being used, the gravest first: where pods differ, the first of these is told.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// The namespace's quota has no room for a pod.
    Quota,
    /// The pod asks for more or less than the namespace's limit range allows.
    LimitRange,
    /// The pod breaks the namespace's Pod Security level.
    PodSecurity,
    /// An admission policy, a webhook or something else refuses the pod.
    Admission,
    /// The registry has no such image.
    ImageNotFound,
    /// The registry does not give the image to the node.
    ImageUnauthorised,
    /// The node does not reach the registry.
    RegistryUnreachable,
    /// The image is of another architecture than the node.
    ImageArchitecture,
    /// The image's name is none.
    ImageName,
    /// The image does not come for another reason.
    ImagePull,
    /// The process took more memory than it may.
    OutOfMemory,
    /// The kubelet ended the process, or sends it nobody, because a probe fails.
    Probe,
    /// The process ends by itself.
    Crash,
    /// A Secret or `ConfigMap`, or a key in one, is not there.
    SecretMissing,
    /// No node has the room.
    NoRoom,
    /// No node has the labels.
    NoNodeMatches,
    /// The nodes have taints that the pod does not tolerate.
    NodesTainted,
    /// The scheduler finds no node for another reason.
    Unschedulable,
    /// The container or its sandbox could not be made; the kubelet tries again.
    NotStarted,
}

impl Kind {
    /// All that there are.
    #[cfg(test)]
    pub(super) const ALL: [Self; 19] = [
        Self::Quota,
        Self::LimitRange,
        Self::PodSecurity,
        Self::Admission,
        Self::ImageNotFound,
        Self::ImageUnauthorised,
        Self::RegistryUnreachable,
        Self::ImageArchitecture,
        Self::ImageName,
        Self::ImagePull,
        Self::OutOfMemory,
        Self::Probe,
        Self::Crash,
        Self::SecretMissing,
        Self::NoRoom,
        Self::NoNodeMatches,
        Self::NodesTainted,
        Self::Unschedulable,
        Self::NotStarted,
    ];

    /// Whether pods may not even be made.
    pub fn is_refusal(self) -> bool {
        self.reason() == reasons::REFUSED
    }

    /// The reason of the condition that tells it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Quota | Self::LimitRange | Self::PodSecurity | Self::Admission => reasons::REFUSED,
            Self::ImageNotFound
            | Self::ImageUnauthorised
            | Self::RegistryUnreachable
            | Self::ImageArchitecture
            | Self::ImageName
            | Self::ImagePull => reasons::IMAGE_PULL_FAILED,
            Self::OutOfMemory => reasons::OUT_OF_MEMORY,
            Self::Probe => reasons::PROBE_FAILING,
            Self::Crash => reasons::CRASH_LOOPING,
            Self::SecretMissing => reasons::SECRET_MISSING,
            Self::NoRoom | Self::NoNodeMatches | Self::NodesTainted | Self::Unschedulable => reasons::UNSCHEDULABLE,
            Self::NotStarted => reasons::PROGRESSING,
        }
    }

    /// What whoever operates the plugin does next.
    pub(super) fn next_step(self) -> &'static str {
        match self {
            Self::Quota => "raise plugins.quota in the chart's values, or disable another plugin",
            Self::LimitRange => "bring spec.resources into what the namespace's LimitRange allows",
            Self::PodSecurity => {
                "label the plugins' namespace with the Pod Security level restricted, which the plugin's pods keep"
            }
            Self::Admission => "change what the API server names, or the policy or webhook that refuses it",
            Self::ImageNotFound => "correct name and tag or digest in spec.image, or push the image",
            Self::ImageUnauthorised => {
                "name a Secret for the registry in spec.imagePullSecrets, give the nodes credentials for it, or correct spec.image: many \
                 registries answer so for an image that does not exist"
            }
            Self::RegistryUnreachable => {
                "correct the registry's host in spec.image, let the nodes reach it, or name a mirror of it in the chart's value \
                 plugins.registryMirrors; it is tried again by itself"
            }
            Self::ImageArchitecture => "build the image for the nodes' architecture too, or use one that is",
            Self::ImageName => "correct spec.image",
            Self::ImagePull => "do what the message asks for; it is tried again by itself",
            Self::OutOfMemory => "raise spec.resources.limits.memory, or let the plugin take less",
            Self::Probe => {
                "let the plugin answer grpc.health.v1.Health/Check on its health port with SERVING, a minute after its start at the latest and \
                 from then on within three seconds"
            }
            Self::Crash => "read the plugin's log",
            Self::SecretMissing => {
                "make it in the plugins' namespace, or correct the name or key in the plugin's object; it is tried again by itself"
            }
            Self::NoRoom => "lower spec.resources.requests, or give the cluster a node with more room",
            Self::NoNodeMatches => "correct spec.nodeSelector, or give a node these labels",
            Self::NodesTainted => "name the taint in spec.tolerations, or give the cluster a node without it",
            Self::Unschedulable => "change what the scheduler names, or give the cluster another node",
            Self::NotStarted => "remove the cause that the kubelet names; it is tried again by itself",
        }
    }

    /// Where it is explained, in the project's documentation.
    pub(super) fn page(self) -> &'static str {
        match self.reason() {
            reasons::REFUSED => "docs/conditions/WorkloadAvailable.md#refused",
            reasons::IMAGE_PULL_FAILED => "docs/conditions/WorkloadAvailable.md#imagepullfailed",
            reasons::OUT_OF_MEMORY => "docs/conditions/WorkloadAvailable.md#outofmemory",
            reasons::PROBE_FAILING => "docs/conditions/WorkloadAvailable.md#probefailing",
            reasons::CRASH_LOOPING => "docs/conditions/WorkloadAvailable.md#crashlooping",
            reasons::SECRET_MISSING => "docs/conditions/WorkloadAvailable.md#secretmissing",
            reasons::UNSCHEDULABLE => "docs/conditions/WorkloadAvailable.md#unschedulable",
            _ => "docs/conditions/WorkloadAvailable.md#progressing",
        }
    }
}
