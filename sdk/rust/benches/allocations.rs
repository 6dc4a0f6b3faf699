//! How often memory is allocated for one small exchange with a plugin, by both of its ends together. It is a program of its own, because
//! to count takes time too.
#![expect(clippy::unwrap_used, reason = "a benchmark has no figures without its plugin")]

#[path = "support/count.rs"]
mod count;
#[path = "support/small.rs"]
mod small;

use std::env;

use bytes::{BufMut as _, Bytes, BytesMut};
use count::count;
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
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

fn main() {
    // As every benchmark is by `cargo test`, which wants no figures.
    if env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle();
    let routes = Small.routes();
    count(handle, "one small exchange", "in process", async || {
        let mut request = Request::get("/hello").body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller::default());
        routes.clone().oneshot(request).await.unwrap()
    });
    let _entered = handle.enter();
    let service = in_memory(&Small, PluginName::parse("small").unwrap()).unwrap();
    count(handle, "one small exchange", "by Http in process", async || {
        let Ok(response) = service.clone().oneshot(request()).await;
        let response: Response<tonic::body::Body> = response;
        response.into_body().collect().await.unwrap()
    });
    let client = runtime.block_on(client());
    count(handle, "one small exchange", "by Http over mutual TLS", async || {
        by_http(client.clone()).await;
    });
    let mut shared = runtime.block_on(Shared::on(&mut client.clone()));
    count(
        handle,
        "one small exchange",
        "by Exchange over mutual TLS",
        async || shared.exchange(1).await,
    );
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
