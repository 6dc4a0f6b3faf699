//! What all gateways share about sessions: the keys, and which sessions were ended before their time. Values alone; who keeps them is
//! elsewhere.

use std::{collections::BTreeMap, fmt, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Session,
    seal::{KEY_BYTES, Key, SealError},
};
use crate::moment::Moment;

/// How long a key seals. What somebody takes a key for who has stolen it ends so long after, and the sessions' longest time.
pub const SEALS_FOR: Duration = Duration::from_hours(12);
/// How long a new key only opens, unless it is the only one: by then every gateway has it.
pub const SPREADS_FOR: Duration = Duration::from_secs(10);
/// Most keys. There are two or three, unless somebody writes more.
const MOST_KEYS: usize = 16;
/// Most sessions that are kept as ended: with these the object stays below half of what an object may have.
const MOST_ENDED: usize = 4_096;

/// Keys and ended sessions, as they are written.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shared {
    #[serde(default)]
    keys: Vec<SharedKey>,
    #[serde(default)]
    ended: BTreeMap<Uuid, Ended>,
    /// All sessions that began until then are ended: what could no longer be kept one by one.
    #[serde(default)]
    ended_until: Moment,
}

/// A key and when it was made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SharedKey {
    id: Uuid,
    made: Moment,
    key: Secret,
}

/// The bytes of a key, which no log shows.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
struct Secret([u8; KEY_BYTES]);

/// When a session that was ended had begun, and would have ended by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Ended {
    begun: Moment,
    until: Moment,
}

/// Why the bytes of a key are none.
#[derive(Debug, thiserror::Error)]
#[error("failed to find a key of {KEY_BYTES} bytes in base64")]
struct SecretError;

impl SharedKey {
    /// A new one.
    pub fn random(now: Moment) -> Result<Self, SealError> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).map_err(|_| SealError::Random)?;
        Ok(Self {
            id: Uuid::new_v4(),
            made: now,
            key: Secret(key),
        })
    }
}

impl Shared {
    /// What was written, which is nothing at first.
    pub fn parse(text: &[u8]) -> serde_json::Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut shared: Self = serde_json::from_slice(text)?;
        shared.keys.sort_by_key(|key| key.made);
        Ok(shared)
    }

    pub fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether a new key is due.
    pub fn needs_key(&self, now: Moment) -> bool {
        self.keys
            .last()
            .is_none_or(|newest| now.since(newest.made) >= SEALS_FOR)
    }

    /// The same with a new key, and without those that no session can be sealed with that is at most `longest` old.
    #[must_use]
    pub fn with_key(&self, key: SharedKey, longest: Duration, now: Moment) -> Self {
        let mut next = self.clone();
        next.keys.push(key);
        let followers: Vec<Moment> = next.keys.iter().skip(1).map(|key| key.made).collect();
        let spent = followers
            .iter()
            .take_while(|made| made.after(SPREADS_FOR).after(longest) < now)
            .count();
        let most = next.keys.len().saturating_sub(MOST_KEYS);
        next.keys.drain(..spent.max(most));
        next.forget(now);
        next
    }

    /// The same with a session ended, and without those that have ended by themselves.
    #[must_use]
    pub fn without(&self, session: &Session, now: Moment) -> Self {
        let mut next = self.clone();
        next.forget(now);
        let ended = Ended {
            begun: session.begun,
            until: session.until,
        };
        next.ended.insert(session.id, ended);
        if next.ended.len() > MOST_ENDED {
            let mut begun: Vec<Moment> = next.ended.values().map(|ended| ended.begun).collect();
            begun.sort_unstable();
            let middle = begun.get(MOST_ENDED / 2).copied().unwrap_or(now);
            next.ended_until = next.ended_until.max(middle);
            next.ended.retain(|_, ended| ended.begun > middle);
        }
        next
    }

    fn forget(&mut self, now: Moment) {
        self.ended.retain(|_, ended| ended.until > now);
    }

    /// Whether somebody ended the session.
    pub fn has_ended(&self, session: &Session) -> bool {
        session.begun <= self.ended_until || self.ended.contains_key(&session.id)
    }

    /// All keys, to open with.
    pub fn keys(&self) -> Vec<Key> {
        let keys = self.keys.iter();
        keys.filter_map(|key| Key::of(key.id, &key.key.0)).collect()
    }

    /// The key to seal with: the newest that all gateways have had the time to learn of.
    pub fn sealing(&self, now: Moment) -> Option<Uuid> {
        let known = self.keys.iter().rev().find(|key| key.made.after(SPREADS_FOR) <= now);
        known.or(self.keys.first()).map(|key| key.id)
    }
}

impl TryFrom<String> for Secret {
    type Error = SecretError;

    fn try_from(text: String) -> Result<Self, SecretError> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| SecretError)?;
        Ok(Self(bytes.try_into().map_err(|_| SecretError)?))
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        BASE64_STANDARD.encode(secret.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::authenticate::BearerToken;

    const NOW: Moment = Moment::of(1_700_000_000);
    const HOUR: Duration = Duration::from_hours(1);
    const LONGEST: Duration = Duration::from_hours(12);

    fn key(made: Moment) -> SharedKey {
        SharedKey::random(made).unwrap()
    }

    fn session(id: u128, begun: Moment) -> Session {
        Session {
            id: Uuid::from_u128(id),
            begun,
            until: begun.after(LONGEST),
            used: begun,
            token: BearerToken::parse("t").unwrap(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let shared = Shared::default()
            .with_key(key(NOW), LONGEST, NOW)
            .without(&session(1, NOW), NOW);
        assert_eq!(Shared::parse(&shared.text()).unwrap(), shared);
        assert_eq!(Shared::parse(b"").unwrap(), Shared::default());
        for text in [
            "junk",
            r#"{"keys": [{"id": "x", "made": 1, "key": ""}]}"#,
            r#"{"keys": [{"id": "00000000-0000-0000-0000-000000000001", "made": 1, "key": "AAAA"}]}"#,
        ] {
            assert!(Shared::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn no_log_shows_a_key() {
        let key = key(NOW);
        let text = String::from(key.key.clone());
        assert!(!format!("{key:?}").contains(&text));
    }

    #[test]
    fn a_key_is_due_when_there_is_none_and_when_the_newest_has_sealed_long_enough() {
        assert!(Shared::default().needs_key(NOW));
        let shared = Shared::default().with_key(key(NOW), LONGEST, NOW);
        assert!(!shared.needs_key(NOW));
        assert!(!shared.needs_key(NOW.after(11 * HOUR)));
        assert!(shared.needs_key(NOW.after(SEALS_FOR)));
    }

    #[test]
    fn a_new_key_seals_when_every_gateway_has_it_and_the_first_at_once() {
        let (old, new) = (key(NOW), key(NOW.after(HOUR)));
        let first = Shared::default().with_key(old.clone(), LONGEST, NOW);
        assert_eq!(first.sealing(NOW), Some(old.id));
        let both = first.with_key(new.clone(), LONGEST, NOW.after(HOUR));
        assert_eq!(both.sealing(NOW.after(HOUR)), Some(old.id));
        assert_eq!(both.sealing(NOW.after(HOUR + SPREADS_FOR)), Some(new.id));
        assert_eq!(both.keys().len(), 2);
        assert_eq!(Shared::default().sealing(NOW), None);
    }

    #[test]
    fn a_key_opens_for_as_long_as_a_session_may_last_that_it_sealed_last() {
        let mut shared = Shared::default();
        let mut at = NOW;
        let mut made = Vec::new();
        for _ in 0..5 {
            let key = key(at);
            made.push(key.id);
            shared = shared.with_key(key, LONGEST, at);
            at = at.after(SEALS_FOR);
        }
        // The fifth was made 48 h after the first; the third sealed until 36 h, and opens until 48 h and the time to spread.
        let kept: Vec<Uuid> = shared.keys().iter().map(Key::id).collect();
        assert_eq!(kept, made[2..]);
        for _ in 0..100 {
            shared = shared.with_key(key(at), LONGEST, at);
        }
        assert_eq!(shared.keys().len(), MOST_KEYS);
    }

    #[test]
    fn a_session_that_was_ended_stays_so_until_it_would_have_ended_by_itself() {
        let (one, other) = (session(1, NOW), session(2, NOW));
        let shared = Shared::default().without(&one, NOW);
        assert!(shared.has_ended(&one) && !shared.has_ended(&other));
        let later = NOW.after(11 * HOUR);
        assert!(shared.without(&other, later).has_ended(&one));
        assert_eq!(shared.without(&other, NOW.after(LONGEST)).ended.len(), 1);
        assert_eq!(shared.with_key(key(later), LONGEST, NOW.after(LONGEST)).ended.len(), 0);
    }

    #[test]
    fn when_there_are_too_many_the_older_half_is_ended_with_all_that_began_before() {
        let mut shared = Shared::default();
        let number = u32::try_from(MOST_ENDED).unwrap() + 1;
        let sessions: Vec<Session> = (0..number)
            .map(|n| session(n.into(), NOW.after(Duration::from_secs(n.into()))))
            .collect();
        for session in &sessions {
            shared = shared.without(session, NOW);
        }
        assert!(shared.ended.len() <= MOST_ENDED / 2 + 1);
        assert!(sessions.iter().all(|session| shared.has_ended(session)));
        assert!(
            shared.has_ended(&session(u128::MAX, NOW)),
            "an old one, with the others"
        );
        let young = session(u128::MAX, NOW.after(Duration::from_secs(u64::from(number))));
        assert!(!shared.has_ended(&young));
        assert!(shared.text().len() < 512 * 1024);
    }
}
