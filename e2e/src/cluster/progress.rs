//! Says what a long command is at, a line each with the time since it began.

use std::io::{self, Write};
use std::time::Instant;

#[derive(Debug)]
pub struct Progress {
    began: Instant,
}

impl Progress {
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// Writes one line. That it cannot be written (a closed terminal) is no reason to stop.
    pub fn say(&self, text: &str) {
        let _ = writeln!(io::stderr(), "[{:6.1}s] {text}", self.began.elapsed().as_secs_f64());
    }
}
