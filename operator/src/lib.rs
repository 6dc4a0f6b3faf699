//! The controller that runs what `KitePlugin` objects declare: a library, so that its tests run it in-process.

pub mod backoff;
pub mod boundary;
pub mod controller;
mod defect;
pub mod first_of;
pub mod health;
pub mod identity;
pub mod leadership;
pub mod metrics;
pub mod options;
pub mod pod_defaults;
pub mod push;
pub mod run;
pub mod telemetry;
pub mod traces;

pub use options::{Namespaces, Options};
