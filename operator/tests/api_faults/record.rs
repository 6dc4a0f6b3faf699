//! What was done to the operator and what came of it, in figures, for the page that `make chaos` writes.

use std::{env, fs, path::Path};

use serde_json::Value;

/// Where they are left, if somebody wants them.
const FOLDER: &str = "KITE_CHAOS";

/// Leaves the figures of a test in a file of this name.
pub(crate) fn leave(name: &str, figures: &Value) {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join(name), figures.to_string()).expect("a file");
}
