use kite_plugin_sdk::{Tool, ToolContext, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Arguments {
    name: String,
}

async fn length(_: ToolContext, arguments: Arguments) -> Result<usize, ToolError> {
    Ok(arguments.name.len())
}

fn main() {
    Tool::new("length", "Tells how long a name is.", length);
}
