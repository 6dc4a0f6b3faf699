//! Which cluster a request is about. A caller says it by a header field, the query or a cookie, each called `x-cluster-name`, as
//! clients of the dashboard do; whatever is left out means the home cluster.

use http::{HeaderMap, HeaderName, header};
pub use kite_api::name::{ClusterName, ClusterNameError};
use percent_encoding::percent_decode_str;

const NAME: &str = "x-cluster-name";
/// The header field.
const FIELD: HeaderName = HeaderName::from_static(NAME);

/// Why it is not clear which cluster is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClusterError {
    #[error("the {0} names a cluster more than once")]
    Twice(&'static str),
    #[error("the {0} does not name the cluster in UTF-8, percent-encoded at most")]
    Text(&'static str),
    #[error("the {0} and the {1} name different clusters")]
    Different(&'static str, &'static str),
}

/// The name that a request says, if it says one: the same wherever it says it.
pub fn named(headers: &HeaderMap, query: Option<&str>) -> Result<Option<String>, ClusterError> {
    let mut found: Option<(&'static str, String)> = None;
    for (place, name) in [
        ("header", of_field(headers)?),
        ("query", of_query(query)?),
        ("cookie", of_cookies(headers)?),
    ] {
        let Some(name) = name else { continue };
        match &found {
            None => found = Some((place, name)),
            Some((before, first)) if *first != name => return Err(ClusterError::Different(before, place)),
            Some(_) => {}
        }
    }
    // One that is empty, as clients send before anything is chosen, says nothing.
    Ok(found.map(|(_, name)| name).filter(|name| !name.is_empty()))
}

fn of_field(headers: &HeaderMap) -> Result<Option<String>, ClusterError> {
    let values = headers.get_all(FIELD).iter();
    let name = only(values, "header")?.map(|value| value.to_str().map(ToOwned::to_owned));
    name.transpose().map_err(|_| ClusterError::Text("header"))
}

/// Keys that differ in case only are the same, as they are to some readers.
fn of_query(query: Option<&str>) -> Result<Option<String>, ClusterError> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(None);
    };
    let pairs = form_urlencoded::parse(query.as_bytes());
    let values = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(NAME));
    Ok(only(values, "query")?.map(|(_, value)| value.into_owned()))
}

/// A cookie's value is percent-encoded by those who set it in a page.
fn of_cookies(headers: &HeaderMap) -> Result<Option<String>, ClusterError> {
    let is_it = |cookie: &&[u8]| {
        let begin = cookie.trim_ascii_start().get(..NAME.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(NAME.as_bytes()))
    };
    let fields = headers.get_all(header::COOKIE).iter();
    let cookies = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    let values = cookies.filter(is_it).filter_map(|cookie| {
        let rest = cookie.trim_ascii().get(NAME.len()..)?;
        rest.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii)
    });
    let Some(value) = only(values, "cookie")? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value).map_err(|_| ClusterError::Text("cookie"))?;
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(Some(decoded.map_err(|_| ClusterError::Text("cookie"))?.into_owned()))
}

/// The only one of `values`, if there is any.
fn only<T>(mut values: impl Iterator<Item = T>, place: &'static str) -> Result<Option<T>, ClusterError> {
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(ClusterError::Twice(place)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(fields: &[&str], query: &str, cookies: &[&str]) -> Result<Option<String>, ClusterError> {
        let mut headers = HeaderMap::new();
        for (name, values) in [(FIELD, fields), (header::COOKIE, cookies)] {
            for value in values {
                headers.append(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        named(&headers, (!query.is_empty()).then_some(query))
    }

    #[test]
    fn a_cluster_is_named_in_any_of_three_places() {
        for (fields, query, cookies) in [
            (&["home"][..], "", &[][..]),
            (&[], "x-cluster-name=home&a=b", &[]),
            (&[], "a=b&x%2Dcluster-name=hom%65", &[]),
            (&[], "", &["a=b; x-cluster-name=home; c=d"]),
            (&[], "", &["a=b", "x-cluster-name=hom%65"]),
            (&["home"], "x-cluster-name=home", &["x-cluster-name=home"]),
        ] {
            let expected = Ok(Some("home".to_owned()));
            assert_eq!(of(fields, query, cookies), expected, "{fields:?} {query} {cookies:?}");
        }
        for (fields, query, cookies) in [
            (&[][..], "", &[][..]),
            (&[""], "x-cluster-name=", &["x-cluster-name="]),
            (
                &[],
                "x-cluster-names=a&y=x-cluster-name",
                &["y=x-cluster-name", "x-cluster-names=a"],
            ),
        ] {
            assert_eq!(of(fields, query, cookies), Ok(None), "{fields:?} {query} {cookies:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_more_than_one_way_is_refused() {
        for (fields, query, cookies, expected) in [
            (&["home", "home"][..], "", &[][..], ClusterError::Twice("header")),
            (
                &[],
                "x-cluster-name=home&X-Cluster-Name=other",
                &[],
                ClusterError::Twice("query"),
            ),
            (
                &[],
                "",
                &["x-cluster-name=a", "x-cluster-name=b"],
                ClusterError::Twice("cookie"),
            ),
            (
                &[],
                "",
                &["x-cluster-name=a; X-Cluster-Name=a"],
                ClusterError::Twice("cookie"),
            ),
            (
                &["home"],
                "x-cluster-name=other",
                &[],
                ClusterError::Different("header", "query"),
            ),
            (
                &["home"],
                "",
                &["x-cluster-name=other"],
                ClusterError::Different("header", "cookie"),
            ),
            (
                &[],
                "x-cluster-name=a",
                &["x-cluster-name=b"],
                ClusterError::Different("query", "cookie"),
            ),
            (
                &[],
                "x-cluster-name=",
                &["x-cluster-name=b"],
                ClusterError::Different("query", "cookie"),
            ),
            (&["\u{e4}"], "", &[], ClusterError::Text("header")),
            (&[], "", &["x-cluster-name=%ff"], ClusterError::Text("cookie")),
        ] {
            assert_eq!(
                of(fields, query, cookies),
                Err(expected),
                "{fields:?} {query} {cookies:?}"
            );
        }
    }
}
