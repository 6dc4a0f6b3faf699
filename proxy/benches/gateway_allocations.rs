//! How often memory is allocated for one request by gateway and plugin together, and by the gateway's steps alone.
#![expect(clippy::unwrap_used, reason = "a benchmark without its plugin has no figures")]

#[path = "../../sdk/rust/benches/support/count.rs"]
mod count;
#[path = "support/scene.rs"]
mod scene;

use std::env;

use count::count;
use scene::{Scene, Size, Whom, ask};
use tokio::runtime::Runtime;

fn main() {
    // As every benchmark is by `cargo test`, which wants no figures.
    if env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::start());
    let gateway = scene.gateway(Size { plugins: 2, routes: 10 });
    for (name, whom) in [("to a plugin and back", Whom::Answers), ("to no plugin", Whom::Nowhere)] {
        count(runtime.handle(), "a request", name, async || {
            ask(&gateway, whom, 1, 0).await;
        });
    }
}
