//! What is measured: gateways, and nginx in each of the ways that a gateway can be compared with.

use std::{fmt, net::SocketAddr};

use super::task::Task;

/// One way from the client to an answer.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) kind: Kind,
    /// Where it listens, and where for HTTP/2.
    pub(super) address: SocketAddr,
    pub(super) http2: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A gateway, which is given these flags beside those that it needs.
    Gateway(String),
    /// nginx with plain text to both sides.
    Plain,
    /// nginx with TLS to the client as the gateway has it, and plain text behind.
    Front,
    /// nginx with TLS to both sides.
    Both,
}

impl Side {
    pub(super) fn url(&self, task: Task) -> String {
        self.at(self.address, task)
    }

    pub(super) fn url_http2(&self, task: Task) -> String {
        self.at(self.http2, task)
    }

    fn at(&self, address: SocketAddr, task: Task) -> String {
        let scheme = match self.kind {
            Kind::Plain => "http",
            Kind::Gateway(_) | Kind::Front | Kind::Both => "https",
        };
        format!("{scheme}://{address}{}", task.path())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(flags) if flags.is_empty() => f.write_str("gateway"),
            Self::Gateway(flags) => write!(f, "gateway `{flags}`"),
            Self::Plain => f.write_str("nginx, plain both ways"),
            Self::Front => f.write_str("nginx, TLS to the client"),
            Self::Both => f.write_str("nginx, TLS both ways"),
        }
    }
}
