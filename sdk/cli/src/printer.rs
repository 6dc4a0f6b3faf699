//! The only way to a terminal: stdout is data, stderr is talk.

use std::{error::Error, io::Write};

/// Where a command writes. What cannot be written is lost: a reader who has closed the pipe wants no more.
pub struct Printer<'a> {
    data: &'a mut dyn Write,
    talk: &'a mut dyn Write,
}

impl<'a> Printer<'a> {
    /// A printer on stdout and stderr, or whatever stands for them.
    pub fn new(data: &'a mut dyn Write, talk: &'a mut dyn Write) -> Self {
        Self { data, talk }
    }

    /// Writes what the command was asked for.
    pub fn data(&mut self, text: &str) {
        let _ = self.data.write_all(text.as_bytes()).and_then(|()| self.data.flush());
    }

    /// Tells what goes on.
    pub fn talk(&mut self, text: &str) {
        let _ = self.talk.write_all(text.as_bytes()).and_then(|()| self.talk.flush());
    }

    /// Tells what failed and why, and after a blank line what may help.
    pub fn error(&mut self, error: &dyn Error, hint: Option<&str>) {
        let mut text = format!("error: {error}\n");
        let mut cause = error.source();
        while let Some(source) = cause {
            text.push_str("  because: ");
            text.push_str(&source.to_string().replace('\n', "\n    "));
            text.push('\n');
            cause = source.source();
        }
        self.talk(&text);
        if let Some(hint) = hint {
            self.hint(hint);
        }
    }

    /// Tells after a blank line what to do next.
    pub fn hint(&mut self, hint: &str) {
        self.talk(&format!("\nhint: {hint}\n"));
    }
}
