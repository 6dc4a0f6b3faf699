//! A panic is a defect of this program. It ends what was done for one plugin, and not all that is done for the others.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// Something panicked.
#[derive(Debug, thiserror::Error)]
#[error("failed by a defect of the operator: please report what its log says of it")]
pub struct Defect;

/// Does `work`, of which a panic is a failure like any other.
pub(crate) async fn caught<T, E: From<Defect>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    // Whatever is shared is replaced as a whole, so that nothing is half written.
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Err(Defect.into()))
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::controller::ReconcileError;

    #[tokio::test]
    async fn what_panics_is_a_failure() {
        let panics = caught(async {
            assert!(ready(false).await, "a defect");
            Ok(())
        });
        assert!(matches!(panics.await, Err(ReconcileError::Panicked(_))));
        let done: Result<_, Defect> = caught(ready(Ok(1))).await;
        assert!(matches!(done, Ok(1)));
    }
}
