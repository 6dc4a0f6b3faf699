//! Complaints about a document: each with its place, and with what to write instead.

use std::{fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

use super::source::Source;

/// Most complaints that are told.
const MOST: usize = 50;
/// Most complaints that are sought. A document of 1 MiB has room for a great many, and who sees 50 mends those first.
const MOST_SOUGHT: usize = 1000;
/// Most characters of a value that a message repeats.
const SHOWN: usize = 80;
/// Columns of a terminal that a snippet of a long line is cut to.
const WIDTH: usize = 140;

/// How much a complaint matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document is accepted, and may not do what its author means.
    Warning,
}

/// What is wrong in one place of the document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Complaint {
    pub severity: Severity,
    /// The field, as in `spec.permissions[0].verbs[1]`. Empty: the document as a whole.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    /// What to write instead, where the message does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    #[serde(skip)]
    span: Range<usize>,
}

/// All complaints about a document, in its order, each once.
#[derive(Clone, Debug)]
pub struct Complaints {
    source: Source,
    told: Vec<Complaint>,
    /// How many of those that were found are not told.
    left_out: usize,
    errors: usize,
}

/// Where complaints are collected.
#[derive(Debug, Default)]
pub(super) struct Desk {
    found: Vec<Found>,
}

/// A complaint whose line and column nobody has counted yet.
#[derive(Debug)]
struct Found {
    severity: Severity,
    path: String,
    span: Range<usize>,
    message: String,
    advice: Option<String>,
}

impl Desk {
    pub(super) fn error(&mut self, path: &str, span: &Range<usize>, message: String, advice: Option<String>) {
        self.add(Severity::Error, path, span, message, advice);
    }

    pub(super) fn warning(&mut self, path: &str, span: &Range<usize>, message: String, advice: Option<String>) {
        self.add(Severity::Warning, path, span, message, advice);
    }

    fn add(&mut self, severity: Severity, path: &str, span: &Range<usize>, message: String, advice: Option<String>) {
        if self.found.len() < MOST_SOUGHT {
            self.found.push(Found {
                severity,
                path: path.to_owned(),
                span: span.clone(),
                message,
                advice,
            });
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|found| found.severity == Severity::Error)
    }

    /// Whether something is wrong with just these bytes.
    pub(super) fn has_error_at(&self, span: &Range<usize>) -> bool {
        self.found
            .iter()
            .any(|found| found.severity == Severity::Error && found.span == *span)
    }

    pub(super) fn complaints(self, source: Source) -> Complaints {
        let mut told: Vec<Complaint> = self.found.into_iter().map(|found| located(&source, found)).collect();
        told.sort_by_key(|complaint| complaint.span.start);
        told.dedup();
        let errors = told.iter().filter(|it| it.severity == Severity::Error).count();
        let left_out = told.len().saturating_sub(MOST);
        if errors > 0 && left_out > 0 {
            // Of a document that is refused, what refuses it counts.
            told.sort_by_key(|complaint| complaint.severity);
        }
        told.truncate(MOST);
        told.sort_by_key(|complaint| complaint.span.start);
        Complaints {
            source,
            told,
            left_out,
            errors,
        }
    }
}

fn located(source: &Source, found: Found) -> Complaint {
    let Found {
        severity,
        path,
        span,
        message,
        advice,
    } = found;
    let span = source.shown(&span);
    let (line, column) = source.position(span.start);
    Complaint {
        severity,
        path,
        line,
        column,
        message,
        advice,
        span,
    }
}

impl Complaints {
    /// Those that are told, in the order of the document.
    pub fn told(&self) -> &[Complaint] {
        &self.told
    }

    /// How many more there are.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// How many of all refuse the document.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// All of them for people, each with its lines of the document, and an empty line between them.
    pub fn report(&self) -> String {
        let renderer = Renderer::plain().term_width(WIDTH);
        let told = self
            .told
            .iter()
            .map(|complaint| renderer.render(&[self.group(complaint)]) + "\n");
        let more = (self.left_out > 0).then(|| format!("… and {} more\n", self.left_out));
        told.chain(more).collect::<Vec<String>>().join("\n")
    }

    fn group<'a>(&'a self, complaint: &'a Complaint) -> annotate_snippets::Group<'a> {
        let level = match complaint.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippet = Snippet::source(self.source.text.as_str())
            .path(self.source.name.as_str())
            .annotation(AnnotationKind::Primary.span(complaint.span.clone()));
        let group = level.primary_title(complaint.to_string()).element(snippet);
        match &complaint.advice {
            Some(advice) => group.element(Level::HELP.message(advice.as_str())),
            None => group,
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            formatter.write_str(&self.message)
        } else {
            write!(formatter, "{}: {}", self.path, self.message)
        }
    }
}

/// A value of the author's in a message: on one line, without control characters, and no longer than it helps.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// The one of `known` that is most like `text`, if one is much like it.
pub(super) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let most = match lower.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    let distance = |known: &str| strsim::damerau_levenshtein(&lower, &known.to_lowercase());
    // Nothing that is much longer is alike, and to compare it would cost.
    known
        .filter(|known| known.len().abs_diff(text.len()) <= most)
        .map(|known| (distance(known), known))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_told_in_the_order_of_the_document_each_once_and_not_all() {
        let source = Source::new(String::from("a.yaml"), "x\n".repeat(60));
        let mut desk = Desk::default();
        for line in (0..60).rev() {
            let span = line * 2..line * 2 + 1;
            desk.warning("a", &span, String::from("odd"), None);
            desk.warning("a", &span, String::from("odd"), None);
        }
        desk.error("b", &(118..119), String::from("wrong"), None);
        let complaints = desk.complaints(source);
        assert_eq!(
            (complaints.told().len(), complaints.left_out(), complaints.errors()),
            (50, 11, 1)
        );
        assert_eq!(complaints.told()[0].line, 1);
        let last = complaints.told().last().unwrap();
        assert_eq!(
            (last.line, last.severity),
            (60, Severity::Error),
            "what refuses it is told first"
        );
    }

    #[test]
    fn what_is_alike_is_found_and_what_is_not_is_not() {
        let verbs = || ["get", "list", "watch", "deletecollection"].into_iter();
        for (text, near) in [
            ("gett", Some("get")),
            ("Get", Some("get")),
            ("lsit", Some("list")),
            ("exec", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, verbs()), near, "{text}");
        }
    }

    #[test]
    fn a_value_is_shown_on_one_line_and_not_whole() {
        assert_eq!(shown("a\nb\u{7}"), "a b ");
        assert_eq!(shown(&"é".repeat(81)).chars().count(), 81);
    }
}
