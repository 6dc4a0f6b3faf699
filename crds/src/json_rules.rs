//! The bounds of JSON that comes from outside, so that everybody reads it alike and nobody takes harm from it.

#![warn(missing_docs)]

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Most levels of objects and lists, one in another.
pub const MAX_LEVELS: usize = 32;
/// Most values. Whoever reads them makes a tree of them, whose nodes are far larger than the text of a small value.
pub const MAX_VALUES: usize = 100_000;

/// Checks that `json` is one value, within the bounds, and with no key twice in one object, of which one reader takes the first and
/// another the last. An error about the bounds is one of data, and all others are of syntax.
pub fn check(json: &[u8]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut left = MAX_VALUES;
    let walk = Walk {
        left: &mut left,
        levels: MAX_LEVELS,
    };
    walk.deserialize(&mut reader)?;
    reader.end()
}

/// Walks through a value without keeping it.
struct Walk<'a> {
    /// How many more values there may be.
    left: &'a mut usize,
    /// How many more levels there may be.
    levels: usize,
}

impl Walk<'_> {
    /// The walk through what an object or a list holds.
    fn inner<E: Error>(&mut self) -> Result<Walk<'_>, E> {
        let levels = self.levels.checked_sub(1);
        Ok(Walk {
            left: self.left,
            levels: levels.ok_or_else(|| E::custom(format_args!("more than {MAX_LEVELS} levels")))?,
        })
    }

    /// The same walk, for the next value.
    fn again(&mut self) -> Walk<'_> {
        Walk {
            left: self.left,
            levels: self.levels,
        }
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
        let mut inner = self.inner()?;
        while values.next_element_seed(inner.again())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut values: A) -> Result<(), A::Error> {
        let mut inner = self.inner()?;
        let mut keys = HashSet::new();
        while let Some(key) = values.next_key::<String>()? {
            values.next_value_seed(inner.again())?;
            if !keys.insert(key) {
                return Err(A::Error::custom("a key appears twice in one object"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(json: &str) -> String {
        check(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_beyond_the_bounds_is_told_from_what_is_no_json() {
        let is_data = |json: &str| check(json.as_bytes()).unwrap_err().is_data();
        let deep = "[".repeat(MAX_LEVELS + 1) + &"]".repeat(MAX_LEVELS + 1);
        assert!([r#"{"a": 1, "a": 2}"#, &deep].into_iter().all(is_data));
        assert!(!["", "{", "[1,]", "1 2", "\"\u{1}\"", "1e999"].into_iter().any(is_data));
    }

    #[test]
    fn json_is_refused_for_each_of_its_reasons() {
        for twice in [
            r#"{"a": 1, "a": 2}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"[{"a": {"b": 1, "b": 1}}]"#,
        ] {
            assert!(refused(twice).contains("twice"), "{twice}");
        }
        for none in ["", "{", "{} {}", r#""\ud800""#, "1e999", "\u{feff}1"] {
            refused(none);
        }
        let many = |number| format!("[{}0]", "0,".repeat(number - 1));
        // The list is a value too.
        assert!(check(many(MAX_VALUES - 1).as_bytes()).is_ok());
        assert!(refused(&many(MAX_VALUES)).contains("more than 100000 values"));
    }

    #[test]
    fn levels_are_those_of_objects_and_lists() {
        let deep = |levels: usize| {
            let (open, close) = (r#"{"a":["#.repeat(levels / 2), "]}".repeat(levels / 2));
            format!("{open}0{close}")
        };
        assert!(check(deep(MAX_LEVELS).as_bytes()).is_ok());
        assert!(refused(&deep(MAX_LEVELS + 2)).contains("more than 32 levels"));
        refused(&deep(100_000));
    }

    proptest! {
        #[test]
        fn what_is_taken_is_read_and_written_as_the_same(json in r#"[\[\]{}",:0-9ab e.\-]{0,30}"#) {
            if check(json.as_bytes()).is_ok() {
                let value: serde_json::Value = serde_json::from_str(&json).unwrap();
                prop_assert!(check(value.to_string().as_bytes()).is_ok());
            }
        }
    }
}
