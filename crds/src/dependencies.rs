//! Which plugins need which others, over all plugins of a cluster: what each finds, what is wrong with it, and whom a
//! change concerns.

mod components;
mod finding;
mod graph;
mod standing;

use semver::Version;

use crate::{PluginName, Requirement};
pub use graph::Graph;
pub use standing::{Need, NeededBy, Problem, Standing};

/// A plugin as others see it, and what it asks of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    pub name: PluginName,
    /// What others find. None: the object cannot be understood.
    pub version: Option<Version>,
    pub state: NodeState,
    /// In the order in which they are written.
    pub dependencies: Vec<Dependency>,
}

/// Whether a plugin can serve others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NodeState {
    Ready,
    NotReady,
    /// `spec.enabled` is false.
    Disabled,
    /// It counts as gone: nothing finds it, and no cycle leads through it.
    Deleting,
}

/// That a plugin needs another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dependency {
    pub name: PluginName,
    pub requirement: Requirement,
    /// The plugin runs without it as well.
    pub optional: bool,
}

impl Node {
    /// Whether others can depend on it at all.
    fn is_live(&self) -> bool {
        self.state != NodeState::Deleting
    }

    /// The names of plugins without which this one does not run.
    fn required(&self) -> impl Iterator<Item = &PluginName> {
        self.dependencies
            .iter()
            .filter(|dependency| !dependency.optional)
            .map(|dependency| &dependency.name)
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
