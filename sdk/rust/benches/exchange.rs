//! What one small exchange with a plugin costs: in the process itself, and over mutual TLS on loopback, by a stream of its own and by
//! one that many share.
#![expect(clippy::unwrap_used, reason = "a benchmark without its plugin has no figures")]

#[path = "support/small.rs"]
mod small;

use criterion::{Criterion, criterion_group, criterion_main};
use futures::{StreamExt as _, stream::FuturesUnordered};
use kite_plugin_sdk::{
    Caller, Plugin as _,
    axum::{body::Body, http::Request},
};
use small::{Shared, Small, by_http, client};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// How many are under way at once where it is many.
const MANY: u64 = 32;

fn small_exchanges(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut client = runtime.block_on(client());
    let mut shared = runtime.block_on(Shared::on(&mut client));

    let mut group = criterion.benchmark_group("one small exchange");
    group.bench_function("in process", |bencher| {
        let routes = Small.routes();
        bencher.iter(|| {
            let mut request = Request::get("/hello").body(Body::empty()).unwrap();
            request.extensions_mut().insert(Caller::default());
            runtime.block_on(routes.clone().oneshot(request)).unwrap()
        });
    });
    group.bench_function("by Http over mutual TLS", |bencher| {
        bencher.iter(|| runtime.block_on(by_http(client.clone())));
    });
    group.bench_function("by Exchange over mutual TLS", |bencher| {
        bencher.iter(|| runtime.block_on(shared.exchange(1)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("32 small exchanges at once");
    group.bench_function("by Http over mutual TLS", |bencher| {
        bencher.iter(|| {
            let all: FuturesUnordered<_> = (0..MANY).map(|_| by_http(client.clone())).collect();
            runtime.block_on(all.collect::<Vec<()>>())
        });
    });
    group.bench_function("by Exchange over mutual TLS", |bencher| {
        bencher.iter(|| runtime.block_on(shared.exchange(MANY)));
    });
    group.finish();
}

criterion_group!(benches, small_exchanges);
criterion_main!(benches);
