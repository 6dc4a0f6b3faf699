//! `kite-e2e`: what the Makefile calls for the local cluster and for the stages of the tests.

use std::{
    error::Error,
    process::{self, ExitCode},
};

use clap::{Parser, Subcommand};
use kite_e2e::{
    bench, chaos,
    cluster::{self, Layout, NodeArgs, Progress},
    deploy::{self, Exports},
    explain, fleet, lengths, load, stages,
    target::Target,
};

/// The local cluster of this checkout, what is deployed on it, and the tests that use it.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the cluster if it is not up, deploy this build, apply the plugin hello and call it
    Up {
        /// Start the cluster only, and deploy nothing
        #[arg(long)]
        bare: bool,
    },
    /// Stop the cluster and remove all that it left; from a cluster that `KITE_CONTEXT` names, remove what was deployed
    Down,
    /// Print shell exports of `KUBECONFIG`, `KITE_URL`, `KITE_CA` and `KITE_TOKEN`
    Env,
    /// Take the chart's release from the cluster, or put it back
    Release {
        #[arg(value_parser = ["install", "uninstall"])]
        action: String,
        /// A value of the chart, beside those that name images, in helm's own words
        #[arg(long = "set")]
        values: Vec<String>,
    },
    /// Run the stages of the tests and count them
    Test(stages::Selection),
    /// Do to the operator what breaks operators, and write docs/evidence/chaos.md
    Chaos(chaos::Extent),
    /// Take every figure and write the pages in docs/evidence
    Bench(bench::Selection),
    /// Measure a gateway's program beside nginx
    Load(load::Measurement),
    /// Be a program behind the gateway that is measured
    #[command(subcommand, hide = true)]
    LoadPart(load::Part),
    /// Measure an operator's program with many plugins
    Fleet(fleet::Measurement),
    /// Be all of these plugins
    #[command(hide = true)]
    FleetPart(fleet::Part),
    /// Check that no hand-written source file is longer than it may be
    Lengths,
    /// Run helm with the cluster's version of it
    #[command(disable_help_flag = true)]
    Helm {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run buf, which checks the protocol
    #[command(disable_help_flag = true)]
    Buf {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Be the first process of a node
    #[command(hide = true)]
    Node(NodeArgs),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            complain(&explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    // Before any thread: the node's first process forks.
    if let Command::Node(arguments) = command {
        return Ok(cluster::supervise(&arguments)?);
    }
    // Fails only if a provider is installed already, and there is but this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let layout = Layout::from_env()?;
    let progress = Progress::start();
    let runtime = tokio::runtime::Runtime::new()?;
    match command {
        Command::Node(_) => {}
        Command::Up { bare: true } => drop(cluster::ensure_up(&layout)?),
        Command::Up { bare: false } => runtime.block_on(up(&layout, &progress))?,
        Command::Down => down(&layout, &progress)?,
        Command::Env => {
            let target = Target::running(&layout)?;
            out(&runtime.block_on(Exports::gather(&target))?.to_string());
        }
        Command::Release { action, values } => {
            let target = Target::running(&layout)?;
            match action.as_str() {
                "install" => runtime.block_on(deploy::chart_only(&target, &layout, &progress, &values))?,
                _ => deploy::uninstall(&target, &progress)?,
            }
        }
        Command::Test(selection) => return Ok(stages::run(&selection, &layout, &runtime)),
        Command::Chaos(extent) => return Ok(chaos::run(&layout, &extent, &runtime)?),
        Command::Bench(selection) => return Ok(bench::run(&layout, &selection)?),
        Command::Load(measurement) => return Ok(load::run(&layout, &measurement, &runtime)?),
        Command::LoadPart(part) => runtime.block_on(part.run())?,
        Command::Fleet(measurement) => return Ok(fleet::run(&layout, &measurement, &runtime)?),
        Command::FleetPart(part) => runtime.block_on(part.run())?,
        Command::Lengths => return Ok(lengths::check()?),
        Command::Helm { arguments } => return pass(cluster::tools(&layout)?.helm().args(arguments)),
        Command::Buf { arguments } => return pass(process::Command::new(cluster::buf(&layout)?).args(arguments)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a program in this one's place, as far as its end is concerned.
fn pass(command: &mut process::Command) -> Result<ExitCode, Box<dyn Error>> {
    let is_well = command.status()?.success();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn up(layout: &Layout, progress: &Progress) -> Result<(), Box<dyn Error>> {
    let target = Target::ensure_up(layout)?;
    deploy::everything(&target, layout, progress).await?;
    let exports = Exports::gather(&target).await?;
    out(&deploy::show(&exports).await?);
    progress.say("up");
    Ok(())
}

fn down(layout: &Layout, progress: &Progress) -> Result<(), Box<dyn Error>> {
    match Target::external(layout)? {
        Some(target) => deploy::remove(&target, layout, progress)?,
        None => cluster::down(layout)?,
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "standard output is this command's data")]
fn out(text: &str) {
    print!("{text}");
}

#[expect(clippy::print_stderr, reason = "this is where a command says why it failed")]
fn complain(text: &str) {
    eprintln!("{text}");
}
