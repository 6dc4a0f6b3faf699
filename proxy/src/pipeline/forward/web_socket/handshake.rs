//! A caller's half of the opening handshake, and what of a plugin's half is passed on (RFC 6455, section 4).

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use kite_proto::Header;
use tokio_tungstenite::tungstenite::{self, handshake::server::create_response_with_body};

use crate::{
    leases::Lease,
    pipeline::{
        RequestBody, ResponseBody,
        forward::AnswerError,
        full,
        headers::{self, to_plugin},
    },
};

const PROTOCOL: &str = "websocket";
const VERSION: &str = "13";
/// About the connection between caller and gateway alone: the plugin sees neither masks nor extensions.
const OWN: [HeaderName; 3] = [
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
];

/// How the API server's browser clients send a token as a subprotocol. A plugin never sees one.
const CREDENTIAL: &str = "base64url.bearer.authorization.k8s.io.";

/// Why a connection is not upgraded.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("plugins can be reached over WebSocket by HTTP/1.1 only, and over no other upgraded connection")]
    Unsupported,
    #[error("the version of WebSocket is not {VERSION}")]
    Version,
    #[error("the handshake has a body")]
    Body,
    #[error("the handshake has more than one Sec-WebSocket-Key")]
    Keys,
    #[error("the handshake is malformed")]
    Malformed(#[source] Box<tungstenite::Error>),
}

/// A handshake that is as it should be, and the connection that it is on.
pub struct Handshake {
    pub(super) query: Option<String>,
    /// What the plugin is told.
    pub(super) headers: Vec<Header>,
    pub(super) upgrade: OnUpgrade,
    /// Absent where nobody tells of the gateway's end.
    pub(super) lease: Option<Lease>,
    /// The proof for the caller that a WebSocket was understood.
    accept: HeaderValue,
    /// The subprotocols that the caller speaks.
    offered: Vec<String>,
}

impl Handshake {
    /// The handshake that `request` is.
    pub fn of(mut request: Request<RequestBody>) -> Result<Self, HandshakeError> {
        let (fields, version) = (request.headers(), request.version());
        let wanted = fields.get(header::UPGRADE).map(HeaderValue::as_bytes);
        let is_web_socket = wanted.is_some_and(|wanted| wanted.eq_ignore_ascii_case(PROTOCOL.as_bytes()));
        if version != Version::HTTP_11 || !is_web_socket {
            return Err(HandshakeError::Unsupported);
        }
        if fields
            .get(header::SEC_WEBSOCKET_VERSION)
            .is_some_and(|version| version != VERSION)
        {
            return Err(HandshakeError::Version);
        }
        if !request.body().is_end_stream() {
            return Err(HandshakeError::Body);
        }
        if fields.get_all(header::SEC_WEBSOCKET_KEY).iter().count() > 1 {
            return Err(HandshakeError::Keys);
        }
        let consent =
            create_response_with_body(&request, || ()).map_err(|error| HandshakeError::Malformed(Box::new(error)))?;
        let accept = consent.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        let accept = accept.cloned().ok_or(HandshakeError::Unsupported)?;
        let (upgrade, lease) = {
            let extensions = request.extensions_mut();
            (extensions.remove(), extensions.remove())
        };
        let mut headers = to_plugin(request.headers());
        headers.retain(|field| OWN.iter().all(|own| *own != field.name.as_str()));
        let offered: Vec<String> = protocols(request.headers())
            .filter(|protocol| !protocol.starts_with(CREDENTIAL))
            .map(ToOwned::to_owned)
            .collect();
        if protocols(request.headers()).count() > offered.len() {
            headers.retain(|field| header::SEC_WEBSOCKET_PROTOCOL != field.name.as_str());
            if !offered.is_empty() {
                headers.push(Header {
                    name: header::SEC_WEBSOCKET_PROTOCOL.as_str().to_owned(),
                    value: offered.join(", ").into(),
                });
            }
        }
        Ok(Self {
            query: request.uri().query().map(ToOwned::to_owned),
            headers,
            // The connection itself does not think that it can be upgraded.
            upgrade: upgrade.ok_or(HandshakeError::Unsupported)?,
            lease,
            accept,
            offered,
        })
    }

    /// The answer to a caller whose WebSocket the plugin accepts with the fields `given`.
    pub(super) fn accepted(&self, given: Vec<Header>) -> Result<Response<ResponseBody>, AnswerError> {
        let given = headers::to_caller(given).map_err(AnswerError::Headers)?;
        let mut chosen = given.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let protocol = match (chosen.next(), chosen.next()) {
            (None, _) => None,
            (Some(protocol), None) if self.offered.iter().any(|offered| protocol == offered.as_str()) => Some(protocol),
            _ => return Err(AnswerError::Protocol),
        };
        let mut response = Response::new(full(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = response.headers_mut();
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(protocol) = protocol {
            fields.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        Ok(response)
    }
}

/// The subprotocols in the fields, which may be several.
fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let lists = values.filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty())
}
