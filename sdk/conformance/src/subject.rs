//! A plugin as a process: with its folder, its environment and its ports, and an end by SIGTERM.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use kite_api::{PluginName, name::NameError};
use kite_proto::{
    ADDRESS_VARIABLE, CERTIFICATE_FILE, CLIENTS_CA_FILE, FOLDER_VARIABLE, HEALTH_PORT, KEY_FILE, MAX_RESULT,
    NAME_VARIABLE, PORT, plugin_client::PluginClient,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, interval, timeout},
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{
    Authorities, Certified, Host, IdentityError, Known, Limits, Process, Suite, Target, WireError,
    wire::{Shown, Wire},
};

/// How long a plugin may take to be reached, and to end.
const LIMIT: Duration = Duration::from_secs(30);
/// How often it is tried to reach it.
const TURN: Duration = Duration::from_millis(50);
/// How long one attempt may take: another may be answered where this one was forgotten.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The ports are fixed by the protocol, so each plugin has an address of the loopback network.
static NEXT: AtomicU8 = AtomicU8::new(1);

/// Why a plugin could not be run or reached.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    #[error("failed to make certificates")]
    Identity(#[from] IdentityError),
    #[error("failed to accept the plugin's name {name:?}")]
    Name { name: String, source: NameError },
    #[error("failed to write the plugin's folder")]
    Folder(#[source] io::Error),
    #[error("failed to start the plugin")]
    Start(#[source] io::Error),
    #[error("failed to reach the plugin on {address} within {} s", limit.as_secs())]
    Silent {
        address: SocketAddr,
        limit: Duration,
        /// What the last attempt ended with.
        source: Box<WireError>,
    },
    #[error("the plugin ended before it listened: {0}")]
    Ended(ExitStatus),
    #[error("failed to connect to the plugin")]
    Connect(#[source] tonic::transport::Error),
    #[error("failed to tell the plugin to stop")]
    Signal(#[source] nix::Error),
    #[error("failed to wait for the plugin's end")]
    Wait(#[source] io::Error),
    #[error("failed to see the plugin end within {} s of SIGTERM", LIMIT.as_secs())]
    Lingers,
}

/// A plugin that runs, until it is dropped.
pub struct Subject {
    name: String,
    address: IpAddr,
    authorities: Authorities,
    folder: TempDir,
    child: Child,
}

impl Subject {
    /// Starts what `command` makes of a folder and an address to listen on, and waits until it agrees on TLS on its port, and listens on
    /// that of its health.
    pub async fn start(name: &str, command: impl FnOnce(&Path, IpAddr) -> Command) -> Result<Self, SubjectError> {
        Self::start_within(LIMIT, name, command).await
    }

    async fn start_within(
        limit: Duration,
        name: &str,
        command: impl FnOnce(&Path, IpAddr) -> Command,
    ) -> Result<Self, SubjectError> {
        let authorities = Authorities::new()?;
        let folder = tempfile::tempdir().map_err(SubjectError::Folder)?;
        write(folder.path(), &authorities, &authorities.servers.server(name)?)?;
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(
            127,
            100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100,
            high,
            low.max(1),
        ));
        let child = command(folder.path(), address)
            .env(NAME_VARIABLE, name)
            .env(FOLDER_VARIABLE, folder.path())
            .env(ADDRESS_VARIABLE, address.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(SubjectError::Start)?;
        let mut subject = Self {
            name: name.to_owned(),
            address,
            authorities,
            folder,
            child,
        };
        let host = Host::of(&subject.authorities)?;
        // That a port is listened on says only that the kernel takes connections: who would speak TLS there may not have begun.
        let [port, health] = [PORT, HEALTH_PORT].map(|port| SocketAddr::new(address, port));
        subject.reached(port, Some(&host), limit).await?;
        subject.reached(health, None, limit).await?;
        Ok(subject)
    }

    /// Waits until this host, or whoever connects where none is given, reaches the plugin.
    async fn reached(&mut self, address: SocketAddr, host: Option<&Host>, limit: Duration) -> Result<(), SubjectError> {
        let until = Instant::now() + limit;
        let mut turns = interval(TURN);
        loop {
            turns.tick().await;
            if let Some(status) = self.child.try_wait().map_err(SubjectError::Wait)? {
                return Err(SubjectError::Ended(status));
            }
            let attempt = timeout(ATTEMPT, reach(address, &self.name, host)).await;
            let reached = attempt.unwrap_or_else(|_| {
                let source = io::ErrorKind::TimedOut.into();
                Err(WireError::Connect { address, source })
            });
            match reached {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= until => {
                    let source = Box::new(error);
                    return Err(SubjectError::Silent { address, limit, source });
                }
                Err(_) => {}
            }
        }
    }

    /// Who believes whom.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Connects with this certificate, or with none.
    pub async fn connect(&self, identity: Option<Identity>) -> Result<Channel, SubjectError> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.authorities.servers.pem()))
            .domain_name(kite_proto::server_name(&self.name));
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        let connect = async {
            let endpoint = Endpoint::from_shared(format!("https://{}", SocketAddr::new(self.address, PORT)))?;
            endpoint.tls_config(tls)?.connect().await
        };
        connect.await.map_err(SubjectError::Connect)
    }

    /// A client as the gateway is one.
    pub async fn client(&self) -> Result<PluginClient<Channel>, SubjectError> {
        let identity = self.authorities.clients.client()?;
        let channel = self.connect(Some(identity)).await?;
        Ok(PluginClient::new(channel).max_decoding_message_size(MAX_RESULT))
    }

    /// The plain-text port.
    pub async fn health(&self) -> Result<Channel, SubjectError> {
        let connect = async {
            Endpoint::from_shared(format!("http://{}", SocketAddr::new(self.address, HEALTH_PORT)))?
                .connect()
                .await
        };
        connect.await.map_err(SubjectError::Connect)
    }

    /// Gives the plugin another certificate, of the CA of before or of another one that clients then believe.
    pub fn renew(&mut self, authorities: Authorities) -> Result<(), SubjectError> {
        let certified = authorities.servers.server(&self.name)?;
        write(self.folder.path(), &authorities, &certified)?;
        self.authorities = authorities;
        Ok(())
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> Result<(), SubjectError> {
        let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) else {
            return Ok(());
        };
        kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(SubjectError::Signal)
    }

    /// The suite for this plugin, which ends it.
    pub fn suite(self, known: Known, limits: Limits) -> Result<Suite, SubjectError> {
        let name = self.name.clone();
        Ok(Suite {
            target: Target {
                name: PluginName::parse(&name).map_err(|source| SubjectError::Name { name, source })?,
                address: SocketAddr::new(self.address, PORT),
                health: SocketAddr::new(self.address, HEALTH_PORT),
                host: Host::of(&self.authorities)?,
            },
            known,
            limits,
            process: Some(Box::new(self)),
        })
    }

    /// What the plugin's process ended with.
    pub async fn ended(mut self) -> Result<ExitStatus, SubjectError> {
        match timeout(LIMIT, self.child.wait()).await {
            Ok(status) => status.map_err(SubjectError::Wait),
            Err(_) => Err(SubjectError::Lingers),
        }
    }
}

#[tonic::async_trait]
impl Process for Subject {
    fn renew(&mut self) -> Result<Host, SubjectError> {
        Self::renew(self, Authorities::new()?)?;
        Ok(Host::of(&self.authorities)?)
    }

    fn terminate(&mut self) -> Result<(), SubjectError> {
        Self::terminate(self)
    }

    async fn ended(&mut self) -> Result<Option<String>, SubjectError> {
        let status = self.child.wait().await.map_err(SubjectError::Wait)?;
        Ok((!status.success()).then(|| status.to_string()))
    }
}

/// Connects, and with a host agrees on TLS too. The plugin's certificate is taken whatever it is: that is for a rule to judge.
async fn reach(address: SocketAddr, name: &str, host: Option<&Host>) -> Result<(), WireError> {
    let Some(host) = host else {
        let connected = TcpStream::connect(address).await;
        return connected
            .map(drop)
            .map_err(|source| WireError::Connect { address, source });
    };
    let log = Arc::default();
    // What TLS needs is large, and would be part of whatever starts a plugin.
    Box::pin(Wire::connect(address, name, host, Shown::Own, &log))
        .await
        .map(drop)
}

/// Writes each file whole, as the kubelet does: a plugin may read at any time.
fn write(folder: &Path, authorities: &Authorities, certified: &Certified) -> Result<(), SubjectError> {
    for (file, text) in [
        (CLIENTS_CA_FILE, authorities.clients.pem()),
        (KEY_FILE, certified.key.clone()),
        (CERTIFICATE_FILE, certified.certificate.clone()),
    ] {
        let half = folder.join(format!("{file}.half"));
        fs::write(&half, text)
            .and_then(|()| fs::rename(&half, folder.join(file)))
            .map_err(SubjectError::Folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::atomic::AtomicUsize};

    use kite_api::error_chain;
    use rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A process that runs until it is ended.
    fn idle() -> Command {
        let mut command = Command::new("sleep");
        command.arg("infinity");
        command
    }

    fn listen(address: IpAddr, port: u16) -> tokio::net::TcpListener {
        let listener = TcpListener::bind((address, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        tokio::net::TcpListener::from_std(listener).unwrap()
    }

    fn acceptor(folder: &Path) -> TlsAcceptor {
        let [certificate, key] = [CERTIFICATE_FILE, KEY_FILE].map(|file| fs::read(folder.join(file)).unwrap());
        let chain = vec![CertificateDer::from_pem_slice(&certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A plugin that hangs up on its first connections, `most` of them, and counts all. It speaks TLS on the others.
    fn plugin(folder: &Path, address: IpAddr, most: usize, count: Arc<AtomicUsize>) -> Command {
        // Nobody takes connections on the port of health: that it is listened on is enough.
        let (server, health) = (listen(address, PORT), listen(address, HEALTH_PORT));
        let acceptor = acceptor(folder);
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = server.accept().await {
                if count.fetch_add(1, Ordering::Relaxed) >= most {
                    kept.push(acceptor.accept(stream).await.ok());
                }
            }
            drop(health);
        });
        idle()
    }

    #[tokio::test]
    async fn a_plugin_that_hangs_up_at_first_is_waited_for() {
        let count = Arc::new(AtomicUsize::new(0));
        let command = |folder: &Path, address: IpAddr| plugin(folder, address, 3, Arc::clone(&count));
        Subject::start("hello", command).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn of_a_plugin_that_always_hangs_up_the_last_failure_is_told() {
        let command = |folder: &Path, address: IpAddr| plugin(folder, address, usize::MAX, Arc::default());
        let started = Subject::start_within(TURN * 2, "hello", command).await;
        let error = started.err().expect("it is not reached");
        assert!(
            matches!(&error, SubjectError::Silent { source, .. } if matches!(**source, WireError::Handshake(_))),
            "{}",
            error_chain(&error)
        );
    }

    #[tokio::test]
    async fn a_plugin_that_ends_is_not_waited_for() {
        let ended = Subject::start("hello", |_, _| Command::new("false")).await;
        assert!(matches!(ended.err(), Some(SubjectError::Ended(_))));
    }
}
