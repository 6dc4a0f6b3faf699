//! Gateways that write to one Secret at once, and an API server that refuses or is gone. It is one in memory, which has conflicts when a test
//! wants them.

use std::{collections::VecDeque, convert::Infallible};

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::{pipeline::authenticate::BearerToken, session::Sessions};

const LONGEST: Duration = Duration::from_hours(12);
const NOW: Moment = Moment::of(1_700_000_000);

/// An API server with one Secret.
#[derive(Clone)]
struct Api(Arc<Mutex<Stored>>);

struct Stored {
    secret: Value,
    version: u64,
    /// What is answered to writes before any is taken.
    refusals: VecDeque<u16>,
    writes: usize,
    is_down: bool,
}

impl Api {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Stored {
            secret: json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}}),
            version: 1,
            refusals: VecDeque::new(),
            writes: 0,
            is_down: false,
        })))
    }

    fn stored(&self) -> std::sync::MutexGuard<'_, Stored> {
        self.0.lock().unwrap()
    }

    fn shared(&self) -> Shared {
        let stored = self.stored();
        let secret: Secret = serde_json::from_value(stored.secret.clone()).unwrap();
        let data = secret.data.unwrap_or_default();
        Shared::parse(data.get(KEY).map_or(&[], |text| &text.0)).unwrap()
    }

    fn set(&self, text: &[u8]) {
        let data = BTreeMap::from([(KEY, ByteString(text.to_vec()))]);
        self.stored().secret["data"] = serde_json::to_value(data).unwrap();
    }

    fn answer(&self, method: &Method, body: &[u8]) -> (u16, Value) {
        let mut stored = self.stored();
        let refused = |code: u16| {
            (
                code,
                json!({"kind": "Status", "status": "Failure", "code": code, "reason": "x", "message": "x"}),
            )
        };
        if stored.is_down {
            return refused(500);
        }
        if *method == Method::PUT {
            stored.writes += 1;
            let written: Value = serde_json::from_slice(body).unwrap();
            let version = written["metadata"]["resourceVersion"].clone();
            let current = stored.version.to_string();
            if let Some(code) = stored.refusals.pop_front() {
                // Somebody else has written.
                stored.version += 1;
                return refused(code);
            }
            if version != current {
                return refused(409);
            }
            stored.secret = written;
            stored.version += 1;
        }
        let version = stored.version.to_string();
        stored.secret["metadata"]["resourceVersion"] = version.into();
        (200, stored.secret.clone())
    }

    /// What one gateway knows of it.
    fn gateway(&self) -> SharedSessions {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (status, answer) = api.answer(&parts.method, &body);
                let answer = Full::from(serde_json::to_vec(&answer).unwrap());
                let response = Response::builder()
                    .status(status)
                    .header("content-type", "application/json")
                    .body(answer);
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        SharedSessions::new(Client::new(service, "default"), "kite-system", LONGEST)
    }
}

fn session(sessions: &SharedSessions) -> Session {
    all(sessions).begin(BearerToken::parse("t").unwrap(), Moment::now())
}

fn all(shared: &SharedSessions) -> Sessions {
    let lasting = crate::session::Lasting {
        idle: LONGEST,
        longest: LONGEST,
        outage: LONGEST,
    };
    Sessions::new(shared.latest(), shared.clone(), lasting, "/".to_owned())
}

#[tokio::test]
async fn of_several_gateways_one_makes_the_key_and_all_have_it() {
    let api = Api::new();
    let gateways: Vec<_> = (0..5).map(|_| api.gateway()).collect();
    let looks = gateways.iter().map(|gateway| gateway.look(NOW));
    for looked in futures::future::join_all(looks).await {
        looked.unwrap();
    }
    assert_eq!(api.shared().keys().len(), 1);
    let writes = api.stored().writes;
    for gateway in &gateways {
        gateway.look(NOW).await.unwrap();
    }
    assert_eq!(api.stored().writes, writes, "steady state writes nothing");
    gateways[0].look(NOW.after(LONGEST)).await.unwrap();
    assert_eq!(api.shared().keys().len(), 2);
}

#[tokio::test]
async fn a_conflict_over_a_key_leaves_it_to_the_other() {
    let api = Api::new();
    api.stored().refusals = [409].into();
    let gateway = api.gateway();
    gateway.look(NOW).await.unwrap();
    assert_eq!(api.shared().keys().len(), 0);
    gateway.look(NOW).await.unwrap();
    assert_eq!(api.shared().keys().len(), 1);
}

#[tokio::test]
async fn an_end_is_written_whoever_else_writes() {
    let api = Api::new();
    let (one, other) = (api.gateway(), api.gateway());
    one.look(NOW).await.unwrap();
    let sessions: Vec<_> = (0..10).map(|_| session(&one)).collect();
    api.stored().refusals = [409, 409, 409].into();
    let ends = sessions.iter().enumerate().map(|(n, session)| {
        if n % 2 == 0 {
            one.end(session)
        } else {
            other.end(session)
        }
    });
    for end in ends {
        end.await.unwrap();
    }
    let shared = api.shared();
    assert!(sessions.iter().all(|session| shared.has_ended(session)));
    assert_eq!(shared.keys().len(), 1, "the key stays");
}

#[tokio::test]
async fn an_end_that_cannot_be_written_fails() {
    let api = Api::new();
    let gateway = api.gateway();
    gateway.look(NOW).await.unwrap();
    let session = session(&gateway);
    for refusals in [vec![403], vec![500], vec![409; 2 * TRIES]] {
        api.stored().refusals = refusals.clone().into();
        assert!(gateway.end(&session).await.is_err(), "{refusals:?}");
        assert!(!api.shared().has_ended(&session));
    }
    api.stored().refusals.clear();
    api.stored().is_down = true;
    assert!(gateway.end(&session).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_read_is_not_written_over() {
    let api = Api::new();
    let gateway = api.gateway();
    gateway.look(NOW).await.unwrap();
    for text in [b"junk".as_slice(), b"{\"keys\": 1}"] {
        api.set(text);
        let writes = api.stored().writes;
        assert!(matches!(gateway.look(NOW).await, Err(SharedError::Parse(_))));
        assert_eq!(api.stored().writes, writes);
    }
}

#[tokio::test]
async fn what_was_read_before_an_end_does_not_hide_it() {
    let api = Api::new();
    let gateway = api.gateway();
    gateway.look(NOW).await.unwrap();
    let session = session(&gateway);
    let headers = all(&gateway)
        .give(&session, Moment::now(), &http::HeaderMap::new())
        .unwrap();
    let pair = headers[0].to_str().unwrap().split(';').next().unwrap();
    let sent = http::HeaderMap::from_iter([(http::header::COOKIE, pair.parse().unwrap())]);
    assert!(all(&gateway).find(&sent, Moment::now()).is_ok());
    let before = Known::of(api.shared(), Instant::now());
    gateway.end(&session).await.unwrap();
    gateway.tell(before);
    assert!(all(&gateway).find(&sent, Moment::now()).is_err());
}
