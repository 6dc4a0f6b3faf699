//! Tools: asynchronous functions over typed arguments, for people and models.

use std::{fmt, future::Future, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use kite_api::error_chain;
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Caller, NoCaller, RequestId, caller::Context};

type Call = BoxFuture<'static, Result<ToolOutput, ToolError>>;
type Handler = Arc<dyn Fn(ToolContext, &[u8]) -> Result<Call, ArgumentsError> + Send + Sync>;

/// A tool that a plugin offers: a name, a description, and an asynchronous function over typed arguments.
///
/// The arguments' JSON Schema is derived from their type. Give that type and its fields doc comments: people and models
/// read them.
#[derive(Clone)]
pub struct Tool {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) input_schema: Schema,
    pub(crate) handler: Handler,
}

impl Tool {
    /// A tool called `name`, which runs `handler`.
    ///
    /// A name is a lower-case letter, then lower-case letters, digits and underscores; with `plugin_<plugin>_` before
    /// it, at most 64 characters. A description has at most 4096 bytes. The arguments are a struct with named fields.
    /// What breaks these rules is told by [`serve`](crate::serve), before the plugin takes its first call.
    ///
    /// `handler` answers text, or a [`ToolOutput`]. Its errors are told to the caller as the tool's failure. It is
    /// dropped, at its next `.await`, when the caller goes away or the time for the call is up.
    pub fn new<Arguments, Output, Run, Running>(
        name: impl Into<String>,
        description: impl Into<String>,
        handler: Run,
    ) -> Self
    where
        Arguments: DeserializeOwned + JsonSchema + Send + 'static,
        Output: Into<ToolOutput>,
        Run: Fn(ToolContext, Arguments) -> Running + Send + Sync + 'static,
        Running: Future<Output = Result<Output, ToolError>> + Send + 'static,
    {
        let run = Arc::new(handler);
        let handler = move |context, arguments: &[u8]| {
            let arguments = read::<Arguments>(arguments)?;
            let run = Arc::clone(&run);
            // The handler's first steps run inside the future too, where a panic is caught.
            Ok(async move { run(context, arguments).await.map(Into::into) }.boxed())
        };
        Self {
            name: name.into(),
            description: description.into(),
            input_schema: SchemaSettings::draft2020_12()
                .into_generator()
                .into_root_schema_for::<Arguments>(),
            handler: Arc::new(handler),
        }
    }

    /// The call of this tool with these arguments, not begun.
    pub(crate) fn call(&self, context: ToolContext, arguments: &[u8]) -> Result<Call, ArgumentsError> {
        (self.handler)(context, arguments)
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).finish_non_exhaustive()
    }
}

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

fn read<Arguments: DeserializeOwned>(json: &[u8]) -> Result<Arguments, ArgumentsError> {
    // A struct could be read from an array too, which no schema of ours allows.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(ArgumentsError::NotAnObject);
    }
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

/// On whose behalf a tool runs.
#[derive(Clone, Debug)]
pub struct ToolContext {
    caller: Option<Caller>,
    request_id: RequestId,
}

impl ToolContext {
    /// Who calls; an error if the host itself does.
    pub fn caller(&self) -> Result<&Caller, NoCaller> {
        self.caller.as_ref().ok_or(NoCaller)
    }

    /// The id that names the call in every log.
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }
}

impl From<Context> for ToolContext {
    fn from(context: Context) -> Self {
        Self {
            caller: context.caller,
            request_id: context.request_id,
        }
    }
}

/// What a tool answers: text, and a JSON value beside it if wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolOutput {
    pub(crate) text: String,
    pub(crate) structured: Option<Value>,
}

impl ToolOutput {
    /// An answer of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            structured: None,
        }
    }

    /// The same answer with `value` for programs beside the text.
    #[must_use]
    pub fn with_structured(self, value: Value) -> Self {
        Self {
            structured: Some(value),
            ..self
        }
    }
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for ToolOutput {
    fn from(text: &str) -> Self {
        Self::text(text)
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Arguments {
        #[expect(dead_code, reason = "only read")]
        name: String,
        #[expect(dead_code, reason = "only read")]
        inner: Inner,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
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
        ] {
            let text = error_chain(&read::<Arguments>(json.as_bytes()).unwrap_err());
            assert!(text.contains(words), "{json}: {text}");
        }
        read::<Arguments>(br#" {"name": "a", "inner": {"count": 1}}"#).unwrap();
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
