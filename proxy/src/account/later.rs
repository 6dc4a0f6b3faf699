//! The record of an operation that ends only after the head of its answer, as a call of a tool does whose progress is told.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use http::StatusCode;

use super::Recorder;
use crate::audit::{AuditError, Outcome, Record};

/// Makes the record of an operation at its end. Dropped before that, it records that the caller went away.
pub struct Later {
    recorder: Arc<Recorder>,
    began: Instant,
    /// Until the end, and then elsewhere.
    record: Option<Record>,
    ended: Ended,
}

/// The status that an answer without events would have had, and the problem.
type Told = (StatusCode, Option<&'static str>);

/// How the operation ended, as its account tells too.
#[derive(Clone, Default)]
pub(super) struct Ended(Arc<Mutex<Option<Told>>>);

impl Ended {
    pub(super) fn get(&self) -> Option<Told> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Later {
    pub(super) fn new(recorder: Arc<Recorder>, began: Instant, record: Option<Record>, ended: Ended) -> Self {
        Self {
            recorder,
            began,
            record,
            ended,
        }
    }

    /// Records how the operation ended. Only when that is safe may the caller be told.
    pub async fn settle(&mut self, status: StatusCode, problem: Option<&'static str>) -> Result<(), AuditError> {
        self.tell(status, problem);
        let Some(record) = self.record.take() else {
            return Ok(());
        };
        let record = Record {
            outcome: Outcome::of(status),
            status: Some(status),
            duration: self.began.elapsed(),
            error: problem,
            ..record
        };
        self.recorder.trail.keep(record).await
    }

    /// Tells the account what the caller is told.
    pub fn tell(&self, status: StatusCode, problem: Option<&'static str>) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((status, problem));
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            let duration = self.began.elapsed();
            self.recorder.trail.note(Record { duration, ..record });
        }
    }
}
