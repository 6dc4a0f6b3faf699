//! One operator for all tests of this program, and words for what the tests ask of the cluster.

pub(crate) mod early;
pub(crate) mod plugin;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures::TryStreamExt;
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Secret, Service, ServiceAccount},
        events::v1::Event,
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
};
use kite_api::{KitePlugin, boundary::Places, labels, name::ClusterName};
use kite_operator::{
    Namespaces, Options,
    identity::{Identity, keeper, lives::Lives},
    metrics::Metrics,
    pod_defaults::PodDefaults,
    run,
    traces::Collector,
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::wait::await_condition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::Mutex};
use tokio_util::sync::CancellationToken;

use super::{boundary, server};

/// Longer than anything here takes, however many tests run at once.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// What takes seconds, beside all other tests; one after the other, what is done here many times would take minutes.
pub(crate) const WITHIN_SECONDS: Duration = Duration::from_secs(15);

static WORLD: LazyLock<World> = LazyLock::new(World::make);

/// The cluster with the operator in it. `KitePlugin` is cluster-scoped, so two operators would fight: there is one, in
/// namespaces of this run's own, on a runtime that outlives each test.
pub(crate) fn world() -> &'static World {
    &WORLD
}

pub(crate) struct World {
    runtime: Runtime,
    pub(crate) client: Client,
    config: Config,
    options: Options,
    /// Where the operator tells of itself.
    health: SocketAddr,
    /// Held by the tests that speak of the gateway's certificates, which follow the one Service of the gateway.
    pub(crate) gateway: Mutex<()>,
    /// Held by the tests in which clusters come and go, of which each plugin is told.
    pub(crate) clusters: Mutex<()>,
}

impl World {
    fn make() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (client, config, namespaces) = runtime.block_on(async {
            let config = server::config().await;
            let client = server::client(config.clone()).await;
            let run = uuid::Uuid::new_v4().simple().to_string();
            let namespaces = Namespaces {
                system: format!("system-{run}"),
                plugins: format!("plugins-{run}"),
            };
            for name in [&namespaces.system, &namespaces.plugins] {
                server::make_namespace(&client, name).await;
            }
            early::apply(&client).await;
            let bound = serde_json::from_value(boundary::bound(boundary::EARLY, "edit")).expect("a binding");
            Api::<RoleBinding>::namespaced(client.clone(), &namespaces.plugins)
                .create(&PostParams::default(), &bound)
                .await
                .expect("a binding");
            (client, config, namespaces)
        });
        // Of the loopback network, an address that no other process of these tests has.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let health = SocketAddr::from(([127, 77, high, low.max(1)], 8080));
        let options = Options {
            namespaces,
            listen: health,
            gateway_address: String::from("https://gateway.test"),
            gateway_names: Vec::new(),
            home_cluster: ClusterName::parse("home").expect("a name"),
            replica_name: String::from("test"),
            watch_seconds: 60,
            pod_defaults: PodDefaults::default(),
            lives: Lives::default(),
            collector: Collector::default(),
        };
        runtime.spawn(run::run(config.clone(), options.clone(), CancellationToken::new()));
        Self {
            runtime,
            client,
            config,
            options,
            health,
            gateway: Mutex::new(()),
            clusters: Mutex::new(()),
        }
    }

    /// Runs one test.
    pub(crate) fn run(&'static self, test: impl AsyncFnOnce(&'static World)) {
        self.runtime.block_on(test(self));
    }

    pub(crate) fn plugins_namespace(&self) -> &str {
        &self.options.namespaces.plugins
    }

    pub(crate) fn places(&self) -> Places<'_> {
        self.options.namespaces.places()
    }

    /// What the operator says of itself under `path`, once `holds`.
    pub(crate) async fn told(&self, path: &str, holds: impl Fn(&str) -> bool) -> String {
        let mut turns = tokio::time::interval(Duration::from_millis(100));
        let mut last = String::new();
        let told = async {
            while !holds(&last) {
                turns.tick().await;
                let answer = reqwest::get(format!("http://{}{path}", self.health)).await;
                last = answer.expect("an answer").text().await.expect("a text");
            }
        };
        let in_time = tokio::time::timeout(LIMIT, told).await.is_ok();
        assert!(in_time, "{path}: {last}");
        last
    }

    /// A client that is this `ServiceAccount` of the plugins' namespace.
    pub(crate) fn client_of_account(&self, account: &str) -> Client {
        let mut config = self.config.clone();
        let namespace = self.plugins_namespace();
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{account}"));
        let groups = [
            String::from("system:serviceaccounts"),
            format!("system:serviceaccounts:{namespace}"),
            String::from("system:authenticated"),
        ];
        config.auth_info.impersonate_groups = Some(groups.into());
        Client::try_from(config).expect("a client")
    }

    /// Applies the plugin, whole, with these fields beside the required ones.
    pub(crate) async fn apply(&self, plugin: &str, fields: Value) -> KitePlugin {
        let mut spec = json!({"version": "0.1.0", "image": "registry.invalid/hello:0.1.0"});
        spec.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": plugin}, "spec": spec,
        });
        let api: Api<KitePlugin> = self.everywhere();
        api.patch(plugin, &PatchParams::apply("test").force(), &Patch::Apply(object))
            .await
            .expect("the plugin is applied")
    }

    pub(crate) async fn plugin(&self, plugin: &str) -> KitePlugin {
        self.everywhere().get(plugin).await.expect("the plugin")
    }

    /// The plugin, once its status speaks of this generation.
    pub(crate) async fn observed(&self, plugin: &str, generation: i64) -> KitePlugin {
        let seen = |plugin: &KitePlugin| {
            plugin.status.as_ref().and_then(|status| status.observed_generation) == Some(generation)
        };
        self.seen(&self.everywhere(), plugin, seen).await
    }

    /// The object in the plugins' namespace.
    pub(crate) async fn get<K>(&self, name: &str) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.plugins()
            .get(name)
            .await
            .unwrap_or_else(|error| panic!("{} {name}: {error}", K::kind(&())))
    }

    pub(crate) async fn merge<K>(&self, api: &Api<K>, name: &str, patch: Value)
    where
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("the object is changed");
    }

    /// The object, once `holds`.
    pub(crate) async fn seen<K>(&self, api: &Api<K>, name: &str, holds: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        self.seen_within(LIMIT, api, name, holds).await
    }

    /// The object, once it is as it `was` before somebody changed it by hand: within seconds.
    pub(crate) async fn put_back<K>(&self, api: &Api<K>, name: &str, was: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        self.seen_within(WITHIN_SECONDS, api, name, was).await
    }

    async fn seen_within<K>(&self, limit: Duration, api: &Api<K>, name: &str, holds: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let wait = await_condition(api.clone(), name, |object: Option<&K>| object.is_some_and(&holds));
        if let Ok(found) = tokio::time::timeout(limit, pin!(wait)).await {
            return found.expect("the watch").expect("the object");
        }
        panic!(
            "{} {name} did not come to be so within {limit:?}; last seen: {:#?}",
            K::kind(&()),
            api.get_opt(name).await
        );
    }

    /// Waits until there is no such object.
    pub(crate) async fn gone<K>(&self, api: &Api<K>, name: &str)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        self.gone_within(LIMIT, api, name).await;
    }

    pub(crate) async fn gone_within<K>(&self, limit: Duration, api: &Api<K>, name: &str)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let wait = await_condition(api.clone(), name, |object: Option<&K>| object.is_none());
        let went = tokio::time::timeout(limit, pin!(wait)).await.is_ok();
        assert!(
            went,
            "{} {name} is still there: {:#?}",
            K::kind(&()),
            api.get_opt(name).await
        );
    }

    /// The operator's options, in namespaces of a test's own.
    pub(crate) fn options_in(&self, system: &str, plugins: &str) -> Options {
        Options {
            namespaces: Namespaces {
                system: system.to_owned(),
                plugins: plugins.to_owned(),
            },
            ..self.options.clone()
        }
    }

    pub(crate) async fn make_namespace(&self, name: &str) {
        server::make_namespace(&self.client, name).await;
    }

    /// What a new process of the operator does before all else.
    pub(crate) async fn start_identity_again(&self) -> Arc<Identity> {
        let (metrics, stop) = (Metrics::default(), CancellationToken::new());
        let keeper = keeper::establish(&self.client, &self.options, &metrics, &stop);
        let keeper = tokio::time::timeout(LIMIT, keeper).await.expect("the identity");
        keeper.expect("nobody stops it").current().get()
    }

    /// Versions of all that was made for the plugin.
    pub(crate) async fn versions(&self, plugin: &str) -> BTreeMap<&'static str, String> {
        let name = &format!("kite-plugin-{plugin}");
        let revision = &format!("{name}-1");
        let version = |meta: &ObjectMeta| meta.resource_version.clone().unwrap();
        BTreeMap::from([
            ("account", version(&self.get::<ServiceAccount>(name).await.metadata)),
            ("role", version(&self.get::<Role>(name).await.metadata)),
            ("binding", version(&self.get::<RoleBinding>(name).await.metadata)),
            (
                "cluster role",
                version(&self.everywhere::<ClusterRole>().get(name).await.unwrap().metadata),
            ),
            (
                "cluster binding",
                version(
                    &self
                        .everywhere::<ClusterRoleBinding>()
                        .get(name)
                        .await
                        .unwrap()
                        .metadata,
                ),
            ),
            (
                "secret",
                version(&self.get::<Secret>(&format!("{name}-tls")).await.metadata),
            ),
            ("service", version(&self.get::<Service>(revision).await.metadata)),
            ("policy", version(&self.get::<NetworkPolicy>(name).await.metadata)),
            (
                "budget",
                version(&self.get::<PodDisruptionBudget>(revision).await.metadata),
            ),
            ("deployment", version(&self.get::<Deployment>(revision).await.metadata)),
        ])
    }

    /// Reason and note of each event on the plugin, the oldest first, once there are at least `count`.
    pub(crate) async fn events(&self, plugin: &str, count: usize) -> Vec<(String, String)> {
        // Those of cluster-scoped objects stand there.
        self.events_in("default", plugin, count).await
    }

    /// The same of an object whose events stand in `namespace`.
    pub(crate) async fn events_in(&self, namespace: &str, name: &str, count: usize) -> Vec<(String, String)> {
        let api: Api<Event> = self.within(namespace);
        let mut turns = tokio::time::interval(Duration::from_millis(100));
        let mut found = Vec::new();
        let enough = async {
            while found.len() < count {
                turns.tick().await;
                let mut events = api.list(&ListParams::default()).await.expect("the events").items;
                events.retain(|event| event.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(name));
                events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
                let told = events
                    .into_iter()
                    .map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default()));
                found = told.collect();
            }
        };
        let in_time = tokio::time::timeout(LIMIT, enough).await.is_ok();
        assert!(in_time, "{count} events on {name}: {found:#?}");
        found
    }

    /// How often the plugin was written after it was `since`, until `holds`, that write included.
    pub(crate) async fn writes(&self, since: &KitePlugin, holds: impl Fn(&KitePlugin) -> bool) -> usize {
        let params = WatchParams::default().fields(&format!("metadata.name={}", since.name_any()));
        let version = since.resource_version().expect("a version");
        let api: Api<KitePlugin> = self.everywhere();
        let mut events = pin!(api.watch(&params, &version).await.expect("the watch"));
        let count = async {
            let mut count = 0;
            while let Some(event) = events.try_next().await.expect("an event") {
                if let WatchEvent::Modified(plugin) = event {
                    count += 1;
                    if holds(&plugin) {
                        break;
                    }
                }
            }
            count
        };
        tokio::time::timeout(LIMIT, count)
            .await
            .expect("the plugin comes to be so")
    }

    pub(crate) fn plugins<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        self.within(&self.options.namespaces.plugins)
    }

    pub(crate) fn system<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        self.within(&self.options.namespaces.system)
    }

    pub(crate) fn within<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
        &self,
        namespace: &str,
    ) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(crate) fn everywhere<K: Resource<DynamicType = (), Scope = ClusterResourceScope>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }
}

/// Asserts that `object` carries the labels of `plugin`'s objects and has it as its one owner.
pub(crate) fn is_owned<K: Resource>(object: &K, plugin: &KitePlugin) {
    let meta = object.meta();
    let label = |key| {
        meta.labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    assert_eq!(label(labels::PLUGIN), plugin.metadata.name.as_deref(), "{meta:?}");
    assert_eq!(label(labels::MANAGED_BY), Some(labels::OPERATOR), "{meta:?}");
    let [owner] = meta.owner_references.as_deref().unwrap_or_default() else {
        panic!("one owner: {meta:?}")
    };
    assert_eq!(
        (Some(&owner.name), Some(&owner.uid)),
        (plugin.metadata.name.as_ref(), plugin.metadata.uid.as_ref())
    );
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
}

/// Type, status and reason of each condition.
pub(crate) fn conditions(plugin: &KitePlugin) -> Vec<String> {
    let conditions = plugin.status.iter().flat_map(|status| &status.conditions);
    conditions
        .map(|it| format!("{}={} {}", it.type_, it.status, it.reason))
        .collect()
}
