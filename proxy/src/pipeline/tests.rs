//! The whole pipeline in memory: each way in which a request ends, and which of several ways comes first.

mod attacks;
mod ends;
mod problems;
mod records;
mod session;
mod table;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{HeaderMap, HeaderName};
use kite_api::{KitePluginSpec, Phase, RequestLimits, RevisionSpec, ToolName, rights::Place};
use serde_json::{Value, json};
use tokio::time::timeout;

use self::records::Written;
use super::*;
use crate::{
    directory::{DefinitionsHash, Guards, Revision},
    moment::Moment,
    pipeline::{
        authenticate::{AuthenticateError, BearerToken},
        authorize::AuthorizeError,
    },
};

/// Authenticator and Authorizer in one, by the caller's name: `admin` may all, `viewer` may see plugins, `user` may use
/// hello, `reader` may read from it, `stranger` nothing; of `unchecked` nobody can say, and with the token `down` nobody can say who it is.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<String>>,
}

impl Authenticator for Arc<Fake> {
    async fn authenticate(&self, token: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
        self.asked.lock().unwrap().push("who".to_owned());
        match token.secret() {
            "down" => Err(AuthenticateError(Arc::from(BoxError::from("the API server is down")))),
            "junk" => Ok(None),
            name => Ok(Some(Arc::new(Caller::new(
                name.to_owned(),
                String::new(),
                Vec::new(),
                [].into(),
            )))),
        }
    }
}

impl Authorizer for Arc<Fake> {
    async fn allows(&self, caller: &Caller, access: Access<'_>) -> Result<bool, AuthorizeError> {
        let (part, verb, plugin) = match access {
            Access::Plugin { part, verb, plugin } => (part, verb.as_str(), plugin),
            Access::NonResource { path } => {
                self.asked.lock().unwrap().push(path.to_owned());
                return match caller.name() {
                    "unchecked" => Err(AuthorizeError(Arc::from(BoxError::from("the API server is down")))),
                    name => Ok(matches!(name, "admin" | "prometheus")),
                };
            }
            Access::Cluster(right) => {
                self.asked.lock().unwrap().push(right.to_string());
                return match caller.name() {
                    "admin" => Ok(true),
                    "unsure" => Err(AuthorizeError(Arc::from(BoxError::from("the API server is down")))),
                    _ => Ok(right.place == Place::Namespace("shop".to_owned())),
                };
            }
        };
        self.asked.lock().unwrap().push(format!("{part:?} {verb} {plugin}"));
        match caller.name() {
            "admin" => Ok(true),
            "viewer" => Ok(part == Part::Object),
            "reader" => Ok(part == Part::Proxy && verb == "get"),
            "user" | "unsure" => Ok(part != Part::Object && plugin.as_str() == "hello"),
            "unchecked" => Err(AuthorizeError(Arc::from(BoxError::from("the API server is down")))),
            _ => Ok(false),
        }
    }
}

/// A table that stays, and what is read at the source.
#[derive(Default)]
struct Fixed {
    table: Option<Arc<Table>>,
    read: Option<Arc<Entry>>,
    reads: AtomicUsize,
}

impl Directory for Fixed {
    fn table(&self) -> Option<Arc<Table>> {
        self.table.clone()
    }

    async fn read(&self, _: &PluginName) -> Option<Arc<Entry>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read.clone()
    }
}

/// Paths and tools that require pods, which the plugin may list in the namespaces shop and pay, or nodes, which it may not.
fn guards() -> Guards {
    let spec = json!({
        "version": "1.0.0",
        "image": "a",
        "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "create"], "namespaces": ["shop", "pay"]}],
        "routes": [
            {"path": "/costs/{namespace}", "requires": [{"resource": "pods", "verb": "list", "namespace": {"path": "namespace"}}]},
            {"path": "/sum", "requires": [{"resource": "pods", "verb": "list", "namespace": {"query": "namespace"}}]},
            {"path": "/backups", "requires": [{"resource": "pods", "namespace": {"body": "/namespace"}}]},
            {"path": "/nodes/**", "requires": [{"resource": "nodes", "verb": "list"}]},
        ],
        "tools": [
            {"name": "costs", "requires": [{"resource": "pods", "verb": "list", "namespace": {"argument": "/namespace"}}]},
            {"name": "nodes", "requires": [{"resource": "nodes", "verb": "list"}]},
        ],
    });
    let spec: KitePluginSpec = serde_json::from_value(spec).unwrap();
    Guards::of(&RevisionSpec::of(&spec), &spec.permissions, "kite-plugins")
}

/// hello is loaded without endpoints, full is too, and takes no request at once and three bytes at most, off is disabled, young has no revision yet, wrecked has failed.
fn table() -> Table {
    let hello = Entry {
        version: "1.0.0".to_owned(),
        description: "Greets.".to_owned(),
        enabled: true,
        phase: Phase::Loaded,
        trouble: None,
        active: Some(Revision {
            number: 7,
            hash: DefinitionsHash::recorded("sha256:x"),
            endpoints: vec![],
            guards: guards(),
            until: None,
        }),
        draining: [(5, None), (4, Some(Moment::of(1)))]
            .map(|(number, until)| Revision {
                number,
                hash: DefinitionsHash::recorded("sha256:w"),
                endpoints: vec![],
                guards: Guards::default(),
                until,
            })
            .to_vec(),
        tools: BTreeSet::from(["greet", "costs", "nodes"].map(|tool| ToolName::parse(tool).unwrap())),
        limits: RequestLimits::default(),
    };
    let full = Entry {
        limits: RequestLimits {
            in_flight: 0,
            body_bytes: 3,
            ..RequestLimits::default()
        },
        ..hello.clone()
    };
    let off = Entry {
        description: String::new(),
        enabled: false,
        phase: Phase::Disabled,
        ..hello.clone()
    };
    let young = Entry {
        description: String::new(),
        phase: Phase::Pending,
        active: None,
        tools: BTreeSet::new(),
        ..hello.clone()
    };
    let wrecked = Entry {
        phase: Phase::Failed,
        trouble: Some("no image".to_owned()),
        ..young.clone()
    };
    let name = |name| PluginName::parse(name).unwrap();
    Table::from([
        (name("full"), full),
        (name("hello"), hello),
        (name("off"), off),
        (name("young"), young),
        (name("wrecked"), wrecked),
    ])
}

struct Asking {
    fake: Arc<Fake>,
    gateway: Gateway<Arc<Fake>, Arc<Fake>, Fixed>,
    written: Written,
}

/// What came back.
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Seen {
    /// The last part of the problem's type.
    fn slug(&self) -> &str {
        self.body["type"]
            .as_str()
            .unwrap_or_default()
            .rsplit('/')
            .next()
            .unwrap_or_default()
    }
}

fn asking(table: Option<Table>) -> Asking {
    let (fake, written) = (Arc::new(Fake::default()), Written::default());
    let gateway = Gateway {
        authenticator: Arc::clone(&fake),
        authorizer: Arc::clone(&fake),
        directory: Fixed {
            table: table.map(Arc::new),
            ..Fixed::default()
        },
        entrance: Arc::default(),
        upstream: Arc::new(Upstream::new("/nonexistent".into())),
        upstreams: Arc::default(),
        body_timeout: Duration::from_secs(30),
        home_cluster: ClusterName::parse("home").unwrap(),
        ending: Arc::default(),
        recorder: written.recorder(),
        base: BasePath::default(),
    };
    Asking { fake, gateway, written }
}

fn request(method: &str, path: &str, token: &str, body: &str) -> Request<RequestBody> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()))
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = path.parse().unwrap();
    if !token.is_empty() {
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    request
}

impl Asking {
    async fn send(&self, request: Request<RequestBody>) -> Seen {
        let (parts, body) = self.gateway.answer(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Seen {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> Seen {
        self.send(request(method, path, token, body)).await
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.asked.lock().unwrap())
    }
}

#[tokio::test]
async fn below_a_base_is_everything_and_outside_nothing_but_probes() {
    let mut asking = asking(Some(table()));
    asking.gateway.base = BasePath::parse("/kite").unwrap();
    for (path, status, slug) in [
        ("/kite/api/v1/plugins/hello/x", 503, "no-endpoint"),
        ("/kite/api/v1/plugins/hello/costs/pay", 403, "caller-lacks-right"),
        ("/k%69te/api/v1/plugins/hello/costs/p%61y", 403, "caller-lacks-right"),
        ("/kite/api/other", 404, "no-such-route"),
        ("/kite/healthz", 200, ""),
        ("/kite/readyz", 200, ""),
        ("/healthz", 200, ""),
        ("/readyz", 200, ""),
        ("/api/v1/plugins/hello/x", 404, "no-such-route"),
        ("/kite", 404, "no-such-route"),
        ("/kitex/api/v1/plugins/hello/x", 404, "no-such-route"),
        // What can be read in two ways is so wherever it lies.
        ("/kite/../api/v1/plugins/hello/x", 400, "ambiguous-path"),
        ("/kite//api/v1/plugins/hello/x", 400, "ambiguous-path"),
        ("/other/%2e%2e/kite/api/v1/plugins/", 400, "ambiguous-path"),
    ] {
        let seen = asking.ask("GET", path, "user", "").await;
        assert_eq!((seen.status, seen.slug()), (status, slug), "{path}");
    }
    asking.asked();
    asking.ask("GET", "/api/v1/plugins/hello/x", "user", "").await;
    assert_eq!(
        asking.asked(),
        Vec::<String>::new(),
        "nobody is asked about what is not ours"
    );
}

#[tokio::test]
async fn a_problem_is_a_whole_document() {
    let mut request = request("GET", "/api/v1/plugins/unknown/x?secret=1", "admin", "");
    request
        .headers_mut()
        .insert("x-request-id", HeaderValue::from_static("r-1"));
    let expected = json!({
        "type": "https://kite.dev/problems/no-such-plugin",
        "title": "There is no such plugin",
        "status": 404,
        "detail": "there is no plugin of this name",
        "requestId": "r-1",
        "error": "there is no plugin of this name",
    });
    assert_eq!(asking(Some(table())).send(request).await.body, expected);
}

#[tokio::test]
async fn nobody_learns_of_plugins_that_they_may_not_use() {
    let asking = asking(Some(table()));
    let mut texts = BTreeSet::new();
    for name in ["hello", "off", "young", "unknown"] {
        let mut request = request("GET", &format!("/api/v1/plugins/{name}/x"), "stranger", "");
        request
            .headers_mut()
            .insert("x-request-id", HeaderValue::from_static("r-1"));
        let seen = asking.send(request).await;
        texts.insert((seen.status, seen.body.to_string(), format!("{:?}", seen.headers)));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn pre_login_every_route_below_api_asks_who_calls() {
    let asking = asking(Some(table()));
    for path in [
        "/api/",
        "/api/v1",
        "/api/v1/plugins",
        "/api/v1/plugins/",
        "/api/v1/plugins/manifests",
        "/api/v1/plugins/frontends/",
        "/api/v1/plugins/tools",
        "/api/v1/plugins/tools/plugin_hello_greet",
        "/api/v1/plugins/events",
        "/api/v1/plugins/hello",
        "/api/v1/plugins/hello/x",
        "/api/v1/plugins/hello/static/x",
        "/api/v1/plugins/unknown/x",
        "/api/v1/plugins/Bad/x",
        "/api/v1/session",
        "/api/v1/admin/plugins/",
        "/api/v1/clusters/home/k8s/api/v1/pods",
        "/api/other",
    ] {
        for method in [
            "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND",
        ] {
            let normal = NormalPath::parse(path).unwrap();
            let row = Route::below(&asking.gateway.base, &normal).row();
            if row.is_some_and(|row| row.is_open(&method.parse().unwrap())) {
                continue;
            }
            let seen = asking.ask(method, path, "junk", "").await;
            assert_eq!(
                (seen.status, asking.asked()),
                (401, vec!["who".to_owned()]),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn the_method_is_the_verb() {
    let asking = asking(Some(table()));
    for (method, verb) in [
        ("GET", "get"),
        ("HEAD", "get"),
        ("OPTIONS", "get"),
        ("POST", "create"),
        ("PUT", "update"),
        ("PATCH", "patch"),
        ("DELETE", "delete"),
    ] {
        asking
            .ask(method, "/api/v1/plugins/hello/hello/admin", "user", "")
            .await;
        assert_eq!(asking.asked(), ["who".to_owned(), format!("Proxy {verb} hello")]);
    }
    asking
        .ask("POST", "/api/v1/plugins/tools/plugin_hello_greet", "user", "{}")
        .await;
    assert_eq!(asking.asked(), ["who", "Tools create hello"]);
}

#[tokio::test]
async fn an_upgrade_needs_get_and_create_and_is_a_web_socket_or_nothing() {
    let asking = asking(Some(table()));
    let upgrade = async |token: &str, protocol: &'static str, path: &str| {
        let mut upgrade = request("GET", path, token, "");
        upgrade
            .headers_mut()
            .insert(header::UPGRADE, HeaderValue::from_static(protocol));
        let seen = asking.send(upgrade).await;
        (seen.status, seen.slug().to_owned(), asking.asked())
    };
    let (get, create) = ("Proxy get hello".to_owned(), "Proxy create hello".to_owned());
    for (token, protocol, status, slug, asked) in [
        (
            "reader",
            "websocket",
            403,
            "forbidden",
            vec![get.clone(), create.clone()],
        ),
        ("stranger", "websocket", 403, "forbidden", vec![get.clone()]),
        (
            "user",
            "h2c",
            501,
            "upgrade-unsupported",
            vec![get.clone(), create.clone()],
        ),
        ("user", "websocket", 400, "invalid-handshake", vec![get, create]),
    ] {
        let expected = (status, slug.to_owned(), [vec!["who".to_owned()], asked].concat());
        let seen = upgrade(token, protocol, "/api/v1/plugins/hello/ws").await;
        assert_eq!(seen, expected, "{token} {protocol}");
    }
    let seen = upgrade("admin", "websocket", "/api/v1/plugins/off/ws").await;
    assert_eq!((seen.0, seen.1.as_str()), (503, "not-loaded"));
}

#[tokio::test]
async fn a_body_of_more_than_a_mebibyte_is_too_large() {
    let body = format!(r#"{{"arguments": {{"a": "{}"}}}}"#, "x".repeat(1024 * 1024));
    let seen = asking(Some(table()))
        .ask("POST", "/api/v1/plugins/tools/plugin_hello_greet", "user", &body)
        .await;
    assert_eq!((seen.status, seen.slug()), (413, "body-too-large"));
}

#[tokio::test]
async fn a_caller_lists_the_plugins_that_they_may_see_or_use() {
    let asking = asking(Some(table()));
    let all = json!([
        {"name": "full", "version": "1.0.0", "description": "Greets.", "state": "loaded"},
        {"name": "hello", "version": "1.0.0", "description": "Greets.", "state": "loaded"},
        {"name": "off", "version": "1.0.0", "description": "", "state": "disabled"},
        {"name": "wrecked", "version": "1.0.0", "description": "", "state": "failed", "error": "no image"},
        {"name": "young", "version": "1.0.0", "description": "", "state": "pending"},
    ]);
    for (token, path, expected) in [
        ("admin", "/api/v1/plugins/", all.clone()),
        ("viewer", "/api/v1/plugins", all.clone()),
        ("user", "/api/v1/plugins/", json!([all[1]])),
        ("stranger", "/api/v1/plugins/", json!([])),
    ] {
        let seen = asking.ask("GET", path, token, "").await;
        assert_eq!((seen.status, seen.body), (200, expected), "{token}");
    }
}

#[tokio::test]
async fn manifests_are_empty_for_everybody_who_is_known() {
    let asking = asking(Some(table()));
    for path in ["manifests", "manifests/", "frontends", "frontends/"] {
        let seen = asking
            .ask("GET", &format!("/api/v1/plugins/{path}"), "stranger", "")
            .await;
        assert_eq!((seen.status, seen.body), (200, json!([])));
    }
}
