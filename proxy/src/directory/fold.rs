//! From the objects of the API server to the table: pure, so that it can be tried with any objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kite_api::{
    KitePlugin, KitePluginStatus, Phase, PluginName, RequestLimits, RevisionSpec, RevisionState, RevisionStatus,
    ToolName, ToolReference, conditions, name::NameError, object_names,
};

use super::{DefinitionsHash, Entry, Guards, Revision, Table};
use crate::moment::Moment;

/// Label on an `EndpointSlice`: the Service that it belongs to.
const SERVICE: &str = "kubernetes.io/service-name";

/// By how much the clocks of an operator and a gateway may differ.
const CLOCKS: Duration = Duration::from_secs(30);

/// Something in an object that was left out of the table.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    #[error("failed to read the plugin's name {name:?}")]
    Plugin { name: String, source: NameError },
    #[error("failed to read the tool's name {tool:?} of {plugin}")]
    Tool {
        plugin: PluginName,
        tool: String,
        source: NameError,
    },
    #[error("failed to find {plugin}'s own name in the tool's name {tool:?}")]
    ToolOfAnother { plugin: PluginName, tool: String },
    #[error("failed to read the address {address:?} of the Service {service}")]
    Address { service: String, address: String },
}

/// What revisions have recorded, by the names of their objects.
pub type Records = BTreeMap<String, Arc<RevisionSpec>>;

/// What is known beside the plugins.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Where the plugins run.
    pub namespace: &'a str,
    pub records: &'a Records,
}

/// All plugins that can be read, with their endpoints, and what could not be read. A broken object costs nobody else.
pub fn fold<'a>(
    source: Source<'_>,
    plugins: impl IntoIterator<Item = &'a KitePlugin>,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> (Table, Vec<Broken>) {
    let mut broken = Vec::new();
    let ready = ready_addresses(slices, &mut broken);
    let mut table = Table::new();
    for plugin in plugins {
        let name = plugin.metadata.name.as_deref().unwrap_or_default();
        match PluginName::parse(name) {
            Ok(name) => {
                let entry = entry(&name, plugin, source, &ready, &mut broken);
                table.insert(name, entry);
            }
            Err(source) => broken.push(Broken::Plugin {
                name: name.to_owned(),
                source,
            }),
        }
    }
    (table, broken)
}

/// One plugin, as it would stand in the table.
pub fn fold_one<'a>(
    source: Source<'_>,
    plugin: &'a KitePlugin,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> Option<Entry> {
    let (table, _) = fold(source, [plugin], slices);
    table.into_values().next()
}

/// The ready addresses of each Service.
type Ready<'a> = BTreeMap<&'a str, BTreeSet<IpAddr>>;

fn ready_addresses<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>, broken: &mut Vec<Broken>) -> Ready<'a> {
    let mut ready = Ready::new();
    for slice in slices {
        let Some(service) = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE)) else {
            continue;
        };
        let addresses = ready.entry(service.as_str()).or_default();
        for endpoint in &slice.endpoints {
            // Absent means ready, by the API's own documentation.
            if endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(false) {
                continue;
            }
            // All addresses of one endpoint are the same pod, so the first is enough.
            let Some(address) = endpoint.addresses.first() else {
                continue;
            };
            match address.parse() {
                Ok(address) => {
                    addresses.insert(address);
                }
                Err(_) => broken.push(Broken::Address {
                    service: service.clone(),
                    address: address.clone(),
                }),
            }
        }
    }
    ready
}

fn entry(
    name: &PluginName,
    plugin: &KitePlugin,
    source: Source<'_>,
    ready: &Ready<'_>,
    broken: &mut Vec<Broken>,
) -> Entry {
    let absent = KitePluginStatus::default();
    let status = plugin.status.as_ref().unwrap_or(&absent);
    let phase = status.phase.unwrap_or_default();
    let revision = |entry: &RevisionStatus| revision(name, entry, plugin, source, ready);
    let drains = |entry: &&RevisionStatus| entry.state == RevisionState::Draining;
    Entry {
        version: status.version.clone().unwrap_or_else(|| plugin.spec.version.clone()),
        description: plugin.spec.description.clone().unwrap_or_default(),
        enabled: plugin.spec.is_enabled(),
        phase,
        trouble: trouble(phase, status),
        active: status.active().and_then(revision),
        draining: status.revisions.iter().filter(drains).filter_map(revision).collect(),
        tools: status
            .tools
            .iter()
            .filter_map(|tool| own_tool(name, &tool.name, broken))
            .collect(),
        limits: RequestLimits::of(&plugin.spec),
    }
}

/// Why a failed plugin failed, as its Ready condition says.
fn trouble(phase: Phase, status: &KitePluginStatus) -> Option<String> {
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == conditions::READY)?;
    (phase == Phase::Failed).then(|| ready.message.clone())
}

/// A revision to which requests go, if all is known of it: without what it requires of its callers it takes none.
fn revision(
    name: &PluginName,
    entry: &RevisionStatus,
    plugin: &KitePlugin,
    source: Source<'_>,
    ready: &Ready<'_>,
) -> Option<Revision> {
    let hash = DefinitionsHash::recorded(entry.definitions_hash.as_deref()?);
    // Service and record have the same name.
    let object = object_names::revision(name, entry.number);
    let recorded = source.records.get(&object)?;
    let addresses = ready.get(object.as_str()).into_iter().flatten();
    Some(Revision {
        number: entry.number,
        hash,
        endpoints: addresses.map(|ip| SocketAddr::new(*ip, kite_proto::PORT)).collect(),
        guards: Guards::of(recorded, &plugin.spec.permissions, source.namespace),
        until: until(entry, plugin.spec.drain()),
    })
}

/// When a revision that drains is asked no longer, whether or not anybody is there to stop it. Its own time is a moment longer: the clock that
/// wrote its beginning may be ahead.
fn until(entry: &RevisionStatus, drain: Duration) -> Option<Moment> {
    let since = entry.draining_since.as_ref()?.0.as_second();
    let since = Moment::of(u64::try_from(since).unwrap_or_default());
    Some(since.after(drain).after(CLOCKS))
}

fn own_tool(plugin: &PluginName, tool: &str, broken: &mut Vec<Broken>) -> Option<ToolName> {
    match ToolReference::parse(tool) {
        Ok(reference) if reference.plugin == *plugin => return Some(reference.tool),
        Ok(_) => broken.push(Broken::ToolOfAnother {
            plugin: plugin.clone(),
            tool: tool.to_owned(),
        }),
        Err(source) => broken.push(Broken::Tool {
            plugin: plugin.clone(),
            tool: tool.to_owned(),
            source,
        }),
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plugin(spoil: impl FnOnce(&mut Value)) -> KitePlugin {
        let mut object = json!({
            "apiVersion": "kite.dev/v1alpha1",
            "kind": "KitePlugin",
            "metadata": {"name": "hello"},
            "spec": {"version": "1.0.0", "image": "registry/hello:1", "description": "Greets."},
            "status": {
                "phase": "Loaded",
                "version": "1.0.1",
                "activeRevision": 2,
                "revisions": [
                    {"number": 0, "version": "0.8.0", "state": "Stopped", "definitionsHash": "sha256:older"},
                    {"number": 1, "version": "0.9.0", "state": "Draining", "definitionsHash": "sha256:old",
                     "drainingSince": "1970-01-01T00:01:00Z"},
                    {"number": 2, "version": "1.0.0", "state": "Active", "definitionsHash": "sha256:new"},
                ],
                "tools": [{"name": "plugin_hello_hello", "description": "", "hash": ""}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "Loaded", "message": "all is well", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            },
        });
        spoil(&mut object);
        serde_json::from_value(object).unwrap()
    }

    fn slice(service: &str, endpoints: &Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "addressType": "IPv4",
            "metadata": {"labels": {SERVICE: service}},
            "endpoints": endpoints,
        }))
        .unwrap()
    }

    fn slices() -> Vec<EndpointSlice> {
        vec![
            slice(
                "kite-plugin-hello-2",
                &json!([{"addresses": ["10.0.0.2"]}, {"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]),
            ),
            slice(
                "kite-plugin-hello-2",
                &json!([{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.3"], "conditions": {"ready": false}}]),
            ),
            slice("kite-plugin-hello-1", &json!([{"addresses": ["10.0.0.9"]}])),
            slice("kite-plugin-hello", &json!([{"addresses": ["10.0.0.8"]}])),
        ]
    }

    /// What the revisions of hello have recorded: each requires another resource on its one path.
    fn records() -> Records {
        let record = |number: i64| {
            let spec = json!({"routes": [{"path": "/a", "requires": [{"resource": format!("r{number}")}]}]});
            let spec: RevisionSpec = serde_json::from_value(spec).unwrap();
            (format!("kite-plugin-hello-{number}"), Arc::new(spec))
        };
        (0..=2).map(record).collect()
    }

    fn source(records: &Records) -> Source<'_> {
        Source {
            namespace: "kite-plugins",
            records,
        }
    }

    fn hello(plugin: &KitePlugin) -> (Entry, Vec<Broken>) {
        let (mut table, broken) = fold(source(&records()), [plugin], &slices());
        (table.remove(&PluginName::parse("hello").unwrap()).unwrap(), broken)
    }

    #[test]
    fn ssrf_a_loaded_plugin_has_the_ready_endpoints_of_its_active_revision_alone() {
        let (entry, broken) = hello(&plugin(|_| ()));
        let expected = Entry {
            version: "1.0.1".to_owned(),
            description: "Greets.".to_owned(),
            enabled: true,
            phase: Phase::Loaded,
            trouble: None,
            active: Some(Revision {
                number: 2,
                hash: DefinitionsHash::recorded("sha256:new"),
                endpoints: vec!["10.0.0.1:9443".parse().unwrap(), "10.0.0.2:9443".parse().unwrap()],
                guards: guards(2),
                until: None,
            }),
            draining: vec![Revision {
                number: 1,
                hash: DefinitionsHash::recorded("sha256:old"),
                endpoints: vec!["10.0.0.9:9443".parse().unwrap()],
                guards: guards(1),
                until: Some(Moment::of(60 + 300 + 30)),
            }],
            tools: BTreeSet::from([ToolName::parse("hello").unwrap()]),
            limits: RequestLimits::default(),
        };
        assert_eq!((entry, broken), (expected, vec![]));
    }

    fn guards(number: i64) -> Guards {
        Guards::of(&records()[&format!("kite-plugin-hello-{number}")], &[], "kite-plugins")
    }

    #[test]
    fn routes_are_the_revisions_own_and_the_grant_is_that_of_now() {
        let plugin = plugin(|object| {
            object["spec"]["routes"] = json!([{"path": "/a", "requires": [{"resource": "r3"}]}]);
            object["spec"]["permissions"] = json!([{"apiGroups": [""], "resources": ["r2"], "verbs": ["get"]}]);
        });
        let (entry, _) = hello(&plugin);
        let active = entry.active.unwrap();
        assert_eq!(active.guards.routes("/a")[0].route.requires[0].resource, "r2");
        let expected = Guards::of(
            &records()["kite-plugin-hello-2"],
            &plugin.spec.permissions,
            "kite-plugins",
        );
        assert_eq!(active.guards, expected);
    }

    #[test]
    fn a_revision_of_which_nothing_is_recorded_takes_no_traffic() {
        let mut records = records();
        records.remove("kite-plugin-hello-2");
        let entry = fold_one(source(&records), &plugin(|_| ()), &slices()).unwrap();
        assert_eq!((entry.serving(), entry.draining.len()), (None, 1));
    }

    #[test]
    fn a_plugin_has_the_limits_of_its_object() {
        let (entry, _) = hello(&plugin(|object| object["spec"]["limits"] = json!({"inFlight": 3})));
        let expected = RequestLimits {
            in_flight: 3,
            ..RequestLimits::default()
        };
        assert_eq!(entry.limits, expected);
    }

    #[test]
    fn a_plugin_takes_no_traffic_for_each_of_its_reasons() {
        let spoils: [fn(&mut Value); 4] = [
            |object| object["spec"]["enabled"] = json!(false),
            |object| object["status"]["activeRevision"] = Value::Null,
            |object| object["status"]["activeRevision"] = json!(3),
            |object| object["status"]["revisions"][2]["definitionsHash"] = Value::Null,
        ];
        for spoil in spoils {
            assert_eq!(hello(&plugin(spoil)).0.serving(), None);
        }
    }

    #[test]
    fn phase_and_readiness_do_not_stop_traffic() {
        let failed = plugin(|object| object["status"]["phase"] = json!("Failed"));
        let (entry, _) = hello(&failed);
        assert!(entry.serving().is_some());
        assert_eq!(entry.trouble.as_deref(), Some("all is well"));
    }

    #[test]
    fn an_object_that_nobody_has_looked_at_is_pending() {
        let (entry, broken) = hello(&plugin(|object| object["status"] = Value::Null));
        assert_eq!(
            (entry.phase, entry.version.as_str(), entry.active),
            (Phase::Pending, "1.0.0", None)
        );
        assert_eq!(broken, []);
    }

    #[test]
    fn what_is_broken_is_told_and_costs_nothing_else() {
        let odd = plugin(|object| object["metadata"]["name"] = json!("Odd"));
        let tools = plugin(|object| {
            object["status"]["tools"] = json!([
                {"name": "plugin_hello_good", "description": "", "hash": ""},
                {"name": "hello", "description": "", "hash": ""},
                {"name": "plugin_other_x", "description": "", "hash": ""},
            ]);
        });
        let address = slice("kite-plugin-hello-2", &json!([{"addresses": ["pod.example"]}]));
        let (table, broken) = fold(source(&records()), [&odd, &tools], slices().iter().chain([&address]));
        let name = PluginName::parse("hello").unwrap();
        assert_eq!(table.len(), 1);
        assert_eq!(table[&name].tools, BTreeSet::from([ToolName::parse("good").unwrap()]));
        assert_eq!(table[&name].active.as_ref().unwrap().endpoints.len(), 2);
        assert_eq!(
            broken,
            [
                Broken::Address {
                    service: "kite-plugin-hello-2".to_owned(),
                    address: "pod.example".to_owned()
                },
                Broken::Plugin {
                    name: "Odd".to_owned(),
                    source: NameError::Characters
                },
                Broken::Tool {
                    plugin: name.clone(),
                    tool: "hello".to_owned(),
                    source: NameError::NotATool
                },
                Broken::ToolOfAnother {
                    plugin: name,
                    tool: "plugin_other_x".to_owned()
                },
            ]
        );
    }
}
