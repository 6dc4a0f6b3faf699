//! What the end-to-end tests share: the way to the running cluster, users, plugins of a test's own, and their removal.

mod cause;
pub mod faulty;
mod gateway;
pub mod judge;
pub mod load;
pub mod pod;
mod scope;
pub mod told;
pub mod versions;
mod wait;
pub mod world;

pub use cause::unavailable;
pub use gateway::{Answer, Gateway, Http, send};
pub use scope::{LABEL, Scope, scope};
pub use wait::{SOON, START, eventually};

use std::{env, path::PathBuf, process::Output};

use crate::cluster::Layout;

/// The namespace of operator and gateway.
pub const SYSTEM: &str = "kite-system";
/// The namespace of the plugins' pods.
pub const PLUGINS: &str = "kite-plugins";

/// Whether a program that ended did so well; if not, what it said.
///
/// # Errors
/// What it wrote to its standard error, if it failed.
pub fn succeeded(output: &Output) -> Result<(), String> {
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A variable that `make -s env` exports.
///
/// # Panics
/// If it is not set, because then there is no cluster to test.
#[expect(clippy::panic, reason = "a test without a cluster can only fail")]
pub fn exported(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`, or `eval \"$(make -s env)\"` first"))
}

/// Another cluster of this checkout, called after its own.
///
/// # Panics
/// If the checkout has no cluster either.
#[expect(clippy::expect_used, reason = "a test without its place can only fail")]
pub fn layout_beside(suffix: &str) -> Layout {
    let layout = Layout::from_env().expect("the layout of this checkout");
    let id: String = layout.id().chars().take(24).collect();
    layout
        .with_id(&format!("{}-{suffix}", id.trim_end_matches('-')))
        .expect("an id")
}

/// The kubeconfig of the running cluster.
pub fn kubeconfig() -> PathBuf {
    exported("KUBECONFIG").into()
}
