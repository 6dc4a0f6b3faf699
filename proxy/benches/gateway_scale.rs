//! Whether a request takes longer where there is much: plugins, callers, routes that require something. Through the whole gateway to a
//! plugin and back; and through all of its steps to no plugin, where nothing hides what they take.
#![expect(clippy::unwrap_used, reason = "a benchmark without its plugin has no figures")]

#[path = "support/scene.rs"]
mod scene;

use criterion::{Criterion, criterion_group, criterion_main};
use scene::{Scene, Size, Whom, ask};
use tokio::runtime::Runtime;

/// What a gateway is compared with.
const LITTLE: Size = Size { plugins: 2, routes: 10 };
/// Further apart than neighbours, so that no cache of the CPU has the next one ready.
const STRIDE: usize = 7919;

fn scale(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::start());
    let plugins = |plugins| Size { plugins, ..LITTLE };
    let routes = |routes| Size { routes, ..LITTLE };
    for (what, whom) in [("to a plugin and back", Whom::Answers), ("to no plugin", Whom::Nowhere)] {
        let mut group = criterion.benchmark_group(format!("a request {what}"));
        for (id, size, callers) in [
            ("little of everything", LITTLE, 1),
            ("1,000 plugins", plugins(1_000), 1),
            ("100,000 callers", LITTLE, 100_000),
            ("10,000 routes", routes(10_000), 1),
        ] {
            let gateway = scene.gateway(size);
            // Who they are and what they may do is known.
            for caller in 0..callers {
                runtime.block_on(ask(&gateway, Whom::Nowhere, caller, 0));
            }
            let mut number = 0;
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    number += STRIDE;
                    runtime.block_on(ask(&gateway, whom, number % callers, number % size.routes.min(64)));
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, scale);
criterion_main!(benches);
