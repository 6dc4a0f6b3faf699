//! Names that cannot be wrong: of plugins, of their tools, and of clusters.

#![warn(missing_docs)]

use std::fmt;

/// Most characters of a plugin's name: with `kite-plugin-` before it and a revision's number behind it, it is still a
/// Service's name (63).
pub const MAX_PLUGIN_NAME: usize = 40;
/// Most characters of a tool's whole name: the limit that model providers set.
pub const MAX_TOOL_NAME: usize = 64;
/// Most characters of a resource type's name.
pub const MAX_RESOURCE_TYPE: usize = 40;
/// Most characters of a cluster's name, as the plugin protocol has it.
pub const MAX_CLUSTER_NAME: usize = 253;
/// Names that the gateway's own routes take.
pub const RESERVED: [&str; 11] = [
    "tools",
    "frontends",
    "manifests",
    "events",
    "install",
    "static",
    "resources",
    "admin",
    "session",
    "settings",
    "api",
];

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// It has no character.
    #[error("the name is empty")]
    Empty,
    /// It has more characters than so many.
    #[error("the name has more than {0} characters")]
    TooLong(usize),
    /// It has a character that names of its kind do not have, or not at that end.
    #[error("the name has other characters than it may have, or begins or ends with one that it may not")]
    Characters,
    /// It is one of [`RESERVED`].
    #[error("the name is reserved, because a route of the gateway has it")]
    Reserved,
    /// It is not in the form in which tools are written.
    #[error("the name is not of the form plugin_<plugin>_<tool>")]
    NotATool,
}

/// Whether `text` is an RFC 1123 label, as the name of a namespace is.
pub fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// The name of a cluster: an RFC 1123 subdomain, as names of objects are and plugins expect.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClusterName(String);

/// Why a text is not the name of a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "write lower-case letters, digits, '-' and '.', a letter or digit first and last, at most {MAX_CLUSTER_NAME} of them"
)]
pub struct ClusterNameError;

impl ClusterName {
    /// The name that `text` is.
    pub fn parse(text: &str) -> Result<Self, ClusterNameError> {
        if text.len() <= MAX_CLUSTER_NAME && text.split('.').all(is_label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ClusterNameError)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` can be the name of an object: what it leaves out no object of a built-in kind has, as in the schema of
/// `resourceNames`.
pub fn is_object_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b".:_@-".contains(&b);
    (1..=253).contains(&text.len())
        && text.bytes().all(inner)
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// The name of a plugin: an RFC 1123 label of at most [`MAX_PLUGIN_NAME`] characters that no route of the gateway takes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PluginName(String);

impl PluginName {
    /// The name that `text` is.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_PLUGIN_NAME {
            return Err(NameError::TooLong(MAX_PLUGIN_NAME));
        }
        if !is_label(text) {
            return Err(NameError::Characters);
        }
        if RESERVED.contains(&text) {
            return Err(NameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name that a plugin gives a tool: a lower-case letter, then lower-case letters, digits and underscores.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ToolName(String);

impl ToolName {
    /// The name that `text` is, at most [`MAX_TOOL_NAME`] characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut bytes = text.bytes();
        let first = bytes.next().ok_or(NameError::Empty)?;
        if text.len() > MAX_TOOL_NAME {
            return Err(NameError::TooLong(MAX_TOOL_NAME));
        }
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !first.is_ascii_lowercase() || !bytes.all(rest) {
            return Err(NameError::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tool of a plugin. Written `plugin_<plugin>_<tool>`, at most [`MAX_TOOL_NAME`] characters; a plugin's name has no
/// underscore, so the split is unambiguous.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ToolReference {
    /// The plugin that has it.
    pub plugin: PluginName,
    /// Its name there.
    pub tool: ToolName,
}

impl ToolReference {
    /// `plugin`'s tool `tool`, unless the whole name would be too long.
    pub fn new(plugin: PluginName, tool: ToolName) -> Result<Self, NameError> {
        let reference = Self { plugin, tool };
        if reference.to_string().len() > MAX_TOOL_NAME {
            return Err(NameError::TooLong(MAX_TOOL_NAME));
        }
        Ok(reference)
    }

    /// Reads `plugin_<plugin>_<tool>`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_TOOL_NAME {
            return Err(NameError::TooLong(MAX_TOOL_NAME));
        }
        let rest = text.strip_prefix("plugin_").ok_or(NameError::NotATool)?;
        let (plugin, tool) = rest.split_once('_').ok_or(NameError::NotATool)?;
        Self::new(PluginName::parse(plugin)?, ToolName::parse(tool)?)
    }
}

impl fmt::Display for ToolReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plugin_{}_{}", self.plugin, self.tool)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn name_as_path_a_plugin_name_is_refused_for_each_of_its_reasons() {
        let long = "a".repeat(41);
        for (text, reason) in [
            ("", NameError::Empty),
            (long.as_str(), NameError::TooLong(40)),
            ("Hello", NameError::Characters),
            ("a.b", NameError::Characters),
            ("a_b", NameError::Characters),
            ("-a", NameError::Characters),
            ("a-", NameError::Characters),
            ("../a", NameError::Characters),
            ("tools", NameError::Reserved),
        ] {
            assert_eq!(PluginName::parse(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn a_label_is_bounded_and_begins_and_ends_well() {
        for good in ["a", "0", "kite-plugins", &"a".repeat(63)] {
            assert!(is_label(good), "{good:?}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "..", "é", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_tool_reference_is_refused_for_each_of_its_reasons() {
        let long = format!("plugin_a_{}", "b".repeat(60));
        for (text, reason) in [
            ("hello", NameError::NotATool),
            ("plugin_hello", NameError::NotATool),
            ("plugin__hello", NameError::Empty),
            ("plugin_hello_", NameError::Empty),
            ("plugin_Hello_x", NameError::Characters),
            ("plugin_hello_X", NameError::Characters),
            ("plugin_hello_x/y", NameError::Characters),
            ("plugin_tools_x", NameError::Reserved),
            (long.as_str(), NameError::TooLong(64)),
        ] {
            assert_eq!(ToolReference::parse(text), Err(reason), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_tool_reference_reads_what_it_writes(plugin in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?", tool in "[a-z][a-z0-9_]{0,20}") {
            let (Ok(plugin), Ok(tool)) = (PluginName::parse(&plugin), ToolName::parse(&tool)) else { return Ok(()); };
            let reference = ToolReference::new(plugin, tool).unwrap();
            prop_assert_eq!(ToolReference::parse(&reference.to_string()), Ok(reference));
        }

        #[test]
        fn no_text_makes_parse_panic(text in ".{0,100}") {
            let _ = PluginName::parse(&text);
            let _ = ToolReference::parse(&text);
        }
    }

    #[test]
    fn a_cluster_is_called_as_a_subdomain() {
        for name in ["home", "a.b-c", "1"] {
            assert!(ClusterName::parse(name).is_ok(), "{name}");
        }
        for name in ["", "Home", "a_b", "-a", "a b", "a..b", "\u{e4}"] {
            assert!(ClusterName::parse(name).is_err(), "{name}");
        }
    }
}
