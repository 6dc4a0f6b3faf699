//! Who may reach a plugin's pods over the network.

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use kite_api::{
    identity::{GATEWAY_NAME, OPERATOR_NAME},
    labels, object_names,
    plugin::traffic::Peer,
};
use kite_proto::{HEALTH_PORT, PORT};

use super::metadata;
use crate::{Namespaces, controller::validate::ValidatedPlugin};

/// On the system's pods, by the recommended labels of Kubernetes: which of its parts they are.
const PART: &str = "app.kubernetes.io/name";
/// On every namespace, by the API server itself: its name.
const NAMESPACE: &str = "kubernetes.io/metadata.name";

/// The policy for all pods of `plugin`: gateway and operator reach the protocol's port, those that may scrape it the health port, and nobody
/// anything else. The kubelet's probes come from the pod's own node, which a policy never bars. Whom the pods call is left to them.
pub fn build(plugin: &ValidatedPlugin, namespaces: &Namespaces) -> NetworkPolicy {
    let metrics = plugin.spec.metrics.as_ref();
    let scrapers = metrics.and_then(|metrics| metrics.allow_from.as_ref());
    let rules = [
        Some(ingress(PORT, system(namespaces))),
        scrapers.map(|peer| ingress(HEALTH_PORT, selected(peer))),
    ];
    NetworkPolicy {
        metadata: metadata(plugin, object_names::base(&plugin.name), Some(&namespaces.plugins)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(labelled(labels::PLUGIN, plugin.name.as_str())),
            policy_types: Some(vec![String::from("Ingress")]),
            ingress: Some(rules.into_iter().flatten().collect()),
            egress: None,
        }),
    }
}

fn ingress(port: u16, from: NetworkPolicyPeer) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(vec![from]),
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(i32::from(port))),
            protocol: Some(String::from("TCP")),
            end_port: None,
        }]),
    }
}

/// Gateway and operator.
fn system(namespaces: &Namespaces) -> NetworkPolicyPeer {
    let parts = LabelSelectorRequirement {
        key: PART.to_owned(),
        operator: String::from("In"),
        values: Some([GATEWAY_NAME, OPERATOR_NAME].map(str::to_owned).into()),
    };
    NetworkPolicyPeer {
        namespace_selector: Some(labelled(NAMESPACE, &namespaces.system)),
        pod_selector: Some(LabelSelector {
            match_expressions: Some(vec![parts]),
            match_labels: None,
        }),
        ip_block: None,
    }
}

/// The same pods in the words of a policy, in which a peer must select something.
fn selected(peer: &Peer) -> NetworkPolicyPeer {
    let pods = peer.pod_selector.clone();
    NetworkPolicyPeer {
        namespace_selector: peer.namespace_selector.clone(),
        pod_selector: pods.or_else(|| peer.namespace_selector.is_none().then(LabelSelector::default)),
        ip_block: None,
    }
}

fn labelled(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(key.to_owned(), value.to_owned())].into()),
        match_expressions: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::validate::tests::plugin;

    fn policy(metrics: Value) -> NetworkPolicy {
        let namespaces = Namespaces {
            system: String::from("kite-system"),
            plugins: String::from("kite-plugins"),
        };
        build(&plugin(|o| o["spec"]["metrics"] = metrics), &namespaces)
    }

    #[test]
    fn gateway_and_operator_reach_the_protocol_and_nobody_anything_else() {
        let closed = policy(Value::Null);
        assert_eq!(closed, policy(json!({})), "metrics for nobody");
        insta::assert_yaml_snapshot!(closed);
    }

    #[test]
    fn those_that_may_scrape_reach_the_health_port() {
        let from = |allow_from: Value| {
            let rules = policy(json!({"allowFrom": allow_from})).spec.unwrap().ingress.unwrap();
            assert_eq!(rules.len(), 2);
            serde_json::to_value(&rules[1]).unwrap()
        };
        let ports = json!([{"port": 9440, "protocol": "TCP"}]);
        for (given, expected) in [
            (json!({"namespaceSelector": {}}), json!({"namespaceSelector": {}})),
            (json!({}), json!({"podSelector": {}})),
            (
                json!({"podSelector": {"matchLabels": {"app": "prometheus"}}}),
                json!({"podSelector": {"matchLabels": {"app": "prometheus"}}}),
            ),
            (
                json!({
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
                    "podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
                }),
                json!({
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
                    "podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
                }),
            ),
        ] {
            assert_eq!(
                from(given.clone()),
                json!({"from": [expected], "ports": ports}),
                "{given}"
            );
        }
    }
}
