//! One call to one process, by mutual TLS, within a deadline and within the term.

use std::time::Duration;

use kite_api::PluginName;
use kite_proto::{
    ApplySettingsRequest, CallContext, OnClusterEventRequest, ShutdownRequest, on_cluster_event_request::Kind,
};

use super::{
    clusters::Change,
    ledger::{Act, Answer, Call},
};
use crate::{
    controller::{
        causes::words,
        describe::ask::{self, AskError, Client},
    },
    defect::Defect,
    identity::Current,
    leadership::{Term, term::Ended, wire},
};

/// Most that a plugin may take to say whether it takes settings, connecting included, or to take note of an event.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most that a plugin may take to release what it holds before it is stopped.
pub const RELEASE: Duration = Duration::from_secs(5);
/// Most characters that are kept of a plugin's reason for a refusal.
const MAX_REASON: usize = 1024;

/// Why a process did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Dial(AskError),
    #[error("failed to connect to {0}")]
    Connect(String, #[source] tonic::transport::Error),
    #[error("failed to tell: the plugin answered {} {:?}", .0.code(), words::cut(.0.message(), MAX_REASON))]
    Call(Box<tonic::Status>),
    #[error("failed to get an answer within {} s", .0.as_secs())]
    Deadline(Duration),
    #[error(transparent)]
    Ended(Ended),
    #[error(transparent)]
    Panicked(#[from] Defect),
}

/// Makes calls as the replica that leads.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Current,
    term: Term,
}

impl Caller {
    /// One who calls nobody once `term` has ended.
    pub fn new(identity: Current, term: Term) -> Self {
        Self { identity, term }
    }

    /// Makes the call to a process of `plugin`.
    pub async fn make(&self, plugin: &PluginName, call: &Call) -> Result<Answer, CallError> {
        let deadline = match &call.act {
            Act::Settings(_) | Act::Event(_) => DEADLINE,
            Act::Stop => RELEASE,
        };
        let conversation = async {
            let client = self.connect(plugin, &call.ip).await?;
            tell(client, &call.act, deadline)
                .await
                .map_err(|status| CallError::Call(Box::new(status)))
        };
        let in_time = tokio::time::timeout(deadline, conversation);
        let ended = self.term.within(in_time).await.map_err(CallError::Ended)?;
        ended.map_err(|_| CallError::Deadline(deadline))?
    }

    async fn connect(&self, plugin: &PluginName, ip: &str) -> Result<Client, CallError> {
        let endpoint = ask::endpoint(plugin, ip, &self.identity.get()).map_err(CallError::Dial)?;
        let channel = endpoint.connect_with_connector(wire::connector(&self.term)).await;
        let channel = channel.map_err(|error| CallError::Connect(endpoint.uri().to_string(), error))?;
        Ok(ask::client(channel))
    }
}

async fn tell(mut client: Client, act: &Act, limit: Duration) -> Result<Answer, tonic::Status> {
    let context = Some(CallContext::of_host(limit));
    match act {
        Act::Settings(numbered) => {
            let settings = numbered.settings().json().to_vec().into();
            let answer = client
                .apply_settings(ApplySettingsRequest { context, settings })
                .await?;
            let answer = answer.into_inner();
            Ok(if answer.accepted {
                Answer::Taken
            } else {
                Answer::Refused(words::cut(&answer.reason, MAX_REASON))
            })
        }
        Act::Event(event) => {
            let kind = match event.change {
                Change::Added => Kind::Added,
                Change::Updated => Kind::Updated,
                Change::Removed => Kind::Removed,
            };
            let request = OnClusterEventRequest {
                context,
                kind: kind.into(),
                cluster: event.cluster.as_str().to_owned(),
                present: event.present.iter().map(|name| name.as_str().to_owned()).collect(),
            };
            client.on_cluster_event(request).await.map(|_| Answer::Taken)
        }
        Act::Stop => client
            .shutdown(ShutdownRequest { context })
            .await
            .map(|_| Answer::Taken),
    }
}

#[cfg(test)]
mod tests {
    use kite_api::error_chain;
    use tokio::{net::TcpListener, time::Instant};

    use super::*;
    use crate::{
        controller::describe::ask::tests::{Pod, certificate, own},
        identity::tests::identity,
        push::news::Process,
    };

    /// That whoever is at this address is about to be stopped.
    fn stop(ip: &str) -> Call {
        Call {
            process: Process {
                pod: String::from("a"),
                restarts: 0,
            },
            ip: ip.to_owned(),
            act: Act::Stop,
        }
    }

    #[tokio::test]
    async fn a_plugin_is_told_and_nobody_in_its_place() {
        crate::run::install_crypto();
        let identity = identity();
        let good = Pod::start(&certificate("hello", &identity), &identity).await;
        let other = Pod::start(&certificate("other", &identity), &identity).await;
        let operator = own(&identity);
        let term = Term::until(Instant::now() + Duration::from_hours(1));
        let caller = Caller::new(Current::always(identity), term);
        let plugin = PluginName::parse("hello").unwrap();
        let told = caller.make(&plugin, &stop(&good.ip)).await;
        assert!(matches!(told, Ok(Answer::Taken)), "{told:?}");
        assert_eq!(good.callers(), [operator]);
        let error = caller.make(&plugin, &stop(&other.ip)).await.unwrap_err();
        let why = error_chain(&error);
        assert!(
            why.contains("not valid for name \"hello.plugins.kite.internal\""),
            "{why}"
        );
        assert!(other.callers().is_empty(), "it was told");
    }

    #[tokio::test]
    async fn nobody_is_called_once_the_term_has_ended() {
        crate::run::install_crypto();
        // Of the loopback network, an address that no other process of these tests has.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = format!("127.93.{high}.{}", low.max(1));
        let listener = TcpListener::bind((ip.as_str(), kite_proto::PORT)).await.unwrap();
        let term = Term::until(Instant::now());
        let caller = Caller::new(Current::always(identity()), term);
        let plugin = PluginName::parse("hello").unwrap();
        let outcome = caller.make(&plugin, &stop(&ip)).await;
        assert!(matches!(outcome, Err(CallError::Ended(Ended))), "{outcome:?}");
        let accepted = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(accepted.is_err(), "somebody connects");
    }
}
