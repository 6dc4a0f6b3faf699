//! A CA's Secret, which is all that is kept of a rotation: read, judged and written.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kite_api::identity::{
    CERTIFICATE_KEY, NEXT_CERTIFICATE_KEY, NEXT_PRIVATE_KEY_KEY, NEXT_SINCE, OLD_CERTIFICATE_KEY, OLD_UNTIL,
    PRIVATE_KEY_KEY, ROTATE,
};
use serde_json::{Value, json};

use super::{
    authority::{Authority, AuthorityError, Purpose},
    certificate::{self, Certified},
    rotation::{Next, Old, Rotation, Rules},
    validity::CLOCK_SKEW,
};

/// The CA for a purpose, and those that are believed beside it.
pub type Cas = Rotation<Arc<Authority>>;

/// What a CA's Secret says.
#[derive(Clone, Debug)]
pub struct Kept {
    pub cas: Cas,
    /// Whether somebody asks for another CA.
    pub requested: bool,
    /// What in it was no good, and is lost without harm.
    pub spoilt: Vec<&'static str>,
}

/// Why a Secret gives no CA that could issue.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("failed to find tls.crt and tls.key in it")]
    Incomplete,
    #[error(transparent)]
    Authority(AuthorityError),
}

/// The CAs in `secret`. Without the one that issues there is nothing; of the others what is no good is left out: nothing was
/// issued by the next, and by what cannot be read nobody is believed.
pub fn read(secret: &Secret, purpose: Purpose, rules: &Rules, now: SystemTime) -> Result<Kept, KeptError> {
    let no_data = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&no_data);
    let issuing = Certified::of_data(data).ok_or(KeptError::Incomplete)?;
    let issuing = Authority::read(purpose, issuing).map_err(KeptError::Authority)?;
    let mut spoilt = Vec::new();
    let next = next(secret, data, purpose, now, &mut spoilt);
    let old = old(secret, data, rules, now, &mut spoilt);
    Ok(Kept {
        cas: Rotation {
            issuing: Arc::new(issuing),
            next,
            old,
        },
        requested: annotation(secret, ROTATE).is_some(),
        spoilt,
    })
}

fn next(
    secret: &Secret,
    data: &BTreeMap<String, ByteString>,
    purpose: Purpose,
    now: SystemTime,
    spoilt: &mut Vec<&'static str>,
) -> Option<Next<Arc<Authority>>> {
    if !data.contains_key(NEXT_CERTIFICATE_KEY) && !data.contains_key(NEXT_PRIVATE_KEY_KEY) {
        return None;
    }
    let certified = Certified::of_keys(data, NEXT_CERTIFICATE_KEY, NEXT_PRIVATE_KEY_KEY);
    let Some(ca) = certified.and_then(|certified| Authority::read(purpose, certified).ok()) else {
        spoilt.push(NEXT_CERTIFICATE_KEY);
        return None;
    };
    Some(Next {
        ca: Arc::new(ca),
        // One of a clock that ran ahead does not count.
        since: time(secret, NEXT_SINCE).filter(|since| *since <= now),
    })
}

fn old(
    secret: &Secret,
    data: &BTreeMap<String, ByteString>,
    rules: &Rules,
    now: SystemTime,
    spoilt: &mut Vec<&'static str>,
) -> Option<Old<String>> {
    let text = String::from_utf8(data.get(OLD_CERTIFICATE_KEY)?.0.clone()).ok();
    let Some(root) = text.filter(|text| certificate::validity(text).is_some()) else {
        spoilt.push(OLD_CERTIFICATE_KEY);
        return None;
    };
    // All that it can have issued has ended then.
    let latest = now + rules.certificate + CLOCK_SKEW;
    let until = time(secret, OLD_UNTIL);
    if until.is_none() {
        spoilt.push(OLD_UNTIL);
    }
    Some(Old {
        root,
        until: until.unwrap_or(latest),
    })
}

fn annotation<'a>(secret: &'a Secret, name: &str) -> Option<&'a str> {
    secret.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn time(secret: &Secret, name: &str) -> Option<SystemTime> {
    annotation(secret, name)?
        .parse::<Timestamp>()
        .ok()
        .map(SystemTime::from)
}

/// A time as it is kept: as it is, for one that was cut off would be earlier.
fn text(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| time.to_string())
}

/// What is in a Secret that keeps `cas`: data and annotations.
fn contents(cas: &Cas) -> (BTreeMap<String, ByteString>, BTreeMap<&'static str, Option<String>>) {
    let mut data = cas.issuing.certified().clone().into_data();
    if let Some(next) = &cas.next {
        let Certified { certificate, key } = next.ca.certified().clone();
        data.insert(NEXT_CERTIFICATE_KEY.to_owned(), ByteString(certificate.into_bytes()));
        data.insert(NEXT_PRIVATE_KEY_KEY.to_owned(), ByteString(key.into_bytes()));
    }
    if let Some(old) = &cas.old {
        data.insert(
            OLD_CERTIFICATE_KEY.to_owned(),
            ByteString(old.root.clone().into_bytes()),
        );
    }
    let annotations = BTreeMap::from([
        (NEXT_SINCE, cas.next.as_ref().and_then(|next| text(next.since?))),
        (OLD_UNTIL, cas.old.as_ref().and_then(|old| text(old.until))),
    ]);
    (data, annotations)
}

/// A new Secret that keeps `cas`.
pub fn secret(name: &str, cas: &Cas) -> Secret {
    let (data, annotations) = contents(cas);
    let annotations = annotations.into_iter();
    let annotations = annotations
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    let mut metadata = super::secrets::metadata(name);
    metadata.annotations = Some(annotations);
    Secret {
        metadata,
        type_: Some(super::secrets::TLS.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

/// A merge patch after which the Secret of this version keeps `cas`, and whatever else is in it stays. `granted`: somebody asked for another CA,
/// and gets it.
pub fn patch(version: Option<&str>, cas: &Cas, granted: bool) -> Value {
    let (data, annotations) = contents(cas);
    let keys = [
        CERTIFICATE_KEY,
        PRIVATE_KEY_KEY,
        NEXT_CERTIFICATE_KEY,
        NEXT_PRIVATE_KEY_KEY,
        OLD_CERTIFICATE_KEY,
    ];
    let data: BTreeMap<_, _> = keys.into_iter().map(|key| (key, data.get(key))).collect();
    let mut annotations = json!(annotations);
    if let Some(annotations) = annotations.as_object_mut().filter(|_| granted) {
        annotations.insert(ROTATE.to_owned(), Value::Null);
    }
    json!({"metadata": {"resourceVersion": version, "annotations": annotations}, "data": data})
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RULES: Rules = Rules {
        certificate: Duration::from_hours(1),
        notice: Duration::from_mins(5),
    };
    const LIFE: Duration = Duration::from_hours(100);

    fn now() -> SystemTime {
        SystemTime::now()
    }

    fn made() -> Arc<Authority> {
        Arc::new(Authority::create(Purpose::Servers, LIFE, now()).unwrap())
    }

    /// In the middle of everything.
    fn cas() -> Cas {
        Rotation {
            issuing: made(),
            next: Some(Next {
                ca: made(),
                since: Some(now() - Duration::from_mins(2)),
            }),
            old: Some(Old {
                root: made().certificate().to_owned(),
                until: now() + Duration::from_mins(7),
            }),
        }
    }

    fn read_of(secret: &Secret) -> Result<Kept, KeptError> {
        read(secret, Purpose::Servers, &RULES, now())
    }

    /// A CA, and since when it is known.
    type Known = (Certified, Option<SystemTime>);

    /// What differs between CAs.
    fn shown(cas: &Cas) -> (Certified, Option<Known>, Option<Old<String>>) {
        let next = cas.next.as_ref().map(|next| (next.ca.certified().clone(), next.since));
        (cas.issuing.certified().clone(), next, cas.old.clone())
    }

    /// The Secret after a merge patch.
    fn patched(secret: &Secret, patch: &Value) -> Secret {
        let mut value = serde_json::to_value(secret).unwrap();
        json_patch(&mut value, patch);
        serde_json::from_value(value).unwrap()
    }

    /// RFC 7396.
    fn json_patch(target: &mut Value, patch: &Value) {
        let Some(fields) = patch.as_object() else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let target = target.as_object_mut().unwrap();
        for (name, value) in fields {
            if value.is_null() {
                target.remove(name);
            } else {
                json_patch(target.entry(name).or_insert(Value::Null), value);
            }
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        for cas in [cas(), Rotation::of(made())] {
            let kept = read_of(&secret("s", &cas)).unwrap();
            assert_eq!(shown(&kept.cas), shown(&cas));
            assert_eq!((kept.requested, kept.spoilt), (false, Vec::new()));
        }
    }

    #[test]
    fn a_patch_leaves_what_is_others_and_nothing_else() {
        let mut before = secret("s", &cas());
        let annotations = before.metadata.annotations.as_mut().unwrap();
        annotations.insert(String::from("others"), String::from("x"));
        annotations.insert(ROTATE.to_owned(), String::new());
        let wanted = Rotation::of(made());
        let after = patched(&before, &patch(Some("7"), &wanted, false));
        assert_eq!(after.metadata.resource_version.as_deref(), Some("7"));
        let kept = read_of(&after).unwrap();
        assert_eq!((shown(&kept.cas), kept.requested), (shown(&wanted), true));
        assert_eq!(annotation(&after, "others"), Some("x"));
        assert_eq!(after.data.as_ref().unwrap().len(), 2);
        let granted = patched(&after, &patch(None, &cas(), true));
        let kept = read_of(&granted).unwrap();
        assert!(kept.cas.next.is_some() && kept.cas.old.is_some() && !kept.requested);
    }

    #[test]
    fn a_secret_without_a_ca_that_could_issue_is_an_error() {
        let good = secret("s", &cas());
        let spoil = |key: &str, value: Option<&[u8]>| {
            let mut secret = good.clone();
            let data = secret.data.as_mut().unwrap();
            match value {
                Some(value) => data.insert(key.to_owned(), ByteString(value.to_vec())),
                None => data.remove(key),
            };
            read_of(&secret).map(drop)
        };
        let other = made();
        assert!(matches!(spoil("tls.crt", None), Err(KeptError::Incomplete)));
        assert!(matches!(spoil("tls.key", None), Err(KeptError::Incomplete)));
        for (key, value) in [
            ("tls.crt", b"garbage".as_slice()),
            ("tls.crt", other.certificate().as_bytes()),
            ("tls.key", other.certified().key.as_bytes()),
        ] {
            let result = spoil(key, Some(value));
            assert!(
                matches!(result, Err(KeptError::Authority(AuthorityError::Pair))),
                "{key}: {result:?}"
            );
        }
        let clients = Authority::create(Purpose::Clients, LIFE, now()).unwrap();
        let clients = secret("s", &Rotation::of(Arc::new(clients)));
        assert!(matches!(
            read_of(&clients),
            Err(KeptError::Authority(AuthorityError::WrongPurpose(_)))
        ));
    }

    #[test]
    fn what_is_spoilt_beside_the_ca_that_issues_is_left_out_and_told() {
        let cas = cas();
        let good = secret("s", &cas);
        for (key, spoilt) in [
            ("next.crt", "next.crt"),
            ("next.key", "next.crt"),
            ("old.crt", "old.crt"),
        ] {
            let mut secret = good.clone();
            let data = secret.data.as_mut().unwrap();
            data.insert(key.to_owned(), ByteString(b"garbage".to_vec()));
            let kept = read_of(&secret).unwrap();
            assert_eq!(kept.spoilt, [spoilt]);
            assert_eq!(kept.cas.next.is_none(), spoilt == "next.crt");
            assert_eq!(kept.cas.old.is_none(), spoilt == "old.crt");
            assert_eq!(kept.cas.issuing.certified(), cas.issuing.certified());
        }
    }

    #[test]
    fn times_that_cannot_be_are_those_that_harm_nobody() {
        let mut secret = secret("s", &cas());
        let mut set = |name: &str, value: &str| {
            let annotations = secret.metadata.annotations.as_mut().unwrap();
            annotations.insert(name.to_owned(), value.to_owned());
            read_of(&secret).unwrap()
        };
        assert_eq!(set(NEXT_SINCE, "yesterday").cas.next.unwrap().since, None);
        let kept = set(NEXT_SINCE, "2999-01-01T00:00:00Z");
        assert_eq!(kept.cas.next.unwrap().since, None, "it does not count yet");
        let kept = set(OLD_UNTIL, "tomorrow");
        assert_eq!(
            kept.spoilt,
            [OLD_UNTIL],
            "so that it is written and does not move with each look"
        );
        let until = kept.cas.old.unwrap().until;
        assert!(until >= now() + RULES.certificate, "{until:?}");
    }
}
