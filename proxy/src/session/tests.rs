//! Sessions from their beginning to each of their ends, by a clock that the test holds.

use std::sync::Mutex;

use futures::FutureExt as _;
use http::header;
use tokio::time::timeout;

use super::{shared::SharedKey, *};

const NOW: Moment = Moment::of(1_700_000_000);
const MINUTE: Duration = Duration::from_mins(1);
const LASTING: Lasting = Lasting {
    idle: Duration::from_mins(30),
    longest: Duration::from_hours(12),
    outage: MINUTE,
};

/// Records at once what ends, or cannot.
#[derive(Clone)]
pub(crate) struct Memory {
    latest: Latest,
    shared: Arc<Mutex<Shared>>,
    broken: bool,
}

impl Memory {
    pub(crate) fn new(now: Moment) -> Self {
        let shared = Shared::default().with_key(SharedKey::random(now).unwrap(), LASTING.longest, now);
        let memory = Self {
            latest: Latest::default(),
            shared: Arc::new(Mutex::new(shared)),
            broken: false,
        };
        memory.tell(Instant::now());
        memory
    }

    pub(crate) fn broken(self) -> Self {
        Self { broken: true, ..self }
    }

    /// What one gateway of several makes of it.
    pub(crate) fn sessions(&self, path: &str) -> Sessions {
        Sessions::new(self.latest.clone(), self.clone(), LASTING, path.to_owned())
    }

    fn change(&self, change: impl FnOnce(&Shared) -> Shared) {
        let mut shared = self.shared.lock().unwrap();
        *shared = change(&shared);
        drop(shared);
        self.tell(Instant::now());
    }

    fn tell(&self, asked: Instant) {
        let shared = self.shared.lock().unwrap().clone();
        self.latest.set(Some(Known::of(shared, asked)));
    }

    pub(crate) fn forget(&self) {
        self.latest.set(None);
    }
}

impl Ledger for Memory {
    fn end<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), LedgerError>> {
        async move {
            if self.broken {
                return Err(LedgerError("the API server is down".into()));
            }
            self.change(|shared| shared.without(session, session.used));
            Ok(())
        }
        .boxed()
    }
}

fn token(secret: &str) -> BearerToken {
    BearerToken::parse(secret).unwrap()
}

/// What a browser sends after it was given `cookies`.
fn sent(cookies: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        headers.append(header::COOKIE, HeaderValue::from_str(pair).unwrap());
    }
    headers
}

fn given(sessions: &Sessions, session: &Session, now: Moment) -> HeaderMap {
    sent(&sessions.give(session, now, &HeaderMap::new()).unwrap())
}

#[test]
fn a_session_is_found_by_its_cookie_on_any_gateway() {
    let memory = Memory::new(NOW);
    for secret in ["short".to_owned(), "large".repeat(1_500)] {
        let session = memory.sessions("/").begin(token(&secret), NOW);
        let headers = given(&memory.sessions("/"), &session, NOW);
        assert_eq!(memory.sessions("/").find(&headers, NOW).unwrap().unwrap(), session);
    }
    assert!(memory.sessions("/").find(&HeaderMap::new(), NOW).unwrap().is_none());
}

#[test]
fn it_ends_when_it_is_not_used_and_goes_on_when_it_is() {
    let sessions = Memory::new(NOW).sessions("/");
    let session = sessions.begin(token("t"), NOW);
    let mut headers = given(&sessions, &session, NOW);
    let almost = 29 * MINUTE;
    let mut now = NOW;
    for _ in 0..5 {
        now = now.after(almost);
        let session = sessions.find(&headers, now).unwrap().unwrap();
        assert!(sessions.is_due(&session, now));
        headers = given(&sessions, &session, now);
        assert!(!sessions.is_due(&sessions.find(&headers, now).unwrap().unwrap(), now));
    }
    let idle = sessions.find(&headers, now.after(LASTING.idle));
    assert!(matches!(idle, Err(SessionError::Over)));
}

#[test]
fn it_ends_at_the_latest_after_its_longest_time() {
    let sessions = Memory::new(NOW).sessions("/");
    let session = sessions.begin(token("t"), NOW);
    let end = NOW.after(LASTING.longest);
    let almost = NOW.after(Duration::from_hours(11));
    let headers = given(&sessions, &session, almost);
    assert!(sessions.find(&headers, almost).is_ok());
    assert!(matches!(sessions.find(&headers, end), Err(SessionError::Over)));
}

#[test]
fn it_never_outlives_its_token() {
    let sessions = Memory::new(NOW).sessions("/");
    let claims = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"exp": {}}}"#, 1_700_000_000 + 60));
    let session = sessions.begin(token(&format!("e30.{claims}.c2ln")), NOW);
    let headers = given(&sessions, &session, NOW);
    assert!(sessions.find(&headers, NOW.after(Duration::from_secs(59))).is_ok());
    assert!(matches!(
        sessions.find(&headers, NOW.after(MINUTE)),
        Err(SessionError::Over)
    ));
}

#[tokio::test]
async fn once_ended_it_is_over_everywhere_and_no_other_is() {
    let memory = Memory::new(NOW);
    let sessions = memory.sessions("/");
    let (one, other) = (sessions.begin(token("t"), NOW), sessions.begin(token("t"), NOW));
    let (of_one, of_other) = (given(&sessions, &one, NOW), given(&sessions, &other, NOW));
    // What was sealed anew meanwhile is the same session.
    let again = given(&sessions, &one, NOW.after(MINUTE));
    let cleared = sessions.end(&one, &of_one).await.unwrap();
    assert!(cleared[0].to_str().unwrap().starts_with("auth_token=; "));
    for headers in [&of_one, &again] {
        let found = memory.sessions("/").find(headers, NOW);
        assert!(matches!(found, Err(SessionError::Over)));
    }
    assert!(memory.sessions("/").find(&of_other, NOW).is_ok());
}

/// Within which anything here happens.
const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_a_session_has_open_is_over_with_it() {
    let now = Moment::now();
    let memory = Memory::new(now);
    let sessions = memory.sessions("/");
    let (one, other) = (sessions.begin(token("t"), now), sessions.begin(token("t"), now));
    let mut ends = Box::pin(sessions.over(&one));
    assert_eq!(ends.as_mut().now_or_never(), None);
    memory.sessions("/").end(&other, &HeaderMap::new()).await.unwrap();
    assert_eq!(ends.as_mut().now_or_never(), None, "another is ended");
    memory.sessions("/").end(&one, &HeaderMap::new()).await.unwrap();
    timeout(LIMIT, ends).await.unwrap();
}

#[tokio::test]
async fn what_a_session_has_open_is_over_at_its_end() {
    let now = Moment::now();
    let sessions = Memory::new(now).sessions("/");
    let ending = Session {
        until: now.after(Duration::from_secs(1)),
        ..sessions.begin(token("t"), now)
    };
    timeout(LIMIT, sessions.over(&ending)).await.unwrap();
    assert!(Moment::now() >= ending.until);
}

#[tokio::test]
async fn what_a_session_has_open_is_over_when_nobody_knows_whether_it_was_ended() {
    let now = Moment::now();
    let memory = Memory::new(now);
    let sessions = memory.sessions("/");
    let session = sessions.begin(token("t"), now);
    let almost = Instant::now().checked_sub(LASTING.outage).unwrap() + Duration::from_millis(100);
    memory.tell(almost);
    let mut ends = Box::pin(sessions.over(&session));
    assert_eq!(ends.as_mut().now_or_never(), None);
    timeout(LIMIT, ends).await.unwrap();
}

#[tokio::test]
async fn an_end_that_is_not_recorded_is_none() {
    let memory = Memory::new(NOW).broken();
    let sessions = memory.sessions("/");
    let session = sessions.begin(token("t"), NOW);
    let headers = given(&sessions, &session, NOW);
    assert!(matches!(
        sessions.end(&session, &headers).await,
        Err(SessionError::End(_))
    ));
    assert!(sessions.find(&headers, NOW).is_ok());
}

#[test]
fn a_session_goes_on_when_keys_change() {
    let memory = Memory::new(NOW);
    let sessions = memory.sessions("/");
    let session = sessions.begin(token("t"), NOW);
    let old = given(&sessions, &session, NOW);
    let later = NOW.after(MINUTE);
    memory.change(|shared| shared.with_key(SharedKey::random(NOW).unwrap(), LASTING.longest, later));
    let new = given(&sessions, &session, later);
    for headers in [&old, &new] {
        assert!(sessions.find(headers, later).unwrap().is_some());
    }
    // With another key, and not with the first again.
    memory.change(|_| Shared::default().with_key(SharedKey::random(later).unwrap(), LASTING.longest, later));
    for headers in [&old, &new] {
        let found = sessions.find(headers, later);
        assert!(matches!(found, Err(SessionError::Read(SealError::Key))));
    }
}

#[test]
fn nothing_is_said_of_a_session_while_too_little_is_known() {
    let memory = Memory::new(NOW);
    let sessions = memory.sessions("/");
    let session = sessions.begin(token("t"), NOW);
    let headers = given(&sessions, &session, NOW);
    let ago = |age: Duration| Instant::now().checked_sub(age).unwrap();
    memory.tell(ago(LASTING.outage / 2));
    assert!(sessions.find(&headers, NOW).is_ok());
    // A key that was made since would not be known.
    let other = given(&Memory::new(NOW).sessions("/"), &session, NOW);
    assert!(matches!(sessions.find(&other, NOW), Err(SessionError::Unavailable)));
    memory.tell(ago(LASTING.outage + MINUTE));
    assert!(matches!(sessions.find(&headers, NOW), Err(SessionError::Unavailable)));
    memory.forget();
    assert!(matches!(sessions.find(&headers, NOW), Err(SessionError::Unavailable)));
    let given = sessions.give(&session, NOW, &HeaderMap::new());
    assert!(matches!(given, Err(SessionError::Unavailable)));
}

#[test]
fn what_is_no_session_is_none() {
    let sessions = Memory::new(NOW).sessions("/");
    for value in ["", "junk", "AAAA", "!!!!", "e30", "eyJhIjoxfQ=="] {
        let mut headers = HeaderMap::new();
        let cookie = format!("auth_token={value}");
        headers.insert(header::COOKIE, HeaderValue::from_str(&cookie).unwrap());
        assert!(
            matches!(sessions.find(&headers, NOW), Err(SessionError::Read(_))),
            "{value}"
        );
    }
}

#[test]
fn a_token_that_no_cookies_can_hold_is_refused() {
    let sessions = Memory::new(NOW).sessions("/");
    let session = sessions.begin(token(&"t".repeat(12 * 1024)), NOW);
    let given = sessions.give(&session, NOW, &HeaderMap::new());
    assert!(matches!(given, Err(SessionError::TooLarge)));
}

#[test]
fn no_log_shows_the_token() {
    let session = Memory::new(NOW).sessions("/").begin(token("secret"), NOW);
    assert!(!format!("{session:?}").contains("secret"));
}
