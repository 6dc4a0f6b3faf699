//! The way of a request through the gateway: the one place that has the whole order of checks.

pub mod arrival;
mod attempt;
pub mod authenticate;
pub mod authorize;
pub mod cluster;
pub mod forward;
pub mod headers;
mod held;
pub mod list;
pub mod location;
pub mod origin;
pub mod over;
mod own;
pub mod path;
pub mod requires;
pub mod revision;
pub mod route;
pub mod same_origin;
pub mod served;
pub mod session;
pub mod tool;
pub mod trace;
pub mod whole_body;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use kite_api::{PluginName, ToolReference, Verb, rights::Right};
use serde::Serialize;
use tokio::time::Instant;

use self::{
    arrival::Entrance,
    authenticate::{Authenticator, Caller},
    authorize::{Access, Authorizer, Part},
    cluster::ClusterName,
    forward::{BodyError, Exchange, Forwarded, Handshake, Limits, Opening},
    origin::Origin,
    path::NormalPath,
    requires::RequiresError,
    route::Route,
    same_origin::Asked,
    served::{Served, Told},
    tool::Call,
};
use crate::{
    BoxError,
    account::{Account, Class, Recorded, Recorder},
    base_path::BasePath,
    directory::{Directory, Entry, Guards, Revision, Table},
    openapi,
    peer::Peer,
    problem::Refusal,
    request_id::{self, RequestId},
    upstream::{Connected, Place, Upstream},
};

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
    /// By what callers come beside by bearer tokens.
    pub entrance: Arc<Entrance>,
    /// The ways to the plugins of the thread that serves.
    pub upstream: Arc<Upstream>,
    /// Those of all threads, whose connections are counted together.
    pub upstreams: Arc<[Arc<Upstream>]>,
    /// How long a caller may keep a plugin waiting for more of a body, and take to send the arguments of a tool.
    pub body_timeout: Duration,
    /// What the cluster is called in which the gateway runs, the only one that is known.
    pub home_cluster: ClusterName,
    /// Set when the gateway is about to end, so that no new traffic comes.
    pub ending: Arc<AtomicBool>,
    /// Where all that happens here is recorded.
    pub recorder: Arc<Recorder>,
    /// Below which all routes lie but the probes.
    pub base: BasePath,
}

impl<N: Authenticator, Z: Authorizer, D: Directory> Gateway<N, Z, D> {
    /// Answers one request, whatever becomes of it.
    pub async fn answer(&self, request: Request<RequestBody>) -> Response<Recorded> {
        let id = RequestId::of(request.headers());
        // Whatever happens from here on, even if nobody waits for the answer any more, ends in the account.
        let (mut account, request) = Account::open(&self.recorder, request, id.clone());
        let mut told = Told::default();
        let refused = |refusal: Refusal, account: &mut Account| {
            account.fails(refusal.slug());
            refusal.answer(&id)
        };
        let mut response = match self.pass(request, &id, &mut account, &mut told).await {
            Ok(response) => response,
            Err(refusal) => refused(refusal, &mut account),
        };
        // 10. The record of the operation, before the caller can know of it.
        if let Err(error) = account.settle(response.status()).await {
            response = refused(Refusal::AuditFailed(error), &mut account);
        }
        let headers = response.headers_mut();
        session::give(headers, told.renewed);
        headers.insert(request_id::HEADER, id.header());
        // Whatever the steps before call a place is one below the gateway's own root.
        if let Some(location) = headers.get(header::LOCATION).and_then(|given| self.base.located(given)) {
            headers.insert(header::LOCATION, location);
        }
        if let Some(served) = told.served {
            served.tell(headers);
        }
        account.close(response, told.over)
    }

    async fn pass(
        &self,
        request: Request<RequestBody>,
        id: &RequestId,
        account: &mut Account,
        told: &mut Told,
    ) -> Answer {
        // 1. The path, before all else: every later step and the plugin itself must mean the same by it.
        let path = NormalPath::parse(request.uri().path()).map_err(Refusal::Path)?;
        let route = Route::below(&self.base, &path);
        let row = route.row();
        account.is_for(Class::of(route));
        // What is open before login, and what is not ours to speak of at all, ends here.
        if let Some(row) = row.filter(|row| row.is_open(request.method())) {
            row.verb(request.method()).map_err(|allow| Refusal::Method { allow })?;
            return Box::pin(self.before_login(route, request)).await;
        }
        if route == Route::Outside {
            return Err(Refusal::NoRoute);
        }

        // 2. Who calls, before anything is said about what there is and what there is not; and whether they do, or another page in
        // their browser.
        let peer = request.extensions().get::<Peer>();
        let arrival = self.arrive(request.headers(), peer).await?;
        let asked = Asked {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        };
        same_origin::check(asked, &arrival.way, &self.entrance.origins).map_err(Refusal::CrossSite)?;
        let caller = &arrival.caller;
        account.is_from(caller);

        // 3. Whether there is such a route and method, which is the same for everybody.
        let row = row.ok_or(Refusal::NoRoute)?;
        let verb = row.verb(request.method()).map_err(|allow| Refusal::Method { allow })?;
        match route {
            // Whoever only asks how long their session lasts does not make it longer.
            Route::Session => return Box::pin(self.session(&arrival, request.method(), request.headers())).await,
            _ => told.renewed = self.renewed(&arrival, request.headers()),
        }
        // All but the most frequent are boxed, so that a request of that kind does not carry the room for the others.
        match route {
            Route::Metrics => Box::pin(self.metrics(caller)).await,
            Route::Plugins => Box::pin(self.plugins(caller)).await,
            Route::Tools => Box::pin(self.tools(caller, request.uri().query())).await,
            Route::Manifests => Ok(json::<[(); 0]>(&[])),
            Route::Tool { .. } | Route::Plugin { .. } => {
                let origin = Origin {
                    caller,
                    id,
                    trace: &account.trace(request.headers()),
                    cluster: &self.home_cluster,
                };
                let served = &mut told.served;
                let response = self.ask(route, origin, verb, request, account, served).await?;
                told.over = self.over(&arrival.way, &response);
                Ok(response)
            }
            Route::Health | Route::Ready | Route::Document | Route::Session | Route::Unknown | Route::Outside => {
                Err(Refusal::NoRoute)
            }
        }
    }

    /// What is open before login.
    async fn before_login(&self, route: Route<'_>, request: Request<RequestBody>) -> Answer {
        match route {
            Route::Session => self.log_in(request).await,
            Route::Document => Ok(openapi::answer(request.headers())),
            Route::Health | Route::Ready => self.own_state(route),
            // Nothing else is open, whatever the table says.
            _ => Err(Refusal::NoRoute),
        }
    }

    /// What a plugin answers.
    async fn ask(
        &self,
        route: Route<'_>,
        origin: Origin<'_>,
        verb: Verb,
        request: Request<RequestBody>,
        account: &mut Account,
        served: &mut Option<Served>,
    ) -> Answer {
        match route {
            Route::Tool { name } => Box::pin(self.tool(name, origin, verb, request, account, served)).await,
            Route::Plugin { name, below } => self.plugin((name, below), origin, verb, request, account, served).await,
            // Nothing else is asked of a plugin.
            _ => Err(Refusal::NoRoute),
        }
    }

    /// A plugin's own route.
    async fn plugin(
        &self,
        (name, below): (&str, &str),
        origin: Origin<'_>,
        verb: Verb,
        request: Request<RequestBody>,
        account: &mut Account,
        served: &mut Option<Served>,
    ) -> Answer {
        let caller = origin.caller;
        // 4. The syntax of the name, before it becomes part of a question to the API server.
        let plugin = PluginName::parse(name).map_err(Refusal::Name)?;
        let cluster = cluster::named(request.headers(), request.uri().query()).map_err(Refusal::Cluster)?;
        let pinned = revision::pinned(request.headers()).map_err(Refusal::Revision)?;
        // 5. The caller's right on that name, existing or not: nobody learns of plugins that they may not use.
        let upgrade = is_upgrade(&request);
        account.asks(&plugin, verb, below, upgrade);
        // A connection that is upgraded can change what it likes, whatever its method says.
        let verbs = if upgrade { vec![verb, Verb::Create] } else { vec![verb] };
        for verb in &verbs {
            self.authorize(caller, Part::Proxy, *verb, &plugin).await?;
        }
        // 6. The cluster and the plugin, now that their existence is no secret, and whether the plugin takes traffic, by the revision that
        // the request is for.
        self.find_cluster(cluster.as_deref())?;
        let table = self.table()?;
        let entry = self.find(&table, &plugin, pinned).await?;
        let revision = revision::serving(&entry, pinned)?;
        *served = Some(Served::of(&plugin, revision));
        account.is_served_by(revision.number);
        // 7. What the revision requires of those who use this path, by the path that the plugin will see.
        let matched = revision.guards.routes(below);
        let (rights, request) = requires::of_route(&matched, &verbs, request, self.body_timeout)
            .await
            .map_err(Refusal::Requires)?;
        self.hold(&revision.guards, caller, &rights).await?;
        account.begins().map_err(Refusal::AuditUnavailable)?;
        let forwarded = Forwarded {
            plugin: &plugin,
            below,
            origin,
            limits: Limits {
                plugin: entry.limits.timeout,
                caller: self.body_timeout,
                body: entry.limits.body_bytes,
            },
        };
        if upgrade {
            return Box::pin(self.socket(forwarded, request, &entry, revision, account)).await;
        }
        // 8. A body that is not too large by its own account.
        let exchange = Exchange::new(forwarded, request).map_err(Refusal::Forward)?;
        // 9. A place among what is under way to the plugin, last of what can be refused: one that hangs takes no more than its own.
        let place = self.place(&plugin, &entry)?;
        // 10. A pod that is what the operator recorded, until which nothing of the request has begun; and the exchange itself, with the
        // path that was authorized, and once more what never began or changes nothing.
        self.try_twice(exchange, &plugin, revision, place).await
    }

    /// A WebSocket: the handshake is checked, and then the plugin is asked as above. Of the connection nothing else is ever made.
    async fn socket(
        &self,
        forwarded: Forwarded<'_>,
        request: Request<RequestBody>,
        entry: &Entry,
        revision: &Revision,
        account: &mut Account,
    ) -> Answer {
        let handshake = Handshake::of(request).map_err(Refusal::Handshake)?;
        let plugin = forwarded.plugin;
        let place = self.place(plugin, entry)?;
        let opening = Opening::new(forwarded, handshake).accounted(account.opens());
        self.try_twice(opening, plugin, revision, place).await
    }

    /// A tool call: the same steps, with the right on tools, and the body read before the plugin is bothered.
    async fn tool(
        &self,
        name: &str,
        origin: Origin<'_>,
        verb: Verb,
        request: Request<RequestBody>,
        account: &mut Account,
        served: &mut Option<Served>,
    ) -> Answer {
        let caller = origin.caller;
        let ToolReference { plugin, tool } = ToolReference::parse(name).map_err(Refusal::Name)?;
        let cluster = cluster::named(request.headers(), request.uri().query()).map_err(Refusal::Cluster)?;
        let pinned = revision::pinned(request.headers()).map_err(Refusal::Revision)?;
        account.calls(&plugin, &tool);
        self.authorize(caller, Part::Tools, verb, &plugin).await?;
        self.find_cluster(cluster.as_deref())?;
        let table = self.table()?;
        let entry = self.find(&table, &plugin, pinned).await?;
        let revision = revision::serving(&entry, pinned)?;
        *served = Some(Served::of(&plugin, revision));
        account.is_served_by(revision.number);
        // Of one that drains its pods alone say what it offers.
        if entry.is_active(revision) && !entry.tools.contains(&tool) {
            return Err(Refusal::NoTool);
        }
        // What every call needs, before anything is read.
        let guards = revision.guards.tool(&tool);
        self.hold(&revision.guards, caller, &requires::of_every_call(guards))
            .await?;
        let events = tool::are_accepted(request.headers());
        // Before the arguments, which are kept whole until the plugin has them.
        let place = self.place(&plugin, &entry)?;
        let arguments = tool::arguments(request.into_body(), self.body_timeout);
        let arguments = arguments.await.map_err(Refusal::Arguments)?;
        let rights = requires::of_tool(guards, &arguments).map_err(Refusal::Requires)?;
        self.hold(&revision.guards, caller, &rights).await?;
        account.begins().map_err(Refusal::AuditUnavailable)?;
        let call = Call {
            tool: &tool,
            arguments,
            origin,
            deadline: Instant::now() + entry.limits.timeout,
        };
        let running = self.try_twice(call, &plugin, revision, place).await?;
        if events {
            return Ok(running.events(account.later(), origin.id.clone()));
        }
        running.result().await.map_err(Refusal::Tool)
    }

    async fn plugins(&self, caller: &Caller) -> Answer {
        let table = self.table()?;
        let visible = list::visible(&table, &self.authorizer, caller)
            .await
            .map_err(Refusal::Authorize)?;
        Ok(json(&visible))
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
    async fn hold(&self, guards: &Guards, caller: &Caller, rights: &BTreeSet<Right>) -> Result<(), Refusal> {
        for right in rights {
            if !guards.grants(right) {
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

    fn find_cluster(&self, name: Option<&str>) -> Result<(), Refusal> {
        if name.is_none_or(|name| name == self.home_cluster.as_str()) {
            Ok(())
        } else {
            Err(Refusal::NoCluster)
        }
    }

    /// A place among the requests to the plugin that are under way, until the last copy is dropped.
    fn place(&self, plugin: &PluginName, entry: &Entry) -> Result<Place, Refusal> {
        let most = entry.limits.in_flight;
        self.upstream.place(plugin, most).ok_or(Refusal::InFlight { most })
    }

    /// A connection to the plugin, elsewhere than where it was `tried` if that is possible.
    async fn connect(
        &self,
        plugin: &PluginName,
        revision: &Revision,
        tried: Option<SocketAddr>,
    ) -> Result<Connected, Refusal> {
        let connected = self.upstream.connect_elsewhere(plugin, revision, tried).await;
        connected.map_err(|exhausted| Refusal::NoEndpoint {
            tried: exhausted.tried,
            last: exhausted.last,
        })
    }
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
    whole(HeaderValue::from_static("application/json"), text)
}

/// An answer of the gateway's own, of whatever media type.
fn whole(media_type: HeaderValue, text: Vec<u8>) -> Response<ResponseBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
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
