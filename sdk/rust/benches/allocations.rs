//! How often memory is allocated for one small exchange with a plugin, by both of its ends together. It is a program of its own, because
//! to count takes time too.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures, and has none without its plugin"
)]

#[path = "support/small.rs"]
mod small;

use std::{alloc::System, env, fs, path::Path};

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use kite_plugin_sdk::{
    Caller, Plugin as _, PluginName,
    axum::{
        body::Body,
        http::{Request, Response},
    },
    in_memory,
};
use kite_proto::HttpRequest;
use prost::Message as _;
use small::{Shared, Small, by_http, client};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::{Handle, Runtime};
use tower::ServiceExt as _;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Exchanges that are counted, after as many that are not: what is allocated once is not an exchange's.
const TIMES: u32 = 1000;

/// Counts what `exchange` allocates, prints it, and writes it beside criterion's figures.
fn count<T>(runtime: &Handle, name: &str, mut exchange: impl AsyncFnMut() -> T) {
    let mut run = || {
        for _ in 0..TIMES {
            runtime.block_on(exchange());
        }
    };
    run();
    let region = Region::new(ALLOCATOR);
    run();
    let stats = region.change();
    let of_one = |all: usize| all / usize::try_from(TIMES).unwrap();
    let (allocations, bytes) = (
        of_one(stats.allocations + stats.reallocations),
        of_one(stats.bytes_allocated),
    );
    println!("one small exchange/{name}: {allocations} allocations, {bytes} bytes");
    if let Some(folder) = env::var_os("CRITERION_HOME") {
        let folder = Path::new(&folder).join("allocations");
        fs::create_dir_all(&folder).unwrap();
        let figure = serde_json::json!({
            "full_id": format!("one small exchange/{name}"), "allocations": allocations, "bytes": bytes,
        });
        fs::write(folder.join(format!("{name}.json")), figure.to_string()).unwrap();
    }
}

fn main() {
    // As every benchmark is by `cargo test`, which wants no figures.
    if env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    let routes = Small.routes();
    count(handle, "in process", async || {
        let mut request = Request::get("/hello").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller::default());
        routes.clone().oneshot(request).await.unwrap()
    });
    let _entered = handle.enter();
    let service = in_memory(&Small, PluginName::parse("small").unwrap()).unwrap();
    count(handle, "by Http in process", async || {
        let Ok(response) = service.clone().oneshot(request()).await;
        let response: Response<tonic::body::Body> = response;
        response.into_body().collect().await.unwrap()
    });
    let client = runtime.block_on(client());
    count(handle, "by Http over mutual TLS", async || {
        by_http(client.clone()).await;
    });
    let mut shared = runtime.block_on(Shared::on(&mut client.clone()));
    count(handle, "by Exchange over mutual TLS", async || shared.exchange(1).await);
}

/// A call of `Http` as it comes out of HTTP/2.
fn request() -> Request<tonic::body::Body> {
    let message = HttpRequest {
        head: Some(small::head()),
        end: true,
        ..HttpRequest::default()
    };
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut body).unwrap();
    let body: Bytes = body.freeze();
    Request::post("/kite.plugin.v1.Plugin/Http")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(Full::new(body)))
        .unwrap()
}
