//! What a plugin answered.

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tonic::{Code, Status};

use super::OrFail as _;

/// What a route answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text. The test fails if it is none.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).or_fail("read the body as text")
    }

    /// The body as JSON. The test fails if it is not of this type.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).or_fail("read the body as JSON")
    }
}

/// What a tool answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ToolResult {
    /// The answer for people and models.
    pub text: String,
    /// The answer for programs; `Null` where there is none.
    pub structured: Value,
    /// Whether the tool failed.
    pub is_error: bool,
    /// What it told of its progress: how far it was, and what it did.
    pub progress: Vec<(f64, String)>,
}

/// Why a call was refused, as the gateway is told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{code:?}: {message}")]
#[non_exhaustive]
pub struct Refusal {
    /// What kind of refusal it is.
    pub code: Code,
    /// The reason.
    pub message: String,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self {
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}
