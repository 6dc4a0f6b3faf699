//! A plugin without a network between, as this repository fuzzes what the gateway reads of one.

use std::sync::{Arc, atomic::AtomicUsize};

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connection::{self, EndpointError, Sender},
    endpoint::{Connected, InFlight},
};
use crate::directory::DefinitionsHash;

/// A connection for one request over `io`, whose plugin nobody has asked what it is.
pub async fn connect(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Connected, EndpointError> {
    let client = open(io).await?.client();
    let in_flight = InFlight::of(Arc::new(AtomicUsize::new(0)));
    Ok(Connected { client, in_flight })
}

/// The hash of what the plugin at the other end of `io` says that it offers.
pub async fn describe(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<DefinitionsHash, EndpointError> {
    open(io).await?.describe().await
}

async fn open(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Sender, EndpointError> {
    let (sender, connection) = connection::over(io, Uri::from_static("https://plugin.invalid")).await?;
    tokio::spawn(connection);
    Ok(sender)
}
