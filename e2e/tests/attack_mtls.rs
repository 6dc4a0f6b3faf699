//! A plugin serves the gateway and the operator, and nobody else; its health port gives nothing away.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{net::SocketAddr, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kite_api::identity;
use kite_e2e::testing::{PLUGINS, SYSTEM, Scope, scope};
use kite_proto::{CallToolRequest, DescribeRequest, plugin_client::PluginClient};
use kube::Api;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

const LIMIT: Duration = Duration::from_secs(5);

async fn pod_address(scope: &Scope, port: u16) -> SocketAddr {
    let pods = scope.pods_of("hello").await;
    let address = pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .find_map(|pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok())
        .expect("hello's address");
    SocketAddr::new(address, port)
}

/// What a Secret holds under a key.
async fn secret(scope: &Scope, namespace: &str, name: &str, key: &str) -> Vec<u8> {
    let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), namespace);
    let data = secrets.get(name).await.expect(name).data.unwrap_or_default();
    data.get(key).unwrap_or_else(|| panic!("no {key} in {name}")).0.clone()
}

/// Asks hello's pod what it is, with or without a client certificate.
async fn describe(scope: &Scope, identity: Option<Identity>) -> Result<String, String> {
    let ca = secret(scope, SYSTEM, identity::GATEWAY_CLIENT_SECRET, identity::CA_KEY).await;
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ca))
        .domain_name(kite_proto::server_name("hello"));
    if let Some(identity) = identity {
        tls = tls.identity(identity);
    }
    let address = pod_address(scope, kite_proto::PORT).await;
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .timeout(LIMIT);
    // In TLS 1.3 the client has finished before the server has judged its certificate, so the refusal comes later.
    let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let answer = PluginClient::new(channel)
        .describe(DescribeRequest::default())
        .await
        .map_err(|status| format!("{status:?}"))?;
    Ok(answer.into_inner().name)
}

/// A client certificate of a CA that nobody here knows.
fn strangers_identity() -> Identity {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    Identity::from_pem(certificate.pem(), key.serialize_pem())
}

#[tokio::test]
async fn only_the_clients_cas_certificates_are_believed() {
    scope("mtls", async |scope| {
        let of = async |namespace: &str, name: &str| {
            let certificate = secret(&scope, namespace, name, identity::CERTIFICATE_KEY).await;
            Identity::from_pem(
                certificate,
                secret(&scope, namespace, name, identity::PRIVATE_KEY_KEY).await,
            )
        };
        let gateway = of(SYSTEM, identity::GATEWAY_CLIENT_SECRET).await;
        assert_eq!(
            describe(&scope, Some(gateway)).await,
            Ok("hello".to_owned()),
            "the gateway is served"
        );

        let no_certificate = describe(&scope, None).await;
        let stranger = describe(&scope, Some(strangers_identity())).await;
        // A plugin may not pass for the gateway: its certificate is a server's, of another CA.
        let plugin = describe(&scope, Some(of(PLUGINS, "kite-plugin-hello-tls").await)).await;
        let serving = describe(&scope, Some(of(SYSTEM, identity::GATEWAY_SERVING_SECRET).await)).await;
        for (who, answer) in [
            ("nobody", no_certificate),
            ("a stranger", stranger),
            ("a plugin", plugin),
            ("a server", serving),
        ] {
            assert!(answer.is_err(), "{who} was served: {answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_health_port_answers_health_and_nothing_else() {
    scope("health", async |scope| {
        let address = pod_address(&scope, kite_proto::HEALTH_PORT).await;
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .timeout(LIMIT)
            .connect()
            .await
            .unwrap();
        let code = async |path: &'static str| unary(channel.clone(), path).await.map_err(|status| status.code());
        assert_eq!(code("/grpc.health.v1.Health/Check").await, Ok(()));
        for path in [
            "/kite.plugin.v1.Plugin/Describe",
            "/grpc.health.v1.Health/List",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(code(path).await, Err(Code::Unimplemented), "{path}");
        }
        let mut plugin = PluginClient::new(channel.clone());
        let call = CallToolRequest {
            tool: "hello".into(),
            arguments: b"{\"name\": \"x\"}".as_slice().into(),
            ..Default::default()
        };
        assert_eq!(
            plugin.call_tool(call).await.map(drop).map_err(|status| status.code()),
            Err(Code::Unimplemented)
        );
        // Over plain HTTP the port shows figures, and nothing else.
        let http = reqwest::Client::builder()
            .http2_prior_knowledge()
            .timeout(LIMIT)
            .build()
            .unwrap();
        for path in ["/", "/hello", "/debug/pprof/", "/metrics/a"] {
            let answer = http.get(format!("http://{address}{path}")).send().await.unwrap();
            assert!(
                answer.headers().contains_key("grpc-status") || answer.status() == 404,
                "{path}: {answer:?}"
            );
            assert!(answer.bytes().await.unwrap().is_empty(), "{path} has a body");
        }
        let figures = http.get(format!("http://{address}/metrics")).send().await.unwrap();
        assert_eq!(figures.status(), 200);
        assert!(figures.text().await.unwrap().ends_with("# EOF\n"));
    })
    .await;
}

/// A unary call with an empty message.
async fn unary(channel: Channel, path: &'static str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client
        .unary(tonic::Request::new(()), path.parse().unwrap(), codec)
        .await
        .map(drop)
}
