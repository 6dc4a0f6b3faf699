//! The protocol's service, over an author's routes and tools.

mod exchange;
mod headers;
mod http;
mod reply;
mod request;
mod socket;
mod status;
mod tools;

use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use futures::stream::BoxStream;
use kite_api::PluginName;
use kite_proto::{
    CallToolRequest, CallToolResponse, DescribeRequest, DescribeResponse, ExchangeRequest, ExchangeResponse,
    HttpRequest, HttpResponse, MAX_ARGUMENTS, PROTOCOL, plugin_server::Plugin,
};
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::definitions::Tools;

/// Most bytes of a message that is taken: a tool's arguments, the largest thing that one may hold, and room for what
/// stands beside.
pub(crate) const MAX_MESSAGE: usize = MAX_ARGUMENTS + 256 * 1024;

/// The messages of an answer.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// A plugin as the host sees it.
pub(crate) struct Service {
    pub(crate) name: PluginName,
    pub(crate) version: semver::Version,
    pub(crate) definitions: Bytes,
    pub(crate) tools: Tools,
    pub(crate) routes: Router,
    /// A place for each small exchange, of all streams together.
    pub(crate) exchanges: Arc<Semaphore>,
    /// True while the plugin takes requests.
    pub(crate) serving: watch::Receiver<bool>,
}

/// Places for small exchanges.
pub(crate) fn exchanges() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(exchange::MAX_EXCHANGES))
}

#[tonic::async_trait]
impl Plugin for Service {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Ok(Response::new(DescribeResponse {
            name: self.name.to_string(),
            version: self.version.to_string(),
            protocol: PROTOCOL,
            definitions: self.definitions.clone(),
        }))
    }

    async fn http(&self, request: Request<Streaming<HttpRequest>>) -> Result<Response<Answers<HttpResponse>>, Status> {
        http::exchange(self.routes.clone(), request.into_inner(), self.serving.clone())
            .await
            .map(Response::new)
    }

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Answers<ExchangeResponse>>, Status> {
        let exchanges = Arc::clone(&self.exchanges);
        let stream = exchange::serve(
            self.routes.clone(),
            exchanges,
            request.into_inner(),
            self.serving.clone(),
        );
        Ok(Response::new(stream))
    }

    async fn call_tool(
        &self,
        request: Request<CallToolRequest>,
    ) -> Result<Response<Answers<CallToolResponse>>, Status> {
        tools::call(&self.tools, request.into_inner()).await.map(Response::new)
    }
}

/// What a panic was about, for the log.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}
