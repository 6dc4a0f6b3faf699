//! Logging in and out, and all ways to come, in memory: two gateways that share their sessions.

use http::header::{COOKIE, SET_COOKIE};

use super::*;
use crate::{
    moment::Moment,
    peer::authorities::tests::{Issued, World},
    session::tests::Memory,
};

const SESSION: &str = "/api/v1/session";
const PAGE: (&str, &str) = ("sec-fetch-site", "same-origin");
const JSON: (&str, &str) = ("content-type", "application/json");

/// A gateway that knows the sessions of `memory`.
fn gateway(memory: &Memory) -> Asking {
    let mut asking = asking(Some(table()));
    Arc::get_mut(&mut asking.gateway.entrance).unwrap().sessions = Some(memory.sessions("/kite/"));
    asking
}

fn with(method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Request<RequestBody> {
    let mut request = request(method, path, "", body);
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn login(token: &str) -> Request<RequestBody> {
    with("POST", SESSION, &[PAGE, JSON], &json!({ "token": token }).to_string())
}

/// What a browser sends that was given the cookies of an answer.
fn cookies(seen: &Seen) -> String {
    let set = seen.headers.get_all(SET_COOKIE).iter();
    let pairs = set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap());
    pairs.collect::<Vec<_>>().join("; ")
}

impl Asking {
    async fn log_in(&self, token: &str) -> String {
        let seen = self.send(login(token)).await;
        assert_eq!(seen.status, 201, "{}", seen.body);
        cookies(&seen)
    }

    async fn status(&self, request: Request<RequestBody>) -> (u16, String) {
        let (parts, body) = self.gateway.answer(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let slug = body["type"].as_str().unwrap_or_default().rsplit('/').next();
        (parts.status.as_u16(), slug.unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn whoever_logs_in_at_one_gateway_is_known_at_the_other_until_they_log_out() {
    let memory = Memory::new(Moment::now());
    let (one, other) = (gateway(&memory), gateway(&memory));
    let seen = one.send(login("user")).await;
    assert_eq!(seen.status, 201);
    assert_eq!(seen.body["user"], json!({"name": "user", "uid": "", "groups": []}));
    assert_eq!(
        (&seen.body["method"], &seen.body["canForwardCredential"]),
        (&json!("session"), &json!(true))
    );
    let set = seen.headers[SET_COOKIE].to_str().unwrap();
    assert!(
        set.ends_with("; HttpOnly; SameSite=Strict; Secure; Path=/kite/"),
        "{set}"
    );
    assert!(!set.contains("user"), "sealed");

    let cookie = cookies(&seen);
    let told = other.send(with("GET", SESSION, &[("cookie", &cookie)], "")).await;
    assert_eq!((told.status, &told.body), (200, &seen.body));
    let list = with("GET", "/api/v1/plugins/", &[("cookie", &cookie)], "");
    assert_eq!(other.send(list).await.body[0]["name"], "hello");

    let end = with("DELETE", SESSION, &[("cookie", &cookie), PAGE], "");
    let answer = other.gateway.answer(end).await;
    assert_eq!(answer.status(), 204);
    let set = answer.headers()[SET_COOKIE].to_str().unwrap();
    assert!(set.starts_with("auth_token=; ") && set.contains("Max-Age=0"), "{set}");
    assert_eq!(answer.headers()["clear-site-data"], "\"cache\"");
    for gateway in [&one, &other] {
        let seen = gateway.send(with("GET", SESSION, &[("cookie", &cookie)], "")).await;
        assert_eq!((seen.status, seen.slug()), (401, "unauthenticated"));
    }
}

/// Header fields and body, then status and problem.
type Login<'a> = (&'a [(&'a str, &'a str)], &'a str, (u16, &'a str));

#[rustfmt::skip]
#[tokio::test]
async fn a_login_ends_at_the_first_check_that_it_fails() {
    let large = json!({"token": "t".repeat(10 * 1024)}).to_string();
    let huge = json!({"token": "t".repeat(17 * 1024)}).to_string();
    let cases: [Login<'_>; 14] = [
        (&[JSON], r#"{"token": "user"}"#, (403, "cross-site")),
        (&[JSON, ("sec-fetch-site", "cross-site")], r#"{"token": "user"}"#, (403, "cross-site")),
        (&[JSON, ("origin", "https://evil.example")], r#"{"token": "user"}"#, (403, "cross-site")),
        (&[PAGE], r#"{"token": "user"}"#, (415, "unsupported-media-type")),
        (&[PAGE, ("content-type", "text/plain")], r#"{"token": "user"}"#, (415, "unsupported-media-type")),
        (&[PAGE, JSON], "", (400, "invalid-body")),
        (&[PAGE, JSON], r#""user""#, (400, "invalid-body")),
        (&[PAGE, JSON], r#"["user"]"#, (400, "invalid-body")),
        (&[PAGE, JSON], r#"{"token": ""}"#, (400, "invalid-body")),
        (&[PAGE, JSON], r#"{"token": "a b"}"#, (400, "invalid-body")),
        (&[PAGE, JSON], &huge, (413, "body-too-large")),
        (&[PAGE, JSON], r#"{"token": "junk"}"#, (401, "unauthenticated")),
        (&[PAGE, JSON], r#"{"token": "down"}"#, (503, "authentication-unavailable")),
        (&[PAGE, JSON], &large, (413, "token-too-large")),
    ];
    let asking = gateway(&Memory::new(Moment::now()));
    for (fields, body, (status, slug)) in cases {
        let seen = asking.send(with("POST", SESSION, fields, body)).await;
        assert_eq!((seen.status, seen.slug()), (status, slug), "{fields:?}");
        assert!(!seen.headers.contains_key(SET_COOKIE));
        assert!(!seen.body.to_string().contains("user"), "no token is said again: {}", seen.body);
    }
    let forgotten = Memory::new(Moment::now());
    forgotten.forget();
    assert_eq!(gateway(&forgotten).status(login("user")).await, (503, "sessions-unavailable".to_owned()));
    assert_eq!(super::asking(Some(table())).status(login("user")).await.0, 404, "where there are none");
}

#[tokio::test]
async fn whoever_logs_in_again_has_one_session() {
    let gateway = gateway(&Memory::new(Moment::now()));
    let former = gateway.log_in("user").await;
    let mut again = login("admin");
    again
        .headers_mut()
        .insert(COOKIE, HeaderValue::from_str(&former).unwrap());
    let seen = gateway.send(again).await;
    assert_eq!((seen.status, &seen.body["user"]["name"]), (201, &json!("admin")));
    for (cookie, status) in [(former, 401), (cookies(&seen), 200)] {
        let told = gateway.send(with("GET", SESSION, &[("cookie", &cookie)], "")).await;
        assert_eq!(told.status, status);
    }
}

#[tokio::test]
async fn a_logout_that_is_not_recorded_is_not_answered_as_one() {
    let memory = Memory::new(Moment::now()).broken();
    let gateway = gateway(&memory);
    let cookie = gateway.log_in("user").await;
    let end = with("DELETE", SESSION, &[("cookie", &cookie), PAGE], "");
    let seen = gateway.send(end).await;
    assert_eq!((seen.status, seen.slug()), (503, "sessions-unavailable"));
    assert!(!seen.headers.contains_key(SET_COOKIE), "the session goes on");
}

#[tokio::test]
async fn whoever_has_no_session_ends_none() {
    let gateway = gateway(&Memory::new(Moment::now()));
    let none = gateway.ask("DELETE", SESSION, "", "").await;
    assert_eq!((none.status, none.slug()), (401, "unauthenticated"));
    let bearer = gateway.ask("DELETE", SESSION, "user", "").await;
    assert_eq!((bearer.status, bearer.slug()), (409, "no-session"));
    let put = gateway.ask("PUT", SESSION, "user", "").await;
    assert_eq!((put.status, put.slug()), (405, "method-not-allowed"));
}

#[tokio::test]
async fn one_is_told_by_what_one_is_known() {
    let gateway = gateway(&Memory::new(Moment::now()));
    let nobody = gateway.ask("GET", SESSION, "", "").await;
    assert_eq!((nobody.status, nobody.slug()), (401, "unauthenticated"));
    let bearer = gateway.ask("GET", SESSION, "user", "").await;
    let expected = json!({
        "user": {"name": "user", "uid": "", "groups": []},
        "method": "bearer",
        "canForwardCredential": true,
    });
    assert_eq!((bearer.status, bearer.body), (200, expected));
}

#[tokio::test]
async fn of_two_credentials_the_header_counts_and_nothing_stands_in_for_what_is_no_good() {
    let gateway = gateway(&Memory::new(Moment::now()));
    let cookie = gateway.log_in("user").await;
    let junk = "auth_token=junk".to_owned();
    let twice = format!("{cookie}; {cookie}");
    for (token, cookie, expected) in [
        (Some("admin"), &cookie, Ok("admin")),
        (Some("admin"), &junk, Ok("admin")),
        (Some("junk"), &cookie, Err(401)),
        (None, &cookie, Ok("user")),
        (None, &junk, Err(401)),
        (None, &twice, Err(401)),
    ] {
        let mut request = request("GET", SESSION, token.unwrap_or_default(), "");
        request
            .headers_mut()
            .insert(COOKIE, HeaderValue::from_str(cookie).unwrap());
        let seen = gateway.send(request).await;
        match expected {
            Ok(name) => assert_eq!(seen.body["user"]["name"], name),
            Err(status) => assert_eq!(seen.status, status, "{token:?} {cookie}"),
        }
    }
}

#[tokio::test]
async fn cross_site_nothing_is_changed_or_read_as_it_comes_by_another_page() {
    let gateway = gateway(&Memory::new(Moment::now()));
    let cookie = gateway.log_in("user").await;
    let tool = "/api/v1/plugins/tools/plugin_hello_greet";
    let route = "/api/v1/plugins/hello/x";
    let socket = ("upgrade", "websocket");
    let events = ("accept", "text/event-stream");
    for (method, path, asks) in [
        ("POST", tool, JSON),
        ("POST", route, JSON),
        ("PUT", route, JSON),
        ("PATCH", route, JSON),
        ("DELETE", route, JSON),
        ("GET", route, socket),
        ("GET", route, events),
        // Last, for it ends the session.
        ("DELETE", SESSION, JSON),
    ] {
        for page in [
            ("x-nothing", "at all"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let fields = [("cookie", cookie.as_str()), ("host", "kite.example"), asks, page];
            let seen = gateway.status(with(method, path, &fields, "{}")).await;
            assert_eq!(seen, (403, "cross-site".to_owned()), "{method} {path} {fields:?}");
        }
        for page in [PAGE, ("origin", "https://kite.example")] {
            let fields = [("cookie", cookie.as_str()), ("host", "kite.example"), asks, page];
            let seen = gateway.status(with(method, path, &fields, "{}")).await;
            // Nobody serves hello here, these fields alone are no handshake, and a session that was ended is no more.
            assert!(
                matches!(seen.0, 204 | 400 | 401 | 503),
                "{method} {path} {fields:?}: {seen:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_session_that_is_used_is_given_anew_and_one_that_is_asked_about_is_not() {
    let began = Moment::of(Moment::now().since(Moment::of(0)).as_secs() - 600);
    let memory = Memory::new(began);
    let gateway = gateway(&memory);
    let sessions = memory.sessions("/kite/");
    let session = sessions.begin(BearerToken::parse("user").unwrap(), began);
    let set = sessions.give(&session, began, &HeaderMap::new()).unwrap();
    let cookie = set[0].to_str().unwrap().split(';').next().unwrap().to_owned();
    for (path, anew) in [
        ("/api/v1/plugins/", true),
        ("/api/v1/plugins/hello/x", true),
        (SESSION, false),
    ] {
        let seen = gateway.send(with("GET", path, &[("cookie", &cookie)], "")).await;
        assert_eq!(seen.headers.contains_key(SET_COOKIE), anew, "{path}");
        if anew {
            let again = with("GET", "/api/v1/plugins/", &[("cookie", &cookies(&seen))], "");
            let again = gateway.send(again).await;
            assert_eq!((again.status, again.headers.contains_key(SET_COOKIE)), (200, false));
        }
    }
}

#[tokio::test]
async fn token_in_url_is_no_credential() {
    let gateway = gateway(&Memory::new(Moment::now()));
    let cookie = gateway.log_in("user").await;
    let value = cookie.strip_prefix("auth_token=").unwrap();
    for query in [
        "token=admin".to_owned(),
        "access_token=admin".to_owned(),
        "authorization=Bearer%20admin".to_owned(),
        format!("auth_token={value}"),
    ] {
        let seen = gateway.ask("GET", &format!("/api/v1/plugins/?{query}"), "", "").await;
        assert_eq!((seen.status, seen.slug()), (401, "unauthenticated"), "{query}");
        assert!(!seen.body.to_string().contains(value));
    }
}

#[tokio::test]
async fn identity_headers_of_anybody_say_nothing() {
    let gateway = gateway(&Memory::new(Moment::now()));
    for name in [
        "x-remote-user",
        "x_remote_user",
        "x-forwarded-user",
        "impersonate-user",
        "x-kite-user",
    ] {
        let fields = [(name, "admin"), ("x-remote-group", "system:masters")];
        let seen = gateway.send(with("GET", SESSION, &fields, "")).await;
        assert_eq!((seen.status, seen.slug()), (401, "unauthenticated"), "{name}");
        let mut request = with("GET", SESSION, &fields, "");
        let bearer = HeaderValue::from_static("Bearer user");
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        assert_eq!(gateway.send(request).await.body["user"]["name"], "user", "{name}");
    }
}

#[tokio::test]
async fn pre_login_of_the_session_nothing_is_open_but_logging_in() {
    let gateway = gateway(&Memory::new(Moment::now()));
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let request = with(method, SESSION, &[PAGE], "");
        assert_eq!(gateway.gateway.answer(request).await.status(), 401, "{method}");
    }
}

#[tokio::test]
async fn whoever_fails_too_often_is_slowed_down_and_whoever_is_known_is_not() {
    let gateway = gateway(&Memory::new(Moment::now()));
    let cookie = gateway.log_in("user").await;
    let peer = |address: &str| Peer::new(address.parse().unwrap(), None);
    let here = |mut request: Request<RequestBody>| {
        request.extensions_mut().insert(peer("192.0.2.1:1000"));
        request
    };
    let refused = async {
        loop {
            let seen = gateway.send(here(login("junk"))).await;
            if seen.status == 429 {
                return seen;
            }
            assert_eq!(seen.status, 401);
        }
    };
    let seen = timeout(Duration::from_secs(10), refused).await.unwrap();
    assert_eq!(seen.slug(), "too-many-attempts");
    assert_eq!(seen.headers["retry-after"], "1");
    let known = gateway
        .send(here(with("GET", SESSION, &[("cookie", &cookie)], "")))
        .await;
    assert_eq!(known.status, 200, "a session");
    let mut elsewhere = login("user");
    elsewhere.extensions_mut().insert(peer("[2001:db8::1]:1000"));
    assert_eq!(gateway.send(elsewhere).await.status, 201, "another address");
}

/// A gateway that believes certificates, and who asks it with one.
struct Certified {
    asking: Asking,
    peer: Option<Peer>,
}

impl Certified {
    async fn ask(&self, method: &str, fields: &[(&str, &str)]) -> Seen {
        let mut request = with(method, SESSION, fields, "");
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        self.asking.send(request).await
    }

    async fn name(&self, fields: &[(&str, &str)]) -> Result<String, u16> {
        let seen = self.ask("GET", fields).await;
        let name = seen.body["user"]["name"].as_str().map(str::to_owned);
        name.ok_or(seen.status)
    }
}

fn certified(memory: &Memory, world: &World, issued: Option<Issued>) -> Certified {
    let mut asking = gateway(memory);
    Arc::get_mut(&mut asking.gateway.entrance).unwrap().authorities = world.authorities();
    let peer = issued.map(|issued| Peer::new("192.0.2.1:1000".parse().unwrap(), Some(&issued.chain)));
    Certified { asking, peer }
}

#[tokio::test]
async fn identity_headers_count_only_with_a_proxys_certificate() {
    let (memory, world) = (Memory::new(Moment::now()), World::new());
    let jane = [("x-remote-user", "jane"), ("x-remote-group", "dev")];
    let cookie = gateway(&memory).log_in("user").await;
    let session = [("cookie", cookie.as_str())];
    let both = [jane.as_slice(), &session].concat();
    let of = |issued| certified(&memory, &world, issued);

    let proxy = of(Some(world.proxy("front")));
    assert_eq!(proxy.name(&jane).await, Ok("jane".to_owned()));
    assert_eq!(proxy.name(&both).await, Ok("jane".to_owned()));
    assert_eq!(proxy.name(&[]).await, Err(401), "it is nobody itself");
    assert_eq!(proxy.name(&session).await, Err(401), "and carries many callers");
    assert_eq!(proxy.name(&[("x-remote-user", "system:admin")]).await, Err(401));
    assert_eq!(
        proxy.name(&[jane[0], ("x-remote-group", "system:masters")]).await,
        Err(401)
    );
    let told = proxy.ask("GET", &jane).await.body;
    let expected = json!({
        "user": {"name": "jane", "uid": "", "groups": ["dev", "system:authenticated"]},
        "method": "proxy",
        "canForwardCredential": false,
    });
    assert_eq!(told, expected);

    let unlisted = of(Some(world.proxy("back")));
    assert_eq!(unlisted.name(&jane).await, Err(401));
    assert_eq!(unlisted.name(&both).await, Err(401));
    let person = of(Some(world.person("ann")));
    assert_eq!(person.name(&jane).await, Ok("ann".to_owned()));
    assert_eq!(
        person.name(&both).await,
        Ok("user".to_owned()),
        "the session before the connection"
    );
    let nobody = of(None);
    assert_eq!(nobody.name(&jane).await, Err(401));
}

#[tokio::test]
async fn whoever_has_a_certificate_is_told_so_and_has_nothing_to_forward() {
    let (memory, world) = (Memory::new(Moment::now()), World::new());
    let ann = certified(&memory, &world, Some(world.person("ann")));
    let mut told = ann.ask("GET", &[]).await.body;
    let expires = told.as_object_mut().unwrap().remove("expiresAt");
    assert!(expires.is_some());
    let expected = json!({
        "user": {"name": "ann", "uid": "", "groups": ["dev", "system:authenticated"]},
        "method": "certificate",
        "canForwardCredential": false,
    });
    assert_eq!(told, expected);
    let none = ann.ask("DELETE", &[]).await;
    assert_eq!((none.status, none.slug()), (409, "no-session"));
    let evil = ann.ask("DELETE", &[("origin", "https://evil.example")]).await;
    assert_eq!((evil.status, evil.slug()), (403, "cross-site"));
}
