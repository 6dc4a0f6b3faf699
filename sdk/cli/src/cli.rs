//! The command line: which command, with which arguments.

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::{
    commands::{
        build::{self, BuildArgs},
        can_i_apply::{self, CanIApplyArgs},
        conformance::{self, ConformanceArgs},
        init::{self, InitArgs},
        package::{self, PackageArgs},
        validate::{self, ValidateArgs},
    },
    printer::Printer,
};

/// Make and ship plugins for a Kubernetes dashboard.
///
/// Exit status: 0 if the command did what it was asked to, 1 if not. Commands that answer a question have their own.
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
    Init(InitArgs),
    Build(BuildArgs),
    Validate(ValidateArgs),
    Package(PackageArgs),
    #[command(name = CAN_I_APPLY)]
    CanIApply(CanIApplyArgs),
    #[command(name = CONFORMANCE)]
    Conformance(Box<ConformanceArgs>),
}

const CAN_I_APPLY: &str = "can-i-apply";
const CONFORMANCE: &str = "conformance";
/// The commands whose status 1 is an answer.
const QUESTIONS: [&str; 3] = [CAN_I_APPLY, CONFORMANCE, "validate"];

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExitStatus {
    /// It did what it was asked to.
    Success,
    /// It did not, and stderr says why; or the answer to its question is no.
    Failure,
    /// The answer could not be found out; stderr says why.
    Unanswered,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Success => Self::SUCCESS,
            ExitStatus::Failure => Self::FAILURE,
            ExitStatus::Unanswered => Self::from(2),
        }
    }
}

/// Runs the command that `arguments` (the program's name first) ask for.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, printer: &mut Printer<'_>) -> ExitStatus {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match Cli::try_parse_from(&arguments) {
        Ok(Cli { command }) => match command {
            Command::Init(args) => init::run(&args, printer),
            Command::Build(args) => build::run(args, printer).await,
            Command::Validate(args) => validate::run(&args, printer),
            Command::Package(args) => package::run(args, printer).await,
            Command::CanIApply(args) => can_i_apply::run(args, printer).await,
            Command::Conformance(args) => conformance::run(*args, printer).await,
        },
        Err(error) => {
            let command = arguments.get(1);
            let is_question = command.is_some_and(|command| QUESTIONS.iter().any(|question| command == question));
            explain(&error, is_question, printer)
        }
    }
}

/// Help that was asked for is data; what is wrong with the arguments is talk, and no answer to a question.
fn explain(error: &clap::Error, is_question: bool, printer: &mut Printer<'_>) -> ExitStatus {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            printer.data(&text);
            ExitStatus::Success
        }
        _ => {
            printer.talk(&text);
            if is_question {
                ExitStatus::Unanswered
            } else {
                ExitStatus::Failure
            }
        }
    }
}
