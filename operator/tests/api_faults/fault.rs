//! What is done to an operator, as data: so many words tell what to do again.

use std::fmt;

use super::change::Change;

/// A fault at one of the writes, or one of the events, that belong to a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The operator ends after so many of its writes, without hearing what became of the last. Another begins.
    Crash { after: usize },
    /// The same. And what the other is told by its watches, their first lists included, is for a while what was before the change.
    Stale { after: usize },
    /// The connection breaks before the operator hears that this write was done.
    Lost { write: usize },
    /// No watch tells of this event of the resource. After a while the watch ends, and has to be begun anew.
    Unseen { resource: String, event: usize },
}

impl Fault {
    /// What is done, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "crash",
            Self::Stale { .. } => "stale",
            Self::Lost { .. } => "lost",
            Self::Unseen { .. } => "unseen",
        }
    }
}

/// A change to a plugin, and what is done to the operator meanwhile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Case {
    pub(crate) change: Change,
    pub(crate) fault: Fault,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.change, self.fault.kind())?;
        match &self.fault {
            Fault::Crash { after } | Fault::Stale { after } => write!(f, " {after}"),
            Fault::Lost { write } => write!(f, " {write}"),
            Fault::Unseen { resource, event } => write!(f, " {resource} {event}"),
        }
    }
}

#[test]
fn a_case_is_told_in_words() {
    let told = |fault| {
        Case {
            change: Change::Update,
            fault,
        }
        .to_string()
    };
    assert_eq!(told(Fault::Crash { after: 0 }), "update crash 0");
    let resource = String::from("pods");
    assert_eq!(told(Fault::Unseen { resource, event: 2 }), "update unseen pods 2");
}
