//! The way of a request through the gateway: the one place that has the whole order of checks.

pub mod authenticate;
pub mod authorize;
pub mod forward;
pub mod headers;
pub mod list;
pub mod location;
pub mod origin;
pub mod path;
pub mod requires;
pub mod route;
pub mod tool;
pub mod trace;
pub mod whole_body;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use kite_api::{PluginName, ToolReference, Verb, rights::Right};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use self::{
    authenticate::{Authenticator, BearerToken, Caller, CredentialError},
    authorize::{Access, Authorizer, Part},
    forward::{BodyError, Ended, Exchange, ForwardError, Forwarded, Handshake, Limits, Opening},
    origin::Origin,
    path::NormalPath,
    requires::RequiresError,
    route::Route,
    tool::{Call, ToolError},
    trace::Trace,
};
use crate::{
    BoxError,
    base_path::BasePath,
    directory::{Active, Directory, Entry, Table},
    problem::Refusal,
    request_id::{self, RequestId},
    upstream::{Connected, Upstream},
};

/// How long a plugin whose tools are listed may take to connect.
const LIST_TIMEOUT: Duration = Duration::from_secs(1);

/// Says of which plugin an answer is.
pub const PLUGIN: HeaderName = HeaderName::from_static("x-kite-plugin");
/// Says of which revision of the plugin an answer is.
pub const REVISION: HeaderName = HeaderName::from_static("x-kite-revision");

/// The body of a request, of whatever server read it.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;
/// The body of an answer.
pub type ResponseBody = UnsyncBoxBody<Bytes, BodyError>;
type Answer = Result<Response<ResponseBody>, Refusal>;

/// All that answering requests needs. It has no state of its own, so that any replica answers any request.
#[derive(Clone)]
pub struct Gateway<N, Z, D> {
    pub authenticator: N,
    pub authorizer: Z,
    pub directory: D,
    pub upstream: Arc<Upstream>,
    /// How long a plugin may take to begin an answer, counted from when it has what there is of the request, and a tool
    /// to end.
    pub answer_timeout: Duration,
    /// How long a caller may keep a plugin waiting for more of a body, and take to send the arguments of a tool.
    pub body_timeout: Duration,
    /// Set when the gateway is about to end, so that no new traffic comes.
    pub ending: Arc<AtomicBool>,
    /// Below which all routes lie but the probes.
    pub base: BasePath,
}

impl<N: Authenticator, Z: Authorizer, D: Directory> Gateway<N, Z, D> {
    /// Answers one request, whatever becomes of it.
    pub async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let id = RequestId::of(request.headers());
        let mut served = None;
        let mut response = match self.pass(request, &id, &mut served).await {
            Ok(response) => response,
            Err(refusal) => refusal.answer(&id),
        };
        let headers = response.headers_mut();
        headers.insert(request_id::HEADER, id.header());
        // Whatever the steps before call a place is one below the gateway's own root.
        if let Some(location) = headers.get(header::LOCATION).and_then(|given| self.base.located(given)) {
            headers.insert(header::LOCATION, location);
        }
        if let Some(served) = served {
            served.tell(headers);
        }
        response
    }

    async fn pass(&self, request: Request<RequestBody>, id: &RequestId, served: &mut Option<Served>) -> Answer {
        // 1. The path, before all else: every later step and the plugin itself must mean the same by it.
        let path = NormalPath::parse(request.uri().path()).map_err(Refusal::Path)?;
        let route = Route::below(&self.base, &path);
        // What is open before login, and what is not ours to speak of at all, ends here.
        match route {
            Route::Health | Route::Ready => {
                route
                    .verb(request.method())
                    .map_err(|allow| Refusal::Method { allow })?;
                return self.own_state(route);
            }
            Route::Outside => return Err(Refusal::NoRoute),
            Route::Plugins
            | Route::Tools
            | Route::Manifests
            | Route::Tool { .. }
            | Route::Plugin { .. }
            | Route::Unknown => {}
        }

        // 2. Who calls, before anything is said about what there is and what there is not.
        let caller = self.authenticate(request.headers()).await?;

        // 3. Whether there is such a route and method, which is the same for everybody.
        if route == Route::Unknown {
            return Err(Refusal::NoRoute);
        }
        let verb = route
            .verb(request.method())
            .map_err(|allow| Refusal::Method { allow })?;
        match route {
            Route::Plugins => self.plugins(&caller).await,
            Route::Tools => self.tools(&caller, request.uri().query()).await,
            Route::Manifests => Ok(json::<[(); 0]>(&[])),
            Route::Tool { name } => {
                let origin = Origin {
                    caller: &caller,
                    id,
                    trace: &Trace::of(request.headers()),
                };
                self.tool(name, origin, verb, request, served).await
            }
            Route::Plugin { name, below } => {
                let origin = Origin {
                    caller: &caller,
                    id,
                    trace: &Trace::of(request.headers()),
                };
                self.plugin(name, below, origin, verb, request, served).await
            }
            Route::Health | Route::Ready | Route::Unknown | Route::Outside => Err(Refusal::NoRoute),
        }
    }

    /// A plugin's own route.
    async fn plugin(
        &self,
        name: &str,
        below: &str,
        origin: Origin<'_>,
        verb: Verb,
        request: Request<RequestBody>,
        served: &mut Option<Served>,
    ) -> Answer {
        let caller = origin.caller;
        // 4. The syntax of the name, before it becomes part of a question to the API server.
        let plugin = PluginName::parse(name).map_err(Refusal::Name)?;
        // 5. The caller's right on that name, existing or not: nobody learns of plugins that they may not use.
        let upgrade = is_upgrade(&request);
        // A connection that is upgraded can change what it likes, whatever its method says.
        let verbs = if upgrade { vec![verb, Verb::Create] } else { vec![verb] };
        for verb in &verbs {
            self.authorize(caller, Part::Proxy, *verb, &plugin).await?;
        }
        // 6. The plugin, now that its existence is no secret, and whether it takes traffic.
        let table = self.table()?;
        let (entry, active) = serving(&table, &plugin)?;
        *served = Some(Served::of(&plugin, active));
        // 7. What the plugin's object requires of those who use this path, by the path that the plugin will see.
        let matched = entry.guards.routes(below);
        let (rights, request) = requires::of_route(&matched, &verbs, request, self.body_timeout)
            .await
            .map_err(Refusal::Requires)?;
        self.hold(entry, caller, &rights).await?;
        let forwarded = Forwarded {
            plugin: &plugin,
            below,
            origin,
            limits: Limits {
                plugin: self.answer_timeout,
                caller: self.body_timeout,
            },
        };
        if upgrade {
            return self.open(forwarded, request, active).await;
        }
        // 8. A pod that is what the operator recorded. Until here nothing of the request has begun.
        let connected = self.connect(&plugin, active).await?;
        // 9. The exchange itself, with the path that was authorized.
        let answer = match Exchange::new(forwarded, request).on(connected).await {
            // The pod ended just now. Whatever the method: nothing of the request has begun.
            Err(Ended::Unsent(exchange, _)) => exchange.on(self.connect(&plugin, active).await?).await,
            answer => answer,
        };
        answer.map_err(|ended| Refusal::Forward(ForwardError::from(ended)))
    }

    /// A WebSocket: the handshake is checked, and then the plugin is asked as above. Of the connection nothing else is ever made.
    async fn open(&self, forwarded: Forwarded<'_>, request: Request<RequestBody>, active: &Active) -> Answer {
        let handshake = Handshake::of(request).map_err(Refusal::Handshake)?;
        let plugin = forwarded.plugin;
        let connected = self.connect(plugin, active).await?;
        let answer = match Opening::new(forwarded, handshake).on(connected).await {
            Err(Ended::Unsent(opening, _)) => opening.on(self.connect(plugin, active).await?).await,
            answer => answer,
        };
        answer.map_err(|ended| Refusal::Forward(ForwardError::from(ended)))
    }

    /// A tool call: the same steps, with the right on tools, and the body read before the plugin is bothered.
    async fn tool(
        &self,
        name: &str,
        origin: Origin<'_>,
        verb: Verb,
        request: Request<RequestBody>,
        served: &mut Option<Served>,
    ) -> Answer {
        let caller = origin.caller;
        let ToolReference { plugin, tool } = ToolReference::parse(name).map_err(Refusal::Name)?;
        self.authorize(caller, Part::Tools, verb, &plugin).await?;
        let table = self.table()?;
        let (entry, active) = serving(&table, &plugin)?;
        *served = Some(Served::of(&plugin, active));
        if !entry.tools.contains(&tool) {
            return Err(Refusal::NoTool);
        }
        // What every call needs, before anything is read.
        let guards = entry.guards.tool(&tool);
        self.hold(entry, caller, &requires::of_every_call(guards)).await?;
        let events = tool::are_accepted(request.headers());
        let arguments = tool::arguments(request.into_body(), self.body_timeout);
        let arguments = arguments.await.map_err(Refusal::Arguments)?;
        let rights = requires::of_tool(guards, &arguments).map_err(Refusal::Requires)?;
        self.hold(entry, caller, &rights).await?;
        let call = Call {
            tool: &tool,
            arguments,
            origin,
            deadline: Instant::now() + self.answer_timeout,
            events,
        };
        let answer = match call.on(self.connect(&plugin, active).await?).await {
            Err(ToolError::Unsent(_)) => call.on(self.connect(&plugin, active).await?).await,
            answer => answer,
        };
        answer.map_err(Refusal::Tool)
    }

    async fn plugins(&self, caller: &Caller) -> Answer {
        let table = self.table()?;
        let visible = list::visible(&table, &self.authorizer, caller)
            .await
            .map_err(Refusal::Authorize)?;
        Ok(json(&visible))
    }

    /// The tools that the caller may call, of all plugins or of one.
    async fn tools(&self, caller: &Caller, query: Option<&str>) -> Answer {
        let wanted = tool::list::wanted(query).map_err(Refusal::Name)?;
        let table = self.table()?;
        let of_one = |(name, _): &(&PluginName, &Entry)| wanted.as_ref().is_none_or(|wanted| wanted == *name);
        let asked: Vec<_> = table
            .iter()
            .filter(of_one)
            .map(|(name, entry)| self.tools_of(name, entry, caller))
            .collect();
        let mut lists = stream::iter(asked).buffered(list::AT_ONCE);
        let mut whole = tool::list::List::default();
        while let Some(items) = lists.next().await {
            whole.add(items?).map_err(|_| Refusal::ListTooLarge)?;
        }
        Ok(json_text(whole.end()))
    }

    /// The tools of one plugin, each as JSON. Of a plugin that cannot be reached there are none: nobody could call them.
    async fn tools_of(&self, name: &PluginName, entry: &Entry, caller: &Caller) -> Result<Vec<Vec<u8>>, Refusal> {
        let Some(active) = entry.serving().filter(|_| !entry.tools.is_empty()) else {
            return Ok(Vec::new());
        };
        match self.authorize(caller, Part::Tools, Verb::Create, name).await {
            Ok(()) => {}
            Err(Refusal::Forbidden { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        // A plugin that is slow is nobody else's affair.
        let Ok(Ok(connected)) = timeout(LIST_TIMEOUT, self.connect(name, active)).await else {
            return Ok(Vec::new());
        };
        let mut items = Vec::new();
        for tool in &entry.tools {
            let Some(offered) = connected.offered.tool(tool) else {
                continue;
            };
            match self
                .hold(entry, caller, &requires::of_every_call(entry.guards.tool(tool)))
                .await
            {
                Ok(()) => items.push(tool::list::item(name, tool, offered)),
                Err(Refusal::Requires(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    /// What the kubelet asks.
    fn own_state(&self, route: Route<'_>) -> Answer {
        if route == Route::Ready && (self.ending.load(Ordering::Relaxed) || self.directory.table().is_none()) {
            return Err(Refusal::NotReady);
        }
        Ok(json(&serde_json::json!({"status": "ok"})))
    }

    async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let token = BearerToken::of(headers).map_err(Refusal::Credential)?;
        let caller = self
            .authenticator
            .authenticate(&token)
            .await
            .map_err(Refusal::Authenticate)?;
        caller.ok_or(Refusal::Credential(CredentialError::Refused))
    }

    async fn authorize(&self, caller: &Caller, part: Part, verb: Verb, plugin: &PluginName) -> Result<(), Refusal> {
        let access = Access::Plugin { part, verb, plugin };
        let allowed = self
            .authorizer
            .allows(caller, access)
            .await
            .map_err(Refusal::Authorize)?;
        if allowed {
            Ok(())
        } else {
            Err(Refusal::Forbidden { verb })
        }
    }

    /// Whether the plugin was granted these rights and the caller has them, so that nobody does by a plugin what they may not do
    /// themselves.
    async fn hold(&self, entry: &Entry, caller: &Caller, rights: &BTreeSet<Right>) -> Result<(), Refusal> {
        for right in rights {
            if !entry.guards.grants(right) {
                return Err(Refusal::Requires(RequiresError::NotGranted(right.clone())));
            }
        }
        for right in rights {
            let allowed = self.authorizer.allows(caller, Access::Cluster(right)).await;
            if !allowed.map_err(Refusal::Authorize)? {
                return Err(Refusal::Requires(RequiresError::NotHeld(right.clone())));
            }
        }
        Ok(())
    }

    fn table(&self) -> Result<Arc<Table>, Refusal> {
        self.directory.table().ok_or(Refusal::NotReady)
    }

    async fn connect(&self, plugin: &PluginName, active: &Active) -> Result<Connected, Refusal> {
        let connected = self.upstream.connect(plugin, active).await;
        connected.map_err(|exhausted| Refusal::NoEndpoint {
            tried: exhausted.tried,
            last: exhausted.last,
        })
    }
}

/// Which plugin and revision an answer is of, or would have been.
struct Served {
    plugin: HeaderValue,
    revision: HeaderValue,
}

impl Served {
    fn of(plugin: &PluginName, active: &Active) -> Self {
        Self {
            // A label, which every field value can have.
            plugin: HeaderValue::from_str(plugin.as_str()).unwrap_or(HeaderValue::from_static("-")),
            revision: HeaderValue::from(active.revision),
        }
    }

    fn tell(self, headers: &mut HeaderMap) {
        headers.insert(PLUGIN, self.plugin);
        headers.insert(REVISION, self.revision);
    }
}

/// The plugin, and the revision of it that takes traffic.
fn serving<'a>(table: &'a Table, plugin: &PluginName) -> Result<(&'a Entry, &'a Active), Refusal> {
    let entry = table.get(plugin).ok_or(Refusal::NoPlugin)?;
    Ok((entry, entry.serving().ok_or(Refusal::NotLoaded)?))
}

/// Whether the caller wants to speak another protocol on the connection, as by WebSocket.
fn is_upgrade(request: &Request<RequestBody>) -> bool {
    request.headers().contains_key(header::UPGRADE) && *request.method() == Method::GET
}

/// An answer of the gateway's own, as JSON.
fn json<T: Serialize + ?Sized>(value: &T) -> Response<ResponseBody> {
    json_text(serde_json::to_vec(value).unwrap_or_default())
}

/// The same of JSON that is written already.
fn json_text(text: Vec<u8>) -> Response<ResponseBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Each answer depends on who asks.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A body that is all there.
pub(crate) fn full(body: impl Into<Bytes>) -> ResponseBody {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod tests;
