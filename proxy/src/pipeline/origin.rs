//! Where a call comes from: who calls, for which request, as part of which trace.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use kite_proto::{CallContext, Header, User, UserExtra};

use super::{authenticate::Caller, cluster::ClusterName, headers, trace::Trace};
use crate::request_id::RequestId;

/// On whose behalf a plugin is called.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub caller: &'a Caller,
    pub id: &'a RequestId,
    pub trace: &'a Trace,
    /// What the call is about.
    pub cluster: &'a ClusterName,
}

impl Origin<'_> {
    /// What the plugin is told of it, with how long the whole call may take.
    pub(super) fn context(&self, limit: Option<Duration>) -> CallContext {
        let extra = self.caller.extra().iter();
        CallContext {
            user: Some(User {
                name: self.caller.name().to_owned(),
                uid: self.caller.uid().to_owned(),
                groups: self.caller.groups().to_vec(),
                extra: extra
                    .map(|(key, values)| UserExtra {
                        key: key.clone(),
                        values: values.clone(),
                    })
                    .collect(),
            }),
            cluster: self.cluster.as_str().to_owned(),
            request_id: self.id.as_str().to_owned(),
            timeout: limit.and_then(|limit| prost_types::Duration::try_from(limit).ok()),
            traceparent: self.trace.parent().to_owned(),
            tracestate: self.trace.state().to_owned(),
        }
    }

    /// The fields of the caller's message that go to the plugin.
    pub(super) fn headers(&self, given: &HeaderMap) -> Vec<Header> {
        self.traced(headers::to_plugin(given))
    }

    /// The same with the trace, for what of a plugin looks there.
    pub(super) fn traced(&self, mut headers: Vec<Header>) -> Vec<Header> {
        for (name, value) in [("traceparent", self.trace.parent()), ("tracestate", self.trace.state())] {
            if !value.is_empty() {
                headers.push(Header {
                    name: name.to_owned(),
                    value: Bytes::copy_from_slice(value.as_bytes()),
                });
            }
        }
        headers
    }
}
