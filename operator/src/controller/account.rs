//! What is told of each look at a plugin beside its status: figures, a span for the collector, and one in which all that the log says
//! of it stands.

use std::time::Instant;

use kite_api::error_chain;
use tracing::Instrument;

use super::{
    Context, ReconcileError,
    object::{self, Object},
};

/// Does `work`, a look at `object`, and keeps account of it.
pub async fn keep<T>(
    object: &Object,
    context: &Context,
    work: impl Future<Output = Result<T, ReconcileError>>,
) -> Result<T, ReconcileError> {
    let (plugin, generation) = (object::name(object), object::generation(object));
    let Context { metrics, traces, .. } = context;
    let look = traces.as_ref().map(|traces| traces.begin(plugin, generation));
    let began = Instant::now();
    let counted = async {
        let outcome = work.await;
        let failed = outcome.as_ref().err().inspect(|error| {
            tracing::warn!(
                plugin,
                error = error_chain(*error),
                "a plugin is not where it should be"
            );
        });
        let failed = failed.map(<&str>::from);
        metrics.reconciled(began.elapsed(), failed);
        if let Some(look) = look {
            look.end(failed);
        }
        outcome
    };
    counted
        .instrument(tracing::info_span!("reconcile", plugin, generation))
        .await
}
