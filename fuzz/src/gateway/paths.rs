//! The whole gateway before a plugin: no path, however it is written, reaches a route whose requirements its caller does not hold, and
//! gateway, authorizer and plugin mean the same by path and query.

mod plugin;
mod routes;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use kite_api::{
    KitePluginSpec, Phase, PluginName, RequestLimits, RevisionSpec, Verb,
    rights::{Place, Right},
};
use kite_gateway::{
    BoxError,
    account::Recorder,
    audit::{Lines, Trail},
    base_path::BasePath,
    directory::{DefinitionsHash, Directory, Entry, Guards, Revision, Table},
    pipeline::{
        Gateway,
        authenticate::{AuthenticateError, Authenticator, BearerToken, Caller},
        authorize::{Access, AuthorizeError, Authorizer, Part},
        cluster::ClusterName,
    },
    upstream::Upstream,
};
use percent_encoding::percent_decode_str;
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use self::{
    plugin::{Seen, World},
    routes::{Given, READERS},
};
use crate::messages;

const ROOT: &str = "/api/v1/plugins/hello";
/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(20);

/// Connections to the plugin outlive an input, as they do requests.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime")
});
static WORLD: LazyLock<World> = LazyLock::new(|| RUNTIME.block_on(World::start()));
/// Writes what it is told to nowhere.
static RECORDER: LazyLock<Arc<Recorder>> = LazyLock::new(|| {
    Arc::new(Recorder {
        cluster: "home".into(),
        trail: Trail::start(Lines::to(std::io::sink())).expect("a thread"),
        access_log: None,
        metrics: Arc::default(),
        traces: None,
    })
});
static UPSTREAM: LazyLock<Arc<Upstream>> = LazyLock::new(|| Arc::new(Upstream::new(WORLD.client_dir())));

/// What the authorizer was asked, and which rights the caller holds: of the resources `r0` to `r7` a bit each, of namespaces all
/// but those that begin with n.
struct Asked {
    holds: u8,
    plugins: Mutex<Vec<(Part, Verb, String)>>,
    rights: Mutex<BTreeSet<Right>>,
}

impl Asked {
    fn allows(&self, right: &Right) -> bool {
        let number = right
            .resource
            .strip_prefix('r')
            .and_then(|number| number.parse::<u32>().ok());
        let is_held = number.is_some_and(|number| self.holds.checked_shr(number).is_some_and(|bits| bits & 1 == 1));
        is_held && !matches!(&right.place, Place::Namespace(name) if name.starts_with('n'))
    }
}

struct Jane(Arc<Asked>);

impl Authenticator for Jane {
    async fn authenticate(&self, _: &BearerToken) -> Result<Option<Arc<Caller>>, AuthenticateError> {
        Ok(Some(Arc::new(super::caller())))
    }
}

impl Authorizer for Jane {
    async fn allows(&self, _: &Caller, access: Access<'_>) -> Result<bool, AuthorizeError> {
        let Asked { plugins, rights, .. } = &*self.0;
        Ok(match access {
            Access::NonResource { .. } => false,
            Access::Plugin { part, verb, plugin } => {
                let mut plugins = plugins.lock().unwrap_or_else(PoisonError::into_inner);
                plugins.push((part, verb, plugin.to_string()));
                true
            }
            Access::Cluster(right) => {
                let mut rights = rights.lock().unwrap_or_else(PoisonError::into_inner);
                rights.insert(right.clone());
                self.0.allows(right)
            }
        })
    }
}

struct Fixed(Arc<Table>);

impl Directory for Fixed {
    fn table(&self) -> Option<Arc<Table>> {
        Some(Arc::clone(&self.0))
    }
}

/// Target, method and what the caller holds, and then routes with what they require: each is a message.
pub(crate) fn reach(data: &[u8]) {
    let messages = messages::split(data);
    let Some((target, rest)) = messages.split_first() else {
        return;
    };
    let Some((how, routes)) = rest.split_first() else {
        return;
    };
    let Some(&[method, holds]) = how.first_chunk() else {
        return;
    };
    let target = if target.starts_with(b"/api/") {
        target.to_vec()
    } else {
        [ROOT.as_bytes(), b"/", target].concat()
    };
    // What is no target at all, the server refuses.
    let Ok(uri) = Uri::try_from(target) else { return };
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let method = methods.into_iter().cycle().nth(method.into()).unwrap_or_default();
    let given = Given::of(routes);
    let asked = Arc::new(Asked {
        holds,
        plugins: Mutex::default(),
        rights: Mutex::default(),
    });
    // Not from within the runtime, on which it is started.
    LazyLock::force(&WORLD);
    let (status, seen) = RUNTIME.block_on(async {
        let answered = timeout(LONG, answer(&uri, &method, &given, Arc::clone(&asked)));
        answered.await.expect("an answer in time")
    });
    assert_ne!(status, 500);
    assert_eq!(status == plugin::STATUS, seen.is_some(), "{status} is another's answer");
    let Some(seen) = seen else { return };
    judge(&uri, &method, &given, &asked, &seen);
}

/// What a plugin with this spec requires of its callers.
fn guards(spec: &KitePluginSpec) -> Guards {
    Guards::of(&RevisionSpec::of(spec), &spec.permissions, "kite-plugins")
}

/// The status, and what the plugin saw if it was asked.
async fn answer(uri: &Uri, method: &Method, given: &Given, asked: Arc<Asked>) -> (u16, Option<Seen>) {
    let entry = Entry {
        version: String::from("1.0.0"),
        description: String::new(),
        enabled: true,
        phase: Phase::Loaded,
        trouble: None,
        active: Some(Revision {
            number: 1,
            hash: DefinitionsHash::of(&[]),
            endpoints: vec![WORLD.address()],
            guards: guards(&given.spec()),
            until: None,
        }),
        draining: Vec::new(),
        tools: BTreeSet::new(),
        limits: RequestLimits::default(),
    };
    let name = PluginName::parse("hello").expect("a name");
    let gateway = Gateway {
        authenticator: Jane(Arc::clone(&asked)),
        authorizer: Jane(asked),
        directory: Fixed(Arc::new(Table::from([(name, entry)]))),
        upstream: Arc::clone(&UPSTREAM),
        upstreams: Arc::default(),
        entrance: Arc::default(),
        body_timeout: LONG,
        home_cluster: ClusterName::parse("home").expect("a name"),
        ending: Arc::default(),
        base: BasePath::default(),
        recorder: Arc::clone(&RECORDER),
    };
    let body = Empty::new().map_err(|never| -> BoxError { match never {} });
    let mut request = Request::new(body.boxed_unsync());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    let token = header::HeaderValue::from_static("Bearer jane");
    request.headers_mut().insert(header::AUTHORIZATION, token);
    WORLD.forget();
    let answer = gateway.answer(request).await;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.expect("a whole answer");
    (status, WORLD.seen())
}

/// What the plugin saw is what was asked for, and what whoever asked for it may.
fn judge(uri: &Uri, method: &Method, given: &Given, asked: &Asked, seen: &Seen) {
    let (path, query) = match seen.path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (seen.path_and_query.as_str(), None),
    };
    assert_eq!(seen.method, method.as_str());
    assert_eq!(query, uri.query(), "another query than the caller's");
    // The plugin's path below its root is the caller's path: decoded they are the same.
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let root = decoded(uri.path());
    let root = if root.strip_prefix(ROOT.as_bytes()) == Some(b"") {
        [root, b"/".to_vec()].concat()
    } else {
        root
    };
    assert_eq!(
        [ROOT.as_bytes(), &decoded(path)].concat(),
        root,
        "another path than the caller's"
    );
    has_one_reading(path);

    let plugins = asked.plugins.lock().unwrap_or_else(PoisonError::into_inner);
    let verb = match *method {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ => Verb::Get,
    };
    assert_eq!(*plugins, [(Part::Proxy, verb, String::from("hello"))]);
    let rights = asked.rights.lock().unwrap_or_else(PoisonError::into_inner);
    for right in rights.iter() {
        assert!(asked.allows(right), "passed on without the right to {right}");
    }
    let Some(router) = given.router() else { return };
    for read in READERS {
        let read = read(path);
        for needed in given.needs(&router, &read, query) {
            // The right for the whole cluster is the right for each namespace.
            let is_enough = |right: &Right| {
                let covers = right.place == needed.place || right.place == Place::Cluster;
                right.resource == needed.resource && right.verb == verb && covers
            };
            assert!(
                rights.iter().any(is_enough),
                "{path} is {read} to the plugin, which needs {needed:?}, but asked was {rights:?}"
            );
        }
    }
}

/// However often it is decoded, its segments are the same, and none of them climbs.
fn has_one_reading(path: &str) {
    let segments = path.matches('/').count();
    let mut decoded = path.to_owned();
    for _ in 0..10 {
        assert_eq!(decoded.matches('/').count(), segments, "{path}");
        assert!(!decoded.contains(['\\', '\0']) && !decoded.contains("//"), "{path}");
        assert!(
            decoded.split('/').all(|segment| segment != "." && segment != ".."),
            "{path}"
        );
        decoded = percent_decode_str(&decoded).decode_utf8().expect("UTF-8").into_owned();
    }
}
