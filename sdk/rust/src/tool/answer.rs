//! What a tool answers: text, a typed value beside it, or why it failed.

use std::fmt;

use kite_api::error_chain;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::Value;

use crate::schema;

/// What a tool may answer: text (`String` or `&'static str`), or a typed value ([`Structured`]).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the answer of a tool",
    label = "the answer of this tool",
    note = "answer text, as `String` or `&'static str`, or `Structured<T>`, where `T` is a struct with named fields that derives `serde::Serialize` and `schemars::JsonSchema`"
)]
pub trait ToolAnswer: Send + sealed::Sealed + 'static {
    /// The schema of the value that such an answer has beside its text, if it has one.
    #[doc(hidden)]
    fn output_schema() -> Option<Schema> {
        None
    }

    /// The answer as it is sent.
    #[doc(hidden)]
    fn into_output(self) -> Result<ToolOutput, ToolError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for String {}
    impl Sealed for &'static str {}
    impl<T> Sealed for super::Structured<T> {}
}

/// An answer as it is sent.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolOutput {
    pub(crate) text: String,
    pub(crate) structured: Option<Value>,
}

/// A typed value as a tool's answer. Its JSON Schema is published with the tool, so that programs know what they get.
///
/// The type is a struct with named fields. For people and models the answer has a text too: the value as JSON, or what
/// [`with_text`](Self::with_text) gives.
#[derive(Clone, Debug)]
pub struct Structured<T> {
    value: T,
    text: Option<String>,
}

impl<T> Structured<T> {
    /// The answer `value`.
    pub fn new(value: T) -> Self {
        Self { value, text: None }
    }

    /// The same answer, told to people and models in these words.
    #[must_use]
    pub fn with_text(self, text: impl Into<String>) -> Self {
        Self {
            text: Some(text.into()),
            ..self
        }
    }
}

// What the compiler would recommend is a part of it only, and how to get it not at all.
#[diagnostic::do_not_recommend]
impl<T: Serialize + JsonSchema + Send + 'static> ToolAnswer for Structured<T> {
    fn output_schema() -> Option<Schema> {
        Some(schema::of_output::<T>())
    }

    fn into_output(self) -> Result<ToolOutput, ToolError> {
        let value = serde_json::to_value(self.value)?;
        Ok(ToolOutput {
            text: self.text.unwrap_or_else(|| value.to_string()),
            structured: Some(value),
        })
    }
}

impl ToolAnswer for String {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        Ok(ToolOutput {
            text: self,
            structured: None,
        })
    }
}

impl ToolAnswer for &'static str {
    fn into_output(self) -> Result<ToolOutput, ToolError> {
        self.to_owned().into_output()
    }
}

/// Why a tool failed, as its caller is told. Every error becomes one by `?`, with its causes.
///
/// It is no [`std::error::Error`] itself, since it could not be made from every error then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToolError(String);

impl ToolError {
    /// A failure for the reason that `text` gives.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for ToolError {
    fn from(error: E) -> Self {
        Self(error_chain(&error))
    }
}

/// Why a caller may not: the reason is told to them.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    /// A refusal for the reason that `text` gives; of more than 1 KiB the beginning.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<crate::NoCaller> for Refused {
    fn from(error: crate::NoCaller) -> Self {
        Self(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoCaller;

    #[derive(Serialize, JsonSchema)]
    struct Count {
        /// How many there are.
        number: u8,
    }

    #[test]
    fn a_typed_answer_has_its_schema_and_a_text() {
        let schema = Structured::<Count>::output_schema().unwrap();
        assert!(schema::is_object(&schema));
        assert_eq!(
            schema.pointer("/properties/number/description"),
            Some(&Value::from("How many there are."))
        );
        let output = Structured::new(Count { number: 3 }).into_output().unwrap();
        assert_eq!(output.text, r#"{"number":3}"#);
        let told = Structured::new(Count { number: 3 }).with_text("three");
        let output = told.into_output().unwrap();
        assert_eq!(
            (output.text.as_str(), output.structured),
            ("three", Some(serde_json::json!({"number": 3})))
        );
    }

    #[test]
    fn an_error_keeps_its_causes() {
        let error = ManifestLike { source: NoCaller };
        assert_eq!(ToolError::from(error).to_string(), format!("outer: {NoCaller}"));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct ManifestLike {
        source: NoCaller,
    }
}
