//! Sending an image to a registry.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
};
use oci_spec::image::Digest;

use super::{Blob, Image, credentials};

/// How long a connection to a registry may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a registry may be silent. It hashes a whole blob before it answers the blob's last request.
const READ_TIMEOUT: Duration = Duration::from_mins(2);
const MANIFEST: HeaderValue = HeaderValue::from_static("application/vnd.oci.image.manifest.v1+json");

/// How an image is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct PushOptions {
    /// Speak HTTP instead of HTTPS, for a registry on this machine or in a test cluster.
    pub plain_http: bool,
}

/// Why an image could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("failed to make a client for registries")]
    Client(#[source] OciDistributionError),
    #[error("failed to ask {registry} whether it has the blob {digest}")]
    Ask {
        registry: String,
        digest: Digest,
        source: OciDistributionError,
    },
    #[error("failed to send the blob {digest} to {registry}")]
    SendBlob {
        registry: String,
        digest: Digest,
        source: OciDistributionError,
    },
    #[error("failed to send the manifest to {registry}")]
    SendManifest {
        registry: String,
        source: OciDistributionError,
    },
}

/// What stands in the way of a push, for those who can do something about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Obstacle<'a> {
    /// There is no connection to the registry, or no agreement on TLS.
    Connection,
    /// The registry does not know the caller, or does not let them push.
    Credentials { registry: &'a str },
    /// Anything else.
    Other,
}

impl PushError {
    /// What stands in the way.
    pub fn obstacle(&self) -> Obstacle<'_> {
        let (registry, source) = match self {
            Self::Client(_) => return Obstacle::Other,
            Self::Ask { registry, source, .. }
            | Self::SendBlob { registry, source, .. }
            | Self::SendManifest { registry, source } => (registry, source),
        };
        if matches!(source, OciDistributionError::RequestError(error) if error.is_connect()) {
            Obstacle::Connection
        } else if is_refusal(source) {
            Obstacle::Credentials { registry }
        } else {
            Obstacle::Other
        }
    }
}

/// Whether a registry said that the caller may not: by the status 401 or 403, or by its own word for it.
fn is_refusal(error: &OciDistributionError) -> bool {
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    match error {
        OciDistributionError::AuthenticationFailure(_) | OciDistributionError::UnauthorizedError { .. } => true,
        OciDistributionError::RequestError(error) => error.status().is_some_and(|status| refused.contains(&status)),
        OciDistributionError::ServerError { code, .. } => refused.iter().any(|status| status == code),
        OciDistributionError::RegistryError { envelope, .. } => envelope
            .errors
            .iter()
            .any(|error| matches!(error.code, OciErrorCode::Unauthorized | OciErrorCode::Denied)),
        _ => false,
    }
}

/// Sends `image` to the repository of `reference`, under its tag, and answers the digest by which it is pulled.
///
/// Blobs that the registry has already are not sent again. Credentials come from the Docker configuration
/// (`auths` of `config.json`), where there are any.
///
/// The program must have installed a rustls crypto provider before (`rustls::crypto::ring::default_provider()`).
pub async fn push(image: &Image, reference: &Reference, options: PushOptions) -> Result<Digest, PushError> {
    let config = ClientConfig {
        protocol: if options.plain_http {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        },
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: concat!("kite-plugin/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    let client = Client::try_from(config).map_err(PushError::Client)?;
    let registry = reference.resolve_registry();
    client
        .store_auth_if_needed(registry, &credentials::find(registry))
        .await;
    for blob in image.layers.iter().chain([&image.config]) {
        send_unless_there(&client, reference, blob).await?;
    }
    client
        .push_manifest_raw(reference, image.manifest.clone(), MANIFEST)
        .await
        .map_err(|source| PushError::SendManifest {
            registry: registry.to_owned(),
            source,
        })?;
    Ok(image.digest.clone())
}

async fn send_unless_there(client: &Client, reference: &Reference, blob: &Blob) -> Result<(), PushError> {
    let registry = || reference.resolve_registry().to_owned();
    let digest = &blob.digest;
    let there = client.blob_exists(reference, digest.as_ref()).await;
    if there.map_err(|source| PushError::Ask {
        registry: registry(),
        digest: digest.clone(),
        source,
    })? {
        return Ok(());
    }
    let sent = client.push_blob(reference, blob.data.clone(), digest.as_ref()).await;
    sent.map_err(|source| PushError::SendBlob {
        registry: registry(),
        digest: digest.clone(),
        source,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use oci_client::errors::{OciEnvelope, OciError};

    use super::*;

    fn is_credentials(source: OciDistributionError) -> bool {
        let error = PushError::SendManifest {
            registry: "registry.example".to_owned(),
            source,
        };
        match error.obstacle() {
            Obstacle::Credentials { registry } => registry == "registry.example",
            Obstacle::Connection | Obstacle::Other => false,
        }
    }

    #[test]
    fn each_way_to_say_no_to_a_caller_is_known() {
        let url = String::new;
        let answered = |code| {
            is_credentials(OciDistributionError::ServerError {
                code,
                url: url(),
                message: String::new(),
            })
        };
        assert_eq!([401, 403, 404, 500].map(answered), [true, true, false, false]);
        let said = |code| {
            let error = OciError {
                code,
                message: String::new(),
                detail: serde_json::Value::Null,
            };
            let envelope = OciEnvelope { errors: vec![error] };
            is_credentials(OciDistributionError::RegistryError { envelope, url: url() })
        };
        let codes = [
            OciErrorCode::Unauthorized,
            OciErrorCode::Denied,
            OciErrorCode::NameUnknown,
        ];
        assert_eq!(codes.map(said), [true, true, false]);
        assert!(is_credentials(OciDistributionError::UnauthorizedError { url: url() }));
        assert!(is_credentials(OciDistributionError::AuthenticationFailure(
            String::new()
        )));
        assert!(!is_credentials(OciDistributionError::RegistryNoLocationError));
    }
}
