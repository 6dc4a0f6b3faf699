//! Which plugins there are, by watching KitePlugins, what their revisions record, and the EndpointSlices of their Services.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{apps::v1::ControllerRevision, discovery::v1::EndpointSlice};
use kite_api::{KitePlugin, PluginName, error_chain, labels};
use kube::{
    Api, Client, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store, reflector},
        watcher::{self, Event, watcher},
    },
};
use moka::future::Cache;
use tokio::time::timeout;

use super::revisions::Recorded;
use crate::directory::{Directory, Entry, Records, Source, Table, fold, fold_one};

/// An object that may not be readable, so that one that is not does not stop the watch of all others.
type Guarded = DeserializeGuard<KitePlugin>;

/// How long what was read of a plugin holds: nobody makes the API server answer more often by asking for revisions that are not there.
const READ_HOLDS: Duration = Duration::from_secs(1);
/// How long reading a plugin may take; somebody waits.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Most plugins of which it is kept what was read.
const MOST_READ: u64 = 1024;

/// The table as it was after the last change that was seen.
#[derive(Clone)]
pub struct Watched(Arc<State>);

struct State {
    table: ArcSwapOption<Table>,
    /// From what the table is made, once that is watched.
    sources: OnceLock<Sources>,
    read: Cache<PluginName, Option<Arc<Entry>>>,
}

/// What the table is made of, beside the plugins.
struct Sources {
    client: Client,
    namespace: String,
    slices: Store<EndpointSlice>,
    recorded: Recorded,
}

impl Default for Watched {
    fn default() -> Self {
        Self(Arc::new(State {
            table: ArcSwapOption::empty(),
            sources: OnceLock::new(),
            read: Cache::builder()
                .max_capacity(MOST_READ)
                .time_to_live(READ_HOLDS)
                .build(),
        }))
    }
}

impl Directory for Watched {
    fn table(&self) -> Option<Arc<Table>> {
        self.0.table.load_full()
    }

    async fn read(&self, plugin: &PluginName) -> Option<Arc<Entry>> {
        let sources = self.0.sources.get()?;
        let read = async {
            let entry = timeout(READ_TIMEOUT, sources.read(plugin)).await;
            match entry {
                Ok(Ok(entry)) => entry.map(Arc::new),
                Ok(Err(error)) => {
                    tracing::warn!(%plugin, error = error_chain(&error), "plugin not read");
                    None
                }
                Err(_) => {
                    tracing::warn!(%plugin, "plugin not read in time");
                    None
                }
            }
        };
        self.0.read.get_with_by_ref(plugin, read).await
    }
}

impl Sources {
    async fn read(&self, plugin: &PluginName) -> kube::Result<Option<Entry>> {
        let api: Api<KitePlugin> = Api::all(self.client.clone());
        let Some(object) = api.get_opt(plugin.as_str()).await? else {
            return Ok(None);
        };
        let slices = self.slices.state();
        let records = self.recorded.known();
        let source = Source {
            namespace: &self.namespace,
            records: &records,
        };
        Ok(fold_one(source, &object, slices.iter().map(AsRef::as_ref)))
    }
}

/// How long a watch is kept, in seconds. One that has silently stopped is noticed then, and not after the five minutes that are usual.
const WATCH_SECONDS: u32 = 30;

fn watching() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// Keeps `watched` current and tells `changed` of each new table. It does not end by itself: trouble with the API
/// server is logged and asked again, with growing pauses, and the last table stays.
pub async fn watch(client: Client, namespace: &str, watched: Watched, changed: impl Fn(&Table)) {
    let (plugins, plugin_writer) = reflector::store::<Guarded>();
    let (slices, slice_writer) = reflector::store::<EndpointSlice>();
    let plugin_events = watcher(Api::<Guarded>::all(client.clone()), watching())
        .modify(|plugin| plugin.managed_fields_mut().clear())
        .default_backoff();
    let slice_config = watching().labels(labels::PLUGIN);
    let slice_events = watcher(
        Api::<EndpointSlice>::namespaced(client.clone(), namespace),
        slice_config,
    )
    .modify(|slice| slice.managed_fields_mut().clear())
    .default_backoff();
    let recorded = Recorded::default();
    let record_config = watching().labels(labels::PLUGIN);
    let taken_in = recorded.clone();
    let record_events = watcher(
        Api::<ControllerRevision>::namespaced(client.clone(), namespace),
        record_config,
    )
    .default_backoff()
    .inspect_ok(move |event| taken_in.take_in(event));
    let sources = Sources {
        client,
        namespace: namespace.to_owned(),
        slices: slices.clone(),
        recorded: recorded.clone(),
    };
    // It is watched once.
    let _ = watched.0.sources.set(sources);
    let plugin_events = settled(reflector(plugin_writer, plugin_events), Kind::Plugins);
    let slice_events = settled(reflector(slice_writer, slice_events), Kind::Endpoints);
    let record_events = settled(record_events, Kind::Records);
    let events = futures::stream::select(plugin_events, futures::stream::select(slice_events, record_events));
    let mut events = std::pin::pin!(events);
    let mut listed = Listed::default();
    while let Some(kind) = events.next().await {
        listed.saw(kind);
        if listed.all() {
            let table = Arc::new(table(namespace, &plugins, &slices, &recorded.known()));
            watched.0.table.store(Some(Arc::clone(&table)));
            changed(&table);
        }
    }
}

/// What is watched.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plugins,
    Records,
    Endpoints,
}

/// What has been listed at least once.
#[derive(Default)]
struct Listed {
    plugins: bool,
    records: bool,
    endpoints: bool,
}

impl Listed {
    fn saw(&mut self, kind: Kind) {
        match kind {
            Kind::Plugins => self.plugins = true,
            Kind::Records => self.records = true,
            Kind::Endpoints => self.endpoints = true,
        }
    }

    fn all(&self) -> bool {
        self.plugins && self.records && self.endpoints
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

fn table(namespace: &str, plugins: &Store<Guarded>, slices: &Store<EndpointSlice>, records: &Records) -> Table {
    let (plugins, slices) = (plugins.state(), slices.state());
    let readable = plugins.iter().filter_map(|plugin| match &plugin.0 {
        Ok(plugin) => Some(plugin),
        Err(error) => {
            tracing::warn!(plugin = plugin.name_any(), error = error_chain(error), "plugin skipped");
            None
        }
    });
    let (table, broken) = fold(
        Source { namespace, records },
        readable,
        slices.iter().map(AsRef::as_ref),
    );
    for broken in broken {
        tracing::warn!(error = error_chain(&broken), "part of an object skipped");
    }
    table
}

#[cfg(test)]
mod tests {
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
        let table = table("kite-plugins", &plugins, &slices, &Records::new());
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
    fn nothing_is_known_before_all_were_listed() {
        let mut listed = Listed::default();
        listed.saw(Kind::Plugins);
        listed.saw(Kind::Records);
        assert!(!listed.all());
        listed.saw(Kind::Endpoints);
        assert!(listed.all());
    }
}
