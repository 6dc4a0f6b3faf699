//! JSON within the protocol's bounds: no key twice in one object, and no deeper than it may be.

use std::{collections::HashSet, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

/// Most levels.
const MAX_DEPTH: usize = 32;
/// Begins the message of an error that is about the bounds.
const BOUNDS: &str = "beyond the bounds: ";

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("{0}")]
    Bounds(String),
    #[error("failed to read it as JSON")]
    Syntax(#[source] serde_json::Error),
}

/// Checks text that is to be JSON.
pub(crate) fn check(text: &[u8]) -> Result<(), JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Bounded { depth: 0 }
        .deserialize(&mut reader)
        .and_then(|()| reader.end());
    read.map_err(|error| match error.to_string().strip_prefix(BOUNDS) {
        Some(reason) => JsonError::Bounds(reason.to_owned()),
        None => JsonError::Syntax(error),
    })
}

/// Reads a value at a depth, and keeps nothing of it but the keys of the object that it is in.
#[derive(Clone, Copy)]
struct Bounded {
    depth: usize,
}

impl Bounded {
    fn below<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("{BOUNDS}more than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Bounded {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while items.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let below = self.below()?;
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if let Some(key) = keys.replace(key) {
                return Err(A::Error::custom(format!(
                    "{BOUNDS}the key {key:?} stands twice in one object"
                )));
            }
            entries.next_value_seed(below)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_within_its_bounds_passes() {
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        for good in [r#"{"a": {"a": [1, -1, 0.5, "b", true, null]}, "b": {"a": 1}}"#, &deep] {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
        }
    }

    #[test]
    fn json_is_refused_for_each_of_its_reasons() {
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        for bad in [r#"{"a": 1, "b": 2, "a": 3}"#, r#"[{"a": {}, "\u0061": {}}]"#, &deep] {
            assert!(matches!(check(bad.as_bytes()), Err(JsonError::Bounds(_))), "{bad}");
        }
        for bad in ["", "{", "[1,]", "1 2", "\"\u{1}\""] {
            assert!(matches!(check(bad.as_bytes()), Err(JsonError::Syntax(_))), "{bad}");
        }
    }
}
