//! A plugin that says hello: one of everything that a plugin can offer.

mod notes;
mod pods;
mod routes;
#[cfg(test)]
mod tests;
mod tools;

use kite_plugin_sdk::{Plugin, ResourceType, ServeError, Tool, axum::Router};
use notes::Notes;

struct Hello;

impl Plugin for Hello {
    fn manifest(&self) -> &'static str {
        include_str!("../plugin.yaml")
    }

    fn routes(&self) -> Router {
        routes::routes()
    }

    fn tools(&self) -> Vec<Tool> {
        tools::tools()
    }

    fn resource_types(&self) -> Vec<ResourceType> {
        vec![ResourceType::new(Notes::default())]
    }
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    kite_plugin_sdk::serve(Hello).await
}
