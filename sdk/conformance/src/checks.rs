//! The checks: one file per part of the protocol. What a check needs to see is asked once and kept, and judged by each of its rules.

pub(crate) mod bounds;
pub(crate) mod definitions;
pub(crate) mod describe;
pub(crate) mod exchange;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod resources;
pub(crate) mod socket;
pub(crate) mod stop;
pub(crate) mod tools;
pub(crate) mod trust;

pub(crate) use describe::Described;
pub(crate) use exchange::Said;
pub(crate) use hooks::Intercepted;
pub(crate) use http::Exchanged;
pub use http::is_path;
pub(crate) use resources::Walk;
pub(crate) use stop::Stopped;
pub(crate) use tools::Called;
