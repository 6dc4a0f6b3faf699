//! A registry that speaks the distribution protocol as far as a push needs it, and believes nothing unchecked.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{
        StatusCode,
        header::{LOCATION, RANGE},
    },
    response::{IntoResponse, Response},
    routing::{head, patch, post, put},
};
use kite_plugin::image::Reference;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What a registry has.
#[derive(Default)]
pub(crate) struct Content {
    /// Blobs, by digest.
    blobs: HashMap<String, Vec<u8>>,
    /// Manifests, by tag.
    pub(crate) manifests: HashMap<String, Bytes>,
    /// How many blobs were sent to it.
    pub(crate) uploads: usize,
    /// What was sent of the blobs that are not complete, each under the number of its upload.
    partial: HashMap<usize, Vec<u8>>,
}

type Shared = Arc<Mutex<Content>>;

/// A registry with one repository, `a/b`.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    content: Shared,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let content = Shared::default();
        let routes = Router::new()
            .route("/v2/a/b/blobs/{digest}", head(has_blob))
            .route("/v2/a/b/blobs/uploads/", post(begin))
            .route("/v2/a/b/blobs/uploads/{upload}", patch(chunk).put(end))
            .route("/v2/a/b/manifests/{tag}", put(manifest))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&content));
        Self {
            address: serve(routes).await,
            content,
        }
    }

    pub(crate) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }

    /// The reference of an image in it.
    pub(crate) fn reference(&self) -> Reference {
        format!("{}/a/b:1", self.address).parse().unwrap()
    }
}

/// The address of a registry that answers `status`, whatever it is asked.
pub(crate) async fn answering(status: StatusCode) -> SocketAddr {
    serve(Router::new().fallback(async move || status)).await
}

pub(crate) async fn serve(routes: Router) -> SocketAddr {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, routes).await });
    address
}

/// The digest of `bytes`, as registries write it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hexadecimal = Sha256::digest(bytes).into_iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hexadecimal.collect::<String>())
}

async fn has_blob(State(content): State<Shared>, Path(digest): Path<String>) -> StatusCode {
    if content.lock().unwrap().blobs.contains_key(&digest) {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    }
}

fn upload(number: usize) -> String {
    format!("/v2/a/b/blobs/uploads/{number}")
}

async fn begin(State(content): State<Shared>) -> Response {
    let mut content = content.lock().unwrap();
    content.uploads += 1;
    let number = content.uploads;
    content.partial.insert(number, Vec::new());
    (StatusCode::ACCEPTED, [(LOCATION, upload(number))]).into_response()
}

async fn chunk(State(content): State<Shared>, Path(number): Path<usize>, body: Bytes) -> Response {
    let mut content = content.lock().unwrap();
    let Some(partial) = content.partial.get_mut(&number) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    partial.extend_from_slice(&body);
    let range = format!("0-{}", partial.len().saturating_sub(1));
    (StatusCode::ACCEPTED, [(LOCATION, upload(number)), (RANGE, range)]).into_response()
}

async fn end(
    State(content): State<Shared>,
    Path(number): Path<usize>,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let mut content = content.lock().unwrap();
    let Some(mut blob) = content.partial.remove(&number) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    blob.extend_from_slice(&body);
    if digest(&blob) != query["digest"] {
        return refused("DIGEST_INVALID");
    }
    let location = format!("/v2/a/b/blobs/{}", query["digest"]);
    content.blobs.insert(query["digest"].clone(), blob);
    (StatusCode::CREATED, [(LOCATION, location)]).into_response()
}

async fn manifest(State(content): State<Shared>, Path(tag): Path<String>, body: Bytes) -> Response {
    let mut content = content.lock().unwrap();
    let document: Value = serde_json::from_slice(&body).unwrap();
    let there = |descriptor: &Value| {
        let blob = descriptor["digest"]
            .as_str()
            .and_then(|digest| content.blobs.get(digest));
        blob.is_some_and(|blob| descriptor["size"] == blob.len())
    };
    let layers = document["layers"].as_array().unwrap();
    if !layers.iter().chain([&document["config"]]).all(there) {
        return refused("MANIFEST_BLOB_UNKNOWN");
    }
    let location = format!("/v2/a/b/manifests/{tag}");
    content.manifests.insert(tag, body);
    (StatusCode::CREATED, [(LOCATION, location)]).into_response()
}

fn refused(code: &str) -> Response {
    let envelope = format!(r#"{{"errors": [{{"code": "{code}"}}]}}"#);
    (StatusCode::BAD_REQUEST, envelope).into_response()
}
