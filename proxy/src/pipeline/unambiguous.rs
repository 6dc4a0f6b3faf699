//! JSON that nobody can read in more than one way, bounded in what a reader makes of it.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Most values in one text. Whoever reads it makes a tree of them, whose nodes are far larger than the text of a small value.
const MAX_VALUES: usize = 100_000;

/// Refuses too many values, values that nest too deep, and keys that appear twice in one object, of which one reader takes the
/// first and another the last.
pub(super) fn check(json: &str) -> serde_json::Result<()> {
    let mut left = MAX_VALUES;
    let mut text = serde_json::Deserializer::from_str(json);
    // How deep the values nest is bounded by the deserializer, at 128.
    Walk { left: &mut left }.deserialize(&mut text)?;
    text.end()
}

/// Walks through a value without keeping it.
struct Walk<'a> {
    left: &'a mut usize,
}

impl Walk<'_> {
    fn inner(&mut self) -> Walk<'_> {
        Walk { left: self.left }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        *self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| D::Error::custom(format_args!("more than {MAX_VALUES} values")))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(self.inner())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut values: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = values.next_key::<String>()? {
            values.next_value_seed(self.inner())?;
            if !keys.insert(key) {
                return Err(A::Error::custom("a key appears twice in one object"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for json in [
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"a": [{"b": 1, "b": 1}]}"#,
            r#"{"a": "\ud800"}"#,
            r#"{"a": 1e999}"#,
            r#"{"a": 1} {}"#,
        ] {
            assert!(check(json).is_err(), "{json}");
        }
        assert!(check(r#" {"a": {"k": 1}, "b": [{"k": 1}, {"k": 2}], "c": [true, null, -1, 1e2, "x"]} "#).is_ok());
    }

    #[test]
    fn values_are_bounded_in_number_and_depth() {
        let many = |number| format!(r#"{{"a": [{}0]}}"#, "0,".repeat(number - 1));
        // The object and the list are values too.
        assert!(check(&many(MAX_VALUES - 2)).is_ok());
        assert!(check(&many(MAX_VALUES - 1)).is_err());
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(&deep(100)).is_ok());
        assert!(check(&deep(128)).is_err());
        assert!(check(&deep(100_000)).is_err());
    }
}
