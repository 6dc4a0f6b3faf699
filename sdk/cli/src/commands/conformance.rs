//! `kite-plugin conformance`: whether a plugin keeps every rule of the protocol.

mod known;
mod tell;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use clap::{Args, ValueEnum};
use kite_api::{PluginName, name::NameError};
use kite_conformance::{
    Authorities, IdentityError, Limits, Subject, SubjectError, Suite, SuiteError, Target,
    folder::{self, FolderError},
};
use kite_proto::{HEALTH_PORT, PORT};
use tokio::net::lookup_host;

use self::known::KnownArgs;
use crate::{cli::ExitStatus, printer::Printer};

/// Say whether a plugin keeps every rule of the protocol, and which it breaks
///
/// The plugin is asked over the wire: one that runs at ADDRESS, or one that COMMAND starts with certificates made for it, and
/// which is ended in the end to see how. What plugin.proto does not tell of a plugin, such as a path that can be
/// asked for, options do; a rule that cannot be looked at without is told as such, and never as kept.
///
/// Tools, objects and settings that you name are called, created and removed, and applied: ask a plugin that holds nothing dear.
///
/// Exit status: 0 if no rule is broken, 1 if one is, 2 if the plugin could not be asked.
#[derive(Args)]
pub(crate) struct ConformanceArgs {
    /// Where the plugin serves: a host, or host:port [default port: 9443]
    #[arg(value_name = "ADDRESS", required_unless_present_any = ["command", "prepare"], conflicts_with_all = ["command", "prepare"])]
    address: Option<String>,

    /// Program that starts the plugin, and its arguments
    ///
    /// It is told its name, its folder of certificates and the address to listen on by the environment variables
    /// `KITE_PLUGIN_NAME`, `KITE_PLUGIN_FOLDER` and `KITE_PLUGIN_ADDRESS`.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,

    /// The name that the plugin serves under, which is that in its certificate
    #[arg(long, value_name = "NAME", value_parser = PluginName::parse as fn(&str) -> Result<PluginName, NameError>)]
    name: PluginName,

    /// Folder with client.crt, client.key and servers-ca.crt, and clients-ca.crt and clients-ca.key if they may be used
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "command",
        conflicts_with = "command"
    )]
    certificates: Option<PathBuf>,

    /// Make these certificates in DIR, with tls.crt, tls.key and clients-ca.crt for the plugin to read, and ask nothing
    #[arg(long, conflicts_with = "command")]
    prepare: bool,

    /// Where the plugin answers about its health [default: the host of ADDRESS, port 9440]
    #[arg(long, value_name = "ADDRESS", requires = "address")]
    health: Option<String>,

    /// Show what the program that COMMAND starts writes, on stderr
    #[arg(long, requires = "command")]
    log: bool,

    /// How the report is written
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    known: KnownArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// A line for each rule, and more for one that is broken
    Text,
    /// One JSON object
    Json,
}

/// Why the plugin could not be asked.
#[derive(Debug, thiserror::Error)]
enum ConformanceError {
    #[error("failed to use the folder of certificates")]
    Folder(#[from] FolderError),
    #[error("failed to make certificates")]
    Make(#[from] IdentityError),
    #[error("failed to find the address of {address:?}")]
    Resolve { address: String, source: io::Error },
    #[error("failed to find any address of {0:?}")]
    NoAddress(String),
    #[error("failed to run the plugin")]
    Run(#[from] SubjectError),
    #[error("failed to ask the plugin")]
    Ask(#[from] SuiteError),
}

pub(crate) async fn run(args: ConformanceArgs, printer: &mut Printer<'_>) -> ExitStatus {
    match conformance(&args, printer).await {
        Ok(status) => status,
        Err(error) => {
            printer.error(&error, hint(&error, &args).as_deref());
            ExitStatus::Unanswered
        }
    }
}

async fn conformance(args: &ConformanceArgs, printer: &mut Printer<'_>) -> Result<ExitStatus, ConformanceError> {
    let name = args.name.as_str();
    if let (true, Some(folder)) = (args.prepare, &args.certificates) {
        folder::write(folder, &Authorities::new()?, name)?;
        tell::prepared(folder, name, printer);
        return Ok(ExitStatus::Success);
    }
    let suite = match (&args.address, &args.certificates) {
        (Some(address), Some(folder)) => at(address, folder, args).await?,
        _ => started(args).await?,
    };
    tell::begin(name, printer);
    let report = match args.output {
        Output::Text => suite.run(|finding| tell::finding(finding, printer)).await?,
        Output::Json => suite.run(|_| {}).await?,
    };
    if matches!(args.output, Output::Json) {
        tell::json(name, &report, printer);
    }
    tell::counts(&report, printer);
    Ok(if report.counts().broken == 0 {
        ExitStatus::Success
    } else {
        ExitStatus::Failure
    })
}

/// The suite for a plugin that runs.
async fn at(address: &str, folder: &Path, args: &ConformanceArgs) -> Result<Suite, ConformanceError> {
    let host = folder::read(folder)?;
    let address = resolve(address, PORT).await?;
    let health = match &args.health {
        Some(health) => resolve(health, HEALTH_PORT).await?,
        None => SocketAddr::new(address.ip(), HEALTH_PORT),
    };
    Ok(Suite {
        target: Target {
            name: args.name.clone(),
            address,
            health,
            host,
        },
        known: args.known.known(),
        limits: Limits::default(),
        process: None,
    })
}

async fn resolve(text: &str, port: u16) -> Result<SocketAddr, ConformanceError> {
    let failed = |source| ConformanceError::Resolve {
        address: text.to_owned(),
        source,
    };
    // One that has a port of its own is not taken for a name.
    let with_port = match text.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') || host.ends_with(']') => text.to_owned(),
        _ => format!("{text}:{port}"),
    };
    let with_port = text
        .parse()
        .map_or(with_port, |ip| SocketAddr::new(ip, port).to_string());
    let mut addresses = lookup_host(with_port).await.map_err(failed)?;
    addresses
        .next()
        .ok_or_else(|| ConformanceError::NoAddress(text.to_owned()))
}

/// The suite for a plugin that is started for it.
async fn started(args: &ConformanceArgs) -> Result<Suite, ConformanceError> {
    let program = |_: &Path, _| {
        let (program, arguments) = args
            .command
            .split_first()
            .map_or(("", &[][..]), |(program, rest)| (program, rest));
        let mut command = tokio::process::Command::new(program);
        command.args(arguments);
        // The report alone is data.
        let (out, err) = if args.log {
            (io::stderr().into(), Stdio::inherit())
        } else {
            (Stdio::null(), Stdio::null())
        };
        command.stdout(out).stderr(err);
        command
    };
    let subject = Subject::start(args.name.as_str(), program).await?;
    Ok(subject.suite(args.known.known(), Limits::default())?)
}

/// The next command, where there is an obvious one.
fn hint(error: &ConformanceError, args: &ConformanceArgs) -> Option<String> {
    let name = &args.name;
    match error {
        ConformanceError::Folder(FolderError::Read { .. }) => {
            let folder = args.certificates.as_ref()?.display();
            Some(format!(
                "make the certificates first, and start the plugin with them: `kite-plugin conformance --name {name} --certificates {folder} --prepare`"
            ))
        }
        ConformanceError::Run(SubjectError::Ended(_) | SubjectError::Silent { .. }) => {
            let command = args.command.join(" ");
            Some(format!(
                "see what it says: `kite-plugin conformance --name {name} --log -- {command}`"
            ))
        }
        ConformanceError::Ask(_) => {
            let folder = args.certificates.as_ref()?.display();
            Some(format!(
                "see whether it runs with the tls.crt, tls.key and clients-ca.crt of that folder, and make new ones if you must: `kite-plugin conformance --name {name} --certificates {folder} --prepare`"
            ))
        }
        ConformanceError::Folder(_)
        | ConformanceError::Make(_)
        | ConformanceError::Resolve { .. }
        | ConformanceError::NoAddress(_)
        | ConformanceError::Run(_) => None,
    }
}
