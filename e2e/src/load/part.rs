//! The programs behind the gateway and nginx: processes of their own, so that each one's time and memory can be told apart.

mod callers;
mod offender;
mod origin;
mod plugin;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use kite_plugin_sdk::ServeError;
use kite_proto::PORT;
use rustls::pki_types::pem;
use tokio::net::TcpListener;

pub(super) use self::{
    callers::{BETWEEN_REQUESTS, TOKEN},
    offender::{NAME as OFFENDER, Offence},
    plugin::{EVENTS, SINK, SOURCE},
};

/// A program behind the gateway or nginx.
#[derive(Clone, Debug, Subcommand)]
pub enum Part {
    /// The plugin that is measured, made with the SDK, under each of these names
    Plugin {
        /// A folder with clients-ca.crt, and for each name NAME.crt and NAME.key
        #[arg(long)]
        folder: PathBuf,
        /// NAME=ADDRESS
        #[arg(required = true, value_parser = named)]
        names: Vec<(String, IpAddr)>,
    },
    /// A bare HTTP server that answers the same
    Origin {
        /// A folder with origin.crt and origin.key
        #[arg(long)]
        folder: PathBuf,
        /// Where it speaks plain text
        plain: SocketAddr,
        /// Where it speaks TLS
        encrypted: SocketAddr,
    },
    /// A plugin that hangs, floods, is slow and answers garbage
    Offender {
        /// As that of the plugin
        #[arg(long)]
        folder: PathBuf,
        address: IpAddr,
    },
    /// Callers of the offender
    Callers(callers::Callers),
}

#[derive(Debug, thiserror::Error)]
pub enum PartError {
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to read PEM in {path}")]
    Pem { path: PathBuf, source: pem::Error },
    #[error("failed to use the certificate")]
    Tls(#[source] rustls::Error),
    #[error("failed to accept the plugin's name")]
    Name(#[source] kite_api::name::NameError),
    #[error("failed to make a client of the gateway")]
    Client(#[source] reqwest::Error),
    #[error("failed to say how far it is")]
    Report(#[source] io::Error),
    #[error("failed to listen")]
    Listen(#[source] io::Error),
    #[error("failed to serve the plugin")]
    Plugin(#[source] ServeError),
    #[error("failed to serve the offender")]
    Offender(#[source] tonic::transport::Error),
}

impl Part {
    /// Serves until the process ends.
    pub async fn run(self) -> Result<(), PartError> {
        match self {
            Self::Plugin { folder, names } => plugin::run(&folder, names).await,
            Self::Origin {
                folder,
                plain,
                encrypted,
            } => origin::run(&folder, plain, encrypted).await,
            Self::Offender { folder, address } => offender::run(&folder, address).await,
            Self::Callers(callers) => callers.run().await,
        }
    }
}

fn named(text: &str) -> Result<(String, IpAddr), String> {
    let (name, address) = text.split_once('=').ok_or("it has no =")?;
    let address: IpAddr = address
        .parse()
        .map_err(|error: std::net::AddrParseError| error.to_string())?;
    Ok((name.to_owned(), address))
}

/// Where the gateway looks for a plugin.
async fn listen(address: IpAddr) -> Result<TcpListener, PartError> {
    TcpListener::bind((address, PORT)).await.map_err(PartError::Listen)
}

fn read(folder: &Path, file: &str) -> Result<String, PartError> {
    let path = folder.join(file);
    std::fs::read_to_string(&path).map_err(|source| PartError::Read { path, source })
}
