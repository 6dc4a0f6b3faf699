//! Certificates and Secrets of the system: who is who between operator, gateway and plugins.

/// Secret in *system*: the CA of the plugins' server certificates (`tls.crt`, `tls.key`).
pub const SERVERS_CA_SECRET: &str = "kite-ca-servers";
/// Secret in *system*: the CA of gateway's and operator's client certificates (`tls.crt`, `tls.key`).
pub const CLIENTS_CA_SECRET: &str = "kite-ca-clients";
/// Secret in *system*: the CA of the gateway's serving certificate (`tls.crt`, `tls.key`).
pub const SERVING_CA_SECRET: &str = "kite-ca-serving";
/// Secret in *system*: the gateway's client certificate (`tls.crt`, `tls.key`) and the servers' CAs (`ca.crt`).
pub const GATEWAY_CLIENT_SECRET: &str = "kite-gateway-client";
/// Secret in *system*: the gateway's serving certificate (`tls.crt`, `tls.key`) and its CAs (`ca.crt`).
pub const GATEWAY_SERVING_SECRET: &str = "kite-gateway-serving";
/// The gateway's Service in *system*.
pub const GATEWAY_SERVICE: &str = "kite-gateway";

/// What the gateway's pods are called in their label `app.kubernetes.io/name`.
pub const GATEWAY_NAME: &str = "kite-gateway";
/// The same of the operator's.
pub const OPERATOR_NAME: &str = "kite-operator";

/// Keys of a CA's Secret: the next CA and its key, while there is one.
pub const NEXT_CERTIFICATE_KEY: &str = "next.crt";
/// See [`NEXT_CERTIFICATE_KEY`].
pub const NEXT_PRIVATE_KEY_KEY: &str = "next.key";
/// Key of a CA's Secret: the certificate of the CA before, while it is believed still.
pub const OLD_CERTIFICATE_KEY: &str = "old.crt";

/// Annotation of a CA's Secret, of any value: somebody asks for another CA. The operator takes it away when that issues, or earlier.
pub const ROTATE: &str = "kite.dev/rotate";
/// Annotation of a CA's Secret: since when the next CA has been in all Secrets that it belongs in, RFC 3339.
pub const NEXT_SINCE: &str = "kite.dev/next-since";
/// Annotation of a CA's Secret: when the CA before is not believed any more, RFC 3339.
pub const OLD_UNTIL: &str = "kite.dev/old-until";

/// Keys of the Secrets above, and of a plugin's: certificate, private key and the CAs of the other side's.
pub const CERTIFICATE_KEY: &str = "tls.crt";
/// See [`CERTIFICATE_KEY`].
pub const PRIVATE_KEY_KEY: &str = "tls.key";
/// See [`CERTIFICATE_KEY`].
pub const CA_KEY: &str = "ca.crt";

/// Audience of the tokens with which plugins call the gateway. The API server takes them for nothing else.
pub const GATEWAY_AUDIENCE: &str = "kite-gateway";

/// URI in the gateway's client certificate.
pub const GATEWAY_URI: &str = "spiffe://kite.internal/gateway";
/// URI in the operator's client certificate.
pub const OPERATOR_URI: &str = "spiffe://kite.internal/operator";

/// URI in the certificate of the plugin called `plugin`, for people; clients verify the DNS name.
pub fn plugin_uri(plugin: &crate::PluginName) -> String {
    format!("spiffe://kite.internal/plugin/{plugin}")
}
