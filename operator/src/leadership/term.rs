//! One stretch of leading, which ends by the holder's own clock, and a client that writes only in it.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use http::Request;
use kube::{Client, client::Body};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tower::BoxError;

/// Most that may pass until an answer begins: what the slowest of webhooks may take, and some more. After that the connection is given up,
/// which may have died silently.
const PATIENCE: Duration = Duration::from_secs(35);

/// Most requests that wait for an answer at once. Each has a connection of its own, since HTTP/1.1 is spoken, so that without a bound an operator
/// that starts with a thousand plugins would open ten thousand. A watch waits for its beginning only. A write may wait for somebody's webhook, and a
/// read waits for no write.
const READS: usize = 32;
pub(crate) const WRITES: usize = 64;

/// Something would have been written after the end of the term in which it was decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("failed to write: this replica does not lead any more")]
pub struct Ended;

/// A stretch of leading. Once it has ended it stays so: who leads again does so in another one.
#[derive(Clone, Debug)]
pub struct Term(Arc<Mutex<Instant>>);

impl Term {
    /// One that ends at this moment, if it is not extended.
    pub fn until(end: Instant) -> Self {
        Self(Arc::new(Mutex::new(end)))
    }

    /// When it ends.
    pub fn end(&self) -> Instant {
        *self.lock()
    }

    /// Whether it has not ended.
    pub fn holds(&self) -> bool {
        Instant::now() < self.end()
    }

    /// Extends it to this moment, and returns whether it could: one that has ended is not begun again.
    pub fn extend(&self, end: Instant) -> bool {
        let mut current = self.lock();
        let holds = Instant::now() < *current;
        if holds {
            *current = end.max(*current);
        }
        holds
    }

    /// Ends it now.
    pub fn close(&self) {
        let mut end = self.lock();
        *end = Instant::now().min(*end);
    }

    /// Waits for its end, however often it is extended.
    async fn ended(&self) {
        loop {
            let end = self.end();
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }

    /// Reads as `base` does, whoever leads, and writes as `writer` does ([`super::wire`]), but nothing when the term has
    /// ended, also not what was begun before and waits for a connection. What has left already cannot be called back: that is what
    /// the time between the end of a term and the end of its Lease is for.
    pub fn client(&self, base: &Client, writer: &Client) -> Client {
        let (term, reader, writer) = (self.clone(), base.clone(), writer.clone());
        let turns = Arc::new((Semaphore::new(READS), Semaphore::new(WRITES)));
        let guarded = tower::service_fn(move |request: Request<Body>| {
            let (term, reader, writer) = (term.clone(), reader.clone(), writer.clone());
            let turns = Arc::clone(&turns);
            async move {
                let (of_reads, of_writes) = turns.as_ref();
                if request.method().is_safe() {
                    let _turn = of_reads.acquire().await?;
                    return Ok(timeout(PATIENCE, reader.send(request)).await??);
                }
                let answered = async {
                    let _turn = of_writes.acquire().await?;
                    let answer = timeout(PATIENCE, writer.send(request)).await;
                    Ok::<_, BoxError>(answer??)
                };
                term.within(answered).await?
            }
        });
        Client::new(guarded, base.default_namespace())
    }

    /// Goes on with `work` only while the term holds. It is the clock that is asked each time, and not a timer alone: in a process
    /// that was stopped and goes on, work may be taken up again before timers are.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Ended> {
        let mut ended = pin!(self.ended());
        let mut work = pin!(work);
        poll_fn(|context| {
            if !self.holds() || ended.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(Ended));
            }
            work.as_mut().poll(context).map(Ok)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        // A moment is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures::future::join_all;
    use http::Response;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{DeleteParams, Patch, PatchParams, PostParams},
    };
    use serde_json::json;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    /// An API server that counts what comes, and answers each with a ConfigMap.
    fn counting() -> (Client, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let service = tower::service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, BoxError>(Response::new(Body::from(br#"{"metadata": {"name": "a"}}"#.to_vec()))) }
        });
        (Client::new(service, "default"), count)
    }

    async fn writes(api: &Api<ConfigMap>) -> Vec<Result<(), kube::Error>> {
        let patch = Patch::Merge(json!({}));
        vec![
            api.create(&PostParams::default(), &ConfigMap::default())
                .await
                .map(drop),
            api.patch("a", &PatchParams::default(), &patch).await.map(drop),
            api.replace("a", &PostParams::default(), &ConfigMap::default())
                .await
                .map(drop),
            api.delete("a", &DeleteParams::default()).await.map(drop),
        ]
    }

    #[tokio::test]
    async fn after_its_end_everything_is_read_and_nothing_written() {
        let (base, count) = counting();
        let term = Term::until(Instant::now() + HOUR);
        let api: Api<ConfigMap> = Api::default_namespaced(term.client(&base, &base));
        assert!(writes(&api).await.iter().all(Result::is_ok));
        assert_eq!(count.load(Ordering::Relaxed), 4);
        term.close();
        for refused in writes(&api).await {
            let kube::Error::Service(error) = refused.unwrap_err() else {
                panic!("another error")
            };
            assert_eq!(error.downcast_ref::<Ended>(), Some(&Ended));
        }
        assert_eq!(count.load(Ordering::Relaxed), 4, "none of them came");
        api.get("a").await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn so_many_wait_for_an_answer_at_once_and_no_more() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (at_once, counted) = (Arc::clone(&now), Arc::clone(&most));
        let service = tower::service_fn(move |_: Request<Body>| {
            let (now, most) = (Arc::clone(&at_once), Arc::clone(&counted));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                now.fetch_sub(1, Ordering::Relaxed);
                Ok::<_, BoxError>(Response::new(Body::from(br#"{"metadata": {"name": "a"}}"#.to_vec())))
            }
        });
        let slow = Client::new(service, "default");
        let term = Term::until(Instant::now() + HOUR);
        let api: Api<ConfigMap> = Api::default_namespaced(term.client(&slow, &slow));
        let answered = join_all((0..3 * READS).map(|_| api.get("a"))).await;
        assert!(answered.iter().all(Result::is_ok));
        assert_eq!(most.swap(0, Ordering::Relaxed), READS);
        let delete = DeleteParams::default();
        let answered = join_all((0..3 * WRITES).map(|_| api.delete("a", &delete))).await;
        assert!(answered.iter().all(Result::is_ok));
        assert_eq!(most.load(Ordering::Relaxed), WRITES);
    }

    #[tokio::test]
    async fn what_was_begun_is_not_gone_on_with_after_the_end() {
        let (began, short) = (Instant::now(), Duration::from_millis(50));
        let term = Term::until(began + short);
        assert_eq!(term.within(pending::<()>()).await, Err(Ended));
        assert!(began.elapsed() >= short);
        let polled = AtomicUsize::new(0);
        let work = async { polled.fetch_add(1, Ordering::Relaxed) };
        assert_eq!(term.within(work).await, Err(Ended));
        assert_eq!(polled.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn it_is_extended_while_it_holds_and_never_begins_again() {
        let now = Instant::now();
        let term = Term::until(now + HOUR);
        assert!(term.extend(now + 2 * HOUR));
        assert!(term.extend(now), "an older answer shortens nothing");
        assert_eq!(term.end(), now + 2 * HOUR);
        term.close();
        assert!(!term.extend(now + 3 * HOUR) && !term.holds());
        let expired = Term::until(now);
        assert!(!expired.extend(now + HOUR) && !expired.holds());
    }
}
