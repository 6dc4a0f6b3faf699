//! What holds for every requirement: what it means, by a reference of its own and by the semver crate, and what its
//! pattern accepts.

use std::sync::LazyLock;

use proptest::{
    prelude::*,
    sample::{Index, select},
};
use regex::Regex;
use semver::{Version, VersionReq};

use super::{REQUIREMENT_PATTERN, Requirement, RequirementError};

/// A place on the line of all versions, ordered by precedence (Semantic Versioning 2.0.0, §11): the three numbers, then
/// pre-releases before the release, then their identifiers, numbers before texts, fewer before more.
type Place = (u64, u64, u64, (bool, Vec<Identifier>));

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Identifier {
    Number(u64),
    Text(String),
}

/// A version or a part of one, as a person writes it.
#[derive(Clone, Debug)]
struct Written {
    major: u64,
    minor: Option<u64>,
    patch: Option<u64>,
    pre: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Term {
    Any,
    Compare(&'static str, Written),
}

fn place(major: u64, minor: u64, patch: u64, pre: Option<&str>) -> Place {
    let identifiers = pre.into_iter().flat_map(|pre| pre.split('.')).map(|identifier| {
        identifier
            .parse()
            .map_or_else(|_| Identifier::Text(identifier.to_owned()), Identifier::Number)
    });
    (major, minor, patch, (pre.is_none(), identifiers.collect()))
}

/// Before all versions with these numbers, pre-releases among them.
fn floor(major: u64, minor: u64, patch: u64) -> Place {
    (major, minor, patch, (false, Vec::new()))
}

impl Written {
    /// The numbers with zeros for those that are not written, and the place behind all that begins with what is.
    fn ends(&self) -> (Place, Place) {
        match (self.minor, self.patch) {
            (None, _) => (floor(self.major, 0, 0), floor(self.major + 1, 0, 0)),
            (Some(minor), None) => (floor(self.major, minor, 0), floor(self.major, minor + 1, 0)),
            (Some(minor), Some(patch)) => (
                place(self.major, minor, patch, self.pre),
                floor(self.major, minor, patch + 1),
            ),
        }
    }

    /// Where compatible versions end: before a change of the leftmost number that is not zero.
    fn compatible_end(&self) -> Place {
        match (self.major, self.minor, self.patch) {
            (0, Some(0), Some(patch)) => floor(0, 0, patch + 1),
            (0, Some(minor), _) => floor(0, minor + 1, 0),
            (major, ..) => floor(major + 1, 0, 0),
        }
    }
}

impl Term {
    /// Whether the comparator holds, which says nothing yet on whether pre-releases are asked for. To the semver crate
    /// a partial version with `=`, `~`, `>=` or `<=` has only releases in it.
    fn holds(&self, version: &Place) -> bool {
        let Self::Compare(operator, written) = self else {
            return true;
        };
        let (begin, end) = written.ends();
        let is_whole = written.patch.is_some();
        let within = if is_whole {
            *version == begin
        } else {
            (&begin..&end).contains(&version)
        };
        let is_release = version.3.0;
        match *operator {
            "" | "=" | "==" => within && (is_whole || is_release),
            "!=" | "!" => !within,
            ">" if is_whole => *version > begin,
            ">" => *version >= end,
            ">=" if is_whole => *version >= begin,
            ">=" => *version >= end || (within && is_release),
            "<" => *version < begin,
            "<=" => *version < begin || (within && (is_whole || is_release)),
            "^" => (begin..written.compatible_end()).contains(version),
            "~" if is_whole => (begin..floor(written.major, written.minor.unwrap() + 1, 0)).contains(version),
            "~" => within && is_release,
            other => panic!("{other}"),
        }
    }

    /// Whether it asks for pre-releases of the version's numbers.
    fn asks_for_pre_releases_of(&self, version: &Version) -> bool {
        matches!(
            self,
            Self::Compare(operator, Written { major, minor: Some(minor), patch: Some(patch), pre: Some(_) })
                if !operator.starts_with('!')
                    && (*major, *minor, *patch) == (version.major, version.minor, version.patch)
        )
    }
}

fn reference(alternatives: &[Vec<Term>], version: &Version) -> bool {
    let pre = Some(version.pre.as_str()).filter(|pre| !pre.is_empty());
    let at = place(version.major, version.minor, version.patch, pre);
    alternatives.iter().any(|terms| {
        terms.iter().all(|term| term.holds(&at))
            && (pre.is_none() || terms.iter().any(|term| term.asks_for_pre_releases_of(version)))
    })
}

const PRE_RELEASES: [&str; 9] = ["0", "1", "9", "10", "alpha", "alpha.1", "alpha.beta", "rc-1", "rc.1.2"];
const WILDCARDS: [&str; 3] = ["*", "x", "X"];

/// Small numbers, so that requirement and version meet.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..4u64, 1 => 0..40u64]
}

fn written() -> impl Strategy<Value = Written> {
    let pre = prop::option::of(select(&PRE_RELEASES));
    (number(), number(), number(), 0..6, pre).prop_map(|(major, minor, patch, parts, pre)| Written {
        major,
        minor: (parts > 0).then_some(minor),
        patch: (parts > 1).then_some(patch),
        pre: pre.filter(|_| parts > 1),
    })
}

fn version() -> impl Strategy<Value = Version> {
    (number(), number(), number(), prop::option::of(select(&PRE_RELEASES))).prop_map(|(major, minor, patch, pre)| {
        let pre = pre.map(|pre| format!("-{pre}")).unwrap_or_default();
        Version::parse(&format!("{major}.{minor}.{patch}{pre}")).unwrap()
    })
}

fn term(operators: &'static [&'static str]) -> impl Strategy<Value = Term> {
    prop_oneof![
        1 => Just(Term::Any),
        12 => (select(operators), written()).prop_map(|(operator, written)| Term::Compare(operator, written)),
    ]
}

const OPERATORS: [&str; 11] = ["", "=", "==", "!=", "!", ">", ">=", "<", "<=", "^", "~"];

fn alternatives() -> impl Strategy<Value = Vec<Vec<Term>>> {
    prop::collection::vec(prop::collection::vec(term(&OPERATORS), 1..4), 1..4)
}

/// How a term is written, with `choice` for all that is free.
fn write(term: &Term, mut choice: impl FnMut(usize) -> usize) -> String {
    let Term::Compare(operator, written) = term else {
        return WILDCARDS[choice(3)].to_owned();
    };
    let mut text = (*operator).to_owned();
    if !operator.is_empty() {
        text.push_str(["", "", " ", "\t "][choice(4)]);
    }
    text.push_str(&written.major.to_string());
    for part in [written.minor, written.patch] {
        let part = match part {
            Some(number) => number.to_string(),
            None if choice(2) == 0 => WILDCARDS[choice(3)].to_owned(),
            None => break,
        };
        text.extend([".", &part]);
    }
    if let Some(pre) = written.pre {
        text.extend(["-", pre]);
    }
    if written.patch.is_some() && choice(4) == 0 {
        text.push_str("+build.007");
    }
    text
}

fn write_all(alternatives: &[Vec<Term>], mut choice: impl FnMut(usize) -> usize) -> String {
    let mut text = ["", " ", "\n"][choice(3)].to_owned();
    for (index, terms) in alternatives.iter().enumerate() {
        if index > 0 {
            text.push_str(["||", " || ", " ||", "||\t"][choice(4)]);
        }
        for (index, term) in terms.iter().enumerate() {
            if index > 0 {
                text.push_str([" ", ",", ", ", " ,", "  "][choice(5)]);
            }
            text.push_str(&write(term, &mut choice));
        }
    }
    text.push_str(["", " ", "\n"][choice(3)]);
    text
}

/// Draws from `indices` for ever.
fn choices(indices: &[Index]) -> impl FnMut(usize) -> usize {
    let mut drawn = indices.iter().cycle();
    move |bound| drawn.next().map_or(0, |index| index.index(bound))
}

/// `text` with up to three characters put in, put in place of others, or taken out.
fn spoil(text: &str, edits: &[(Index, u8, char)]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for &(at, kind, character) in edits {
        let at = at.index(characters.len() + 1);
        match kind {
            0 => characters.insert(at, character),
            _ if at == characters.len() => {}
            1 => characters[at] = character,
            _ => drop(characters.remove(at)),
        }
    }
    characters.into_iter().collect()
}

fn edits() -> impl Strategy<Value = Vec<(Index, u8, char)>> {
    let characters: Vec<char> = "0123456789..xX*-+=!<>^~||,, \t\nvaZ\u{b}\u{a0}é".chars().collect();
    prop::collection::vec((any::<Index>(), 0..3u8, select(characters)), 0..4)
}

/// What the pattern and the parser say of a text; its length is not the pattern's affair.
fn check_agreement(text: &str) -> Result<(), TestCaseError> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| Regex::new(REQUIREMENT_PATTERN).unwrap());
    let accepted = match Requirement::parse(text) {
        Ok(_) => true,
        Err(RequirementError::TooLong(_)) => return Ok(()),
        Err(_) => false,
    };
    prop_assert_eq!(
        PATTERN.is_match(text),
        accepted,
        "{:?}: {:?}",
        text,
        Requirement::parse(text)
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_requirement_means_what_the_reference_says(
        alternatives in alternatives(),
        indices in prop::collection::vec(any::<Index>(), 16),
        versions in prop::collection::vec(version(), 8),
    ) {
        let text = write_all(&alternatives, choices(&indices));
        let requirement = Requirement::parse(&text).unwrap();
        prop_assert_eq!(requirement.to_string(), &text[..]);
        for version in versions {
            let expected = reference(&alternatives, &version);
            prop_assert_eq!(requirement.matches(&version), expected, "{:?} {}", text, version);
        }
    }

    #[test]
    fn an_explicit_requirement_means_what_it_means_to_cargo(
        terms in prop::collection::vec(term(&["=", ">", ">=", "<", "<=", "^", "~"]), 1..4),
        versions in prop::collection::vec(version(), 8),
    ) {
        // Cargo has no wildcard beside others.
        let terms: Vec<Term> = match terms.iter().position(|term| matches!(term, Term::Any)) {
            Some(_) => vec![Term::Any],
            None => terms,
        };
        let text = terms.iter().map(|term| write(term, |bound| bound - 1)).collect::<Vec<_>>().join(", ");
        let text = text.replace('\t', " ");
        let (ours, cargos) = (Requirement::parse(&text).unwrap(), VersionReq::parse(&text).unwrap());
        for version in versions {
            prop_assert_eq!(ours.matches(&version), cargos.matches(&version), "{:?} {}", text, version);
        }
    }

    #[test]
    fn pattern_and_parser_agree_on_spoiled_texts(
        alternatives in alternatives(), indices in prop::collection::vec(any::<Index>(), 16), edits in edits(),
    ) {
        check_agreement(&spoil(&write_all(&alternatives, choices(&indices)), &edits))?;
    }

    #[test]
    fn pattern_and_parser_agree_on_any_text(text in "([0-9]{1,21}|[.xX*+=!<>^~|, \t\nv-]|rc|[|]{2}|\\PC){0,12}") {
        check_agreement(&text)?;
    }

    #[test]
    fn of_a_host_only_the_numbers_count(alternatives in alternatives(), host in version()) {
        let requirement = Requirement::parse(&write_all(&alternatives, |_| 0)).unwrap();
        let release = Version::new(host.major, host.minor, host.patch);
        prop_assert_eq!(requirement.matches_host(&host), requirement.matches(&release));
    }
}
