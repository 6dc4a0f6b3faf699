//! The gateway's listener against h2spec, which has a test for what RFC 9113 and RFC 7541 say of a server.

use std::{fs, process::Command, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use kite_e2e::cluster::{self, Layout};
use kite_gateway::{
    pipeline::RequestBody,
    serve::{self, Limits, Room},
    tls,
};
use rcgen::CertifiedKey;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;

/// What is known to fail. Whatever else fails, and whatever of these passes, is news.
const KNOWN: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_passes_h2spec() {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tls.crt"), cert.pem()).unwrap();
    fs::write(dir.path().join("tls.key"), signing_key.serialize_pem()).unwrap();
    let certificates = Arc::new(
        tls::serving(dir.path(), WebPkiClientVerifier::no_client_auth())
            .await
            .unwrap(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    // A body is read to its end before there is an answer, as most plugins do.
    let answer = async |request: Request<RequestBody>| {
        let _ = request.into_body().collect().await;
        Response::new(Full::from("hi").map_err(|never| match never {}).boxed_unsync())
    };
    let served = serve::serve(
        listener,
        certificates,
        Room::new(Limits::default()),
        answer,
        std::future::pending(),
        Duration::ZERO,
    );
    let served = tokio::spawn(served);
    let tested = tokio::task::spawn_blocking(move || {
        let mut h2spec = Command::new(cluster::h2spec(&Layout::from_env().unwrap()).unwrap());
        let target = ["--host", "localhost", "--port", &port];
        let how = ["--tls", "--insecure", "--strict", "--timeout", "10"];
        h2spec.args(target).args(how).output().unwrap()
    });
    let output = tested.await.unwrap();
    served.abort();
    let said = String::from_utf8_lossy(&output.stdout);
    // The failures are told a second time at the end.
    let (all, _) = said.split_once("Failures:").unwrap_or((&said, ""));
    let failed: Vec<_> = all
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('×'))
        .collect();
    assert_eq!(failed, KNOWN, "{said}");
    // As many as there are, so that a run of nothing is no success.
    assert!(all.matches('✔').count() > 140, "{said}");
}
