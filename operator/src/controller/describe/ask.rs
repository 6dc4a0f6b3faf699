//! One question to one pod, by mutual TLS.

use std::{net::IpAddr, time::Duration};

use kite_api::{PluginName, ToolStatus};
use kite_proto::{
    DescribeRequest, DescribeResponse, MAX_DEFINITIONS, PORT, Supports, WithoutDetails, plugin_client::PluginClient,
    server_name,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, spawn_blocking},
};
use tonic::{
    body::Body,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as ClientIdentity},
};
use tower::util::MapResponse;

use super::tools::{self, ToolsError};
use crate::{controller::causes::words, defect::Defect, identity::Identity};

/// The protocol's limit for an answer, connecting included.
const DEADLINE: Duration = Duration::from_secs(10);
/// What an answer has beside the definitions: a name, a version, a number.
const ENVELOPE: usize = 64 * 1024;
/// Most characters that are kept of a name and of a version: those of a plugin are shorter.
const MAX_WORD: usize = 256;
/// So many answers are read at once. A schema may take its time, and all of them could take every thread.
static READING: Semaphore = Semaphore::const_new(2);
/// A plugin's headers are few; more is an attack.
const MAX_HEADERS: u32 = 16 * 1024;
/// Most characters that are kept of what a plugin says instead of an answer. It may fill those headers, and stands in a status.
const MAX_MESSAGE: usize = 400;

/// Why a pod did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("failed to read the pod's address {0:?}")]
    Address(String),
    #[error("failed to prepare the connection")]
    Prepare(#[source] tonic::transport::Error),
    #[error("failed to connect to {0}")]
    Connect(String, #[source] tonic::transport::Error),
    #[error("failed to ask: the plugin answered {} {:?}", .0.code(), words::cut(.0.message(), MAX_MESSAGE))]
    Call(Box<tonic::Status>),
    #[error("failed to get an answer within {} s", DEADLINE.as_secs())]
    Deadline,
    #[error("failed to read the answer to its end")]
    Read(#[source] JoinError),
    #[error(transparent)]
    Panicked(#[from] Defect),
}

/// What a plugin said that it is.
#[derive(Debug)]
pub struct Answer {
    pub name: String,
    pub version: String,
    pub protocol: u32,
    /// Hash over the definitions, as they came.
    pub hash: String,
    /// What else it says that it has.
    pub supports: Supports,
    /// The tools among the definitions, or what is wrong with them.
    pub tools: Result<Vec<ToolStatus>, ToolsError>,
}

impl Answer {
    /// What is kept of `response`, an answer of the plugin `plugin`.
    pub fn of(plugin: &PluginName, response: &DescribeResponse) -> Self {
        Self {
            hash: kite_proto::definitions_hash(&response.definitions),
            supports: tools::supports(&response.definitions),
            tools: tools::read(plugin, &response.definitions),
            name: response.name.chars().take(MAX_WORD).collect(),
            version: response.version.chars().take(MAX_WORD).collect(),
            protocol: response.protocol,
        }
    }
}

/// Asks the pod of `plugin` at address `ip`.
pub async fn ask(plugin: &PluginName, ip: &str, identity: &Identity) -> Result<DescribeResponse, AskError> {
    let endpoint = endpoint(plugin, ip, identity)?;
    let conversation = async {
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| AskError::Connect(endpoint.uri().to_string(), error))?;
        let mut client = client(channel).max_decoding_message_size(MAX_DEFINITIONS + ENVELOPE);
        client
            .describe(DescribeRequest::of_host(DEADLINE))
            .await
            .map_err(|status| AskError::Call(Box::new(status)))
    };
    let response = tokio::time::timeout(DEADLINE, conversation)
        .await
        .map_err(|_| AskError::Deadline)??;
    Ok(response.into_inner())
}

/// Reads what the plugin has answered, where nobody is held up by what that takes. It goes on when nobody wants it any more, and has its
/// `own_turn` for so long.
pub async fn read(
    plugin: &PluginName,
    response: DescribeResponse,
    own_turn: OwnedSemaphorePermit,
) -> Result<Answer, AskError> {
    let plugin = plugin.clone();
    let turn = READING.acquire().await;
    let read = spawn_blocking(move || {
        let _turns = (turn, own_turn);
        Answer::of(&plugin, &response)
    });
    read.await.map_err(|ended| {
        if ended.is_panic() {
            AskError::Panicked(Defect)
        } else {
            AskError::Read(ended)
        }
    })
}

/// Calls the plugin at the other end of a channel.
pub(crate) type Client =
    PluginClient<MapResponse<Channel, fn(http::Response<Body>) -> http::Response<WithoutDetails<Body>>>>;

pub(crate) fn client(channel: Channel) -> Client {
    PluginClient::new(MapResponse::new(channel, kite_proto::without_status_details))
}

/// The pod is dialled by address, and must prove the plugin's name whatever the address is.
pub(crate) fn endpoint(plugin: &PluginName, ip: &str, identity: &Identity) -> Result<Endpoint, AskError> {
    let authority = match ip.parse() {
        Ok(IpAddr::V4(address)) => format!("https://{address}:{PORT}"),
        Ok(IpAddr::V6(address)) => format!("https://[{address}]:{PORT}"),
        Err(_) => return Err(AskError::Address(ip.to_owned())),
    };
    let operator = &identity.operator;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(identity.servers.trust()))
        .identity(ClientIdentity::from_pem(&operator.certificate, &operator.key))
        .domain_name(server_name(plugin.as_str()));
    let endpoint = Endpoint::from_shared(authority).map_err(AskError::Prepare)?;
    endpoint
        .http2_max_header_list_size(MAX_HEADERS)
        .connect_timeout(DEADLINE)
        .tls_config(tls)
        .map_err(AskError::Prepare)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        process,
        sync::{
            Arc, Mutex,
            atomic::{AtomicU8, Ordering},
        },
        time::SystemTime,
    };

    use kite_api::{error_chain, identity::GATEWAY_URI};
    use kite_proto::{
        ShutdownRequest, ShutdownResponse,
        plugin_server::{Plugin, PluginServer},
    };
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tokio_util::task::AbortOnDropHandle;
    use tonic::{
        Request, Response, Status,
        transport::{Server, ServerTlsConfig},
    };

    use super::*;
    use crate::identity::{
        certificate::{Certified, Names},
        kept::Cas,
        tests::identity,
    };

    const HOUR: Duration = Duration::from_hours(1);
    /// Each pod listens on the protocol's port, so each needs another address of the loopback network.
    static NEXT: AtomicU8 = AtomicU8::new(95);

    type Callers = Arc<Mutex<Vec<CertificateDer<'static>>>>;

    /// A pod of the plugin hello, which serves until this is dropped.
    pub(crate) struct Pod {
        pub(crate) ip: String,
        callers: Callers,
        _server: AbortOnDropHandle<()>,
    }

    impl Pod {
        /// Starts it with this certificate.
        pub(crate) async fn start(certified: &Certified, identity: &Identity) -> Self {
            let [_, _, high, low] = process::id().to_be_bytes();
            let ip = format!("127.{}.{high}.{}", NEXT.fetch_add(1, Ordering::Relaxed), low.max(1));
            let tls = ServerTlsConfig::new()
                .identity(ClientIdentity::from_pem(&certified.certificate, &certified.key))
                .client_ca_root(Certificate::from_pem(identity.clients.trust()));
            let callers = Callers::default();
            let listener = TcpListener::bind((ip.as_str(), PORT)).await.unwrap();
            let server = Server::builder()
                .tls_config(tls)
                .unwrap()
                .add_service(PluginServer::new(Answers(Arc::clone(&callers))))
                .serve_with_incoming(TcpListenerStream::new(listener));
            let server = tokio::spawn(async move { server.await.unwrap() });
            Self {
                ip,
                callers,
                _server: AbortOnDropHandle::new(server),
            }
        }

        /// The certificates of those who have called it.
        pub(crate) fn callers(&self) -> Vec<CertificateDer<'static>> {
            self.callers.lock().unwrap().clone()
        }
    }

    /// What it answers, and of whom it takes note.
    struct Answers(Callers);

    impl Answers {
        fn note<T>(&self, request: &Request<T>) {
            let shown = request.peer_certs().unwrap_or_default();
            self.0.lock().unwrap().extend(shown.iter().cloned());
        }
    }

    #[tonic::async_trait]
    impl Plugin for Answers {
        async fn describe(&self, request: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
            self.note(&request);
            Ok(Response::new(DescribeResponse {
                name: String::from("hello"),
                ..DescribeResponse::default()
            }))
        }

        async fn shutdown(&self, request: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
            self.note(&request);
            Ok(Response::new(ShutdownResponse {}))
        }
    }

    /// The certificate that the operator shows.
    pub(crate) fn own(identity: &Identity) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(identity.operator.certificate.as_bytes()).unwrap()
    }

    /// The certificate of a plugin.
    pub(crate) fn certificate(name: &str, identity: &Identity) -> Certified {
        let plugin = PluginName::parse(name).unwrap();
        identity.plugin_certificate(&plugin, None, SystemTime::now()).unwrap()
    }

    /// Certificates that are good ones, but not those of hello: whose, and what the operator has to say of each.
    fn others(own: &Identity) -> [(&'static str, Certified, &'static str); 7] {
        let issued = |cas: &Cas, names: &Names| cas.issuing.issue(names, HOUR, SystemTime::now()).unwrap();
        let hello = Names::host("hello", &server_name("hello"));
        let client = Names::uri("kite-gateway", GATEWAY_URI);
        let serving = Names::host("kite-gateway", "kite-gateway");
        let (name, usage, unknown) = (
            "not valid for name \"hello.plugins.kite.internal\"",
            "extended key usage",
            "UnknownIssuer",
        );
        [
            ("another plugin's", certificate("other", own), name),
            ("the gateway's, as a client", issued(&own.clients, &client), usage),
            ("the gateway's, as a server", issued(&own.serving, &serving), unknown),
            ("the operator's own", own.operator.clone(), usage),
            ("one for hello, of the clients' CA", issued(&own.clients, &hello), usage),
            (
                "one for hello, of the gateway's CA",
                issued(&own.serving, &hello),
                unknown,
            ),
            (
                "one for hello, of a stranger's CA",
                certificate("hello", &identity()),
                unknown,
            ),
        ]
    }

    #[test]
    fn what_a_plugin_says_instead_of_an_answer_is_cut() {
        let told = |length| AskError::Call(Box::new(Status::unavailable("a".repeat(length)))).to_string();
        assert!(told(MAX_MESSAGE).ends_with("aa\""), "{}", told(MAX_MESSAGE));
        let long = told(16 * 1024);
        assert!(long.ends_with("aa…\"") && long.len() < 2 * MAX_MESSAGE, "{long}");
    }

    #[tokio::test]
    async fn a_pod_is_asked_that_has_its_plugins_certificate_and_no_other() {
        crate::run::install_crypto();
        let identity = identity();
        let plugin = PluginName::parse("hello").unwrap();
        let pod = Pod::start(&certificate("hello", &identity), &identity).await;
        let answer = ask(&plugin, &pod.ip, &identity).await.unwrap();
        assert_eq!(answer.name, "hello");
        assert_eq!(pod.callers(), [own(&identity)], "it sees who asks");
        for (whose, certified, why) in others(&identity) {
            let pod = Pod::start(&certified, &identity).await;
            let error = ask(&plugin, &pod.ip, &identity).await.unwrap_err();
            assert!(matches!(error, AskError::Connect(..)), "{whose}: {error:?}");
            let told = error_chain(&error);
            assert!(told.contains(&pod.ip) && told.contains(why), "{whose}: {told}");
            assert!(pod.callers().is_empty(), "{whose}: it was asked");
        }
    }
}
