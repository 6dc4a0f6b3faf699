//! How many of a revision's pods may be taken away at once by whoever drains nodes.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kite_api::object_names;

use super::{labelled, metadata, selector};
use crate::controller::validate::ValidatedPlugin;

/// One for each of the revisions, if they have several pods: with one, no node could be drained. Each has its own, so that a revision that
/// does not come up keeps nobody from draining nodes on which the old one runs.
pub fn build(plugin: &ValidatedPlugin, namespace: &str, revisions: &BTreeSet<i64>) -> Vec<PodDisruptionBudget> {
    if !plugin.enabled || plugin.replicas < 2 {
        return Vec::new();
    }
    let budget = |number: &i64| budget(plugin, namespace, *number);
    revisions.iter().map(budget).collect()
}

fn budget(plugin: &ValidatedPlugin, namespace: &str, number: i64) -> PodDisruptionBudget {
    let mut metadata = metadata(plugin, object_names::revision(&plugin.name, number), Some(namespace));
    metadata.labels = Some(labelled(plugin, number));
    PodDisruptionBudget {
        metadata,
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            min_available: None,
            selector: Some(LabelSelector {
                match_labels: Some(selector(plugin, number)),
                match_expressions: None,
            }),
            // Pods that serve nobody keep no node from being drained.
            unhealthy_pod_eviction_policy: Some(String::from("AlwaysAllow")),
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::validate::tests::plugin;

    fn built(change: fn(&mut Value), revisions: &[i64]) -> Vec<PodDisruptionBudget> {
        build(&plugin(change), "kite-plugins", &revisions.iter().copied().collect())
    }

    #[test]
    fn each_revision_with_several_pods_loses_one_at_a_time() {
        let several = |o: &mut Value| o["spec"]["replicas"] = json!(2);
        let budgets = built(several, &[3, 4]);
        assert_eq!(budgets.len(), 2);
        insta::assert_yaml_snapshot!(budgets[1]);
    }

    #[test]
    fn one_pod_or_none_is_kept_by_nothing() {
        assert_eq!(built(|_| {}, &[1]), []);
        let disabled = |o: &mut Value| {
            o["spec"]["replicas"] = json!(2);
            o["spec"]["enabled"] = json!(false);
        };
        assert_eq!(built(disabled, &[1]), []);
        assert_eq!(built(|o| o["spec"]["replicas"] = json!(2), &[]), []);
    }
}
