//! An API server of a test's own, with the boundary or without, and users who try things there.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    authorization::v1::{ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec},
    core::v1::{ConfigMap, Namespace},
    rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding},
};
use kite_api::{
    KitePlugin,
    boundary::{self, Bound, Places},
};
use kube::{
    Api, Client, Config, Resource,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PLUGINS, SYSTEM, eventually};
use crate::cluster::{
    Layout,
    apiserver::{self, ApiServer},
};

const PLACES: Places<'_> = Places {
    plugins: PLUGINS,
    system: SYSTEM,
};
const LIMIT: Duration = Duration::from_secs(30);
/// The name of the tests' own policy, and of what it refuses.
const LAST: &str = "last-policy";

/// An API server with the CRD and the namespaces, and with the policies once they are installed.
pub struct World {
    // Before its folder goes, it ends.
    server: ApiServer,
    _folder: TempDir,
    config: Config,
    pub admin: Client,
}

#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "what the API server refuses fails the test"
)]
impl World {
    /// Starts the API server, without the policies.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, of an API server with further flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let layout = Layout::from_env().expect("the layout");
        let folder = tempfile::tempdir_in(layout.cache()).expect("a folder");
        let server = apiserver::start_with(&layout, &folder.path().join("server"), flags).expect("an API server");
        let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).expect("the kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("a config");
        let admin = Client::try_from(config.clone()).expect("a client");
        let world = Self {
            server,
            _folder: folder,
            config,
            admin,
        };
        for namespace in [PLUGINS, SYSTEM, "shop", "pay"] {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            world.apply::<Namespace>(&Api::all(world.admin.clone()), object).await;
        }
        let crd = kite_api::crd();
        let crds = Api::all(world.admin.clone());
        let name = crd.metadata.name.clone().expect("a name");
        world.apply(&crds, serde_json::to_value(crd).expect("the CRD")).await;
        tokio::time::timeout(LIMIT, await_condition(crds, &name, is_crd_established()))
            .await
            .expect("in time")
            .expect("the CRD is established");
        world
    }

    /// Installs the policies, and waits until they are heeded.
    pub async fn install_policies(&self) {
        // The API server takes note of policies up to a second after they are there, in their order. So one of the tests' own is
        // the last, and when it refuses what it is there to refuse, the others do too.
        let mut all = boundary::policies(PLACES);
        all.push(last_policy());
        for (policy, binding) in all {
            let [policy, binding] =
                [serde_json::to_value(policy), serde_json::to_value(binding)].map(|it| it.expect("JSON"));
            self.apply::<ValidatingAdmissionPolicy>(&Api::all(self.admin.clone()), policy)
                .await;
            self.apply::<ValidatingAdmissionPolicyBinding>(&Api::all(self.admin.clone()), binding)
                .await;
        }
        let maps = Api::<ConfigMap>::namespaced(self.admin.clone(), "default");
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(LAST.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        eventually("the policies are heeded", LIMIT, async || {
            match said(maps.create(&params, &map).await) {
                Err(text) if text.contains(LAST) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Applies an object as the administrator.
    pub async fn apply<K>(&self, api: &Api<K>, object: Value)
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let name = name(&object);
        let typed = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&())});
        let (Value::Object(mut object), Value::Object(typed)) = (object, typed) else {
            panic!("{name} is no object");
        };
        object.extend(typed);
        api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(object))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// With it one is the administrator.
    pub fn kubeconfig(&self) -> &Path {
        self.server.kubeconfig()
    }

    /// Where the API server is reached.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The API server's log of who has written what.
    pub fn audit_log(&self) -> PathBuf {
        self.server.audit_log()
    }

    /// Kills the API server, and starts it again in its place.
    pub fn restart(&self) {
        self.server.restart().expect("the API server again");
    }

    /// Takes away what the API server's store remembers of the past.
    pub async fn compact(&self) {
        self.server.compact().await.expect("no history");
    }

    /// A client who is this user.
    pub fn user(&self, name: &str) -> Client {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(name.to_owned());
        Client::try_from(config).expect("a client")
    }

    /// Gives the user called `name` these rules in the whole cluster, instead of those they had there by this.
    pub async fn role(&self, name: &str, rules: Value) {
        let api = Api::<ClusterRole>::all(self.admin.clone());
        let before = api.get_opt(name).await.expect("the role").and_then(|role| role.rules);
        let role = json!({"metadata": {"name": name}, "rules": rules});
        self.apply(&api, role).await;
        let binding = json!({
            "metadata": {"name": name}, "subjects": [subject(name)],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        });
        self.apply::<ClusterRoleBinding>(&Api::all(self.admin.clone()), binding)
            .await;
        self.heeded("default", name, &before.unwrap_or_default(), rules).await;
    }

    /// Gives the user called `name` these rules in a namespace, instead of those they had there by this.
    pub async fn role_in(&self, namespace: &str, name: &str, rules: Value) {
        let api = Api::<Role>::namespaced(self.admin.clone(), namespace);
        let before = api.get_opt(name).await.expect("the role").and_then(|role| role.rules);
        let role = json!({"metadata": {"name": name}, "rules": rules});
        self.apply(&api, role).await;
        let binding = json!({
            "metadata": {"name": name}, "subjects": [subject(name)],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        });
        self.apply::<RoleBinding>(&Api::namespaced(self.admin.clone(), namespace), binding)
            .await;
        self.heeded(namespace, name, &before.unwrap_or_default(), rules).await;
    }

    /// Waits until the API server goes by a user's new rules: it learns of roles and bindings by watches of its own.
    async fn heeded(&self, namespace: &str, user: &str, before: &[PolicyRule], now: Value) {
        let now: Vec<PolicyRule> = serde_json::from_value(now).expect("rules");
        let (now, before) = (now.iter().map(listed), before.iter().map(listed));
        let now: Vec<ResourceRule> = now.collect();
        let gone: Vec<ResourceRule> = before.filter(|rule| !now.contains(rule)).collect();
        let reviews = Api::<SelfSubjectRulesReview>::all(self.user(user));
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec {
                namespace: Some(namespace.to_owned()),
            },
            ..SelfSubjectRulesReview::default()
        };
        eventually(&format!("{user} has their rules in {namespace}"), LIMIT, async || {
            let answer = reviews.create(&PostParams::default(), &review).await;
            let has = answer.map_err(|error| error.to_string())?.status.unwrap_or_default();
            let has = has.resource_rules;
            let stands = now.iter().all(|rule| has.contains(rule)) && !gone.iter().any(|rule| has.contains(rule));
            if stands { Ok(()) } else { Err(format!("{has:?}")) }
        })
        .await;
    }

    /// Makes the object as the administrator, in the place of any other.
    pub async fn given(&self, object: &Value) {
        let name = name(object);
        let api = plugins(&self.admin);
        let _ = api.delete(&name, &kube::api::DeleteParams::default()).await;
        let made = serde_json::from_value(object.clone()).expect("an object");
        api.create(&PostParams::default(), &made)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// What the API server says to the making of the object, of which nothing is kept.
    pub async fn create(&self, user: &Client, object: &Value) -> Result<(), String> {
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let object = serde_json::from_value(object.clone()).expect("an object");
        said(plugins(user).create(&params, &object).await)
    }

    /// What the API server says to the object in the place of what is there, of which nothing is kept.
    pub async fn replace(&self, user: &Client, object: &Value) -> Result<(), String> {
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let name = name(object);
        let mut object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        object.metadata.resource_version = plugins(&self.admin)
            .get(&name)
            .await
            .expect("it is there")
            .metadata
            .resource_version;
        said(plugins(user).replace(&name, &params, &object).await)
    }

    /// What the API server says to a patch, of which nothing is kept.
    pub async fn patch(&self, user: &Client, name: &str, manager: &str, patch: Patch<Value>) -> Result<(), String> {
        let params = PatchParams {
            dry_run: true,
            force: matches!(patch, Patch::Apply(_)),
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        said(plugins(user).patch(name, &params, &patch).await)
    }
}

/// Refuses the ConfigMap called as it is.
#[expect(clippy::expect_used, reason = "the objects are the test's own")]
fn last_policy() -> Bound {
    let policy = json!({"metadata": {"name": LAST}, "spec": {
        "matchConstraints": {"resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
        ]},
        "validations": [{"expression": format!("object.metadata.name != '{LAST}'")}],
    }});
    let binding = json!({"metadata": {"name": LAST}, "spec": {"policyName": LAST, "validationActions": ["Deny"]}});
    (
        serde_json::from_value(policy).expect("a policy"),
        serde_json::from_value(binding).expect("a binding"),
    )
}

#[expect(clippy::panic, reason = "no answer fails the test")]
fn said<T>(result: Result<T, kube::Error>) -> Result<(), String> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(error) => panic!("{error}"),
    }
}

/// How the API server tells a rule to whom it is for.
fn listed(rule: &PolicyRule) -> ResourceRule {
    ResourceRule {
        api_groups: rule.api_groups.clone(),
        resource_names: rule.resource_names.clone(),
        resources: rule.resources.clone(),
        verbs: rule.verbs.clone(),
    }
}

/// A user as the subject of a binding.
pub fn subject(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}

#[expect(clippy::expect_used, reason = "the objects are the test's own")]
fn name(object: &Value) -> String {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .expect("a name")
        .to_owned()
}

/// All plugins.
pub fn plugins(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<KitePlugin>(&()))
}

/// What everybody here may do with KitePlugins.
pub fn plugins_rule() -> Value {
    json!({
        "apiGroups": ["kite.dev"], "resources": ["kiteplugins", "kiteplugins/scale"],
        "verbs": ["get", "list", "create", "update", "patch", "delete"],
    })
}

/// A plugin with these fields.
pub fn object(name: &str, fields: Value) -> Value {
    let mut spec = json!({"version": "1.0.0", "image": "registry.example/plugin:1.0.0"});
    if let (Value::Object(spec), Value::Object(fields)) = (&mut spec, fields) {
        spec.extend(fields);
    }
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    json!({"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": metadata, "spec": spec})
}

/// A grant of so many rights: to get the resources `r0`, `r1`, … in the namespace `shop`.
pub fn rights(count: usize) -> Value {
    let resources: Vec<String> = (0..count).map(|n| format!("r{n}")).collect();
    let permissions = resources
        .chunks(16)
        .map(|some| json!({"apiGroups": ["example.com"], "resources": some, "verbs": ["get"], "namespaces": ["shop"]}));
    permissions.collect()
}

/// The rules that give exactly the rights of a grant in one namespace.
pub fn rules(permissions: &Value) -> Value {
    let rules = permissions.as_array().into_iter().flatten().map(|permission| {
        let mut rule = permission.clone();
        if let Some(rule) = rule.as_object_mut() {
            rule.remove("namespaces");
        }
        rule
    });
    rules.collect()
}
