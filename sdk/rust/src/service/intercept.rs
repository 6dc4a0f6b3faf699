//! Asking the author's middleware.

use axum::http::{HeaderMap, HeaderName, Response};
use bytes::Bytes;
use kite_api::error_chain;
use kite_proto::{
    HttpResponseHead, InterceptAnswer, InterceptContinue, InterceptRequest, InterceptResponse, MAX_CHUNK,
    intercept_response::Part,
};
use tonic::Status;
use tracing::error;

use super::{
    headers::{self, HeaderError},
    hooks::{Hooks, absent, guarded},
    request,
};
use crate::middleware::{Intercepted, Verdict};

/// Most header fields that a middleware may add.
const MAX_ADDED: usize = 64;
/// Fields that speak of a connection, or of who calls: neither is the middleware's.
const NOT_ADDED: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why what a middleware says cannot be sent.
#[derive(Debug, thiserror::Error)]
enum VerdictError {
    #[error("it adds {0} header fields, the limit is {MAX_ADDED}")]
    Many(usize),
    #[error("it adds the header field {0}, which is not its to add")]
    Field(HeaderName),
    #[error("its answer has the status {0}, which is none of 200 to 599")]
    Status(u16),
    #[error("its answer has a body of {0} bytes, the limit is {MAX_CHUNK}")]
    Large(usize),
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl Hooks {
    pub(super) async fn intercept(&self, asked: InterceptRequest) -> Result<InterceptResponse, Status> {
        let hook = self.middleware.as_ref().ok_or_else(|| absent("middleware"))?;
        let head = asked.head.map(|head| kite_proto::HttpRequestHead {
            context: asked.context,
            ..head
        });
        let (request, context) = request::head(head)?;
        let intercepted = Intercepted {
            plugin: asked.plugin,
            request,
            context: context.clone(),
        };
        let running = hook.ask(self.kite.clone(), intercepted);
        let verdict = guarded("middleware", &context, running).await?.map_err(|error| {
            error!(request_id = %context.request_id, error = error_chain(&*error), "the middleware failed");
            Status::internal("the middleware failed")
        })?;
        let part = written(verdict).map_err(|error| {
            error!(request_id = %context.request_id, error = error_chain(&error), "what the middleware says cannot be sent");
            Status::internal("the middleware failed")
        })?;
        Ok(InterceptResponse { part: Some(part) })
    }
}

fn written(verdict: Verdict) -> Result<Part, VerdictError> {
    match verdict {
        Verdict::Continue(added) => added_fields(&added).map(Part::Continue),
        Verdict::Answer(response) => answer(response).map(Part::Answer),
    }
}

fn added_fields(added: &HeaderMap) -> Result<InterceptContinue, VerdictError> {
    if added.len() > MAX_ADDED {
        return Err(VerdictError::Many(added.len()));
    }
    let foreign = |name: &&HeaderName| NOT_ADDED.contains(&name.as_str()) || name.as_str().starts_with("x-kite-");
    if let Some(name) = added.keys().find(foreign) {
        return Err(VerdictError::Field(name.clone()));
    }
    Ok(InterceptContinue {
        headers: headers::write(added)?,
    })
}

fn answer(response: Response<Bytes>) -> Result<InterceptAnswer, VerdictError> {
    let (parts, data) = response.into_parts();
    let status = parts.status.as_u16();
    if !(200..=599).contains(&status) {
        return Err(VerdictError::Status(status));
    }
    if data.len() > MAX_CHUNK {
        return Err(VerdictError::Large(data.len()));
    }
    let head = HttpResponseHead {
        status: status.into(),
        headers: headers::write(&parts.headers)?,
    };
    Ok(InterceptAnswer { head: Some(head), data })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn adding(names: impl IntoIterator<Item = String>) -> Result<Part, VerdictError> {
        let field = |name: String| (HeaderName::try_from(name).unwrap(), HeaderValue::from_static("1"));
        written(Verdict::Continue(names.into_iter().map(field).collect()))
    }

    fn answering(status: u16, length: usize) -> Result<Part, VerdictError> {
        let mut response = Response::new(Bytes::from(vec![0; length]));
        *response.status_mut() = status.try_into().unwrap();
        written(Verdict::Answer(response))
    }

    #[test]
    fn a_verdict_is_refused_for_each_of_its_reasons() {
        for name in ["authorization", "cookie", "x-kite-user", "connection"] {
            assert!(
                matches!(adding([name.to_owned()]), Err(VerdictError::Field(_))),
                "{name}"
            );
        }
        let many = |count: usize| adding((0..count).map(|number| format!("x-{number}")));
        assert!(many(64).is_ok());
        assert!(matches!(many(65), Err(VerdictError::Many(65))));
        for status in [101, 600] {
            assert!(matches!(answering(status, 0), Err(VerdictError::Status(_))), "{status}");
        }
        assert!(answering(200, MAX_CHUNK).is_ok());
        assert!(matches!(answering(200, MAX_CHUNK + 1), Err(VerdictError::Large(_))));
    }
}
