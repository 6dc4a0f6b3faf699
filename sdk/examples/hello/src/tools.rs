//! The tools: `plugin_hello_hello` and `plugin_hello_count_pods` at the gateway.

use kite_plugin_sdk::{Structured, Tool, ToolContext, ToolError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pods;

pub(crate) fn tools() -> Vec<Tool> {
    vec![
        Tool::new("hello", "Greets somebody by name.", hello).read_only(),
        Tool::new(
            "count_pods",
            "Counts the pods of a namespace that the plugin may read.",
            count_pods,
        )
        .titled("Count pods")
        .read_only(),
    ]
}

/// Whom to greet.
#[derive(Deserialize, JsonSchema)]
struct Hello {
    /// The name to greet.
    name: String,
}

async fn hello(_: ToolContext, Hello { name }: Hello) -> Result<String, ToolError> {
    Ok(format!("Hello, {name}!"))
}

/// Where to count.
#[derive(Deserialize, JsonSchema)]
struct CountPods {
    /// The namespace whose pods are counted.
    namespace: String,
}

/// What was counted.
#[derive(Serialize, JsonSchema)]
struct Counted {
    /// How many pods there are.
    pods: usize,
}

async fn count_pods(
    context: ToolContext,
    CountPods { namespace }: CountPods,
) -> Result<Structured<Counted>, ToolError> {
    let pods = pods::names(context.kube().await?, &namespace).await?.len();
    let text = format!("{pods} pods in the namespace {namespace}");
    Ok(Structured::new(Counted { pods }).with_text(text))
}
