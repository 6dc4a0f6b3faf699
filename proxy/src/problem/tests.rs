//! Refusals that come before the pipeline, or while a body passes: those within it are in the table of its own tests.

use http::HeaderMap;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::*;
use crate::BoxError;

#[tokio::test]
async fn each_refusal_has_its_document() {
    let id = RequestId::of(&HeaderMap::new());
    for (refusal, status, slug) in [
        (Refusal::Request(RequestError::Fields), 431, "too-many-fields"),
        (Refusal::Request(RequestError::Coding), 400, "invalid-request"),
        (Refusal::Request(RequestError::NoHost), 400, "invalid-request"),
        (Refusal::Request(RequestError::Hosts), 400, "invalid-request"),
        (Refusal::Request(RequestError::Host), 400, "invalid-request"),
        (Refusal::Handshake(HandshakeError::Version), 426, "websocket-version"),
        (Refusal::ListTooLarge, 400, "list-too-large"),
        (
            Refusal::Forward(ForwardError::Broken(BoxError::from("gone"))),
            400,
            "broken-body",
        ),
    ] {
        let answer = refusal.answer(&id);
        assert_eq!(answer.status(), status, "{slug}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let upgrade = answer.headers().get("sec-websocket-version").map(HeaderValue::as_bytes);
        assert_eq!(upgrade, (status == 426).then_some(b"13".as_slice()), "{slug}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let document: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(document["type"], format!("{TYPES}{slug}"));
        assert_eq!(document["status"], status);
        assert_eq!(document["requestId"], id.as_str());
        assert_eq!(document["error"], document["detail"]);
        assert!(
            document["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{slug}"
        );
    }
}
