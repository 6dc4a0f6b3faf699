//! A plugin that says hello: one of everything that a plugin can offer.

mod pods;
mod routes;
mod tools;

use kite_plugin_sdk::{Plugin, ServeError, Tool, axum::Router};
use pods::Pods;

struct Hello {
    pods: Pods,
}

impl Plugin for Hello {
    fn manifest(&self) -> &'static str {
        include_str!("../plugin.yaml")
    }

    fn routes(&self) -> Router {
        routes::routes(self.pods.clone())
    }

    fn tools(&self) -> Vec<Tool> {
        tools::tools(self.pods.clone())
    }
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    kite_plugin_sdk::serve(Hello { pods: Pods::default() }).await
}
