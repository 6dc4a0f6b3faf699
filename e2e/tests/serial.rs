//! What runs alone on a cluster that is up: one file after the other, in the order that `stages.rs` gives.

mod serial_certificates;
mod serial_cluster;
mod serial_context;
mod serial_fleet;
mod serial_load;
mod serial_operator;
mod serial_revisions;
mod serial_roles;
mod serial_stream;
mod serial_uninstall;
mod serial_workload;
