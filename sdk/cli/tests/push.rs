//! An image sent to a registry that speaks the distribution protocol, as far as a push needs it.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::{head, patch, post, put},
};
use kite_plugin::image::{self, ImageSpec, PushError, PushOptions, Reference};

/// What the registry has, and how many blobs were sent to it.
#[derive(Default)]
struct Registry {
    blobs: HashSet<String>,
    manifests: HashMap<String, Bytes>,
    uploads: usize,
}

type Shared = Arc<Mutex<Registry>>;

async fn has_blob(State(registry): State<Shared>, Path(digest): Path<String>) -> StatusCode {
    if registry.lock().unwrap().blobs.contains(&digest) {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn begin() -> Response {
    (StatusCode::ACCEPTED, [(LOCATION, "/v2/a/b/blobs/uploads/1")]).into_response()
}

async fn chunk(body: Bytes) -> Response {
    let range = format!("0-{}", body.len().saturating_sub(1));
    (
        StatusCode::ACCEPTED,
        [
            (LOCATION, "/v2/a/b/blobs/uploads/1".to_owned()),
            (http::header::RANGE, range),
        ],
    )
        .into_response()
}

async fn end(State(registry): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let mut registry = registry.lock().unwrap();
    registry.uploads += 1;
    let location = format!("/v2/a/b/blobs/{}", query["digest"]);
    registry.blobs.insert(query["digest"].clone());
    (StatusCode::CREATED, [(LOCATION, location)]).into_response()
}

async fn manifest(State(registry): State<Shared>, Path(tag): Path<String>, body: Bytes) -> Response {
    let location = format!("/v2/a/b/manifests/{tag}");
    registry.lock().unwrap().manifests.insert(tag, body);
    (StatusCode::CREATED, [(LOCATION, location)]).into_response()
}

/// Starts a registry; gives what it has, and the reference of an image in it.
async fn registry() -> (Shared, Reference) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = Shared::default();
    let routes = Router::new()
        .route("/v2/a/b/blobs/{digest}", head(has_blob))
        .route("/v2/a/b/blobs/uploads/", post(begin))
        .route("/v2/a/b/blobs/uploads/1", patch(chunk).put(end))
        .route("/v2/a/b/manifests/{tag}", put(manifest))
        .with_state(Arc::clone(&registry));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reference = format!("{}/a/b:1", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async { axum::serve(listener, routes).await });
    (registry, reference)
}

fn image(version: &str) -> image::Image {
    let spec = ImageSpec {
        binary: "/bin/sh".into(),
        entrypoint: ImageSpec::ENTRYPOINT.into(),
        title: "hello".to_owned(),
        version: version.to_owned(),
        ca_certificates: Some("/etc/passwd".into()),
    };
    image::build(&spec).unwrap()
}

#[tokio::test]
async fn an_image_is_sent_once() {
    let (registry, reference) = registry().await;
    let options = PushOptions { plain_http: true };
    let first = image("1");
    let digest = image::push(&first, &reference, options).await.unwrap();
    assert_eq!(digest, *first.digest());
    assert_eq!(registry.lock().unwrap().manifests["1"], first.manifest);
    assert_eq!(registry.lock().unwrap().uploads, 3);

    image::push(&first, &reference, options).await.unwrap();
    assert_eq!(registry.lock().unwrap().uploads, 3);
    // Another version has the same layers.
    image::push(&image("2"), &reference, options).await.unwrap();
    assert_eq!(registry.lock().unwrap().uploads, 4);
}

#[tokio::test]
async fn a_registry_that_speaks_http_only_is_not_spoken_to_otherwise_unless_asked() {
    let (registry, reference) = registry().await;
    let error = image::push(&image("1"), &reference, PushOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, PushError::Ask { .. }), "{error}");
    assert_eq!(registry.lock().unwrap().uploads, 0);
}
