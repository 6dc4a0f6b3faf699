use kite_plugin_sdk::{Tool, ToolContext};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Arguments {
    name: String,
}

async fn greet(_: ToolContext, arguments: Arguments) -> String {
    arguments.name
}

fn main() {
    Tool::new("greet", "Greets somebody.", greet);
}
