//! Whatever happens and whenever, whoever presents a certificate that has not ended is believed by everybody.

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
};

use proptest::prelude::*;

use super::*;

/// All sides; each presents a certificate, and believes those of the others.
const SIDES: usize = 3;
/// The longest that it takes until a side uses what is in its Secret.
const SLOWEST: u64 = 60;

/// A CA, by its number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Numbered {
    number: usize,
    validity: Validity,
}

impl Ca for Numbered {
    type Root = usize;

    fn root(&self) -> usize {
        self.number
    }

    fn validity(&self) -> Validity {
        self.validity
    }
}

/// What a Secret holds, and what a side uses of it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Held {
    issuer: usize,
    validity: Validity,
    believed: BTreeSet<usize>,
}

struct Side {
    secret: Held,
    used: Held,
    /// What is on its way, and when it is used.
    coming: VecDeque<(SystemTime, Held)>,
}

struct Cluster {
    now: SystemTime,
    rules: Rules,
    ca_life: Duration,
    made: usize,
    kept: Rotation<Numbered>,
    requested: bool,
    sides: Vec<Side>,
    /// The CAs that have issued.
    issuers: BTreeSet<usize>,
    /// A CA had ended, with all that it had issued, and not everybody has the one in its place yet.
    starts_anew: bool,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Happening {
    /// Time passes, and the operator looks, which it may not come to the end of; and this is how slow each side is, and whether its Secret can
    /// be written.
    Look {
        after: u64,
        writes: usize,
        sides: [(u64, bool); SIDES],
    },
    /// Somebody asks for another CA.
    Request,
    /// Somebody puts a CA there as the next.
    Bring,
    /// Somebody empties the Secret of a side, which uses on what it has read, and the operator sees that. Whether each Secret can be written
    /// then.
    Spoil(usize, [bool; SIDES]),
}

fn root_set(rotation: &Rotation<Numbered>) -> BTreeSet<usize> {
    let next = rotation.next.iter().map(|next| next.ca.number);
    let old = rotation.old.iter().map(|old| old.root);
    [rotation.issuing.number].into_iter().chain(next).chain(old).collect()
}

impl Cluster {
    fn new(rules: Rules, ca_life: Duration) -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1000);
        let ca = Numbered {
            number: 0,
            validity: Validity::issued(now, ca_life),
        };
        let held = Held {
            issuer: 0,
            validity: Validity::issued(now, rules.certificate),
            believed: [0].into(),
        };
        let side = || Side {
            secret: held.clone(),
            used: held.clone(),
            coming: VecDeque::new(),
        };
        Self {
            now,
            rules,
            ca_life,
            made: 0,
            kept: Rotation::of(ca),
            requested: false,
            sides: (0..SIDES).map(|_| side()).collect(),
            issuers: [0].into(),
            starts_anew: false,
        }
    }

    /// Lets time pass, and looks whenever something changes.
    fn pass(&mut self, time: Duration) -> Result<(), TestCaseError> {
        let end = self.now + time;
        loop {
            let next = self.sides.iter().filter_map(|side| Some(side.coming.front()?.0)).min();
            match next.filter(|at| *at <= end) {
                Some(at) => {
                    // What ends before that is looked at too.
                    self.now = at;
                    for side in &mut self.sides {
                        while side.coming.front().is_some_and(|(when, _)| *when <= at) {
                            side.used = side.coming.pop_front().unwrap().1;
                        }
                    }
                }
                None => self.now = end,
            }
            self.all_are_believed()?;
            if self.now == end {
                return Ok(());
            }
        }
    }

    fn all_are_believed(&mut self) -> Result<(), TestCaseError> {
        let issuing = self.kept.issuing.number;
        let everybody = |side: &Side| side.coming.is_empty() && side.used.believed.contains(&issuing);
        self.starts_anew &= !self.sides.iter().all(everybody);
        if self.starts_anew {
            return Ok(());
        }
        for presenting in &self.sides {
            let used = &presenting.used;
            for believing in &self.sides {
                prop_assert!(
                    used.validity.is_over(self.now) || believing.used.believed.contains(&used.issuer),
                    "of {} and believed are {:?}; kept: {:?}",
                    used.issuer,
                    believing.used.believed,
                    self.kept
                );
            }
        }
        Ok(())
    }

    /// What the operator does when it looks, of which it comes to so many writes.
    fn look(&mut self, mut writes: usize, sides: &[(u64, bool)]) {
        loop {
            if let Some(stopped) = self.step(None, &mut writes) {
                if stopped {
                    return;
                }
                continue;
            }
            let mut spread = Spread::Whole;
            for (index, (slow, is_writable)) in sides.iter().enumerate() {
                match self.ensure(index, *slow, *is_writable, &mut writes) {
                    Some(found) => spread = spread.min(found),
                    None => return,
                }
            }
            match self.step(Some(spread), &mut writes) {
                Some(false) => {}
                Some(true) | None => return,
            }
        }
    }

    fn make(&mut self) -> Numbered {
        self.made += 1;
        Numbered {
            number: self.made,
            validity: Validity::issued(self.now, self.ca_life),
        }
    }

    /// Takes the next step, and tells whether the operator is stopped at it. `None`: there is none.
    fn step(&mut self, spread: Option<Spread>, writes: &mut usize) -> Option<bool> {
        let facts = Facts {
            now: self.now,
            requested: self.requested,
            spread,
        };
        let step = self.kept.step(&facts, &self.rules)?;
        if *writes == 0 {
            return Some(true);
        }
        *writes -= 1;
        let made = self.make();
        let after = self
            .kept
            .clone()
            .after(step, self.now, &self.rules, || Ok::<_, Infallible>(made));
        self.kept = after.unwrap();
        self.issuers.insert(self.kept.issuing.number);
        self.starts_anew |= step == Step::Replace;
        if matches!(step, Step::Begin | Step::Promote) {
            self.requested = false;
        }
        Some(false)
    }

    /// Has the Secret of a side be as it should be. `None`: the operator is stopped at it.
    fn ensure(&mut self, index: usize, slow: u64, is_writable: bool, writes: &mut usize) -> Option<Spread> {
        let (now, issuing, believed) = (self.now, self.kept.issuing, root_set(&self.kept));
        let side = &mut self.sides[index];
        let held = &side.secret;
        let is_kept = held.issuer == issuing.number && now < held.validity.renewal();
        let is_whole = held.believed == believed;
        if is_kept && is_whole {
            return Some(Spread::Whole);
        }
        if !is_writable {
            return Some(if is_whole { Spread::Whole } else { Spread::Lacking });
        }
        if *writes == 0 {
            return None;
        }
        *writes -= 1;
        let mut validity = Validity::issued(now, self.rules.certificate);
        validity.to = validity.to.min(issuing.validity.to);
        side.secret = Held {
            issuer: issuing.number,
            validity: if is_kept { held.validity } else { validity },
            believed,
        };
        let last = side.coming.back().map_or(now, |(at, _)| *at);
        let at = (now + Duration::from_secs(slow)).max(last);
        side.coming.push_back((at, side.secret.clone()));
        Some(if is_whole { Spread::Whole } else { Spread::Fresh })
    }

    fn happens(&mut self, happening: &Happening) -> Result<(), TestCaseError> {
        match happening {
            Happening::Look { after, writes, sides } => {
                self.pass(Duration::from_secs(*after))?;
                self.look(*writes, sides);
                self.all_are_believed()
            }
            Happening::Request => {
                self.requested = true;
                Ok(())
            }
            Happening::Bring => {
                let ca = self.make();
                self.kept.next.get_or_insert(Next { ca, since: None });
                Ok(())
            }
            Happening::Spoil(index, are_writable) => {
                let side = &mut self.sides[*index];
                side.secret.believed.clear();
                // What it has not read yet it does not read any more.
                side.coming.clear();
                self.look(usize::MAX, &are_writable.map(|is_writable| (SLOWEST, is_writable)));
                self.all_are_believed()
            }
        }
    }
}

fn rules() -> Rules {
    Rules {
        certificate: Duration::from_mins(10),
        notice: Duration::from_secs(SLOWEST),
    }
}

/// Looks that come soon one after the other, and ones that come late, as after the operator was away.
fn looks() -> impl Strategy<Value = Happening> {
    let after = prop_oneof![60 => 0_u64..30, 20 => 30_u64..400, 1 => 400_u64..20_000];
    let side = || (0..=SLOWEST, prop::bool::weighted(0.9));
    (
        after,
        prop_oneof![1 => 0_usize..6, 3 => Just(usize::MAX)],
        [side(), side(), side()],
    )
        .prop_map(|(after, writes, sides)| Happening::Look { after, writes, sides })
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        30 => looks(),
        2 => Just(Happening::Request),
        1 => Just(Happening::Bring),
        2 => (0..SIDES, any::<[bool; SIDES]>()).prop_map(|(side, are_writable)| Happening::Spoil(side, are_writable)),
    ];
    prop::collection::vec(one, 1..200)
}

/// All is well: the operator looks every few seconds, and each side is as slow as it may be.
fn undisturbed(cluster: &mut Cluster, time: Duration) -> Result<(), TestCaseError> {
    let end = cluster.now + time;
    while cluster.now < end {
        cluster.happens(&Happening::Look {
            after: 5,
            writes: usize::MAX,
            sides: [(SLOWEST, true); SIDES],
        })?;
        for side in &cluster.sides {
            prop_assert!(
                !side.used.validity.is_over(cluster.now),
                "it has ended: {:?}",
                side.used
            );
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn whoever_presents_a_certificate_that_has_not_ended_is_believed(happenings in happenings()) {
        let mut cluster = Cluster::new(rules(), Duration::from_hours(3));
        for happening in &happenings {
            cluster.happens(happening)?;
        }
    }

    #[test]
    fn whatever_has_happened_a_request_leads_to_another_ca_and_to_it_alone(happenings in happenings()) {
        let mut cluster = Cluster::new(rules(), Duration::from_hours(10_000));
        for happening in &happenings {
            cluster.happens(happening)?;
        }
        prop_assert!(!cluster.starts_anew);
        // Whatever was under way comes to its end.
        let whole = Happening::Look { after: 0, writes: usize::MAX, sides: [(0, true); SIDES] };
        cluster.happens(&whole)?;
        cluster.pass(Duration::from_secs(2 * SLOWEST))?;
        undisturbed(&mut cluster, Duration::from_mins(40))?;
        prop_assert_eq!(cluster.kept.stage(), Stage::Steady);
        let before = cluster.kept.issuing.number;
        cluster.happens(&Happening::Request)?;
        undisturbed(&mut cluster, Duration::from_mins(3))?;
        let after = cluster.kept.issuing.number;
        prop_assert!(after != before, "another CA issues");
        prop_assert_eq!(cluster.kept.stage(), Stage::Retiring);
        undisturbed(&mut cluster, Duration::from_mins(20))?;
        prop_assert_eq!(&cluster.kept, &Rotation::of(cluster.kept.issuing));
        prop_assert_eq!(cluster.kept.issuing.number, after);
        for side in &cluster.sides {
            prop_assert_eq!(&side.used.believed, &BTreeSet::from([after]));
        }
    }
}

#[test]
fn a_second_request_waits_until_the_old_ca_is_not_believed_any_more() {
    let mut cluster = Cluster::new(rules(), Duration::from_hours(100));
    cluster.happens(&Happening::Request).unwrap();
    undisturbed(&mut cluster, Duration::from_mins(3)).unwrap();
    cluster.happens(&Happening::Request).unwrap();
    undisturbed(&mut cluster, Duration::from_mins(10)).unwrap();
    assert_eq!((cluster.kept.stage(), cluster.requested), (Stage::Retiring, true));
    undisturbed(&mut cluster, Duration::from_mins(10)).unwrap();
    assert!(!cluster.requested);
    assert_eq!(cluster.issuers.len(), 3);
}

#[test]
fn a_ca_is_followed_by_another_before_it_ends_and_no_certificate_ends_unrenewed() {
    let mut cluster = Cluster::new(rules(), Duration::from_hours(1));
    undisturbed(&mut cluster, Duration::from_hours(10)).unwrap();
    let turns = cluster.issuers.len();
    assert!((13..=16).contains(&turns), "after two thirds of an hour each: {turns}");
}
