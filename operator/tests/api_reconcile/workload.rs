//! What stands around a plugin's pods: who may reach them, how many may go at once, and what they are not started without.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kite_api::KitePlugin;
use kube::{
    ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use super::support::{World, conditions, is_owned, world};

fn message<'a>(plugin: &'a KitePlugin, kind: &str) -> &'a str {
    let conditions = plugin.status.iter().flat_map(|status| &status.conditions);
    let mut of_kind = conditions.filter(|condition| condition.type_ == kind);
    of_kind.next().map_or("", |condition| condition.message.as_str())
}

fn has_pods(wanted: i32) -> impl Fn(&Deployment) -> bool {
    move |deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(wanted)
}

#[test]
fn policy_and_budget_are_made_put_back_and_removed() {
    world().run(async |w: &World| {
        let policies = w.plugins::<NetworkPolicy>();
        let budgets = w.plugins::<PodDisruptionBudget>();
        let plugin = w.apply("guarded", json!({"replicas": 2})).await;
        w.observed("guarded", 1).await;
        let policy: NetworkPolicy = w.get("kite-plugin-guarded").await;
        is_owned(&policy, &plugin);
        let budget: PodDisruptionBudget = w.get("kite-plugin-guarded-1").await;
        is_owned(&budget, &plugin);

        // Edited by hand, then deleted.
        let open = json!({"spec": {"ingress": [{}]}});
        w.merge(&policies, "kite-plugin-guarded", open).await;
        let is_good = |other: &NetworkPolicy| other.spec == policy.spec;
        w.put_back(&policies, "kite-plugin-guarded", is_good).await;
        w.merge(
            &budgets,
            "kite-plugin-guarded-1",
            json!({"spec": {"maxUnavailable": 2}}),
        )
        .await;
        let holds = |other: &PodDisruptionBudget| other.spec == budget.spec;
        w.put_back(&budgets, "kite-plugin-guarded-1", holds).await;
        policies
            .delete("kite-plugin-guarded", &DeleteParams::default())
            .await
            .unwrap();
        let is_another = |other: &NetworkPolicy| other.spec == policy.spec && other.uid() != policy.uid();
        w.put_back(&policies, "kite-plugin-guarded", is_another).await;
        budgets
            .delete("kite-plugin-guarded-1", &DeleteParams::default())
            .await
            .unwrap();
        let is_another = |other: &PodDisruptionBudget| other.spec == budget.spec && other.uid() != budget.uid();
        w.put_back(&budgets, "kite-plugin-guarded-1", is_another).await;

        // Somebody else's that has the plugin's labels, and no name of ours.
        let mut foreign = budget.clone();
        foreign.metadata.name = Some(String::from("kite-plugin-guarded-mine"));
        foreign.metadata.resource_version = None;
        foreign.metadata.uid = None;
        foreign.metadata.owner_references = None;
        budgets.create(&PostParams::default(), &foreign).await.unwrap();

        let scraped = json!({"metrics": {"allowFrom": {"podSelector": {"matchLabels": {"app": "prometheus"}}}}});
        w.apply("guarded", scraped).await;
        let is_scraped = |policy: &NetworkPolicy| policy.spec.as_ref().unwrap().ingress.as_ref().unwrap().len() == 2;
        w.seen(&policies, "kite-plugin-guarded", is_scraped).await;
        w.gone(&budgets, "kite-plugin-guarded-1").await;
        assert!(
            budgets.get_opt("kite-plugin-guarded-mine").await.unwrap().is_some(),
            "what is not ours stays"
        );
        budgets
            .delete("kite-plugin-guarded-mine", &DeleteParams::default())
            .await
            .unwrap();

        w.apply("guarded", json!({"replicas": 2})).await;
        w.seen(&budgets, "kite-plugin-guarded-1", |_| true).await;
        w.apply("guarded", json!({"replicas": 2, "enabled": false})).await;
        w.gone(&budgets, "kite-plugin-guarded-1").await;
    });
}

#[test]
fn a_selector_that_is_none_is_told_and_opens_nothing() {
    world().run(async |w: &World| {
        let odd = json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Like", "values": ["a"]}]}});
        w.apply("selected", json!({"metrics": {"allowFrom": odd}})).await;
        let told = w.observed("selected", 1).await;
        let said = message(&told, "Ready");
        assert!(
            said.contains("NetworkPolicy") && said.contains("Like") && said.contains("matchExpressions"),
            "{said}"
        );
        let deployment = w.plugins::<Deployment>().get_opt("kite-plugin-selected-1").await;
        assert!(deployment.unwrap().is_none(), "nothing runs unguarded");
        w.apply("selected", json!({})).await;
        w.seen(&w.plugins(), "kite-plugin-selected-1", has_pods(1)).await;
    });
}

fn named() -> Value {
    let key = json!({"name": "withheld", "key": "a"});
    json!({
        "imagePullSecrets": [{"name": "withheld-pull"}],
        "env": [
            {"name": "A", "valueFrom": {"secretKeyRef": key}},
            {"name": "B", "valueFrom": {"configMapKeyRef": key}},
        ],
    })
}

#[test]
fn secret_by_reference_pods_are_not_started_before_what_they_name_is_there_and_meant_for_them() {
    world().run(async |w: &World| {
        let labelled = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
        let secret = async |name: &str, labels: Value| {
            let secret: Secret = serde_json::from_value(labelled(name, labels)).unwrap();
            w.plugins().create(&PostParams::default(), &secret).await.unwrap();
        };
        let tells = |words: &'static [&str]| {
            move |plugin: &KitePlugin| {
                let said = message(plugin, "WorkloadAvailable");
                conditions(plugin).contains(&String::from("WorkloadAvailable=False SecretMissing"))
                    && words.iter().all(|word| said.contains(word))
            }
        };
        let plugins = w.everywhere::<KitePlugin>();
        w.apply("withheld", named()).await;
        w.seen(&plugins, "withheld", tells(&["Secret withheld-pull", "is not there"]))
            .await;
        assert!(has_pods(0)(&w.get("kite-plugin-withheld-1").await));
        secret("withheld-pull", json!({"kite.dev/plugin": "withheld"})).await;
        w.seen(&plugins, "withheld", tells(&["withheld-pull kite.dev/pull=true"]))
            .await;
        w.merge(
            &w.plugins::<Secret>(),
            "withheld-pull",
            json!({"metadata": {"labels": {"kite.dev/pull": "true"}}}),
        )
        .await;
        secret("withheld", json!({"kite.dev/plugin": "another"})).await;
        w.seen(&plugins, "withheld", tells(&["withheld kite.dev/plugin=withheld"]))
            .await;
        w.merge(
            &w.plugins::<Secret>(),
            "withheld",
            json!({"metadata": {"labels": {"kite.dev/plugin": "withheld"}}}),
        )
        .await;
        let map = labelled("withheld", json!({"kite.dev/plugin": "withheld"}));
        let map: ConfigMap = serde_json::from_value(map).unwrap();
        w.plugins().create(&PostParams::default(), &map).await.unwrap();
        w.seen(&w.plugins(), "kite-plugin-withheld-1", has_pods(1)).await;

        // Those that run are not stopped for it, and a change that does not name it starts at once.
        w.merge(
            &w.plugins::<Secret>(),
            "withheld",
            json!({"metadata": {"labels": {"kite.dev/plugin": null}}}),
        )
        .await;
        let mut more = named();
        more["replicas"] = json!(2);
        w.apply("withheld", more).await;
        w.seen(&w.plugins(), "kite-plugin-withheld-1", has_pods(2)).await;
    });
}
