//! Ambiguous paths are refused before anybody is asked anything, as they stand on the wire.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use kite_e2e::testing::{Gateway, START};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends one request line as it is, without a client library that would tidy it up, and returns the status.
async fn raw(target: &str) -> u16 {
    tokio::time::timeout(START, exchange(target))
        .await
        .expect("an answer in time")
}

async fn exchange(target: &str) -> u16 {
    let gateway = Gateway::from_env();
    let (host, mut stream) = gateway.connect().await;
    let token = gateway.admin();
    let request =
        format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server may end without TLS's own goodbye; what it said before counts.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

#[tokio::test]
async fn path_confusion_ambiguous_paths_are_400() {
    assert_eq!(raw("/api/v1/plugins/hello/hello").await, 200);
    for rest in [
        "hello/../hello/hello",
        "hello/./hello",
        "hello/%2e%2e/hello",
        "hello/%2E%2e%2fhello",
        "hello/.%2e/hello",
        "hello//hello",
        "hello/a%2fb",
        "hello/a%5cb",
        "hello/a\\b",
        "hello/a%00b",
        "hello/%ff",
        "hello/%zz",
        "hello/..;/hello",
        "%68ello/../tools",
    ] {
        let status = raw(&format!("/api/v1/plugins/{rest}")).await;
        assert_eq!(status, 400, "{rest}");
    }
}
