//! What one plugin finds of another, and what it lacks for that.

use semver::Version;

use super::{Dependency, Node, NodeState, standing::Problem};
use crate::{PluginName, Requirement};

/// What a plugin finds where it looks for a dependency.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Finding<'a> {
    pub(super) found: Option<&'a Version>,
    pub(super) ready: bool,
    /// None for an optional dependency.
    pub(super) problem: Option<Problem>,
}

impl<'a> Finding<'a> {
    pub(super) fn of(dependency: &Dependency, node: Option<&'a Node>) -> Self {
        let problem = lack(dependency, node);
        Self {
            found: node.and_then(|node| node.version.as_ref()),
            ready: problem.is_none(),
            problem: problem.filter(|_| !dependency.optional),
        }
    }

    /// The same, where the plugin's cycle leads to `next`.
    pub(super) fn along(self, dependency: &Dependency, next: Option<&PluginName>) -> Self {
        let is_next = !dependency.optional && next == Some(&dependency.name);
        Self {
            problem: if is_next { Some(Problem::Cycle) } else { self.problem },
            ..self
        }
    }
}

/// What lacks for a dependency. First what no wait and no switch can mend.
fn lack(dependency: &Dependency, node: Option<&Node>) -> Option<Problem> {
    let Some(node) = node else {
        return Some(Problem::Missing);
    };
    match (&node.version, node.state) {
        (_, NodeState::Deleting) => Some(Problem::Deleting),
        (None, _) => Some(Problem::Unreadable),
        (Some(version), _) if !dependency.requirement.matches(version) => Some(Problem::VersionMismatch),
        (_, NodeState::Disabled) => Some(Problem::Disabled),
        (_, NodeState::NotReady) => Some(Problem::NotReady),
        (_, NodeState::Ready) => None,
    }
}

impl Node {
    /// The requirements by which this plugin needs another and cannot have it because of what that is. One that is
    /// being deleted itself wants nothing any more.
    pub(super) fn unserved_by<'a>(&'a self, needed: &Node) -> impl Iterator<Item = (&'a Requirement, Problem)> {
        let dependencies = self.dependencies.iter().filter(|_| self.is_live());
        let dependencies = dependencies.filter(|dependency| !dependency.optional && dependency.name == needed.name);
        dependencies.filter_map(|dependency| match lack(dependency, Some(needed))? {
            problem @ (Problem::Deleting | Problem::Disabled | Problem::VersionMismatch) => {
                Some((&dependency.requirement, problem))
            }
            Problem::Missing | Problem::Unreadable | Problem::NotReady | Problem::Cycle => None,
        })
    }
}
