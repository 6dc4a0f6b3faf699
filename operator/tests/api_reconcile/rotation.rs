//! CAs and certificates on a real API server, with lives of seconds: renewed, rotated, spoilt and put back, by one process of the operator after
//! the other.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kite_api::{identity as names, labels};
use kite_operator::{
    Options,
    identity::{
        authority::{Authority, Purpose},
        keeper,
        lives::Lives,
    },
    metrics::Metrics,
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::support::{LIMIT, World, world};

/// So long may a side use what stood in its Secret before.
const SPREAD: Duration = Duration::from_secs(3);
const LIVES: Lives = Lives {
    certificate: Duration::from_secs(18),
    ca: Duration::from_hours(1),
    spread: SPREAD,
    serving_notice: SPREAD,
};
const CAS: [&str; 3] = [
    names::SERVERS_CA_SECRET,
    names::CLIENTS_CA_SECRET,
    names::SERVING_CA_SECRET,
];
const PLUGINS: [&str; 2] = ["one", "two"];

/// Namespaces of a test's own, with the Secrets of two plugins.
struct Place<'a> {
    world: &'a World,
    options: Options,
    system: Api<Secret>,
    plugins: Api<Secret>,
}

/// A process of the operator that keeps certificates, until this is dropped.
struct Running {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }
}

impl<'a> Place<'a> {
    async fn new(world: &'a World, name: &str) -> Self {
        let run = uuid::Uuid::new_v4().simple();
        let (system, plugins) = (format!("{name}-system-{run}"), format!("{name}-plugins-{run}"));
        world.make_namespace(&system).await;
        world.make_namespace(&plugins).await;
        let mut options = world.options_in(&system, &plugins);
        options.lives = LIVES;
        let place = Self {
            world,
            options,
            system: world.within(&system),
            plugins: world.within(&plugins),
        };
        for plugin in PLUGINS {
            let secret = json!({
                "metadata": {
                    "name": secret_of(plugin),
                    "labels": {labels::PLUGIN: plugin, labels::MANAGED_BY: labels::OPERATOR},
                },
                "type": "kubernetes.io/tls",
                "stringData": {"tls.crt": "", "tls.key": "", "others": "x"},
            });
            let secret = serde_json::from_value(secret).unwrap();
            place.plugins.create(&PostParams::default(), &secret).await.unwrap();
        }
        place
    }

    /// Lets a process of the operator run until what it brings and gives once is there.
    async fn establish(&self) {
        let (metrics, stop) = (Metrics::default(), CancellationToken::new());
        let keeper = keeper::establish(&self.world.client, &self.options, &metrics, &stop);
        let keeper = tokio::time::timeout(LIMIT, keeper).await;
        assert!(keeper.expect("in time").is_some());
    }

    fn start(&self) -> Running {
        let (client, options) = (self.world.client.clone(), self.options.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let metrics = Metrics::default();
            if let Some(keeper) = keeper::establish(&client, &options, &metrics, &stopped).await {
                keeper.keep(&stopped).await;
            }
        });
        Running {
            stop: stop.drop_guard(),
            task,
        }
    }

    async fn annotate(&self, secret: &str, annotations: Value) {
        let patch = json!({"metadata": {"annotations": annotations}});
        self.world.merge(&self.system, secret, patch).await;
    }

    /// A key of each of the CAs' Secrets, once all of them have it or have it not.
    async fn all(&self, key: &str, there: bool, during: &mut Sight) -> BTreeMap<&'static str, Option<String>> {
        self.until(&format!("{key} is there: {there}"), during, async || {
            let mut found = BTreeMap::new();
            for ca in CAS {
                let text = text_of(&self.system.get(ca).await.unwrap(), key);
                if text.is_some() != there {
                    return None;
                }
                found.insert(ca, text);
            }
            Some(found)
        })
        .await
    }

    /// What is asked for, once it is there; meanwhile everybody is believed.
    async fn until<T>(&self, what: &str, sight: &mut Sight, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let began = Instant::now();
        let mut turns = tokio::time::interval(Duration::from_millis(100));
        loop {
            turns.tick().await;
            sight.look(self).await;
            if let Some(found) = ask().await {
                return found;
            }
            assert!(began.elapsed() < LIMIT, "{what}: not in time");
        }
    }

    async fn remove(self) {
        let namespaces: Api<Namespace> = self.world.everywhere();
        for name in [&self.options.namespaces.system, &self.options.namespaces.plugins] {
            namespaces.delete(name, &DeleteParams::default()).await.unwrap();
        }
    }
}

fn secret_of(plugin: &str) -> String {
    format!("kite-plugin-{plugin}-tls")
}

fn text_of(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?.0.clone();
    Some(String::from_utf8(bytes).unwrap())
}

/// What certificates and CAs were there in the last moments, any of which may be used now.
#[derive(Default)]
struct Sight {
    /// Certificates, by the name that they are verified by or none, and when they were seen last.
    presented: HashMap<(Purpose, Option<String>, String), SystemTime>,
    believed: HashMap<(Purpose, String), SystemTime>,
    /// How many pairs were verified.
    verified: usize,
}

impl Sight {
    async fn look(&mut self, place: &Place<'_>) {
        let now = SystemTime::now();
        let gateway = place.system.get(names::GATEWAY_CLIENT_SECRET).await.unwrap();
        let serving = place.system.get(names::GATEWAY_SERVING_SECRET).await.unwrap();
        self.presents(Purpose::Clients, None, &gateway, now);
        self.believes(Purpose::Servers, &gateway, "ca.crt", now);
        self.presents(Purpose::Serving, Some(String::from("localhost")), &serving, now);
        self.believes(Purpose::Serving, &serving, "ca.crt", now);
        for plugin in PLUGINS {
            let secret = place.plugins.get(&secret_of(plugin)).await.unwrap();
            self.presents(Purpose::Servers, Some(kite_proto::server_name(plugin)), &secret, now);
            self.believes(Purpose::Clients, &secret, "clients-ca.crt", now);
            self.believes(Purpose::Serving, &secret, "gateway-ca.crt", now);
            assert_eq!(text_of(&secret, "others").as_deref(), Some("x"));
        }
        let recent = |seen: &SystemTime| now.duration_since(*seen).unwrap_or_default() <= SPREAD;
        self.presented.retain(|_, seen| recent(seen));
        self.believed.retain(|_, seen| recent(seen));
        self.all_are_believed();
    }

    fn presents(&mut self, purpose: Purpose, name: Option<String>, secret: &Secret, now: SystemTime) {
        let certificate = text_of(secret, "tls.crt").unwrap();
        self.presented.insert((purpose, name, certificate), now);
    }

    fn believes(&mut self, purpose: Purpose, secret: &Secret, key: &str, now: SystemTime) {
        self.believed.insert((purpose, text_of(secret, key).unwrap()), now);
    }

    fn all_are_believed(&mut self) {
        for ((purpose, name, certificate), seen) in &self.presented {
            for (of, roots) in self.believed.keys() {
                if of == purpose {
                    let verified = verify(certificate, name.as_deref(), roots, *seen);
                    assert!(verified.is_ok(), "{purpose:?} {name:?}: {verified:?}");
                    self.verified += 1;
                }
            }
        }
    }
}

/// Verifies as the other side does.
fn verify(certificate: &str, server: Option<&str>, roots: &str, now: SystemTime) -> Result<(), rustls::Error> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let store = Arc::new(store);
    if let Some(name) = server {
        let verifier = WebPkiServerVerifier::builder(store).build().unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier
            .verify_server_cert(&certificate, &[], &name, &[], now)
            .map(drop)
    } else {
        let verifier = WebPkiClientVerifier::builder(store).build().unwrap();
        verifier.verify_client_cert(&certificate, &[], now).map(drop)
    }
}

/// The gateway's client certificate.
async fn certificate(place: &Place<'_>) -> Option<String> {
    text_of(
        &place.system.get(names::GATEWAY_CLIENT_SECRET).await.unwrap(),
        "tls.crt",
    )
}

/// Now, if all certificates are of these CAs.
async fn all_issue(place: &Place<'_>, cas: &BTreeMap<&'static str, Option<String>>) -> Option<Instant> {
    let now = SystemTime::now();
    let is_of = |secret: &Secret, name: Option<&str>, ca: &str| {
        let root = cas.get(ca)?.clone()?;
        verify(&text_of(secret, "tls.crt")?, name, &root, now).ok()
    };
    let gateway = place.system.get(names::GATEWAY_CLIENT_SECRET).await.unwrap();
    let serving = place.system.get(names::GATEWAY_SERVING_SECRET).await.unwrap();
    is_of(&gateway, None, names::CLIENTS_CA_SECRET)?;
    is_of(&serving, Some("localhost"), names::SERVING_CA_SECRET)?;
    for plugin in PLUGINS {
        let secret = place.plugins.get(&secret_of(plugin)).await.unwrap();
        is_of(
            &secret,
            Some(&kite_proto::server_name(plugin)),
            names::SERVERS_CA_SECRET,
        )?;
    }
    Some(Instant::now())
}

#[test]
fn certificates_are_renewed_and_cas_rotated_and_everybody_is_believed_meanwhile() {
    world().run(async |w: &World| {
        let place = Place::new(w, "rotated").await;
        place.establish().await;
        let mut sight = Sight::default();
        let (issuing, first) = (place.all("tls.crt", true, &mut sight).await, certificate(&place).await);
        let running = place.start();
        let renewed = async || (certificate(&place).await != first).then_some(());
        place
            .until("the gateway's certificate is renewed", &mut sight, renewed)
            .await;
        assert_eq!(place.all("tls.crt", true, &mut sight).await, issuing, "by the same CAs");

        // Before the next ones are made.
        let asked = Instant::now();
        for ca in CAS {
            place.annotate(ca, json!({names::ROTATE: "now"})).await;
        }
        let next = place.all("next.crt", true, &mut sight).await;
        assert_eq!(place.all("old.crt", true, &mut sight).await, issuing);
        assert!(asked.elapsed() >= SPREAD, "{:?}", asked.elapsed());
        assert_eq!(place.all("tls.crt", true, &mut sight).await, next);
        place.all("next.crt", false, &mut sight).await;
        for ca in CAS {
            let secret = place.system.get(ca).await.unwrap();
            let annotations = secret.metadata.annotations.unwrap();
            assert!(!annotations.contains_key(names::ROTATE), "{annotations:?}");
        }
        let of_the_new = async || all_issue(&place, &next).await;
        let issued = place.until("the new CAs have issued", &mut sight, of_the_new).await;
        let read = async || (issued.elapsed() > 2 * SPREAD).then_some(());
        place.until("everybody has read that", &mut sight, read).await;

        // As if the last certificate of the old CA had ended.
        for ca in CAS {
            place
                .annotate(ca, json!({names::OLD_UNTIL: "2020-01-01T00:00:00Z"}))
                .await;
        }
        place.all("old.crt", false, &mut sight).await;
        let alone = async || {
            let one = place.plugins.get(&secret_of("one")).await.unwrap();
            (text_of(&one, "clients-ca.crt")?.matches("BEGIN").count() == 1).then_some(())
        };
        place.until("nobody believes the old CA", &mut sight, alone).await;
        assert!(sight.verified > 100, "{}", sight.verified);
        let told = w
            .events_in(&place.options.namespaces.system, names::SERVERS_CA_SECRET, 3)
            .await;
        let reasons: Vec<&str> = told.iter().map(|(reason, _)| reason.as_str()).collect();
        assert_eq!(reasons, ["RotationBegun", "CaTookOver", "OldCaDropped"], "{told:#?}");
        running.stop().await;
        place.remove().await;
    });
}

#[test]
fn a_rotation_goes_on_where_another_process_of_the_operator_left_it() {
    world().run(async |w: &World| {
        let place = Place::new(w, "handed").await;
        place.establish().await;
        let mut sight = Sight::default();
        let issuing = place.all("tls.crt", true, &mut sight).await;
        for ca in CAS {
            place.annotate(ca, json!({names::ROTATE: ""})).await;
        }
        // Each does what is due when it starts, and nothing more.
        let began = Instant::now();
        while text_of(&place.system.get(names::SERVING_CA_SECRET).await.unwrap(), "old.crt").is_none() {
            assert!(began.elapsed() < LIMIT, "it comes to its end");
            place.establish().await;
            sight.look(&place).await;
        }
        assert!(began.elapsed() >= SPREAD, "{:?}", began.elapsed());
        place.establish().await;
        assert_eq!(place.all("old.crt", true, &mut sight).await, issuing);

        // A second one waits for the first, unless the old CA is taken out.
        place
            .annotate(names::CLIENTS_CA_SECRET, json!({names::ROTATE: ""}))
            .await;
        place.establish().await;
        let told = w
            .events_in(&place.options.namespaces.system, names::CLIENTS_CA_SECRET, 3)
            .await;
        assert_eq!(told.last().unwrap().0, "RotationWaits", "{told:#?}");
        let without = json!({"data": {"old.crt": null}});
        w.merge(&place.system, names::CLIENTS_CA_SECRET, without).await;
        place.establish().await;
        let secret = place.system.get(names::CLIENTS_CA_SECRET).await.unwrap();
        assert!(text_of(&secret, "next.crt").is_some());
        place.remove().await;
    });
}

#[test]
fn a_ca_that_is_spoilt_or_deleted_is_put_back_and_one_that_is_brought_becomes_the_next() {
    world().run(async |w: &World| {
        let place = Place::new(w, "spoilt").await;
        let system = place.options.namespaces.system.clone();
        place.establish().await;
        let good = place.system.get(names::CLIENTS_CA_SECRET).await.unwrap();
        let (crt, key) = (text_of(&good, "tls.crt").unwrap(), text_of(&good, "tls.key").unwrap());
        let garbage = json!({"data": null, "stringData": {"tls.crt": "garbage", "tls.key": key}});

        // Nobody knows it any more: it is told, and left as it is.
        w.merge(&place.system, names::CLIENTS_CA_SECRET, garbage.clone()).await;
        let running = place.start();
        let told = w.events_in(&system, names::CLIENTS_CA_SECRET, 1).await;
        assert_eq!(told[0].0, "CaUnusable", "{told:?}");
        assert!(told[0].1.contains("it is not replaced"), "{told:?}");
        let spoilt = place.system.get(names::CLIENTS_CA_SECRET).await.unwrap();
        assert_eq!(text_of(&spoilt, "tls.crt").as_deref(), Some("garbage"));
        let mended = json!({"stringData": {"tls.crt": crt}});
        w.merge(&place.system, names::CLIENTS_CA_SECRET, mended).await;
        // It is known once the plugins' Secrets are looked at again.
        let empty = json!({"data": {"clients-ca.crt": null}});
        w.merge(&place.plugins, &secret_of("one"), empty).await;
        let is_back = |secret: &Secret| text_of(secret, "clients-ca.crt").is_some();
        w.seen(&place.plugins, &secret_of("one"), is_back).await;

        let is_good = |secret: &Secret| text_of(secret, "tls.crt").as_ref() == Some(&crt);
        w.merge(&place.system, names::CLIENTS_CA_SECRET, garbage).await;
        w.seen(&place.system, names::CLIENTS_CA_SECRET, is_good).await;
        place
            .system
            .delete(names::CLIENTS_CA_SECRET, &DeleteParams::default())
            .await
            .unwrap();
        w.seen(&place.system, names::CLIENTS_CA_SECRET, is_good).await;

        let brought = Authority::create(Purpose::Clients, Duration::from_hours(9), SystemTime::now()).unwrap();
        let other = json!({"stringData": {"tls.crt": brought.certificate(), "tls.key": brought.certified().key}});
        w.merge(&place.system, names::CLIENTS_CA_SECRET, other).await;
        let is_next = |secret: &Secret| {
            let next = text_of(secret, "next.crt");
            next.as_deref() == Some(brought.certificate()) && is_good(secret)
        };
        w.seen(&place.system, names::CLIENTS_CA_SECRET, is_next).await;
        let issues = |secret: &Secret| text_of(secret, "tls.crt").as_deref() == Some(brought.certificate());
        w.seen(&place.system, names::CLIENTS_CA_SECRET, issues).await;
        running.stop().await;
        place.remove().await;
    });
}
