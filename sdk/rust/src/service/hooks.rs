//! The host's own calls: settings, events of clusters, and that the plugin is about to stop.

use std::{collections::BTreeSet, future::Future, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use kite_api::error_chain;
use kite_proto::{
    ApplySettingsRequest, ApplySettingsResponse, CallContext, OnClusterEventRequest, ShutdownRequest, Supports,
    on_cluster_event_request::Kind,
};
use tokio::{sync::Mutex, time::timeout};
use tonic::Status;
use tracing::{Instrument as _, error, error_span, info, warn};

use super::{panic_text, reply, status};
use crate::{
    ApplySettings, ClusterEvents, Kite, Middleware, Plugin,
    caller::{Context, MAX_CLUSTER},
    hooks::{ClusterChange, ClusterEvent, Once},
};

/// Most bytes of settings.
const MAX_SETTINGS: usize = 1024 * 1024;

/// What an author has hooked into. What is absent answers UNIMPLEMENTED.
pub(crate) struct Hooks {
    pub(crate) kite: Kite,
    pub(crate) settings: Option<ApplySettings>,
    pub(crate) cluster_events: Option<ClusterEvents>,
    pub(crate) middleware: Option<Middleware>,
    pub(crate) shutdown: Option<Once>,
    /// Held while settings are applied: of two that come at once, the later one is current in the end.
    applying: Mutex<()>,
    /// The clusters that the author's hook may take to be there. Held while it is told of one.
    clusters: Mutex<BTreeSet<String>>,
}

impl Hooks {
    /// Those of `plugin`.
    pub(crate) fn of(plugin: &impl Plugin, kite: Kite) -> Self {
        Self {
            settings: plugin.apply_settings(),
            cluster_events: plugin.on_cluster_event(),
            middleware: plugin.middleware(),
            shutdown: plugin.shutdown().map(|hook| Once::new(hook, kite.clone())),
            applying: Mutex::default(),
            clusters: Mutex::default(),
            kite,
        }
    }

    pub(crate) fn supports(&self) -> Supports {
        Supports {
            // The SDK's own, whatever the author has.
            exchange: true,
            intercept: self.middleware.is_some(),
            cluster_events: self.cluster_events.is_some(),
            settings: self.settings.is_some(),
            shutdown: self.shutdown.is_some(),
        }
    }

    pub(super) async fn apply_settings(&self, request: ApplySettingsRequest) -> Result<ApplySettingsResponse, Status> {
        let hook = self.settings.as_ref().ok_or_else(|| absent("settings"))?;
        let context = accepted(request.context)?;
        if request.settings.len() > MAX_SETTINGS {
            let reason = format!("the settings have more than {MAX_SETTINGS} bytes");
            return Ok(refused(reason));
        }
        let _one_at_a_time = self.applying.lock().await;
        let running = match hook.apply(self.kite.clone(), &request.settings) {
            Ok(running) => running,
            Err(error) => return Ok(refused(error_chain(&error))),
        };
        match guarded("settings", &context, running).await? {
            Ok(()) => {
                info!("new settings are accepted");
                Ok(ApplySettingsResponse {
                    accepted: true,
                    reason: String::new(),
                })
            }
            Err(refusal) => Ok(refused(refusal.to_string())),
        }
    }

    pub(super) async fn on_cluster_event(&self, request: OnClusterEventRequest) -> Result<(), Status> {
        let hook = self.cluster_events.as_ref().ok_or_else(|| absent("cluster events"))?;
        let kind = request.kind();
        let context = accepted(request.context)?;
        let (cluster, present) = (request.cluster, request.present);
        let is_wrong = |name: &String| name.is_empty() || name.len() > MAX_CLUSTER;
        if is_wrong(&cluster) || present.iter().any(is_wrong) {
            return Err(Status::invalid_argument("the cluster's name is empty or too long"));
        }
        let change = match kind {
            Kind::Added => ClusterChange::Added,
            Kind::Updated => ClusterChange::Updated,
            Kind::Removed => ClusterChange::Removed,
            Kind::Unspecified => {
                // An error would bring it back for ever, with all later ones behind it.
                warn!("an event of a cluster is of a kind that this SDK does not know, and is passed over");
                return Ok(());
            }
        };
        let tell = async |change, cluster: &str| {
            let event = ClusterEvent {
                change,
                cluster: cluster.to_owned(),
            };
            let running = hook.tell(self.kite.clone(), event);
            guarded("cluster event", &context, running).await?.map_err(|error| {
                error!(
                    error = error_chain(&*error),
                    "the plugin failed on an event of a cluster"
                );
                Status::internal("the plugin failed on the event")
            })
        };
        let mut known = self.clusters.lock().await;
        let is_gone = |name: &&String| !present.is_empty() && !present.contains(name);
        let gone: Vec<String> = known.iter().filter(is_gone).cloned().collect();
        for cluster in gone {
            tell(ClusterChange::Removed, &cluster).await?;
            known.remove(&cluster);
        }
        // One on which the hook fails it may have taken note of.
        if change != ClusterChange::Removed {
            known.insert(cluster.clone());
        }
        tell(change, &cluster).await?;
        if change == ClusterChange::Removed {
            known.remove(&cluster);
        }
        Ok(())
    }

    /// Releases what the plugin holds, within the call's time.
    pub(super) async fn shutdown(&self, request: ShutdownRequest) -> Result<(), Status> {
        let hook = self.shutdown.as_ref().ok_or_else(|| absent("shutdown"))?;
        let context = accepted(request.context)?;
        guarded("shutdown", &context, hook.run()).await
    }
}

fn accepted(context: Option<CallContext>) -> Result<Context, Status> {
    Context::try_from(context).map_err(|error| status::invalid(&error))
}

pub(super) fn absent(what: &str) -> Status {
    Status::unimplemented(format!("the plugin has no hook for {what}"))
}

fn refused(reason: String) -> ApplySettingsResponse {
    let reason = status::cut(reason);
    warn!(reason, "new settings are refused");
    ApplySettingsResponse {
        accepted: false,
        reason,
    }
}

/// What a hook gives within the call's time. A panic is this call's failure alone.
pub(super) async fn guarded<T>(what: &str, context: &Context, running: impl Future<Output = T>) -> Result<T, Status> {
    let span = error_span!("hook", what, request_id = %context.request_id);
    let running = AssertUnwindSafe(running).catch_unwind().instrument(span);
    let ended = match context.timeout {
        Some(limit) => timeout(limit, running).await.map_err(|_| reply::too_late())?,
        None => running.await,
    };
    ended.map_err(|panic| {
        error!(what, panic = panic_text(&*panic), "a hook of the plugin panicked");
        Status::internal("the plugin's hook failed")
    })
}
