//! What a caller has open ends with the session or token that it was opened with.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, Method, Request, Version, header::SET_COOKIE};
use http_body_util::BodyExt as _;
use kite_gateway::{account::Recorded, moment::Moment, pipeline::RequestBody};
use tokio::time::timeout;

use super::{
    LIMIT, Scene,
    gateway::request,
    records::picked,
    served::Served,
    socket::{Peer, closed, fields},
    socket_frames::{close, masked},
};

const SESSION: &str = "https://dashboard.example/api/v1/session";
const REASON: &str = "the session or token has ended";

/// A request without the token that others have.
fn with(mut request: Request<RequestBody>, fields: &[(&'static str, &str)]) -> Request<RequestBody> {
    request.headers_mut().remove("authorization");
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        request
            .headers_mut()
            .insert(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

/// A request about the session itself.
fn about(method: Method, fields: &[(&'static str, &str)], body: &'static str) -> Request<RequestBody> {
    let mut request = with(request(method, "", body), fields);
    *request.uri_mut() = SESSION.parse().unwrap();
    request
}

const PAGE: (&str, &str) = ("sec-fetch-site", "same-origin");

impl Scene {
    /// What a browser sends that has logged in.
    pub(crate) async fn log_in(&self) -> String {
        let login = about(
            Method::POST,
            &[PAGE, ("content-type", "application/json")],
            r#"{"token": "jane"}"#,
        );
        let answer = self.gateway.answer(login).await;
        assert_eq!(answer.status(), 201);
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Streams of events, of which the first has come: a plugin's own, and those of a tool.
    async fn events(&self, credential: (&'static str, &str)) -> Vec<Recorded> {
        let accept = ("accept", "text/event-stream");
        let mut open = Vec::new();
        for request in [
            request(Method::GET, "rogue/events", ""),
            request(Method::POST, "tools/plugin_rogue_begun", "{}"),
        ] {
            let answer = self.gateway.answer(with(request, &[PAGE, accept, credential])).await;
            assert_eq!(answer.status(), 200);
            let mut body = answer.into_body();
            assert!(timeout(LIMIT, body.frame()).await.unwrap().unwrap().is_ok());
            open.push(body);
        }
        open
    }

    /// Waits for their ends, which look like ends.
    async fn over(&self, open: Vec<Recorded>) {
        for mut body in open {
            let end = timeout(LIMIT, body.frame()).await.expect("it is over");
            assert!(end.is_none(), "{end:?}");
        }
        let log = self.records.log();
        let mut told: Vec<_> = log.iter().map(|line| picked(line, &["route", "end"])).collect();
        told.retain(|line| line.ends_with("closed"));
        told.sort();
        assert_eq!(told, ["plugin closed", "tool closed"]);
    }
}

/// A WebSocket of whoever has the credential.
async fn socket(served: &Served, credential: (&str, &str)) -> Peer {
    let mut peer = Peer(served.connection(Version::HTTP_11).await);
    let fields = fields("Authorization", &[credential, ("Sec-Fetch-Site", "same-origin")]);
    let (status, _) = peer.ask("/api/v1/plugins/rogue/socket", &fields).await;
    assert_eq!(status, 101);
    peer.send(&masked(0x81, b"before")).await;
    assert_eq!(peer.frame().await, Some((0x81, b"before".to_vec())));
    peer
}

/// The WebSocket is closed for what its caller's credential is, and what is said after that is heard by nobody.
async fn is_closed(served: &Served, mut peer: Peer) {
    assert_eq!(peer.frame().await, Some(closed(1008, REASON)));
    peer.send(&[masked(0x81, b"after"), close(1008, b"")].concat()).await;
    assert_eq!(peer.frame().await, None);
    let rogue = &served.scene.rogue;
    let (mut open, mut heard) = (rogue.open.subscribe(), rogue.heard.subscribe());
    timeout(LIMIT, heard.wait_for(|heard| heard.last().is_some_and(|last| last.end)))
        .await
        .expect("the plugin hears the end")
        .unwrap();
    let heard = heard
        .borrow()
        .iter()
        .any(|heard| heard.frame.as_ref().is_some_and(|frame| frame.data == "after"));
    assert!(!heard, "the plugin hears nothing after the end");
    timeout(LIMIT, open.wait_for(|open| *open == 0))
        .await
        .expect("the plugin is let go")
        .unwrap();
}

#[tokio::test]
async fn whoever_logs_out_has_nothing_open_any_more() {
    let served = Served::new().await;
    let scene = &served.scene;
    let (cookie, other) = (scene.log_in().await, scene.log_in().await);
    let of_other = scene.events(("cookie", &other)).await;
    let mut others = socket(&served, ("Cookie", &other)).await;
    let open = scene.events(("cookie", &cookie)).await;
    let peer = socket(&served, ("Cookie", &cookie)).await;
    let logout = about(Method::DELETE, &[PAGE, ("cookie", &cookie)], "");
    assert_eq!(scene.gateway.answer(logout).await.status(), 204);
    scene.over(open).await;
    // Another session goes on, of the same caller too.
    others.send(&masked(0x81, b"still")).await;
    assert_eq!(others.frame().await, Some((0x81, b"still".to_vec())));
    drop((of_other, others));
    is_closed(&served, peer).await;
}

#[tokio::test]
async fn a_token_that_has_ended_has_nothing_open_any_more() {
    let served = Served::new().await;
    let until = Moment::now().after(Duration::from_secs(6));
    let claims = format!(r#"{{"exp": {}}}"#, until.since(Moment::of(0)).as_secs());
    let token = format!("Bearer e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
    let open = served.scene.events(("authorization", &token)).await;
    let peer = socket(&served, ("Authorization", &token)).await;
    served.scene.over(open).await;
    is_closed(&served, peer).await;
    assert!(Moment::now() >= until);
}
