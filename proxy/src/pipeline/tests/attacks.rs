//! Attacks that nothing but the pipeline has to do with, each named by its key in `docs/security.md`.

use std::io;

use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use super::{ends::ENDS, *};
use crate::recent::{Lifetimes, RecentDecisions, RecentIdentities};

#[tokio::test]
async fn token_in_url_is_no_credential() {
    let asking = asking(Some(table()));
    for path in [
        "/api/v1/plugins/?token=admin",
        "/api/v1/plugins/?access_token=admin",
        "/api/v1/plugins/hello/x?authorization=Bearer%20admin",
        "/api/v1/plugins/tools?auth_token=admin&jwt=admin",
    ] {
        let seen = asking.ask("GET", path, "", "").await;
        assert_eq!((seen.status, seen.slug()), (401, "unauthenticated"), "{path}");
        assert!(asking.asked().is_empty(), "nobody is asked who {path} is");
    }
}

/// Takes what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn token_in_url_and_elsewhere_is_neither_logged_nor_answered() {
    const SECRET: &str = "planted-s3cret";
    let log = Log::default();
    let lines = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(LevelFilter::TRACE);
    let guard = tracing::subscriber::set_default(lines.finish());
    // Other tests, which log to nobody, may have been asked at the same time whether anybody listens.
    tracing::callsite::rebuild_interest_cache();
    let asking = asking(Some(table()));
    for path in [
        "/api/v1/plugins/",
        "/api/v1/plugins/hello/costs/pay",
        "/api/v1/plugins/unknown/x",
        "/api/v1/plugins/tools/plugin_hello_greet",
    ] {
        for method in ["GET", "POST"] {
            let target = format!("{path}?token={SECRET}");
            let mut request = request(method, &target, SECRET, "junk");
            let cookie = HeaderValue::from_static("auth_token=planted-s3cret");
            request.headers_mut().insert(header::COOKIE, cookie);
            let seen = asking.send(request).await;
            assert!(!seen.body.to_string().contains(SECRET), "{method} {path}");
            assert!(!format!("{:?}", seen.headers).contains(SECRET), "{method} {path}");
        }
    }
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("request refused"), "the log was taken");
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn confused_deputy_what_a_caller_may_is_asked_of_the_caller_alone() {
    let asking = asking(Some(table()));
    let rows = ENDS.iter().filter(|row| !matches!(row.2, "admin" | ""));
    for &(method, path, token, body, status, slug) in rows {
        let joint = if path.contains('?') { '&' } else { '?' };
        let target = format!("{path}{joint}user=admin&as=admin&impersonate-user=admin&groups=system:masters");
        let mut request = request(method, &target, token, body);
        for (name, value) in [
            ("impersonate-user", "admin"),
            ("impersonate-group", "system:masters"),
            ("x-remote-user", "admin"),
        ] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let seen = asking.send(request).await;
        assert_eq!(
            (seen.status, seen.slug()),
            (status, slug),
            "{method} {path} as {token:?}"
        );
    }
}

#[tokio::test]
async fn internal_bypass_no_header_stands_for_a_login() {
    let asking = asking(Some(table()));
    for (name, value) in [
        ("x-kite-user", "admin"),
        ("x-kite-internal", "true"),
        ("x-kite-revision", "7"),
        ("x_kite_user", "admin"),
        ("x-remote-user", "admin"),
        ("x-remote-group", "system:masters"),
        ("impersonate-user", "admin"),
        ("x-forwarded-user", "admin"),
        ("forwarded", "for=127.0.0.1;by=kite-gateway"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-ssl-client-verify", "SUCCESS"),
        ("x-original-url", "/healthz"),
        ("x-rewrite-url", "/healthz"),
        ("x-http-method-override", "GET"),
    ] {
        for path in ["/api/v1/plugins/", "/api/v1/plugins/hello/x"] {
            let mut request = request("POST", path, "", "");
            request.headers_mut().insert(name, HeaderValue::from_static(value));
            let seen = asking.send(request).await;
            assert_eq!(seen.status, 401, "{name}: {value}");
        }
    }
    assert!(asking.asked().is_empty());
}

/// A gateway that remembers what it is told, as the real one does.
fn remembering() -> Gateway<RecentIdentities<Arc<Fake>>, RecentDecisions<Arc<Fake>>, Fixed> {
    let long = Duration::from_mins(1);
    let lifetimes = || Lifetimes {
        yes: long,
        no: long,
        outage: long,
    };
    let fake = Arc::new(Fake::default());
    Gateway {
        authenticator: RecentIdentities::new(Arc::clone(&fake), lifetimes(), Arc::default()).unwrap(),
        authorizer: RecentDecisions::new(Arc::clone(&fake), lifetimes(), Arc::default()),
        directory: Fixed {
            table: Some(Arc::new(table())),
            ..Fixed::default()
        },
        entrance: Arc::default(),
        upstream: Arc::new(Upstream::new("/nonexistent".into())),
        upstreams: Arc::default(),
        body_timeout: long,
        home_cluster: ClusterName::parse("home").unwrap(),
        ending: Arc::default(),
        base: BasePath::default(),
        recorder: Written::default().recorder(),
    }
}

#[tokio::test]
async fn cross_user_cache_two_users_and_nobody_each_get_their_own() {
    let gateway = remembering();
    let ask = async |method: &str, path: &str, token: &str| {
        let (parts, body) = gateway.answer(request(method, path, token, "{}")).await.into_parts();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        let names = body
            .as_array()
            .map(|items| items.iter().map(|item| item["name"].to_string()).collect::<Vec<_>>());
        (parts.status.as_u16(), parts.headers["cache-control"].clone(), names)
    };
    let mut first = Vec::new();
    // Each turn asks in another order, the later ones out of what is remembered.
    for turn in 0..3 {
        let mut callers = ["admin", "user", "", "junk", "stranger"];
        callers.rotate_left(turn);
        let mut answers = Vec::new();
        for caller in callers {
            for (method, path) in [
                ("GET", "/api/v1/plugins/"),
                ("GET", "/api/v1/plugins/tools"),
                ("GET", "/api/v1/plugins/hello/costs/pay"),
                ("GET", "/api/v1/plugins/hello/costs/shop"),
                ("GET", "/api/v1/plugins/off/x"),
                ("POST", "/api/v1/plugins/tools/plugin_hello_nodes"),
            ] {
                let (status, cache, names) = ask(method, path, caller).await;
                assert_eq!(cache, "no-store", "{path}");
                answers.push((caller, path, status, names));
            }
        }
        answers.sort();
        if turn == 0 {
            first = answers;
        } else {
            assert_eq!(answers, first, "turn {turn}");
        }
    }
    let statuses = |caller: &str| -> Vec<u16> {
        let of = first.iter().filter(|(of, ..)| *of == caller);
        of.map(|(_, _, status, _)| *status).collect()
    };
    // Sorted by path: the list, costs in pay and in shop, off, tools, a tool.
    assert_eq!(statuses("admin"), [200, 503, 503, 503, 200, 403]);
    assert_eq!(statuses("user"), [200, 403, 503, 403, 200, 403]);
    assert_eq!(statuses("stranger"), [200, 403, 403, 403, 200, 403]);
    assert_eq!(statuses(""), [401; 6]);
    assert_eq!(statuses("junk"), [401; 6]);
}

#[tokio::test]
async fn name_as_path_no_name_is_used_before_it_is_one() {
    let asking = asking(Some(table()));
    let long = "a".repeat(300);
    for name in [
        "Hello",
        "hello.",
        "-hello",
        "hell%C3%B6",
        "hello:x",
        "~hello",
        long.as_str(),
    ] {
        let seen = asking
            .ask("GET", &format!("/api/v1/plugins/{name}/x"), "admin", "")
            .await;
        assert_eq!((seen.status, seen.slug()), (400, "invalid-name"), "{name}");
        let seen = asking
            .ask(
                "POST",
                &format!("/api/v1/plugins/tools/plugin_{name}_greet"),
                "admin",
                "",
            )
            .await;
        assert_eq!(seen.status, 400, "{name}");
        let seen = asking
            .ask("GET", &format!("/api/v1/plugins/tools?plugin={name}"), "admin", "")
            .await;
        assert_eq!((seen.status, seen.slug()), (400, "invalid-name"), "{name}");
        assert!(
            asking.asked().iter().all(|asked| asked == "who"),
            "nobody is asked about {name}"
        );
    }
}
