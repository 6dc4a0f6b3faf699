//! What is done wrong below the methods: with their requests before they are read, and with their responses.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderValue, Request, Response, header::HeaderName};
use http_body_util::{BodyExt as _, Full};
use kite_proto::{DescribeRequest, MAX_ARGUMENTS};
use prost::Message as _;
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{Core, Fault, Link};

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Metadata in fields of this many bytes.
const FIELD: usize = 4000;
const FIELDS: usize = 5;

#[derive(Clone)]
pub(super) struct MeddleLayer(Arc<Core>);

/// Stands before the plugin's methods.
#[derive(Clone)]
pub(super) struct Meddle<S> {
    inner: S,
    core: Arc<Core>,
}

impl Meddle<()> {
    pub(super) fn layer(core: &Arc<Core>) -> MeddleLayer {
        MeddleLayer(Arc::clone(core))
    }
}

impl<S> Layer<S> for MeddleLayer {
    type Service = Meddle<S>;

    fn layer(&self, inner: S) -> Meddle<S> {
        Meddle {
            inner,
            core: Arc::clone(&self.0),
        }
    }
}

impl<S> Service<Request<Body>> for Meddle<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let core = Arc::clone(&self.core);
        // The one that was asked whether it is ready goes, and another one stays.
        let another = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, another);
        Box::pin(async move {
            let request = match before(&core, request).await {
                Ok(request) => request,
                Err(response) => return Ok(response),
            };
            let is_describe = request.uri().path().ends_with("/Describe");
            let mut response = inner.call(request).await?;
            if is_describe && core.has(Fault::LargeMetadata) {
                let value = HeaderValue::try_from("a".repeat(FIELD));
                for number in 0..FIELDS {
                    if let (Ok(name), Ok(value)) = (HeaderName::try_from(format!("x-{number}")), &value) {
                        response.headers_mut().insert(name, value.clone());
                    }
                }
            }
            Ok(response)
        })
    }
}

/// What comes before a method; `Err`: in its place.
async fn before(core: &Core, request: Request<Body>) -> Result<Request<Body>, Response<Body>> {
    let path = request.uri().path().to_owned();
    if core.has(Fault::HealthAnswersAll) && !path.contains('.') {
        return Err(Response::new(Body::empty()));
    }
    if core.has(Fault::FailsOnAbsentMethods) && path.ends_with("/Conformance") {
        return Err(Status::internal("what is this").into_http());
    }
    let link = request.extensions().get::<Link>().cloned();
    if let Some(link) = &link
        && link.poisoned.load(Ordering::Relaxed)
    {
        link.cut.cancel();
    }
    let looks = [
        Fault::RefusesUnknownFields,
        Fault::MalformedFrames,
        Fault::CutByOversize,
    ];
    if !path.ends_with("/Describe") || !looks.iter().any(|fault| core.has(*fault)) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let mut prefixed = bytes.clone();
    let length = if prefixed.len() < PREFIX {
        0
    } else {
        prefixed.advance(1);
        usize::try_from(prefixed.get_u32()).unwrap_or(usize::MAX)
    };
    let is_wrong = match core.fault {
        Some(Fault::CutByOversize) => length > MAX_ARGUMENTS * 2,
        Some(Fault::MalformedFrames) => length == prefixed.len() && DescribeRequest::decode(prefixed).is_err(),
        _ => false,
    };
    if let (true, Some(link)) = (is_wrong, &link) {
        link.cut.cancel();
    }
    if core.has(Fault::RefusesUnknownFields) && has_unknown_field(&bytes) {
        return Err(Status::invalid_argument("there is no such field").into_http());
    }
    Ok(Request::from_parts(parts, Body::new(Full::new(bytes))))
}

/// Whether a question has more in it than is read of it, and is not one of the large ones.
fn has_unknown_field(bytes: &Bytes) -> bool {
    let message = bytes.get(PREFIX..).unwrap_or_default();
    let read = DescribeRequest::decode(message).map_or(0, |message| message.encoded_len());
    read < message.len() && message.len() < MAX_ARGUMENTS
}
