//! Which exchanges of one stream are under way and what may be said of each: the protocol's rules, of values alone.

use std::collections::HashMap;

use kite_proto::{ExchangeFailed, ExchangeHello, ExchangeResponse, HttpResponse, MAX_CREDIT, exchange_response::Part};

/// Most exchanges of one stream, whatever the plugin takes: each may wait with a whole request in it.
const MAX_IN_FLIGHT: usize = 256;

/// How a plugin broke the rules of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Breach {
    #[error("failed to find Hello in the first message only")]
    Hello,
    #[error("failed to take the numbers of Hello")]
    Numbers,
    #[error("failed to find a part in a message")]
    Empty,
    #[error("failed to find the exchange {0} under way")]
    Unknown(u64),
    #[error("failed to find at most {0} bytes of data in a message")]
    Data(usize),
    #[error("failed to find the data of the exchange {0} covered by credit")]
    Credit(u64),
    #[error("failed to find the exchange {0} given up, or its reply not begun")]
    Order(u64),
    #[error("failed to take the last id of Drain")]
    Drain,
}

/// What the plugin takes on the stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Hello {
    in_flight: usize,
    message: usize,
}

/// An exchange that has no terminal message yet.
#[derive(Debug)]
struct Live<T> {
    /// Whoever waits for the reply, until they give it up.
    of: Option<T>,
    replied: bool,
    /// Bytes that are covered and have not come.
    credit: usize,
}

/// The exchanges of a stream.
#[derive(Debug)]
pub(super) struct Ledger<T> {
    hello: Option<Hello>,
    last: u64,
    live: HashMap<u64, Live<T>>,
    drains: bool,
    /// The plugin has said that it drains, which it does once.
    is_told: bool,
    /// Nothing more is said to the plugin, by which all of its data is covered.
    covered: bool,
}

/// What a message means.
#[derive(Debug, PartialEq)]
pub(super) enum Heard<'a, T> {
    /// A part of the reply to one who waits, which goes on.
    Part(&'a T, HttpResponse),
    /// The end of an exchange.
    Over(T, Terminal),
    /// These never began.
    NotBegun(Vec<T>),
    /// Of no interest to anybody.
    Nothing,
}

/// How an exchange ended.
#[derive(Debug, PartialEq)]
pub(super) enum Terminal {
    Reply(HttpResponse),
    Busy,
    Failed(ExchangeFailed),
    /// It says that it was given up, which it was not.
    Cancelled,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self {
            hello: None,
            last: 0,
            live: HashMap::new(),
            drains: false,
            is_told: false,
            covered: false,
        }
    }
}

impl<T> Ledger<T> {
    /// Whether an exchange with so many bytes of body could begin.
    pub(super) fn has_room(&self, body: usize) -> bool {
        !self.drains
            && self
                .hello
                .is_some_and(|hello| body <= hello.message && self.live.len() < hello.in_flight)
    }

    /// The id of a new exchange for `of`. There has to be room.
    pub(super) fn begin(&mut self, of: T) -> u64 {
        self.last += 1;
        let live = Live {
            of: Some(of),
            replied: false,
            credit: 0,
        };
        self.live.insert(self.last, live);
        self.last
    }

    /// Nobody waits for the reply any more. Whether the plugin has to be told.
    pub(super) fn give_up(&mut self, id: u64) -> bool {
        let live = self.live.get_mut(&id);
        live.is_some_and(|live| live.of.take().is_some())
    }

    /// There is room for so much more of the reply. Whether the plugin has to be told.
    pub(super) fn give(&mut self, id: u64, bytes: usize) -> bool {
        let live = self.live.get_mut(&id).filter(|live| live.of.is_some());
        let Some(live) = live.filter(|live| live.credit + bytes <= MAX_CREDIT) else {
            return false;
        };
        live.credit += bytes;
        true
    }

    /// No exchange begins any more.
    pub(super) fn retire(&mut self) {
        self.drains = true;
    }

    /// Nothing more is said to the plugin: what is to come is covered.
    pub(super) fn cover(&mut self) {
        (self.drains, self.covered) = (true, true);
    }

    /// Whether the stream takes no more exchanges.
    pub(super) fn is_retired(&self) -> bool {
        self.drains
    }

    /// Whether nothing can be said to the plugin any more, and nobody waits for what it still says.
    pub(super) fn is_abandoned(&self) -> bool {
        self.covered && !self.live.is_empty() && self.live.values().all(|live| live.of.is_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The stream is over: all who wait.
    pub(super) fn end(&mut self) -> Vec<T> {
        self.drains = true;
        self.live.drain().filter_map(|(_, live)| live.of).collect()
    }

    /// What the plugin says.
    pub(super) fn hear(&mut self, message: ExchangeResponse) -> Result<Heard<'_, T>, Breach> {
        let id = message.id;
        match (message.part.ok_or(Breach::Empty)?, self.hello) {
            (Part::Hello(hello), None) if id == 0 => {
                self.hello = Some(numbers(hello)?);
                Ok(Heard::Nothing)
            }
            (Part::Hello(_), _) | (_, None) => Err(Breach::Hello),
            (Part::Drain(drain), Some(_)) if id == 0 => self.drain(drain.last_id),
            (Part::Drain(_), Some(_)) => Err(Breach::Drain),
            (Part::Reply(reply), Some(hello)) => self.reply(id, reply, hello.message),
            (Part::Busy(_), Some(_)) => self.over(id, Terminal::Busy, |live| !live.replied),
            (Part::Cancelled(_), Some(_)) => self.over(id, Terminal::Cancelled, |live| live.of.is_none()),
            (Part::Failed(failed), Some(_)) => self.over(id, Terminal::Failed(failed), |_| true),
        }
    }

    fn reply(&mut self, id: u64, reply: HttpResponse, most: usize) -> Result<Heard<'_, T>, Breach> {
        let covered = self.covered;
        let live = self.live.get_mut(&id).ok_or(Breach::Unknown(id))?;
        if reply.data.len() > most {
            return Err(Breach::Data(most));
        }
        if live.replied && !covered {
            live.credit = live.credit.checked_sub(reply.data.len()).ok_or(Breach::Credit(id))?;
        }
        live.replied = true;
        if reply.end {
            return self.over(id, Terminal::Reply(reply), |_| true);
        }
        let live = self.live.get(&id).and_then(|live| live.of.as_ref());
        Ok(live.map_or(Heard::Nothing, |of| Heard::Part(of, reply)))
    }

    fn over(&mut self, id: u64, terminal: Terminal, may: impl Fn(&Live<T>) -> bool) -> Result<Heard<'_, T>, Breach> {
        let live = self.live.remove(&id).ok_or(Breach::Unknown(id))?;
        if !may(&live) {
            // It is one of those that the breach ends.
            self.live.insert(id, live);
            return Err(Breach::Order(id));
        }
        Ok(live.of.map_or(Heard::Nothing, |of| Heard::Over(of, terminal)))
    }

    /// Those above `last` never began. Which is not true of one that has begun to reply.
    fn drain(&mut self, last: u64) -> Result<Heard<'_, T>, Breach> {
        let is_begun = |(id, live): (&u64, &Live<T>)| *id > last && live.replied;
        if last > self.last || self.is_told || self.live.iter().any(is_begun) {
            return Err(Breach::Drain);
        }
        (self.drains, self.is_told) = (true, true);
        let later = self.live.extract_if(|id, _| *id > last);
        Ok(Heard::NotBegun(later.filter_map(|(_, live)| live.of).collect()))
    }
}

/// The bounds that the protocol sets for them.
fn numbers(hello: ExchangeHello) -> Result<Hello, Breach> {
    let (in_flight, message) = (hello.max_in_flight, hello.max_message);
    if !(1..=65_536).contains(&in_flight) || !(1024..=16 * 1024).contains(&message) {
        return Err(Breach::Numbers);
    }
    let wide = |number| usize::try_from(number).map_err(|_| Breach::Numbers);
    Ok(Hello {
        in_flight: wide(in_flight)?.min(MAX_IN_FLIGHT),
        message: wide(message)?,
    })
}

#[cfg(test)]
mod tests;
