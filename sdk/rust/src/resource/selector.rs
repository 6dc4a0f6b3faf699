//! Label selectors, as Kubernetes writes them.

use std::collections::BTreeMap;

use kube::core::{Expression, Selector, SelectorExt as _};

/// Most bytes of a selector.
const MAX_SELECTOR: usize = 4096;

/// Why a text is not a label selector.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum SelectorError {
    #[error("the label selector has more than {MAX_SELECTOR} bytes")]
    Long,
    #[error("the label selector has a requirement that is none: {0:?}")]
    Requirement(String),
}

/// Reads a selector: `a=b`, `a==b`, `a!=b`, `a in (b, c)`, `a notin (b)`, `a`, `!a`, with commas between them.
pub(super) fn parse(text: &str) -> Result<Selector, SelectorError> {
    if text.len() > MAX_SELECTOR {
        return Err(SelectorError::Long);
    }
    if text.trim().is_empty() {
        return Ok(Selector::default());
    }
    let parts = requirements(text).into_iter().map(|part| {
        expression(part.trim()).ok_or_else(|| SelectorError::Requirement(part.trim().chars().take(100).collect()))
    });
    parts.collect()
}

/// Whether labels are selected.
pub(super) fn selects(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    selector.matches(labels)
}

/// The parts between commas that stand in no parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

fn expression(text: &str) -> Option<Expression> {
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Expression::NotEqual(key_of(key)?, value_of(value)?));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Expression::Equal(key_of(key)?, value_of(value)?));
    }
    if let Some((head, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let values = values.split(',').map(value_of).collect::<Option<_>>()?;
        let mut words = head.split_ascii_whitespace();
        let (key, operator) = (key_of(words.next()?)?, words.next()?);
        return match (operator, words.next()) {
            ("in", None) => Some(Expression::In(key, values)),
            ("notin", None) => Some(Expression::NotIn(key, values)),
            _ => None,
        };
    }
    match text.strip_prefix('!') {
        Some(key) => Some(Expression::DoesNotExist(key_of(key)?)),
        None => Some(Expression::Exists(key_of(text)?)),
    }
}

/// A label's key: a name of up to 63 characters, perhaps with a DNS name and a slash before it.
fn key_of(text: &str) -> Option<String> {
    let text = text.trim();
    let (prefix, name) = text
        .rsplit_once('/')
        .map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let dns = |prefix: &str| {
        let label = |label: &str| kite_api::name::is_label(label);
        prefix.len() <= 253 && prefix.split('.').all(label)
    };
    (!name.is_empty() && is_value(name) && prefix.is_none_or(dns)).then(|| text.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    let text = text.trim();
    is_value(text).then(|| text.to_owned())
}

/// Whether it may be the value of a label: empty, or up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at its ends.
fn is_value(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let end = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.iter().copied().all(inner) && end(bytes.first()) && end(bytes.last())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_selector_selects_by_all_of_its_requirements() {
        let labels = BTreeMap::from([
            ("app".to_owned(), "web".to_owned()),
            ("x.io/tier".to_owned(), String::new()),
        ]);
        for (text, selected) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("app=web", true),
            ("app == web , x.io/tier=", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (db, web),!other", true),
            ("app notin (db,web)", false),
            ("app notin (db)", true),
            ("app=web,other", false),
        ] {
            assert_eq!(selects(&parse(text).unwrap(), &labels), selected, "{text}");
        }
    }

    #[test]
    fn a_selector_is_refused_for_each_of_its_reasons() {
        for text in [
            ",",
            "a,",
            "a=b=c",
            "a in b",
            "a in (b",
            "a on (b)",
            "a in x (b)",
            "in (b)",
            "-a",
            "a=-b",
            "/a",
            "X/a",
            "a>1",
            "!",
            "a b",
            "=b",
        ] {
            assert!(matches!(parse(text), Err(SelectorError::Requirement(_))), "{text}");
        }
        assert_eq!(parse(&"a".repeat(4097)), Err(SelectorError::Long));
    }

    proptest! {
        #[test]
        fn no_text_makes_parse_panic_and_what_is_read_is_read_again(text in "[a-c!=(), inot/.]{0,40}") {
            if let Ok(selector) = parse(&text) {
                prop_assert_eq!(parse(&selector.to_string()), Ok(selector));
            }
        }
    }
}
