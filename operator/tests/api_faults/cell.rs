//! A part of the API server for one plugin at a time: namespaces of its own, in which an operator is started as often as it takes.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use clap::Parser;
use kite_api::KitePlugin;
use kite_operator::{Options, identity::keeper, metrics::Metrics};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::server;

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
    server::client(server::config().await).await
}

impl Cell {
    pub(crate) async fn make(client: &Client) -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string();
        let [system, plugins, shop] = ["system", "plugins", "shop"].map(|kind| format!("{kind}-{run}"));
        for name in [&system, &plugins, &shop] {
            server::make_namespace(client, name).await;
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
            other => {
                let mut last = self.objects().get_opt(subject).await;
                if let Ok(Some(plugin)) = &mut last {
                    plugin.metadata.managed_fields = None;
                }
                let last = last.map(|plugin| json!(plugin).to_string());
                Err(format!(
                    "{subject} did not come to be so: {other:?}; last seen: {last:?}"
                ))
            }
        }
    }
}
