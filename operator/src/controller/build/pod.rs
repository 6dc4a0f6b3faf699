//! The template of a revision's pods, as it is recorded when the revision is made.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapKeySelector, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
        GRPCAction, KeyToPath, LocalObjectReference, PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec,
        PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretKeySelector,
        SecretProjection, SecurityContext, ServiceAccountTokenProjection, Toleration, TopologySpreadConstraint, Volume,
        VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::{api::resource::Quantity as Amount, apis::meta::v1::LabelSelector},
};
use kite_api::{Quantity, Resources, identity::GATEWAY_AUDIENCE, labels, object_names, plugin::workload as declared};
use kite_proto::{
    CERTIFICATE_FILE, CLIENTS_CA_FILE, GATEWAY_ADDRESS_FILE, GATEWAY_CA_FILE, GATEWAY_TOKEN_FILE, GRACE_VARIABLE,
    HEALTH_PORT, KEY_FILE, MOUNT_PATH, NAME_VARIABLE, PORT,
};
use kube::api::ObjectMeta;

use super::{overlay, workload::GRPC};
use crate::controller::{revision::Tokens, validate::ValidatedPlugin};

/// Name of the kubelet's port.
const HEALTH: &str = "health";
/// Name of the container, for `kubectl logs -c`.
pub(super) const CONTAINER: &str = "plugin";
/// The volume that the operator mounts. No volume of an object's may be called so.
pub(crate) const IDENTITY_VOLUME: &str = "kite";
/// The group that may read the mounted files. Any number does that is not root's: the kubelet gives the files to it and
/// the container's processes become members of it.
const FILES_GROUP: i64 = 65_532;
/// Owner and group may read the mounted files.
const FILES_MODE: i32 = 0o440;
/// How long a token for the gateway is valid, the default of Kubernetes' own; the kubelet renews it at four fifths.
const TOKEN_SECONDS: i64 = 3600;
/// Across what pods are spread, as far as there is room: a plugin is to outlive a node, and a zone.
const SPREAD_OVER: [&str; 2] = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];
/// What pods have in common that are spread, beside their plugin. The last is that of their ReplicaSet: those that a roll-out replaces
/// do not count.
const SPREAD_BY: [&str; 2] = [labels::REVISION, "pod-template-hash"];

/// The template that a new revision records. What differs from one revision of the same to the next, or may not wait for the next, is not
/// in it.
pub fn template(plugin: &ValidatedPlugin, tokens: Tokens) -> PodTemplateSpec {
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            annotations: Some(BTreeMap::from([(
                String::from("kubectl.kubernetes.io/default-container"),
                CONTAINER.to_owned(),
            )])),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(plugin, tokens)),
    }
}

fn pod(plugin: &ValidatedPlugin, tokens: Tokens) -> PodSpec {
    let spec = &plugin.spec;
    let own = spec.volumes.iter().map(volume);
    PodSpec {
        service_account_name: Some(object_names::base(&plugin.name)),
        automount_service_account_token: Some(tokens.api),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(overlay::grace(spec)),
        image_pull_secrets: some(spec.image_pull_secrets.iter().map(|secret| reference(&secret.name))),
        node_selector: (!spec.node_selector.is_empty()).then(|| spec.node_selector.clone()),
        tolerations: some(spec.tolerations.iter().map(toleration)),
        topology_spread_constraints: Some(SPREAD_OVER.map(|over| spread(plugin, over)).into()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            fs_group: Some(FILES_GROUP),
            seccomp_profile: Some(SeccompProfile {
                type_: String::from("RuntimeDefault"),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        volumes: some([folder(plugin, tokens.gateway)].into_iter().chain(own)),
        containers: vec![container(plugin)],
        ..PodSpec::default()
    }
}

/// All of them, or nothing if there are none: an empty list is another object than an absent one.
fn some<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

pub(super) fn reference(name: &str) -> LocalObjectReference {
    LocalObjectReference { name: name.to_owned() }
}

fn toleration(toleration: &declared::Toleration) -> Toleration {
    use declared::{TaintEffect, TolerationOperator};
    Toleration {
        key: toleration.key.clone(),
        operator: toleration.operator.map(|operator| {
            String::from(match operator {
                TolerationOperator::Exists => "Exists",
                TolerationOperator::Equal => "Equal",
            })
        }),
        value: toleration.value.clone(),
        effect: toleration.effect.map(|effect| {
            String::from(match effect {
                TaintEffect::NoSchedule => "NoSchedule",
                TaintEffect::PreferNoSchedule => "PreferNoSchedule",
                TaintEffect::NoExecute => "NoExecute",
            })
        }),
        toleration_seconds: toleration.toleration_seconds,
    }
}

fn spread(plugin: &ValidatedPlugin, over: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: over.to_owned(),
        when_unsatisfiable: String::from("ScheduleAnyway"),
        label_selector: Some(LabelSelector {
            match_labels: Some([(labels::PLUGIN.to_owned(), plugin.name.to_string())].into()),
            ..LabelSelector::default()
        }),
        match_label_keys: Some(SPREAD_BY.map(str::to_owned).into()),
        ..TopologySpreadConstraint::default()
    }
}

fn volume(volume: &declared::Volume) -> Volume {
    Volume {
        name: volume.name.clone(),
        persistent_volume_claim: volume.persistent_volume_claim.as_ref().map(|claim| {
            PersistentVolumeClaimVolumeSource {
                claim_name: claim.claim_name.clone(),
                ..PersistentVolumeClaimVolumeSource::default()
            }
        }),
        empty_dir: volume.empty_dir.as_ref().map(|folder| EmptyDirVolumeSource {
            size_limit: Some((&folder.size_limit).into()),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The one folder that the operator mounts: what proves who the plugin is, and, if it may call others, with what.
fn folder(plugin: &ValidatedPlugin, gateway: bool) -> Volume {
    let mut files = vec![CERTIFICATE_FILE, KEY_FILE, CLIENTS_CA_FILE];
    if gateway {
        files.extend([GATEWAY_ADDRESS_FILE, GATEWAY_CA_FILE]);
    }
    let secret = VolumeProjection {
        secret: Some(SecretProjection {
            name: object_names::certificate(&plugin.name),
            items: Some(files.into_iter().map(|name| file(name, name)).collect()),
            optional: Some(false),
        }),
        ..VolumeProjection::default()
    };
    let token = gateway.then(|| VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: Some(GATEWAY_AUDIENCE.to_owned()),
            expiration_seconds: Some(TOKEN_SECONDS),
            path: GATEWAY_TOKEN_FILE.to_owned(),
        }),
        ..VolumeProjection::default()
    });
    Volume {
        name: IDENTITY_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(FILES_MODE),
            sources: Some([Some(secret), token].into_iter().flatten().collect()),
        }),
        ..Volume::default()
    }
}

pub(super) fn file(key: &str, path: &str) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path: path.to_owned(),
        mode: None,
    }
}

fn container(plugin: &ValidatedPlugin) -> Container {
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some(String::from("TCP")),
        ..ContainerPort::default()
    };
    let own = plugin.spec.volumes.iter().map(|volume| VolumeMount {
        name: volume.name.clone(),
        mount_path: volume.mount_path.clone(),
        ..VolumeMount::default()
    });
    let identity = VolumeMount {
        name: IDENTITY_VOLUME.to_owned(),
        mount_path: MOUNT_PATH.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    Container {
        name: CONTAINER.to_owned(),
        image: Some(plugin.image.clone()),
        image_pull_policy: Some(plugin.image_pull_policy.as_str().to_owned()),
        env: Some(environment(plugin)),
        ports: Some(vec![port(GRPC, PORT), port(HEALTH, HEALTH_PORT)]),
        // A start may take a minute, whether nobody listens yet or somebody says that it is too early; from then on an answer is due soon,
        // and a plugin that hangs for half a minute is started again.
        startup_probe: Some(probe(1, 1, 60)),
        readiness_probe: Some(probe(5, 3, 2)),
        liveness_probe: Some(probe(10, 3, 3)),
        resources: plugin.resources.as_ref().map(resources),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: None,
                drop: Some(vec![String::from("ALL")]),
            }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: some([identity].into_iter().chain(own)),
        ..Container::default()
    }
}

/// The operator's own variables, then those of the object.
fn environment(plugin: &ValidatedPlugin) -> Vec<EnvVar> {
    let own = [
        (NAME_VARIABLE, plugin.name.to_string()),
        (GRACE_VARIABLE, overlay::grace(&plugin.spec).to_string()),
    ];
    let own = own.map(|(name, value)| value_of(name, value));
    own.into_iter().chain(plugin.spec.env.iter().map(variable)).collect()
}

pub(super) fn value_of(name: &str, value: String) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    }
}

fn variable(variable: &declared::EnvVar) -> EnvVar {
    let from = variable.value_from.as_ref().map(|source| EnvVarSource {
        secret_key_ref: source.secret_key_ref.as_ref().map(|key| SecretKeySelector {
            name: key.name.clone(),
            key: key.key.clone(),
            optional: None,
        }),
        config_map_key_ref: source.config_map_key_ref.as_ref().map(|key| ConfigMapKeySelector {
            name: key.name.clone(),
            key: key.key.clone(),
            optional: None,
        }),
        ..EnvVarSource::default()
    });
    EnvVar {
        name: variable.name.clone(),
        value: variable.value.clone(),
        value_from: from,
    }
}

fn probe(period_seconds: i32, timeout_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        grpc: Some(GRPCAction {
            port: i32::from(HEALTH_PORT),
            service: None,
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(timeout_seconds),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn resources(resources: &Resources) -> ResourceRequirements {
    let list = |list: &BTreeMap<String, Quantity>| -> Option<BTreeMap<String, Amount>> {
        let amounts = list.iter().map(|(name, quantity)| (name.clone(), quantity.into()));
        (!list.is_empty()).then(|| amounts.collect())
    };
    ResourceRequirements {
        limits: list(&resources.limits),
        requests: list(&resources.requests),
        claims: None,
    }
}
