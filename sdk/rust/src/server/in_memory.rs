//! A plugin without a connection, as this repository fuzzes and measures it.

use std::convert::Infallible;

use axum::http::{Request, Response};
use kite_api::PluginName;
use kite_proto::plugin_server::PluginServer;
use tokio::sync::watch;
use tonic::body::Body;
use tower::Service;

use super::{ServeError, assemble};
use crate::{
    Kite, Plugin,
    kite::{Gateway, Source},
    service::MAX_MESSAGE,
};

/// The protocol's service of `plugin`, which serves under `name`, for the body of a gRPC request as it comes out of HTTP/2.
pub fn in_memory<P: Plugin>(
    plugin: &P,
    name: PluginName,
) -> Result<
    impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + use<P>,
    ServeError,
> {
    let kite = Kite::new(Source::default(), Gateway::of("/nonexistent".as_ref()));
    let (serving, _) = watch::channel(true);
    let service = assemble::assemble(plugin, name, kite, serving)?;
    Ok(PluginServer::new(service).max_decoding_message_size(MAX_MESSAGE))
}
