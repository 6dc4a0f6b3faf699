//! What holds for every graph and every sequence of changes, by a reference that looks everything up anew.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::select};
use semver::Version;

use super::{Dependency, Graph, Need, NeededBy, Node, NodeState, Problem, Standing, fixtures::name};
use crate::{PluginName, Requirement, conditions::reasons};

type Nodes = BTreeMap<PluginName, Node>;

/// What the rules say, with no thought for what it costs.
fn reference(nodes: &Nodes, node: &Node) -> Standing {
    let cycle = (1..=nodes.len()).find_map(|length| first_cycle(nodes, &[&node.name], length));
    let next = cycle.as_ref().map(|cycle| cycle.get(1).unwrap_or(&cycle[0]).clone());
    let needs = node.dependencies.iter().map(|dependency| {
        let found = nodes.get(&dependency.name);
        let problem = problem(dependency, found);
        Need {
            name: dependency.name.clone(),
            requirement: dependency.requirement.clone(),
            optional: dependency.optional,
            found: found.and_then(|node| node.version.clone()),
            ready: problem.is_none(),
            problem: match problem {
                _ if dependency.optional => None,
                _ if next.as_ref() == Some(&dependency.name) => Some(Problem::Cycle),
                problem => problem,
            },
        }
    });
    let mut needed_by = Vec::new();
    for dependent in nodes
        .values()
        .filter(|dependent| dependent.state != NodeState::Deleting)
    {
        for dependency in &dependent.dependencies {
            let problem = problem(dependency, Some(node));
            let counts = [Problem::Deleting, Problem::Disabled, Problem::VersionMismatch];
            if dependency.name == node.name && !dependency.optional && problem.is_some_and(|it| counts.contains(&it)) {
                needed_by.push(NeededBy {
                    name: dependent.name.clone(),
                    requirement: dependency.requirement.clone(),
                    problem: problem.unwrap(),
                });
            }
        }
    }
    Standing {
        needs: needs.collect(),
        cycle,
        needed_by,
    }
}

fn problem(dependency: &Dependency, node: Option<&Node>) -> Option<Problem> {
    let Some(node) = node else {
        return Some(Problem::Missing);
    };
    if node.state == NodeState::Deleting {
        return Some(Problem::Deleting);
    }
    let Some(version) = &node.version else {
        return Some(Problem::Unreadable);
    };
    if !dependency.requirement.matches(version) {
        return Some(Problem::VersionMismatch);
    }
    match node.state {
        NodeState::Disabled => Some(Problem::Disabled),
        NodeState::NotReady => Some(Problem::NotReady),
        NodeState::Ready | NodeState::Deleting => None,
    }
}

/// The first way, by name, to get back to where `path` began with `length` steps from its beginning. All are tried.
fn first_cycle(nodes: &Nodes, path: &[&PluginName], length: usize) -> Option<Vec<PluginName>> {
    for next in needed(nodes, path[path.len() - 1]) {
        let is_end = path.len() == length;
        if is_end && next == path[0] {
            return Some(path.iter().copied().cloned().collect());
        }
        if !is_end
            && !path.contains(&next)
            && let Some(cycle) = first_cycle(nodes, &[path, &[next]].concat(), length)
        {
            return Some(cycle);
        }
    }
    None
}

/// The plugins that exist and that one requires, by name.
fn needed<'a>(nodes: &'a Nodes, name: &PluginName) -> BTreeSet<&'a PluginName> {
    let node = &nodes[name];
    let required = node.dependencies.iter().filter(|dependency| !dependency.optional);
    let found = required.filter_map(|dependency| nodes.get(&dependency.name));
    let live = found.filter(|node| node.state != NodeState::Deleting);
    live.map(|node| &node.name).collect()
}

/// All that depend on a plugin, by way of others too, optionally too.
fn dependents(nodes: &Nodes, of: &PluginName) -> BTreeSet<PluginName> {
    let mut found = BTreeSet::from([of.clone()]);
    loop {
        let names_one = |node: &&Node| {
            node.dependencies
                .iter()
                .any(|dependency| found.contains(&dependency.name))
        };
        let more: Vec<PluginName> = nodes.values().filter(names_one).map(|node| node.name.clone()).collect();
        let before = found.len();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(Node),
    /// Version and state of one that is there, which leaves all edges as they are.
    Restate(PluginName, Option<Version>, NodeState),
    Remove(PluginName),
    Replace(Vec<Node>),
}

fn some_name() -> impl Strategy<Value = PluginName> {
    select(&["a", "b", "c", "d", "e", "f", "g", "h"][..]).prop_map(name)
}

/// Requirements that hold more often than not.
fn dependency() -> impl Strategy<Value = Dependency> {
    let requirement = select(&["*", "*", "^1", ">=1.0.0, <3", ">=2.0.0-rc.1", "!=1.0.0"][..]);
    (some_name(), requirement, prop::bool::weighted(0.15)).prop_map(|(name, requirement, optional)| Dependency {
        name,
        requirement: Requirement::parse(requirement).unwrap(),
        optional,
    })
}

fn version() -> impl Strategy<Value = Option<Version>> {
    let texts = &["1.0.0", "1.0.0", "1.2.0", "2.0.0-rc.2", "2.0.0", ""];
    select(&texts[..]).prop_map(|text| Version::parse(text).ok())
}

fn state() -> impl Strategy<Value = NodeState> {
    prop_oneof![
        6 => Just(NodeState::Ready),
        2 => Just(NodeState::NotReady),
        1 => Just(NodeState::Disabled),
        1 => Just(NodeState::Deleting),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let dependencies = prop::collection::vec(dependency(), 0..4);
    (some_name(), version(), state(), dependencies).prop_map(|(name, version, state, dependencies)| Node {
        name,
        version,
        state,
        dependencies,
    })
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    prop::collection::vec(node(), 0..12)
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => node().prop_map(Change::Set),
        6 => (some_name(), version(), state()).prop_map(|(name, version, state)| Change::Restate(name, version, state)),
        3 => some_name().prop_map(Change::Remove),
        1 => nodes().prop_map(Change::Replace),
    ]
}

fn by_name(nodes: impl IntoIterator<Item = Node>) -> Nodes {
    nodes.into_iter().map(|node| (node.name.clone(), node)).collect()
}

fn standings(graph: &Graph, nodes: &Nodes) -> BTreeMap<PluginName, Standing> {
    let standing = |name: &PluginName| (name.clone(), graph.standing(name).unwrap());
    nodes.keys().map(standing).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_whole_is_what_the_reference_says(nodes in nodes()) {
        let graph = Graph::of(nodes.clone());
        let nodes = by_name(nodes);
        for node in nodes.values() {
            prop_assert_eq!(graph.standing(&node.name), Some(reference(&nodes, node)));
        }
        let absent = ["a", "h"].map(name).into_iter().filter(|name| !nodes.contains_key(name));
        prop_assert!(absent.map(|name| graph.standing(&name)).all(|standing| standing.is_none()));
    }

    #[test]
    fn after_any_changes_all_is_as_if_made_anew_and_just_the_difference_was_told(
        start in nodes(), changes in prop::collection::vec(change(), 1..12),
    ) {
        let mut graph = Graph::of(start.clone());
        let mut nodes = by_name(start);
        for change in changes {
            let before = standings(&graph, &nodes);
            let told = match change {
                Change::Set(node) => {
                    nodes.insert(node.name.clone(), node.clone());
                    graph.set(node)
                }
                Change::Restate(name, version, state) => {
                    let Some(node) = nodes.get_mut(&name) else { continue };
                    (node.version, node.state) = (version, state);
                    graph.set(node.clone())
                }
                Change::Remove(name) => {
                    nodes.remove(&name);
                    graph.remove(&name)
                }
                Change::Replace(all) => {
                    nodes = by_name(all.clone());
                    graph.replace(all)
                }
            };
            let after = standings(&graph, &nodes);
            prop_assert_eq!(&after, &standings(&Graph::of(nodes.values().cloned()), &nodes));
            let differing = after.iter().filter(|(name, standing)| before.get(*name) != Some(*standing));
            let differing: BTreeSet<PluginName> = differing.map(|(name, _)| name.clone()).collect();
            prop_assert_eq!(told, differing);
        }
    }

    #[test]
    fn trouble_reaches_only_those_that_depend_on_it_or_that_it_needs(start in nodes(), change in node()) {
        let mut graph = Graph::of(start.clone());
        let mut nodes = by_name(start);
        let changed = change.name.clone();
        let mut dependent = dependents(&nodes, &changed);
        let before = standings(&graph, &nodes);
        let old = nodes.insert(changed.clone(), change.clone());
        dependent.extend(dependents(&nodes, &changed));
        let needs = old.iter().chain([&change]).flat_map(|node| &node.dependencies);
        let needed: BTreeSet<&PluginName> = needs.map(|dependency| &dependency.name).collect();
        for name in graph.set(change.clone()) {
            prop_assert!(dependent.contains(&name) || needed.contains(&name), "{} by {}", name, changed);
        }
        for (name, before) in before.into_iter().filter(|(name, _)| !dependent.contains(name)) {
            let after = graph.standing(&name).unwrap();
            prop_assert_eq!((before.needs, before.cycle), (after.needs, after.cycle));
        }
    }

    #[test]
    fn the_order_in_which_plugins_come_is_all_one(nodes in nodes().prop_map(by_name), seed in any::<u64>()) {
        let mut shuffled: Vec<Node> = nodes.values().cloned().collect();
        shuffled.sort_by_key(|node| {
            let mixed = node.name.as_str().bytes().fold(seed, |sum, byte| sum.rotate_left(9) ^ u64::from(byte));
            mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        prop_assert_eq!(
            standings(&Graph::of(shuffled), &nodes),
            standings(&Graph::of(nodes.values().cloned()), &nodes)
        );
    }

    #[test]
    fn what_a_standing_answers_agrees(nodes in nodes()) {
        let graph = Graph::of(nodes.clone());
        for standing in standings(&graph, &by_name(nodes)).into_values() {
            prop_assert_eq!(standing.is_satisfied(), standing.reason() == reasons::SATISFIED);
            prop_assert_eq!(
                standing.is_fatal(),
                [reasons::CYCLE, reasons::MISSING, reasons::VERSION_MISMATCH].contains(&standing.reason())
            );
            prop_assert!(!standing.waits() || standing.reason() == reasons::NOT_READY);
            prop_assert_eq!(standing.cycle.is_some(), standing.reason() == reasons::CYCLE);
            let problems = standing.needs.iter().filter(|need| need.problem.is_some()).count();
            prop_assert_eq!(problems == 0, standing.is_satisfied());
            let listed = |need: &&Need| need.problem.is_some_and(|problem| problem != Problem::Cycle);
            for need in standing.needs.iter().filter(listed) {
                let told = format!("needs {} {}, ", need.name, need.requirement);
                prop_assert!(standing.message().contains(&told), "{}", standing.message());
            }
        }
    }
}
