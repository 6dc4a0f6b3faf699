//! The local cluster, what is deployed on it, and what the end-to-end tests share.

pub mod audit;
pub mod bench;
pub mod chaos;
pub mod cluster;
pub mod deploy;
mod explain;
pub mod fleet;
pub mod lengths;
pub mod load;
mod process;
mod spread;
pub mod stages;
pub mod target;
pub mod testing;
mod unshared;

pub use explain::explain;
