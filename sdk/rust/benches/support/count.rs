//! Counts what is allocated, in a program that has this for its allocator.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures, and has none if it cannot write them"
)]

use std::{alloc::System, env, fs, path::Path};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Handle;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Exchanges that are counted, after as many that are not: what is allocated once is not an exchange's.
const TIMES: u32 = 1000;

/// Counts what one `exchange` allocates, prints it, and writes it beside criterion's figures.
pub(crate) fn count<T>(runtime: &Handle, group: &str, name: &str, mut exchange: impl AsyncFnMut() -> T) {
    let mut run = || {
        for _ in 0..TIMES {
            runtime.block_on(exchange());
        }
    };
    run();
    let region = Region::new(ALLOCATOR);
    run();
    let stats = region.change();
    let of_one = |all: usize| all / usize::try_from(TIMES).unwrap();
    let (allocations, bytes) = (
        of_one(stats.allocations + stats.reallocations),
        of_one(stats.bytes_allocated),
    );
    println!("{group}/{name}: {allocations} allocations, {bytes} bytes");
    if let Some(folder) = env::var_os("CRITERION_HOME") {
        let folder = Path::new(&folder).join("allocations");
        fs::create_dir_all(&folder).unwrap();
        let figure = serde_json::json!({
            "full_id": format!("{group}/{name}"), "allocations": allocations, "bytes": bytes,
        });
        fs::write(folder.join(format!("{group}, {name}.json")), figure.to_string()).unwrap();
    }
}
