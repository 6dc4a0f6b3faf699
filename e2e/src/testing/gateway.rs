//! The gateway as its callers see it.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use reqwest::{Certificate, Client, ClientBuilder, Method, RequestBuilder, Url, header::HeaderMap};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{START, exported};

/// The gateway, or one replica of it.
#[derive(Clone)]
pub struct Gateway {
    http: Client,
    url: String,
    admin: String,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug)]
pub enum Http {
    One,
    Two,
}

/// What the gateway answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The answer's status and problem type, after a check that it is a problem document in every respect.
    ///
    /// # Panics
    /// If it is not.
    pub fn problem(&self) -> (u16, String) {
        let content_type = self
            .headers
            .get("content-type")
            .map(|value| value.to_str().unwrap_or_default());
        assert_eq!(content_type, Some("application/problem+json"), "{self:?}");
        let body = self.json();
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert_eq!(
            body.get("status").and_then(Value::as_u64),
            Some(self.status.into()),
            "{self:?}"
        );
        for key in ["type", "title", "detail", "error", "requestId"] {
            assert!(!text(key).is_empty(), "no {key} in {self:?}");
        }
        assert_eq!(
            self.headers.get("x-request-id").and_then(|id| id.to_str().ok()),
            Some(text("requestId").as_str())
        );
        (self.status, text("type"))
    }

    /// The text of the problem without what differs from request to request.
    pub fn problem_text(&self) -> Value {
        let mut body = self.json();
        if let Some(body) = body.as_object_mut() {
            body.remove("requestId");
        }
        body
    }
}

impl Gateway {
    /// The gateway at `KITE_URL`.
    ///
    /// # Panics
    /// If the variables that `make -s env` exports are not set.
    pub fn from_env() -> Self {
        Self::at(exported("KITE_URL"), None)
    }

    /// One replica of the gateway, by its pod's address.
    pub fn replica(address: SocketAddr) -> Self {
        Self::at(format!("https://kite-gateway:{}", address.port()), Some(address))
    }

    /// A client with one connection, of this version of HTTP, to one replica of the gateway, which answers within `patience`.
    ///
    /// # Panics
    /// If there is none.
    #[expect(clippy::expect_used, reason = "a test without its client can only fail")]
    pub fn client_of(address: SocketAddr, http: Http, patience: Duration) -> Client {
        let builder = builder()
            .timeout(patience)
            .resolve("kite-gateway", address)
            .pool_max_idle_per_host(1)
            .retry(reqwest::retry::never());
        let builder = match http {
            Http::One => builder.http1_only(),
            Http::Two => builder.http2_prior_knowledge(),
        };
        builder.build().expect("an HTTP client")
    }

    #[expect(clippy::expect_used, reason = "a test without its client can only fail")]
    fn at(url: String, address: Option<SocketAddr>) -> Self {
        let mut builder = builder().timeout(START);
        if let Some(address) = address {
            builder = builder.resolve("kite-gateway", address);
        }
        Self {
            http: builder.build().expect("an HTTP client"),
            url,
            admin: exported("KITE_TOKEN"),
        }
    }

    /// The token of the cluster admin.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// A connection on which what a test writes goes out as it is, and the host that it leads to.
    ///
    /// # Panics
    /// If there is none.
    #[expect(clippy::expect_used, reason = "a test without its connection can only fail")]
    pub async fn connect(&self) -> (String, TlsStream<TcpStream>) {
        let url = Url::parse(&self.url).expect("the gateway's address");
        let host = url.host_str().expect("a host").to_owned();
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(exported("KITE_CA")).expect("the gateway's CA") {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let port = url.port_or_known_default().expect("a port");
        let tcp = TcpStream::connect((host.as_str(), port))
            .await
            .expect("the gateway listens");
        let name = ServerName::try_from(host.clone()).expect("a name");
        let connected = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await;
        (host, connected.expect("TLS"))
    }

    /// A request to a path below `/api/v1/plugins/`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1/plugins/{path}", self.url))
    }

    /// A request to any path.
    pub fn raw(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// GET of a path below `/api/v1/plugins/` with a token.
    pub async fn get(&self, token: &str, path: &str) -> Answer {
        send(self.request(Method::GET, path).bearer_auth(token)).await
    }

    /// A call of a tool with a token.
    pub async fn tool(&self, token: &str, tool: &str, arguments: Value) -> Answer {
        let body = serde_json::json!({"arguments": arguments});
        send(
            self.request(Method::POST, &format!("tools/{tool}"))
                .bearer_auth(token)
                .json(&body),
        )
        .await
    }
}

/// What builds a client that trusts the gateway's CA.
#[expect(clippy::expect_used, reason = "a test without its client can only fail")]
fn builder() -> ClientBuilder {
    // Fails only if a provider is installed already, and there is but this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = fs::read(exported("KITE_CA")).expect("the gateway's CA");
    let roots = Certificate::from_pem_bundle(&ca).expect("the gateway's CA is PEM");
    Client::builder().tls_certs_only(roots)
}

/// Sends a request and reads the whole answer.
///
/// # Panics
/// If there is no answer at all.
#[expect(clippy::expect_used, reason = "no answer fails the test")]
pub async fn send(request: RequestBuilder) -> Answer {
    try_send(request).await.expect("an answer of the gateway")
}

/// The answer, where the gateway may not be there yet.
///
/// # Errors
/// If none came.
pub(super) async fn try_send(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.text().await?;
    Ok(Answer { status, headers, body })
}
