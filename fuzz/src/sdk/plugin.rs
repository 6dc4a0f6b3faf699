//! A plugin that has everything, and does with it what shows most.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, HeaderValue};
use kite_plugin_sdk::{
    ApplySettings, BoxError, ClusterEvents, Intercepted, ListQuery, Message, Middleware, Object, ObjectKey, Page,
    Plugin, Refused, ResourceContext, ResourceError, ResourceType, ResourceVerb, Resources, Shutdown, Structured, Tool,
    ToolContext, ToolError, Verdict, WebFiles, WebSocket, WebSocketUpgrade,
    axum::{Router, body::Body, extract::Request, response::Response, routing::get},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default)]
pub(super) struct Everything(());

/// Of each kind that JSON has.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Values {
    text: String,
    number: f64,
    #[serde(default)]
    list: Vec<i64>,
    #[serde(default)]
    map: BTreeMap<String, Option<bool>>,
}

/// The same as an object has them: what is beside them is not theirs to refuse.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
struct Fields {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    list: Vec<i64>,
}

/// Objects that are kept.
#[derive(Debug, Default)]
struct Kept(Mutex<BTreeMap<ObjectKey, Object<Fields>>>);

impl Kept {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<ObjectKey, Object<Fields>>) -> T) -> T {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // So that one trial finds it as another does.
        kept.clear();
        let object = Object::new("kept", Fields::default()).in_namespace("shop");
        kept.insert(object.key(), object);
        act(&mut kept)
    }
}

impl Resources for Kept {
    type Fields = Fields;
    const NAME: &'static str = "things";
    const DESCRIPTION: &'static str = "Things";
    const VERBS: &'static [ResourceVerb] = &[
        ResourceVerb::List,
        ResourceVerb::Get,
        ResourceVerb::Create,
        ResourceVerb::Update,
        ResourceVerb::Patch,
        ResourceVerb::Delete,
    ];

    async fn list(&self, _: &ResourceContext, query: ListQuery) -> Result<Page<Fields>, ResourceError> {
        self.with(|kept| query.page(kept.values().cloned()))
    }

    async fn get(&self, _: &ResourceContext, key: &ObjectKey) -> Result<Object<Fields>, ResourceError> {
        self.with(|kept| kept.get(key).cloned().ok_or(ResourceError::NotFound))
    }

    async fn create(&self, _: &ResourceContext, object: Object<Fields>) -> Result<Object<Fields>, ResourceError> {
        Ok(object)
    }

    async fn update(&self, _: &ResourceContext, object: Object<Fields>) -> Result<Object<Fields>, ResourceError> {
        Ok(object)
    }

    async fn delete(&self, _: &ResourceContext, key: &ObjectKey) -> Result<Object<Fields>, ResourceError> {
        self.with(|kept| kept.remove(key).ok_or(ResourceError::NotFound))
    }
}

async fn echo(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = Response::new(body);
    *response.headers_mut() = parts.headers;
    response
}

async fn large() -> Body {
    Body::from(vec![b'a'; 100_000])
}

async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["v1", "v2"]).on_upgrade(echo_messages)
}

async fn echo_messages(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_) | Message::Ping(_))
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

async fn give_back(context: ToolContext, values: Values) -> Result<Structured<Values>, ToolError> {
    context.progress(values.number, values.text.clone());
    Ok(Structured::new(values))
}

async fn allow(_: ToolContext, values: Values) -> Result<(), Refused> {
    if values.list.is_empty() {
        return Err(Refused::new(values.text));
    }
    Ok(())
}

fn ask(intercepted: &Intercepted) -> Result<Verdict, BoxError> {
    let path = HeaderValue::try_from(intercepted.request.uri().path())?;
    Ok(Verdict::Continue(HeaderMap::from_iter([("x-path".parse()?, path)])))
}

impl Plugin for Everything {
    fn manifest(&self) -> &'static str {
        "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: everything}, spec: {version: 0.1.0, image: a}}"
    }

    fn routes(&self) -> Router {
        Router::new()
            .route("/socket", get(socket))
            .route("/large", get(large))
            .fallback(echo)
    }

    fn tools(&self) -> Vec<Tool> {
        vec![Tool::new("give_back", "Gives back what it gets.", give_back).authorized_by(allow)]
    }

    fn resource_types(&self) -> Vec<ResourceType> {
        vec![ResourceType::new(Kept::default())]
    }

    fn web_files(&self) -> WebFiles {
        WebFiles::default().and("a.js", "text/javascript", vec![b'/'; 100_000])
    }

    fn middleware(&self) -> Option<Middleware> {
        Some(Middleware::new(|_, intercepted| async move { ask(&intercepted) }))
    }

    fn apply_settings(&self) -> Option<ApplySettings> {
        Some(ApplySettings::of::<Values>())
    }

    fn on_cluster_event(&self) -> Option<ClusterEvents> {
        Some(ClusterEvents::new(|_, _| async { Ok(()) }))
    }

    fn shutdown(&self) -> Option<Shutdown> {
        Some(Shutdown::new(|_| async {}))
    }
}
