//! What is tried at one endpoint, and once more elsewhere if it can begin anew there.

use std::net::SocketAddr;

use kite_api::PluginName;
use tokio::time::{Instant, timeout_at};

use super::{
    Gateway,
    authenticate::Authenticator,
    authorize::Authorizer,
    forward::{Ended, Exchange, ForwardError, Opening},
    tool::{Call, Running, ToolError},
};
use crate::{
    directory::{Directory, Revision},
    pipeline::ResponseBody,
    problem::Refusal,
    upstream::{Connected, Place},
};

/// What can be tried.
pub(super) trait Attempt: Sized + Send {
    type Answer: Send;
    type Error: Send;

    fn on(self, connected: Connected) -> impl Future<Output = Result<Self::Answer, Ended<Self, Self::Error>>> + Send;

    /// When its answer has to have begun. Connecting takes of that time too: a plugin that hangs may not have been asked before.
    fn deadline(&self) -> Instant;

    /// That it had not begun by then.
    fn late() -> Self::Error;

    /// What its failure is to the caller.
    fn refusal(error: Self::Error) -> Refusal;
}

impl<N: Authenticator, Z: Authorizer, D: Directory> Gateway<N, Z, D> {
    /// Tries at the least busy endpoint, and then at another if there is one, with one place among all that is under way.
    pub(super) async fn try_twice<A: Attempt>(
        &self,
        attempt: A,
        plugin: &PluginName,
        revision: &Revision,
        place: Place,
    ) -> Result<A::Answer, Refusal> {
        let deadline = attempt.deadline();
        let connected = self.connect_for::<A>(deadline, plugin, revision, None).await?;
        let connected = connected.holding(place.clone());
        let tried = Some(connected.address);
        let answer = match attempt.on(connected).await {
            Err(Ended::Again(attempt, _)) => {
                let elsewhere = self.connect_for::<A>(deadline, plugin, revision, tried).await?;
                attempt.on(elsewhere.holding(place)).await
            }
            answer => answer,
        };
        answer.map_err(|ended| match ended {
            Ended::Again(_, error) | Ended::Failed(error) => A::refusal(error),
        })
    }

    async fn connect_for<A: Attempt>(
        &self,
        deadline: Instant,
        plugin: &PluginName,
        revision: &Revision,
        tried: Option<SocketAddr>,
    ) -> Result<Connected, Refusal> {
        let connected = timeout_at(deadline, self.connect(plugin, revision, tried)).await;
        connected.unwrap_or_else(|_| Err(A::refusal(A::late())))
    }
}

impl Attempt for Exchange<'_> {
    type Answer = http::Response<ResponseBody>;
    type Error = ForwardError;

    fn deadline(&self) -> Instant {
        Exchange::deadline(self)
    }

    fn late() -> ForwardError {
        ForwardError::Timeout
    }

    async fn on(self, connected: Connected) -> Result<Self::Answer, Ended<Self>> {
        Exchange::on(self, connected).await
    }

    fn refusal(error: ForwardError) -> Refusal {
        Refusal::Forward(error)
    }
}

impl Attempt for Opening<'_> {
    type Answer = http::Response<ResponseBody>;
    type Error = ForwardError;

    fn deadline(&self) -> Instant {
        Opening::deadline(self)
    }

    fn late() -> ForwardError {
        ForwardError::Timeout
    }

    async fn on(self, connected: Connected) -> Result<Self::Answer, Ended<Self>> {
        Opening::on(self, connected).await
    }

    fn refusal(error: ForwardError) -> Refusal {
        Refusal::Forward(error)
    }
}

impl Attempt for Call<'_> {
    type Answer = Running;
    type Error = ToolError;

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn late() -> ToolError {
        ToolError::Timeout
    }

    async fn on(self, connected: Connected) -> Result<Running, Ended<Self, ToolError>> {
        match Call::on(&self, connected).await {
            Ok(running) => Ok(running),
            Err(error @ ToolError::NotBegun(_)) => Err(Ended::Again(Box::new(self), error)),
            Err(error) => Err(Ended::Failed(error)),
        }
    }

    fn refusal(error: ToolError) -> Refusal {
        Refusal::Tool(error)
    }
}
