//! Which addresses a cluster uses: all of them follow from its slot, so that clusters of several checkouts never meet.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// 198.18.0.0/15, the range set aside for tests between networks, is what no real network of the host's uses.
const LINKS: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const SERVICES: u32 = u32::from_be_bytes([198, 18, 128, 0]);
const PODS: u32 = u32::from_be_bytes([198, 19, 0, 0]);

/// One of the places that a cluster can take on this host. 32 leaves each a /22 for its pods, room for 400 of them
/// and for addresses that are not yet given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot(u8);

impl Slot {
    pub(super) const COUNT: u8 = 32;
    pub(super) const FIRST: Self = Self(0);

    /// All slots, beginning with one that differs by cluster, so that two that start at once rarely meet.
    pub(super) fn candidates(first: u8) -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(move |step| Self((first % Self::COUNT + step) % Self::COUNT))
    }

    /// The name of the host's end of the link, which is also the claim on the slot.
    pub(super) fn interface(self) -> String {
        format!("kite{}", self.0)
    }

    /// The host's address on the link.
    pub(super) fn host(self) -> Ipv4Addr {
        self.within(LINKS, 8, 1)
    }

    /// The node's address: API server, registry and DNS answer there.
    pub(super) fn node(self) -> Ipv4Addr {
        self.within(LINKS, 8, 2)
    }

    pub(super) fn services(self) -> Network {
        Network {
            first: self.within(SERVICES, 8, 0),
            bits: 24,
        }
    }

    /// The `kubernetes` Service's address, which is always the range's first.
    pub(super) fn api_service(self) -> Ipv4Addr {
        self.within(SERVICES, 8, 1)
    }

    pub(super) fn pods(self) -> Network {
        Network {
            first: self.within(PODS, 10, 0),
            bits: 22,
        }
    }

    fn within(self, base: u32, shift: u32, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(base + (u32::from(self.0) << shift) + offset)
    }
}

/// A range of addresses, written as `address/bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) first: Ipv4Addr,
    pub(super) bits: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_has_its_own_part_of_each_range() {
        let slot = Slot(3);
        assert_eq!(slot.interface(), "kite3");
        assert_eq!(slot.host().to_string(), "198.18.3.1");
        assert_eq!(slot.node().to_string(), "198.18.3.2");
        assert_eq!(slot.services().to_string(), "198.18.131.0/24");
        assert_eq!(slot.api_service().to_string(), "198.18.131.1");
        assert_eq!(slot.pods().to_string(), "198.19.12.0/22");
    }

    #[test]
    fn last_slot_stays_within_the_range() {
        let slot = Slot(Slot::COUNT - 1);
        assert_eq!(slot.services().to_string(), "198.18.159.0/24");
        assert_eq!(slot.pods().to_string(), "198.19.124.0/22");
    }

    #[test]
    fn candidates_are_all_slots_once() {
        let mut seen: Vec<u8> = Slot::candidates(200).map(|slot| slot.0).collect();
        assert_eq!(seen.first(), Some(&(200 % Slot::COUNT)));
        seen.sort_unstable();
        assert_eq!(seen, (0..Slot::COUNT).collect::<Vec<_>>());
    }
}
