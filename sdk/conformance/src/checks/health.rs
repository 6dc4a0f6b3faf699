//! The plain-text port.

use kite_proto::{DescribeRequest, DescribeResponse};
use prost::Message as _;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};

use crate::{
    verdict::{Checked, broken, ensure},
    wire::{Answer, Wire},
    world::{World, no_call, no_connection},
};

const SERVICES: [&str; 2] = ["", "kite.plugin.v1.Plugin"];

pub(crate) async fn serving(world: &World) -> Checked {
    for service in SERVICES {
        let status = status(world, service).await?;
        let seen = || format!("the service {service:?} is {}", status.as_str_name());
        ensure(status == ServingStatus::Serving, seen, "SERVING")?;
    }
    Ok(())
}

/// What the plugin says of its health.
pub(crate) async fn status(world: &World, service: &str) -> Checked<ServingStatus> {
    let wire = connect(world).await?;
    let mut call = match wire
        .call_with("grpc.health.v1.Health", "Check", &http::HeaderMap::new())
        .await
    {
        Ok(call) => call,
        Err(error) => return no_call("Check", &error),
    };
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    call.send(&request, true).await;
    let answer: Answer<HealthCheckResponse> = call.collect(world.limits.answer).await;
    answer.one("Check").map(|answer| answer.status())
}

async fn connect(world: &World) -> Checked<Wire> {
    let wire = Wire::plain(world.target.health, &world.log).await;
    wire.or_else(|error| no_connection(&error))
}

pub(crate) async fn alone(world: &World) -> Checked {
    let wire = connect(world).await?;
    let request = DescribeRequest {
        context: Some(world.host_context()),
    };
    let Ok(mut call) = wire.call("Describe").await else {
        return Ok(());
    };
    call.send_raw(&request.encode_to_vec(), true).await;
    let answer: Answer<DescribeResponse> = call.collect(world.limits.answer).await;
    ensure(
        answer.messages.is_empty(),
        || String::from("Describe answers on the health port"),
        "a refusal",
    )
}

pub(crate) async fn silent(world: &World) -> Checked {
    for path in ["/", "/kite.plugin.v1.Plugin/Describe", "/healthz"] {
        let wire = connect(world).await?;
        let Ok(status) = tokio::time::timeout(world.limits.answer, wire.get(path)).await else {
            return broken(format!("GET {path} has no end"), "a refusal");
        };
        let is_answer = status.is_some_and(|status| (200..300).contains(&status));
        ensure(!is_answer, || format!("GET {path} is answered"), "a refusal")?;
    }
    Ok(())
}
