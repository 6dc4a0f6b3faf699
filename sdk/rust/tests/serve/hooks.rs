//! What a plugin is told, and what routes and tools know of it.

use std::{convert::Infallible, sync::Arc};

use kite_plugin_sdk::{
    ApplySettings, Cluster, ClusterChange, ClusterEvents, KubeClient, Middleware, Plugin, Refused, Settings, Shutdown,
    Tool, ToolContext, ToolError, Verdict,
    axum::{
        Router,
        body::Body,
        http::{HeaderMap, HeaderName, Response, StatusCode},
        routing::get,
    },
    kube::Client,
    schemars::JsonSchema,
    serde::Deserialize,
};
use kite_proto::{
    ApplySettingsRequest, CallContext, Definitions, DescribeRequest, HttpRequestHead, InterceptRequest,
    OnClusterEventRequest, ShutdownRequest, Supports, intercept_response::Part, on_cluster_event_request::Kind,
    plugin_client::PluginClient,
};
use tokio::sync::{Notify, mpsc};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    plugin::{MANIFEST, TestPlugin},
    world::{World, call, context, exchange, field, head, small, within},
};

/// Tells what it was told.
struct Listener {
    told: mpsc::UnboundedSender<String>,
    go_on: Arc<Notify>,
}

#[derive(Deserialize)]
#[serde(crate = "kite_plugin_sdk::serde")]
struct Prices {
    currency: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "kite_plugin_sdk::serde")]
#[schemars(crate = "kite_plugin_sdk::schemars")]
struct Nothing {}

impl Plugin for Listener {
    fn manifest(&self) -> &str {
        MANIFEST
    }

    fn routes(&self) -> Router {
        let currency = |prices: Settings<Prices>| async move { prices.currency.clone() };
        Router::new()
            .route("/currency", get(currency))
            .route("/other", get(|_: Settings<String>| async {}))
            .route("/cluster", get(|cluster: Cluster| async move { cluster.to_string() }))
            .route(
                "/version",
                get(|kube: KubeClient| async move { kube.apiserver_version().await.unwrap().minor }),
            )
    }

    fn tools(&self) -> Vec<Tool> {
        vec![Tool::new("all", "Tells all it knows", all)]
    }

    fn apply_settings(&self) -> Option<ApplySettings> {
        Some(ApplySettings::with(|_, prices: Settings<Prices>| async move {
            match prices.currency.as_str() {
                "BTC" => Err(Refused::new("coins are no currency")),
                "panic" => panic!("on purpose"),
                _ => Ok(()),
            }
        }))
    }

    fn on_cluster_event(&self) -> Option<ClusterEvents> {
        let told = self.told.clone();
        Some(ClusterEvents::new(move |_, event| {
            let told = told.clone();
            async move {
                let removed = event.change == ClusterChange::Removed;
                told.send(format!("{:?} {}", event.change, event.cluster))?;
                if removed { Err("on purpose".into()) } else { Ok(()) }
            }
        }))
    }

    fn middleware(&self) -> Option<Middleware> {
        Some(Middleware::new(|_, asked| async move {
            let caller = asked.caller().ok_or("nobody calls")?.name.clone();
            match asked.request.uri().path() {
                "/api/v1/plugins/costs/secret" => {
                    let mut response = Response::new("not for you".into());
                    *response.status_mut() = StatusCode::FORBIDDEN;
                    Ok(Verdict::Answer(response))
                }
                "/api/v1/plugins/costs/cookie" => {
                    let cookie = (HeaderName::from_static("cookie"), caller.parse()?);
                    Ok(Verdict::Continue(HeaderMap::from_iter([cookie])))
                }
                _ => {
                    let team = (
                        HeaderName::from_static("x-team"),
                        format!("{caller} of {}", asked.plugin).parse()?,
                    );
                    Ok(Verdict::Continue(HeaderMap::from_iter([team])))
                }
            }
        }))
    }

    fn shutdown(&self) -> Option<Shutdown> {
        let (told, go_on) = (self.told.clone(), Arc::clone(&self.go_on));
        Some(Shutdown::new(move |_| {
            let (told, go_on) = (told.clone(), Arc::clone(&go_on));
            async move {
                told.send("shutdown".to_owned()).unwrap();
                go_on.notified().await;
                told.send("released".to_owned()).unwrap();
            }
        }))
    }
}

async fn all(context: ToolContext, _: Nothing) -> Result<String, ToolError> {
    let version = context.kube().await?.apiserver_version().await?;
    let settings = context.settings::<Prices>()?;
    Ok(format!("{} {} {}", context.cluster(), settings.currency, version.minor))
}

/// A client of an API server that knows its version and nothing else.
fn cluster() -> Client {
    let answer = |_| async {
        let version = r#"{"major": "1", "minor": "34", "gitVersion": "", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}"#;
        Ok::<_, Infallible>(Response::new(Body::from(version)))
    };
    Client::new(tower::service_fn(answer), "plugins")
}

async fn listener() -> (World, Arc<Notify>, mpsc::UnboundedReceiver<String>) {
    let (told, listening) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let plugin = Listener {
        told,
        go_on: Arc::clone(&go_on),
    };
    (World::serve_beside(plugin, Some(cluster())).await, go_on, listening)
}

async fn apply(client: &mut PluginClient<Channel>, settings: &'static str) -> Result<(), String> {
    let request = ApplySettingsRequest {
        context: Some(CallContext::default()),
        settings: settings.into(),
    };
    let answer = within("the settings", client.apply_settings(request)).await;
    let answer = answer.map_err(|status| status.to_string())?.into_inner();
    if answer.accepted { Ok(()) } else { Err(answer.reason) }
}

async fn got(client: &mut PluginClient<Channel>, path: &str) -> (u32, String) {
    let answer = exchange(client, small(head("GET", path), b"")).await.unwrap();
    (answer.status, String::from_utf8(answer.body).unwrap())
}

async fn supports(world: &World) -> Option<Supports> {
    let described = world.client().await.describe(DescribeRequest::default()).await;
    let definitions: Definitions = prost::Message::decode(described.unwrap().into_inner().definitions).unwrap();
    definitions.supports
}

#[tokio::test]
async fn a_plugin_says_which_hooks_it_has() {
    let (world, ..) = listener().await;
    let all = Supports {
        settings: true,
        cluster_events: true,
        shutdown: true,
        intercept: true,
        // The SDK's own.
        exchange: true,
    };
    assert_eq!(supports(&world).await, Some(all));

    let world = World::serve(TestPlugin::new().0).await;
    let none = Supports {
        exchange: true,
        ..Supports::default()
    };
    assert_eq!(supports(&world).await, Some(none));
    let mut client = world.client().await;
    let absent = apply(&mut client, "{}").await.unwrap_err();
    assert!(absent.contains("no hook for settings"), "{absent}");
    let code = client
        .on_cluster_event(event(Kind::Added, "a"))
        .await
        .unwrap_err()
        .code();
    assert_eq!(code, Code::Unimplemented);
    let code = client.intercept(InterceptRequest::default()).await.unwrap_err().code();
    assert_eq!(code, Code::Unimplemented);
    let code = client.shutdown(shutdown()).await.unwrap_err().code();
    assert_eq!(code, Code::Unimplemented);
}

#[tokio::test]
async fn accepted_settings_are_seen_at_once_and_refused_ones_leave_the_old() {
    let (world, ..) = listener().await;
    let mut client = world.client().await;
    assert_eq!(got(&mut client, "/currency").await.0, 503, "there are none yet");

    apply(&mut client, r#"{"currency": "EUR", "other": 1}"#).await.unwrap();
    assert_eq!(got(&mut client, "/currency").await, (200, "EUR".to_owned()));
    for (settings, reason) in [
        (r#"{"currency": "BTC"}"#, "coins are no currency"),
        (r#"{"currency": 7}"#, "the setting currency does not fit"),
        (r#"{"currency": "panic"}"#, "the plugin's hook failed"),
        ("{}", "currency is missing"),
        ("[]", "not a JSON object"),
    ] {
        let told = apply(&mut client, settings).await.unwrap_err();
        assert!(told.contains(reason), "{settings}: {told}");
        assert_eq!(got(&mut client, "/currency").await.1, "EUR");
    }
    apply(&mut client, r#"{"currency": "USD"}"#).await.unwrap();
    assert_eq!(got(&mut client, "/currency").await.1, "USD");
    assert_eq!(
        got(&mut client, "/other").await.0,
        500,
        "another type than the plugin's"
    );
}

#[tokio::test]
async fn routes_and_tools_know_the_cluster_and_have_a_client_of_the_plugins_own() {
    let (world, ..) = listener().await;
    let mut client = world.client().await;
    assert_eq!(got(&mut client, "/version").await, (200, "34".to_owned()));
    assert_eq!(got(&mut client, "/cluster").await.1, "the home cluster");
    let mut of_another = head("GET", "/cluster");
    of_another.context.as_mut().unwrap().cluster = "west".into();
    let answer = exchange(&mut client, small(of_another, b"")).await.unwrap();
    assert_eq!(answer.body, b"west");

    assert!(
        call(&mut client, "all", "{}")
            .await
            .unwrap()
            .text
            .contains("no settings yet")
    );
    apply(&mut client, r#"{"currency": "EUR"}"#).await.unwrap();
    let result = call(&mut client, "all", "{}").await.unwrap();
    assert_eq!(result.text, "the home cluster EUR 34");
}

fn event(kind: Kind, cluster: &str) -> OnClusterEventRequest {
    OnClusterEventRequest {
        context: Some(CallContext::default()),
        kind: kind.into(),
        cluster: cluster.to_owned(),
        present: Vec::new(),
    }
}

#[tokio::test]
async fn events_of_clusters_are_told_and_an_error_brings_them_back() {
    let (world, _, mut told) = listener().await;
    let mut client = world.client().await;
    for (kind, words) in [(Kind::Added, "Added west"), (Kind::Updated, "Updated west")] {
        client.on_cluster_event(event(kind, "west")).await.unwrap();
        assert_eq!(told.recv().await.unwrap(), words);
    }
    let failed = client.on_cluster_event(event(Kind::Removed, "west")).await.unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    assert_eq!(told.recv().await.unwrap(), "Removed west");

    let unknown = OnClusterEventRequest {
        kind: 99,
        ..event(Kind::Added, "west")
    };
    client.on_cluster_event(unknown).await.unwrap();
    for name in ["", &"a".repeat(254)] {
        let refused = client.on_cluster_event(event(Kind::Added, name)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert!(told.try_recv().is_err(), "nothing of these is an event");
}

#[tokio::test]
async fn a_cluster_that_is_not_in_a_list_of_all_is_told_as_removed() {
    let (world, _, mut told) = listener().await;
    let mut client = world.client().await;
    let list = |cluster: &str, present: &[&str]| OnClusterEventRequest {
        present: present.iter().map(|name| (*name).to_owned()).collect(),
        ..event(Kind::Added, cluster)
    };
    for name in ["east", "home", "west"] {
        client.on_cluster_event(event(Kind::Added, name)).await.unwrap();
        assert_eq!(told.recv().await.unwrap(), format!("Added {name}"));
    }
    // Its hook fails on what is removed: the list comes again.
    let failed = client
        .on_cluster_event(list("home", &["east", "home"]))
        .await
        .unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    assert_eq!(told.recv().await.unwrap(), "Removed west");
    client
        .on_cluster_event(list("home", &["east", "home", "west"]))
        .await
        .unwrap();
    assert_eq!(told.recv().await.unwrap(), "Added home", "it is there again");
    for _ in 0..2 {
        let failed = client
            .on_cluster_event(list("home", &["east", "home"]))
            .await
            .unwrap_err();
        assert_eq!(
            (failed.code(), told.recv().await.unwrap()),
            (Code::Internal, "Removed west".into())
        );
    }
    let refused = client.on_cluster_event(list("home", &["home", ""])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(told.try_recv().is_err(), "nothing of that is an event");
}

fn shutdown() -> ShutdownRequest {
    ShutdownRequest {
        context: Some(CallContext::default()),
    }
}

#[tokio::test]
async fn what_a_plugin_holds_is_released_once_when_the_stop_is_announced() {
    let (mut world, go_on, mut told) = listener().await;
    let mut client = world.client().await;
    let mut hurried = shutdown();
    hurried.context.as_mut().unwrap().timeout = Some(prost_types::Duration {
        seconds: 0,
        nanos: 1_000_000,
    });
    let late = client.shutdown(hurried).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    let mut health = HealthClient::new(world.health_channel().await);
    let says = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(says.status(), ServingStatus::NotServing);
    let refused = async { while world.connect_as(Some(world.clients.client())).await.is_ok() {} };
    within("connections to be refused", refused).await;

    go_on.notify_one();
    client.shutdown(shutdown()).await.unwrap();
    assert_eq!(got(&mut client, "/cluster").await.0, 200, "what is under way goes on");
    world.stop();
    world.ended().await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "shutdown");
    assert_eq!(told.recv().await.unwrap(), "released");
    assert_eq!(told.recv().await, None, "once");
}

#[tokio::test]
async fn what_a_plugin_holds_is_released_when_it_is_stopped_unannounced() {
    let (mut world, go_on, mut told) = listener().await;
    go_on.notify_one();
    world.stop();
    world.ended().await.unwrap();
    assert_eq!(told.recv().await.unwrap(), "shutdown");
    assert_eq!(told.recv().await.unwrap(), "released");
}

#[tokio::test]
async fn a_call_without_a_context_is_refused() {
    let (world, ..) = listener().await;
    let mut client = world.client().await;
    let refused = client
        .apply_settings(ApplySettingsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_middleware_lets_requests_go_on_or_answers_them() {
    let (world, ..) = listener().await;
    let mut client = world.client().await;
    let asked = |path: &str| InterceptRequest {
        context: Some(context()),
        plugin: "costs".to_owned(),
        head: Some(HttpRequestHead {
            context: None,
            ..head("GET", path)
        }),
    };
    let went_on = client
        .intercept(asked("/api/v1/plugins/costs/a"))
        .await
        .unwrap()
        .into_inner();
    let Some(Part::Continue(went_on)) = went_on.part else {
        panic!("it was answered")
    };
    assert_eq!(went_on.headers, [field("x-team", "anna of costs")]);
    let answered = client
        .intercept(asked("/api/v1/plugins/costs/secret"))
        .await
        .unwrap()
        .into_inner();
    let Some(Part::Answer(answered)) = answered.part else {
        panic!("it went on")
    };
    assert_eq!(
        (answered.head.unwrap().status, &answered.data[..]),
        (403, &b"not for you"[..])
    );

    let cookie = client
        .intercept(asked("/api/v1/plugins/costs/cookie"))
        .await
        .unwrap_err();
    assert_eq!(cookie.code(), Code::Internal);
    let mut of_nobody = asked("/api/v1/plugins/costs/a");
    of_nobody.context.as_mut().unwrap().user = None;
    assert_eq!(client.intercept(of_nobody).await.unwrap_err().code(), Code::Internal);
    let without = InterceptRequest {
        context: None,
        ..asked("/a")
    };
    assert_eq!(
        client.intercept(without).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}
