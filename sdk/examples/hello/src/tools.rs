//! The tools: `plugin_hello_hello` and `plugin_hello_count_pods` at the gateway.

use kite_plugin_sdk::{Tool, ToolContext, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::pods::Pods;

pub(crate) fn tools(pods: Pods) -> Vec<Tool> {
    let count_pods = move |_: ToolContext, arguments: CountPods| count_pods(pods.clone(), arguments);
    vec![
        Tool::new("hello", "Greets somebody by name.", hello),
        Tool::new(
            "count_pods",
            "Counts the pods of a namespace that the plugin may read.",
            count_pods,
        ),
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

async fn count_pods(pods: Pods, CountPods { namespace }: CountPods) -> Result<String, ToolError> {
    let number = pods.names(&namespace).await?.len();
    Ok(format!("{number} pods in the namespace {namespace}"))
}
