//! A plugin that does to its gateway what it can. It speaks the protocol by itself: with the SDK it could not.

use std::{net::IpAddr, path::Path, pin::Pin, time::Duration};

use bytes::Bytes;
use clap::ValueEnum;
use futures::{Stream, StreamExt as _, stream};
use kite_proto::{
    Definitions, DescribeRequest, DescribeResponse, Header, HttpRequest, HttpResponse, HttpResponseHead, MAX_CHUNK,
    plugin_server::{Plugin, PluginServer},
};
use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::{IntervalStream, TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

use super::{PartError, listen, read};

/// What it is called.
pub(in crate::load) const NAME: &str = "offender";
/// Between two bytes of an answer that is slow.
const SLOW: Duration = Duration::from_millis(100);
/// All that HTTP/2 allows: it offends each of its callers, and not by way of another.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::load) enum Offence {
    /// Never answers.
    Hangs,
    /// Sends as much as it can, for as long as somebody takes it.
    Floods,
    /// Reads nothing of a request, and answers a byte now and then.
    IsSlow,
    /// Says what is no answer, each time another.
    AnswersGarbage,
}

impl Offence {
    pub(in crate::load) const ALL: [Self; 4] = [Self::Hangs, Self::Floods, Self::IsSlow, Self::AnswersGarbage];

    /// For people, as an argument, and below the plugin's address.
    pub(in crate::load) fn name(self) -> &'static str {
        match self {
            Self::Hangs => "hangs",
            Self::Floods => "floods",
            Self::IsSlow => "is-slow",
            Self::AnswersGarbage => "answers-garbage",
        }
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<HttpResponse, Status>> + Send>>;

struct Offender;

fn head(status: u32, headers: Vec<Header>) -> HttpResponse {
    HttpResponse {
        head: Some(HttpResponseHead { status, headers }),
        ..HttpResponse::default()
    }
}

fn data(data: &Bytes) -> HttpResponse {
    HttpResponse {
        data: data.clone(),
        ..HttpResponse::default()
    }
}

/// What comes after a good beginning.
fn begun(rest: impl Stream<Item = HttpResponse> + Send + 'static) -> Answers {
    let first = stream::once(async { head(200, vec![]) });
    first.chain(rest).map(Ok).boxed()
}

fn flood() -> Answers {
    let most = Bytes::from(vec![b'a'; MAX_CHUNK]);
    begun(stream::repeat_with(move || data(&most)))
}

/// It keeps what it does not read.
fn slow(unread: Streaming<HttpRequest>) -> Answers {
    let byte = Bytes::from_static(b"a");
    let mut pace = interval(SLOW);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    begun(IntervalStream::new(pace).map(move |_| {
        let _ = &unread;
        data(&byte)
    }))
}

/// One of the answers that are none: which, the end of the path says.
fn garbage(path: &str) -> Answers {
    let header = |name: &str, value: &'static [u8]| Header {
        name: name.to_owned(),
        value: Bytes::from_static(value),
    };
    let messages = match path.bytes().last().unwrap_or_default() % 6 {
        0 => vec![head(70_000, vec![])],
        1 => vec![data(&Bytes::from_static(b"no head"))],
        2 => vec![head(200, vec![header("x-bad", b"a\r\nb: c")])],
        3 => vec![head(200, vec![header("", b""); 25_000])],
        4 => vec![head(200, vec![]), head(200, vec![])],
        _ => vec![],
    };
    stream::iter(messages).map(Ok).boxed()
}

#[tonic::async_trait]
impl Plugin for Offender {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Ok(Response::new(DescribeResponse {
            protocol: kite_proto::PROTOCOL,
            definitions: Definitions::default().encode_to_vec().into(),
            ..DescribeResponse::default()
        }))
    }

    async fn http(&self, request: Request<Streaming<HttpRequest>>) -> Result<Response<Answers>, Status> {
        let mut rest = request.into_inner();
        let first = rest.message().await?.and_then(|first| first.head);
        let Some(first) = first else {
            return Err(Status::invalid_argument("no head"));
        };
        let path = first.path_and_query.trim_start_matches('/');
        let offence = Offence::ALL
            .into_iter()
            .find(|offence| path.starts_with(offence.name()));
        Ok(Response::new(match offence {
            Some(Offence::Hangs) => stream::pending().boxed(),
            Some(Offence::Floods) => flood(),
            Some(Offence::IsSlow) => slow(rest),
            Some(Offence::AnswersGarbage) => garbage(path),
            None => return Err(Status::not_found("no such offence")),
        }))
    }
}

/// Serves it.
pub(super) async fn run(folder: &Path, address: IpAddr) -> Result<(), PartError> {
    let identity = Identity::from_pem(
        read(folder, &format!("{NAME}.crt"))?,
        read(folder, &format!("{NAME}.key"))?,
    );
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(Certificate::from_pem(read(folder, "clients-ca.crt")?));
    let listener = listen(address).await?;
    let server = Server::builder().initial_connection_window_size(CONNECTION_WINDOW);
    server
        .tls_config(tls)
        .map_err(PartError::Offender)?
        .add_service(PluginServer::new(Offender))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .map_err(PartError::Offender)
}
