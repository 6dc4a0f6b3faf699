//! A plugin without a network between, as this repository fuzzes what the gateway reads of one.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::AtomicUsize},
};

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connection::{self, EndpointError, Sender},
    endpoint::{Connected, InFlight},
    exchange::{Lane, LaneError, Times},
    offered::Offered,
};
use crate::directory::DefinitionsHash;

/// Why there is no connection with a stream of exchanges.
#[derive(Debug, thiserror::Error)]
pub enum InMemoryError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Lane(#[from] LaneError),
}

/// A connection for one request over `io`, to a plugin that offers what `definitions` say.
pub async fn connect(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    definitions: &[u8],
) -> Result<Connected, EndpointError> {
    let offered = Offered::read(definitions).map_err(EndpointError::Offered)?;
    Ok(Connected {
        client: open(io).await?.client(),
        lane: None,
        address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        offered: Arc::new(offered),
        in_flight: InFlight::of(Arc::new(AtomicUsize::new(0))),
    })
}

/// The same with a stream of exchanges, on which the plugin has said Hello.
pub async fn connect_shared(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    definitions: &[u8],
) -> Result<Connected, InMemoryError> {
    let connected = connect(io, definitions).await?;
    let lane = Lane::open(connected.client.clone(), Times::default()).await?;
    Ok(Connected {
        lane: Some(lane),
        ..connected
    })
}

/// The hash of what the plugin at the other end of `io` says that it offers, which is read too.
pub async fn describe(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<DefinitionsHash, EndpointError> {
    let definitions = open(io).await?.describe().await?;
    let hash = DefinitionsHash::of(&definitions);
    Offered::read(&definitions).map_err(EndpointError::Offered)?;
    Ok(hash)
}

async fn open(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Sender, EndpointError> {
    let (sender, connection) = connection::over(io, Uri::from_static("https://plugin.invalid")).await?;
    tokio::spawn(connection);
    Ok(sender)
}
