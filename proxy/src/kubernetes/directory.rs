//! Which plugins there are, by watching KitePlugins, what their revisions record, and the EndpointSlices of their Services.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use backon::ExponentialBuilder;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{apps::v1::ControllerRevision, discovery::v1::EndpointSlice};
use kite_api::{PluginName, error_chain, labels};
use kube::{
    Api, Client, ResourceExt as _,
    core::error_boundary::InvalidObject,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store, reflector},
        utils::Backoff,
        watcher::{self, Event, ExponentialBackoff, watcher},
    },
};
use moka::future::Cache;
use tokio::time::timeout;

use super::{revisions::Recorded, understood::Understood};
use crate::directory::{Directory, Entry, Records, Source, Table, fold, fold_one};

/// How long what was read of a plugin holds: nobody makes the API server answer more often by asking for revisions that are not there.
const READ_HOLDS: Duration = Duration::from_secs(1);
/// How long reading a plugin may take; somebody waits.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Most plugins of which it is kept what was read.
const MOST_READ: u64 = 1024;

/// Why a plugin that was asked for is not known.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("failed to ask the API server")]
    Ask(#[source] kube::Error),
    #[error("failed to understand the object")]
    Understand(#[source] Box<InvalidObject>),
}

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
    async fn read(&self, plugin: &PluginName) -> Result<Option<Entry>, ReadError> {
        let api: Api<Understood> = Api::all(self.client.clone());
        let found = api.get_opt(plugin.as_str()).await.map_err(ReadError::Ask)?;
        let Some(Understood(object)) = found else {
            return Ok(None);
        };
        let object = object.map_err(|error| ReadError::Understand(error.into()))?;
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

/// How long a watch that failed waits before it asks again: up to 5 s, and up to as much again by chance. Where the API server was away, or the kind
/// was not installed, plugins are not known for so long that are back.
fn waits() -> impl Backoff + use<> {
    let waits = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(800))
        .with_max_delay(Duration::from_secs(5))
        .with_factor(2.0)
        .without_max_times()
        .with_jitter();
    ExponentialBackoff::from(waits)
}

/// Keeps `watched` current and tells `changed` of each new table. It does not end by itself: trouble with the API
/// server is logged and asked again, with growing pauses, and the last table stays.
pub async fn watch(client: Client, namespace: &str, watched: Watched, changed: impl Fn(&Table)) {
    let (plugins, plugin_writer) = reflector::store::<Understood>();
    let (slices, slice_writer) = reflector::store::<EndpointSlice>();
    let plugin_events = watcher(Api::<Understood>::all(client.clone()), watching())
        .modify(|plugin| plugin.managed_fields_mut().clear())
        .backoff(waits());
    let slice_config = watching().labels(labels::PLUGIN);
    let slice_events = watcher(
        Api::<EndpointSlice>::namespaced(client.clone(), namespace),
        slice_config,
    )
    .modify(|slice| slice.managed_fields_mut().clear())
    .backoff(waits());
    let recorded = Recorded::default();
    let record_config = watching().labels(labels::PLUGIN);
    let taken_in = recorded.clone();
    let record_events = watcher(
        Api::<ControllerRevision>::namespaced(client.clone(), namespace),
        record_config,
    )
    .backoff(waits())
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

fn table(namespace: &str, plugins: &Store<Understood>, slices: &Store<EndpointSlice>, records: &Records) -> Table {
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
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::Full;
    use kite_api::{KitePlugin, Phase};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::directory::DefinitionsHash;

    fn store(objects: impl IntoIterator<Item = Value>) -> Store<Understood> {
        let (store, mut writer) = reflector::store::<Understood>();
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

    /// One whose second revision serves, and whose first drains.
    fn serving() -> Value {
        let time = "2026-01-01T00:00:00Z";
        let mut object = plugin("hello", &json!(2));
        object["status"] = json!({
            "phase": "Loaded",
            "activeRevision": 2,
            "revisions": [
                {
                    "number": 1, "version": "0.9.0", "definitionsHash": "sha256:old", "state": "Draining",
                    "drainingSince": time,
                },
                {"number": 2, "version": "1.0.0", "definitionsHash": "sha256:new", "state": "Active"},
            ],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Loaded", "message": "", "lastTransitionTime": time,
            }],
        });
        object
    }

    /// In places of that, words that a newer operator may write.
    fn other_words() -> [(&'static str, Value); 4] {
        [
            ("/status/phase", json!("Evolving")),
            ("/status/conditions/0", json!({"type": "Thriving"})),
            ("/status/revisions/0/state", json!("Fading")),
            ("/status/revisions/1/state", json!("Blooming")),
        ]
    }

    /// What both revisions have recorded.
    fn recorded() -> Recorded {
        let recorded = Recorded::default();
        for number in [1, 2] {
            let object = json!({
                "metadata": {"name": format!("kite-plugin-hello-{number}")},
                "revision": number,
                "data": {"spec": {"version": "1.0.0", "image": "a"}},
            });
            recorded.take_in(&Event::Apply(serde_json::from_value(object).unwrap()));
        }
        recorded
    }

    /// The entry of the object in the table.
    fn entry(object: Value) -> Entry {
        let (slices, _) = reflector::store::<EndpointSlice>();
        let table = table("kite-plugins", &store([object]), &slices, &recorded().known());
        table.into_values().next().unwrap()
    }

    /// What is read of the plugin at an API server that answers with this object.
    async fn read(object: &Value) -> Option<Arc<Entry>> {
        let object = object.to_string();
        let service = tower::service_fn(move |_: Request<Body>| {
            let answer = Full::from(object.clone());
            async move { Ok::<_, Infallible>(Response::new(answer)) }
        });
        let (slices, _) = reflector::store::<EndpointSlice>();
        let sources = Sources {
            client: Client::new(service, "default"),
            namespace: "kite-plugins".to_owned(),
            slices,
            recorded: recorded(),
        };
        let watched = Watched::default();
        assert!(watched.0.sources.set(sources).is_ok());
        watched.read(&PluginName::parse("hello").unwrap()).await
    }

    #[test]
    fn words_of_another_version_in_a_status_cost_a_plugin_no_traffic() {
        let known = entry(serving());
        let active = known.serving().unwrap();
        assert_eq!(
            (active.number, &active.hash),
            (2, &DefinitionsHash::recorded("sha256:new"))
        );
        assert_eq!(known.draining.len(), 1);
        // One by one, and all at once.
        let mut every = serving();
        for (place, word) in other_words() {
            let mut one = serving();
            for object in [&mut one, &mut every] {
                *object.pointer_mut(place).unwrap() = word.clone();
                assert!(serde_json::from_value::<KitePlugin>(object.clone()).is_err(), "{place}");
                let found = entry(object.clone());
                let expected = Entry {
                    phase: found.phase,
                    ..known.clone()
                };
                assert_eq!(found, expected, "{place}");
            }
        }
        assert_eq!(entry(every).phase, Phase::Pending, "as one that says nothing of it");
    }

    #[tokio::test]
    async fn one_that_is_asked_for_is_understood_by_the_same_rule() {
        let mut object = serving();
        for (place, word) in other_words() {
            *object.pointer_mut(place).unwrap() = word;
            assert_eq!(read(&object).await.as_deref(), Some(&entry(object.clone())), "{place}");
        }
        object["spec"]["replicas"] = json!("many");
        assert_eq!(read(&object).await, None);
    }

    #[test]
    fn an_object_that_cannot_be_read_costs_only_itself() {
        let mut both = plugin("both", &json!("many"));
        both["status"] = json!({"phase": "Evolving", "activeRevision": 1});
        let plugins = store([plugin("good", &json!(2)), plugin("broken", &json!("many")), both]);
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
