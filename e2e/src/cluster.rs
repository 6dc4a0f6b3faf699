//! A real Kubernetes on this machine: one node in namespaces of its own, gone when its first process ends.

mod address;
pub mod apiserver;
mod build;
mod cgroup;
mod command;
mod components;
mod config;
mod debian;
mod http;
mod layout;
mod link;
mod mounts;
mod node;
mod pause;
mod pki;
mod progress;
mod state;
mod supervisor;
mod up;

pub use build::Tools;
pub(crate) use command::{CommandError, SpawnLogged, bound_to_us, run, run_logged, tail};
pub use debian::{Debian, DebianError, load_tools};
pub use layout::{Layout, LayoutError};
pub use node::{NodeArgs, NodeError, supervise};
pub use progress::Progress;
pub(crate) use state::{Lock, StateError, remove_dir, write_whole};
pub use up::{
    ClusterError, Running, buf, crane, down, ensure_up, exists, h2spec, judge, kwok, registry, skopeo, status, tools,
};
