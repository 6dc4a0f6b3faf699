//! The gateway's traits as Kubernetes answers them.

mod authenticator;
mod authorizer;
mod directory;
mod revisions;
mod sessions;
mod understood;

use std::time::Duration;

pub use self::{
    authenticator::TokenReviews,
    authorizer::SubjectAccessReviews,
    directory::{Watched, watch},
    sessions::SharedSessions,
};

/// How long the API server may take for a review. It answers within milliseconds, and somebody waits.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a review has no result.
#[derive(Debug, thiserror::Error)]
enum ReviewError {
    #[error("failed to get an answer in time")]
    Timeout,
    #[error("failed to ask the API server")]
    Ask(#[source] kube::Error),
    #[error("failed to find a status in the answer")]
    NoStatus,
}

/// The answer to a review, if it comes in time.
async fn reviewed<T>(review: impl Future<Output = kube::Result<T>>) -> Result<T, ReviewError> {
    let answer = tokio::time::timeout(REVIEW_TIMEOUT, review)
        .await
        .map_err(|_| ReviewError::Timeout)?;
    answer.map_err(ReviewError::Ask)
}
