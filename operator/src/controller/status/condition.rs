//! Conditions, written so that the time of a change stays the time of the change.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Most bytes that the API's conventions allow a message.
const MAX_MESSAGE: usize = 32_768;

/// Whether something holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition before it is known since when it is so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fact {
    pub kind: &'static str,
    pub truth: Truth,
    pub reason: String,
    pub message: String,
}

impl Fact {
    pub fn new(kind: &'static str, truth: Truth, reason: &str, message: &str) -> Self {
        Self {
            kind,
            truth,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    /// The condition of that kind as it stands.
    pub fn kept(conditions: &[Condition], kind: &'static str) -> Option<Self> {
        let condition = conditions.iter().find(|condition| condition.type_ == kind)?;
        let truth = match condition.status.as_str() {
            "True" => Truth::True,
            "False" => Truth::False,
            _ => Truth::Unknown,
        };
        Some(Self::new(kind, truth, &condition.reason, &condition.message))
    }
}

/// The conditions that tell `facts`.
pub fn write(previous: &[Condition], facts: Vec<Fact>, generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    facts
        .into_iter()
        .map(|fact| {
            let status = fact.truth.as_str();
            let before = previous
                .iter()
                .find(|before| before.type_ == fact.kind && before.status == status);
            Condition {
                last_transition_time: before.map_or(Time(now), |before| before.last_transition_time.clone()),
                message: bounded(fact.message),
                observed_generation: generation,
                reason: fact.reason,
                status: status.to_owned(),
                type_: fact.kind.to_owned(),
            }
        })
        .collect()
}

/// The message, or the beginning of one that is longer than the API's conventions allow.
pub(super) fn bounded(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_last_change_of_truth() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let fact = |truth, message| vec![Fact::new("Ready", truth, "Reason", message)];
        let first = write(&[], fact(Truth::False, "a"), Some(1), at(1));
        let second = write(&first, fact(Truth::False, "b"), Some(2), at(2));
        assert_eq!(second[0].last_transition_time.0, at(1));
        assert_eq!(
            (second[0].message.as_str(), second[0].observed_generation),
            ("b", Some(2))
        );
        let third = write(&second, fact(Truth::True, "c"), Some(2), at(3));
        assert_eq!(third[0].last_transition_time.0, at(3));
    }

    #[test]
    fn a_message_is_bounded() {
        assert_eq!(bounded("é".repeat(20_000)).len(), MAX_MESSAGE);
    }
}
