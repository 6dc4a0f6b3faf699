//! What runs beside one another on a cluster that is up. One program, so that all of it is built and linked once, and none waits for the last
//! of another file.

mod admit_object;
mod admit_policies;
mod admit_spec;
mod attack_boundary;
mod attack_mtls;
mod attack_path;
mod attack_reach;
mod attack_rights;
mod fault_causes;
mod fault_delete;
mod fault_dependency;
mod fault_verdicts;
mod fault_workload;
mod image_dns;
mod route_hello;
mod route_limits;
mod route_record;
mod route_requires;
mod route_revisions;
mod route_scaffold;
mod route_session;
mod route_socket;
mod route_told;
mod tool_hello;
