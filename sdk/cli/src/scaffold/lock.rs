//! The versions that were tested: the lock file of a new project, cut by cargo from this repository's.

use super::CrateName;

/// What stands for the project itself in the template. No plugin can be called so.
pub const ROOT: &str = "THE-PLUGIN";
const TEMPLATE: &str = include_str!("../../generated/Cargo.lock");

/// The lock file of the crate called `name`.
pub(super) fn with_root(name: &CrateName) -> String {
    let root = TEMPLATE.split("\n\n").find(|entry| name_of(entry) == Some(ROOT));
    let root = root.map(|entry| entry.replacen(ROOT, name.as_str(), 1));
    let others = TEMPLATE.split("\n\n").filter(|entry| name_of(entry) != Some(ROOT));
    let mut entries: Vec<&str> = others.map(str::trim_end).collect();
    if let Some(root) = &root {
        // Cargo has them in the order of their names, and would put them so when it next writes the file.
        let place = entries.partition_point(|entry| name_of(entry).is_none_or(|other| other < name.as_str()));
        entries.insert(place, root.trim_end());
    }
    let mut text = entries.join("\n\n");
    text.push('\n');
    text
}

/// Whether there is a crate of that name.
pub(super) fn has(name: &str) -> bool {
    TEMPLATE.split("\n\n").any(|entry| name_of(entry) == Some(name))
}

fn name_of(entry: &str) -> Option<&str> {
    let (_, rest) = entry.split_once("[[package]]\nname = \"")?;
    Some(rest.split_once('"')?.0)
}
