//! Certificates that change while requests are under way.

use std::{fs, sync::atomic::Ordering, time::Duration};

use http::{Method, StatusCode, Version};
use kite_gateway::tls;
use rcgen::CertifiedKey;
use tokio::time::timeout;

use super::{LIMIT, Scene, gateway::request, served::Served};

/// How often files are looked at here.
const OFTEN: Duration = Duration::from_millis(10);

/// A new connection is one with the certificate that is expected.
async fn is_served(served: &Served) {
    let answer = served.client(Version::HTTP_11).await.get("/healthz").await;
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn new_connections_get_the_new_certificate_and_old_ones_stay() {
    let mut served = Served::new().await;
    let certificates = served.certificates.clone();
    let looking = tokio::spawn(async move { certificates.renew(OFTEN).await });
    let mut renewals = served.certificates.renewals();
    let mut old = served.client(Version::HTTP_2).await;
    assert_eq!(old.get("/healthz").await.unwrap().status(), 200);
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    // Between the two the pair does not fit, and nobody notices.
    fs::write(served.dir.path().join("tls.crt"), cert.pem()).unwrap();
    is_served(&served).await;
    fs::write(served.dir.path().join("tls.key"), signing_key.serialize_pem()).unwrap();
    timeout(LIMIT, renewals.changed())
        .await
        .expect("the new pair is used")
        .unwrap();
    served.certificate = cert.der().clone();
    is_served(&served).await;
    assert_eq!(old.get("/healthz").await.unwrap().status(), 200);
    looking.abort();
}

#[tokio::test]
async fn connections_to_plugins_are_renewed_and_what_is_under_way_goes_on() {
    let scene = Scene::new().await;
    let calling = tls::calling(scene.certificates.client_dir.path()).await.unwrap();
    let upstream = scene.gateway.upstream.clone();
    let changes = calling.renewals();
    let renewing = tokio::spawn(async move { upstream.renew(changes).await });
    let looking = tokio::spawn(async move { calling.renew(OFTEN).await });
    let endless = scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await;
    let described = || scene.rogue.described.load(Ordering::SeqCst);
    assert_eq!(described(), 1);

    scene.certificates.renew();
    let renewed = async {
        while described() < 2 {
            assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
        }
    };
    timeout(LIMIT, renewed).await.expect("there is a new connection");
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    let mut body = endless.into_body();
    for _ in 0..1000 {
        let frame = timeout(LIMIT, http_body_util::BodyExt::frame(&mut body)).await;
        assert!(
            frame.unwrap().unwrap().is_ok(),
            "the old connection is still there for it"
        );
    }
    assert_eq!(described(), 2, "one change, one new connection");
    renewing.abort();
    looking.abort();
}
