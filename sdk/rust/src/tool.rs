//! Tools: asynchronous functions over typed arguments, for people and models.

mod answer;
mod arguments;
mod context;
mod progress;

use std::{fmt, future::Future, sync::Arc};

pub(crate) use answer::ToolOutput;
pub use answer::{Refused, Structured, ToolAnswer, ToolError};
pub(crate) use arguments::ArgumentsError;
pub use context::ToolContext;
use futures::{FutureExt as _, future::BoxFuture};
pub(crate) use progress::Progress;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;

use crate::schema;

type Call<T, E> = BoxFuture<'static, Result<T, E>>;
type Handler<T, E> = Arc<dyn Fn(ToolContext, &[u8]) -> Result<Call<T, E>, ArgumentsError> + Send + Sync>;

/// What a tool can be called with: a struct with named fields that derives [`serde::Deserialize`] and [`schemars::JsonSchema`]. It is
/// not implemented by hand.
///
/// ```
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Arguments { name: String }
/// fn is_arguments<T: kite_plugin_sdk::ToolArguments>() {}
/// is_arguments::<Arguments>();
/// ```
///
/// Without a schema it is none, and the compiler says what to derive:
///
/// ```compile_fail,E0277
/// #[derive(serde::Deserialize)]
/// struct Arguments { name: String }
/// fn is_arguments<T: kite_plugin_sdk::ToolArguments>() {}
/// is_arguments::<Arguments>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a tool",
    label = "the arguments of this tool",
    note = "make the arguments a struct with named fields that derives `serde::Deserialize` and `schemars::JsonSchema`"
)]
pub trait ToolArguments: DeserializeOwned + JsonSchema + Send + 'static {}

// What the compiler would recommend is a part of it only, and how to get it not at all.
#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + JsonSchema + Send + 'static> ToolArguments for T {}

/// A tool that a plugin offers: a name, a description, and an asynchronous function over typed arguments.
///
/// The JSON Schemas of arguments and answer are derived from their types. Give those types and their fields doc comments:
/// people and models read them.
#[derive(Clone)]
pub struct Tool {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) title: String,
    pub(crate) input_schema: Schema,
    pub(crate) output_schema: Option<Schema>,
    pub(crate) hints: Hints,
    pub(crate) handler: Handler<ToolOutput, ToolError>,
    pub(crate) authorizer: Option<Handler<(), Refused>>,
}

/// What a tool does to what is there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Hints {
    pub(crate) read_only: bool,
    pub(crate) destructive: bool,
    pub(crate) idempotent: bool,
}

impl Tool {
    /// A tool called `name`, which runs `handler`.
    ///
    /// A name is a lower-case letter, then lower-case letters, digits and underscores; with `plugin_<plugin>_` before
    /// it, at most 64 characters. A description has at most 4096 bytes. The arguments are a struct with named fields.
    /// What breaks these rules is told by [`serve`](crate::serve), before the plugin takes its first call.
    ///
    /// `handler` answers text, or a typed value as [`Structured`]. Its errors are told to the caller as the tool's failure. It
    /// is dropped, at its next `.await`, when the caller goes away or the time for the call is up.
    pub fn new<Arguments, Answer, Run, Running>(
        name: impl Into<String>,
        description: impl Into<String>,
        handler: Run,
    ) -> Self
    where
        Arguments: ToolArguments,
        Answer: ToolAnswer,
        Run: Fn(ToolContext, Arguments) -> Running + Send + Sync + 'static,
        Running: Future<Output = Result<Answer, ToolError>> + Send + 'static,
    {
        Self {
            name: name.into(),
            description: description.into(),
            title: String::new(),
            input_schema: schema::of_input::<Arguments>(),
            output_schema: Answer::output_schema(),
            hints: Hints::default(),
            handler: handler_of(handler, |ended: Result<Answer, ToolError>| ended?.into_output()),
            authorizer: None,
        }
    }

    /// The same tool, called `title` for people: at most 128 bytes. Without it, it is called by its name.
    #[must_use]
    pub fn titled(self, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..self
        }
    }

    /// The same tool, said to change nothing.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.hints.read_only = true;
        self
    }

    /// The same tool, said to remove or overwrite what is there, perhaps.
    #[must_use]
    pub fn destructive(mut self) -> Self {
        self.hints.destructive = true;
        self
    }

    /// The same tool, said to change nothing more when it is called again with the same arguments.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.hints.idempotent = true;
        self
    }

    /// The same tool, with `authorizer` asked before each call: whether this caller may call it with these arguments, beside what the
    /// `KitePlugin` object requires of them. It takes no effect; its reason is told to the caller. Its arguments may be
    /// the tool's own type, or one with fewer fields.
    #[must_use]
    pub fn authorized_by<Arguments, Run, Running>(self, authorizer: Run) -> Self
    where
        Arguments: DeserializeOwned + Send + 'static,
        Run: Fn(ToolContext, Arguments) -> Running + Send + Sync + 'static,
        Running: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        Self {
            authorizer: Some(handler_of(authorizer, std::convert::identity)),
            ..self
        }
    }
}

/// `run` over arguments that are still JSON.
fn handler_of<Arguments, Run, Running, Answer, T, E>(
    run: Run,
    finish: fn(Result<Answer, E>) -> Result<T, E>,
) -> Handler<T, E>
where
    Arguments: DeserializeOwned + Send + 'static,
    Run: Fn(ToolContext, Arguments) -> Running + Send + Sync + 'static,
    Running: Future<Output = Result<Answer, E>> + Send + 'static,
    Answer: 'static,
    T: 'static,
    E: 'static,
{
    let run = Arc::new(run);
    Arc::new(move |context, arguments: &[u8]| {
        let arguments = arguments::read::<Arguments>(arguments)?;
        let run = Arc::clone(&run);
        // The handler's first steps run inside the future too, where a panic is caught.
        Ok(async move { finish(run(context, arguments).await) }.boxed())
    })
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).finish_non_exhaustive()
    }
}
