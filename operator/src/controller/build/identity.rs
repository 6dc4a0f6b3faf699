//! The Secret with which a plugin proves who it is, and knows whom to believe.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kite_api::object_names;

use super::metadata;
use crate::{
    controller::validate::ValidatedPlugin,
    identity::{certificate::Certified, secrets::TLS},
};

/// How plugins reach the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Gateway<'a> {
    /// A URL without a path.
    pub address: &'a str,
    /// The CA of its serving certificate, PEM.
    pub ca: &'a str,
}

/// The plugin's certificate and key, and the CA of those who may call it; and how the gateway is reached, of which a pod gets
/// to see something only if it may call others. Nothing of *system* is ever mounted, so it stands here a second time.
pub fn secret(
    plugin: &ValidatedPlugin,
    namespace: &str,
    certificate: Certified,
    clients_ca: &str,
    gateway: &Gateway<'_>,
) -> Secret {
    let mut data = certificate.into_data();
    for (file, text) in [
        (kite_proto::CLIENTS_CA_FILE, clients_ca),
        (kite_proto::GATEWAY_ADDRESS_FILE, gateway.address),
        (kite_proto::GATEWAY_CA_FILE, gateway.ca),
    ] {
        data.insert(file.to_owned(), ByteString(text.as_bytes().to_vec()));
    }
    Secret {
        metadata: metadata(plugin, object_names::certificate(&plugin.name), Some(namespace)),
        type_: Some(TLS.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::validate::tests::plugin;

    #[test]
    fn the_secret_has_the_files_of_the_protocol() {
        let certificate = Certified {
            certificate: String::from("c"),
            key: String::from("k"),
        };
        let gateway = Gateway {
            address: "https://gateway",
            ca: "gateway ca",
        };
        let secret = secret(&plugin(|_| {}), "kite-plugins", certificate, "ca", &gateway);
        let data = secret.data.unwrap();
        let files: Vec<_> = data
            .iter()
            .map(|(file, bytes)| (file.as_str(), bytes.0.as_slice()))
            .collect();
        assert_eq!(
            files,
            [
                (kite_proto::CLIENTS_CA_FILE, b"ca".as_slice()),
                (kite_proto::GATEWAY_ADDRESS_FILE, b"https://gateway"),
                (kite_proto::GATEWAY_CA_FILE, b"gateway ca"),
                (kite_proto::CERTIFICATE_FILE, b"c"),
                (kite_proto::KEY_FILE, b"k"),
            ]
        );
    }
}
