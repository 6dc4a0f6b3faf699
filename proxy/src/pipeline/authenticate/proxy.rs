//! Who calls by the word of an authenticating proxy: the header fields that Kubernetes takes from one, read more strictly.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::{Caller, authenticated};

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";
/// What names of Kubernetes' own begin with, of which some may do everything.
const RESERVED: &str = "system:";

/// Why a proxy's word is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProxyError {
    #[error("the proxy does not say who calls: it has to send one X-Remote-User")]
    User,
    #[error("the proxy sends more than one X-Remote-Uid")]
    Uid,
    #[error("a field of the proxy's is empty or not text")]
    Text,
    #[error("a proxy speaks for people, and not for names that begin with {RESERVED}")]
    Reserved,
}

/// The caller for whom a proxy asks.
pub fn caller(headers: &HeaderMap) -> Result<Caller, ProxyError> {
    let name = one(headers, &USER, ProxyError::User)?.ok_or(ProxyError::User)?;
    let uid = one(headers, &UID, ProxyError::Uid)?.unwrap_or_default();
    let groups: Result<Vec<_>, _> = headers.get_all(GROUP).iter().map(text).collect();
    let groups = groups?;
    if [&name]
        .into_iter()
        .chain(&groups)
        .any(|name| name.starts_with(RESERVED))
    {
        return Err(ProxyError::Reserved);
    }
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        // Names of fields have no case, so that a key with upper case or signs is sent percent-encoded.
        let Some(key) = name.as_str().strip_prefix(EXTRA) else {
            continue;
        };
        let key = percent_decode_str(key).decode_utf8().map_err(|_| ProxyError::Text)?;
        if key.is_empty() {
            return Err(ProxyError::Text);
        }
        extra.entry(key.to_lowercase()).or_default().push(text(value)?);
    }
    Ok(Caller::new(name, uid, authenticated(groups), extra))
}

fn one(headers: &HeaderMap, name: &HeaderName, several: ProxyError) -> Result<Option<String>, ProxyError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => text(value).map(Some),
        _ => Err(several),
    }
}

fn text(value: &HeaderValue) -> Result<String, ProxyError> {
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| ProxyError::Text)?;
    if text.is_empty() {
        return Err(ProxyError::Text);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> Result<Caller, ProxyError> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        caller(&headers)
    }

    #[test]
    fn the_fields_are_the_whole_caller() {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let seen = of(&[
            ("X-Remote-User", "j\u{e4}ne"),
            ("X-Remote-Uid", "u-1"),
            ("X-Remote-Group", "dev"),
            ("X-Remote-Group", "ops, and more"),
            ("X-Remote-Extra-Scopes", "a"),
            ("X-Remote-Extra-Scopes", "b"),
            ("X-Remote-Extra-Acme.com%2FProject", "c"),
            ("X_Remote_User", "root"),
        ]);
        let expected = Caller::new(
            "j\u{e4}ne".to_owned(),
            "u-1".to_owned(),
            texts(&["dev", "ops, and more", "system:authenticated"]),
            [
                ("scopes".to_owned(), texts(&["a", "b"])),
                ("acme.com/project".to_owned(), texts(&["c"])),
            ]
            .into(),
        );
        assert_eq!(seen.unwrap(), expected);
    }

    #[test]
    fn a_word_is_not_taken_for_each_of_its_reasons() {
        let jane = ("x-remote-user", "jane");
        let cases: [(&[(&str, &str)], ProxyError); 11] = [
            (&[], ProxyError::User),
            (&[("x_remote_user", "jane")], ProxyError::User),
            (&[("x-remote-group", "dev")], ProxyError::User),
            (&[jane, jane], ProxyError::User),
            (&[("x-remote-user", "")], ProxyError::Text),
            (&[jane, ("x-remote-uid", "1"), ("x-remote-uid", "2")], ProxyError::Uid),
            (&[jane, ("x-remote-group", "")], ProxyError::Text),
            (&[jane, ("x-remote-extra-%ff", "a")], ProxyError::Text),
            (&[jane, ("x-remote-extra-", "a")], ProxyError::Text),
            (&[("x-remote-user", "system:admin")], ProxyError::Reserved),
            (&[jane, ("x-remote-group", "system:masters")], ProxyError::Reserved),
        ];
        for (fields, reason) in cases {
            assert_eq!(of(fields).unwrap_err(), reason, "{fields:?}");
        }
    }
}
