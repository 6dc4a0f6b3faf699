//! How a rule ends: kept, broken, or not applicable, which is never taken for kept.

use std::fmt::Display;

use serde::Serialize;

/// Most characters that are told of what a plugin said.
const MOST_SHOWN: usize = 300;

/// How a rule ended.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It was looked at, and is kept.
    Kept,
    /// It is broken.
    Broken {
        /// What was seen.
        seen: String,
        /// What the rule wants in its place.
        expected: String,
    },
    /// It was not looked at.
    NotApplicable {
        /// Why not: what the plugin does not offer, or the suite was not told.
        why: String,
    },
}

/// What a check finds: `Ok` is kept.
pub(crate) type Checked<T = ()> = Result<T, Failed>;

/// Why a check does not end in kept.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    Broken { seen: String, expected: String },
    NotApplicable(String),
}

impl From<Checked> for Verdict {
    fn from(checked: Checked) -> Self {
        match checked {
            Ok(()) => Self::Kept,
            Err(Failed::Broken { seen, expected }) => Self::Broken {
                seen: shown(&seen),
                expected: shown(&expected),
            },
            Err(Failed::NotApplicable(why)) => Self::NotApplicable { why: shown(&why) },
        }
    }
}

pub(crate) fn broken<T>(seen: impl Display, expected: impl Display) -> Checked<T> {
    Err(Failed::Broken {
        seen: seen.to_string(),
        expected: expected.to_string(),
    })
}

pub(crate) fn not_applicable<T>(why: impl Display) -> Checked<T> {
    Err(Failed::NotApplicable(why.to_string()))
}

/// Kept if `holds`.
pub(crate) fn ensure(holds: bool, seen: impl FnOnce() -> String, expected: impl Display) -> Checked {
    if holds { Ok(()) } else { broken(seen(), expected) }
}

/// What a plugin says is shown to a person at a terminal: no more of it than they read, and nothing that moves the cursor.
fn shown(text: &str) -> String {
    let plain = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let mut characters = text.chars().map(plain);
    let mut shown: String = characters.by_ref().take(MOST_SHOWN).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_moves_no_cursor() {
        let Verdict::Broken { seen, expected } = broken("\u{1b}[2J\r".repeat(1000), "a").into() else {
            panic!("not broken")
        };
        assert_eq!((seen.chars().count(), expected.as_str()), (MOST_SHOWN + 1, "a"));
        assert!(seen.starts_with("\u{fffd}[2J\u{fffd}") && seen.ends_with('…'));
    }
}
