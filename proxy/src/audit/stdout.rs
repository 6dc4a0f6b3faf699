//! Records as lines of JSON, on standard output.

use std::io::{self, Write};

use super::{AuditSink, Record, SinkError};

/// Writes one line for each record. What was written and flushed is in the hands of whoever collects the lines.
pub struct Lines<W> {
    out: W,
    text: Vec<u8>,
}

impl Lines<io::Stdout> {
    pub fn stdout() -> Self {
        Self::to(io::stdout())
    }
}

impl<W: Write> Lines<W> {
    pub fn to(out: W) -> Self {
        Self { out, text: Vec::new() }
    }

    fn write(&mut self, records: &[Record]) -> Result<(), SinkError> {
        self.text.clear();
        for record in records {
            serde_json::to_writer(&mut self.text, record).map_err(SinkError::Encode)?;
            self.text.push(b'\n');
        }
        self.out.write_all(&self.text).map_err(SinkError::Write)?;
        self.out.flush().map_err(SinkError::Write)
    }
}

impl<W: Write + Send + 'static> AuditSink for Lines<W> {
    async fn keep(&mut self, records: &[Record]) -> Result<(), SinkError> {
        self.write(records)
    }
}
