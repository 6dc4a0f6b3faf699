//! Cycles: which nodes of a graph are in one, and a shortest one through each of them.
#![expect(
    clippy::indexing_slicing,
    reason = "nodes are numbered here, from 0 to their count, and every table has an entry for each"
)]

use std::{collections::VecDeque, iter};

use crate::PluginName;

/// For each node the nodes that it needs, ascending and each once.
pub(super) type Edges = Vec<Vec<usize>>;

/// Plugins each of which needs every other one by way of others, or one that needs itself: a strongly connected
/// component that has a cycle.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Component {
    /// Ascending.
    names: Vec<PluginName>,
    /// Those within the component.
    edges: Edges,
}

impl Component {
    /// All components of a graph that have a cycle. `names` is ascending, so that ascending numbers are ascending
    /// names.
    pub(super) fn all(names: &[&PluginName], edges: &Edges) -> Vec<Self> {
        let tangled = tangled(edges);
        let mut components = strongly_connected(edges, &tangled);
        components.retain(|members| match members.as_slice() {
            [alone] => edges[*alone].contains(alone),
            _ => true,
        });
        // Where a node stands among its component's members; for others it is never read.
        let mut places = vec![0; edges.len()];
        components
            .into_iter()
            .map(|mut members| {
                members.sort_unstable();
                for (place, &member) in members.iter().enumerate() {
                    places[member] = place;
                }
                let within = |&member: &usize| {
                    let needed = edges[member].iter().copied();
                    let needed = needed.filter(|needed| members.binary_search(needed).is_ok());
                    needed.map(|needed| places[needed]).collect()
                };
                Self {
                    edges: members.iter().map(within).collect(),
                    names: members.iter().map(|&member| names[member].clone()).collect(),
                }
            })
            .collect()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &PluginName> {
        self.names.iter()
    }

    /// A shortest cycle through the plugin, from it to the one that needs it again; of several the first by name. Empty
    /// if it is not of this component.
    ///
    /// Breadth first in ascending order: within a distance, nodes are met in the order of their first paths.
    pub(super) fn shortest_through(&self, name: &PluginName) -> Vec<&PluginName> {
        let Ok(start) = self.names.binary_search(name) else {
            return Vec::new();
        };
        let mut came_from = vec![None; self.names.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            if self.edges[node].binary_search(&start).is_ok() {
                let back = iter::successors(Some(node), |&node| came_from[node]);
                let mut path: Vec<&PluginName> = back.map(|node| &self.names[node]).collect();
                path.reverse();
                return path;
            }
            for &needed in &self.edges[node] {
                if came_from[needed].is_none() {
                    came_from[needed] = Some(node);
                    queue.push_back(needed);
                }
            }
        }
        Vec::new()
    }
}

/// Which nodes cannot be put into an order in which each stands behind all that it needs: those in a cycle, and those
/// that need one of them. The algorithm is that of Kahn, "Topological sorting of large networks" (1962).
fn tangled(edges: &Edges) -> Vec<bool> {
    let mut lacking: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut needed_by = vec![Vec::new(); edges.len()];
    for (node, needed) in edges.iter().enumerate() {
        for &needed in needed {
            needed_by[needed].push(node);
        }
    }
    let mut free: Vec<usize> = (0..edges.len()).filter(|&node| lacking[node] == 0).collect();
    while let Some(node) = free.pop() {
        for &dependent in &needed_by[node] {
            lacking[dependent] -= 1;
            if lacking[dependent] == 0 {
                free.push(dependent);
            }
        }
    }
    lacking.into_iter().map(|lacking| lacking > 0).collect()
}

/// The strongly connected components of the nodes chosen, by the algorithm of Tarjan, "Depth-first search and linear
/// graph algorithms" (1972). With a stack of its own: whoever applies plugins decides how deep it goes.
fn strongly_connected(edges: &Edges, chosen: &[bool]) -> Vec<Vec<usize>> {
    let mut search = Search {
        edges,
        chosen,
        met: vec![None; edges.len()],
        low: vec![0; edges.len()],
        is_open: vec![false; edges.len()],
        open: Vec::new(),
        count: 0,
        components: Vec::new(),
    };
    for (node, _) in chosen.iter().enumerate().filter(|(_, chosen)| **chosen) {
        if search.met[node].is_none() {
            search.run(node);
        }
    }
    search.components
}

struct Search<'a> {
    edges: &'a Edges,
    chosen: &'a [bool],
    /// When a node was met: its place in the order.
    met: Vec<Option<usize>>,
    /// The earliest open node that is reached from a node.
    low: Vec<usize>,
    /// Nodes whose component is not complete.
    open: Vec<usize>,
    is_open: Vec<bool>,
    count: usize,
    components: Vec<Vec<usize>>,
}

impl Search<'_> {
    fn run(&mut self, root: usize) {
        // A node, and how many of its edges have been followed.
        let mut path = vec![(root, 0)];
        self.enter(root);
        while let Some((node, followed)) = path.last_mut() {
            let node = *node;
            if let Some(&needed) = self.edges[node].get(*followed) {
                *followed += 1;
                match self.met[needed] {
                    _ if !self.chosen[needed] => {}
                    None => {
                        self.enter(needed);
                        path.push((needed, 0));
                    }
                    Some(met) if self.is_open[needed] => self.low[node] = self.low[node].min(met),
                    Some(_) => {}
                }
            } else {
                path.pop();
                if let Some(&(dependent, _)) = path.last() {
                    self.low[dependent] = self.low[dependent].min(self.low[node]);
                }
                if self.met[node] == Some(self.low[node]) {
                    self.complete(node);
                }
            }
        }
    }

    fn enter(&mut self, node: usize) {
        self.met[node] = Some(self.count);
        self.low[node] = self.count;
        self.count += 1;
        self.open.push(node);
        self.is_open[node] = true;
    }

    /// `first` is the node of its component that was met first, so all that is open behind it belongs to it.
    fn complete(&mut self, first: usize) {
        let begin = self.open.iter().rposition(|&node| node == first).unwrap_or_default();
        let component = self.open.split_off(begin);
        for &member in &component {
            self.is_open[member] = false;
        }
        self.components.push(component);
    }
}
