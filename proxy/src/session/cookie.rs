//! The session's cookie: one, or several where it is too large for one.

use std::{collections::BTreeMap, iter};

use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};

/// The name of the cookie, and what the names of its parts begin with.
pub const NAME: &str = "auth_token";
/// Most bytes of one cookie's value: a browser takes 4,096 bytes with name and attributes (RFC 6265, section 6.1).
const PART: usize = 3_800;
/// Most bytes of all parts together: servers before the gateway seldom take more than 16 KiB of header.
pub const MOST: usize = 12 * 1024;
/// Most parts, which [`MOST`] bytes need.
const PARTS: usize = MOST.div_ceil(PART);

/// Why a request's cookies are no session's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CookieError {
    #[error("the request has the cookie {NAME}, or a part of it, more than once")]
    Twice,
    #[error("a part of the cookie {NAME} is missing, or one too many")]
    Parts,
}

/// The value of a request's session cookie, if there is one.
pub fn read(headers: &HeaderMap) -> Result<Option<String>, CookieError> {
    let mut parts = parts(headers)?;
    let Some((&last, _)) = parts.last_key_value() else {
        return Ok(None);
    };
    // The whole stands alone; parts begin with the first and are all there.
    let whole = last == 0 && parts.len() == 1;
    let split = last == parts.len() && (2..=PARTS).contains(&last) && !parts.contains_key(&0);
    if !whole && !split {
        return Err(CookieError::Parts);
    }
    let value: String = std::mem::take(&mut parts).into_values().collect();
    if value.len() > MOST {
        return Err(CookieError::Parts);
    }
    Ok(Some(value))
}

/// The fields that give a browser the cookie with this value, and take from it the parts that it has now and that are no longer.
/// Nothing if the value is too large.
pub fn set(value: &str, path: &str, now: &HeaderMap) -> Option<Vec<HeaderValue>> {
    if value.len() > MOST {
        return None;
    }
    let values: Vec<(usize, &str)> = if value.len() <= PART {
        vec![(0, value)]
    } else {
        // A value is base64, so that each byte is a character.
        let starts = (0..value.len()).step_by(PART);
        let cut = starts.map(|start| value.get(start..value.len().min(start + PART)).unwrap_or_default());
        (1..).zip(cut).collect()
    };
    let stale = indices(now).filter(|index| !values.iter().any(|(set, _)| set == index));
    let removed = stale.map(|index| removal(index, path));
    let set = values.iter().map(|(index, part)| written(&named(*index, part, path)));
    Some(set.chain(removed).collect())
}

/// The fields that take the cookie from a browser, with all its parts.
pub fn clear(path: &str, now: &HeaderMap) -> Vec<HeaderValue> {
    let parts = indices(now).filter(|index| *index != 0);
    iter::once(0).chain(parts).map(|index| removal(index, path)).collect()
}

/// The parts of the cookie by their number; the whole is 0.
fn parts(headers: &HeaderMap) -> Result<BTreeMap<usize, String>, CookieError> {
    let mut parts = BTreeMap::new();
    for field in headers.get_all(header::COOKIE) {
        // Other cookies may hold anything.
        let text = String::from_utf8_lossy(field.as_bytes());
        for cookie in Cookie::split_parse(text.as_ref()).flatten() {
            let Some(index) = index(cookie.name())? else {
                continue;
            };
            if parts.insert(index, cookie.value().to_owned()).is_some() {
                return Err(CookieError::Twice);
            }
        }
    }
    Ok(parts)
}

/// Which part of the session's cookie a cookie of this name is, if it is one.
fn index(name: &str) -> Result<Option<usize>, CookieError> {
    if name == NAME {
        return Ok(Some(0));
    }
    let Some(number) = name.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('.')) else {
        return Ok(None);
    };
    let index = (1..=PARTS).find(|index| index.to_string() == number);
    index.map(Some).ok_or(CookieError::Parts)
}

/// The numbers of the parts that a browser has, as far as they are any.
fn indices(headers: &HeaderMap) -> impl Iterator<Item = usize> {
    let text: Vec<_> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(|field| String::from_utf8_lossy(field.as_bytes()))
        .collect();
    let has = move |index: usize| {
        let name = name(index);
        text.iter()
            .flat_map(|text| Cookie::split_parse(text.as_ref()))
            .flatten()
            .any(|cookie| cookie.name() == name)
    };
    (0..=PARTS).filter(move |index| has(*index))
}

fn name(index: usize) -> String {
    if index == 0 {
        NAME.to_owned()
    } else {
        format!("{NAME}.{index}")
    }
}

/// It ends with the browser, goes to no other site and over nothing but TLS, and no script reads it.
fn named(index: usize, value: &str, path: &str) -> Cookie<'static> {
    Cookie::build((name(index), value.to_owned()))
        .path(path.to_owned())
        .http_only(true)
        .secure(true)
        .same_site(SameSite::Strict)
        .build()
}

fn removal(index: usize, path: &str) -> HeaderValue {
    let mut cookie = named(index, "", path);
    cookie.make_removal();
    written(&cookie)
}

fn written(cookie: &Cookie<'_>) -> HeaderValue {
    // Name, base64 and a path of a URL are all ASCII.
    HeaderValue::try_from(cookie.to_string()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        headers
    }

    /// What a browser sends after it was told `set`.
    fn kept(set: &[HeaderValue]) -> String {
        let cookies = set.iter().map(|field| Cookie::parse(field.to_str().unwrap()).unwrap());
        let kept = cookies.filter(|cookie| cookie.max_age().is_none());
        kept.map(|cookie| cookie.stripped().to_string())
            .collect::<Vec<_>>()
            .join("; ")
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_whatever_its_length(value in "[A-Za-z0-9_-]{1,12288}") {
            let set = set(&value, "/", &HeaderMap::new()).unwrap();
            prop_assert_eq!(set.len() > 1, value.len() > PART);
            for field in &set {
                prop_assert!(field.len() < 4_096);
            }
            let sent = kept(&set);
            prop_assert_eq!(read(&headers(&[&sent])).unwrap(), Some(value));
        }
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_from_other_sites_and_from_plain_http() {
        let set = set("v", "/kite/", &HeaderMap::new()).unwrap();
        assert_eq!(set, ["auth_token=v; HttpOnly; SameSite=Strict; Secure; Path=/kite/"]);
    }

    #[test]
    fn what_is_too_large_for_all_parts_is_not_set() {
        assert!(set(&"v".repeat(MOST), "/", &HeaderMap::new()).is_some());
        assert!(set(&"v".repeat(MOST + 1), "/", &HeaderMap::new()).is_none());
    }

    #[test]
    fn a_session_is_one_cookie_or_all_its_parts_and_each_of_them_once() {
        let large = format!("auth_token={}", "v".repeat(MOST + 1));
        for (fields, expected) in [
            (vec![], Ok(None)),
            (vec!["a=b; auth_tokens=x; xauth_token=y"], Ok(None)),
            (vec!["a=b; auth_token=v; c=d"], Ok(Some("v"))),
            (vec!["a=\u{e4}", "auth_token=v"], Ok(Some("v"))),
            (vec!["auth_token.2=b; auth_token.1=a"], Ok(Some("ab"))),
            (
                vec!["auth_token.2=b", "auth_token.1=a", "auth_token.3=c"],
                Ok(Some("abc")),
            ),
            (vec!["auth_token=v; auth_token=v"], Err(CookieError::Twice)),
            (vec!["auth_token=v", "auth_token=w"], Err(CookieError::Twice)),
            (
                vec!["auth_token.1=a; auth_token.2=b; auth_token.2=b"],
                Err(CookieError::Twice),
            ),
            (vec!["auth_token.1=a"], Err(CookieError::Parts)),
            (vec!["auth_token.2=b"], Err(CookieError::Parts)),
            (vec!["auth_token.1=a; auth_token.3=c"], Err(CookieError::Parts)),
            (
                vec!["auth_token=v; auth_token.1=a; auth_token.2=b"],
                Err(CookieError::Parts),
            ),
            (vec!["auth_token=v; auth_token.9=a"], Err(CookieError::Parts)),
            (vec!["auth_token=v; auth_token.01=a"], Err(CookieError::Parts)),
            (vec!["auth_token=v; auth_token.=a"], Err(CookieError::Parts)),
            (vec![&large], Err(CookieError::Parts)),
        ] {
            let seen = read(&headers(&fields));
            assert_eq!(seen, expected.map(|value| value.map(str::to_owned)), "{fields:?}");
        }
    }

    #[test]
    fn parts_that_are_no_longer_are_taken_from_the_browser() {
        let removed = |set: Vec<HeaderValue>| {
            let set = set.into_iter().map(|field| field.to_str().unwrap().to_owned());
            let removed = set.filter(|field| field.contains("Max-Age=0"));
            removed
                .map(|field| field.split('=').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let split = headers(&["auth_token.1=a; auth_token.2=b; auth_token.2=c; a=b"]);
        assert_eq!(
            removed(set("v", "/", &split).unwrap()),
            ["auth_token.1", "auth_token.2"]
        );
        let whole = headers(&["auth_token=a"]);
        assert_eq!(
            removed(set(&"v".repeat(PART + 1), "/", &whole).unwrap()),
            ["auth_token"]
        );
        assert_eq!(
            removed(clear("/", &split)),
            ["auth_token", "auth_token.1", "auth_token.2"]
        );
        assert_eq!(removed(clear("/", &HeaderMap::new())), ["auth_token"]);
    }
}
