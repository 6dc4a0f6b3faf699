//! What runs: the Deployment of a revision, and the Service by which its ready pods are found.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{PodTemplateSpec, Service, ServicePort, ServiceSpec},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kite_api::object_names;
use kite_proto::PORT;

use super::{labelled, metadata, overlay, selector};
use crate::{
    controller::{object::TEMPLATE, revision::Revision, validate::ValidatedPlugin},
    pod_defaults::PodDefaults,
};

/// Name of the protocol's port.
pub(super) const GRPC: &str = "grpc";
/// For how many seconds a pod that takes the place of another has been ready before the other goes, so that every gateway has learnt where it
/// is. For what is told of the plugin a pod counts as soon as it is ready: it gets requests from then on.
const MIN_READY_SECONDS: i32 = 3;

/// A revision's pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    pub deployment: Deployment,
    /// Hash of the pods' template, which each pod carries.
    pub template: String,
}

/// The Deployment of a revision: with the template that was recorded when the revision was made, and what holds at once. One that is `held`
/// makes no pods yet.
pub fn build(
    plugin: &ValidatedPlugin,
    namespace: &str,
    revision: &Revision,
    defaults: &PodDefaults,
    held: bool,
) -> Workload {
    let (pod_template, hash) = of_now(plugin, revision, defaults);
    let number = revision.number;
    let mut metadata = metadata(plugin, object_names::revision(&plugin.name, number), Some(namespace));
    metadata.labels = Some(labelled(plugin, number));
    let deployment = Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(if plugin.enabled && !held { plugin.replicas } else { 0 }),
            revision_history_limit: Some(2),
            min_ready_seconds: Some(MIN_READY_SECONDS),
            selector: LabelSelector {
                match_labels: Some(selector(plugin, number)),
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
    Workload {
        deployment,
        template: hash,
    }
}

/// The Service of a revision. It is headless: whoever calls a plugin chooses among its endpoints, and nobody dials its address.
pub fn service(plugin: &ValidatedPlugin, namespace: &str, number: i64) -> Service {
    let mut metadata = metadata(plugin, object_names::revision(&plugin.name, number), Some(namespace));
    metadata.labels = Some(labelled(plugin, number));
    Service {
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: Some(String::from("None")),
            selector: Some(selector(plugin, number)),
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

/// The recorded template with what is of the revision's number and of now, and its hash.
fn of_now(plugin: &ValidatedPlugin, revision: &Revision, defaults: &PodDefaults) -> (PodTemplateSpec, String) {
    let mut template = revision.record.template.clone();
    overlay::lay(&mut template, &plugin.spec, defaults);
    // Serializing such a value cannot fail; if it did, the hash would only tell fewer templates apart.
    let hash = kite_proto::sha256(&serde_json::to_vec(&template).unwrap_or_default());
    let metadata = template.metadata.get_or_insert_default();
    metadata
        .labels
        .get_or_insert_default()
        .extend(labelled(plugin, revision.number));
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE.to_owned(), hash.clone());
    (template, hash)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::{build::pod::template, revision, validate::tests::plugin};

    /// A revision that is made of the plugin as it is after `change`.
    fn made(number: i64, change: fn(&mut Value)) -> Revision {
        let mut revision = revision::tests::revision(number, change);
        revision.record.template = template(&plugin(change), revision.record.tokens);
        revision
    }

    fn built(change: fn(&mut Value), held: bool) -> Workload {
        let defaults = PodDefaults::default();
        build(&plugin(change), "kite-plugins", &made(1, change), &defaults, held)
    }

    /// What is made of `revision` now that the object is as it is after `change`.
    fn now(revision: &Revision, change: fn(&mut Value)) -> Workload {
        let defaults = PodDefaults::default();
        build(&plugin(change), "kite-plugins", revision, &defaults, false)
    }

    fn pod(workload: Workload) -> PodSpec {
        workload.deployment.spec.unwrap().template.spec.unwrap()
    }

    fn replicas(workload: &Workload) -> Option<i32> {
        workload.deployment.spec.as_ref().unwrap().replicas
    }

    fn none(object: &mut Value) {
        object["spec"]["permissions"] = json!([]);
    }

    fn pod_of(change: fn(&mut Value)) -> PodSpec {
        pod(built(change, false))
    }

    #[test]
    fn the_deployment_is_restricted() {
        let resources = |o: &mut Value| {
            o["spec"]["resources"] = json!({"limits": {"memory": "128Mi"}, "requests": {"cpu": 1}});
        };
        let Workload {
            deployment,
            template: hash,
        } = built(resources, false);
        let mut value = serde_json::to_value(deployment).unwrap();
        let annotation = value.pointer_mut("/spec/template/metadata/annotations").unwrap();
        assert_eq!(annotation["kite.dev/template"].take(), json!(hash));
        insta::assert_yaml_snapshot!(value);
    }

    #[test]
    fn the_service_selects_the_revision() {
        insta::assert_yaml_snapshot!(service(&plugin(|_| {}), "kite-plugins", 1));
    }

    #[test]
    fn a_disabled_plugin_and_a_revision_that_is_held_have_no_pods() {
        let disabled = |o: &mut Value| o["spec"]["enabled"] = json!(false);
        assert_eq!(replicas(&built(disabled, false)), Some(0));
        assert_eq!(replicas(&built(|_| {}, true)), Some(0));
        assert_eq!(replicas(&built(|_| {}, false)), Some(1));
    }

    #[test]
    fn a_revision_is_applied_as_it_was_recorded_and_as_many_times_as_the_object_says() {
        let newer = |o: &mut Value| {
            o["spec"]["image"] = json!("other");
            o["spec"]["replicas"] = json!(3);
        };
        let before = built(|_| {}, false);
        let now = now(&made(1, |_| {}), newer);
        assert_eq!((replicas(&now), &now.template), (Some(3), &before.template));
        let of = |workload: &Workload| workload.deployment.spec.as_ref().unwrap().template.clone();
        assert_eq!(of(&now), of(&before));
    }

    #[test]
    fn what_a_later_operator_would_make_otherwise_restarts_nothing() {
        let mut revision = made(1, |_| {});
        let spec = revision.record.template.spec.as_mut().unwrap();
        spec.termination_grace_period_seconds = Some(77);
        assert_eq!(pod(now(&revision, |_| {})).termination_grace_period_seconds, Some(77));
    }

    #[test]
    fn pods_that_were_made_before_a_longer_request_are_replaced_by_ones_that_outlast_it() {
        let grace = |revision: &Revision, change| {
            let pod = pod(now(revision, change));
            let told = pod.containers[0].env.iter().flatten();
            let told = told.filter(|it| it.name == "KITE_GRACE_SECONDS");
            let told: Vec<_> = told.filter_map(|it| it.value.clone()).collect();
            (pod.termination_grace_period_seconds, told)
        };
        let longer = |o: &mut Value| o["spec"]["limits"] = json!({"timeoutSeconds": 31});
        let shorter = |o: &mut Value| o["spec"]["limits"] = json!({"timeoutSeconds": 1});
        let revision = made(1, |_| {});
        assert_eq!(grace(&revision, |_| {}), (Some(40), vec![String::from("40")]));
        assert_eq!(grace(&revision, longer), (Some(41), vec![String::from("41")]));
        assert_eq!(grace(&revision, shorter), (Some(40), vec![String::from("40")]));

        // One that is told nothing, as it was recorded once.
        let mut before = revision;
        let spec = before.record.template.spec.as_mut().unwrap();
        spec.termination_grace_period_seconds = Some(30);
        spec.containers[0].env.as_mut().unwrap().pop();
        assert_eq!(grace(&before, |_| {}), (Some(30), vec![]));
        assert_eq!(grace(&before, longer), (Some(41), vec![String::from("41")]));
    }

    #[test]
    fn what_the_object_says_of_its_pods_is_in_their_template() {
        let pod = pod_of(|o| {
            o["spec"]["imagePullSecrets"] = json!([{"name": "registry"}]);
            o["spec"]["nodeSelector"] = json!({"disk": "ssd"});
            o["spec"]["tolerations"] = json!([
                {"key": "spot", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60},
                {"operator": "Exists"},
            ]);
            o["spec"]["env"] = json!([
                {"name": "CURRENCY", "value": "EUR"},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "prices", "key": "token"}}},
                {"name": "URL", "valueFrom": {"configMapKeyRef": {"name": "prices", "key": "url"}}},
                {"name": "EMPTY"},
            ]);
            o["spec"]["volumes"] = json!([
                {"name": "data", "mountPath": "/data", "persistentVolumeClaim": {"claimName": "costs"}},
                {"name": "tmp", "mountPath": "/tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            ]);
        });
        insta::assert_yaml_snapshot!(pod);
    }

    #[test]
    fn what_the_installation_says_of_all_pods_is_laid_over_what_was_recorded() {
        let defaults = PodDefaults {
            registry_mirrors: vec!["registry.example=mirror.example/cache".parse().unwrap()],
            pull_secrets: vec![String::from("registry"), String::from("hub")],
            plugin_ca_config_map: Some(String::from("corporate-ca")),
            plugin_ca_secret: None,
        };
        let with = |change, defaults: &PodDefaults| {
            let revision = made(1, change);
            let built = build(&plugin(change), "kite-plugins", &revision, defaults, false);
            (built.template.clone(), pod(built))
        };
        let (hash, before) = with(|_| {}, &PodDefaults::default());
        let (other, now) = with(|_| {}, &defaults);
        assert_ne!(other, hash);
        insta::assert_yaml_snapshot!(json!({
            "image": now.containers[0].image, "env": now.containers[0].env, "volumes": now.volumes,
            "imagePullSecrets": now.image_pull_secrets,
        }));
        assert_eq!(now.containers[0].volume_mounts, before.containers[0].volume_mounts);

        let own = |o: &mut Value| {
            o["spec"]["image"] = json!("mirror.example/cache/hello:0.1.0");
            o["spec"]["imagePullSecrets"] = json!([{"name": "hub"}]);
            o["spec"]["env"] = json!([{"name": "SSL_CERT_DIR", "value": "/own"}]);
        };
        let secret = PodDefaults {
            plugin_ca_config_map: None,
            plugin_ca_secret: Some(String::from("corporate-ca")),
            ..defaults
        };
        let (_, pod) = with(own, &secret);
        assert_eq!(
            pod.containers[0].image.as_deref(),
            Some("mirror.example/cache/hello:0.1.0")
        );
        let names = |names: Vec<k8s_openapi::api::core::v1::LocalObjectReference>| {
            names.into_iter().map(|it| it.name).collect::<Vec<_>>()
        };
        assert_eq!(names(pod.image_pull_secrets.unwrap()), ["hub", "registry"]);
        let variables: Vec<_> = pod.containers[0].env.iter().flatten().map(|it| &it.name).collect();
        assert_eq!(variables, ["KITE_PLUGIN_NAME", "KITE_GRACE_SECONDS", "SSL_CERT_DIR"]);
        let sources = pod.volumes.unwrap().remove(0).projected.unwrap().sources.unwrap();
        assert_eq!(sources.last().unwrap().secret.as_ref().unwrap().name, "corporate-ca");
    }

    #[test]
    fn pods_have_the_tokens_that_there_is_a_use_for() {
        assert_eq!(pod_of(|_| {}).automount_service_account_token, Some(true));
        assert_eq!(pod_of(none).automount_service_account_token, Some(false));
        let pod = pod_of(|o| {
            none(o);
            o["spec"]["calls"] = json!(["other"]);
        });
        assert_eq!(pod.automount_service_account_token, Some(false));
        let sources = pod.volumes.unwrap().remove(0).projected.unwrap().sources.unwrap();
        let token = sources[1].service_account_token.as_ref().unwrap();
        assert_eq!(token.audience.as_deref(), Some("kite-gateway"));
    }
}
