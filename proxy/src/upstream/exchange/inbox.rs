//! What has come of one reply and was not taken yet. Its size is bounded by the credit that was given.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use kite_proto::{HttpResponse, MAX_CHUNK, MAX_CREDIT};
use tonic::Status;

/// Why nothing more comes.
#[derive(Debug)]
pub enum Stopped {
    /// The plugin has too much to do, and did not begin.
    Busy,
    /// The plugin is about to end, and did not begin.
    NotBegun,
    /// The exchange failed, as the plugin says.
    Failed(Box<Status>),
    /// The stream broke.
    Broken,
}

impl From<Stopped> for Status {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Busy => Self::resource_exhausted("the plugin takes no more exchanges"),
            Stopped::NotBegun => Self::unavailable("the plugin is about to end"),
            Stopped::Failed(status) => *status,
            Stopped::Broken => Self::unavailable("the stream of exchanges broke"),
        }
    }
}

/// One waits, and one fills.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    parts: VecDeque<HttpResponse>,
    /// The end of the last of them, if that is data alone.
    data: BytesMut,
    has_begun: bool,
    /// A part came that breaks the reply: nothing that follows is kept.
    is_odd: bool,
    end: Option<Result<(), Stopped>>,
    waker: Option<Waker>,
}

impl Inbox {
    /// A part of the reply. Whether there was room for it: if not, nothing that follows is of any use.
    pub(super) fn put(&self, part: HttpResponse) -> bool {
        let mut had_room = true;
        self.change(|state| had_room = state.put(part, false));
        had_room
    }

    /// The last part of the reply.
    pub(super) fn complete(&self, part: HttpResponse) {
        self.change(|state| {
            state.put(part, true);
            state.end.get_or_insert(Ok(()));
        });
    }

    pub(super) fn stop(&self, stopped: Stopped) {
        self.change(|state| {
            state.end.get_or_insert(Err(stopped));
        });
    }

    /// What comes next, after which there may be more: `Ok(None)` is the end.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Option<HttpResponse>, Stopped>> {
        let mut state = self.lock();
        if let Some(part) = state.next() {
            return Poll::Ready(Ok(Some(part)));
        }
        match state.end.take() {
            Some(Ok(())) => {
                state.end = Some(Ok(()));
                Poll::Ready(Ok(None))
            }
            Some(Err(stopped)) => {
                state.end = Some(Ok(()));
                Poll::Ready(Err(stopped))
            }
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.lock();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, part: HttpResponse, is_last: bool) -> bool {
        if self.is_odd {
            return true;
        }
        let is_bare = part.trailers.is_empty() && part.frame.is_none();
        let is_first = !mem::replace(&mut self.has_begun, true);
        if !is_first && !is_last && is_bare && part.head.is_none() {
            // Many small ones take no more than one that is as large.
            self.data.extend_from_slice(&part.data);
            let has_room = self.data.len() <= MAX_CREDIT;
            if !has_room {
                self.break_off();
            }
            return has_room;
        }
        self.settle();
        // Only the first has a head, and only the last has trailers: whoever reads it will say so.
        let is_head = is_first && is_bare && part.head.is_some();
        self.is_odd = !(is_last || is_head);
        self.parts.push_back(part);
        true
    }

    /// More came than anybody has room for, as it can while a stream ends on which all is covered.
    fn break_off(&mut self) {
        self.is_odd = true;
        self.data.clear();
        self.end = Some(Err(Stopped::Broken));
    }

    /// Makes parts of the data that came, none larger than another's may be.
    fn settle(&mut self) {
        while !self.data.is_empty() {
            let most = self.data.len().min(MAX_CHUNK);
            let data = self.data.split_to(most).freeze();
            self.parts.push_back(HttpResponse {
                data,
                ..HttpResponse::default()
            });
        }
    }

    fn next(&mut self) -> Option<HttpResponse> {
        if self.parts.is_empty() {
            self.settle();
        }
        self.parts.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use kite_proto::{Header, HttpResponseHead};

    use super::*;

    fn head() -> HttpResponse {
        HttpResponse {
            head: Some(HttpResponseHead::default()),
            ..HttpResponse::default()
        }
    }

    fn data(bytes: usize) -> HttpResponse {
        HttpResponse {
            data: vec![7; bytes].into(),
            ..HttpResponse::default()
        }
    }

    fn taken(inbox: &Inbox) -> Option<Result<Option<HttpResponse>, Stopped>> {
        std::future::poll_fn(|cx| inbox.poll(cx)).now_or_never()
    }

    fn lengths(inbox: &Inbox) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some(Ok(Some(part))) = taken(inbox) {
            lengths.push(part.data.len());
        }
        lengths
    }

    #[test]
    fn many_small_parts_are_one() {
        let inbox = Inbox::default();
        inbox.put(head());
        for _ in 0..1000 {
            inbox.put(data(1));
            inbox.put(data(0));
        }
        assert_eq!(lengths(&inbox), [0, 1000]);
        assert!(taken(&inbox).is_none(), "there may be more");
        inbox.put(data(3));
        inbox.complete(HttpResponse { end: true, ..data(2) });
        assert_eq!(lengths(&inbox), [3, 2]);
        for _ in 0..2 {
            assert!(matches!(taken(&inbox), Some(Ok(None))));
        }
    }

    #[test]
    fn nothing_is_kept_of_what_follows_a_part_that_breaks_the_reply() {
        let early = HttpResponse {
            trailers: vec![Header::default()],
            ..data(1)
        };
        for odd in [head(), early] {
            let inbox = Inbox::default();
            inbox.put(head());
            inbox.put(odd.clone());
            for _ in 0..1000 {
                inbox.put(odd.clone());
                inbox.put(data(1000));
            }
            assert_eq!(lengths(&inbox), [0, odd.data.len()]);
        }
    }

    #[test]
    fn more_than_there_is_room_for_breaks_it_off() {
        let inbox = Inbox::default();
        inbox.put(head());
        for _ in 0..=MAX_CREDIT / 1024 {
            inbox.put(data(1024));
        }
        assert_eq!(lengths(&inbox), [0]);
        let inbox = Inbox::default();
        inbox.put(head());
        for _ in 0..MAX_CREDIT / 1024 {
            inbox.put(data(1024));
        }
        assert_eq!(
            lengths(&inbox).len(),
            1 + MAX_CREDIT / MAX_CHUNK,
            "in parts that may be passed on"
        );
    }

    #[test]
    fn an_end_is_told_after_all_that_came_before_it() {
        let inbox = Inbox::default();
        inbox.put(head());
        inbox.put(data(1));
        inbox.stop(Stopped::Broken);
        inbox.stop(Stopped::Busy);
        assert_eq!(lengths(&inbox), [0, 1]);
        assert!(matches!(taken(&inbox), Some(Ok(None))), "the error was told");
    }
}
