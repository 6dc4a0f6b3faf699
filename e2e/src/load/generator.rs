//! What sends the load of a round, and what it says came of it: wrk over HTTP/1.1, h2load over HTTP/2.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;

use super::{LoadError, side::Side, task::Task};
use crate::{
    cluster::{Debian, run},
    process::empty,
    spread::percentile,
};

/// Requests under way at once on the one connection of HTTP/2.
pub(super) const STREAMS: u32 = 32;

/// How many connections wrk is given a second more for: where a thousand agree on TLS first, a short round would end before any answer.
const CONNECTED: u32 = 500;

/// The clients of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clients {
    /// So many connections, each with one request after the other.
    Http1(u32),
    /// One connection, with [`STREAMS`] requests at once.
    Http2,
}

impl fmt::Display for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1(connections) => write!(f, "{connections}"),
            Self::Http2 => f.write_str("1 of HTTP/2"),
        }
    }
}

/// What came of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) requests: u64,
    pub(super) time: Duration,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    /// Answers of another kind than success, and requests without any.
    pub(super) failed: u64,
}

/// The programs, and what they read.
#[derive(Debug)]
pub(super) struct Generator {
    programs: Debian,
    script: PathBuf,
    folder: PathBuf,
    token: String,
}

/// The line of `e2e/bench/wrk.lua`.
#[derive(Deserialize)]
struct WrkLine {
    requests: u64,
    micros: u64,
    p50: u64,
    p99: u64,
    refused: u64,
    broken: u64,
}

impl Generator {
    /// Requests carry `token`; files for the programs are written to `folder`.
    pub(super) fn new(programs: Debian, folder: &Path, token: String) -> Result<Self, LoadError> {
        for task in Task::ALL {
            let path = folder.join(task.name());
            fs::write(&path, task.body()).map_err(|source| LoadError::prepare(&path, source))?;
        }
        Ok(Self {
            programs,
            script: Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/wrk.lua"),
            folder: folder.to_owned(),
            token,
        })
    }

    /// Sends requests for so many seconds.
    pub(super) fn send(&self, task: Task, clients: Clients, side: &Side, seconds: u32) -> Result<Sent, LoadError> {
        match clients {
            Clients::Http1(connections) => self.wrk(task, connections, side, seconds),
            Clients::Http2 => self.h2load(task, side, seconds),
        }
    }

    fn wrk(&self, task: Task, connections: u32, side: &Side, seconds: u32) -> Result<Sent, LoadError> {
        let body = if task.body().is_empty() {
            PathBuf::new()
        } else {
            self.folder.join(task.name())
        };
        let mut command = self.programs.command("wrk");
        command
            // One thread: the cores are there for the gateway and for what is behind it too.
            .args(["--threads", "1", "--connections", &connections.to_string()])
            .args([
                "--duration",
                &format!("{}s", seconds + connections / CONNECTED),
                "--timeout",
                "20s",
                "--script",
            ])
            .arg(&self.script)
            .arg(side.url(task))
            .env("KITE_METHOD", task.method())
            .env("KITE_TOKEN", &self.token)
            .env("KITE_TYPE", task.content_type())
            .env("KITE_BODY", body);
        let printed = run(&mut command).map_err(LoadError::Send)?;
        wrk_said(&printed).ok_or(LoadError::Unclear {
            program: "wrk",
            printed,
        })
    }

    fn h2load(&self, task: Task, side: &Side, seconds: u32) -> Result<Sent, LoadError> {
        let log = self.folder.join("h2load.log");
        empty(&log)?;
        let mut command = self.programs.command("h2load");
        command
            .args(["--clients", "1", "--max-concurrent-streams", &STREAMS.to_string()])
            .args(["--duration", &seconds.to_string(), "--header"])
            .arg(format!("authorization: Bearer {}", self.token))
            .arg(format!("--log-file={}", log.display()));
        if !task.body().is_empty() {
            command
                .args(["--header", &format!("content-type: {}", task.content_type()), "--data"])
                .arg(self.folder.join(task.name()));
        }
        command.arg(side.url_http2(task)).stdin(Stdio::null());
        let printed = run(&mut command).map_err(LoadError::Send)?;
        let lines = fs::read_to_string(&log).map_err(|source| LoadError::prepare(&log, source))?;
        h2load_said(&lines, Duration::from_secs(seconds.into())).ok_or(LoadError::Unclear {
            program: "h2load",
            printed,
        })
    }
}

fn wrk_said(printed: &str) -> Option<Sent> {
    let line = printed.lines().find(|line| line.starts_with('{'))?;
    let line: WrkLine = serde_json::from_str(line).ok()?;
    let sent = Sent {
        requests: line.requests,
        time: Duration::from_micros(line.micros),
        p50: Duration::from_micros(line.p50),
        p99: Duration::from_micros(line.p99),
        failed: line.refused + line.broken,
    };
    (sent.requests > 0).then_some(sent)
}

/// A line for each request: when it began, its status or -1, and how long it took, both times in microseconds (h2load(1)).
fn h2load_said(lines: &str, time: Duration) -> Option<Sent> {
    let mut times = Vec::new();
    let mut failed = 0;
    for line in lines.lines() {
        let mut fields = line.split('\t').skip(1);
        let status: i32 = fields.next()?.parse().ok()?;
        let micros = fields.next()?.parse().ok()?;
        times.push(Duration::from_micros(micros));
        failed += u64::from(!(200..300).contains(&status));
    }
    Some(Sent {
        requests: u64::try_from(times.len()).ok()?,
        time,
        p50: percentile(&mut times, 0.5)?,
        p99: percentile(&mut times, 0.99)?,
        failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let line = r#"{"requests": 10, "micros": 2000000, "p50": 100, "p99": 900, "refused": 1, "broken": 2}"#;
        let sent = Sent {
            requests: 10,
            time: Duration::from_secs(2),
            p50: Duration::from_micros(100),
            p99: Duration::from_micros(900),
            failed: 3,
        };
        assert_eq!(wrk_said(&format!("Running 2s test\n\n{line}\n")), Some(sent));
        assert_eq!(wrk_said("unable to connect\n"), None);
        assert_eq!(wrk_said(&line.replace("10,", "0,")), None);
    }

    #[test]
    fn what_h2load_says_is_read() {
        let sent = Sent {
            requests: 3,
            time: Duration::from_secs(1),
            p50: Duration::from_micros(20),
            p99: Duration::from_micros(30),
            failed: 2,
        };
        let lines = "1\t200\t10\n2\t503\t30\n3\t-1\t20\n";
        assert_eq!(h2load_said(lines, Duration::from_secs(1)), Some(sent));
        assert_eq!(h2load_said("", Duration::from_secs(1)), None);
        assert_eq!(h2load_said("1\t200\n", Duration::from_secs(1)), None);
    }
}
