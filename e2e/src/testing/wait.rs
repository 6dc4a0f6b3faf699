//! Waiting for a condition, with a limit and a word on what was last seen.

use std::time::{Duration, Instant};

/// What takes seconds, on a machine that is busy with something else.
pub const SOON: Duration = Duration::from_secs(30);
/// How long a plugin may take from its object to its first answer, image pull included.
pub const START: Duration = Duration::from_secs(90);

/// Asks until it is so, and returns what was found and how long that took.
///
/// # Panics
/// If it is not so within `limit`, with the last answer.
#[expect(clippy::panic, reason = "a condition that does not come true fails the test")]
pub async fn eventually<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    let mut turns = tokio::time::interval(Duration::from_millis(100));
    loop {
        turns.tick().await;
        let answer = tokio::time::timeout(limit, ask()).await;
        match answer.unwrap_or_else(|_| Err("no answer".to_owned())) {
            Ok(found) => {
                note(what, began.elapsed());
                return found;
            }
            Err(seen) if began.elapsed() > limit => {
                panic!("{what}: not within {} s; last seen: {seen}", limit.as_secs());
            }
            Err(_) => {}
        }
    }
}

/// Says how long it took, where a test's output is read.
#[expect(clippy::print_stdout, reason = "the harness keeps a test's standard output")]
fn note(what: &str, took: Duration) {
    println!("{what}: after {:.1} s", took.as_secs_f64());
}
