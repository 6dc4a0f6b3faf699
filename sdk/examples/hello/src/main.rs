//! A plugin that says hello: one of everything that a plugin can offer.

mod notes;
mod pods;
mod routes;
#[cfg(test)]
mod tests;
mod told;
mod tools;

use kite_plugin_sdk::{ApplySettings, ClusterEvents, Plugin, ResourceType, ServeError, Shutdown, Tool, axum::Router};
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

    fn apply_settings(&self) -> Option<ApplySettings> {
        Some(told::settings())
    }

    fn on_cluster_event(&self) -> Option<ClusterEvents> {
        Some(told::clusters())
    }

    fn shutdown(&self) -> Option<Shutdown> {
        Some(told::end())
    }
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    kite_plugin_sdk::serve(Hello).await
}
