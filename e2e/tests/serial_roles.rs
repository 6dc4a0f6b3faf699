//! Operator and gateway use every right that the chart gives them, and are refused none: by the API server's log of the whole suite.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    fmt::{self, Debug},
    fs::File,
    io::{BufRead, BufReader},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use kite_api::{
    Phase,
    identity::{OLD_CERTIFICATE_KEY, SERVERS_CA_SECRET},
};
use kite_e2e::{
    cluster::{self, Layout},
    target::Target,
    testing::{PLUGINS, SOON, SYSTEM, Scope, eventually, scope},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Group, resource and verb of what is used in ways that no request shows, and how it is used.
const UNSEEN: [(&str, &str, &str, &str); 7] = [
    (
        "kite.dev",
        "kiteplugins/finalizers",
        "update",
        "asked by the API server where a plugin becomes an object's owner, as the local cluster's does: without it nothing is made",
    ),
    (
        "rbac.authorization.k8s.io",
        "roles",
        "escalate",
        "asked by the API server where a role gives what the operator does not hold, as nearly every grant does",
    ),
    ("rbac.authorization.k8s.io", "clusterroles", "escalate", "as for roles"),
    (
        "rbac.authorization.k8s.io",
        "roles",
        "bind",
        "asked by the API server where such a role is bound",
    ),
    ("rbac.authorization.k8s.io", "clusterroles", "bind", "as for roles"),
    (
        "",
        "services",
        "delete",
        "asked by the API server where a plugin becomes the owner of a Service that is there, as the local cluster's does",
    ),
    ("networking.k8s.io", "networkpolicies", "delete", "as for Services"),
];

/// A right of an account of the system.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
struct Right {
    account: String,
    /// The namespace in which its role is bound; empty for the whole cluster.
    place: String,
    group: String,
    resource: String,
    verb: String,
}

impl Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "*" } else { &self.place };
        let Self {
            account,
            group,
            resource,
            verb,
            ..
        } = self;
        write!(f, "{account} in {place}: {group:?} {resource}: {verb}")
    }
}

impl Right {
    fn is_unseen(&self) -> bool {
        UNSEEN
            .iter()
            .any(|(group, resource, verb, _)| (*group, *resource, *verb) == (&self.group, &self.resource, &self.verb))
    }
}

/// A line of the API server's log, as far as it is about rights.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    user: User,
    verb: String,
    #[serde(default)]
    object_ref: Option<Object>,
    #[serde(default)]
    response_status: Status,
    request_received_timestamp: Timestamp,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Debug, Deserialize)]
struct User {
    username: String,
    #[serde(default)]
    extra: serde_json::Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    resource: String,
    subresource: String,
    api_group: String,
    namespace: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "authorization.k8s.io/decision")]
    decision: String,
    #[serde(rename = "authorization.k8s.io/reason")]
    reason: String,
}

impl Event {
    /// Whether a pod asked: a test that makes itself a token of the account proves nothing of its rights.
    fn is_of_a_pod(&self) -> bool {
        self.user.extra.contains_key("authentication.kubernetes.io/pod-name")
    }

    fn is_refused(&self) -> bool {
        self.annotations.decision == "forbid"
    }

    fn in_words(&self) -> String {
        let Self {
            user,
            verb,
            object_ref,
            annotations,
            ..
        } = self;
        format!("{}: {verb} {object_ref:?}: {}", user.username, annotations.reason)
    }

    /// The rights that the request has used. The log says by which kind of binding it was allowed, so that a role for a namespace
    /// is not credited with what one for the whole cluster gives.
    fn uses(&self) -> Vec<Right> {
        let Some(object) = &self.object_ref else {
            return Vec::new();
        };
        let place = if self.annotations.reason.contains("allowed by RoleBinding") {
            object.namespace.clone()
        } else if self.annotations.reason.contains("allowed by ClusterRoleBinding") {
            String::new()
        } else {
            return Vec::new();
        };
        let resource = match object.subresource.as_str() {
            "" => object.resource.clone(),
            subresource => format!("{}/{subresource}", object.resource),
        };
        // Whoever applies what is not there yet must be allowed both.
        let creates = self.verb == "patch" && self.response_status.code == 201;
        let verbs = [self.verb.as_str()].into_iter().chain(creates.then_some("create"));
        let used = verbs.map(|verb| Right {
            account: self.user.username.rsplit(':').next().unwrap_or_default().to_owned(),
            place: place.clone(),
            group: object.api_group.clone(),
            resource: resource.clone(),
            verb: verb.to_owned(),
        });
        used.collect()
    }
}

/// What the pods of the system have asked of the API server since `begin`.
fn requests(begin: Timestamp) -> Vec<Event> {
    let running = cluster::status(&Layout::from_env().unwrap()).expect("the local cluster");
    let mut events = Vec::new();
    for path in running.audit_logs().unwrap() {
        for line in BufReader::new(File::open(path).unwrap()).lines() {
            // The last line may be one that is just being written.
            let event = serde_json::from_str::<Event>(&line.unwrap());
            events.extend(
                event
                    .ok()
                    .filter(|it| it.is_of_a_pod() && it.request_received_timestamp >= begin),
            );
        }
    }
    events
}

/// Accounts of the system among the subjects.
fn accounts(subjects: Option<&Vec<Subject>>) -> Vec<String> {
    let ours = |subject: &&Subject| subject.kind == "ServiceAccount" && subject.namespace.as_deref() == Some(SYSTEM);
    let subjects = subjects.into_iter().flatten();
    subjects.filter(ours).map(|subject| subject.name.clone()).collect()
}

async fn all<K>(scope: &Scope) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api = Api::<K>::all(scope.client.clone());
    api.list(&ListParams::default()).await.unwrap().items
}

/// The rules of what a binding in `namespace` binds.
async fn rules(scope: &Scope, role: &RoleRef, namespace: &str) -> Vec<PolicyRule> {
    let rules = if role.kind == "ClusterRole" {
        let roles: Api<ClusterRole> = Api::all(scope.client.clone());
        roles.get(&role.name).await.unwrap().rules
    } else {
        let roles: Api<Role> = Api::namespaced(scope.client.clone(), namespace);
        roles.get(&role.name).await.unwrap().rules
    };
    rules.unwrap_or_default()
}

/// All rights of the system's accounts, and since when they have had the last of them: an uninstalled system has been refused much.
async fn granted(scope: &Scope) -> (BTreeSet<Right>, Timestamp) {
    let everywhere = all::<ClusterRoleBinding>(scope).await.into_iter();
    let everywhere = everywhere.map(|it| (it.metadata, it.role_ref, it.subjects));
    let somewhere = all::<RoleBinding>(scope).await.into_iter();
    let somewhere = somewhere.map(|it| (it.metadata, it.role_ref, it.subjects));
    let mut rights = BTreeSet::new();
    let mut since = Timestamp::MIN;
    for (metadata, role, subjects) in everywhere.chain(somewhere) {
        let ObjectMeta {
            namespace,
            creation_timestamp,
            ..
        } = metadata;
        let place = namespace.unwrap_or_default();
        for account in accounts(subjects.as_ref()) {
            since = since.max(creation_timestamp.as_ref().unwrap().0);
            for rule in rules(scope, &role, &place).await {
                rights.extend(spelled_out(&account, &place, &rule));
            }
        }
    }
    (rights, since)
}

fn spelled_out(account: &str, place: &str, rule: &PolicyRule) -> Vec<Right> {
    let mut rights = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            for verb in &rule.verbs {
                assert!([group, resource, verb].iter().all(|it| *it != "*"), "{rule:?}");
                rights.push(Right {
                    account: account.to_owned(),
                    place: place.to_owned(),
                    group: group.clone(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                });
            }
        }
    }
    rights
}

/// Applies an object in the plugins' namespace.
async fn leave<K>(scope: &Scope, name: &str, fields: Value) -> K
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let mut object = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}});
    object
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    let api = Api::<K>::namespaced(scope.client.clone(), PLUGINS);
    let params = PatchParams::apply("test").force();
    api.patch(name, &params, &Patch::Apply(object)).await.unwrap()
}

/// What happens seldom, and in no other test: a plugin finds an account and a Service that are nobody's, and a Secret that cannot
/// become its certificate's. And it loses a grant of every kind. A CA's Secret holds something that is no CA.
async fn happen(scope: &Scope) {
    let made = format!("kite-plugin-{}", scope.name);
    let account: ServiceAccount = leave(scope, &made, json!({})).await;
    leave::<Secret>(scope, &format!("{made}-tls"), json!({"type": "Opaque"})).await;
    let services: Api<Service> = Api::namespaced(scope.client.clone(), PLUGINS);
    let hello = scope.plugins().get("hello").await.unwrap().status.unwrap();
    let serving = format!("kite-plugin-hello-{}", hello.active_revision.unwrap());
    let spec = services.get(&serving).await.unwrap().spec.unwrap();
    leave::<Service>(scope, &format!("{made}-1"), json!({"spec": spec})).await;
    leave::<NetworkPolicy>(scope, &made, json!({"spec": {"podSelector": {}}})).await;

    let namespace = scope.namespace("-ns").await;
    let rule = |namespace: &str| json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"], "namespaces": [namespace]});
    let grant = serde_json::from_value(json!([rule("*"), rule(&namespace)])).unwrap();
    let plugin = scope.loaded_plugin("", |spec| spec.permissions = grant).await;
    scope
        .patch_plugin(&plugin, json!({"spec": {"permissions": null}}))
        .await;
    scope.wait_for_phase(&plugin, Phase::Loaded).await;
    let accounts: Api<ServiceAccount> = Api::namespaced(scope.client.clone(), PLUGINS);
    assert_ne!(accounts.get(&made).await.unwrap().uid(), account.uid());

    let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), SYSTEM);
    let garbage = Patch::Merge(json!({"stringData": {OLD_CERTIFICATE_KEY: "garbage"}}));
    secrets
        .patch(SERVERS_CA_SECRET, &PatchParams::default(), &garbage)
        .await
        .unwrap();
    eventually("what is no CA is taken out", SOON, async || {
        let data = secrets.get(SERVERS_CA_SECRET).await.unwrap().data.unwrap_or_default();
        if data.contains_key(OLD_CERTIFICATE_KEY) {
            Err(format!("{:?}", data.keys()))
        } else {
            Ok(())
        }
    })
    .await;
}

#[tokio::test]
async fn operator_and_gateway_use_every_right_of_theirs_and_miss_none() {
    if !Target::running(&Layout::from_env().unwrap()).unwrap().is_local {
        println!("nothing is read: only the local cluster's API server keeps its log where a test can see it");
        return;
    }
    scope("roles", async |scope| {
        happen(&scope).await;
        let (granted, since) = granted(&scope).await;
        let seen: BTreeSet<Right> = granted.iter().filter(|right| !right.is_unseen()).cloned().collect();
        for (group, resource, verb, why) in UNSEEN {
            let is_granted = |right: &Right| (group, resource, verb) == (&right.group, &right.resource, &right.verb);
            assert!(granted.iter().any(is_granted), "nobody has {verb} {resource}: {why}");
        }
        eventually("every right is used", SOON, async || {
            let used: BTreeSet<Right> = requests(since).iter().flat_map(Event::uses).collect();
            let unused: Vec<&Right> = seen.difference(&used).collect();
            if unused.is_empty() {
                return Ok(());
            }
            Err(format!(
                "{unused:#?} were not used. What counts is what the whole suite has done on this cluster, so after `make test` without \
                 a FILTER such a right is one too many"
            ))
        })
        .await;
        let refused = requests(since).into_iter().filter(Event::is_refused);
        let refused: BTreeSet<String> = refused.map(|event| event.in_words()).collect();
        assert!(refused.is_empty(), "they ask for what they may not: {refused:#?}");
    })
    .await;
}
