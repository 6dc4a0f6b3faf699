//! What a record says. There is no place in it for tokens, cookies, queries and bodies.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use kite_api::PluginName;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use uuid::Uuid;

use crate::pipeline::authenticate::Caller;

/// One operation of a plugin.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it was asked for.
    pub time: Timestamp,
    pub request_id: String,
    pub kind: Kind,
    pub caller: Option<Arc<Caller>>,
    /// The address at the other end of the connection.
    pub source: Option<IpAddr>,
    pub cluster: Arc<str>,
    pub plugin: PluginName,
    /// That which took the request, if it came so far.
    pub revision: Option<i64>,
    /// Of a plugin's route the verb and the path below the plugin's root; of a tool its name.
    pub operation: String,
    pub outcome: Outcome,
    /// Absent if nobody waited for the answer.
    pub status: Option<StatusCode>,
    /// Until the head of the answer.
    pub duration: Duration,
    /// The last part of the problem's type.
    pub error: Option<&'static str>,
}

/// What sort of operation it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A route of the plugin's own.
    Plugin,
    PluginTool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    /// By gateway or plugin, for a reason that lies with the caller: 4xx.
    Refused,
    /// 5xx.
    Failed,
    /// The caller went away before the answer; the plugin may have done it or not.
    Cancelled,
}

impl Outcome {
    /// The outcome that the status of an answer tells.
    pub fn of(status: StatusCode) -> Self {
        if status.is_client_error() {
            Self::Refused
        } else if status.is_server_error() {
            Self::Failed
        } else {
            Self::Succeeded
        }
    }
}

#[cfg(test)]
impl Record {
    /// One that differs from others by its operation, which is what a test looks for.
    pub(crate) fn of_a_test(operation: &str) -> Self {
        Self {
            time: Timestamp::UNIX_EPOCH,
            request_id: "r-1".to_owned(),
            kind: Kind::Plugin,
            caller: None,
            source: None,
            cluster: "home".into(),
            plugin: PluginName::parse("hello").unwrap(),
            revision: None,
            operation: operation.to_owned(),
            outcome: Outcome::Succeeded,
            status: None,
            duration: Duration::ZERO,
            error: None,
        }
    }
}

impl Serialize for Record {
    /// With an id of its own, which is made here: whoever sends a record again sends the text again.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("Record", 14)?;
        line.serialize_field("time", &self.time)?;
        line.serialize_field("id", &Uuid::new_v4().to_string())?;
        line.serialize_field("requestId", &self.request_id)?;
        line.serialize_field("kind", &self.kind)?;
        line.serialize_field("user", &self.caller.as_ref().map(|caller| caller.name()))?;
        line.serialize_field("uid", &self.caller.as_ref().map(|caller| caller.uid()))?;
        line.serialize_field("source", &self.source)?;
        line.serialize_field("cluster", &*self.cluster)?;
        line.serialize_field("plugin", self.plugin.as_str())?;
        line.serialize_field("revision", &self.revision)?;
        line.serialize_field("operation", &self.operation)?;
        line.serialize_field("outcome", &self.outcome)?;
        line.serialize_field("status", &self.status.map(|status| status.as_u16()))?;
        line.serialize_field("durationMs", &milliseconds(self.duration))?;
        line.serialize_field("error", &self.error)?;
        line.end()
    }
}

/// Milliseconds, with three digits after the point.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    f64::from(micros) / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_record_is_one_object_with_an_id_of_its_own() {
        let caller = Caller::new("jane".to_owned(), "u-1".to_owned(), vec!["dev".to_owned()], [].into());
        let record = Record {
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            request_id: "r-1".to_owned(),
            kind: Kind::PluginTool,
            caller: Some(Arc::new(caller)),
            source: Some("192.0.2.7".parse().unwrap()),
            cluster: "home".into(),
            plugin: PluginName::parse("hello").unwrap(),
            revision: Some(7),
            operation: "greet".to_owned(),
            outcome: Outcome::of(StatusCode::BAD_GATEWAY),
            status: Some(StatusCode::BAD_GATEWAY),
            duration: Duration::from_micros(1500),
            error: Some("tool-failed"),
        };
        let mut line = serde_json::to_value(&record).unwrap();
        let id = line.as_object_mut().unwrap().remove("id").unwrap();
        assert!(id.as_str().is_some_and(|id| Uuid::parse_str(id).is_ok()));
        let expected = json!({
            "time": "2026-01-02T03:04:05Z", "requestId": "r-1", "kind": "plugin_tool", "user": "jane", "uid": "u-1",
            "source": "192.0.2.7", "cluster": "home", "plugin": "hello", "revision": 7, "operation": "greet",
            "outcome": "failed", "status": 502, "durationMs": 1.5, "error": "tool-failed",
        });
        assert_eq!(line, expected);
        assert_ne!(serde_json::to_value(&record).unwrap()["id"], id);
    }

    #[test]
    fn the_status_tells_the_outcome() {
        for (status, outcome) in [
            (101, "succeeded"),
            (200, "succeeded"),
            (304, "succeeded"),
            (404, "refused"),
            (503, "failed"),
        ] {
            let told = Outcome::of(StatusCode::from_u16(status).unwrap());
            assert_eq!(serde_json::to_value(told).unwrap(), Value::from(outcome));
        }
    }
}
