//! Why a change or a question about objects is refused.

use std::fmt;

use kite_api::error_chain;

/// Why an operation on objects failed, as its caller is told. Every other error becomes [`Failed`](Self::Failed) by `?`.
///
/// It is no [`std::error::Error`] itself, since it could not be made from every error then.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ResourceError {
    /// What the caller sent is no good, for this reason: 422.
    Invalid(String),
    /// There is no such object: 404.
    NotFound,
    /// There is an object of this name: 409.
    AlreadyExists,
    /// The object was changed meanwhile, so that its `metadata.resourceVersion` is another: 409.
    Conflict,
    /// The object is in no state for this, for this reason: 409.
    Precondition(String),
    /// The page asked for is no longer there; the caller begins again: 410.
    Expired,
    /// This caller may not, for this reason: 403.
    Forbidden(String),
    /// The type does not have this verb after all: 502.
    Unimplemented,
    /// The plugin failed. The text goes to the log and is not told: 502.
    Failed(String),
}

impl<E: std::error::Error> From<E> for ResourceError {
    fn from(error: E) -> Self {
        Self::Failed(error_chain(&error))
    }
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such object",
            Self::AlreadyExists => "there is an object of this name",
            Self::Conflict => "the object was changed meanwhile: read it again",
            Self::Expired => "the page is no longer there: begin again",
            Self::Unimplemented => "the type does not have this verb",
            Self::Invalid(reason) | Self::Precondition(reason) | Self::Forbidden(reason) | Self::Failed(reason) => {
                reason
            }
        })
    }
}
