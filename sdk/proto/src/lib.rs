//! The plugin protocol `kite.plugin.v1`: the types generated from `plugin.proto`, and the constants that both sides share.

#![deny(missing_docs)]

#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::invalid_html_tags, unreachable_pub, unused_qualifications, reason = "generated")]
mod generated {
    include!("generated/kite.plugin.v1.rs");
}

mod http_response;
mod status_details;
pub mod web_socket;

pub use generated::*;
pub use http_response::{HttpResponse, HttpResponseHead};
pub use status_details::{WithoutDetails, without_status_details};

use sha2::{Digest, Sha256};
use std::{fmt::Write as _, time::Duration};

/// Version of the protocol that this crate speaks.
pub const PROTOCOL: u32 = 1;
/// Port on which a plugin serves the protocol, with mutual TLS.
pub const PORT: u16 = 9443;
/// Plain-text port on which a plugin answers `grpc.health.v1.Health/Check`.
pub const HEALTH_PORT: u16 = 9440;
/// Folder in the plugin's container that holds its certificate, its key and the clients' CA.
pub const MOUNT_PATH: &str = "/run/kite";
/// File in [`MOUNT_PATH`]: the plugin's certificate, PEM.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// File in [`MOUNT_PATH`]: the private key of the certificate, PEM.
pub const KEY_FILE: &str = "tls.key";
/// File in [`MOUNT_PATH`]: the CA whose clients are to be believed, PEM.
pub const CLIENTS_CA_FILE: &str = "clients-ca.crt";
/// File in [`MOUNT_PATH`] of a plugin that may call others: a token of its own for the gateway's audience. The kubelet renews
/// it; it is read anew for each call.
pub const GATEWAY_TOKEN_FILE: &str = "gateway-token";
/// File in [`MOUNT_PATH`] of a plugin that may call others: the gateway's address, a URL without a path.
pub const GATEWAY_ADDRESS_FILE: &str = "gateway-address";
/// File in [`MOUNT_PATH`] of a plugin that may call others: the CA of the gateway's serving certificate, PEM.
pub const GATEWAY_CA_FILE: &str = "gateway-ca.crt";
/// File in [`MOUNT_PATH`], if the installation has one: the CAs that the plugin is to trust where it calls others, PEM. The variable
/// `SSL_CERT_FILE` names it.
pub const CA_BUNDLE_FILE: &str = "ca-bundle.crt";
/// Environment variable that tells a plugin the name under which it serves.
pub const NAME_VARIABLE: &str = "KITE_PLUGIN_NAME";
/// Environment variable that tells a plugin how many seconds it has from SIGTERM until it is killed. Absent: 30.
pub const GRACE_VARIABLE: &str = "KITE_GRACE_SECONDS";
/// Environment variable by which a plugin that runs outside of a pod is told another folder than [`MOUNT_PATH`].
pub const FOLDER_VARIABLE: &str = "KITE_PLUGIN_FOLDER";
/// Environment variable by which a plugin that runs outside of a pod is told to listen on one IP address only.
pub const ADDRESS_VARIABLE: &str = "KITE_PLUGIN_ADDRESS";
/// Most bytes of one piece of a body, and so of one message's `data`.
pub const MAX_CHUNK: usize = 64 * 1024;
/// Most bytes of the head of an [`HttpResponse`], and of its trailers, with what the encoding adds. The whole message has
/// at most [`MAX_CHUNK`] and this.
pub const MAX_HEAD: usize = 64 * 1024;
/// Most header fields of an HTTP message, and most trailers.
pub const MAX_FIELDS: usize = 256;
/// Most bytes of a message of either side on [`Exchange`](plugin_client::PluginClient::exchange).
pub const MAX_EXCHANGE_MESSAGE: usize = 64 * 1024;
/// Most bytes of a request's body there. A larger one goes by a stream of its own.
pub const MAX_EXCHANGE_BODY: usize = 12 * 1024;
/// Most bytes of a reply that are covered and not sent yet.
pub const MAX_CREDIT: usize = 1024 * 1024;
/// Most bytes of the serialized [`Definitions`].
pub const MAX_DEFINITIONS: usize = 1024 * 1024;
/// Most bytes of a tool's arguments.
pub const MAX_ARGUMENTS: usize = 1024 * 1024;
/// Most bytes of one serialized [`CallToolResponse`], and so of a tool's result.
pub const MAX_RESULT: usize = 4 * 1024 * 1024;
/// Most bytes of a gRPC status' message. On the wire it is percent-encoded, at worst to three times its length, and shares
/// [`MAX_METADATA`] with what else a response says about itself.
pub const MAX_STATUS_MESSAGE: usize = 1024;
/// Most bytes of the header fields, and of the trailers, of a gRPC response itself, as HTTP/2 counts them.
pub const MAX_METADATA: u32 = 16 * 1024;

impl CallContext {
    /// The context of a call that the host itself makes, which has so long.
    pub fn of_host(limit: Duration) -> Self {
        Self {
            timeout: prost_types::Duration::try_from(limit).ok(),
            ..Self::default()
        }
    }
}

impl DescribeRequest {
    /// The question that is to be answered within `limit`.
    pub fn of_host(limit: Duration) -> Self {
        Self {
            context: Some(CallContext::of_host(limit)),
        }
    }
}

/// The DNS name in the certificate of the plugin called `plugin`, which a client verifies whatever address it dialled.
pub fn server_name(plugin: &str) -> String {
    format!("{plugin}.plugins.kite.internal")
}

/// The hash that pins what a revision offers: `sha256:` and the hexadecimal SHA-256 of the serialized [`Definitions`].
pub fn definitions_hash(definitions: &[u8]) -> String {
    sha256(definitions)
}

/// `sha256:` and the hexadecimal SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::from("sha256:"), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_of_exactly_the_bytes() {
        // FIPS 180-4 test vector for the empty message.
        assert_eq!(
            definitions_hash(b""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_ne!(definitions_hash(b"a"), definitions_hash(b"b"));
    }

    #[test]
    fn the_server_name_is_a_name_of_the_plugin_alone() {
        assert_eq!(server_name("hello"), "hello.plugins.kite.internal");
    }
}
