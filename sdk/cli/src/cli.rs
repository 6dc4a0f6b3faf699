//! The command line: which command, with which arguments.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::{
    commands::package::{self, PackageArgs},
    printer::Printer,
};

/// Make and ship plugins for a Kubernetes dashboard.
///
/// Exit status: 0 if the command did what it was asked to, 1 if not.
#[derive(Parser)]
#[command(
    name = "kite-plugin",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Package(PackageArgs),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitStatus {
    /// It did what it was asked to.
    Success,
    /// It did not; stderr says why.
    Failure,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Success => Self::SUCCESS,
            ExitStatus::Failure => Self::FAILURE,
        }
    }
}

/// Runs the command that `arguments` (the program's name first) ask for.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, printer: &mut Printer<'_>) -> ExitStatus {
    match Cli::try_parse_from(arguments) {
        Ok(Cli {
            command: Command::Package(args),
        }) => package::run(args, printer).await,
        Err(error) => explain(&error, printer),
    }
}

/// Help that was asked for is data; what is wrong with the arguments is talk.
fn explain(error: &clap::Error, printer: &mut Printer<'_>) -> ExitStatus {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            printer.data(&text);
            ExitStatus::Success
        }
        _ => {
            printer.talk(&text);
            ExitStatus::Failure
        }
    }
}
