//! A plugin as middleware: asked about requests to plugins before they go on.

use std::{fmt, future::Future, sync::Arc};

use axum::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use tower::BoxError;

use crate::{Caller, Cluster, Kite, RequestId, caller::Context};

type Ask = Arc<dyn Fn(Kite, Intercepted) -> BoxFuture<'static, Result<Verdict, BoxError>> + Send + Sync>;

/// A request to a plugin, about which the middleware is asked. It has no body, and no credentials of the caller's.
#[derive(Debug)]
pub struct Intercepted {
    /// The plugin that the request is to.
    pub plugin: String,
    /// Method, header fields, and the whole path from `/api/v1/plugins/` on.
    pub request: Request<()>,
    pub(crate) context: Context,
}

impl Intercepted {
    /// Who calls; `None` if the host itself does.
    pub fn caller(&self) -> Option<&Caller> {
        self.context.caller.as_ref()
    }

    /// The cluster that the request is about.
    pub fn cluster(&self) -> &Cluster {
        &self.context.cluster
    }

    /// The id that names the request in every log.
    pub fn request_id(&self) -> &RequestId {
        &self.context.request_id
    }
}

/// What becomes of the request.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on, with these header fields in the place of those of the same name: at most 64, and no credentials, hop-by-hop fields
    /// or `x-kite-*`.
    Continue(HeaderMap),
    /// It is answered so, with a body of at most 64 KiB.
    Answer(Response<Bytes>),
}

impl Verdict {
    /// The request goes on as it is.
    pub fn proceed() -> Self {
        Self::Continue(HeaderMap::new())
    }
}

/// A plugin's hook for requests that pass by, of the paths that `spec.middleware` of its object names.
///
/// It must answer within the time that stands there. What becomes of the request when it does not, or fails, stands there too.
#[derive(Clone)]
pub struct Middleware(Ask);

impl Middleware {
    /// Requests are shown to `hook`. Its error goes to the log.
    pub fn new<Run, Running>(hook: Run) -> Self
    where
        Run: Fn(Kite, Intercepted) -> Running + Send + Sync + 'static,
        Running: Future<Output = Result<Verdict, BoxError>> + Send + 'static,
    {
        let hook = Arc::new(hook);
        Self(Arc::new(move |kite, intercepted| {
            let hook = Arc::clone(&hook);
            async move { hook(kite, intercepted).await }.boxed()
        }))
    }

    pub(crate) fn ask(&self, kite: Kite, intercepted: Intercepted) -> BoxFuture<'static, Result<Verdict, BoxError>> {
        (self.0)(kite, intercepted)
    }
}

impl fmt::Debug for Middleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Middleware")
    }
}
