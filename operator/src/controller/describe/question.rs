//! A question to one process, in a task of its own: who does not answer keeps a look waiting for a moment, and not until the question's end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    ask::{Answer, AskError},
    in_short,
};
use crate::{backoff::Failure, defect::caught};

/// For so long a look waits for the answer. What is to happen to a plugin happens in its next look, which begins when this one has ended, and
/// settings are to arrive within 2 s.
const PATIENCE: Duration = Duration::from_secs(1);

/// The answer, and since when this program has it; or that there is none.
pub(super) type Outcome = Result<(Arc<Answer>, Instant), Failure<String>>;

/// A question that was put to a process. When this is dropped, nobody asks any more.
#[derive(Debug)]
pub(super) struct Question {
    /// How the one before it failed.
    pub(super) before: Option<Failure<String>>,
    stage: watch::Sender<Stage>,
    _task: AbortOnDropHandle<()>,
}

/// How far a question is.
#[derive(Debug)]
enum Stage {
    /// The look that put it waits for its end.
    Awaited,
    /// Nobody waits for it, so that its end wakes the plugin.
    Left,
    Ended(Outcome),
}

impl Question {
    /// Puts the question that `ask` is. Its end calls `wake`, if nobody waits for it by then.
    pub(super) fn begin(
        before: Option<Failure<String>>,
        ask: impl Future<Output = Result<Answer, AskError>> + Send + 'static,
        wake: impl FnOnce() + Send + 'static,
    ) -> Self {
        let stage = watch::Sender::new(Stage::Awaited);
        let (end, failure) = (stage.clone(), before.clone());
        let task = tokio::spawn(async move {
            let outcome = match caught(ask).await {
                Ok(answer) => Ok((Arc::new(answer), Instant::now())),
                // The wait begins when the question ends, which may take its time.
                Err(error) => Err(Failure::after(failure.as_ref(), in_short(&error), Instant::now())),
            };
            let stage = end.send_replace(Stage::Ended(outcome));
            if matches!(stage, Stage::Left) {
                wake();
            }
        });
        Self {
            before,
            stage,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Waits for the end, if it comes soon. If not, it wakes the plugin from now on.
    pub(super) async fn wait(&self) {
        let mut stages = self.stage.subscribe();
        let end = stages.wait_for(|stage| matches!(stage, Stage::Ended(_)));
        // What came of it by then is asked for in any case.
        let _ = timeout(PATIENCE, end).await;
        self.stage.send_if_modified(|stage| {
            if matches!(stage, Stage::Awaited) {
                *stage = Stage::Left;
            }
            // Nobody waits to hear of that.
            false
        });
    }

    /// What came of it. `None`: it is under way.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match &*self.stage.borrow() {
            Stage::Ended(outcome) => Some(outcome.clone()),
            Stage::Awaited | Stage::Left => None,
        }
    }
}
