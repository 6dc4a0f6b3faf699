//! Reading and changing objects of the author's types.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use kite_proto::{ResourceRequest, ResourceResponse, resource_response::Part};
use tokio::time::timeout;
use tonic::{Code, Status};
use tracing::{Instrument as _, error, error_span};

use super::{panic_text, reply, status};
use crate::{Kite, RequestId, ResourceContext, ResourceError, caller::Context, definitions::Types, resource::Answer};

/// Answers one request.
pub(super) async fn call(types: &Types, kite: Kite, mut request: ResourceRequest) -> Result<ResourceResponse, Status> {
    let context = Context::try_from(request.context.take()).map_err(|error| status::invalid(&error))?;
    let kind = types
        .get(request.r#type.as_str())
        .ok_or_else(|| Status::not_found("the plugin has no resource type of this name"))?;
    let request_id = context.request_id.clone();
    let span = error_span!("resource", request_id = %request_id, r#type = kind.name);
    let limit = context.timeout;
    let told = |error: ResourceError| refusal(&error, &request_id, kind.name);
    let request = kind.request(request).map_err(told)?;
    let validator = kind.validator.clone().map_err(|error| status::invalid(&error))?;
    let context = ResourceContext::new(context, kite);
    let serve = kind.serve();
    let running = serve.serve(&context, &validator, request);
    let running = AssertUnwindSafe(running).catch_unwind().instrument(span);
    let ended = match limit {
        Some(limit) => timeout(limit, running).await.map_err(|_| reply::too_late())?,
        None => running.await,
    };
    let answer = ended.map_err(|panic| {
        let panic = panic_text(&*panic);
        error!(request_id = %request_id, r#type = kind.name, panic, "a resource type panicked");
        Status::internal("the resource type failed")
    })?;
    let part = match answer.map_err(told)? {
        Answer::Object(object) => Part::Object(object),
        Answer::List(list) => Part::List(list),
    };
    Ok(ResourceResponse { part: Some(part) })
}

/// The protocol's status of an error. What a failure is about goes to the log alone.
fn refusal(refused: &ResourceError, request_id: &RequestId, kind: &str) -> Status {
    let code = match refused {
        ResourceError::Invalid(_) => Code::InvalidArgument,
        ResourceError::NotFound => Code::NotFound,
        ResourceError::AlreadyExists => Code::AlreadyExists,
        ResourceError::Conflict => Code::Aborted,
        ResourceError::Precondition(_) => Code::FailedPrecondition,
        ResourceError::Expired => Code::OutOfRange,
        ResourceError::Forbidden(_) => Code::PermissionDenied,
        ResourceError::Unimplemented => Code::Unimplemented,
        ResourceError::Failed(reason) => {
            error!(request_id = %request_id, r#type = kind, error = reason, "a resource type failed");
            return Status::internal("the resource type failed");
        }
    };
    status::of(code, refused.to_string())
}
