//! Which endpoints of a plugin are used, and which are passed over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Instant,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use super::*;

/// How long an endpoint that could not be used is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(1);

impl Scene {
    /// The rogue is at `endpoints` from now on.
    fn place(&self, endpoints: &[SocketAddr]) {
        let table = table("rogue", endpoints, &DEFINITIONS);
        self.directory.0.store(table.into());
    }
}

/// Stands before a plugin, and sends whoever comes away until it is opened.
struct Door {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
    came: Arc<AtomicUsize>,
}

impl Door {
    /// A door that is shut, before the plugin at `plugin`.
    async fn before(plugin: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, came) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let door = Self {
            address,
            is_open: Arc::clone(&is_open),
            came: Arc::clone(&came),
        };
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                came.fetch_add(1, Ordering::SeqCst);
                if is_open.load(Ordering::SeqCst) {
                    tokio::spawn(async move {
                        let mut plugin = TcpStream::connect(plugin).await.unwrap();
                        // Either side may break it off.
                        let _ = copy_bidirectional(&mut caller, &mut plugin).await;
                    });
                }
            }
        });
        door
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }

    /// How many connections were made to it.
    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

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
    scene.place(&[nobody, scene.address]);
    for _ in 0..4 {
        assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    }
    scene.place(&[nobody]);
    assert_eq!(slug(&scene.get("rogue/seen").await), "no-endpoint");
}

#[tokio::test]
async fn an_endpoint_that_failed_is_left_alone_for_a_moment_and_used_again_after_it() {
    let scene = Scene::cold(PATIENT, by_exchange()).await;
    let door = Door::before(scene.address).await;
    scene.place(&[door.address]);
    let began = Instant::now();
    assert_eq!(slug(&scene.get("rogue/seen").await), "no-endpoint");
    assert_eq!(door.came(), 1);
    // From now on whoever comes there is let in: who is refused did not come.
    door.open();
    let again = async {
        loop {
            let answer = scene.get("rogue/seen").await;
            if answer.status == StatusCode::OK {
                break;
            }
            assert_eq!(
                (answer.status, slug(&answer).as_str()),
                (StatusCode::SERVICE_UNAVAILABLE, "no-endpoint")
            );
        }
    };
    timeout(LIMIT, again).await.expect("it is used again");
    assert!(began.elapsed() >= LEFT_ALONE, "{:?}", began.elapsed());
    assert_eq!(door.came(), 2);
}

#[tokio::test]
async fn an_endpoint_that_was_something_else_is_asked_again_after_a_moment_and_used_if_it_is_as_recorded() {
    let scene = Scene::cold(PATIENT, by_exchange()).await;
    let offers = |definitions: Bytes| *scene.rogue.definitions.lock().unwrap() = definitions;
    let described = || scene.rogue.described.load(Ordering::SeqCst);
    offers(Bytes::from_static(b"others"));
    let began = Instant::now();
    assert_eq!(slug(&scene.get("rogue/seen").await), "no-endpoint");
    assert_eq!(described(), 1);
    // From now on whoever asks it is answered as recorded: who is refused has not asked.
    offers(Bytes::copy_from_slice(&DEFINITIONS));
    let again = async {
        while scene.get("rogue/seen").await.status != StatusCode::OK {
            assert_eq!(described(), 1, "it is not asked so soon");
        }
    };
    timeout(LIMIT, again).await.expect("it is used again");
    assert!(began.elapsed() >= LEFT_ALONE, "{:?}", began.elapsed());
    assert_eq!(scene.get("rogue/seen").await.status, StatusCode::OK);
    assert_eq!(described(), 2, "asked again, and not for each request");
}

#[tokio::test]
async fn while_an_endpoint_is_left_alone_all_requests_go_to_another() {
    const ASKED: usize = 20;
    let scene = Scene::new().await;
    let (other, address) = Rogue::start(&scene.certificates).await;
    let door = Door::before(address).await;
    let ask = async || scene.get("rogue/status?204").await.status;
    scene.place(&[scene.address, door.address]);
    for _ in 0..ASKED {
        assert_eq!(ask().await, StatusCode::NO_CONTENT);
    }
    assert_eq!(door.came(), 1, "nobody tries it again so soon");
    assert_eq!(scene.rogue.begun.load(Ordering::SeqCst), ASKED);
    door.open();
    scene.place(&[door.address]);
    let again = async {
        while ask().await != StatusCode::NO_CONTENT {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, again).await.expect("it is used again");
    assert_eq!((door.came(), other.begun.load(Ordering::SeqCst)), (2, 1));
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
    // Connected to before: one that takes long to connect is passed over.
    scene.place(&[address]);
    assert_eq!(scene.get("rogue/status?204").await.status, StatusCode::NO_CONTENT);
    scene.place(&[scene.address, address]);
    assert_eq!(ask().await, [0, ASKED], "the first has {} under way", held.len());
    drop(held);
    let [first, second] = ask().await;
    assert!(
        first > 0 && second > 0,
        "those equally busy in turn: {first} and {second}"
    );
}
