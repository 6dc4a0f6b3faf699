//! Cheap frames without end, of a caller and of a plugin: whoever sends them is cut off or held back, and others go on.

use std::time::Duration;

use http::{Method, StatusCode};
use kite_gateway::serve::Limits;
use tokio::{net::TcpListener, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    LIMIT, Scene,
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, Wire, block, frame, get,
    },
    gateway::{request, table},
    rogue::DEFINITIONS,
    served::Served,
};

/// Frames of a flood: none of the bounds allows so many.
const MANY: u32 = 20_000;
/// How long something has to be the case before it is cut off.
const SHORT: Duration = Duration::from_secs(1);

fn headers(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(path))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// Sends what `flood` makes, a thousand at a time, until the connection is closed; whether it was.
async fn is_cut_off(served: &Served, flood: impl Fn(u32) -> Vec<u8>) -> bool {
    let mut wire = Wire::open(served, &[]).await;
    for thousand in 0..MANY / 1000 {
        let frames: Vec<_> = (thousand * 1000..(thousand + 1) * 1000).flat_map(&flood).collect();
        if !wire.send(&frames).await {
            return true;
        }
        // What the gateway says meanwhile is read, so that nothing holds it back.
        while let Ok(next) = timeout(Duration::from_millis(1), wire.later()).await {
            match next {
                None | Some(Frame { kind: GOAWAY, .. }) => return true,
                Some(_) => {}
            }
        }
    }
    let end = async {
        loop {
            match wire.later().await {
                None | Some(Frame { kind: GOAWAY, .. }) => return true,
                Some(_) => {}
            }
        }
    };
    timeout(SHORT, end).await.unwrap_or(false)
}

/// Somebody else is served.
async fn others_go_on(served: &Served) {
    let mut client = served.client(http::Version::HTTP_2).await;
    let answer = timeout(LIMIT, client.get("/api/v1/plugins/rogue/seen")).await;
    assert_eq!(answer.expect("in time").unwrap().status(), 200);
}

#[tokio::test]
async fn http2_floods_of_resets_are_cut_off() {
    let served = Served::new().await;
    let stream = |number: u32| number * 2 + 1;
    let rapid = |number| [headers(stream(number), "never"), reset(stream(number))].concat();
    assert!(is_cut_off(&served, rapid).await, "rapid reset");
    others_go_on(&served).await;
    let seen = served.scene.rogue.asked.lock().unwrap().len();
    assert!(seen < 1500, "{seen} requests of {MANY} reached the plugin");
}

#[tokio::test]
async fn http2_floods_of_requests_that_are_taken_back_late_are_cut_off() {
    let served = Served::new().await;
    let mut wire = Wire::open(&served, &[]).await;
    // Each is looked at, and asked of the plugin perhaps, before it is taken back.
    for number in 0..MANY {
        let stream = number * 2 + 1;
        wire.send(&headers(stream, "never")).await;
        wire.send(&frame(PING, 0, 0, &[0; 8])).await;
        if wire.next_of(PING).await.is_none() || !wire.send(&reset(stream)).await {
            assert!((100..2000).contains(&number), "{number}");
            others_go_on(&served).await;
            return;
        }
    }
    panic!("nobody was cut off");
}

#[tokio::test]
async fn http2_floods_of_continuations_and_of_large_heads_are_cut_off() {
    let served = Served::new().await;
    let piece = block(&[("x-piece", "a".repeat(100))]);
    let endless = |number| match number {
        0 => frame(HEADERS, 0, 1, &get("seen")),
        _ => frame(CONTINUATION, 0, 1, &piece),
    };
    assert!(is_cut_off(&served, endless).await);
    let empty = |number| match number {
        0 => frame(HEADERS, 0, 1, &get("seen")),
        _ => frame(CONTINUATION, 0, 1, &[]),
    };
    assert!(is_cut_off(&served, empty).await);
    others_go_on(&served).await;
    assert_eq!(served.scene.rogue.asked.lock().unwrap().len(), 1, "that of the other");
}

#[tokio::test]
async fn http2_floods_of_pings_settings_and_empty_data_harm_nobody_else() {
    let served = Served::new().await;
    for flood in [
        |_| frame(PING, 0, 0, &[0; 8]),
        |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        |number| match number {
            0 => frame(HEADERS, END_HEADERS, 1, &get("seen")),
            _ => frame(DATA, 0, 1, &[]),
        },
        |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        |number| frame(2, 0, number * 2 + 1, &[0, 0, 0, 0, 1]),
    ] {
        is_cut_off(&served, flood).await;
        others_go_on(&served).await;
    }
}

#[tokio::test]
async fn http2_floods_of_streams_are_refused_beyond_the_bound() {
    let served = Served::new().await;
    let mut wire = Wire::open(&served, &[]).await;
    let settings = wire.next_of(SETTINGS).await.unwrap();
    let announced = settings.payload.chunks(6).find(|setting| setting[1] == 3).unwrap();
    assert_eq!(announced[2..], 256_u32.to_be_bytes());
    let bound = 256;
    for stream in 0..=bound {
        wire.send(&headers(stream * 2 + 1, "never")).await;
    }
    let mut last = bound;
    let refused = loop {
        let next = wire.next().await.expect("the connection stays");
        if next.kind == RST_STREAM {
            break next;
        }
        // On a machine that is too busy to connect to the plugin in time one of them is answered, and another has its place.
        if next.flags & END_STREAM != 0 && [HEADERS, DATA].contains(&next.kind) {
            last += 1;
            wire.send(&headers(last * 2 + 1, "never")).await;
        }
    };
    assert!((bound..=last).contains(&(refused.stream / 2)), "{}", refused.stream);
    assert_eq!(refused.payload, 7_u32.to_be_bytes());
}

#[tokio::test]
async fn http2_floods_of_answers_that_nobody_takes_let_the_plugin_go() {
    let limits = Limits {
        stalled: SHORT,
        ..Limits::default()
    };
    let served = Served::limited(limits).await;
    // Windows of nothing for each stream.
    let mut wire = Wire::open(&served, &[0, 4, 0, 0, 0, 0]).await;
    let mut open = served.scene.rogue.open.subscribe();
    for stream in 0..50 {
        wire.send(&headers(stream * 2 + 1, "endless")).await;
    }
    timeout(LIMIT, open.wait_for(|open| *open == 50))
        .await
        .unwrap()
        .unwrap();
    let mut reset = 0;
    while reset < 50 {
        reset += usize::from(wire.next().await.expect("the connection stays").kind == RST_STREAM);
    }
    timeout(LIMIT, open.wait_for(|open| *open == 0)).await.unwrap().unwrap();
    // One that waits for the plugin is not meant.
    wire.send(&frame(WINDOW_UPDATE, 0, 0, &100_u32.to_be_bytes())).await;
    others_go_on(&served).await;
}

#[tokio::test]
async fn http2_connections_without_streams_are_closed() {
    let limits = Limits {
        idle: SHORT,
        ..Limits::default()
    };
    let served = Served::limited(limits).await;
    let mut silent = Wire::open(&served, &[]).await;
    assert!(silent.next_of(GOAWAY).await.is_some());
    let mut pinging = Wire::open(&served, &[]).await;
    while pinging.send(&frame(PING, 0, 0, &[0; 8])).await {
        if pinging.next().await.is_none_or(|next| next.kind == GOAWAY) {
            break;
        }
    }
    // One that waits for its answer is not idle.
    let mut waiting = Wire::open(&served, &[]).await;
    waiting.send(&headers(1, "never")).await;
    let goes = async { while waiting.later().await.is_some_and(|next| next.kind != GOAWAY) {} };
    assert!(timeout(SHORT * 4, goes).await.is_err());
}

/// A plugin that has agreed on TLS, and then says what `says` makes of each frame that it gets.
pub(crate) async fn hostile(
    scene: &Scene,
    says: impl Fn(&Frame) -> Vec<u8> + Send + Sync + 'static,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(scene.certificates.server("rogue"));
    let says = std::sync::Arc::new(says);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, says) = (acceptor.clone(), says.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let mut wire = Wire(tls);
                if !wire.preface().await || !wire.send(&frame(SETTINGS, 0, 0, &[])).await {
                    return;
                }
                while let Some(next) = wire.later().await {
                    if next.kind == SETTINGS && next.flags & ACK == 0 {
                        wire.send(&frame(SETTINGS, ACK, 0, &[])).await;
                    }
                    if !wire.send(&says(&next)).await {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The gateway's only plugin does this; the request ends, and then another pod is asked in time.
async fn ends_for(says: impl Fn(&Frame) -> Vec<u8> + Send + Sync + 'static) {
    let scene = Scene::new().await;
    let address = hostile(&scene, says).await;
    let good = scene.address;
    scene.directory.0.store(table("rogue", &[address], &DEFINITIONS).into());
    let ended = timeout(LIMIT * 2, scene.get("rogue/seen"))
        .await
        .expect("the request ends");
    assert_eq!(ended.status, StatusCode::SERVICE_UNAVAILABLE);
    scene
        .directory
        .0
        .store(table("rogue", &[address, good], &DEFINITIONS).into());
    let answer = scene.whole(request(Method::GET, "rogue/seen", "")).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn http2_floods_of_a_plugin_end_with_its_connection() {
    let many = |one: Vec<u8>| one.repeat(2000);
    let piece = block(&[("x-piece", "a".repeat(100))]);
    // The answer to the question what it is begins, and has no end.
    let endless = many(frame(CONTINUATION, 0, 1, &piece));
    let large = [frame(HEADERS, 0, 1, &block(&[(":status", "200")])), endless].concat();
    ends_for(move |asked| if asked.kind == HEADERS { large.clone() } else { vec![] }).await;
    let pushed = many([frame(5, END_HEADERS, 1, &[0, 0, 0, 2]), frame(DATA, END_STREAM, 2, &[])].concat());
    ends_for(move |asked| if asked.kind == HEADERS { pushed.clone() } else { vec![] }).await;
    let resets = many(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    ends_for(move |asked| if asked.kind == HEADERS { resets.clone() } else { vec![] }).await;
    let windows = many(frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()));
    ends_for(move |asked| if asked.kind == HEADERS { windows.clone() } else { vec![] }).await;
}
