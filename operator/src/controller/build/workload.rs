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
use semver::Version;

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

/// What is there already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found<'a> {
    pub deployment: Option<&'a Deployment>,
    /// Whether the plugin had started before.
    pub started: bool,
}

impl Found<'_> {
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.deployment?.spec.as_ref()?.template)
    }

    /// An annotation of its pods.
    fn annotation(&self, key: &str) -> Option<&str> {
        let annotations = self.template()?.metadata.as_ref()?.annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }
}

/// The plugin's pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    pub deployment: Deployment,
    /// Hash of the pods' template, which each pod carries.
    pub template: String,
    /// The version that the pods are of.
    pub version: Version,
    /// Whether they are the pods of before, because those that the object wants wait for what they need.
    pub kept: bool,
}

/// The Deployment. If the pods that are there have a token, and differ in nothing else, they keep it when the last permission or
/// call goes: taking it away would restart them, and without rights it opens nothing.
///
/// A plugin that `waits` for something makes no pods before it has it. If it had started, its pods stay as they are, also where the
/// object wants others by now.
pub fn build(plugin: &ValidatedPlugin, namespace: &str, found: Found<'_>, authorities: &str, waits: bool) -> Workload {
    let there = found.annotation(TEMPLATE);
    let wanted = Tokens::wanted(plugin);
    let (pod_template, hash) = wanted
        .and_more()
        .map(|tokens| template(plugin, tokens, authorities))
        .find(|(_, hash)| there == Some(hash.as_str()))
        .unwrap_or_else(|| template(plugin, wanted, authorities));
    let before = found
        .annotation(VERSION)
        .and_then(|version| Version::parse(version).ok());
    let stays = waits && found.started;
    match (found.template(), there, before) {
        (Some(old), Some(there), Some(version)) if stays && there != hash => Workload {
            deployment: deployment(plugin, namespace, old.clone(), false),
            template: there.to_owned(),
            version,
            kept: true,
        },
        _ => Workload {
            deployment: deployment(plugin, namespace, pod_template, waits && !found.started),
            template: hash,
            version: plugin.version.clone(),
            kept: false,
        },
    }
}

fn deployment(plugin: &ValidatedPlugin, namespace: &str, pod_template: PodTemplateSpec, hold: bool) -> Deployment {
    let mut metadata = metadata(plugin, object_names::revision(&plugin.name, REVISION), Some(namespace));
    metadata.labels = Some(revision_labels(plugin));
    Deployment {
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
    }
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

    fn built(change: impl FnOnce(&mut serde_json::Value), found: Found<'_>, waits: bool) -> Workload {
        build(&plugin(change), "kite-plugins", found, AUTHORITIES, waits)
    }

    fn there(deployment: Option<&Deployment>, started: bool) -> Found<'_> {
        Found { deployment, started }
    }

    fn replicas(workload: &Workload) -> Option<i32> {
        workload.deployment.spec.as_ref().unwrap().replicas
    }

    /// Hash of the template that a plugin gets where the template `found` is there.
    fn template_hash(change: impl FnOnce(&mut serde_json::Value), found: Option<&str>) -> String {
        let found = found.map(of_template);
        built(change, there(found.as_ref(), false), false).template
    }

    /// A Deployment whose pods carry this hash.
    fn of_template(hash: &str) -> Deployment {
        let annotations = json!({TEMPLATE: hash, VERSION: "0.0.9"});
        let spec = json!({"replicas": 1, "selector": {}, "template": {"metadata": {"annotations": annotations}}});
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
    }

    fn mounts_token(change: impl FnOnce(&mut serde_json::Value), found: Option<&str>) -> Option<bool> {
        let found = found.map(of_template);
        let built = built(change, there(found.as_ref(), false), false);
        let pod = built.deployment.spec.unwrap().template.spec.unwrap();
        pod.automount_service_account_token
    }

    #[test]
    fn the_deployment_is_restricted() {
        let resources = json!({"limits": {"memory": "128Mi"}, "requests": {"cpu": 1}});
        let Workload {
            deployment,
            template: hash,
            ..
        } = built(|o| o["spec"]["resources"] = resources, Found::default(), false);
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
        let disabled = |o: &mut serde_json::Value| o["spec"]["enabled"] = json!(false);
        assert_eq!(replicas(&built(disabled, Found::default(), false)), Some(0));
        assert_eq!(replicas(&built(|_| {}, Found::default(), false)), Some(1));
    }

    #[test]
    fn a_plugin_that_waits_makes_no_pods_unless_it_had_started() {
        let waits = built(|_| {}, Found::default(), true);
        assert_eq!((replicas(&waits), waits.kept), (Some(0), false));
        let before = built(|_| {}, Found::default(), false);
        let goes_on = built(|_| {}, there(Some(&before.deployment), true), true);
        assert_eq!((replicas(&goes_on), goes_on.kept), (Some(1), false));
        assert_eq!(goes_on.template, before.template);
    }

    #[test]
    fn the_pods_of_before_stay_while_those_of_another_version_wait() {
        let before = built(|_| {}, Found::default(), false);
        let newer = |o: &mut serde_json::Value| {
            o["spec"]["version"] = json!("0.2.0");
            o["spec"]["replicas"] = json!(2);
        };
        let kept = built(newer, there(Some(&before.deployment), true), true);
        assert_eq!(
            (kept.kept, &kept.template, replicas(&kept)),
            (true, &before.template, Some(2))
        );
        assert_eq!(kept.version, Version::new(0, 1, 0));
        let of = |workload: &Workload| workload.deployment.spec.as_ref().unwrap().template.clone();
        assert_eq!(of(&kept), of(&before));
        let starts = built(newer, there(Some(&before.deployment), true), false);
        assert_eq!((starts.kept, starts.version), (false, Version::new(0, 2, 0)));
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
        let calls = |o: &mut serde_json::Value| {
            o["spec"]["permissions"] = json!([]);
            o["spec"]["calls"] = json!(["other"]);
        };
        let pod = built(calls, Found::default(), false)
            .deployment
            .spec
            .unwrap()
            .template
            .spec
            .unwrap();
        assert_eq!(pod.automount_service_account_token, Some(false));
        let sources = pod.volumes.unwrap().remove(0).projected.unwrap().sources.unwrap();
        let token = sources[1].service_account_token.as_ref().unwrap();
        assert_eq!(token.audience.as_deref(), Some("kite-gateway"));
    }

    #[test]
    fn a_new_ca_makes_other_pods() {
        let hash = |authorities| build(&plugin(|_| {}), "kite-plugins", Found::default(), authorities, false).template;
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
