//! Who passes on much of an answer does so in turn, so that many large answers do not come between a small one and its client.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Those of one runtime who wait for their turn. They are let on one at a time, who came first first, and between two of them whatever became
/// ready meanwhile: so a small answer waits for one piece of a large one, and not for a piece of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    /// Of those who were not let on yet. Who went away meanwhile is let on like all others.
    wakers: VecDeque<Waker>,
    /// How many were let on.
    served: u64,
    /// Whether there is somebody who lets them on.
    is_moving: bool,
}

/// A place in the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket(u64);

impl Line {
    /// Whether it is the turn of who has this place. Who has none yet is given the last one.
    pub(super) fn poll(&self, place: &mut Option<Ticket>, cx: &Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        if let Some(Ticket(ticket)) = *place {
            let ahead = ticket.checked_sub(waiting.served);
            let mine = ahead.and_then(|ahead| waiting.wakers.get_mut(usize::try_from(ahead).ok()?));
            let Some(waker) = mine else {
                *place = None;
                return Poll::Ready(());
            };
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        *place = Some(Ticket(waiting.served + waiting.wakers.len() as u64));
        waiting.wakers.push_back(cx.waker().clone());
        if !mem::replace(&mut waiting.is_moving, true) {
            tokio::spawn(self.clone().move_on());
        }
        Poll::Pending
    }

    /// Lets on all that wait.
    async fn move_on(self) {
        while let Some(next) = self.next() {
            next.wake();
            // Until all others had their turn who have anything to do, or to read.
            tokio::task::yield_now().await;
        }
    }

    fn next(&self) -> Option<Waker> {
        let mut waiting = self.lock();
        let next = waiting.wakers.pop_front();
        waiting.is_moving = next.is_some();
        waiting.served += u64::from(next.is_some());
        next
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures::future::join_all;
    use tokio::task::yield_now;

    use super::*;

    async fn turn(line: &Line) {
        let mut place = None;
        poll_fn(|cx| line.poll(&mut place, cx)).await;
    }

    #[tokio::test]
    async fn who_comes_first_is_let_on_first_and_each_as_often() {
        let (line, told) = (Line::default(), RefCell::new(Vec::new()));
        join_all((0..3).map(async |one| {
            for round in 0..3 {
                turn(&line).await;
                told.borrow_mut().push((round, one));
            }
        }))
        .await;
        let expected: Vec<_> = (0..3).flat_map(|round| (0..3).map(move |one| (round, one))).collect();
        assert_eq!(*told.borrow(), expected);
    }

    #[tokio::test]
    async fn whoever_is_ready_waits_for_one_of_them_only() {
        const MANY: usize = 100;
        let (line, passed) = (Line::default(), Arc::new(AtomicUsize::new(0)));
        for _ in 0..MANY {
            let (line, passed) = (line.clone(), Arc::clone(&passed));
            tokio::spawn(async move {
                turn(&line).await;
                passed.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut seen = vec![0];
        while seen.last() < Some(&MANY) {
            yield_now().await;
            seen.push(passed.load(Ordering::Relaxed));
        }
        assert!(seen.windows(2).all(|two| two[1] - two[0] <= 1), "{seen:?}");
    }

    #[tokio::test]
    async fn whoever_went_away_holds_up_nobody() {
        let line = Line::default();
        for _ in 0..3 {
            let mut place = None;
            let asked = poll_fn(|cx| Poll::Ready(line.poll(&mut place, cx))).await;
            assert!(asked.is_pending());
        }
        turn(&line).await;
    }
}
