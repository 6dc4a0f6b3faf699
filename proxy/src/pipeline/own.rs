//! What the gateway says of itself.

use std::{collections::HashMap, sync::atomic::Ordering};

use http::HeaderValue;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Answer, Gateway,
    authenticate::{Authenticator, Caller},
    authorize::{Access, Authorizer},
    json,
    route::{METRICS, Route},
    whole,
};
use crate::{
    account::Recorder,
    directory::Directory,
    metrics::OPEN_METRICS,
    problem::Refusal,
    readiness::{self, Check, Known},
};

/// That the gateway lives.
#[derive(JsonSchema, Serialize)]
pub(super) struct Alive {
    status: Well,
}

/// That the gateway should get traffic.
#[derive(JsonSchema, Serialize)]
pub(super) struct Ready {
    status: Well,
    /// What was looked at.
    checks: Vec<Check>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Well {
    Ok,
}

impl<N: Authenticator, Z: Authorizer, D: Directory> Gateway<N, Z, D> {
    /// What the kubelet asks.
    pub(super) fn own_state(&self, route: Route<'_>) -> Answer {
        if route != Route::Ready {
            return Ok(json(&Alive { status: Well::Ok }));
        }
        let known = Known {
            listed: self.directory.table().is_some(),
            ending: self.ending.load(Ordering::Relaxed),
            ..Known::of(&self.recorder.metrics, &self.recorder.trail)
        };
        let checks = known.checks(Timestamp::now());
        if readiness::is_ready(&checks) {
            Ok(json(&Ready {
                status: Well::Ok,
                checks,
            }))
        } else {
            Err(Refusal::Unready(checks))
        }
    }

    /// What is counted, for those who may read it.
    pub(super) async fn metrics(&self, caller: &Caller) -> Answer {
        let access = Access::NonResource { path: METRICS };
        let allowed = self.authorizer.allows(caller, access).await;
        if !allowed.map_err(Refusal::Authorize)? {
            return Err(Refusal::NoMetrics);
        }
        let Recorder {
            metrics,
            trail,
            access_log,
            ..
        } = &*self.recorder;
        let mut connections = HashMap::new();
        for (plugin, open) in self.upstreams.iter().flat_map(|upstream| upstream.connections()) {
            *connections.entry(plugin).or_default() += open;
        }
        let text = metrics.text(connections, trail, access_log.as_ref());
        Ok(whole(HeaderValue::from_static(OPEN_METRICS), text.into_bytes()))
    }
}
