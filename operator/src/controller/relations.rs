//! Who needs whom: the graph over all plugins, kept as the watch brings them, and who is to be looked at again for it.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kite_api::{
    KitePlugin, PluginName,
    conditions::{READY, reasons},
    dependencies::{Dependency, Graph, Node, NodeState, Standing},
    plugin::KitePluginSpec,
    requirement::{Requirement, RequirementError},
};
use kube::runtime::watcher::Event;
use semver::Version;

use super::object::{self, Object};

/// What of an object's relations cannot be read. The CRD's schema refuses it; an object may be older than the schema.
#[derive(Debug, thiserror::Error)]
pub enum RelationError {
    #[error("failed to read spec.dependencies: {0:?} is not the name of a plugin")]
    Name(String, #[source] kite_api::name::NameError),
    #[error("failed to read the requirement {text:?} on {plugin} in spec.dependencies")]
    Requirement {
        plugin: String,
        text: String,
        source: RequirementError,
    },
}

/// The plugins that `spec` depends on.
pub fn dependencies(spec: &KitePluginSpec) -> Result<Vec<Dependency>, RelationError> {
    let read = |dependency: &kite_api::plugin::Dependency| {
        let name = PluginName::parse(&dependency.name);
        let requirement = Requirement::parse(&dependency.version);
        Ok(Dependency {
            name: name.map_err(|source| RelationError::Name(dependency.name.clone(), source))?,
            requirement: requirement.map_err(|source| RelationError::Requirement {
                plugin: dependency.name.clone(),
                text: dependency.version.clone(),
                source,
            })?,
            optional: dependency.optional.unwrap_or(false),
        })
    };
    spec.dependencies.iter().map(read).collect()
}

/// What others see of a plugin. An object that cannot be read is there all the same, in no version.
fn node(object: &Object) -> Option<Node> {
    let name = PluginName::parse(object::name(object)).ok()?;
    let unreadable = || Node {
        name: name.clone(),
        version: None,
        state: if object::is_being_deleted(object) {
            NodeState::Deleting
        } else {
            NodeState::NotReady
        },
        dependencies: Vec::new(),
    };
    let Ok(plugin) = &object.0 else {
        return Some(unreadable());
    };
    let Ok(dependencies) = dependencies(&plugin.spec) else {
        return Some(unreadable());
    };
    Some(Node {
        version: version(plugin),
        state: state(object, plugin),
        dependencies,
        name,
    })
}

/// The version that takes traffic; before there is one, the version that is wanted.
fn version(plugin: &KitePlugin) -> Option<Version> {
    let active = plugin.status.as_ref().and_then(|status| status.active());
    let text = active.map_or(&plugin.spec.version, |revision| &revision.version);
    Version::parse(text).ok()
}

fn state(object: &Object, plugin: &KitePlugin) -> NodeState {
    let conditions = plugin.status.iter().flat_map(|status| &status.conditions);
    // A plugin that is enabled again is told as disabled until the operator has looked at it.
    let is_ready = conditions
        .filter(|condition| condition.type_ == READY && condition.reason != reasons::DISABLED)
        .any(|condition| condition.status == "True");
    if object::is_being_deleted(object) {
        NodeState::Deleting
    } else if !plugin.spec.is_enabled() {
        NodeState::Disabled
    } else if is_ready {
        NodeState::Ready
    } else {
        NodeState::NotReady
    }
}

/// The graph over all plugins that the watch has brought.
#[derive(Debug, Default)]
pub struct Relations(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    graph: Graph,
    /// What a list that has begun has brought so far.
    listing: Vec<Node>,
}

/// What an event of the watch means for others.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Consequences {
    /// The plugins that now stand otherwise than before.
    pub woken: Vec<PluginName>,
    /// Those of them that need a plugin that has just gone.
    pub bereft: Vec<PluginName>,
}

impl Relations {
    /// Takes in what the watch has brought.
    pub fn take_in(&self, event: &Event<Object>) -> Consequences {
        let mut state = self.lock();
        let woken = match event {
            Event::Apply(object) => node(object).map(|node| state.graph.set(node)),
            Event::Delete(object) => return gone(&mut state.graph, object),
            Event::Init => {
                state.listing.clear();
                None
            }
            Event::InitApply(object) => {
                state.listing.extend(node(object));
                None
            }
            Event::InitDone => {
                let listing = std::mem::take(&mut state.listing);
                // All of them: those of a list's first page were looked at before the store had what is in it.
                let mut woken: BTreeSet<PluginName> = listing.iter().map(|node| node.name.clone()).collect();
                woken.append(&mut state.graph.replace(listing));
                Some(woken)
            }
        };
        Consequences {
            woken: woken.into_iter().flatten().collect(),
            bereft: Vec::new(),
        }
    }

    /// How the plugin stands to others. `None`: the watch has not brought it yet.
    pub fn standing(&self, plugin: &PluginName) -> Option<Standing> {
        self.lock().graph.standing(plugin)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The graph's own changes do not panic; one that did would leave what the next list replaces.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone(graph: &mut Graph, object: &Object) -> Consequences {
    let Ok(name) = PluginName::parse(object::name(object)) else {
        return Consequences::default();
    };
    let woken: Vec<PluginName> = graph.remove(&name).into_iter().collect();
    let needs_it = |other: &&PluginName| {
        let mut needs = graph.standing(other).into_iter().flat_map(|standing| standing.needs);
        needs.any(|need| need.name == name && need.problem.is_some())
    };
    let bereft = woken.iter().filter(needs_it).cloned().collect();
    Consequences { woken, bereft }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(name: &str, change: impl FnOnce(&mut Value)) -> Object {
        let mut object = json!({
            "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin",
            "metadata": {"name": name, "generation": 1},
            "spec": {"version": "1.0.0", "image": "a"},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "reason": "Loaded", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]},
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    fn names(names: &[&str]) -> Vec<PluginName> {
        names.iter().map(|name| PluginName::parse(name).unwrap()).collect()
    }

    fn needing(name: &str, other: &str) -> Object {
        object(name, |o| {
            o["spec"]["dependencies"] = json!([{"name": other, "version": "^1.0"}]);
        })
    }

    #[test]
    fn the_state_is_what_object_and_status_say() {
        let state = |change: fn(&mut Value)| node(&object("a", change)).unwrap().state;
        assert_eq!(state(|_| {}), NodeState::Ready);
        assert_eq!(state(|o| o["status"] = json!({})), NodeState::NotReady);
        assert_eq!(
            state(|o| o["status"]["conditions"][0]["reason"] = json!("Disabled")),
            NodeState::NotReady,
            "enabled again, and not yet looked at"
        );
        assert_eq!(state(|o| o["spec"]["enabled"] = json!(false)), NodeState::Disabled);
        assert_eq!(
            state(|o| o["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")),
            NodeState::Deleting
        );
    }

    #[test]
    fn the_version_is_that_of_what_takes_traffic() {
        let updating = object("a", |o| {
            o["spec"]["version"] = json!("2.0.0");
            o["status"]["activeRevision"] = json!(1);
            o["status"]["revisions"] = json!([{"number": 1, "version": "1.4.2", "state": "Active"}]);
        });
        assert_eq!(node(&updating).unwrap().version, Some(Version::new(1, 4, 2)));
    }

    #[test]
    fn an_object_that_cannot_be_read_is_there_in_no_version() {
        let broken = object("a", |o| o["spec"]["version"] = json!(7));
        assert_eq!(node(&broken).unwrap().version, None);
        let requirement = object("a", |o| {
            o["spec"]["dependencies"] = json!([{"name": "b", "version": "~>1"}]);
        });
        assert_eq!(node(&requirement).unwrap().version, None);
    }

    #[test]
    fn a_list_is_taken_in_as_a_whole_and_a_change_wakes_whom_it_concerns() {
        let relations = Relations::default();
        for event in [
            Event::Init,
            Event::InitApply(needing("user", "lib")),
            Event::InitApply(object("other", |_| {})),
        ] {
            assert_eq!(relations.take_in(&event), Consequences::default());
        }
        let woken = relations.take_in(&Event::InitDone).woken;
        assert_eq!(woken, names(&["other", "user"]));
        let woken = relations.take_in(&Event::Apply(object("lib", |_| {}))).woken;
        assert_eq!(woken, names(&["lib", "user"]));
        let gone = relations.take_in(&Event::Delete(object("lib", |_| {})));
        assert_eq!(gone.bereft, names(&["user"]));
    }
}
