//! The requests that are measured, and what answers them.

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// A GET whose answer has 100 bytes.
    Small,
    /// A POST of 64 KiB that come back.
    Echo,
    /// A call of a tool.
    Tool,
}

/// The plugin that is measured.
pub(super) const PLUGIN: &str = "load";
/// What it answers to [`Task::Small`].
pub(super) const SMALL: &str =
    "A plugin said this. It is one hundred bytes long, which is what an answer of the smaller kind takes.";
/// What [`Task::Tool`] answers, at the gateway.
pub(super) const GREETED: &str = r#"{"result":"Hello, anna!"}"#;

const ECHO: usize = 64 * 1024;

impl Task {
    pub(super) const ALL: [Self; 3] = [Self::Small, Self::Echo, Self::Tool];

    /// In one word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Echo => "echo",
            Self::Tool => "tool",
        }
    }

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Small => "Small GET, an answer of 100 bytes",
            Self::Echo => "POST of 64 KiB that come back",
            Self::Tool => "Tool call",
        }
    }

    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Small => "GET",
            Self::Echo | Self::Tool => "POST",
        }
    }

    /// The same on every side.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Small => "/api/v1/plugins/load/small",
            Self::Echo => "/api/v1/plugins/load/echo",
            Self::Tool => "/api/v1/plugins/tools/plugin_load_greet",
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Small | Self::Echo => "application/octet-stream",
            Self::Tool => "application/json",
        }
    }

    pub(super) fn body(self) -> Vec<u8> {
        match self {
            Self::Small => Vec::new(),
            Self::Echo => vec![b'a'; ECHO],
            Self::Tool => br#"{"arguments": {"name": "anna"}}"#.to_vec(),
        }
    }

    /// What the answer has to be.
    pub(super) fn answer(self) -> Vec<u8> {
        match self {
            Self::Small => SMALL.into(),
            Self::Echo => self.body(),
            Self::Tool => GREETED.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_answer_is_as_long_as_it_says() {
        assert_eq!(SMALL.len(), 100);
    }
}
