//! What one test makes on the cluster, and its removal, whether the test passes or not.

use std::{fmt::Debug, net::SocketAddr, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        admissionregistration::v1::{
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicySpec,
        },
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::{
            ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota, Secret, ServiceAccount,
        },
        rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
    },
};
use kite_api::{KitePlugin, KitePluginSpec, KitePluginStatus, Phase};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, LogParams, ObjectMeta, Patch, PatchParams, PostParams, PropagationPolicy},
};
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};

use super::{Gateway, PLUGINS, SOON, START, SYSTEM, eventually, gateway::try_send, kubeconfig};
use crate::target::client_of;

/// On everything that a test makes: the test's name.
pub const LABEL: &str = "kite.dev/test";
/// Where tests make their users and pods.
const HOME: &str = "default";

/// One test's place on the cluster.
#[derive(Clone)]
pub struct Scope {
    pub client: Client,
    pub gateway: Gateway,
    /// Begins the names of all that the test makes; differs from every other test's.
    pub name: String,
}

/// Runs a test in a scope named after it, and removes afterwards whatever it made there.
#[expect(clippy::missing_panics_doc, reason = "a test is made to panic")]
pub async fn scope(name: &str, test: impl AsyncFnOnce(Scope)) {
    let gateway = Gateway::from_env();
    #[expect(clippy::expect_used, reason = "a test without its cluster can only fail")]
    let client = client_of(&kubeconfig()).await.expect("a client of the cluster");
    let scope = Scope {
        client,
        gateway,
        name: name.to_owned(),
    };
    scope.clean().await;
    let outcome = AssertUnwindSafe(test(scope.clone())).catch_unwind().await;
    scope.clean().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "what the API server refuses fails the test"
)]
impl Scope {
    /// All plugins.
    pub fn plugins(&self) -> Api<KitePlugin> {
        Api::all(self.client.clone())
    }

    fn metadata(&self, name: &str) -> ObjectMeta {
        let labels = [(LABEL.to_owned(), self.name.clone())].into();
        ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        }
    }

    /// What `make up` applied as hello: the spec that a test's own plugins begin with.
    pub async fn hello(&self) -> KitePluginSpec {
        self.plugins().get("hello").await.expect("the plugin hello").spec
    }

    /// Makes a plugin called `<test's name><suffix>` with hello's image, and does not wait for it.
    pub async fn make_plugin(&self, suffix: &str, change: impl FnOnce(&mut KitePluginSpec)) -> String {
        let name = format!("{}{suffix}", self.name);
        let mut plugin = KitePlugin::new(&name, self.hello().await);
        change(&mut plugin.spec);
        plugin.metadata = self.metadata(&name);
        self.plugins()
            .create(&PostParams::default(), &plugin)
            .await
            .expect("a plugin");
        name
    }

    /// Makes a plugin with hello's image and waits until it is Loaded and every replica of the gateway has learnt of it.
    pub async fn loaded_plugin(&self, suffix: &str, change: impl FnOnce(&mut KitePluginSpec)) -> String {
        let name = self.make_plugin(suffix, change).await;
        self.wait_for_phase(&name, Phase::Loaded).await;
        self.wait_for_answer(&name, 200).await;
        name
    }

    /// Waits until every replica of the gateway answers the plugin's `/hello` with this status.
    pub async fn wait_for_answer(&self, name: &str, status: u16) {
        for replica in self.gateway_replicas().await {
            eventually(&format!("{name} answers {status}"), SOON, async || {
                let hello = replica.request(Method::GET, &format!("{name}/hello"));
                match try_send(hello.bearer_auth(replica.admin())).await {
                    Ok(answer) if answer.status == status => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }
    }

    /// What all pods of the gateway wrote since they began.
    pub async fn gateway_log(&self) -> String {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let labels = ListParams::default().labels("app.kubernetes.io/name=kite-gateway");
        let mut log = String::new();
        for pod in pods.list(&labels).await.expect("a list of pods").items {
            // A pod that is gone by now has no log.
            log += &pods
                .logs(&pod.name_any(), &LogParams::default())
                .await
                .unwrap_or_default();
        }
        log
    }

    /// The replicas of the gateway that are not about to end.
    pub async fn gateway_replicas(&self) -> Vec<Gateway> {
        self.gateway_addresses()
            .await
            .into_iter()
            .map(Gateway::replica)
            .collect()
    }

    /// Where they are.
    pub async fn gateway_addresses(&self) -> Vec<SocketAddr> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let labels = ListParams::default().labels("app.kubernetes.io/name=kite-gateway");
        let pods = pods.list(&labels).await.expect("a list of pods").items;
        let stay = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let addresses = stay.filter_map(|pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok());
        addresses.map(|address| SocketAddr::new(address, 8443)).collect()
    }

    /// Waits until the operator has seen the plugin as it is now and tells this phase.
    pub async fn wait_for_phase(&self, name: &str, phase: Phase) -> KitePluginStatus {
        eventually(&format!("{name} is {phase:?}"), START, async || {
            let plugin = self
                .plugins()
                .get_status(name)
                .await
                .map_err(|error| error.to_string())?;
            let generation = plugin.metadata.generation;
            let status = plugin.status.unwrap_or_default();
            if status.phase == Some(phase) && status.observed_generation == generation {
                Ok(status)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    }

    /// Waits until this revision of the plugin serves.
    pub async fn wait_for_revision(&self, name: &str, number: i64) -> KitePluginStatus {
        eventually(&format!("revision {number} of {name} serves"), START, async || {
            let plugin = self
                .plugins()
                .get_status(name)
                .await
                .map_err(|error| error.to_string())?;
            let status = plugin.status.unwrap_or_default();
            if status.active_revision == Some(number) {
                Ok(status)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    }

    /// Changes a plugin by a merge patch.
    pub async fn patch_plugin(&self, name: &str, patch: serde_json::Value) {
        self.plugins()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("the patch of a plugin");
    }

    /// A token of a new user who holds these roles, cluster-wide.
    pub async fn user(&self, suffix: &str, roles: &[&str]) -> String {
        let name = format!("{}{suffix}", self.name);
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), HOME);
        let account = ServiceAccount {
            metadata: self.metadata(&name),
            ..ServiceAccount::default()
        };
        accounts.create(&PostParams::default(), &account).await.expect("a user");
        for role in roles {
            self.bind(&format!("{name}-{role}"), role, &name).await;
        }
        self.token_of(HOME, &name).await
    }

    /// A token of a new user who holds these rules alone, cluster-wide.
    pub async fn user_with(&self, suffix: &str, rules: Vec<PolicyRule>) -> String {
        let name = format!("{}{suffix}-rules", self.name);
        let role = ClusterRole {
            metadata: self.metadata(&name),
            rules: Some(rules),
            ..ClusterRole::default()
        };
        let api: Api<ClusterRole> = Api::all(self.client.clone());
        api.create(&PostParams::default(), &role).await.expect("a role");
        self.user(suffix, &[&name]).await
    }

    /// Gives the user `suffix` these rules in one namespace of the test's own, with which they go.
    pub async fn allow_in(&self, suffix: &str, namespace: &str, rules: Vec<PolicyRule>) {
        let name = format!("{}{suffix}", self.name);
        let role = Role {
            metadata: self.metadata(&name),
            rules: Some(rules),
        };
        let binding = RoleBinding {
            metadata: self.metadata(&name),
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".into(),
                kind: "Role".into(),
                name: name.clone(),
            },
            subjects: Some(vec![account(&name)]),
        };
        let api: Api<Role> = Api::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &role).await.expect("a role");
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), namespace);
        let bound = bindings.create(&PostParams::default(), &binding).await;
        bound.expect("a binding");
    }

    async fn bind(&self, binding: &str, role: &str, user: &str) {
        let binding = ClusterRoleBinding {
            metadata: self.metadata(binding),
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".into(),
                kind: "ClusterRole".into(),
                name: role.into(),
            },
            subjects: Some(vec![account(user)]),
        };
        let bindings: Api<ClusterRoleBinding> = Api::all(self.client.clone());
        bindings
            .create(&PostParams::default(), &binding)
            .await
            .expect("a binding");
    }

    /// A token of any ServiceAccount.
    pub async fn token_of(&self, namespace: &str, account: &str) -> String {
        self.token_for(namespace, account, &[]).await
    }

    /// A token of any ServiceAccount for these audiences; without any, for the API server's own.
    pub async fn token_for(&self, namespace: &str, account: &str, audiences: &[&str]) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let request = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .expect("a token");
        request.status.expect("a token").token
    }

    /// A client of the API server with a token alone.
    pub async fn client_with(&self, token: &str) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig()).expect("the kubeconfig");
        let options = kube::config::KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .expect("the kubeconfig");
        config.auth_info = kube::config::AuthInfo {
            token: Some(token.to_owned().into()),
            ..Default::default()
        };
        Client::try_from(config).expect("a client")
    }

    /// Makes a namespace called `<test's name><suffix>`.
    pub async fn namespace(&self, suffix: &str) -> String {
        let name = format!("{}{suffix}", self.name);
        let namespace = Namespace {
            metadata: self.metadata(&name),
            ..Namespace::default()
        };
        Api::all(self.client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .expect("a namespace");
        name
    }

    /// Makes an admission policy called `<test's name><suffix>`, which nothing binds, so that it is asked nothing.
    pub async fn policy(&self, suffix: &str, spec: ValidatingAdmissionPolicySpec) -> String {
        let name = format!("{}{suffix}", self.name);
        let policy = ValidatingAdmissionPolicy {
            metadata: self.metadata(&name),
            spec: Some(spec),
            status: None,
        };
        Api::all(self.client.clone())
            .create(&PostParams::default(), &policy)
            .await
            .expect("a policy");
        name
    }

    /// Makes a pod called after the test in the namespace `default`.
    pub async fn pod(&self, spec: serde_json::Value) -> String {
        let spec = serde_json::from_value(spec).expect("a pod's spec");
        let pod = Pod {
            metadata: self.metadata(&self.name),
            spec: Some(spec),
            ..Pod::default()
        };
        Api::namespaced(self.client.clone(), HOME)
            .create(&PostParams::default(), &pod)
            .await
            .expect("a pod");
        self.name.clone()
    }

    /// Makes a Secret, a ConfigMap or the like called `<test's name><suffix>` in the plugins' namespace, with these fields beside its name.
    pub async fn make_in_plugins<K>(&self, suffix: &str, fields: serde_json::Value) -> String
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Serialize,
    {
        let name = format!("{}{suffix}", self.name);
        let mut object: K = serde_json::from_value(fields).expect("an object");
        *object.meta_mut() = self.metadata(&name);
        let api: Api<K> = Api::namespaced(self.client.clone(), PLUGINS);
        api.create(&PostParams::default(), &object).await.expect("an object");
        name
    }

    /// Labels one of these.
    pub async fn label_in_plugins<K>(&self, name: &str, key: &str, value: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), PLUGINS);
        let label = serde_json::json!({"metadata": {"labels": {key: value}}});
        api.patch(name, &PatchParams::default(), &Patch::Merge(label))
            .await
            .expect("an object");
    }

    /// Makes a Secret called `<test's name><suffix>` in this namespace, with another label beside the test's own.
    pub async fn secret(&self, namespace: &str, suffix: &str, label: (&str, &str), data: &[(&str, &str)]) -> String {
        let name = format!("{}{suffix}", self.name);
        let mut metadata = self.metadata(&name);
        let labels = metadata.labels.get_or_insert_default();
        labels.insert(label.0.to_owned(), label.1.to_owned());
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        let secret = Secret {
            metadata,
            string_data: Some(data.collect()),
            ..Secret::default()
        };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        secrets.create(&PostParams::default(), &secret).await.expect("a Secret");
        name
    }

    /// What the plugin answers to a GET of this path by the administrator.
    ///
    /// # Panics
    /// If its status is not 200.
    pub async fn answer(&self, plugin: &str, path: &str) -> String {
        let answer = self
            .gateway
            .get(self.gateway.admin(), &format!("{plugin}/{path}"))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The pods of a plugin.
    pub async fn pods_of(&self, plugin: &str) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), PLUGINS);
        let labels = ListParams::default().labels(&format!("{}={plugin}", kite_api::labels::PLUGIN));
        pods.list(&labels).await.expect("a list of pods").items
    }

    /// Deletes all that carries the test's label, and waits until it is gone.
    async fn clean(&self) {
        self.remove::<KitePlugin>(Api::all(self.client.clone())).await;
        self.remove::<ClusterRoleBinding>(Api::all(self.client.clone())).await;
        self.remove::<ClusterRole>(Api::all(self.client.clone())).await;
        self.remove::<ServiceAccount>(Api::namespaced(self.client.clone(), HOME))
            .await;
        self.remove::<Pod>(Api::namespaced(self.client.clone(), HOME)).await;
        self.remove::<Namespace>(Api::all(self.client.clone())).await;
        self.remove::<ValidatingAdmissionPolicyBinding>(Api::all(self.client.clone()))
            .await;
        self.remove::<ValidatingAdmissionPolicy>(Api::all(self.client.clone()))
            .await;
        self.remove::<ResourceQuota>(Api::namespaced(self.client.clone(), PLUGINS))
            .await;
        for namespace in [PLUGINS, SYSTEM] {
            self.remove::<Secret>(Api::namespaced(self.client.clone(), namespace))
                .await;
        }
        self.remove::<ConfigMap>(Api::namespaced(self.client.clone(), PLUGINS))
            .await;
        self.remove::<PersistentVolumeClaim>(Api::namespaced(self.client.clone(), PLUGINS))
            .await;
        self.remove::<PersistentVolume>(Api::all(self.client.clone())).await;
    }

    async fn remove<K>(&self, api: Api<K>)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let mine = ListParams::default().labels(&format!("{LABEL}={}", self.name));
        let delete = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            ..DeleteParams::default()
        };
        // Namespaces cannot be deleted by collection.
        for object in api.list(&mine).await.expect("a list of what the test made") {
            let _ = api.delete(&object.name_any(), &delete).await;
        }
        eventually("what the test made is gone", Duration::from_mins(1), async || {
            let left = api.list(&mine).await.map_err(|error| error.to_string())?.items;
            if left.is_empty() {
                Ok(())
            } else {
                Err(left.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(", "))
            }
        })
        .await;
    }
}

fn account(name: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".into(),
        name: name.into(),
        namespace: Some(HOME.into()),
        api_group: None,
    }
}
