//! What a plugin's dependencies come to, as values and in words.

use std::fmt;

use semver::Version;

use crate::{PluginName, Requirement, conditions::reasons};

/// Most problems that a message tells, and most plugins of a cycle that it names.
const MOST_TOLD: usize = 8;

/// What a plugin's dependencies come to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// One for each dependency, in the order of the object.
    pub needs: Vec<Need>,
    /// A shortest cycle of required dependencies that the plugin is a member of, beginning with itself: `[a, b]` is
    /// a → b → a. A plugin that only depends on a member has none.
    pub cycle: Option<Vec<PluginName>>,
    /// The plugins that require this one and cannot have it because of what it is, by name.
    pub needed_by: Vec<NeededBy>,
}

/// One dependency, and what was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Need {
    pub name: PluginName,
    pub requirement: Requirement,
    pub optional: bool,
    /// The version that is there, in range or not.
    pub found: Option<Version>,
    /// It is there, in range and ready.
    pub ready: bool,
    /// What keeps the plugin from running. An optional dependency has none, whatever became of it.
    pub problem: Option<Problem>,
}

/// A plugin that requires another one and cannot have it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NeededBy {
    pub name: PluginName,
    pub requirement: Requirement,
    /// [`Problem::Deleting`], [`Problem::Disabled`] or [`Problem::VersionMismatch`].
    pub problem: Problem,
}

/// Why a dependency is not satisfied.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Problem {
    /// There is no such plugin.
    Missing,
    /// It is being deleted.
    Deleting,
    /// Its version is out of range, whatever its state.
    VersionMismatch,
    /// Its object cannot be understood.
    Unreadable,
    /// It is switched off.
    Disabled,
    /// It is not ready yet, or not ready any more.
    NotReady,
    /// It needs the plugin that needs it.
    Cycle,
}

/// The reasons of the condition, first those that keep more from working.
const REASONS: [&str; 4] = [
    reasons::CYCLE,
    reasons::MISSING,
    reasons::VERSION_MISMATCH,
    reasons::NOT_READY,
];

impl Problem {
    /// The condition's reason for it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Cycle => reasons::CYCLE,
            Self::Missing | Self::Deleting => reasons::MISSING,
            Self::VersionMismatch => reasons::VERSION_MISMATCH,
            Self::Unreadable | Self::Disabled | Self::NotReady => reasons::NOT_READY,
        }
    }

    /// Whether it takes the traffic from a plugin that runs. One that is there and in range, but cannot serve just now,
    /// does not.
    pub fn is_fatal(self) -> bool {
        match self {
            Self::Cycle | Self::Missing | Self::Deleting | Self::VersionMismatch => true,
            Self::Unreadable | Self::Disabled | Self::NotReady => false,
        }
    }
}

impl Standing {
    /// Nothing keeps the plugin from running.
    pub fn is_satisfied(&self) -> bool {
        self.problems().next().is_none()
    }

    /// Something is lacking without which the plugin may not take traffic even if it runs.
    pub fn is_fatal(&self) -> bool {
        self.problems().any(Problem::is_fatal)
    }

    /// Something is lacking, and it may come by itself. Who is disabled or cannot be understood stays so.
    pub fn waits(&self) -> bool {
        !self.is_satisfied() && self.problems().all(|problem| problem == Problem::NotReady)
    }

    /// The condition's reason.
    pub fn reason(&self) -> &'static str {
        REASONS
            .into_iter()
            .find(|reason| self.problems().any(|problem| problem.reason() == *reason))
            .unwrap_or(reasons::SATISFIED)
    }

    /// The condition's message: each problem with what was found and what can be done, those of the condition's reason
    /// first.
    pub fn message(&self) -> String {
        let mut told: Vec<String> = self.cycle.iter().map(|cycle| tell_cycle(cycle)).collect();
        for reason in REASONS {
            let needs = self.needs.iter().filter_map(|need| Some((need, need.problem?)));
            let needs = needs.filter(|(_, problem)| problem.reason() == reason && *problem != Problem::Cycle);
            told.extend(needs.map(|(need, problem)| Told { need, problem }.to_string()));
        }
        let more = told.len().saturating_sub(MOST_TOLD);
        told.truncate(MOST_TOLD);
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        match (told.is_empty(), self.needs.is_empty()) {
            (true, true) => "it depends on no other plugin".to_owned(),
            (true, false) => "all that it depends on is there, in range and ready".to_owned(),
            (false, _) => told.join("; "),
        }
    }

    fn problems(&self) -> impl Iterator<Item = Problem> {
        let cycle = self.cycle.as_ref().map(|_| Problem::Cycle);
        cycle
            .into_iter()
            .chain(self.needs.iter().filter_map(|need| need.problem))
    }
}

/// A need in words.
struct Told<'a> {
    need: &'a Need,
    problem: Problem,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Need { name, requirement, .. } = self.need;
        write!(f, "needs {name} {requirement}, ")?;
        if let Some(found) = &self.need.found {
            write!(f, "found {found}, ")?;
        }
        match self.problem {
            Problem::Missing => write!(f, "which does not exist: apply it, or take it out of spec.dependencies"),
            Problem::Deleting => {
                write!(
                    f,
                    "which is being deleted: apply it again, or take it out of spec.dependencies"
                )
            }
            Problem::VersionMismatch => {
                write!(
                    f,
                    "which is out of range: apply a version of {name} that is in it, or change the requirement"
                )
            }
            Problem::Unreadable => write!(f, "whose object cannot be understood: {name}'s own conditions say why"),
            Problem::Disabled => write!(f, "which is disabled: set spec.enabled of {name} to true"),
            Problem::NotReady => write!(f, "which is not ready: {name}'s own conditions say why"),
            Problem::Cycle => write!(f, "which needs this one"),
        }
    }
}

fn tell_cycle(cycle: &[PluginName]) -> String {
    let first = cycle.iter().take(MOST_TOLD).map(PluginName::as_str);
    let more = cycle.len().saturating_sub(MOST_TOLD);
    let more = (more > 0).then(|| format!("({more} more)"));
    let path: Vec<&str> = first
        .chain(more.as_deref())
        .chain(cycle.first().map(PluginName::as_str))
        .collect();
    let path = path.join(" → ");
    format!("depends on itself by {path}: take one of these dependencies out, or make it optional")
}
