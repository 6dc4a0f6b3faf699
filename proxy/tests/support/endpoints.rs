//! Which endpoints of a plugin are used, and which are passed over.

use super::*;

#[tokio::test]
async fn tool_poisoning_only_an_endpoint_with_the_recorded_definitions_is_used() {
    let scene = Scene::cold(PATIENT, by_exchange()).await;
    let record = |definitions: &[u8]| {
        scene
            .directory
            .0
            .store(table("rogue", &[scene.address], definitions).into());
    };
    record(b"others");
    let answer = scene.get("rogue/seen").await;
    assert_eq!(
        (answer.status, slug(&answer).as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "no-endpoint")
    );
    assert_eq!(answer.headers["retry-after"], "1");
    record(&DEFINITIONS);
    for _ in 0..3 {
        assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
        assert_eq!(
            scene.tool("greet", "{}").await.status,
            StatusCode::OK,
            "its tools are read"
        );
    }
    record(b"others again");
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        scene.rogue.described.load(Ordering::SeqCst),
        3,
        "asked when it connected, and each time when the record changed"
    );
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_used_is_passed_over() {
    let scene = Scene::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    scene
        .directory
        .0
        .store(table("rogue", &[nobody, scene.address], &DEFINITIONS).into());
    for _ in 0..4 {
        assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    }
    scene.directory.0.store(table("rogue", &[nobody], &DEFINITIONS).into());
    assert_eq!(slug(&scene.get("rogue/seen").await), "no-endpoint");
}

#[tokio::test]
async fn ssrf_a_plugin_with_the_certificate_of_another_is_not_believed() {
    let scene = Scene::cold(PATIENT, by_exchange()).await;
    scene
        .directory
        .0
        .store(table("other", &[scene.address], &DEFINITIONS).into());
    assert_eq!(slug(&scene.get("other/seen").await), "no-endpoint");
    assert_eq!(scene.rogue.described.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_connected_anew_when_it_returns() {
    let scene = Scene::cold(PATIENT, by_exchange()).await;
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    scene.gateway.upstream.keep_only(&table("rogue", &[], &DEFINITIONS));
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    assert_eq!(scene.rogue.described.load(Ordering::SeqCst), 2);
    scene
        .gateway
        .upstream
        .keep_only(&table("rogue", &[scene.address], &DEFINITIONS));
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    assert_eq!(scene.rogue.described.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_endpoint_with_the_fewest_requests_under_way_is_asked() {
    const ASKED: usize = 6;
    let scene = Scene::new().await;
    let (other, address) = Rogue::start(&scene.certificates).await;
    let begun = || [&scene.rogue, &other].map(|rogue| rogue.begun.load(Ordering::SeqCst));
    let ask = async || {
        let before = begun();
        for _ in 0..ASKED {
            assert_eq!(scene.get("rogue/status?204").await.status, StatusCode::NO_CONTENT);
        }
        let after = begun();
        [after[0] - before[0], after[1] - before[1]]
    };
    let held = [
        scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await,
        scene.gateway.answer(request(Method::GET, "rogue/endless", "")).await,
    ];
    let place = |endpoints: &[SocketAddr]| {
        let table = table("rogue", endpoints, &DEFINITIONS);
        scene.directory.0.store(table.into());
    };
    // Connected to before: one that takes long to connect is passed over.
    place(&[address]);
    assert_eq!(scene.get("rogue/status?204").await.status, StatusCode::NO_CONTENT);
    place(&[scene.address, address]);
    assert_eq!(ask().await, [0, ASKED], "the first has {} under way", held.len());
    drop(held);
    let [first, second] = ask().await;
    assert!(
        first > 0 && second > 0,
        "those equally busy in turn: {first} and {second}"
    );
}
