//! What runs: the Deployment of the plugin's revision, and the Service by which its ready pods are found.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, Container, ContainerPort, EnvVar, GRPCAction, KeyToPath, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection,
            SecurityContext, Service, ServiceAccountTokenProjection, ServicePort, ServiceSpec, Volume, VolumeMount,
            VolumeProjection,
        },
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kite_api::{Quantity, Resources, identity::GATEWAY_AUDIENCE, labels, object_names};
use kite_proto::{
    CERTIFICATE_FILE, CLIENTS_CA_FILE, GATEWAY_ADDRESS_FILE, GATEWAY_CA_FILE, GATEWAY_TOKEN_FILE, HEALTH_PORT,
    KEY_FILE, MOUNT_PATH, NAME_VARIABLE, PORT,
};
use kube::api::ObjectMeta;

use super::{REVISION, metadata, plugin_labels};
use crate::controller::{object::TEMPLATE, validate::ValidatedPlugin};

/// Name of the protocol's port.
const GRPC: &str = "grpc";
/// Name of the kubelet's port.
const HEALTH: &str = "health";
/// Name of the container, for `kubectl logs -c`.
const CONTAINER: &str = "plugin";
const IDENTITY_VOLUME: &str = "kite";
/// The group that may read the mounted files. Any number does that is not root's: the kubelet gives the files to it and
/// the container's processes become members of it.
const FILES_GROUP: i64 = 65_532;
/// Owner and group may read the mounted files.
const FILES_MODE: i32 = 0o440;
/// How long a token for the gateway is valid, the default of Kubernetes' own; the kubelet renews it at four fifths.
const TOKEN_SECONDS: i64 = 3600;
/// On a pod: the version that the object said when the pod was made, so that another version means other pods.
const VERSION: &str = "kite.dev/version";

/// On a pod: a hash of the CAs' certificates that it was started with. Plugins read their files once, so a new CA means
/// other pods; the annotation goes when plugins load certificates without a restart.
const AUTHORITIES: &str = "kite.dev/authorities";

/// The tokens that a pod gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Tokens {
    /// For the API server.
    api: bool,
    /// For the gateway.
    gateway: bool,
}

impl Tokens {
    /// Those that `plugin` has a use for.
    fn wanted(plugin: &ValidatedPlugin) -> Self {
        Self {
            api: !plugin.grant.is_empty(),
            gateway: !plugin.calls.is_empty(),
        }
    }

    /// All that are these and more.
    fn and_more(self) -> impl Iterator<Item = Self> {
        let all = [(false, false), (false, true), (true, false), (true, true)];
        let all = all.into_iter().map(|(api, gateway)| Self { api, gateway });
        all.filter(move |it| it.api >= self.api && it.gateway >= self.gateway)
    }
}

/// The Deployment, and the hash of its pods' template. `found` is the hash of the template that is there already. If its
/// pods have a token, and differ in nothing else, they keep it when the last permission or call goes: taking it away would
/// restart them, and without rights it opens nothing. With `hold` no pod is made.
pub fn deployment(
    plugin: &ValidatedPlugin,
    namespace: &str,
    found: Option<&str>,
    authorities: &str,
    hold: bool,
) -> (Deployment, String) {
    let wanted = Tokens::wanted(plugin);
    let (pod_template, hash) = wanted
        .and_more()
        .map(|tokens| template(plugin, tokens, authorities))
        .find(|(_, hash)| found == Some(hash.as_str()))
        .unwrap_or_else(|| template(plugin, wanted, authorities));
    let mut metadata = metadata(plugin, object_names::revision(&plugin.name, REVISION), Some(namespace));
    metadata.labels = Some(revision_labels(plugin));
    let deployment = Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(if plugin.enabled && !hold { plugin.replicas } else { 0 }),
            revision_history_limit: Some(2),
            selector: LabelSelector {
                match_labels: Some(selector(plugin)),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some(String::from("RollingUpdate")),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: pod_template,
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    (deployment, hash)
}

/// The Service. It is headless: whoever calls a plugin chooses among its endpoints, and nobody dials its address.
pub fn service(plugin: &ValidatedPlugin, namespace: &str) -> Service {
    let mut metadata = metadata(plugin, object_names::revision(&plugin.name, REVISION), Some(namespace));
    metadata.labels = Some(revision_labels(plugin));
    Service {
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: Some(String::from("None")),
            selector: Some(selector(plugin)),
            ports: Some(vec![ServicePort {
                name: Some(GRPC.to_owned()),
                port: i32::from(PORT),
                protocol: Some(String::from("TCP")),
                target_port: Some(IntOrString::String(GRPC.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn selector(plugin: &ValidatedPlugin) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::PLUGIN.to_owned(), plugin.name.to_string()),
        (labels::REVISION.to_owned(), REVISION.to_string()),
    ])
}

fn revision_labels(plugin: &ValidatedPlugin) -> BTreeMap<String, String> {
    let mut labels = plugin_labels(plugin);
    labels.extend(selector(plugin));
    labels
}

fn template(plugin: &ValidatedPlugin, tokens: Tokens, authorities: &str) -> (PodTemplateSpec, String) {
    let spec = pod(plugin, tokens);
    let version = plugin.version.to_string();
    // Serializing such a value cannot fail; if it did, the hash would only tell fewer templates apart.
    let hash = kite_proto::sha256(&serde_json::to_vec(&(&version, authorities, &spec)).unwrap_or_default());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(revision_labels(plugin)),
            annotations: Some(BTreeMap::from([
                (TEMPLATE.to_owned(), hash.clone()),
                (VERSION.to_owned(), version),
                (AUTHORITIES.to_owned(), authorities.to_owned()),
                (
                    String::from("kubectl.kubernetes.io/default-container"),
                    CONTAINER.to_owned(),
                ),
            ])),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    };
    (template, hash)
}

fn pod(plugin: &ValidatedPlugin, tokens: Tokens) -> PodSpec {
    PodSpec {
        service_account_name: Some(object_names::base(&plugin.name)),
        automount_service_account_token: Some(tokens.api),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(30),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            fs_group: Some(FILES_GROUP),
            seccomp_profile: Some(SeccompProfile {
                type_: String::from("RuntimeDefault"),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        volumes: Some(vec![folder(plugin, tokens.gateway)]),
        containers: vec![container(plugin)],
        ..PodSpec::default()
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
            items: Some(files.into_iter().map(file).collect()),
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

fn file(name: &str) -> KeyToPath {
    KeyToPath {
        key: name.to_owned(),
        path: name.to_owned(),
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
    Container {
        name: CONTAINER.to_owned(),
        image: Some(plugin.image.clone()),
        image_pull_policy: Some(plugin.image_pull_policy.as_str().to_owned()),
        env: Some(vec![EnvVar {
            name: NAME_VARIABLE.to_owned(),
            value: Some(plugin.name.to_string()),
            value_from: None,
        }]),
        ports: Some(vec![port(GRPC, PORT), port(HEALTH, HEALTH_PORT)]),
        // A start may take a minute; from then on an answer is due soon, and a plugin that hangs for half a minute is
        // started again.
        startup_probe: Some(probe(1, 60)),
        readiness_probe: Some(probe(5, 2)),
        liveness_probe: Some(probe(10, 3)),
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
        volume_mounts: Some(vec![VolumeMount {
            name: IDENTITY_VOLUME.to_owned(),
            mount_path: MOUNT_PATH.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn probe(period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        grpc: Some(GRPCAction {
            port: i32::from(HEALTH_PORT),
            service: None,
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(3),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn resources(resources: &Resources) -> ResourceRequirements {
    let list = |list: &BTreeMap<String, Quantity>| {
        (!list.is_empty()).then(|| {
            list.iter()
                .map(|(name, quantity)| (name.clone(), quantity.into()))
                .collect()
        })
    };
    ResourceRequirements {
        limits: list(&resources.limits),
        requests: list(&resources.requests),
        claims: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controller::validate::tests::plugin;

    const AUTHORITIES: &str = "sha256:ca";

    /// Hash of the template that a plugin gets where the template `found` is there.
    fn template_hash(change: impl FnOnce(&mut serde_json::Value), found: Option<&str>) -> String {
        deployment(&plugin(change), "kite-plugins", found, AUTHORITIES, false).1
    }

    fn mounts_token(change: impl FnOnce(&mut serde_json::Value), found: Option<&str>) -> Option<bool> {
        let (deployment, _) = deployment(&plugin(change), "kite-plugins", found, AUTHORITIES, false);
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        pod.automount_service_account_token
    }

    #[test]
    fn the_deployment_is_restricted() {
        let plugin =
            plugin(|o| o["spec"]["resources"] = json!({"limits": {"memory": "128Mi"}, "requests": {"cpu": 1}}));
        let (deployment, hash) = deployment(&plugin, "kite-plugins", None, AUTHORITIES, false);
        let mut value = serde_json::to_value(deployment).unwrap();
        let annotation = value.pointer_mut("/spec/template/metadata/annotations").unwrap();
        assert_eq!(annotation["kite.dev/template"].take(), json!(hash));
        insta::assert_yaml_snapshot!(value);
    }

    #[test]
    fn the_service_selects_the_revision() {
        insta::assert_yaml_snapshot!(service(&plugin(|_| {}), "kite-plugins"));
    }

    #[test]
    fn a_disabled_plugin_has_no_pods() {
        let disabled = plugin(|o| o["spec"]["enabled"] = json!(false));
        let replicas = |plugin: &ValidatedPlugin, hold| {
            let (deployment, _) = deployment(plugin, "kite-plugins", None, AUTHORITIES, hold);
            deployment.spec.unwrap().replicas
        };
        assert_eq!(replicas(&disabled, false), Some(0));
        assert_eq!(replicas(&plugin(|_| {}), true), Some(0), "nor has one that is held");
        assert_eq!(replicas(&plugin(|_| {}), false), Some(1));
    }

    #[test]
    fn withdrawing_the_last_permission_restarts_nothing() {
        let none = |o: &mut serde_json::Value| o["spec"]["permissions"] = json!([]);
        let before = template_hash(|_| {}, None);
        assert_eq!(before, template_hash(none, Some(&before)));
        assert_ne!(before, template_hash(none, None), "a first right needs a token");
    }

    #[test]
    fn a_token_does_not_outlive_the_pods_that_have_it() {
        let none = |o: &mut serde_json::Value| o["spec"]["permissions"] = json!([]);
        let none_and_other = |o: &mut serde_json::Value| {
            none(o);
            o["spec"]["image"] = json!("other");
        };
        let before = template_hash(|_| {}, None);
        assert_eq!(mounts_token(none, Some(&before)), Some(true));
        assert_eq!(mounts_token(none_and_other, Some(&before)), Some(false));
        assert_eq!(mounts_token(none, None), Some(false));
        let without = template_hash(none, None);
        assert_eq!(mounts_token(none, Some(&without)), Some(false));
    }

    #[test]
    fn a_first_call_needs_a_token_and_withdrawing_the_last_restarts_nothing() {
        let calls = |o: &mut serde_json::Value| o["spec"]["calls"] = json!(["other"]);
        let without = template_hash(|_| {}, None);
        let with = template_hash(calls, Some(&without));
        assert_ne!(without, with);
        assert_eq!(template_hash(|_| {}, Some(&with)), with);
        assert_eq!(template_hash(|_| {}, None), without);
        let both_gone = |o: &mut serde_json::Value| o["spec"]["permissions"] = json!([]);
        assert_eq!(template_hash(both_gone, Some(&with)), with);
    }

    #[test]
    fn a_plugin_that_may_call_others_has_a_token_for_the_gateway_alone() {
        let plugin = plugin(|o| {
            o["spec"]["permissions"] = json!([]);
            o["spec"]["calls"] = json!(["other"]);
        });
        let (deployment, _) = deployment(&plugin, "kite-plugins", None, AUTHORITIES, false);
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.automount_service_account_token, Some(false));
        let sources = pod.volumes.unwrap().remove(0).projected.unwrap().sources.unwrap();
        let token = sources[1].service_account_token.as_ref().unwrap();
        assert_eq!(token.audience.as_deref(), Some("kite-gateway"));
    }

    #[test]
    fn a_new_ca_makes_other_pods() {
        let hash = |authorities| deployment(&plugin(|_| {}), "kite-plugins", None, authorities, false).1;
        assert_ne!(hash("sha256:ca"), hash("sha256:cb"));
    }

    #[test]
    fn what_pods_run_makes_another_template_and_their_number_does_not() {
        let base = template_hash(|_| {}, None);
        assert_eq!(base, template_hash(|o| o["spec"]["replicas"] = json!(3), None));
        assert_eq!(base, template_hash(|o| o["spec"]["enabled"] = json!(false), None));
        assert_ne!(base, template_hash(|o| o["spec"]["image"] = json!("other"), None));
        assert_ne!(base, template_hash(|o| o["spec"]["version"] = json!("0.1.1"), None));
    }
}
