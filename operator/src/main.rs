//! The operator's process: its arguments, its logs, and the run until it is told to stop.

use std::process::ExitCode;

use clap::Parser;
use kite_api::error_chain;
use kite_operator::{Options, run, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    telemetry::install();
    match run::until_signal(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = error_chain(&error), "the operator ends");
            ExitCode::FAILURE
        }
    }
}
