//! Who is at the other end of a connection, as far as the connection itself says.

use std::net::SocketAddr;

/// The peer of the connection that a request came by; an extension of each request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    pub address: SocketAddr,
}
