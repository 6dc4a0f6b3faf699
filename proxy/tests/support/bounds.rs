//! How much a client may ask of the listener, each bound by a client that asks for more.

use std::{sync::Arc, thread, time::Duration};

use http::{Method, Version};
use http_body_util::BodyExt as _;
use kite_gateway::{
    pipeline::Gateway,
    serve::{self, Limits, Room},
    upstream::Upstream,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime,
    sync::watch,
    time::timeout,
};

use super::{LIMIT, gateway::request, served::Served};

/// For a time that has to pass.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn who_says_nothing_in_the_handshake_makes_others_wait_and_no_longer_than_its_time() {
    let limits = Limits {
        handshakes: 2,
        handshake: SHORT,
        ..Limits::default()
    };
    let served = Served::limited(limits).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let began = std::time::Instant::now();
    let mut client = timeout(LIMIT, served.client(Version::HTTP_11))
        .await
        .expect("its turn comes");
    assert!(
        began.elapsed() >= SHORT,
        "it waited for those before it: {:?}",
        began.elapsed()
    );
    assert_eq!(client.get("/healthz").await.unwrap().status(), 200);
    for mut silent in silent {
        let read = timeout(LIMIT, silent.read(&mut [0])).await.expect("it is closed");
        assert!(read.is_err() || read.is_ok_and(|bytes| bytes == 0));
    }
}

#[tokio::test]
async fn beyond_the_most_connections_new_ones_wait_for_old_ones_to_end() {
    let limits = Limits {
        connections: 3,
        ..Limits::default()
    };
    let served = Served::limited(limits).await;
    let mut first = served.client(Version::HTTP_2).await;
    let second = served.client(Version::HTTP_11).await;
    let third = served.client(Version::HTTP_11).await;
    let mut waiting = std::pin::pin!(served.client(Version::HTTP_11));
    assert!(timeout(SHORT, waiting.as_mut()).await.is_err(), "there is no room");
    assert_eq!(first.get("/healthz").await.unwrap().status(), 200);
    drop(second);
    let mut fourth = timeout(LIMIT, waiting).await.expect("there is room again");
    assert_eq!(fourth.get("/healthz").await.unwrap().status(), 200);
    drop(third);
}

#[tokio::test]
async fn a_client_of_http_1_that_says_nothing_more_is_closed() {
    let limits = Limits {
        idle: SHORT,
        ..Limits::default()
    };
    let served = Served::limited(limits).await;
    for said in [
        "",
        "GET /healthz HT",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut tls = served.connection(Version::HTTP_11).await;
        tls.write_all(said.as_bytes()).await.unwrap();
        tls.flush().await.unwrap();
        let mut answers = Vec::new();
        let read = timeout(LIMIT, tls.read_to_end(&mut answers)).await;
        assert!(
            read.is_ok(),
            "{said:?} is not closed after {:?}",
            String::from_utf8_lossy(&answers)
        );
        assert_eq!(answers.starts_with(b"HTTP/1.1 200"), said.ends_with('\n'), "{said:?}");
    }
}

#[tokio::test]
async fn a_client_of_http_1_that_does_not_read_lets_the_plugin_go() {
    let limits = Limits {
        stalled: SHORT,
        ..Limits::default()
    };
    let served = Served::limited(limits).await;
    let mut open = served.scene.rogue.open.subscribe();
    let mut tls = served.connection(Version::HTTP_11).await;
    let get = "GET /api/v1/plugins/rogue/endless HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer jane\r\n\r\n";
    tls.write_all(get.as_bytes()).await.unwrap();
    tls.flush().await.unwrap();
    timeout(LIMIT, open.wait_for(|open| *open == 1)).await.unwrap().unwrap();
    let gone = timeout(LIMIT, open.wait_for(|open| *open == 0)).await;
    gone.expect("the plugin is let go").unwrap();
    drop(tls);
}

/// Serves with the gateway of `served`, on a thread of its own with connections of its own.
fn worker(served: &Served, listener: std::net::TcpListener, ended: watch::Receiver<bool>) -> thread::JoinHandle<()> {
    let mut gateway = Gateway::clone(&served.scene.gateway);
    gateway.upstream = Arc::new(Upstream::new(served.scene.certificates.client_dir.path().to_owned()));
    let (gateway, certificates) = (Arc::new(gateway), Arc::clone(&served.certificates));
    let mut ended = ended;
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let answer = move |request| {
                let gateway = Arc::clone(&gateway);
                async move { gateway.answer(request).await }
            };
            let ended = async {
                let _ = ended.wait_for(|ended| *ended).await;
            };
            let (listener, room) = (TcpListener::from_std(listener).unwrap(), Room::new(Limits::default()));
            serve::serve(listener, certificates, room, answer, ended, LIMIT).await;
        });
    })
}

#[tokio::test]
async fn all_threads_serve_and_end_with_their_last_request() {
    let mut served = Served::new().await;
    let listeners = serve::listeners(([127, 0, 0, 1], 0).into(), 2).unwrap();
    served.address = listeners[0].local_addr().unwrap();
    let end = watch::Sender::new(false);
    let workers: Vec<_> = listeners
        .into_iter()
        .map(|one| worker(&served, one, end.subscribe()))
        .collect();
    let described = || served.scene.rogue.described.load(std::sync::atomic::Ordering::SeqCst);
    let (before, mut clients) = (described(), Vec::new());
    // Each has a connection of its own to the plugin, on which it asks what the plugin is.
    while described() < before + 2 {
        let mut client = served.client(Version::HTTP_2).await;
        let answer = client.get("/api/v1/plugins/rogue/endless").await.unwrap();
        clients.push((client, answer.into_body()));
    }
    end.send_replace(true);
    for (_, body) in &mut clients {
        for _ in 0..100 {
            assert!(timeout(LIMIT, body.frame()).await.unwrap().unwrap().is_ok());
        }
    }
    assert!(workers.iter().all(|worker| !worker.is_finished()));
    drop(clients);
    let ended = tokio::task::spawn_blocking(|| workers.into_iter().all(|worker| worker.join().is_ok()));
    assert!(timeout(LIMIT, ended).await.expect("they end").unwrap());
    assert_eq!(
        served
            .scene
            .whole(request(Method::GET, "rogue/seen", ""))
            .await
            .unwrap()
            .status,
        200
    );
}
