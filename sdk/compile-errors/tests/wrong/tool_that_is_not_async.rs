use kite_plugin_sdk::{Tool, ToolContext, ToolError};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Arguments {
    name: String,
}

fn greet(_: ToolContext, arguments: Arguments) -> Result<String, ToolError> {
    Ok(arguments.name)
}

fn main() {
    Tool::new("greet", "Greets somebody.", greet);
}
