//! What cargo calls a plugin's crate.

use std::fmt;

use kite_api::PluginName;

use super::lock;

/// Words of the language, crates that come with it, and folders of cargo's own: cargo calls no new package so.
const TAKEN: [&str; 47] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "static",
    "std",
    "struct",
    "test",
    "trait",
];

/// The name of a plugin's crate: the plugin's own, or `plugin-<name>` where cargo would not take that or it means another crate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CrateName(String);

impl CrateName {
    /// The name of the crate of the plugin called `plugin`.
    pub fn of(plugin: &PluginName) -> Self {
        let name = plugin.as_str();
        let begins_well = name.starts_with(|first: char| first.is_ascii_lowercase());
        if begins_well && !TAKEN.contains(&name) && !lock::has(name) {
            Self(name.to_owned())
        } else {
            Self(format!("plugin-{name}"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CrateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
