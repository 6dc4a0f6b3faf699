use kite_plugin_sdk::{Tool, ToolContext, ToolError};
use serde::Deserialize;

#[derive(Deserialize)]
struct Arguments {
    name: String,
}

async fn greet(_: ToolContext, arguments: Arguments) -> Result<String, ToolError> {
    Ok(arguments.name)
}

fn main() {
    Tool::new("greet", "Greets somebody.", greet);
}
