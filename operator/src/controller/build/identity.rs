//! The Secret with which a plugin proves who it is, and knows whom to believe.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kite_api::object_names;

use super::metadata;
use crate::{
    controller::validate::ValidatedPlugin,
    identity::{certificate::Certified, secrets::TLS},
};

/// The plugin's certificate and key, and the CA of those who may call it.
pub fn secret(plugin: &ValidatedPlugin, namespace: &str, certificate: Certified, clients_ca: &str) -> Secret {
    let mut data = certificate.into_data();
    data.insert(
        kite_proto::CLIENTS_CA_FILE.to_owned(),
        ByteString(clients_ca.as_bytes().to_vec()),
    );
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
    fn the_secret_has_the_three_files_of_the_protocol() {
        let certificate = Certified {
            certificate: String::from("c"),
            key: String::from("k"),
        };
        let data = secret(&plugin(|_| {}), "kite-plugins", certificate, "ca").data.unwrap();
        let files: Vec<_> = data
            .iter()
            .map(|(file, bytes)| (file.as_str(), bytes.0.as_slice()))
            .collect();
        assert_eq!(
            files,
            [
                (kite_proto::CLIENTS_CA_FILE, b"ca".as_slice()),
                (kite_proto::CERTIFICATE_FILE, b"c"),
                (kite_proto::KEY_FILE, b"k"),
            ]
        );
    }
}
