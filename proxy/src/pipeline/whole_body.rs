//! A request's body as a whole, where something has to be known of it before the plugin gets it.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::RequestBody;
use crate::BoxError;

/// Why a body is not there as a whole.
#[derive(Debug, thiserror::Error)]
pub enum WholeBodyError {
    #[error("the body did not come in time")]
    Timeout,
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    #[error("failed to read the body")]
    Read(#[source] BoxError),
}

/// The bytes of `body`, at most `most`, which have to be there within `limit`.
pub async fn whole(body: RequestBody, most: usize, limit: Duration) -> Result<Bytes, WholeBodyError> {
    // Boxed, because the compiler cannot see that this future may change threads as part of a larger one.
    let collected = Limited::new(body, most).collect().boxed();
    let body = timeout(limit, collected).await.map_err(|_| WholeBodyError::Timeout)?;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            WholeBodyError::TooLarge(most)
        } else {
            WholeBodyError::Read(error)
        }
    })?;
    Ok(body.to_bytes())
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn a_body_has_to_come_whole_and_in_time() {
        const MOST: usize = 64 * 1024;
        let (limit, short) = (Duration::from_secs(10), Duration::from_millis(10));
        let started = || stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from("{")))]);
        let ended = StreamBody::new(started()).boxed_unsync();
        assert_eq!(whole(ended, MOST, limit).await.unwrap(), "{");
        let broken = StreamBody::new(started().chain(stream::iter([Err("gone".into())]))).boxed_unsync();
        assert!(matches!(whole(broken, MOST, limit).await, Err(WholeBodyError::Read(_))));
        let silent = StreamBody::new(started().chain(stream::pending())).boxed_unsync();
        assert!(matches!(whole(silent, MOST, short).await, Err(WholeBodyError::Timeout)));
        let large = StreamBody::new(stream::repeat_with(|| {
            Ok(Frame::data(Bytes::from_static(&[b' '; 1024])))
        }));
        assert!(matches!(
            whole(large.boxed_unsync(), MOST, limit).await,
            Err(WholeBodyError::TooLarge(MOST))
        ));
    }
}
