//! Who is believed by which certificate, in a handshake and after it.

use std::{fs, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::{
    ClientConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::{
    pipeline::{RequestBody, full},
    serve::{Limits, Room, serve},
    tls,
};

/// A CA for callers, one for proxies, and one of somebody else's.
pub(crate) struct World {
    dir: TempDir,
    people: CertifiedIssuer<'static, KeyPair>,
    proxies: CertifiedIssuer<'static, KeyPair>,
    others: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn ca(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issued(ca: &CertifiedIssuer<'static, KeyPair>, name: &str, spoil: impl FnOnce(&mut CertificateParams)) -> Issued {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "dev");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    spoil(&mut params);
    let key = KeyPair::generate().unwrap();
    let chain = vec![params.signed_by(&key, ca).unwrap().der().clone()];
    Issued { chain, key }
}

impl World {
    pub(crate) fn new() -> Self {
        let (people, proxies, others) = (ca("people"), ca("proxies"), ca("others"));
        let dir = tempfile::tempdir().unwrap();
        let both = format!("{}{}", people.pem(), proxies.pem());
        for (file, text) in [("people", people.pem()), ("proxies", proxies.pem()), ("both", both)] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(dir.path().join("tls.crt"), server.cert.pem()).unwrap();
        fs::write(dir.path().join("tls.key"), server.signing_key.serialize_pem()).unwrap();
        Self {
            dir,
            people,
            proxies,
            others,
        }
    }

    fn load(&self, people: Option<&str>, proxies: Option<&str>) -> Result<Authorities, AuthoritiesError> {
        let path = |file: Option<&str>| file.map(|file| self.dir.path().join(file));
        let names = ["front".to_owned()];
        Authorities::load(path(people).as_deref(), path(proxies).as_deref(), &names)
    }

    pub(crate) fn authorities(&self) -> Authorities {
        self.load(Some("people"), Some("proxies")).unwrap()
    }

    pub(crate) fn person(&self, name: &str) -> Issued {
        issued(&self.people, name, |_| ())
    }

    pub(crate) fn proxy(&self, name: &str) -> Issued {
        issued(&self.proxies, name, |_| ())
    }

    fn client(&self, shown: Option<&Issued>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(self.dir.path().join("tls.crt")).unwrap();
        roots.add(root).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match shown {
            None => builder.with_no_client_auth(),
            Some(Issued { chain, key }) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(chain.clone(), key).unwrap()
            }
        }
    }

    /// Who the server takes the client for that shows this certificate; nothing if it breaks off.
    async fn shake_hands(&self, authorities: &Authorities, shown: Option<&Issued>) -> Option<Certified> {
        let server = tls::serving(self.dir.path(), authorities.verifier())
            .await
            .unwrap()
            .current();
        let client = self.client(shown);
        let (near, far) = tokio::io::duplex(64 * 1024);
        let name = "localhost".try_into().unwrap();
        let connect = TlsConnector::from(Arc::new(client)).connect(name, near);
        let (_client, server) = tokio::join!(connect, TlsAcceptor::from(server).accept(far));
        let server = server.ok()?;
        let address = "192.0.2.1:1000".parse().unwrap();
        let peer = Peer::new(address, server.get_ref().1.peer_certificates());
        Some(authorities.who(&peer, Moment::now()))
    }
}

fn name(certified: Option<Certified>) -> Option<String> {
    match certified? {
        Certified::Nobody => Some("nobody".to_owned()),
        Certified::Person { caller, .. } => Some(format!("{} {}", caller.name(), caller.groups().join(" "))),
        Certified::Proxy { .. } => Some("a proxy".to_owned()),
        Certified::Unlisted => Some("unlisted".to_owned()),
    }
}

#[tokio::test]
async fn each_is_known_by_a_certificate_of_the_right_ca_and_others_break_off() {
    let world = World::new();
    let authorities = world.authorities();
    let past = issued(&world.people, "jane", |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    });
    let early = issued(&world.people, "jane", |params| {
        params.not_before = date_time_ymd(4000, 1, 1);
    });
    let server = issued(&world.people, "jane", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (shown, expected) in [
        (None, Some("nobody")),
        (Some(world.person("jane")), Some("jane dev system:authenticated")),
        (Some(world.person("front")), Some("front dev system:authenticated")),
        (Some(world.proxy("front")), Some("a proxy")),
        (Some(world.proxy("back")), Some("unlisted")),
        (Some(issued(&world.others, "jane", |_| ())), None),
        (Some(past), None),
        (Some(early), None),
        (Some(server), None),
    ] {
        let who = world.shake_hands(&authorities, shown.as_ref()).await;
        assert_eq!(name(who).as_deref(), expected);
    }
}

#[tokio::test]
async fn without_a_ca_no_certificate_is_asked_for() {
    let world = World::new();
    let person = world.person("jane");
    let who = world.shake_hands(&Authorities::default(), Some(&person)).await;
    assert_eq!(name(who).as_deref(), Some("nobody"));
    let only_people = world.load(Some("people"), None).unwrap();
    let proxy = world.proxy("front");
    assert_eq!(world.shake_hands(&only_people, Some(&proxy)).await, None);
}

#[test]
fn a_certificate_that_ends_on_an_open_connection_is_nobodys() {
    let world = World::new();
    let authorities = world.authorities();
    for issued in [world.person("jane"), world.proxy("front")] {
        let peer = Peer::new("192.0.2.1:1000".parse().unwrap(), Some(&issued.chain));
        let (Certified::Person { until, .. } | Certified::Proxy { until }) = authorities.who(&peer, Moment::now())
        else {
            panic!("nobody");
        };
        assert_eq!(authorities.who(&peer, until), Certified::Nobody);
    }
}

#[test]
fn a_ca_is_refused_for_each_of_its_reasons() {
    let world = World::new();
    let path = |file: &str| world.dir.path().join(file);
    fs::write(path("empty"), "").unwrap();
    fs::write(
        path("junk"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let load = |people, proxies| world.load(people, proxies).unwrap_err();
    assert!(matches!(load(Some("nowhere"), None), AuthoritiesError::Read { .. }));
    assert!(matches!(load(None, Some("empty")), AuthoritiesError::Empty { .. }));
    assert!(matches!(load(Some("junk"), None), AuthoritiesError::Use { .. }));
    // Whoever has a certificate of their own could say to be anybody.
    for (people, proxies) in [("people", "people"), ("both", "proxies"), ("people", "both")] {
        let error = load(Some(people), Some(proxies));
        assert!(matches!(error, AuthoritiesError::Shared { .. }), "{people} {proxies}");
    }
}

/// Another certificate of the proxies' CA.
fn twin(world: &World, name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(2040, 1, 1);
    params.self_signed(world.proxies.key()).unwrap().pem()
}

#[test]
fn identity_headers_a_ca_is_the_same_by_its_key_and_not_by_its_certificate() {
    let world = World::new();
    let file = world.dir.path().join("people");
    for name in ["proxies", "people"] {
        let authorities = world.authorities();
        let before = fs::read(&file).unwrap();
        fs::write(&file, twin(&world, name)).unwrap();
        assert!(
            matches!(authorities.reload(), Err(AuthoritiesError::Shared { .. })),
            "{name}"
        );
        let loaded = world.load(Some("people"), Some("proxies"));
        assert!(matches!(loaded, Err(AuthoritiesError::Shared { .. })), "{name}");
        fs::write(&file, before).unwrap();
    }
}

#[tokio::test]
async fn a_ca_that_has_changed_holds_on_open_connections_too() {
    let world = World::new();
    let authorities = world.authorities();
    let jane = world.person("jane");
    let peer = Peer::new("192.0.2.1:1000".parse().unwrap(), Some(&jane.chain));
    let who = || name(Some(authorities.who(&peer, Moment::now()))).unwrap();
    assert!(who().starts_with("jane"));
    assert!(!authorities.reload().unwrap(), "nothing has changed");

    let file = world.dir.path().join("people");
    fs::write(&file, "junk").unwrap();
    assert!(authorities.reload().is_err());
    assert!(who().starts_with("jane"), "it stays as it was");
    fs::copy(world.dir.path().join("proxies"), &file).unwrap();
    assert!(matches!(authorities.reload(), Err(AuthoritiesError::Shared { .. })));

    fs::write(&file, world.others.pem()).unwrap();
    assert!(authorities.reload().unwrap());
    assert_eq!(who(), "nobody");
    assert_eq!(world.shake_hands(&authorities, Some(&jane)).await, None);
    let other = issued(&world.others, "ann", |_| ());
    let who = world.shake_hands(&authorities, Some(&other)).await;
    assert_eq!(name(who).as_deref(), Some("ann dev system:authenticated"));
}

#[tokio::test]
async fn each_request_of_a_connection_goes_with_who_has_made_it() {
    let world = World::new();
    let authorities = world.authorities();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let certificates = tls::serving(world.dir.path(), authorities.verifier()).await.unwrap();
    let answer = move |request: Request<RequestBody>| {
        let peer = request.extensions().get::<Peer>().unwrap();
        let who = name(Some(authorities.who(peer, Moment::now()))).unwrap();
        let text = format!("{who} at {}", peer.address());
        async move { Response::new(full(text)) }
    };
    let (end, ended) = oneshot::channel::<()>();
    let ended = async { ended.await.unwrap_or_default() };
    let (room, grace) = (Room::new(Limits::default()), Duration::from_secs(10));
    let task = tokio::spawn(serve(listener, Arc::new(certificates), room, answer, ended, grace));
    for (shown, expected) in [
        (None, "nobody at 127.0.0.1"),
        (Some(world.person("jane")), "jane dev system:authenticated at 127.0.0.1"),
        (Some(world.proxy("front")), "a proxy at 127.0.0.1"),
    ] {
        let tcp = TcpStream::connect(address).await.unwrap();
        let client = TlsConnector::from(Arc::new(world.client(shown.as_ref())));
        let tls = client.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..2 {
            let request = Request::builder()
                .header("host", "localhost")
                .body(Empty::<Bytes>::new())
                .unwrap();
            let answer = client.send_request(request).await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, expected);
        }
    }
    drop(end);
    task.await.unwrap();
}
