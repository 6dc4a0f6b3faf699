//! The protocol's service, over an author's routes and tools.

mod exchange;
mod files;
mod headers;
mod hooks;
mod http;
mod intercept;
mod reply;
mod request;
mod resources;
mod socket;
mod status;
mod tools;

use std::sync::Arc;

use axum::Router;
use futures::stream::BoxStream;
pub(crate) use hooks::Hooks;
use kite_api::PluginName;
use kite_proto::{
    ApplySettingsRequest, ApplySettingsResponse, AuthorizeToolRequest, AuthorizeToolResponse, CallToolRequest,
    CallToolResponse, DescribeRequest, DescribeResponse, ExchangeRequest, ExchangeResponse, GetFileRequest,
    GetFileResponse, HttpRequest, HttpResponse, InterceptRequest, InterceptResponse, MAX_ARGUMENTS,
    OnClusterEventRequest, OnClusterEventResponse, PROTOCOL, ResourceRequest, ResourceResponse, ShutdownRequest,
    ShutdownResponse, plugin_server::Plugin,
};
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::definitions::Accepted;

/// Most bytes of a message that is taken: a tool's arguments, the largest thing that one may hold, and room for what
/// stands beside.
pub(crate) const MAX_MESSAGE: usize = MAX_ARGUMENTS + 256 * 1024;

/// The messages of an answer.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// A plugin as the host sees it.
pub(crate) struct Service {
    pub(crate) name: PluginName,
    pub(crate) version: semver::Version,
    pub(crate) offered: Accepted,
    pub(crate) routes: Router,
    /// A place for each small exchange, of all streams together.
    pub(crate) exchanges: Arc<Semaphore>,
    pub(crate) hooks: Hooks,
    /// False from the moment on which the plugin is told to stop.
    pub(crate) serving: watch::Sender<bool>,
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
            definitions: self.offered.definitions.clone(),
        }))
    }

    async fn get_file(&self, request: Request<GetFileRequest>) -> Result<Response<Answers<GetFileResponse>>, Status> {
        files::get(&self.offered.files, request.into_inner()).map(Response::new)
    }

    async fn http(&self, request: Request<Streaming<HttpRequest>>) -> Result<Response<Answers<HttpResponse>>, Status> {
        http::exchange(self.routes.clone(), request.into_inner(), self.serving.subscribe())
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
            self.serving.subscribe(),
        );
        Ok(Response::new(stream))
    }

    async fn intercept(&self, request: Request<InterceptRequest>) -> Result<Response<InterceptResponse>, Status> {
        self.hooks.intercept(request.into_inner()).await.map(Response::new)
    }

    async fn call_tool(
        &self,
        request: Request<CallToolRequest>,
    ) -> Result<Response<Answers<CallToolResponse>>, Status> {
        tools::call(&self.offered.tools, self.hooks.kite.clone(), request.into_inner()).map(Response::new)
    }

    async fn authorize_tool(
        &self,
        request: Request<AuthorizeToolRequest>,
    ) -> Result<Response<AuthorizeToolResponse>, Status> {
        tools::authorize(&self.offered.tools, self.hooks.kite.clone(), request.into_inner())
            .await
            .map(Response::new)
    }

    async fn resource(&self, request: Request<ResourceRequest>) -> Result<Response<ResourceResponse>, Status> {
        resources::call(&self.offered.types, self.hooks.kite.clone(), request.into_inner())
            .await
            .map(Response::new)
    }

    async fn apply_settings(
        &self,
        request: Request<ApplySettingsRequest>,
    ) -> Result<Response<ApplySettingsResponse>, Status> {
        self.hooks.apply_settings(request.into_inner()).await.map(Response::new)
    }

    async fn on_cluster_event(
        &self,
        request: Request<OnClusterEventRequest>,
    ) -> Result<Response<OnClusterEventResponse>, Status> {
        self.hooks.on_cluster_event(request.into_inner()).await?;
        Ok(Response::new(OnClusterEventResponse {}))
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        // A plugin that does not have it is not told to stop by it either.
        if self.hooks.shutdown.is_some() {
            self.serving.send_replace(false);
        }
        self.hooks.shutdown(request.into_inner()).await?;
        Ok(Response::new(ShutdownResponse {}))
    }
}

/// What a panic was about, for the log.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}
