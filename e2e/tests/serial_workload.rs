//! What concerns the pods of all plugins: what the chart's values give them (a mirror in the place of a registry, a Secret to pull with, and CAs
//! to trust), and nodes that are kept for some.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, process::Command, sync::Arc};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kite_api::KitePluginSpec;
use kite_conformance::Authority;
use kite_e2e::{
    cluster::Layout,
    deploy::binary,
    target::Target,
    testing::{
        PLUGINS, Scope,
        faulty::{PrivateRegistry, faulty, own_address},
        scope, succeeded, unavailable,
    },
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// Runs `kite-e2e`; what it said if it failed.
fn e2e(arguments: &[String]) -> Result<(), String> {
    let output = Command::new(binary("kite-e2e").unwrap())
        .args(arguments)
        .output()
        .unwrap();
    succeeded(&output)
}

/// The chart with these values, once hello runs as they say.
fn install(values: &[String]) -> Result<(), String> {
    let mut arguments = vec![String::from("release"), String::from("install")];
    for value in values {
        arguments.extend([String::from("--set"), value.clone()]);
    }
    e2e(&arguments)
}

/// Puts the chart's own values back, whatever becomes of the test.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        let restored = install(&[]);
        // A second panic would end the process before it could say what the first was.
        if std::thread::panicking() {
            println!("restored: {restored:?}");
        } else {
            assert_eq!(restored, Ok(()));
        }
    }
}

/// A server of this machine with a certificate of `authority`, which answers everybody the same.
async fn serve(authority: &Authority) -> SocketAddr {
    let certified = authority.server("asked").unwrap();
    let certificate = CertificateDer::from_pem_slice(certified.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((own_address().await, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever does not trust the certificate ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\ntrusted";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

async fn asked(scope: &Scope, plugin: &str, server: SocketAddr) -> String {
    scope.answer(plugin, &format!("ask/{server}")).await
}

/// Waits until the plugin's pods are those of its present template.
fn rolled_out(plugin: &str) {
    let output = Target::running(&Layout::from_env().unwrap())
        .unwrap()
        .kubectl()
        .args(["rollout", "status", "-n", PLUGINS, "--timeout=90s"])
        .arg(format!("deployment/kite-plugin-{plugin}-1"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn the_values_about_pods_reach_plugins_that_run_and_new_ones() {
    scope("values", async |scope| {
        let registry = PrivateRegistry::start().await;
        let image = faulty().await;
        let (_, path) = image.split_once('/').unwrap();
        let authority = Authority::new().unwrap();
        let server = serve(&authority).await;
        let runs = scope.loaded_plugin("-1-looks", |spec| spec.image.clone_from(&image)).await;
        let before = asked(&scope, &runs, server).await;
        assert_ne!(before, "trusted");

        let config = json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": registry.docker_config()}});
        let pull = scope.make_in_plugins::<Secret>("-pull", config).await;
        let bundle = json!({"data": {"ca.crt": authority.pem()}});
        let bundle = scope.make_in_plugins::<ConfigMap>("-ca", bundle).await;
        let _restore = Restore;
        install(&[
            format!("plugins.registryMirrors.images\\.test={}", registry.host),
            format!("plugins.imagePullSecrets[0].name={pull}"),
            format!("plugins.extraCABundle.configMap={bundle}"),
        ])
        .unwrap();

        let mirrored = |spec: &mut KitePluginSpec| spec.image = format!("images.test/{path}");
        let fresh = scope.loaded_plugin("-2-looks", mirrored).await;
        assert_eq!(asked(&scope, &fresh, server).await, "trusted");
        let pods = scope.pods_of(&fresh).await;
        let pulled = pods[0].spec.as_ref().unwrap().containers[0].image.clone().unwrap();
        assert_eq!(pulled, format!("{}/{path}", registry.host));
        rolled_out(&runs);
        scope.wait_for_answer(&runs, 200).await;
        assert_eq!(asked(&scope, &runs, server).await, "trusted");
    })
    .await;
}

/// The taint of nodes that are kept for some.
const TAINT: &str = "kite.test/kept";

/// Runs kubectl; what it said if it failed.
fn kubectl(arguments: &[&str]) -> Result<(), String> {
    let output = Target::running(&Layout::from_env().unwrap())
        .unwrap()
        .kubectl()
        .args(arguments)
        .output()
        .unwrap();
    succeeded(&output)
}

/// All nodes are kept for those who tolerate it, until this is dropped.
struct Kept;

impl Kept {
    fn begin() -> Self {
        let taint = format!("{TAINT}=some:NoSchedule");
        let kept = Self;
        kubectl(&["taint", "nodes", "--all", "--overwrite", &taint]).unwrap();
        kept
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let ended = kubectl(&["taint", "nodes", "--all", &format!("{TAINT}-")]);
        // A second panic would end the process before it could say what the first was.
        if std::thread::panicking() {
            println!("the taint is taken away: {ended:?}");
        } else {
            assert_eq!(ended, Ok(()));
        }
    }
}

#[tokio::test]
async fn a_plugin_runs_on_a_node_whose_taint_it_tolerates() {
    scope("tolerant", async |scope| {
        let _kept = Kept::begin();
        let plugin = scope.make_plugin("", |_| {}).await;
        let words = ["does not tolerate", "name the taint in spec.tolerations"];
        unavailable(&scope, &plugin, "Unschedulable", &words).await;
        let tolerations = json!([{"key": TAINT, "value": "some", "effect": "NoSchedule"}]);
        scope
            .patch_plugin(&plugin, json!({"spec": {"tolerations": tolerations}}))
            .await;
        scope.wait_for_revision(&plugin, 2).await;
        scope.wait_for_answer(&plugin, 200).await;
    })
    .await;
}
