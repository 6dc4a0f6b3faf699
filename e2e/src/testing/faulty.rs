//! Images that do not work: a plugin that misbehaves, and registries that do not give one.

use std::{fs, net::IpAddr, path::PathBuf};

use kite_plugin::image::{self, PushOptions};
use kite_plugin_sdk::axum::{
    self, Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    cluster::Layout,
    deploy::{binary, image_spec},
    target::Target,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[expect(clippy::expect_used, reason = "a test without its cluster can only fail")]
fn target() -> Target {
    Target::running(&Layout::from_env().expect("the layout")).expect("the cluster")
}

/// Pushes the plugin that misbehaves as its name says, and gives the image's reference by digest.
///
/// # Panics
/// If that cannot be made.
#[expect(clippy::expect_used, reason = "a test without its image can only fail")]
pub async fn faulty() -> String {
    let target = target();
    let program = binary("kite-e2e-faulty").expect("the program");
    let image = image::build(&image_spec(program, "faulty", "0.1.0")).expect("an image");
    let repository = format!("{}/kite/faulty", target.registry.host);
    let place = format!("{repository}:0.1.0").parse().expect("a reference");
    let options = PushOptions {
        plain_http: target.registry.plain_http,
    };
    let digest = image::push(&image, &place, options).await.expect("the image is pushed");
    format!("{repository}@{digest}")
}

/// Puts an image beside `image`, which is named by digest, that has it for another architecture alone, and gives its reference.
///
/// # Panics
/// If the registry does not take it.
#[expect(clippy::expect_used, reason = "a test without its image can only fail")]
pub async fn of_another_architecture(image: &str) -> String {
    let target = target();
    let scheme = if target.registry.plain_http { "http" } else { "https" };
    let (repository, digest) = image.split_once('@').expect("a digest");
    let (host, path) = repository.split_once('/').expect("a host");
    let manifests = format!("{scheme}://{host}/v2/{path}/manifests");
    let client = reqwest::Client::new();
    let request = client.get(format!("{manifests}/{digest}")).header("accept", MANIFEST);
    let answer = request
        .send()
        .await
        .expect("an answer")
        .error_for_status()
        .expect("the manifest");
    let size = answer.bytes().await.expect("the manifest").len();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{
            "mediaType": MANIFEST, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": "s390x"},
        }],
    });
    let request = client.put(format!("{manifests}/s390x")).header("content-type", INDEX);
    let answer = request.body(index.to_string()).send().await.expect("an answer");
    answer.error_for_status().expect("the registry takes it");
    format!("{repository}:s390x")
}

/// A registry that gives nothing to whoever does not say who they are, and to one user what the cluster's own has. It ends when this is
/// dropped.
#[derive(Debug)]
pub struct PrivateRegistry {
    /// How the nodes know it.
    pub host: String,
    server: JoinHandle<()>,
    configuration: PathBuf,
}

/// Who gets something of a [`PrivateRegistry`], as HTTP's Basic scheme has it.
const USER: (&str, &str) = ("puller", "correct horse");
const CREDENTIALS: &str = "Basic cHVsbGVyOmNvcnJlY3QgaG9yc2U=";

impl PrivateRegistry {
    /// Starts it on this machine, and tells the local cluster's containerd, which reads such files with each pull, that it has no TLS.
    ///
    /// # Panics
    /// If it cannot be started, or the cluster is not the local one.
    #[expect(clippy::expect_used, reason = "a test without its registry can only fail")]
    pub async fn start() -> Self {
        let target = target();
        assert!(
            target.is_local,
            "the nodes' configuration can be written on the local cluster only"
        );
        let listener = TcpListener::bind((own_address().await, 0)).await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let configuration = target.dir.join("config/registries").join(&host);
        fs::create_dir_all(&configuration).expect("a folder");
        let hosts =
            format!("server = \"http://{host}\"\n\n[host.\"http://{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
        fs::write(configuration.join("hosts.toml"), hosts).expect("a file");
        let behind = target.registry.host;
        let answer = move |request: Request| answer(behind.clone(), request);
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, Router::new().fallback(answer)).await;
        });
        Self {
            host,
            server,
            configuration,
        }
    }

    /// What a pull Secret holds with which the nodes get something of it.
    pub fn docker_config(&self) -> String {
        let (username, password) = USER;
        json!({"auths": {&self.host: {"username": username, "password": password}}}).to_string()
    }
}

/// What the cluster's own registry answers, to who may know.
async fn answer(behind: String, request: Request) -> Response {
    let credentials = request.headers().get(header::AUTHORIZATION);
    if credentials.is_none_or(|it| it.as_bytes() != CREDENTIALS.as_bytes()) {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"private\"")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    let url = format!("http://{behind}{}", request.uri());
    let mut forwarded = reqwest::Client::new().request(request.method().clone(), url);
    for value in request.headers().get_all(header::ACCEPT) {
        forwarded = forwarded.header(header::ACCEPT, value);
    }
    let answered = match forwarded.send().await {
        Ok(answered) => answered,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let (status, headers) = (answered.status(), answered.headers().clone());
    let mut response = Response::new(Body::from_stream(answered.bytes_stream()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

impl Drop for PrivateRegistry {
    fn drop(&mut self) {
        self.server.abort();
        let _ = fs::remove_dir_all(&self.configuration);
    }
}

/// This machine's address as the nodes and their pods see it.
///
/// # Panics
/// If there is no cluster.
#[expect(clippy::expect_used, reason = "a test without its cluster can only fail")]
pub async fn own_address() -> IpAddr {
    let stream = tokio::net::TcpStream::connect(&target().registry.host)
        .await
        .expect("the registry");
    stream.local_addr().expect("an address").ip()
}
