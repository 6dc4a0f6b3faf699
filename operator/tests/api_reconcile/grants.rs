//! What a plugin may do is what its object grants, as the API server itself says: generated grants read back, hand edits,
//! namespaces that are made again, calls.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec},
    core::v1::Namespace,
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding},
};
use kite_api::{
    KitePlugin, Permission, Verb, boundary,
    rights::{Place, Right, rights},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams},
};
use proptest::{
    prelude::*,
    sample::{select, subsequence},
    strategy::ValueTree,
    test_runner::TestRunner,
};
use serde_json::{Value, json};

use super::{
    pods,
    support::{LIMIT, World, conditions, world},
};

/// Group, resource, verb and name that a rule gives.
type Flat = (String, String, String, Option<String>);

/// How many grants are generated.
const GRANTS: usize = 24;

fn flat(rules: &[PolicyRule]) -> BTreeSet<Flat> {
    let mut all = BTreeSet::new();
    for rule in rules {
        let names: Vec<Option<String>> = match rule.resource_names.as_deref().unwrap_or_default() {
            [] => vec![None],
            names => names.iter().cloned().map(Some).collect(),
        };
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    for name in &names {
                        all.insert((group.clone(), resource.clone(), verb.clone(), name.clone()));
                    }
                }
            }
        }
    }
    all
}

fn expected(all: &BTreeSet<Right>, place: &Place) -> BTreeSet<Flat> {
    let here = all.iter().filter(|right| right.place == *place);
    here.map(|right| {
        let verb = right.verb.as_str().to_owned();
        (right.group.clone(), right.resource.clone(), verb, right.name.clone())
    })
    .collect()
}

/// Deletes a namespace, whose content nobody removes on an API server without controllers, and makes another of its name.
async fn remake_namespace(w: &World, name: &str) {
    let api = w.everywhere::<Namespace>();
    w.within::<Role>(name)
        .delete_collection(&DeleteParams::default(), &kube::api::ListParams::default())
        .await
        .unwrap();
    w.within::<RoleBinding>(name)
        .delete_collection(&DeleteParams::default(), &kube::api::ListParams::default())
        .await
        .unwrap();
    api.delete(name, &DeleteParams::default()).await.unwrap();
    let finalize =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []}});
    let request = http::Request::put(format!("/api/v1/namespaces/{name}/finalize"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(finalize.to_string().into_bytes())
        .unwrap();
    w.client.request::<Value>(request).await.unwrap();
    w.gone(&api, name).await;
    w.make_namespace(name).await;
}

fn texts(pool: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(pool, 1..=most).prop_map(|some| some.into_iter().map(str::to_owned).collect())
}

fn permission(places: &[String]) -> impl Strategy<Value = Permission> + use<> {
    let all = || Just(vec![String::from("*")]);
    let groups = prop_oneof![5 => texts(&["", "apps", "example.com"], 3), 1 => all()];
    let pool: &[&str] = &[
        "pods",
        "pods/log",
        "configmaps",
        "deployments",
        "deployments/scale",
        "widgets",
        "nodes",
    ];
    let resources = prop_oneof![5 => texts(pool, 4), 1 => all()];
    let verbs = prop_oneof![5 => subsequence(Verb::REQUESTS.to_vec(), 1..=8), 1 => Just(vec![Verb::All])];
    let names = prop_oneof![2 => Just(None), 1 => texts(&["a", "system:b", "c.d_e"], 3).prop_map(Some)];
    let namespaces = prop_oneof![
        1 => Just(None),
        1 => Just(Some(vec![String::from("*")])),
        2 => subsequence(places.to_vec(), 1..=places.len()).prop_map(Some),
    ];
    (groups, resources, verbs, names, namespaces).prop_map(
        |(api_groups, resources, verbs, resource_names, namespaces)| Permission {
            api_groups,
            resources,
            verbs,
            resource_names,
            namespaces,
            allow_wildcards: Some(true),
            acknowledge_dangerous: Some(true),
        },
    )
}

/// What the API server says that the client may do in a namespace.
async fn rules(client: &Client, namespace: &str) -> BTreeSet<Flat> {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let api: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let status = api
        .create(&PostParams::default(), &review)
        .await
        .unwrap()
        .status
        .unwrap();
    let rules = status.resource_rules.into_iter().map(|rule| PolicyRule {
        api_groups: rule.api_groups,
        resources: rule.resources,
        resource_names: rule.resource_names,
        verbs: rule.verbs,
        ..PolicyRule::default()
    });
    flat(&rules.collect::<Vec<_>>())
}

/// Waits until the API server says that the plugin has these rights in a namespace, beside those of a stranger: it learns of roles by
/// watches of its own.
async fn is_told(expected: &BTreeSet<Flat>, [plugin, stranger]: [&Client; 2], namespace: &str) {
    let mut turns = tokio::time::interval(Duration::from_millis(50));
    let mut told = BTreeSet::new();
    let eventually = async {
        while told != *expected {
            turns.tick().await;
            told = &rules(plugin, namespace).await - &rules(stranger, namespace).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, eventually).await.is_ok();
    assert!(in_time, "{namespace}: {told:#?} instead of {expected:#?}");
}

fn is_refused(plugin: &KitePlugin) -> bool {
    conditions(plugin).contains(&String::from("PermissionsGranted=False Refused"))
}

#[test]
fn roles_read_back_equal_the_grant_and_the_plugin_is_told_the_same() {
    world().run(async |w: &World| {
        let own = w.plugins_namespace().to_owned();
        let places: Vec<String> = ["one", "two", "three"]
            .iter()
            .map(|name| format!("{name}-{own}"))
            .collect();
        for place in &places {
            w.make_namespace(place).await;
        }
        let client = w.client_of_account("kite-plugin-generated");
        // What every account may do, such as asking what it may do.
        let stranger = w.client_of_account("nobody-in-particular");
        let mut runner = TestRunner::default();
        let all_places: Vec<String> = places.iter().chain([&own]).cloned().collect();
        let grants = (
            prop::collection::vec(permission(&places), 0..4),
            prop::collection::vec(select(vec!["other", "third"]), 0..3),
        );
        for _ in 0..GRANTS {
            let (permissions, mut calls) = grants.new_tree(&mut runner).unwrap().current();
            calls.sort_unstable();
            calls.dedup();
            let mut fields = json!({"permissions": permissions});
            if !calls.is_empty() {
                fields["calls"] = json!(calls);
            }
            let plugin = w.apply("generated", fields).await;
            w.observed("generated", plugin.metadata.generation.unwrap()).await;
            // What the rules of the API refuse is told, and not given.
            let (accepted, refused) = boundary::accepted(&plugin.spec, w.places());
            assert_eq!(is_refused(&w.plugin("generated").await), !refused.is_empty());
            let granted = rights(&accepted, &own).unwrap();
            let cluster = w
                .everywhere::<ClusterRole>()
                .get_opt("kite-plugin-generated")
                .await
                .unwrap();
            let in_cluster = expected(&granted, &Place::Cluster);
            assert_eq!(
                cluster.is_some(),
                !in_cluster.is_empty(),
                "{:#?}",
                plugin.spec.permissions
            );
            let read = flat(&cluster.and_then(|role| role.rules).unwrap_or_default());
            assert_eq!(read, in_cluster, "{:#?}", plugin.spec.permissions);
            for place in &all_places {
                let role = w.within::<Role>(place).get_opt("kite-plugin-generated").await.unwrap();
                let here = expected(&granted, &Place::Namespace(place.clone()));
                assert_eq!(
                    role.is_some(),
                    !here.is_empty(),
                    "{place}: {:#?}",
                    plugin.spec.permissions
                );
                let read = flat(&role.and_then(|role| role.rules).unwrap_or_default());
                assert_eq!(read, here, "{place}: {:#?}", plugin.spec.permissions);
                let both: BTreeSet<Flat> = &here | &in_cluster;
                is_told(&both, [&client, &stranger], place).await;
            }
        }
    });
}

#[test]
fn a_namespace_that_was_made_again_gets_no_role_until_it_is_granted_anew() {
    world().run(async |w: &World| {
        let place = format!("remade-{}", w.plugins_namespace());
        w.make_namespace(&place).await;
        let there = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": [place]}]);
        w.apply("remade", json!({"permissions": there})).await;
        w.observed("remade", 1).await;
        let roles = w.within::<Role>(&place);
        let first = roles.get("kite-plugin-remade").await.unwrap();
        let recorded = w.plugin("remade").await.status.unwrap().namespaces;
        assert_eq!(recorded[0].name, place);

        remake_namespace(w, &place).await;
        let told = |plugin: &KitePlugin| {
            conditions(plugin).contains(&String::from("PermissionsGranted=False NamespaceReplaced"))
        };
        let replaced = w.seen(&w.everywhere(), "remade", told).await;
        assert_eq!(
            replaced.status.unwrap().namespaces,
            recorded,
            "the record is of what was granted"
        );
        assert!(roles.get_opt("kite-plugin-remade").await.unwrap().is_none());

        w.apply("remade", json!({})).await;
        w.observed("remade", 2).await;
        w.apply("remade", json!({"permissions": there})).await;
        let again = w.seen(&roles, "kite-plugin-remade", |_| true).await;
        assert_ne!(again.uid(), first.uid());
        w.seen(&w.everywhere(), "remade", |plugin| !told(plugin)).await;
    });
}

#[test]
fn what_is_edited_by_hand_is_put_back() {
    world().run(async |w: &World| {
        let nodes = json!({"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"], "namespaces": ["*"]});
        let mut permissions = pods();
        permissions.as_array_mut().unwrap().push(nodes);
        w.apply("handmade", json!({"permissions": permissions})).await;
        w.observed("handmade", 1).await;
        let name = "kite-plugin-handmade";

        let bindings = w.plugins::<RoleBinding>();
        let good: RoleBinding = w.get(name).await;
        let intruder =
            json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"}]);
        w.merge(&bindings, name, json!({"subjects": intruder})).await;
        w.put_back(&bindings, name, |binding| binding.subjects == good.subjects)
            .await;

        let bindings = w.everywhere::<ClusterRoleBinding>();
        let good = bindings.get(name).await.unwrap();
        w.merge(&bindings, name, json!({"subjects": intruder})).await;
        w.put_back(&bindings, name, |binding| binding.subjects == good.subjects)
            .await;

        let roles = w.everywhere::<ClusterRole>();
        let good = roles.get(name).await.unwrap();
        let wider = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
        w.merge(&roles, name, wider).await;
        w.put_back(&roles, name, |role| role.rules == good.rules).await;
        let collects = json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
        w.merge(&roles, name, collects).await;
        w.put_back(&roles, name, |role| {
            role.aggregation_rule.is_none() && role.rules == good.rules
        })
        .await;

        // Without its label it would no longer be found among what is to be withdrawn.
        let unlabelled = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
        w.merge(&roles, name, unlabelled).await;
        w.put_back(&roles, name, |role| role.metadata.labels == good.metadata.labels)
            .await;
    });
}

#[test]
fn a_narrowed_grant_is_narrow_though_the_new_pods_are_refused() {
    world().run(async |w: &World| {
        let grant = |verbs: Value| json!([{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]);
        w.apply(
            "narrowed",
            json!({"permissions": grant(json!(["get", "list", "watch"]))}),
        )
        .await;
        w.observed("narrowed", 1).await;
        // More memory asked for than allowed, which an API server refuses.
        let impossible = json!({"limits": {"memory": "64Mi"}, "requests": {"memory": "128Mi"}});
        let fields = json!({"permissions": grant(json!(["get"])), "resources": impossible});
        w.apply("narrowed", fields).await;
        let refused = w.observed("narrowed", 2).await;
        assert!(conditions(&refused).contains(&String::from("Stalled=True Refused")));
        let role: Role = w.get("kite-plugin-narrowed").await;
        assert_eq!(role.rules.unwrap()[0].verbs, ["get"]);
    });
}

#[test]
fn what_others_have_labelled_as_ours_is_not_deleted() {
    world().run(async |w: &World| {
        let foreign = json!({
            "metadata": {"name": "foreign", "labels": {"kite.dev/plugin": "bystander", "app.kubernetes.io/managed-by": "kite-operator"}},
            "rules": [],
        });
        let roles = w.plugins::<Role>();
        let foreign = serde_json::from_value(foreign).unwrap();
        roles.create(&PostParams::default(), &foreign).await.unwrap();
        w.apply("bystander", json!({"permissions": pods()})).await;
        w.observed("bystander", 1).await;
        w.apply("bystander", json!({})).await;
        w.gone(&roles, "kite-plugin-bystander").await;
        w.observed("bystander", 2).await;
        roles.get("foreign").await.unwrap();
    });
}
