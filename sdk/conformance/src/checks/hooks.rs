//! The host's own calls, and the middleware.

use std::time::Duration;

use kite_proto::{
    ApplySettingsRequest, ApplySettingsResponse, InterceptRequest, InterceptResponse, MAX_CHUNK, OnClusterEventRequest,
    OnClusterEventResponse, ShutdownRequest, ShutdownResponse, intercept_response::Part,
    on_cluster_event_request::Kind,
};
use tokio::time::Instant;

use super::{definitions, http::request};
use crate::{
    verdict::{Checked, Failed, broken, ensure, not_applicable},
    wire::Answer,
    world::World,
};

/// Most bytes of a reason.
const MAX_REASON: usize = 1024;
/// Most header fields that a middleware adds.
const MAX_ADDED: usize = 64;
/// A key that no reason has room to quote.
const LONG: usize = 3000;
/// Fields that are not the middleware's to add.
const NOT_ADDED: [&str; 10] = [
    "authorization",
    "connection",
    "cookie",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

async fn apply(world: &World, settings: &str) -> Checked<ApplySettingsResponse> {
    let request = ApplySettingsRequest {
        context: Some(world.host_context()),
        settings: settings.as_bytes().to_vec().into(),
    };
    let answer: Answer<ApplySettingsResponse> = world.ask("ApplySettings", &request).await?;
    answer.one("ApplySettings")
}

async fn known_settings(world: &World) -> Checked<&str> {
    if !definitions::supports(world).await?.settings {
        return not_applicable("the plugin takes no settings");
    }
    match &world.known.settings {
        Some(settings) => Ok(settings),
        None => not_applicable("the suite knows no settings of the plugin"),
    }
}

pub(crate) async fn settings(world: &World) -> Checked {
    let known = known_settings(world).await?;
    let strange = format!(r#"{{"{}": 1}}"#, "k".repeat(LONG));
    // What the plugin goes on with are those that are known.
    for settings in [strange.as_str(), known] {
        let reason = apply(world, settings).await?.reason.len();
        ensure(
            reason <= MAX_REASON,
            || format!("a reason of {reason} bytes"),
            format!("at most {MAX_REASON}"),
        )?;
    }
    Ok(())
}

pub(crate) async fn settings_twice(world: &World) -> Checked {
    let known = known_settings(world).await?;
    let first = apply(world, known).await?.accepted;
    let second = apply(world, known).await?.accepted;
    ensure(
        first == second,
        || format!("accepted first: {first}, then: {second}"),
        "the same answer",
    )
}

pub(crate) async fn cluster_event(world: &World) -> Checked {
    if !definitions::supports(world).await?.cluster_events {
        return not_applicable("the plugin takes no events of clusters");
    }
    for kind in [Kind::Added, Kind::Added, Kind::Updated, Kind::Removed, Kind::Removed] {
        let request = OnClusterEventRequest {
            context: Some(world.host_context()),
            kind: kind.into(),
            cluster: String::from("conformance"),
            present: Vec::new(),
        };
        let answer: Answer<OnClusterEventResponse> = world.ask("OnClusterEvent", &request).await?;
        answer.one(&format!("OnClusterEvent {}", kind.as_str_name()))?;
    }
    Ok(())
}

/// What the middleware answers, and how long that took.
pub(crate) type Intercepted = (Checked<Part>, Duration);

/// It is asked once.
async fn intercept(world: &World) -> Checked<&Intercepted> {
    world.intercepted.get_or_try_init(|| ask_middleware(world)).await
}

async fn ask_middleware(world: &World) -> Checked<Intercepted> {
    if !definitions::supports(world).await?.intercept {
        return not_applicable("the plugin has no middleware");
    }
    let mut head = request(world, "GET", "/api/v1/plugins/conformance/")
        .head
        .unwrap_or_default();
    head.context = None;
    let asked = InterceptRequest {
        context: Some(world.context()),
        plugin: String::from("conformance"),
        head: Some(head),
    };
    let began = Instant::now();
    let answer: Answer<InterceptResponse> = world.ask("Intercept", &asked).await?;
    let part = match answer.one("Intercept").map(|answer| answer.part) {
        Ok(Some(part)) => Ok(part),
        Ok(None) => broken("an answer without a part", "a verdict"),
        Err(failed) => Err(failed),
    };
    Ok((part, began.elapsed()))
}

/// What it answers, for rules that build on that.
async fn verdict(world: &World) -> Checked<Part> {
    match intercept(world).await?.0.clone() {
        Err(Failed::Broken { .. }) => not_applicable("the middleware does not answer"),
        part => part,
    }
}

pub(crate) async fn intercept_in_time(world: &World) -> Checked {
    let (part, took) = intercept(world).await?;
    part.clone()?;
    let limit = world.limits.answer;
    ensure(
        *took <= limit,
        || format!("an answer after {took:?}"),
        format!("one within {limit:?}"),
    )
}

pub(crate) async fn intercept_fields(world: &World) -> Checked {
    let Part::Continue(added) = verdict(world).await? else {
        return not_applicable("the middleware answers, and adds no fields");
    };
    let count = added.headers.len();
    ensure(
        count <= MAX_ADDED,
        || format!("{count} fields"),
        format!("at most {MAX_ADDED}"),
    )?;
    let is_foreign = |name: &str| NOT_ADDED.contains(&name) || name.starts_with("x-kite-");
    match added.headers.iter().find(|field| is_foreign(&field.name)) {
        Some(field) => broken(format!("the field {}", field.name), "fields that are its to add"),
        None => Ok(()),
    }
}

pub(crate) async fn intercept_answer(world: &World) -> Checked {
    let Part::Answer(answer) = verdict(world).await? else {
        return not_applicable("the middleware lets requests go on");
    };
    let status = answer.head.map(|head| head.status).unwrap_or_default();
    ensure(
        (200..=599).contains(&status),
        || format!("the status {status}"),
        "200 to 599",
    )?;
    let length = answer.data.len();
    ensure(
        length <= MAX_CHUNK,
        || format!("{length} bytes"),
        format!("at most {MAX_CHUNK}"),
    )
}

pub(crate) async fn shutdown(world: &World) -> Checked {
    if !definitions::supports(world).await?.shutdown {
        return not_applicable("the plugin does not have Shutdown");
    }
    if world.process.is_none() {
        return not_applicable("the suite did not start the plugin, and does not stop it");
    }
    let request = ShutdownRequest {
        context: Some(world.host_context()),
    };
    let answer: Answer<ShutdownResponse> = world.ask("Shutdown", &request).await?;
    answer.one("Shutdown").map(drop)
}
