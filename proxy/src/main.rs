//! The gateway's program: arguments, log, run.

use std::process::ExitCode;

use clap::Parser as _;
use kite_gateway::{flags::Flags, start};
use mimalloc::MiMalloc;

/// A request is some hundred small pieces of memory, given back out of order: with the C library's a quarter of all time went into them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let flags = Flags::parse();
    start::log();
    match start::run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = kite_api::error_chain(&error), "the gateway ends");
            ExitCode::FAILURE
        }
    }
}
