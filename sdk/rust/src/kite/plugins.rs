//! Calls of other plugins, through the gateway, as the plugin itself.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::http::{Method, Request, Response, StatusCode, header::AUTHORIZATION};
use bytes::{Bytes, BytesMut};
use kite_api::{PluginName, name::NameError};
use kite_proto::{GATEWAY_ADDRESS_FILE, GATEWAY_CA_FILE, GATEWAY_TOKEN_FILE, MOUNT_PATH};
use reqwest::{Certificate, Client, Url, redirect::Policy};
use serde::de::DeserializeOwned;
use tokio::{fs, time::timeout};

use super::Kite;

/// How long a call may take, unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of an answer, unless the call says otherwise.
const MOST: usize = 10 * 1024 * 1024;
/// Most bytes of an answer's body that an error tells.
const TOLD: usize = 500;

/// Why another plugin could not be called.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No plugin can be called so.
    #[error("failed to accept the plugin's name {name:?}")]
    Name {
        /// The name.
        name: String,
        /// The cause.
        source: NameError,
    },
    /// The path leads out of the plugin, or is none.
    #[error("failed to accept the path {0:?}: it begins with a slash and leads nowhere else than into the plugin")]
    Path(String),
    /// The pod is not given what it needs for calls.
    #[error("failed to read {path}: name the plugins that this one calls in spec.calls of its plugin.yaml")]
    ReadFile {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The gateway's address is none.
    #[error("failed to accept the gateway's address, which is no https URL without a path")]
    Address,
    /// The token is none.
    #[error("failed to accept the token for the gateway, which is no value of a header field")]
    Token,
    /// The gateway's CA, or what is made of it, is no good.
    #[error("failed to make a client for the gateway")]
    Client(#[source] reqwest::Error),
    /// The call broke.
    #[error("failed to call the plugin {plugin}")]
    Send {
        /// The plugin.
        plugin: PluginName,
        /// The cause.
        source: reqwest::Error,
    },
    /// The call's time was up.
    #[error("failed to call the plugin {0}: it did not answer in time")]
    Late(PluginName),
    /// The answer is too large.
    #[error("failed to read the answer of the plugin {plugin}: it has more than {most} bytes")]
    Large {
        /// The plugin.
        plugin: PluginName,
        /// The limit, in bytes.
        most: usize,
    },
    /// The answer is an error.
    #[error("failed to call the plugin {plugin}: it answered {status}: {body}")]
    Status {
        /// The plugin.
        plugin: PluginName,
        /// The status.
        status: StatusCode,
        /// The beginning of its body.
        body: String,
    },
    /// The answer is not the JSON that was expected.
    #[error("failed to read the answer of the plugin {plugin}")]
    Json {
        /// The plugin.
        plugin: PluginName,
        /// The cause.
        source: serde_json::Error,
    },
}

/// Another plugin, whose routes this one may call because `spec.calls` of its object names it.
///
/// Calls go through the gateway, with the rights of this plugin's own ServiceAccount. Redirects are answers, and not followed.
#[derive(Clone, Debug)]
pub struct OtherPlugin {
    kite: Kite,
    name: String,
    limit: Duration,
    most: usize,
}

impl OtherPlugin {
    pub(super) fn new(kite: Kite, name: String) -> Self {
        Self {
            kite,
            name,
            limit: LIMIT,
            most: MOST,
        }
    }

    /// The same plugin, whose calls take so long at most. Unless it is said, 30 seconds.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The same plugin, whose answers have so many bytes at most. Unless it is said, 10 MiB.
    #[must_use]
    pub fn at_most(self, bytes: usize) -> Self {
        Self { most: bytes, ..self }
    }

    /// Gets JSON from `path`, such as `/costs?namespace=shop`. Any status but success is an error.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::GET;
        let plugin = self.parsed()?;
        let (parts, body) = self.send(path, request).await?.into_parts();
        if !parts.status.is_success() {
            let body = String::from_utf8_lossy(&body).chars().take(TOLD).collect();
            let status = parts.status;
            return Err(CallError::Status { plugin, status, body });
        }
        serde_json::from_slice(&body).map_err(|source| CallError::Json { plugin, source })
    }

    /// Sends `request` to `path`, whatever stands in its own address, and gives the answer, whatever its status.
    pub async fn send(&self, path: &str, request: Request<Bytes>) -> Result<Response<Bytes>, CallError> {
        let plugin = self.parsed()?;
        match timeout(self.limit, self.sent(&plugin, path, request)).await {
            Ok(answered) => answered,
            Err(_) => Err(CallError::Late(plugin)),
        }
    }

    fn parsed(&self) -> Result<PluginName, CallError> {
        PluginName::parse(&self.name).map_err(|source| CallError::Name {
            name: self.name.clone(),
            source,
        })
    }

    async fn sent(
        &self,
        plugin: &PluginName,
        path: &str,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, CallError> {
        let gateway = &self.kite.0.gateway;
        let url = address(gateway.read(GATEWAY_ADDRESS_FILE).await?.trim_ascii(), plugin, path)?;
        let token = gateway.read(GATEWAY_TOKEN_FILE).await?;
        let mut bearer = axum::http::HeaderValue::from_bytes(&[b"Bearer ", token.trim_ascii()].concat())
            .map_err(|_| CallError::Token)?;
        bearer.set_sensitive(true);
        let client = gateway.client().await?;
        let failed = |source: reqwest::Error| CallError::Send {
            plugin: plugin.clone(),
            source: source.without_url(),
        };
        let (parts, body) = request.into_parts();
        let sending = client
            .request(parts.method, url)
            .headers(parts.headers)
            .header(AUTHORIZATION, bearer)
            .body(body);
        let mut answer = sending.send().await.map_err(failed)?;
        let mut body = BytesMut::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > self.most {
                return Err(CallError::Large {
                    plugin: plugin.clone(),
                    most: self.most,
                });
            }
            body.extend_from_slice(&piece);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

/// The address of `path` in `plugin`. Dot segments, however they are written, lead out of no plugin.
fn address(gateway: &[u8], plugin: &PluginName, path: &str) -> Result<Url, CallError> {
    let gateway = std::str::from_utf8(gateway).map_err(|_| CallError::Address)?;
    let base = Url::parse(gateway).map_err(|_| CallError::Address)?;
    if base.scheme() != "https" || base.path() != "/" || base.query().is_some() {
        return Err(CallError::Address);
    }
    let root = format!("/api/v1/plugins/{plugin}");
    let url = base.join(&format!("{root}{path}"));
    url.ok()
        .filter(|url| path.starts_with('/') && url.path().starts_with(&format!("{root}/")) && url.fragment().is_none())
        .filter(|url| url.origin() == base.origin())
        .ok_or_else(|| CallError::Path(path.to_owned()))
}

/// What leads to the gateway: files that are renewed while the plugin runs.
pub(crate) struct Gateway {
    folder: PathBuf,
    /// The client, and the CA that it was made for.
    client: Mutex<Option<(Bytes, Client)>>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self::of(Path::new(MOUNT_PATH))
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// By the files of this folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            client: Mutex::default(),
        }
    }

    async fn read(&self, file: &str) -> Result<Bytes, CallError> {
        let path = self.folder.join(file);
        let read = fs::read(&path).await;
        read.map(Bytes::from)
            .map_err(|source| CallError::ReadFile { path, source })
    }

    /// The client for the CA of this moment. Its connections are used again.
    async fn client(&self) -> Result<Client, CallError> {
        let ca = self.read(GATEWAY_CA_FILE).await?;
        // What is kept is whole at all times.
        let mut kept = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, client)) = &*kept
            && *of == ca
        {
            return Ok(client.clone());
        }
        let client = Certificate::from_pem_bundle(&ca).and_then(|roots| {
            Client::builder()
                .tls_certs_only(roots)
                .https_only(true)
                .no_proxy()
                .redirect(Policy::none())
                .build()
        });
        let client = client.map_err(CallError::Client)?;
        *kept = Some((ca, client.clone()));
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Result<String, CallError> {
        let plugin = PluginName::parse("costs").unwrap();
        address(b"https://gateway.kite:8443", &plugin, path).map(String::from)
    }

    #[test]
    fn a_path_leads_into_the_plugin_and_nowhere_else() {
        let root = "https://gateway.kite:8443/api/v1/plugins/costs";
        assert_eq!(of("/a%20b?c=d").unwrap(), format!("{root}/a%20b?c=d"));
        assert_eq!(of("/a/../b").unwrap(), format!("{root}/b"));
        for path in [
            "",
            "a",
            "-b/c",
            "/../other/a",
            "/a/../../other",
            "/%2e%2e/other",
            "/.%2E/other",
            "\\..\\other",
            "/..",
            "/a#b",
            "@evil/",
            "?a",
        ] {
            assert!(matches!(of(path), Err(CallError::Path(_))), "{path}: {:?}", of(path));
        }
    }

    #[test]
    fn the_gateways_address_is_https_and_has_no_path() {
        let plugin = PluginName::parse("costs").unwrap();
        for gateway in ["", "http://a", "https://a/b", "https://a?b", "a"] {
            let refused = address(gateway.as_bytes(), &plugin, "/a");
            assert!(matches!(refused, Err(CallError::Address)), "{gateway}");
        }
    }

    #[tokio::test]
    async fn a_plugin_that_is_given_nothing_for_calls_is_told_what_to_do() {
        let kite = Kite::default();
        let error = kite
            .plugin("costs")
            .send("/a", Request::new(Bytes::new()))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("spec.calls"), "{error}");
        let error = kite
            .plugin("Costs")
            .send("/a", Request::new(Bytes::new()))
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::Name { .. }));
    }
}
