//! The account of a WebSocket, which goes with it to its end.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{Account, End};
use crate::pipeline::over::Over;

/// A WebSocket that is open. Dropped without an end, its caller went away.
pub struct Opened {
    account: Account,
    over: Option<Over>,
}

/// How many bytes of messages have passed on a WebSocket, and whether any may still pass.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    stopped: AtomicBool,
}

impl Traffic {
    /// Nothing that the caller says is passed on any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// So many more came from the caller.
    pub fn receive(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many more went to the caller.
    pub fn send(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Opened {
    pub(super) fn new(account: Account, over: Option<Over>) -> Self {
        Self { account, over }
    }

    /// When the caller's credential has ended; never if nobody can say. It is ready once.
    pub async fn over(&mut self) {
        match self.over.take() {
            Some(over) => over.await,
            None => pending().await,
        }
    }

    /// It is over, and everything is recorded but the operation itself, which was its opening.
    pub fn end(mut self, end: End, traffic: Traffic) {
        self.account.end = end;
        self.account.received = Some(Arc::new(traffic.received));
        self.account.sent = traffic.sent.into_inner();
    }
}
