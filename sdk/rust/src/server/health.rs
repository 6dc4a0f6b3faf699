//! The plain-text port, for the kubelet's probes, `grpc.health.v1.Health/Check`, and for Prometheus, `GET /metrics`: nothing else.

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use futures::stream::Empty;
use kite_proto::plugin_server;
use tokio::{net::TcpListener, sync::watch};
use tonic::{
    Request, Status,
    server::NamedService,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

use crate::{metrics::Metrics, service::Service};

const MAX_STREAMS: u32 = 16;
const MAX_HEADERS: u32 = 8 * 1024;
const MAX_MESSAGE: usize = 1024;

/// Answers probes and Prometheus, for as long as it is polled. `serving` is true while the plugin takes requests.
pub(super) async fn serve(
    listener: TcpListener,
    serving: watch::Receiver<bool>,
    metrics: Metrics,
) -> Result<(), tonic::transport::Error> {
    let health = HealthServer::new(Answer { serving }).max_decoding_message_size(MAX_MESSAGE);
    let routes = Routes::new(health)
        .into_axum_router()
        .route("/metrics", get(async move || metrics.answer()))
        .fallback(nothing_else);
    Server::builder()
        // Prometheus speaks nothing newer without TLS.
        .accept_http1(true)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_HEADERS)
        .add_routes(routes.into())
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
}

/// What else is asked is not here: said to clients of gRPC by their status, to others by HTTP's.
async fn nothing_else(headers: HeaderMap) -> Response<Body> {
    let kind = headers.get(CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes());
    if kind.starts_with(b"application/grpc") {
        return Status::unimplemented("this port answers Check only").into_http();
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

struct Answer {
    serving: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Health for Answer {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !service.is_empty() && service != plugin_server::PluginServer::<Service>::NAME {
            return Err(Status::not_found("there is no such service"));
        }
        let status = if *self.serving.borrow() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        Ok(tonic::Response::new(HealthCheckResponse { status: status.into() }))
    }

    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("this port answers Check only"))
    }
}
