//! A part of the API server for one plugin at a time: namespaces of its own, in which an operator is started as often as it takes.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use clap::Parser;
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kite_api::KitePlugin;
use kite_operator::{Options, identity::keeper, metrics::Metrics, run};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{await_condition, conditions::is_crd_established},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Within this everything has come to where it should be, whatever was done to the operator. It is long because many are tried at once.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Counts the plugins of the run.
static SUBJECTS: AtomicU32 = AtomicU32::new(1);

pub(crate) struct Cell {
    /// Asks the API server itself.
    pub(crate) client: Client,
    pub(crate) options: Options,
    /// A namespace that plugins are granted something in.
    pub(crate) shop: String,
}

/// Reaches the API server of the run, which then knows what a `KitePlugin` is.
pub(crate) async fn connect() -> Client {
    run::install_crypto();
    let path = std::env::var_os("KITE_TEST_KUBECONFIG").expect("KITE_TEST_KUBECONFIG is set: run through `make test`");
    let kubeconfig = Kubeconfig::read_from(path).expect("the kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a config");
    let client = Client::try_from(config).expect("a client");
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd = kite_api::crd();
    let name = crd.name_any();
    crds.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(crd))
        .await
        .expect("the CRD is applied");
    let established = await_condition(crds, &name, is_crd_established());
    tokio::time::timeout(LIMIT, established)
        .await
        .expect("the CRD is established in time")
        .expect("the watch");
    client
}

impl Cell {
    pub(crate) async fn make(client: &Client) -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string();
        let [system, plugins, shop] = ["system", "plugins", "shop"].map(|kind| format!("{kind}-{run}"));
        for name in [&system, &plugins, &shop] {
            make_namespace(client, name).await;
        }
        let arguments = [
            "kite-operator",
            "--system-namespace",
            &system,
            "--plugins-namespace",
            &plugins,
        ];
        let options = Options::parse_from(arguments);
        // An operator that starts finds its CAs.
        let keeper = keeper::establish(client, &options, &Metrics::default(), &CancellationToken::new())
            .await
            .map(drop);
        keeper.expect("the CAs");
        Self {
            client: client.clone(),
            options,
            shop,
        }
    }

    /// A name that no other plugin of this API server has.
    pub(crate) fn subject() -> String {
        let number = SUBJECTS.fetch_add(1, Ordering::Relaxed);
        format!("subject-{}-{number}", std::process::id())
    }

    pub(crate) fn plugins_namespace(&self) -> &str {
        &self.options.namespaces.plugins
    }

    /// Applies the plugin, whole.
    pub(crate) async fn apply(&self, subject: &str, spec: &Value) -> KitePlugin {
        let object = json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": subject}, "spec": spec,
        });
        let applied = self
            .objects()
            .patch(subject, &PatchParams::apply("test").force(), &Patch::Apply(object))
            .await;
        applied.unwrap_or_else(|error| panic!("the API server takes {spec}: {error}"))
    }

    pub(crate) fn objects(&self) -> Api<KitePlugin> {
        Api::all(self.client.clone())
    }

    /// The plugin, once `holds`.
    pub(crate) async fn seen(&self, subject: &str, holds: impl Fn(&KitePlugin) -> bool) -> Result<KitePlugin, String> {
        let condition = |object: Option<&KitePlugin>| object.is_some_and(&holds);
        let seen = Box::pin(await_condition(self.objects(), subject, condition));
        match tokio::time::timeout(LIMIT, seen).await {
            Ok(Ok(Some(plugin))) => Ok(plugin),
            other => Err(format!(
                "{subject} did not come to be so: {other:?}; last seen: {:#?}",
                self.objects().get_opt(subject).await
            )),
        }
    }
}

async fn make_namespace(client: &Client, name: &str) {
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .expect("a namespace");
}
