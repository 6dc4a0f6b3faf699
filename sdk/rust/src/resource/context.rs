//! On whose behalf objects are read or changed.

use crate::{
    Caller, Cluster, Kite, KubeClientError, NoCaller, NoSettings, OtherPlugin, RequestId, Settings, caller::Context,
};

/// On whose behalf objects are read or changed.
#[derive(Clone, Debug)]
pub struct ResourceContext {
    context: Context,
    kite: Kite,
}

impl ResourceContext {
    pub(crate) fn new(context: Context, kite: Kite) -> Self {
        Self { context, kite }
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

    /// What the SDK holds for the plugin.
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
}
