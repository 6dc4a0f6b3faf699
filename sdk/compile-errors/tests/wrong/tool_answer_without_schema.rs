use kite_plugin_sdk::{Structured, Tool, ToolContext, ToolError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
struct Arguments {
    name: String,
}

#[derive(Serialize)]
struct Length {
    length: usize,
}

async fn length(_: ToolContext, arguments: Arguments) -> Result<Structured<Length>, ToolError> {
    Ok(Structured::new(Length {
        length: arguments.name.len(),
    }))
}

fn main() {
    Tool::new("length", "Tells how long a name is.", length);
}
