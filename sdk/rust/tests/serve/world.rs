//! A plugin that is served on loopback, with CAs and certificates of its own, and clients for it.

use std::{collections::HashMap, future::Future, net::SocketAddr, path::Path, time::Duration};

use futures::Stream;
use kite_plugin_sdk::{Certificates, Config, Plugin, PluginName, ServeError, kube::Client, serve_with};
use kite_proto::{
    CallContext, CallToolRequest, Header, HttpRequest, HttpRequestHead, HttpResponse, ToolResult, User,
    call_tool_response::Part, plugin_client::PluginClient,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// A folder that is not there.
const NOWHERE: &str = "/nowhere";
/// How long anything may take before a test has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// What `future` gives, or a failure that says what was waited for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("{what} took longer than {LIMIT:?}"))
}

pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key for `name`.
    pub(crate) fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// Certificate and key of the plugin.
    fn serving(&self) -> (String, String) {
        self.issue(&kite_proto::server_name("hello"), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// What a plugin shows whose clients are those of `clients`.
    fn fixed(&self, clients: &Self) -> Certificates {
        let (certificate, key) = self.serving();
        Certificates::Fixed {
            certificate: certificate.into(),
            key: key.into(),
            clients_ca: clients.pem().into(),
        }
    }

    /// Writes the three files of a plugin whose clients are those of `clients`.
    fn write_to(&self, folder: &Path, clients: &Self) {
        let (certificate, key) = self.serving();
        for (file, text) in [
            (kite_proto::CERTIFICATE_FILE, certificate),
            (kite_proto::KEY_FILE, key),
            (kite_proto::CLIENTS_CA_FILE, clients.pem()),
        ] {
            std::fs::write(folder.join(file), text).unwrap();
        }
    }

    pub(crate) fn client(&self) -> Identity {
        let (certificate, key) = self.issue("gateway", ExtendedKeyUsagePurpose::ClientAuth);
        Identity::from_pem(certificate, key)
    }
}

/// A plugin that is being served.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) health: SocketAddr,
    servers: Ca,
    pub(crate) clients: Ca,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), ServeError>>,
}

impl World {
    pub(crate) async fn serve(plugin: impl Plugin) -> Self {
        Self::serve_beside(plugin, None).await
    }

    /// Serves a plugin with this client for the API server.
    pub(crate) async fn serve_beside(plugin: impl Plugin, kube: Option<Client>) -> Self {
        let (servers, clients) = (Ca::new(), Ca::new());
        let certificates = servers.fixed(&clients);
        Self::serve_as(plugin, (kube, Path::new(NOWHERE)), servers, clients, certificates).await
    }

    /// Serves a plugin whose certificates are in the files of `folder`.
    pub(crate) async fn serve_from(plugin: impl Plugin, folder: &Path) -> Self {
        let (servers, clients) = (Ca::new(), Ca::new());
        servers.write_to(folder, &clients);
        let certificates = Certificates::Folder(folder.to_owned());
        Self::serve_as(plugin, (None, Path::new(NOWHERE)), servers, clients, certificates).await
    }

    /// Serves a plugin whose files for calls of others are in `gateway`.
    pub(crate) async fn serve_calling(plugin: impl Plugin, gateway: &Path) -> Self {
        let (servers, clients) = (Ca::new(), Ca::new());
        let certificates = servers.fixed(&clients);
        Self::serve_as(plugin, (None, gateway), servers, clients, certificates).await
    }

    async fn serve_as(
        plugin: impl Plugin,
        (kube, gateway): (Option<Client>, &Path),
        servers: Ca,
        clients: Ca,
        certificates: Certificates,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let health_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, health) = (listener.local_addr().unwrap(), health_listener.local_addr().unwrap());
        let config = Config {
            name: PluginName::parse("hello").unwrap(),
            listener,
            health_listener,
            certificates,
            kube,
            gateway: gateway.to_owned(),
            grace: Config::GRACE,
        };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(serve_with(plugin, config, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            health,
            servers,
            clients,
            stop: Some(stop),
            serving,
        }
    }

    /// New CAs and a new certificate, in the files of `folder`.
    pub(crate) fn renew(&mut self, folder: &Path) {
        (self.servers, self.clients) = (Ca::new(), Ca::new());
        self.servers.write_to(folder, &self.clients);
    }

    /// Connects as who `identity` is.
    pub(crate) async fn connect_as(&self, identity: Option<Identity>) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.servers.pem()))
            .domain_name(kite_proto::server_name("hello"));
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        Endpoint::from_shared(format!("https://{}", self.address))?
            .tls_config(tls)?
            .connect()
            .await
    }

    pub(crate) async fn client(&self) -> PluginClient<Channel> {
        PluginClient::new(self.connect_as(Some(self.clients.client())).await.unwrap())
    }

    /// Connects to the health port.
    pub(crate) async fn health_channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.health)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// Tells the plugin to stop.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// What serving ended with.
    pub(crate) async fn ended(self) -> Result<(), ServeError> {
        within("the end of the plugin", self.serving).await.unwrap()
    }
}

pub(crate) fn context() -> CallContext {
    CallContext {
        user: Some(User {
            name: "anna".into(),
            groups: vec!["a".into()],
            ..User::default()
        }),
        request_id: "request-1".into(),
        ..CallContext::default()
    }
}

pub(crate) fn head(method: &str, path: &str) -> HttpRequestHead {
    HttpRequestHead {
        context: Some(context()),
        method: method.into(),
        path_and_query: path.into(),
        headers: Vec::new(),
        ..HttpRequestHead::default()
    }
}

pub(crate) fn field(name: &str, value: &str) -> Header {
    Header {
        name: name.into(),
        value: value.as_bytes().to_vec().into(),
    }
}

/// A request of one message.
pub(crate) fn small(head: HttpRequestHead, data: &'static [u8]) -> Vec<HttpRequest> {
    vec![HttpRequest {
        head: Some(head),
        data: data.into(),
        trailers: Vec::new(),
        end: true,
        ..HttpRequest::default()
    }]
}

/// A whole answer, and in how many messages it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u32,
    pub(crate) headers: HashMap<String, Vec<String>>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<Header>,
    pub(crate) messages: usize,
}

/// Sends the messages of a request, and reads the answer to its end.
pub(crate) async fn exchange(
    client: &mut PluginClient<Channel>,
    messages: impl IntoIterator<Item = HttpRequest, IntoIter: Send + 'static>,
) -> Result<Answer, Status> {
    exchange_stream(client, tokio_stream::iter(messages)).await
}

/// The same with messages that come when they come.
pub(crate) async fn exchange_stream(
    client: &mut PluginClient<Channel>,
    messages: impl Stream<Item = HttpRequest> + Send + 'static,
) -> Result<Answer, Status> {
    let exchange = async {
        let mut stream = client.http(messages).await?.into_inner();
        let mut answer = Answer {
            status: 0,
            headers: HashMap::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            messages: 0,
        };
        let mut end = false;
        while let Some(HttpResponse {
            head,
            data,
            trailers,
            end: last,
            frame,
        }) = stream.message().await?
        {
            assert!(!end, "a message came after the last");
            assert_eq!(frame, None, "no WebSocket was asked for");
            assert_eq!(
                head.is_some(),
                answer.messages == 0,
                "the head is in the first message and only there"
            );
            if let Some(head) = head {
                answer.status = head.status;
                for Header { name, value } in head.headers {
                    answer
                        .headers
                        .entry(name)
                        .or_default()
                        .push(String::from_utf8(value.to_vec()).unwrap());
                }
            }
            assert!(
                data.len() <= kite_proto::MAX_CHUNK,
                "a message has {} bytes",
                data.len()
            );
            answer.body.extend_from_slice(&data);
            answer.trailers = trailers;
            answer.messages += 1;
            end = last;
        }
        assert!(end, "the answer ended without its end");
        Ok(answer)
    };
    within("the exchange", exchange).await
}

/// Calls a tool and reads the result.
pub(crate) async fn call(
    client: &mut PluginClient<Channel>,
    tool: &str,
    arguments: &str,
) -> Result<ToolResult, Status> {
    let arguments = arguments.as_bytes().to_vec().into();
    let request = CallToolRequest {
        context: Some(context()),
        tool: tool.into(),
        arguments,
    };
    let call = async {
        let mut stream = client.call_tool(request).await?.into_inner();
        let Some(Part::Result(result)) = stream.message().await?.unwrap().part else {
            panic!("no result")
        };
        assert!(stream.message().await?.is_none(), "the result is the last message");
        Ok(result)
    };
    within("the tool", call).await
}
