//! Which plugins there are, by watching KitePlugins and the EndpointSlices of their Services.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kite_api::{KitePlugin, error_chain, labels};
use kube::{
    Api, Client, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store, reflector},
        watcher::{self, Event, watcher},
    },
};

use crate::directory::{Directory, Table, fold};

/// An object that may not be readable, so that one that is not does not stop the watch of all others.
type Guarded = DeserializeGuard<KitePlugin>;

/// The table as it was after the last change that was seen.
#[derive(Clone, Default)]
pub struct Watched(Arc<ArcSwapOption<Table>>);

impl Directory for Watched {
    fn table(&self) -> Option<Arc<Table>> {
        self.0.load_full()
    }
}

/// Keeps `watched` current and tells `changed` of each new table. It does not end by itself: trouble with the API
/// server is logged and asked again, with growing pauses, and the last table stays.
pub async fn watch(client: Client, namespace: &str, watched: Watched, changed: impl Fn(&Table)) {
    let (plugins, plugin_writer) = reflector::store::<Guarded>();
    let (slices, slice_writer) = reflector::store::<EndpointSlice>();
    let plugin_events = watcher(Api::<Guarded>::all(client.clone()), watcher::Config::default())
        .modify(|plugin| plugin.managed_fields_mut().clear())
        .default_backoff();
    let slice_config = watcher::Config::default().labels(labels::PLUGIN);
    let slice_events = watcher(Api::<EndpointSlice>::namespaced(client, namespace), slice_config)
        .modify(|slice| slice.managed_fields_mut().clear())
        .default_backoff();
    let plugin_events = settled(reflector(plugin_writer, plugin_events), Kind::Plugins);
    let slice_events = settled(reflector(slice_writer, slice_events), Kind::Endpoints);
    let events = futures::stream::select(plugin_events, slice_events);
    let mut events = std::pin::pin!(events);
    let mut listed = Listed::default();
    while let Some(kind) = events.next().await {
        listed.saw(kind);
        if listed.all() {
            let table = Arc::new(table(namespace, &plugins, &slices));
            watched.0.store(Some(Arc::clone(&table)));
            changed(&table);
        }
    }
}

/// What is watched.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plugins,
    Endpoints,
}

/// What has been listed at least once.
#[derive(Default)]
struct Listed {
    plugins: bool,
    endpoints: bool,
}

impl Listed {
    fn saw(&mut self, kind: Kind) {
        match kind {
            Kind::Plugins => self.plugins = true,
            Kind::Endpoints => self.endpoints = true,
        }
    }

    fn all(&self) -> bool {
        self.plugins && self.endpoints
    }
}

/// The moments at which a store is whole and has changed.
fn settled<K>(events: impl Stream<Item = watcher::Result<Event<K>>>, kind: Kind) -> impl Stream<Item = Kind> {
    events.filter_map(move |event| async move {
        match event {
            Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => Some(kind),
            Ok(Event::Init | Event::InitApply(_)) => None,
            Err(error) => {
                tracing::warn!(?kind, error = error_chain(&error), "watch interrupted");
                None
            }
        }
    })
}

fn table(namespace: &str, plugins: &Store<Guarded>, slices: &Store<EndpointSlice>) -> Table {
    let (plugins, slices) = (plugins.state(), slices.state());
    let readable = plugins.iter().filter_map(|plugin| match &plugin.0 {
        Ok(plugin) => Some(plugin),
        Err(error) => {
            tracing::warn!(plugin = plugin.name_any(), error = error_chain(error), "plugin skipped");
            None
        }
    });
    let (table, broken) = fold(namespace, readable, slices.iter().map(AsRef::as_ref));
    for broken in broken {
        tracing::warn!(error = error_chain(&broken), "part of an object skipped");
    }
    table
}

#[cfg(test)]
mod tests {
    use kite_api::PluginName;
    use serde_json::{Value, json};

    use super::*;

    fn store(objects: impl IntoIterator<Item = Value>) -> Store<Guarded> {
        let (store, mut writer) = reflector::store::<Guarded>();
        for object in objects {
            writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object).unwrap()));
        }
        store
    }

    fn plugin(name: &str, replicas: &Value) -> Value {
        json!({
            "apiVersion": "kite.dev/v1alpha1",
            "kind": "KitePlugin",
            "metadata": {"name": name},
            "spec": {
                "version": "1.0.0",
                "image": "registry/image:1",
                "replicas": replicas,
                "resources": {"limits": {"cpu": 1, "memory": "128Mi"}},
            },
        })
    }

    #[test]
    fn an_object_that_cannot_be_read_costs_only_itself() {
        let plugins = store([plugin("good", &json!(2)), plugin("broken", &json!("many"))]);
        let (slices, _) = reflector::store::<EndpointSlice>();
        let table = table("kite-plugins", &plugins, &slices);
        assert_eq!(table.keys().map(PluginName::as_str).collect::<Vec<_>>(), ["good"]);
    }

    #[tokio::test]
    async fn a_store_is_settled_after_each_list_and_each_change() {
        let slice = EndpointSlice::default;
        let events = futures::stream::iter([
            Ok(Event::Init),
            Ok(Event::InitApply(slice())),
            Ok(Event::InitDone),
            Err(watcher::Error::NoResourceVersion),
            Ok(Event::Apply(slice())),
            Ok(Event::Delete(slice())),
        ]);
        assert_eq!(settled(events, Kind::Endpoints).count().await, 3);
    }

    #[test]
    fn nothing_is_known_before_both_were_listed() {
        let mut listed = Listed::default();
        listed.saw(Kind::Plugins);
        assert!(!listed.all());
        listed.saw(Kind::Endpoints);
        assert!(listed.all());
    }
}
