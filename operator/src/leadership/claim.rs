//! What a Lease says to a candidate. Pure, by the reader's own clock alone: what other clocks have written is compared, never
//! reckoned with.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kite_api::labels;
use tokio::time::Instant;

use super::{DURATION, LEASE};

/// Longest duration that a holder is believed: nobody's mistake in the Lease may keep all others from leading for ever.
const LONGEST: Duration = Duration::from_mins(1);

/// What the Lease said when it was last read, and since when it has said just that.
#[derive(Clone, Debug, Default)]
pub struct Observed(Option<(LeaseSpec, Instant)>);

/// What a candidate does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Somebody else holds it, for so long at least.
    Wait { holder: String, remaining: Duration },
    /// Nobody holds it any more: write this.
    Take(Box<Lease>),
}

/// What `me` does about the Lease that was found at `now`.
pub fn next(found: Option<Lease>, observed: &mut Observed, me: &str, now: Instant) -> Next {
    let (metadata, spec) = match found {
        Some(lease) => (lease.metadata, lease.spec.unwrap_or_default()),
        None => (metadata(), LeaseSpec::default()),
    };
    let since = observed.since(&spec, now);
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    if !holder.is_empty() && holder != me {
        let remaining = duration(&spec).saturating_sub(now.duration_since(since));
        if !remaining.is_zero() {
            let holder = holder.to_owned();
            return Next::Wait { holder, remaining };
        }
    }
    let transitions = spec.lease_transitions.unwrap_or_default();
    let time = MicroTime(Timestamp::now());
    Next::Take(Box::new(Lease {
        metadata,
        spec: Some(LeaseSpec {
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: Some(seconds(DURATION)),
            acquire_time: Some(time.clone()),
            renew_time: Some(time),
            lease_transitions: Some(transitions.saturating_add(i32::from(holder != me))),
            ..spec
        }),
    }))
}

/// The Lease as its holder renews it.
pub fn renewed(mut lease: Lease) -> Lease {
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
    lease
}

/// The Lease as its holder gives it up.
pub fn given_up(mut lease: Lease) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = None;
    spec.renew_time = Some(MicroTime(Timestamp::now()));
    lease
}

/// Whether the Lease is held by `me`.
pub fn is_held_by(lease: &Lease, me: &str) -> bool {
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
    holder == Some(me)
}

impl Observed {
    /// Since when the Lease has said `spec`.
    fn since(&mut self, spec: &LeaseSpec, now: Instant) -> Instant {
        match &self.0 {
            Some((known, since)) if known == spec => *since,
            _ => {
                self.0 = Some((spec.clone(), now));
                now
            }
        }
    }
}

/// For how long the Lease holds after it was renewed: as its holder says, who may be of another version.
fn duration(spec: &LeaseSpec) -> Duration {
    let said = spec.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
    said.map_or(DURATION, Duration::from_secs).min(LONGEST)
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

fn metadata() -> ObjectMeta {
    ObjectMeta {
        name: Some(LEASE.to_owned()),
        labels: Some([(labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(holder: &str, renewals: i64, duration: Option<i32>) -> Lease {
        Lease {
            metadata: metadata(),
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: duration,
                lease_transitions: Some(3),
                renew_time: Some(MicroTime(Timestamp::from_second(renewals).unwrap())),
                ..LeaseSpec::default()
            }),
        }
    }

    fn seconds_of(next: &Next) -> Option<u64> {
        match next {
            Next::Wait { remaining, .. } => Some(remaining.as_secs()),
            Next::Take(_) => None,
        }
    }

    #[test]
    fn what_nobody_holds_is_taken() {
        let spec = |found| match next(found, &mut Observed::default(), "me", Instant::now()) {
            Next::Take(lease) => lease.spec.unwrap(),
            Next::Wait { .. } => panic!("it waits"),
        };
        let fresh = spec(None);
        assert_eq!(
            (fresh.holder_identity.as_deref(), fresh.lease_transitions),
            (Some("me"), Some(1))
        );
        let given_up = spec(Some(given_up(held("other", 1, Some(12)))));
        assert_eq!(given_up.lease_transitions, Some(4));
        let own = spec(Some(held("me", 1, Some(12))));
        assert_eq!(own.lease_transitions, Some(3), "it was never another's");
    }

    #[test]
    fn what_is_renewed_is_not_taken_and_what_stays_the_same_is() {
        let (start, mut observed) = (Instant::now(), Observed::default());
        let mut after = |renewals, seconds| {
            let found = Some(held("other", renewals, Some(12)));
            seconds_of(&next(found, &mut observed, "me", start + Duration::from_secs(seconds)))
        };
        assert_eq!(after(1, 0), Some(12));
        assert_eq!(after(1, 11), Some(1));
        assert_eq!(after(2, 11), Some(12), "it was renewed");
        assert_eq!(after(2, 22), Some(1));
        assert_eq!(after(2, 23), None);
    }

    #[test]
    fn a_duration_that_makes_no_sense_keeps_nobody_out_for_ever() {
        for (said, holds) in [(None, 12), (Some(-1), 12), (Some(i32::MAX), 60), (Some(30), 30)] {
            let next = next(
                Some(held("other", 1, said)),
                &mut Observed::default(),
                "me",
                Instant::now(),
            );
            assert_eq!(seconds_of(&next), Some(holds), "{said:?}");
        }
    }

    proptest! {
        /// Whatever the clocks of others write: who renews at least as often as it must is never replaced.
        #[test]
        fn a_holder_that_renews_is_not_replaced(steps in prop::collection::vec((0_u64..12, any::<u32>()), 1..50)) {
            let (mut now, mut observed) = (Instant::now(), Observed::default());
            let mut last = None;
            for (seconds, time) in steps {
                // A clock that is turned back may write the same time twice; that is as if it had not written.
                let time = if last == Some(time) { time.wrapping_add(1) } else { time };
                last = Some(time);
                let found = Some(held("other", time.into(), Some(12)));
                prop_assert!(seconds_of(&next(found.clone(), &mut observed, "me", now)).is_some());
                now += Duration::from_secs(seconds);
                prop_assert!(seconds_of(&next(found, &mut observed, "me", now)).is_some());
            }
        }
    }
}
