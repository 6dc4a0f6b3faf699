//! One question to one pod, by mutual TLS.

use std::{net::IpAddr, time::Duration};

use kite_api::{PluginName, ToolStatus};
use kite_proto::{
    DescribeRequest, DescribeResponse, MAX_DEFINITIONS, PORT, Supports, plugin_client::PluginClient, server_name,
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity as ClientIdentity};

use super::tools::{self, ToolsError};
use crate::identity::Identity;

/// The protocol's limit for an answer, connecting included.
const DEADLINE: Duration = Duration::from_secs(10);
/// What an answer has beside the definitions: a name, a version, a number.
const ENVELOPE: usize = 64 * 1024;
/// A plugin's headers are few; more is an attack.
const MAX_HEADERS: u32 = 16 * 1024;

/// Why a pod did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("failed to read the pod's address {0:?}")]
    Address(String),
    #[error("failed to prepare the connection")]
    Prepare(#[source] tonic::transport::Error),
    #[error("failed to connect to {0}")]
    Connect(String, #[source] tonic::transport::Error),
    #[error("failed to ask: the plugin answered {} {:?}", .0.code(), .0.message())]
    Call(Box<tonic::Status>),
    #[error("failed to get an answer within {} s", DEADLINE.as_secs())]
    Deadline,
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
    pub fn of(plugin: &PluginName, response: DescribeResponse) -> Self {
        Self {
            hash: kite_proto::definitions_hash(&response.definitions),
            supports: tools::supports(&response.definitions),
            tools: tools::read(plugin, &response.definitions),
            name: response.name,
            version: response.version,
            protocol: response.protocol,
        }
    }
}

/// Asks the pod of `plugin` at address `ip`.
pub async fn ask(plugin: &PluginName, ip: &str, identity: &Identity) -> Result<Answer, AskError> {
    let endpoint = endpoint(plugin, ip, identity)?;
    let conversation = async {
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| AskError::Connect(endpoint.uri().to_string(), error))?;
        let mut client = PluginClient::new(channel).max_decoding_message_size(MAX_DEFINITIONS + ENVELOPE);
        client
            .describe(DescribeRequest::of_host(DEADLINE))
            .await
            .map_err(|status| AskError::Call(Box::new(status)))
    };
    let response = tokio::time::timeout(DEADLINE, conversation)
        .await
        .map_err(|_| AskError::Deadline)??;
    Ok(Answer::of(plugin, response.into_inner()))
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
