//! From text to the tree of a document, and what YAML makes of words that an author means otherwise.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;
use serde_saphyr::{DuplicateKeyPolicy, Error, MessageFormatter as _, UserMessageFormatter};

use super::{
    complaint::{Desk, shown},
    node::{Content, Node},
    source::Source,
};

/// Deepest nesting of a document: more than the deepest settings need that may be, and little enough for the parser's stack.
const DEEPEST: usize = 40;

/// The document, or a complaint about why it cannot be read. A document has one such fault: what follows it has no meaning.
pub(super) fn parse(source: &Source, desk: &mut Desk) -> Option<Node> {
    // Keys that stand there twice are all complained about, and not only the first.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEEPEST },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Node>(&source.text, options) {
        Ok(document) => {
            pitfalls(source, &document, "", desk);
            Some(document)
        }
        Err(error) => {
            let at = place(source, &error);
            let (message, advice) = words(error.without_snippet());
            desk.error("", &at, message, Some(advice));
            None
        }
    }
}

/// The character at which the parser gave up.
fn place(source: &Source, error: &Error) -> Range<usize> {
    let start = error.location().map_or(0, |at| source.offset(at.line(), at.column()));
    let length = source
        .raw(&(start..source.text.len()))
        .chars()
        .next()
        .filter(|next| !next.is_control())
        .map_or(0, char::len_utf8);
    start..start + length
}

/// What is wrong, and what to write instead.
fn words(error: &Error) -> (String, String) {
    let text = UserMessageFormatter.format_message(error).into_owned();
    let (message, advice) = match error {
        Error::MultipleDocuments { .. } => (
            "another document begins here",
            "give each document a file of its own, and leave no `---` behind the last line",
        ),
        Error::UnknownAnchor { .. } => (
            "no `&name` with this name stands before it",
            "put a text that begins with `*` into quotes: \"*\"",
        ),
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } | Error::AliasExpansionLimitExceeded { .. } => (
            "the document is nested too deep, or too large with its aliases spelled out",
            "write plainly what you mean: no document that the API server takes needs this",
        ),
        Error::NullIntoString { .. } => ("a key is a text, and this one is nothing", "put the key into quotes"),
        Error::NonFiniteFloat { .. } => (
            "no number of JSON is infinite or none",
            "write a number, or a text in quotes",
        ),
        Error::AliasError { error, .. } => return words(error),
        _ => return (by_text(&text), advice_by_text(&text).to_owned()),
    };
    (message.to_owned(), advice.to_owned())
}

fn by_text(text: &str) -> String {
    format!("this is not YAML: {}", shown(text))
}

/// What helps against a fault that the parser tells in words only.
fn advice_by_text(text: &str) -> &'static str {
    // The first of these that the text has.
    const ADVICE: [(&str, &str); 9] = [
        (
            "anchor or alias",
            "put a text that begins with `*` or `&` into quotes: \"*\"",
        ),
        ("tab", "indent with spaces"),
        ("bracket", "close it: every `[` has its `]`, every `{` its `}`"),
        ("unclosed quote", "close the quote"),
        (
            "trailing content",
            "inside '…' write '' for a quote, or put the text into \"…\"",
        ),
        (
            "mapping values",
            "put a text that has `: ` in it into quotes; of a map, begin each key on a line of its own",
        ),
        (
            "unexpected character",
            "put a text that begins with this character into quotes",
        ),
        ("expected key", "indent this line as the keys are that it belongs to"),
        ("recursion", "nest lists and maps less deep"),
    ];
    let found = ADVICE.iter().find(|(part, _)| text.contains(part));
    found.map_or(
        "write `key: value` for a map and `- value` for a list, each a level deeper than what it belongs to",
        |(_, advice)| advice,
    )
}

/// Words that are true or false to YAML 1.1, which kubectl reads, and texts to YAML 1.2.
static WORD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^(y|Y|n|N|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$").ok());
/// Numbers that readers of YAML do not agree about.
static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new("^[-+]?(0[0-9_]+|0o[0-7]+|0b[01_]+|0x[0-9a-fA-F_]*_[0-9a-fA-F_]*|[0-9][0-9.]*_[0-9_.]*)$").ok()
});

fn matches(pattern: &LazyLock<Option<Regex>>, raw: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(raw))
}

/// Whether YAML 1.1 takes what is written for true or false, though it is neither word.
pub(super) fn is_word_for_bool(raw: &str) -> bool {
    matches(&WORD, raw)
}

/// Complains about keys that stand twice, and about plain values that another reader would take for something else.
fn pitfalls(source: &Source, node: &Node, path: &str, desk: &mut Desk) {
    match &node.content {
        Content::Map(entries) => {
            for (index, (key, value)) in entries.iter().enumerate() {
                let path = below(path, &key.name);
                let first = entries.iter().take(index).find(|(other, _)| other.name == key.name);
                if let Some((other, _)) = first {
                    let (line, _) = source.position(other.span.start);
                    desk.error(
                        &path,
                        &key.span,
                        format!("this key stands on line {line} already"),
                        Some(String::from("keep one of the two")),
                    );
                }
                if is_word_for_bool(source.raw(&key.span)) {
                    desk.error(
                        &path,
                        &key.span,
                        format!("kubectl reads the key `{}` as true or false", key.name),
                        Some(format!("put it into quotes: \"{}\"", key.name)),
                    );
                }
                pitfalls(source, value, &path, desk);
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                pitfalls(source, item, &format!("{path}[{index}]"), desk);
            }
        }
        Content::Text(text) => {
            let raw = source.raw(&node.mark());
            if raw == text && is_word_for_bool(raw) {
                desk.error(
                    path,
                    &node.mark(),
                    format!("kubectl reads `{raw}` as true or false"),
                    Some(format!("put it into quotes: \"{raw}\"; or write true or false")),
                );
            } else if raw == text && matches(&NUMBER, raw) {
                ambiguous(path, node, raw, desk);
            }
        }
        Content::Number(_) => {
            let raw = source.raw(&node.mark());
            if matches(&NUMBER, raw) {
                ambiguous(path, node, raw, desk);
            }
        }
        Content::Null | Content::Bool(_) => {}
    }
}

fn ambiguous(path: &str, node: &Node, raw: &str, desk: &mut Desk) {
    desk.error(
        path,
        &node.mark(),
        format!("readers of YAML do not agree which number `{}` is", shown(raw)),
        Some(String::from(
            "write a number in plain digits, without zeros before it; or a text in quotes",
        )),
    );
}

/// The path of a field.
pub(super) fn below(path: &str, key: &str) -> String {
    let key = shown(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
