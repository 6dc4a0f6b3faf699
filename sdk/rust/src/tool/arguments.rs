//! Reading a tool's arguments.

use kite_api::json_rules;
use serde::de::DeserializeOwned;

/// Why a tool's arguments do not fit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgumentsError {
    #[error("the arguments are not a JSON object")]
    NotAnObject,
    #[error("the arguments do not fit")]
    Whole(#[source] serde_json::Error),
    #[error("the argument {path} does not fit")]
    Field { path: String, source: serde_json::Error },
}

pub(super) fn read<Arguments: DeserializeOwned>(json: &[u8]) -> Result<Arguments, ArgumentsError> {
    // A struct could be read from an array too, which no schema of ours allows.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(ArgumentsError::NotAnObject);
    }
    json_rules::check(json).map_err(ArgumentsError::Whole)?;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let arguments = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        match error.into_inner() {
            source if path == "." => ArgumentsError::Whole(source),
            source => ArgumentsError::Field { path, source },
        }
    })?;
    reader.end().map_err(ArgumentsError::Whole)?;
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use kite_api::error_chain;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Arguments {
        #[expect(dead_code, reason = "only read")]
        name: String,
        #[expect(dead_code, reason = "only read")]
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only read")]
        count: u8,
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused_with_the_name_of_the_field() {
        for (json, words) in [
            ("[]", "not a JSON object"),
            ("", "not a JSON object"),
            ("{}", "missing field `name`"),
            (r#"{"name": 1}"#, "the argument name does not fit"),
            (
                r#"{"name": "a", "inner": {"count": -1}}"#,
                "the argument inner.count does not fit",
            ),
            (
                r#"{"name": "a", "inner": {"count": 1}} x"#,
                "do not fit: trailing characters",
            ),
            (
                r#"{"name": "a", "inner": {"count": 1, "x": 1, "x": 2}}"#,
                "do not fit: a key appears twice in one object",
            ),
            (
                &format!(
                    r#"{{"name": "a", "inner": {{"count": 1}}, "x": {}0{}}}"#,
                    "[".repeat(32),
                    "]".repeat(32)
                ),
                "do not fit: more than 32 levels",
            ),
        ] {
            let text = error_chain(&read::<Arguments>(json.as_bytes()).unwrap_err());
            assert!(text.contains(words), "{json}: {text}");
        }
        read::<Arguments>(br#" {"name": "a", "inner": {"count": 1}}"#).unwrap();
    }
}
