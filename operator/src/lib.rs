//! The controller that runs what `KitePlugin` objects declare: a library, so that its tests run it in-process.

pub mod backoff;
pub mod boundary;
pub mod controller;
pub mod first_of;
pub mod health;
pub mod identity;
pub mod metrics;
pub mod options;
pub mod run;
pub mod telemetry;

pub use options::{Namespaces, Options};
