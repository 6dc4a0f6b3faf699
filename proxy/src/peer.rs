//! The other end of a connection: its address, and the certificate that it has proven to hold.

pub mod authorities;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use rustls::pki_types::CertificateDer;

use self::authorities::Trusted;
use crate::{moment::Moment, pipeline::authenticate::Caller};

/// Goes with every request of a connection, as one of its extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    presented: Arc<Presented>,
}

/// What was shown when the connection was made, and who that is, once somebody asked.
#[derive(Debug)]
struct Presented {
    chain: Vec<CertificateDer<'static>>,
    who: ArcSwapOption<Identified>,
}

/// Whose certificate it is, and by which CAs.
#[derive(Debug)]
struct Identified {
    by: Arc<Trusted>,
    who: Certified,
}

/// Whose certificate it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Certified {
    /// There is none, or none that says anything.
    Nobody,
    /// A caller's own.
    Person {
        caller: Arc<Caller>,
        /// When the certificate ends.
        until: Moment,
    },
    /// That of a proxy, which says who calls.
    Proxy {
        /// When the certificate ends.
        until: Moment,
    },
    /// One of the proxies' CA whose name is not on the list.
    Unlisted,
}

impl Peer {
    /// The peer at `address` who has shown `chain`, its own certificate first.
    pub fn new(address: SocketAddr, chain: Option<&[CertificateDer<'static>]>) -> Self {
        Self {
            // Of an IPv4 address there are two spellings.
            address: address.ip().to_canonical(),
            presented: Arc::new(Presented {
                chain: chain.unwrap_or_default().to_vec(),
                who: ArcSwapOption::empty(),
            }),
        }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whose certificate it is by these CAs, which `identify` is asked once.
    fn certified(
        &self,
        by: &Arc<Trusted>,
        identify: impl FnOnce(&[CertificateDer<'static>]) -> Certified,
    ) -> Certified {
        let Presented { chain, who } = &*self.presented;
        if chain.is_empty() {
            return Certified::Nobody;
        }
        if let Some(known) = who.load().as_ref().filter(|known| Arc::ptr_eq(&known.by, by)) {
            return known.who.clone();
        }
        let certified = identify(chain);
        let identified = Identified {
            by: Arc::clone(by),
            who: certified.clone(),
        };
        who.store(Some(Arc::new(identified)));
        certified
    }
}
