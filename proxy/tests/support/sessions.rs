//! Sessions of a gateway that shares them with nobody.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use kite_gateway::{
    moment::Moment,
    session::{
        Known, Lasting, Latest, Ledger, LedgerError, Session, Sessions,
        shared::{Shared, SharedKey},
    },
};

const LASTING: Lasting = Lasting {
    idle: Duration::from_hours(1),
    longest: Duration::from_hours(2),
    outage: Duration::from_hours(1),
};

struct Alone {
    latest: Latest,
    shared: Mutex<Shared>,
}

impl Alone {
    fn tell(&self) {
        let shared = self.shared.lock().unwrap().clone();
        self.latest.set(Some(Known::of(shared, Instant::now())));
    }
}

impl Ledger for Alone {
    fn end<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move {
            let mut shared = self.shared.lock().unwrap();
            *shared = shared.without(session, Moment::now());
            drop(shared);
            self.tell();
            Ok(())
        })
    }
}

pub(crate) fn sessions() -> Sessions {
    let now = Moment::now();
    let alone = Alone {
        latest: Latest::default(),
        shared: Mutex::new(Shared::default().with_key(SharedKey::random(now).unwrap(), LASTING.longest, now)),
    };
    alone.tell();
    Sessions::new(alone.latest.clone(), alone, LASTING, "/".to_owned())
}
