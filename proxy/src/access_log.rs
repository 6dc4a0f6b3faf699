//! The access log: one line of JSON for each request, gathered and written together, so that it costs a request little.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;

use crate::shards::Shards;

/// So many bytes are written at once, and so long a line waits for others.
const BUFFER: usize = 64 * 1024;
const WAIT: Duration = Duration::from_secs(1);
/// Most buffers that wait to be written.
const QUEUE: usize = 16;

/// One request, in the shape of the rest of the log.
#[derive(Serialize)]
pub struct Line<'a> {
    pub timestamp: Timestamp,
    pub level: &'static str,
    pub target: &'static str,
    pub fields: Fields<'a>,
}

/// What is told of a request. There is no place in it for tokens, cookies, queries and bodies.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Fields<'a> {
    pub request_id: &'a str,
    pub method: &'a str,
    pub route: &'static str,
    /// Without its query.
    pub path: &'a str,
    pub protocol: &'static str,
    /// Absent if nobody waited for the answer.
    pub status: Option<u16>,
    /// How the answer ended.
    pub end: &'static str,
    /// Until the end of the answer, and of that until its head.
    pub duration_ms: f64,
    pub head_ms: Option<f64>,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub user: Option<&'a str>,
    pub peer: Option<std::net::IpAddr>,
    pub plugin: Option<&'a str>,
    pub revision: Option<i64>,
    pub problem: Option<&'static str>,
}

/// Takes lines to where they are written. Shared by all who make them.
#[derive(Clone)]
pub struct AccessLog {
    gathered: Arc<Shards<Buffer>>,
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

#[derive(Default)]
struct Buffer {
    text: Vec<u8>,
    lines: u64,
}

enum Order {
    Write(Buffer),
    /// Write all there is, and say so.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// A log that is written to standard error, beside the rest of the log.
    pub fn stderr() -> io::Result<Self> {
        Self::to(io::stderr())
    }

    /// A log that is written to `out`, by a thread of its own.
    pub fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (orders, taken) = mpsc::sync_channel(QUEUE);
        let log = Self {
            gathered: Arc::default(),
            orders,
            lost: Arc::default(),
        };
        let gathered = Arc::clone(&log.gathered);
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(out, &gathered, &taken))?;
        Ok(log)
    }

    /// Takes one line. It is lost if what is to be written is not written for long.
    pub fn tell(&self, line: &Line<'_>) {
        let full = self.gathered.with(|buffer| {
            // Writing to memory does not fail, and no line has a key that is no text.
            let _ = serde_json::to_writer(&mut buffer.text, line);
            buffer.text.push(b'\n');
            buffer.lines += 1;
            (buffer.text.len() >= BUFFER).then(|| std::mem::take(buffer))
        });
        if let Some(buffer) = full
            && let Err(error) = self.orders.try_send(Order::Write(buffer))
        {
            let (mpsc::TrySendError::Full(order) | mpsc::TrySendError::Disconnected(order)) = error;
            if let Order::Write(buffer) = order {
                self.lost.fetch_add(buffer.lines, Ordering::Relaxed);
            }
        }
    }

    /// How many lines were lost.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Has all lines written that were taken so far, and waits for it, a moment at most. It blocks.
    pub fn flush(&self) {
        let (done, flushed) = mpsc::sync_channel(1);
        if self.orders.try_send(Order::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(WAIT);
        }
    }
}

/// Until nobody can make lines any more. What cannot be written is gone: there is nowhere else to say it.
fn write(mut out: impl Write, gathered: &Shards<Buffer>, taken: &mpsc::Receiver<Order>) {
    let mut next = Instant::now() + WAIT;
    loop {
        match taken.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Order::Write(buffer)) => {
                let _ = out.write_all(&buffer.text);
            }
            Ok(Order::Flush(done)) => {
                write_all(&mut out, gathered);
                let _ = done.try_send(());
            }
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + WAIT;
                write_all(&mut out, gathered);
            }
            Err(RecvTimeoutError::Disconnected) => return write_all(&mut out, gathered),
        }
    }
}

fn write_all(out: &mut impl Write, gathered: &Shards<Buffer>) {
    for buffer in gathered.take_all().into_iter().filter(|buffer| buffer.lines > 0) {
        let _ = out.write_all(&buffer.text);
    }
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// Text that is written, once it may be.
    #[derive(Clone, Default)]
    struct Out(Arc<State>);

    #[derive(Default)]
    struct State {
        text: Mutex<(bool, Vec<u8>)>,
        opened: Condvar,
    }

    impl Out {
        fn open(&self) {
            self.0.text.lock().unwrap().0 = true;
            self.0.opened.notify_all();
        }

        fn lines(&self) -> usize {
            let written = self.0.text.lock().unwrap().1.clone();
            String::from_utf8(written).unwrap().lines().count()
        }
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self
                .0
                .opened
                .wait_while(self.0.text.lock().unwrap(), |(open, _)| !*open)
                .unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn tell(log: &AccessLog, path: &str) {
        log.tell(&Line {
            timestamp: Timestamp::UNIX_EPOCH,
            level: "INFO",
            target: "access",
            fields: Fields {
                request_id: "r-1",
                method: "GET",
                route: "plugin",
                path,
                protocol: "HTTP/1.1",
                status: Some(200),
                end: "complete",
                duration_ms: 1.0,
                head_ms: Some(0.5),
                received_bytes: 0,
                sent_bytes: 2,
                user: Some("jane"),
                peer: None,
                plugin: None,
                revision: None,
                problem: None,
            },
        });
    }

    #[test]
    fn lines_of_all_threads_are_written_when_told_and_by_themselves() {
        let out = Out::default();
        out.open();
        let log = AccessLog::to(out.clone()).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..500).for_each(|_| tell(&log, "/")));
            }
        });
        log.flush();
        assert_eq!((out.lines(), log.lost()), (2000, 0));
        tell(&log, "/last");
        let began = Instant::now();
        while out.lines() < 2001 {
            assert!(began.elapsed() < 5 * WAIT, "the line is not written");
            thread::yield_now();
        }
    }

    #[test]
    fn nobody_waits_for_a_log_that_is_stuck_and_what_is_lost_is_counted() {
        let out = Out::default();
        let log = AccessLog::to(out.clone()).unwrap();
        let path = "x".repeat(1024);
        // More than waits and more than one that is being written.
        let many = (QUEUE + 8) * BUFFER / path.len();
        (0..many).for_each(|_| tell(&log, &path));
        assert!(log.lost() > 0);
        out.open();
        let began = Instant::now();
        while (out.lines() as u64) < many as u64 - log.lost() {
            assert!(began.elapsed() < 5 * WAIT, "not written: {} of {many}", out.lines());
            thread::yield_now();
        }
    }
}
