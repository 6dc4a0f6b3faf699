//! On whose behalf a tool runs, and what it says while it does.

use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use crate::{
    Caller, Cluster, Kite, KubeClientError, NoCaller, NoSettings, OtherPlugin, RequestId, Settings, caller::Context,
};

/// On whose behalf a tool runs, and its line to the caller.
#[derive(Clone, Debug)]
pub struct ToolContext {
    context: Context,
    kite: Kite,
    progress: Progress,
    cancelled: CancellationToken,
}

impl ToolContext {
    pub(crate) fn new(context: Context, kite: Kite, progress: Progress, cancelled: CancellationToken) -> Self {
        Self {
            context,
            kite,
            progress,
            cancelled,
        }
    }

    /// Who calls; an error if the host itself does.
    pub fn caller(&self) -> Result<&Caller, NoCaller> {
        self.context.caller.as_ref().ok_or(NoCaller)
    }

    /// The id that names the call in every log.
    pub fn request_id(&self) -> &RequestId {
        &self.context.request_id
    }

    /// The cluster that the call is about.
    pub fn cluster(&self) -> &Cluster {
        &self.context.cluster
    }

    /// What the SDK holds for the plugin, for tasks that outlive the call.
    pub fn kite(&self) -> &Kite {
        &self.kite
    }

    /// The settings that were accepted last. They are an error until the operator has sent the first.
    pub fn settings<T: Send + Sync + 'static>(&self) -> Result<Settings<T>, NoSettings> {
        self.kite.settings()
    }

    /// A client for the API server, with the rights of the plugin's own ServiceAccount, whoever calls.
    pub async fn kube(&self) -> Result<kube::Client, KubeClientError> {
        self.kite.kube().await
    }

    /// Another plugin, which `spec.calls` of this one's object names.
    pub fn plugin(&self, name: impl Into<String>) -> OtherPlugin {
        self.kite.plugin(name)
    }

    /// Tells the caller how far the tool has come: `fraction` from 0 to 1, and what is being done.
    ///
    /// It never waits. What does not go beyond what was told before is not sent; of a message that has more than 1 KiB, the
    /// beginning is. A caller who reads slowly is told the latest.
    pub fn progress(&self, fraction: f64, message: impl Into<String>) {
        self.progress.tell(fraction, message.into());
    }

    /// Cancelled when nobody waits for the answer any more: the caller went away, the time was up, or the tool has answered. The
    /// tool itself is dropped then, at its next `.await`; this is for tasks that it has spawned.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }
}
