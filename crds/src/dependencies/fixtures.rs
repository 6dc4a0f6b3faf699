//! Plugins for tests, in words: `plugin("a").needs("b", "^1").is(Disabled)`.

use semver::Version;

use super::{Dependency, Node, NodeState};
use crate::{PluginName, Requirement};

pub(super) fn name(text: &str) -> PluginName {
    PluginName::parse(text).unwrap()
}

pub(super) fn names<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<PluginName> {
    texts.into_iter().map(name).collect()
}

/// One that is ready, in version 1.0.0.
pub(super) fn plugin(text: &str) -> Node {
    Node {
        name: name(text),
        version: Some(Version::new(1, 0, 0)),
        state: NodeState::Ready,
        dependencies: Vec::new(),
    }
}

impl Node {
    pub(super) fn is(mut self, state: NodeState) -> Self {
        self.state = state;
        self
    }

    pub(super) fn has(mut self, version: &str) -> Self {
        self.version = Some(Version::parse(version).unwrap());
        self
    }

    pub(super) fn cannot_be_read(mut self) -> Self {
        self.version = None;
        self
    }

    pub(super) fn needs(self, name: &str, requirement: &str) -> Self {
        self.depends(name, requirement, false)
    }

    pub(super) fn may_use(self, name: &str, requirement: &str) -> Self {
        self.depends(name, requirement, true)
    }

    fn depends(mut self, other: &str, requirement: &str, optional: bool) -> Self {
        self.dependencies.push(Dependency {
            name: name(other),
            requirement: Requirement::parse(requirement).unwrap(),
            optional,
        });
        self
    }
}
