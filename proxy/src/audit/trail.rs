//! The way of records to where they are kept: bounded, and so that no request waits for another's.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time::{timeout, timeout_at},
};

use super::{AuditSink, Record};
use crate::shards::Shards;

/// Most orders that wait for the sink.
const QUEUE: usize = 1024;
/// Most records that are kept at a time.
const BATCH: usize = 256;
/// Most records of reads that a thread of the gateway gathers before it hands them over, and how long they may wait there.
const GATHERED: usize = 64;
const GATHERING: Duration = Duration::from_millis(200);
/// How long a change waits for its record to be kept.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the sink may take for a batch before no change is begun, and how long after a failure.
const STALLED: Duration = Duration::from_secs(1);

/// Why a change is not recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuditError {
    #[error("failed to keep the last records")]
    Failing,
    #[error("failed to keep records in time")]
    Stalled,
    #[error("failed to keep the record")]
    Lost,
}

/// How the audit is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Records that were kept, and that were not.
    pub kept: u64,
    pub lost: u64,
    /// Why no change may begin.
    pub trouble: Option<AuditError>,
}

/// Takes records to the sink. Shared by all who make them.
#[derive(Clone)]
pub struct Trail {
    orders: mpsc::Sender<Order>,
    gathered: Arc<Shards<Vec<Record>>>,
    state: Arc<State>,
}

enum Order {
    /// Records that nobody waits for.
    Note(Vec<Record>),
    /// A record of a change, and who waits for it.
    Keep(Box<Record>, oneshot::Sender<bool>),
    /// All that came before is done.
    Done(oneshot::Sender<()>),
}

#[derive(Default)]
struct State {
    kept: AtomicU64,
    lost: AtomicU64,
    losing: AtomicBool,
    at: Mutex<At>,
}

#[derive(Clone, Copy, Default)]
struct At {
    /// Since when the sink has been busy with a batch.
    busy: Option<Instant>,
    /// When it last failed.
    failed: Option<Instant>,
}

impl Trail {
    /// A trail to `sink`, with a thread of its own.
    pub fn start(sink: impl AuditSink) -> io::Result<Self> {
        let (orders, taken) = mpsc::channel(QUEUE);
        let trail = Self {
            orders,
            gathered: Arc::default(),
            state: Arc::default(),
        };
        let (gathered, state) = (Arc::clone(&trail.gathered), Arc::clone(&trail.state));
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("audit".to_owned()).spawn(move || {
            runtime.block_on(Writer { sink, gathered, state }.run(taken));
        })?;
        Ok(trail)
    }

    /// Whether a change may begin, because its record can be expected to be kept.
    pub fn may_begin(&self) -> Result<(), AuditError> {
        self.standing().trouble.map_or(Ok(()), Err)
    }

    pub fn standing(&self) -> Standing {
        let at = self.state.at();
        let since = |moment: Option<Instant>| moment.map(|moment| moment.elapsed());
        let trouble = if since(at.busy).is_some_and(|busy| busy >= STALLED) || self.orders.capacity() == 0 {
            Some(AuditError::Stalled)
        } else if since(at.failed).is_some_and(|failed| failed < STALLED) {
            Some(AuditError::Failing)
        } else {
            None
        };
        Standing {
            kept: self.state.kept.load(Ordering::Relaxed),
            lost: self.state.lost.load(Ordering::Relaxed),
            trouble,
        }
    }

    /// Takes a record that nobody waits for. It is kept soon, and lost only if the sink does not keep up.
    pub fn note(&self, record: Record) {
        let full = self.gathered.with(|gathered| {
            gathered.push(record);
            (gathered.len() >= GATHERED).then(|| std::mem::take(gathered))
        });
        if let Some(records) = full
            && let Err(error) = self.orders.try_send(Order::Note(records))
        {
            let (mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order)) = error;
            self.state.lose(order.len());
        }
    }

    /// Takes a record and returns when it is kept. It is taken even if nobody waits for that to its end.
    pub async fn keep(&self, record: Record) -> Result<(), AuditError> {
        let mut taken = Taken {
            trail: self,
            record: Some(Box::new(record)),
        };
        let asked = async {
            let place = self.orders.reserve().await.map_err(|_| AuditError::Lost)?;
            let (done, kept) = oneshot::channel();
            place.send(Order::Keep(taken.record.take().ok_or(AuditError::Lost)?, done));
            kept.await.ok().filter(|kept| *kept).map(|_| ()).ok_or(AuditError::Lost)
        };
        timeout(PATIENCE, asked).await.unwrap_or(Err(AuditError::Stalled))
    }

    /// When all that was taken so far is kept or lost; at most for as long as a change waits.
    pub async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        let asked = async {
            if self.orders.send(Order::Done(done)).await.is_ok() {
                let _ = settled.await;
            }
        };
        if timeout(PATIENCE, asked).await.is_err() {
            tracing::warn!("the last records of the audit may be lost");
        }
    }
}

/// A record of a change, until it is handed over. Whoever gives up before then leaves it as one that nobody waits for: so it is kept
/// a little later, or counted as lost.
struct Taken<'a> {
    trail: &'a Trail,
    record: Option<Box<Record>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.trail.note(*record);
        }
    }
}

impl Order {
    /// How many records it has.
    fn len(&self) -> usize {
        match self {
            Self::Note(records) => records.len(),
            Self::Keep(..) => 1,
            Self::Done(_) => 0,
        }
    }
}

impl State {
    fn at(&self) -> At {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, change: impl FnOnce(&mut At)) {
        change(&mut self.at.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn lose(&self, count: usize) {
        self.lost.fetch_add(count as u64, Ordering::Relaxed);
        // Once for each trouble: a log that says it for each record would be the next trouble.
        if count > 0 && !self.losing.swap(true, Ordering::Relaxed) {
            tracing::error!("records of the audit are lost: the sink does not keep up");
        }
    }
}

/// The other end of the trail.
struct Writer<S> {
    sink: S,
    gathered: Arc<Shards<Vec<Record>>>,
    state: Arc<State>,
}

impl<S: AuditSink> Writer<S> {
    /// Until nobody can make records any more.
    async fn run(mut self, mut taken: mpsc::Receiver<Order>) {
        let mut orders = Vec::new();
        let mut next = tokio::time::Instant::now() + GATHERING;
        loop {
            let came = timeout_at(next, taken.recv_many(&mut orders, BATCH)).await;
            let is_over = came == Ok(0);
            // What a thread gathered and does not hand over, because nothing more comes.
            let settles = orders.iter().any(|order| matches!(order, Order::Done(_)));
            if is_over || came.is_err() || settles {
                next = tokio::time::Instant::now() + GATHERING;
                let gathered = self
                    .gathered
                    .take_all()
                    .into_iter()
                    .filter(|records| !records.is_empty());
                let at = orders.len().saturating_sub(1);
                orders.splice(at..at, gathered.map(Order::Note));
            }
            self.take(orders.drain(..)).await;
            if is_over {
                break;
            }
        }
    }

    async fn take(&mut self, orders: impl Iterator<Item = Order>) {
        let (mut records, mut waiting, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        for order in orders {
            match order {
                Order::Note(noted) => records.extend(noted),
                Order::Keep(record, done) => {
                    records.push(*record);
                    waiting.push(done);
                }
                Order::Done(done) => settled.push(done),
            }
        }
        if !records.is_empty() {
            let kept = self.write(&records).await;
            for done in waiting {
                // Whoever waited may have lost patience.
                let _ = done.send(kept);
            }
        }
        for done in settled {
            let _ = done.send(());
        }
    }

    async fn write(&mut self, records: &[Record]) -> bool {
        self.state.set(|at| at.busy = Some(Instant::now()));
        let kept = self.sink.keep(records).await;
        self.state.set(|at| {
            at.busy = None;
            at.failed = kept.is_err().then(Instant::now);
        });
        match kept {
            Ok(()) => {
                self.state.kept.fetch_add(records.len() as u64, Ordering::Relaxed);
                self.state.losing.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                tracing::error!(
                    error = kite_api::error_chain(&error),
                    "failed to keep records of the audit"
                );
                self.state.lose(records.len());
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as channel;

    use futures::FutureExt as _;

    use super::*;
    use crate::audit::SinkError;

    /// Keeps a batch for each turn that it gets, and is stuck without.
    struct Stuck(channel::Receiver<()>);

    impl AuditSink for Stuck {
        async fn keep(&mut self, _: &[Record]) -> Result<(), SinkError> {
            // Ends with the test.
            let _ = self.0.recv();
            Ok(())
        }
    }

    fn record() -> Record {
        Record::of_a_test("get /")
    }

    #[test]
    fn nobody_waits_for_a_sink_that_is_stuck_and_what_is_lost_is_counted() {
        let (turns, stuck) = channel::channel();
        let trail = Trail::start(Stuck(stuck)).unwrap();
        let many = (QUEUE + 4 * BATCH) * GATHERED;
        (0..many).for_each(|_| trail.note(record()));
        let standing = trail.standing();
        assert!(standing.lost > 0 && standing.kept == 0, "{standing:?}");
        assert!(
            standing.lost.is_multiple_of(GATHERED as u64) && standing.lost < many as u64,
            "{standing:?}"
        );
        assert_eq!(trail.may_begin(), Err(AuditError::Stalled));
        drop(turns);
        let began = Instant::now();
        while trail.standing().kept < many as u64 - standing.lost {
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", trail.standing());
            thread::yield_now();
        }
        assert_eq!(trail.may_begin(), Ok(()));
    }

    #[tokio::test]
    async fn what_was_taken_is_kept_before_it_settles() {
        let (turns, free) = channel::channel();
        drop(turns);
        let trail = Trail::start(Stuck(free)).unwrap();
        trail.keep(record()).await.unwrap();
        (0..=GATHERED).for_each(|_| trail.note(record()));
        trail.settle().await;
        assert_eq!(trail.standing().kept, GATHERED as u64 + 2);
    }
    #[tokio::test]
    async fn a_change_whose_caller_leaves_is_kept_or_counted_as_lost() {
        let (turns, stuck) = channel::channel();
        let trail = Trail::start(Stuck(stuck)).unwrap();
        // Far more than may wait, so that most leave before there is a place for their record.
        let many = 2 * (QUEUE + BATCH) as u64;
        for _ in 0..many {
            // Whatever else this task has done.
            let kept = tokio::task::unconstrained(trail.keep(record())).now_or_never();
            assert_eq!(kept, None);
        }
        drop(turns);
        let began = Instant::now();
        loop {
            let Standing { kept, lost, .. } = trail.standing();
            if kept + lost == many {
                assert!(kept >= QUEUE as u64 && lost > 0, "{kept} kept and {lost} lost");
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", trail.standing());
            tokio::task::yield_now().await;
        }
    }

    /// Tells what it has kept.
    struct Told(channel::Sender<usize>);

    impl AuditSink for Told {
        async fn keep(&mut self, records: &[Record]) -> Result<(), SinkError> {
            let _ = self.0.send(records.len());
            Ok(())
        }
    }

    #[test]
    fn what_was_gathered_is_kept_when_nobody_makes_records_any_more() {
        let (told, kept) = channel::channel();
        let trail = Trail::start(Told(told)).unwrap();
        trail.note(record());
        drop(trail);
        // Ends with the sink.
        assert_eq!(kept.iter().sum::<usize>(), 1);
    }
}
