//! Certificates renewed and CAs rotated under load, the way an administrator asks for it: nobody who uses a plugin notices.
#![cfg(test)]

use std::{fs, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kite_api::identity::{
    CA_KEY, CERTIFICATE_KEY, CLIENTS_CA_SECRET, GATEWAY_CLIENT_SECRET, GATEWAY_SERVING_SECRET, NEXT_CERTIFICATE_KEY,
    OLD_CERTIFICATE_KEY, PRIVATE_KEY_KEY, ROTATE, SERVERS_CA_SECRET, SERVING_CA_SECRET,
};
use kite_e2e::testing::{
    Gateway, PLUGINS, START, SYSTEM, Scope, eventually, exported,
    load::{Greetings, Load, used},
    scope,
};
use kite_proto::{DescribeRequest, plugin_client::PluginClient};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

const CAS: [&str; 3] = [SERVERS_CA_SECRET, CLIENTS_CA_SECRET, SERVING_CA_SECRET];
/// The operator's Deployment, and what it is told so that a rotation does not take a week: as by the chart's values
/// `operator.identity.caSpreadSeconds` and `servingCaNoticeHours`.
const OPERATOR: &str = "kite-operator";
const SHORT: [(&str, &str); 2] = [("--ca-spread-seconds=", "60"), ("--serving-ca-notice-hours=", "0")];
/// How long a rotation may take that is given 60 s: to spread, to issue, and for each to be read.
const ROTATED: Duration = Duration::from_mins(5);

/// What a Secret holds under a key.
async fn text(scope: &Scope, namespace: &str, name: &str, key: &str) -> Option<String> {
    let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), namespace);
    let data = secrets.get(name).await.ok()?.data?;
    String::from_utf8(data.get(key)?.0.clone()).ok()
}

/// Certificate and key in a Secret of the system.
async fn pair(scope: &Scope, name: &str) -> (String, String) {
    let of = async |key| text(scope, SYSTEM, name, key).await.expect("a certificate and its key");
    (of(CERTIFICATE_KEY).await, of(PRIVATE_KEY_KEY).await)
}

/// A key of each CA's Secret.
async fn of_cas(scope: &Scope, key: &str) -> Vec<Option<String>> {
    let mut all = Vec::new();
    for ca in CAS {
        all.push(text(scope, SYSTEM, ca, key).await);
    }
    all
}

async fn patch_cas(scope: &Scope, patch: Value) {
    let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), SYSTEM);
    for ca in CAS {
        let patched = secrets.patch(ca, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.expect("the CA's Secret");
    }
}

/// Has the kubelet look at the pods of gateway and plugin now, which it does when they change, and otherwise once a minute.
async fn stir(scope: &Scope, plugin: &str, turn: &str) {
    for (namespace, labels) in [
        (SYSTEM, String::from("app.kubernetes.io/name=kite-gateway")),
        (PLUGINS, format!("{}={plugin}", kite_api::labels::PLUGIN)),
    ] {
        let pods: Api<Pod> = Api::namespaced(scope.client.clone(), namespace);
        let found = pods
            .list(&ListParams::default().labels(&labels))
            .await
            .expect("the pods");
        for pod in found.items {
            let changed = Patch::Merge(json!({"metadata": {"annotations": {"kite.dev/test": turn}}}));
            let patched = pods.patch(&pod.name_any(), &PatchParams::default(), &changed).await;
            patched.expect("a pod's annotation");
        }
    }
}

/// The certificate that whoever listens there presents, if it is believed by `roots`.
async fn presented(
    address: SocketAddr,
    name: &str,
    roots: &str,
    (certificate, key): &(String, String),
) -> Result<CertificateDer<'static>, String> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(root.expect("PEM")).expect("a CA");
    }
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let config = ClientConfig::builder()
        .with_root_certificates(store)
        .with_client_auth_cert(chain, key)
        .expect("a pair");
    let tcp = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    let connected = connected.map_err(|error| error.to_string())?;
    let presented = connected.get_ref().1.peer_certificates();
    Ok(presented.expect("a certificate")[0].clone().into_owned())
}

async fn plugin_address(scope: &Scope, plugin: &str) -> SocketAddr {
    let pods = scope.pods_of(plugin).await;
    let mut addresses = pods
        .iter()
        .filter_map(|pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok());
    SocketAddr::new(addresses.next().expect("the plugin's pod"), kite_proto::PORT)
}

/// Waits until the plugin presents what is in its Secret, and this CA believes it.
async fn plugin_presents(scope: &Scope, plugin: &str, roots: &str) {
    let address = plugin_address(scope, plugin).await;
    let name = format!("kite-plugin-{plugin}-tls");
    eventually("the plugin presents its new certificate", START, async || {
        let wanted = text(scope, PLUGINS, &name, CERTIFICATE_KEY)
            .await
            .ok_or("no certificate")?;
        let wanted = CertificateDer::from_pem_slice(wanted.as_bytes()).map_err(|error| error.to_string())?;
        let client = pair(scope, GATEWAY_CLIENT_SECRET).await;
        let shown = presented(address, &kite_proto::server_name(plugin), roots, &client).await?;
        if shown == wanted {
            Ok(())
        } else {
            Err(String::from("another one"))
        }
    })
    .await;
}

/// Waits until each gateway presents a certificate that this CA alone believes.
async fn gateways_present(scope: &Scope, roots: &str) {
    // Of any client of theirs they ask for no certificate.
    let client = pair(scope, GATEWAY_CLIENT_SECRET).await;
    for address in scope.gateway_addresses().await {
        eventually("a gateway presents its new certificate", START, async || {
            presented(address, "kite-gateway", roots, &client).await.map(drop)
        })
        .await;
    }
}

/// Asks the plugin what it is, with this client certificate.
async fn describe(scope: &Scope, plugin: &str, (certificate, key): &(String, String)) -> Result<String, String> {
    let roots = text(scope, SYSTEM, GATEWAY_CLIENT_SECRET, CA_KEY)
        .await
        .ok_or("no CA")?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(roots))
        .domain_name(kite_proto::server_name(plugin))
        .identity(Identity::from_pem(certificate, key));
    let address = plugin_address(scope, plugin).await;
    let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address");
    let endpoint = endpoint.tls_config(tls).expect("TLS").timeout(Duration::from_secs(5));
    let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let answer = PluginClient::new(channel).describe(DescribeRequest::default()).await;
    answer
        .map(|it| it.into_inner().name)
        .map_err(|status| format!("{status:?}"))
}

/// Tells the operator other lengths of time, and returns what it was told before.
async fn tell_operator(scope: &Scope, wanted: &[(&str, String)]) -> Vec<(&'static str, String)> {
    let deployments: Api<Deployment> = Api::namespaced(scope.client.clone(), SYSTEM);
    let found = deployments.get(OPERATOR).await.expect("the operator");
    let spec = found.spec.expect("a spec").template.spec.expect("a spec");
    let mut arguments = spec.containers[0].args.clone().expect("arguments");
    let mut before = Vec::new();
    for argument in &mut arguments {
        for (flag, _) in SHORT {
            if let Some(value) = argument.strip_prefix(flag) {
                before.push((flag, value.to_owned()));
            }
        }
        for (flag, value) in wanted {
            if argument.starts_with(flag) {
                *argument = format!("{flag}{value}");
            }
        }
    }
    let container = json!({"name": spec.containers[0].name, "args": arguments});
    let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    let patched = deployments
        .patch(OPERATOR, &PatchParams::default(), &Patch::Strategic(&patch))
        .await;
    let generation = patched.expect("the operator's arguments").metadata.generation;
    eventually("the operator is told", START, async || {
        let found = deployments.get(OPERATOR).await.map_err(|error| error.to_string())?;
        let replicas = found.spec.as_ref().and_then(|spec| spec.replicas);
        let status = found.status.unwrap_or_default();
        let is_out = status.observed_generation == generation
            && status.updated_replicas == replicas
            && status.available_replicas == replicas
            && status.replicas == replicas;
        if is_out { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    before
}

/// Has the tests that come, too, believe the gateway's CAs as they are shown now.
async fn heed_serving_ca(scope: &Scope) -> String {
    let shown = text(scope, SYSTEM, GATEWAY_SERVING_SECRET, CA_KEY)
        .await
        .expect("the CA");
    fs::write(exported("KITE_CA"), &shown).expect("the file of the gateway's CA");
    shown
}

/// The same, when so many are shown.
async fn heed_serving_cas(scope: &Scope, count: usize) {
    eventually("the gateway's CAs are shown", START, async || {
        let shown = heed_serving_ca(scope).await;
        if shown.matches("BEGIN").count() == count {
            Ok(())
        } else {
            Err(shown)
        }
    })
    .await;
}

/// Somebody comes anew, who believes what is in the file now.
async fn newcomers_are_served(scope: &Scope, plugin: &str) {
    for address in scope.gateway_addresses().await {
        let gateway = Gateway::replica(address);
        let answer = gateway.get(gateway.admin(), &format!("{plugin}/hello")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Waits until the plugin's certificate is another one than this, and returns it.
async fn another_certificate(scope: &Scope, plugin: &str, before: Option<&String>) -> String {
    let name = secret_of(plugin);
    eventually("the plugin has another certificate", START, async || {
        let now = text(scope, PLUGINS, &name, CERTIFICATE_KEY).await;
        now.filter(|now| Some(now) != before)
            .ok_or_else(|| String::from("the one before"))
    })
    .await
}

fn secret_of(plugin: &str) -> String {
    format!("kite-plugin-{plugin}-tls")
}

/// While the next CAs are spread a certificate is renewed: whoever deletes it has another, of the CA that issues still.
async fn renewed_meanwhile(scope: &Scope, plugin: &str, issuing: &str) -> String {
    let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), PLUGINS);
    let name = secret_of(plugin);
    let before = text(scope, PLUGINS, &name, CERTIFICATE_KEY).await;
    secrets
        .delete(&name, &DeleteParams::default())
        .await
        .expect("the plugin's Secret");
    let now = another_certificate(scope, plugin, before.as_ref()).await;
    stir(scope, plugin, "renewed").await;
    plugin_presents(scope, plugin, issuing).await;
    now
}

/// The next CAs issue, and everybody shows a certificate of theirs.
async fn issued_by(scope: &Scope, plugin: &str, next: &[Option<String>], renewed: &String) {
    assert_eq!(of_cas(scope, CERTIFICATE_KEY).await, next);
    another_certificate(scope, plugin, Some(renewed)).await;
    stir(scope, plugin, "issued").await;
    plugin_presents(scope, plugin, next[0].as_deref().expect("a CA")).await;
    gateways_present(scope, next[2].as_deref().expect("a CA")).await;
    newcomers_are_served(scope, plugin).await;
}

/// Whoever does not want to wait until the old certificates have ended takes the old CAs out.
async fn old_ones_taken_out(scope: &Scope, plugin: &str, first: &(String, String)) {
    patch_cas(scope, json!({"data": {OLD_CERTIFICATE_KEY: null}})).await;
    let believes_one = async || {
        let roots = text(scope, PLUGINS, &secret_of(plugin), kite_proto::CLIENTS_CA_FILE)
            .await
            .unwrap_or_default();
        if roots.matches("BEGIN").count() == 1 {
            Ok(())
        } else {
            Err(roots)
        }
    };
    eventually("the old CA is taken out everywhere", START, believes_one).await;
    stir(scope, plugin, "alone").await;
    eventually("the old certificate is refused", START, async || {
        match describe(scope, plugin, first).await {
            Ok(_) => Err(String::from("it is believed")),
            Err(_) => Ok(()),
        }
    })
    .await;
    let now = pair(scope, GATEWAY_CLIENT_SECRET).await;
    assert_eq!(describe(scope, plugin, &now).await, Ok(plugin.to_owned()));
    heed_serving_cas(scope, 1).await;
    newcomers_are_served(scope, plugin).await;
}

async fn rotated(scope: &Scope) {
    let plugin = scope.loaded_plugin("", |_| {}).await;
    let greetings: Greetings = [(1, "Hello, ")].into();
    let load = Load::start(scope, &plugin, greetings).await;
    used(&load, 1).await;
    let issuing = of_cas(scope, CERTIFICATE_KEY).await;
    let first = pair(scope, GATEWAY_CLIENT_SECRET).await;
    assert_eq!(describe(scope, &plugin, &first).await, Ok(plugin.clone()));

    patch_cas(scope, json!({"metadata": {"annotations": {ROTATE: "now"}}})).await;
    let next = eventually("each CA has a next one", START, async || {
        let next = of_cas(scope, NEXT_CERTIFICATE_KEY).await;
        if next.iter().all(Option::is_some) {
            Ok(next)
        } else {
            Err(format!("{next:?}"))
        }
    })
    .await;
    heed_serving_cas(scope, 2).await;
    stir(scope, &plugin, "told").await;
    let root = issuing[0].clone().expect("the CA of the plugins");
    let renewed = renewed_meanwhile(scope, &plugin, &root).await;
    used(&load, 1).await;
    newcomers_are_served(scope, &plugin).await;

    eventually("the next CAs issue", ROTATED, async || {
        let old = of_cas(scope, OLD_CERTIFICATE_KEY).await;
        let gateway = pair(scope, GATEWAY_CLIENT_SECRET).await;
        if old == issuing && gateway != first {
            Ok(())
        } else {
            Err(format!("{old:?}, and the gateway's certificate {}", gateway.0))
        }
    })
    .await;
    issued_by(scope, &plugin, &next, &renewed).await;
    used(&load, 1).await;
    let described = describe(scope, &plugin, &first).await;
    assert_eq!(described, Ok(plugin.clone()), "the old CA is believed still");
    old_ones_taken_out(scope, &plugin, &first).await;
    used(&load, 1).await;

    load.end().await.is_whole();
}

#[tokio::test]
async fn certificates_are_renewed_and_cas_rotated_and_no_request_is_lost() {
    scope("rotated", async |scope| {
        let short = SHORT.map(|(flag, value)| (flag, value.to_owned()));
        let before = tell_operator(&scope, &short).await;
        let outcome = AssertUnwindSafe(rotated(&scope)).catch_unwind().await;
        heed_serving_ca(&scope).await;
        tell_operator(&scope, &before).await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    })
    .await;
}
