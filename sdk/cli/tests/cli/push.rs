//! Images, sent to a registry.

use kite_plugin::image::{self, ImageSpec, Obstacle, PushError, PushOptions};

use crate::registry::{Registry, digest};

const PLAIN_HTTP: PushOptions = PushOptions { plain_http: true };

fn image(version: &str) -> image::Image {
    let spec = ImageSpec {
        binary: "/bin/sh".into(),
        entrypoint: ImageSpec::ENTRYPOINT.into(),
        title: "hello".to_owned(),
        version: version.to_owned(),
        ca_certificates: Some("/etc/passwd".into()),
    };
    image::build(&spec).unwrap()
}

#[tokio::test]
async fn an_image_is_sent_once() {
    let registry = Registry::start().await;
    let reference = registry.reference();
    let first = image("1");
    let sent = image::push(&first, &reference, PLAIN_HTTP).await.unwrap();
    assert_eq!(sent, *first.digest());
    assert_eq!(registry.content().manifests["1"], first.manifest);
    assert_eq!(digest(&first.manifest), sent.as_ref());
    assert_eq!(registry.content().uploads, 3);

    image::push(&first, &reference, PLAIN_HTTP).await.unwrap();
    assert_eq!(registry.content().uploads, 3);
    // Another version has the same layers.
    image::push(&image("2"), &reference, PLAIN_HTTP).await.unwrap();
    assert_eq!(registry.content().uploads, 4);
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_refused() {
    let registry = Registry::start().await;
    let mut spoilt = image("1");
    spoilt.layers[0].data = "other".into();
    let error = image::push(&spoilt, &registry.reference(), PLAIN_HTTP)
        .await
        .unwrap_err();
    assert!(matches!(error, PushError::SendBlob { .. }), "{error}");
    assert_eq!(error.obstacle(), Obstacle::Other);

    let mut incomplete = image("1");
    incomplete.layers.pop();
    let error = image::push(&incomplete, &registry.reference(), PLAIN_HTTP)
        .await
        .unwrap_err();
    assert!(matches!(error, PushError::SendManifest { .. }), "{error}");
    assert!(registry.content().manifests.is_empty());
}

#[tokio::test]
async fn a_registry_that_speaks_http_only_is_not_spoken_to_otherwise_unless_asked() {
    let registry = Registry::start().await;
    let error = image::push(&image("1"), &registry.reference(), PushOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, PushError::Ask { .. }), "{error}");
    assert_eq!(error.obstacle(), Obstacle::Connection);
    assert_eq!(registry.content().uploads, 0);
}
