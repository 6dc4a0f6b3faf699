//! The graph: kept while plugins come, change and go, at the cost of what a change concerns.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use super::{
    Dependency, Node,
    components::{Component, Edges},
    finding::Finding,
    standing::{Need, NeededBy, Problem, Standing},
};
use crate::{PluginName, Requirement};

/// The component of each plugin that is a member of a cycle.
type Cycles = BTreeMap<PluginName, Arc<Component>>;

/// All plugins, and what they need of one another.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<PluginName, Node>,
    /// Who names a plugin as a dependency, optional ones too; also of plugins that do not exist.
    dependents: BTreeMap<PluginName, BTreeSet<PluginName>>,
    cycles: Cycles,
}

impl Graph {
    /// The graph of all plugins. Of several nodes with one name the last counts.
    pub fn of(nodes: impl IntoIterator<Item = Node>) -> Self {
        Self::after(&Cycles::new(), nodes)
    }

    /// What a plugin's dependencies come to. None: there is no such plugin.
    ///
    /// It is made anew each time, from the plugin's neighbours and from the component of its cycle, if it is in one:
    /// were all of them kept, a ring of plugins would take memory by the square of its length.
    pub fn standing(&self, name: &PluginName) -> Option<Standing> {
        let node = self.nodes.get(name)?;
        let cycle = self.cycle(name);
        let next = next_of(&cycle);
        let needs = node.dependencies.iter().map(|dependency| {
            let finding = self.look(dependency).along(dependency, next);
            Need {
                name: dependency.name.clone(),
                requirement: dependency.requirement.clone(),
                optional: dependency.optional,
                found: finding.found.cloned(),
                ready: finding.ready,
                problem: finding.problem,
            }
        });
        let needed_by = self.unserved(node).map(|(name, requirement, problem)| NeededBy {
            name: name.clone(),
            requirement: requirement.clone(),
            problem,
        });
        Some(Standing {
            needs: needs.collect(),
            needed_by: needed_by.collect(),
            cycle: (!cycle.is_empty()).then(|| cycle.into_iter().cloned().collect()),
        })
    }

    /// Puts a plugin in, or in place of the one with its name. Returns the plugins whose standing is another than
    /// before; a plugin that is new is among them.
    pub fn set(&mut self, node: Node) -> BTreeSet<PluginName> {
        let name = node.name.clone();
        self.change(&name, Some(node))
    }

    /// Takes a plugin out. Returns the plugins whose standing is another than before; this one, which has none, is not
    /// among them.
    pub fn remove(&mut self, name: &PluginName) -> BTreeSet<PluginName> {
        self.change(name, None)
    }

    /// Puts these plugins in place of all. Returns the plugins whose standing is another than before; those that are
    /// new are among them, those that are gone are not.
    pub fn replace(&mut self, nodes: impl IntoIterator<Item = Node>) -> BTreeSet<PluginName> {
        let new = Self::after(&self.cycles, nodes);
        let old = mem::replace(self, new);
        let mut changed = differing(&old.cycles, &self.cycles, self.nodes.keys());
        let others = self.nodes.values().filter(|node| !changed.contains(&node.name));
        let others: Vec<&PluginName> = others
            .filter(|node| !self.stands_as_in(&old, node))
            .map(|node| &node.name)
            .collect();
        changed.extend(others.into_iter().cloned());
        changed
    }

    /// The graph of all plugins, with those components taken over that are as before.
    fn after(before: &Cycles, nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut graph = Self::default();
        for node in nodes {
            graph.put(node);
        }
        let live = graph.nodes.values().filter(|node| node.is_live());
        let names: Vec<&PluginName> = live.map(|node| &node.name).collect();
        graph.cycles = graph.cycles_among(&names, before);
        graph
    }

    /// The standing of a plugin depends on its own node, on those that it names, on those that name it and, for the
    /// cycle, on those that it needs and that need it: these are looked at, and no others.
    fn change(&mut self, name: &PluginName, node: Option<Node>) -> BTreeSet<PluginName> {
        if self.nodes.get(name) == node.as_ref() {
            return BTreeSet::new();
        }
        let before = self.standing(name);
        let old = match node {
            Some(node) => self.put(node),
            None => self.take(name),
        };
        let is_rewired = edges_of(old.as_ref()) != edges_of(self.nodes.get(name));
        let mut changed = if is_rewired { self.rewire(name) } else { BTreeSet::new() };
        let new = self.nodes.get(name);

        let dependents = self.dependents.get(name).into_iter().flatten();
        for dependent in dependents.filter_map(|dependent| self.nodes.get(dependent)) {
            let dependencies = dependent
                .dependencies
                .iter()
                .filter(|dependency| dependency.name == *name);
            let findings = dependencies.map(|dependency| {
                let (before, after) = (Finding::of(dependency, old.as_ref()), Finding::of(dependency, new));
                (dependency, before, after)
            });
            if self.finds_otherwise(dependent, findings) {
                changed.insert(dependent.name.clone());
            }
        }
        let needed = [old.as_ref(), new].into_iter().flatten().flat_map(Node::required);
        for needed in needed.filter_map(|needed| self.nodes.get(needed)) {
            let before = old.iter().flat_map(|old| old.unserved_by(needed));
            let after = new.into_iter().flat_map(|new| new.unserved_by(needed));
            if !before.eq(after) {
                changed.insert(needed.name.clone());
            }
        }
        if new.is_some() && self.standing(name) != before {
            changed.insert(name.clone());
        } else {
            changed.remove(name);
        }
        changed
    }

    /// Finds the cycles anew after the edges of a plugin have changed, and returns the plugins whose cycle is another.
    ///
    /// A component that is other than before has the plugin in it, or is what is left of one that had: all others have
    /// neither gained nor lost an edge.
    fn rewire(&mut self, name: &PluginName) -> BTreeSet<PluginName> {
        let was = self
            .cycles
            .get(name)
            .into_iter()
            .flat_map(|component| component.members());
        let region: BTreeSet<PluginName> = was.chain(self.component_of(name)).cloned().collect();
        let live = region
            .iter()
            .filter(|name| self.nodes.get(name).is_some_and(Node::is_live));
        let new = self.cycles_among(&live.collect::<Vec<_>>(), &self.cycles);
        let old = region
            .iter()
            .filter_map(|name| self.cycles.remove_entry(name))
            .collect();
        let changed = differing(&old, &new, &region);
        self.cycles.extend(new);
        changed
    }

    /// The plugins that this one needs and that need it, itself among them: its strongly connected component.
    fn component_of(&self, name: &PluginName) -> BTreeSet<&PluginName> {
        let needed = |name: &PluginName| {
            let needed = self.nodes.get(name).into_iter().flat_map(Node::required);
            needed
                .filter_map(|name| self.nodes.get(name))
                .filter(|node| node.is_live())
        };
        let dependents = |name: &PluginName| {
            let dependents = self.dependents.get(name).into_iter().flatten();
            let name = name.clone();
            dependents
                .filter_map(|name| self.nodes.get(name))
                .filter(move |node| node.is_live() && node.required().any(|required| *required == name))
        };
        let start = self.nodes.get(name).filter(|node| node.is_live());
        // Most plugins are at one of the ends, with no component to look for.
        let Some(start) = start.filter(|_| needed(name).next().is_some() && dependents(name).next().is_some()) else {
            return start.map(|node| &node.name).into_iter().collect();
        };
        let ahead = reach(&start.name, |name| needed(name).map(|node| &node.name).collect());
        reach(&start.name, |name| {
            let behind = dependents(name).map(|node| &node.name);
            behind.filter(|name| ahead.contains(name)).collect()
        })
    }

    /// The components that have a cycle, of these plugins and the edges between them. One that was there before is the
    /// same value, so that it need not be compared for each of its members.
    fn cycles_among(&self, names: &[&PluginName], before: &Cycles) -> Cycles {
        let mut names = names.to_vec();
        names.sort_unstable();
        let edges: Edges = names.iter().map(|name| self.numbers_needed(name, &names)).collect();
        let mut cycles = Cycles::new();
        for component in Component::all(&names, &edges) {
            let was = component.members().next().and_then(|first| before.get(first));
            let component = match was {
                Some(was) if **was == component => Arc::clone(was),
                _ => Arc::new(component),
            };
            cycles.extend(component.members().map(|name| (name.clone(), Arc::clone(&component))));
        }
        cycles
    }

    /// The places in `names`, which is ascending, of the plugins that one requires.
    fn numbers_needed(&self, name: &PluginName, names: &[&PluginName]) -> Vec<usize> {
        let required = self.nodes.get(name).into_iter().flat_map(Node::required);
        let mut numbers: Vec<usize> = required
            .filter_map(|needed| names.binary_search(&needed).ok())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Whether a plugin's needs and those who need it are as in another graph, in which its cycle is the same.
    fn stands_as_in(&self, old: &Self, node: &Node) -> bool {
        let Some(was) = old.nodes.get(&node.name) else {
            return false;
        };
        let findings = node
            .dependencies
            .iter()
            .map(|dependency| (dependency, old.look(dependency), self.look(dependency)));
        node.dependencies == was.dependencies
            && !self.finds_otherwise(node, findings)
            && self.unserved(node).eq(old.unserved(was))
    }

    /// Whether something that a plugin found before, and finds after, comes to another need.
    fn finds_otherwise<'a>(
        &self,
        node: &Node,
        findings: impl Iterator<Item = (&'a Dependency, Finding<'a>, Finding<'a>)>,
    ) -> bool {
        let mut others = findings.filter(|(_, before, after)| before != after).peekable();
        if others.peek().is_none() {
            return false;
        }
        // Only now, as a cycle takes a search.
        let cycle = self.cycle(&node.name);
        let next = next_of(&cycle);
        others.any(|(dependency, before, after)| before.along(dependency, next) != after.along(dependency, next))
    }

    fn look(&self, dependency: &Dependency) -> Finding<'_> {
        Finding::of(dependency, self.nodes.get(&dependency.name))
    }

    /// A plugin's cycle; empty if there is none.
    fn cycle(&self, name: &PluginName) -> Vec<&PluginName> {
        let component = self.cycles.get(name);
        component.map_or_else(Vec::new, |component| component.shortest_through(name))
    }

    /// Who requires a plugin and cannot have it because of what it is.
    fn unserved<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = (&'a PluginName, &'a Requirement, Problem)> {
        let dependents = self.dependents.get(&node.name).into_iter().flatten();
        let dependents = dependents.filter_map(|dependent| self.nodes.get(dependent));
        dependents.flat_map(|dependent| {
            let unserved = dependent.unserved_by(node);
            unserved.map(|(requirement, problem)| (&dependent.name, requirement, problem))
        })
    }

    fn put(&mut self, node: Node) -> Option<Node> {
        let old = self.take(&node.name);
        for dependency in &node.dependencies {
            let dependents = self.dependents.entry(dependency.name.clone()).or_default();
            dependents.insert(node.name.clone());
        }
        self.nodes.insert(node.name.clone(), node);
        old
    }

    fn take(&mut self, name: &PluginName) -> Option<Node> {
        let node = self.nodes.remove(name)?;
        for dependency in &node.dependencies {
            if let Some(dependents) = self.dependents.get_mut(&dependency.name) {
                dependents.remove(name);
                if dependents.is_empty() {
                    self.dependents.remove(&dependency.name);
                }
            }
        }
        Some(node)
    }
}

/// The edges that a node has in the search for cycles. None: no edge leads to it either.
fn edges_of(node: Option<&Node>) -> Option<BTreeSet<&PluginName>> {
    node.filter(|node| node.is_live()).map(|node| node.required().collect())
}

/// Where a cycle leads first: back to the plugin itself if that is all of it.
fn next_of<'a>(cycle: &[&'a PluginName]) -> Option<&'a PluginName> {
    cycle.get(1).or(cycle.first()).copied()
}

/// All that is reached by steps from `start`, itself among it.
fn reach<'a>(start: &'a PluginName, steps: impl Fn(&'a PluginName) -> Vec<&'a PluginName>) -> BTreeSet<&'a PluginName> {
    let mut reached = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        open.extend(steps(name).into_iter().filter(|step| reached.insert(step)));
    }
    reached
}

/// Those of `names` whose cycles differ.
fn differing<'a>(old: &Cycles, new: &Cycles, names: impl IntoIterator<Item = &'a PluginName>) -> BTreeSet<PluginName> {
    let differs = |name: &&PluginName| match (old.get(*name), new.get(*name)) {
        (None, None) => false,
        (Some(old), Some(new)) => !Arc::ptr_eq(old, new) && old.shortest_through(name) != new.shortest_through(name),
        _ => true,
    };
    names.into_iter().filter(differs).cloned().collect()
}
