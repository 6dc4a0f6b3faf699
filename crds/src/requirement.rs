//! Requirements on a version: of one plugin on another, and on the dashboard and the cluster that it runs with.

mod pattern;

use std::{fmt, sync::Arc};

use semver::{Comparator, Op, Version, VersionReq};

pub use self::pattern::REQUIREMENT_PATTERN;

/// Most bytes of a requirement: 32 comparators of the usual length fit.
pub const MAX_REQUIREMENT: usize = 256;
/// Most digits of a number: with one more it need not fit 64 bits, and a regular expression could not tell.
const MAX_DIGITS: usize = 19;

/// What separates comparators. As in [`REQUIREMENT_PATTERN`], so none of Unicode's other spaces.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
const WILDCARDS: [char; 3] = ['*', 'x', 'X'];
/// Characters that an operator is made of.
const OPERATOR: [char; 6] = ['=', '!', '>', '<', '^', '~'];

/// Why a text is not a requirement.
#[derive(Debug, thiserror::Error)]
pub enum RequirementError {
    #[error("the requirement is empty: write * if any version will do")]
    Empty,
    #[error("the requirement has {0} bytes, the limit is {MAX_REQUIREMENT}")]
    TooLong(usize),
    #[error("an alternative is empty: write a comparator on both sides of each ||")]
    EmptyAlternative,
    #[error("a comma has nothing to separate: write a comparator on both sides of it, or leave it out")]
    StrayComma,
    #[error("the operator {0} has no version behind it")]
    NoVersion(&'static str),
    #[error("{0:?} has two operators: write one out of = == != ! > >= < <= ^ ~ before each version")]
    TwoOperators(String),
    #[error("~> is not an operator here: write ~ instead, as in ~1.2")]
    TildeGreater,
    #[error("hyphen ranges are not accepted: instead of 1.0.0 - 2.0.0 write >=1.0.0 <=2.0.0")]
    HyphenRange,
    #[error("{0:?} begins with a letter: write {rest:?} instead", rest = .0.get(1..).unwrap_or_default())]
    LeadingV(String),
    #[error("{0:?} is a wildcard with more to it: * is any version already, so write it alone")]
    WildcardFirst(String),
    #[error("{0:?} has a number of more than {MAX_DIGITS} digits")]
    LongNumber(String),
    #[error("{text:?} is not a version: write one such as 1.2.3 or 1.2.3-rc.1, or a part of one such as 1.2 or 1.x")]
    Version { text: String, source: semver::Error },
}

/// A requirement on a version.
///
/// Alternatives are separated by `||`. Within one, comparators are separated by commas or spaces, and all must hold. A
/// comparator is a version behind an operator out of `= == != ! > >= < <= ^ ~`, or without one, which is `=`: a whole
/// version alone is exactly that one, not those compatible with it as for Cargo. A version may lack parts or have
/// wildcards (`1`, `1.2`, `1.x`, `1.2.*`); `1.2` alone is every 1.2.x. `*`, `x` or `X` alone is any version.
///
/// Otherwise a comparator means what it means to the semver crate. Build metadata is not compared, and a pre-release
/// matches only where a comparator of that alternative names a pre-release of the same major.minor.patch; one behind
/// `!=` does not count there, as to exclude is not to ask for.
///
/// A copy costs no memory: the graph of dependencies hands out many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Requirement {
    text: Arc<str>,
    alternatives: Arc<[Alternative]>,
}

impl Requirement {
    pub fn parse(text: &str) -> Result<Self, RequirementError> {
        if text.len() > MAX_REQUIREMENT {
            return Err(RequirementError::TooLong(text.len()));
        }
        if text.trim_matches(SPACES).is_empty() {
            return Err(RequirementError::Empty);
        }
        // How many there can be follows from the length, so that the pattern accepts just what is accepted here.
        let alternatives: Arc<[Alternative]> = text.split("||").map(Alternative::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.into(),
            alternatives,
        })
    }

    /// Whether a plugin of this version will do.
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(version))
    }

    /// Whether a dashboard or cluster of this version will do. Only major.minor.patch of it counts: EKS and GKE append
    /// suffixes of their own, which are no pre-releases.
    pub fn matches_host(&self, version: &Version) -> bool {
        self.matches(&release_of(version))
    }
}

/// The text as it was written.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One of the parts between `||`.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Alternative {
    /// What must hold. None of them is any version, so that `*` has no entry here.
    wanted: VersionReq,
    /// What must not be, each with the operator `=`.
    excluded: Vec<Comparator>,
    /// How many comparators were written.
    count: usize,
}

impl Alternative {
    fn parse(text: &str) -> Result<Self, RequirementError> {
        if text.trim_matches(SPACES).is_empty() {
            return Err(RequirementError::EmptyAlternative);
        }
        let mut alternative = Self {
            wanted: VersionReq::STAR,
            excluded: Vec::new(),
            count: 0,
        };
        for list in text.split(',') {
            let before = alternative.count;
            alternative.add(list)?;
            if alternative.count == before {
                return Err(RequirementError::StrayComma);
            }
        }
        Ok(alternative)
    }

    /// Adds comparators that spaces separate. A space may also stand between an operator and its version.
    fn add(&mut self, list: &str) -> Result<(), RequirementError> {
        let mut pending = None;
        for word in list.split(SPACES).filter(|word| !word.is_empty()) {
            if word == "-" {
                return Err(RequirementError::HyphenRange);
            }
            let (operator, version) = split_operator(word)?;
            if version.starts_with(OPERATOR) || (pending.is_some() && operator.is_some()) {
                return Err(RequirementError::TwoOperators(list.trim_matches(SPACES).to_owned()));
            }
            let operator = pending.take().or(operator);
            if version.is_empty() {
                pending = operator;
            } else {
                self.compare(operator, version)?;
            }
        }
        match pending {
            Some((operator, _)) => Err(RequirementError::NoVersion(operator)),
            None => Ok(()),
        }
    }

    fn compare(&mut self, operator: Option<Operator>, version: &str) -> Result<(), RequirementError> {
        self.count += 1;
        let any = version.strip_prefix(WILDCARDS);
        match operator {
            None if any == Some("") => Ok(()),
            _ if any.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) => {
                Err(RequirementError::WildcardFirst(version.to_owned()))
            }
            Some((_, Comparison::Not)) => {
                self.excluded.push(comparator(Op::Exact, version)?);
                Ok(())
            }
            Some((_, Comparison::Is(op))) => {
                self.wanted.comparators.push(comparator(op, version)?);
                Ok(())
            }
            None => {
                self.wanted.comparators.push(comparator(Op::Exact, version)?);
                Ok(())
            }
        }
    }

    fn matches(&self, version: &Version) -> bool {
        self.wanted.matches(version) && !self.excluded.iter().any(|excluded| covers(excluded, version))
    }
}

/// An operator as it is written, and what it asks.
type Operator = (&'static str, Comparison);

#[derive(Clone, Copy)]
enum Comparison {
    Is(Op),
    Not,
}

/// Longer ones before those that they begin with.
const OPERATORS: [Operator; 10] = [
    ("==", Comparison::Is(Op::Exact)),
    ("=", Comparison::Is(Op::Exact)),
    ("!=", Comparison::Not),
    ("!", Comparison::Not),
    (">=", Comparison::Is(Op::GreaterEq)),
    (">", Comparison::Is(Op::Greater)),
    ("<=", Comparison::Is(Op::LessEq)),
    ("<", Comparison::Is(Op::Less)),
    ("^", Comparison::Is(Op::Caret)),
    ("~", Comparison::Is(Op::Tilde)),
];

fn split_operator(word: &str) -> Result<(Option<Operator>, &str), RequirementError> {
    if word.starts_with("~>") {
        return Err(RequirementError::TildeGreater);
    }
    let found = OPERATORS
        .into_iter()
        .find_map(|operator| Some((Some(operator), word.strip_prefix(operator.0)?)));
    Ok(found.unwrap_or((None, word)))
}

fn comparator(op: Op, version: &str) -> Result<Comparator, RequirementError> {
    let mut letters = version.chars();
    if letters.next().is_some_and(|first| first == 'v' || first == 'V')
        && letters.next().is_some_and(|second| second.is_ascii_digit())
    {
        return Err(RequirementError::LeadingV(version.to_owned()));
    }
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let is_long = |number: &str| number.len() > MAX_DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    if numbers.split('.').any(is_long) {
        return Err(RequirementError::LongNumber(version.to_owned()));
    }
    // With an operator before it, as a bare version would be `^` to semver's parser.
    match Comparator::parse(&format!("={version}")) {
        Ok(comparator) => Ok(Comparator { op, ..comparator }),
        Err(source) => Err(RequirementError::Version {
            text: version.to_owned(),
            source,
        }),
    }
}

/// Whether an excluded version, or the range that an excluded part of one is, has this version in it. A range has its
/// pre-releases in it as well: who wants nothing of 1.x does not want 1.2.0-rc.1.
fn covers(excluded: &Comparator, version: &Version) -> bool {
    if excluded.patch.is_some() {
        excluded.matches(version)
    } else {
        excluded.matches(&release_of(version))
    }
}

fn release_of(version: &Version) -> Version {
    Version::new(version.major, version.minor, version.patch)
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn requirement(text: &str) -> Requirement {
        Requirement::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    #[test]
    fn a_requirement_is_refused_for_each_of_its_reasons() {
        for (text, message) in [
            ("", "the requirement is empty: write * if any version will do"),
            (" \t\n", "the requirement is empty: write * if any version will do"),
            (
                "1 || || 2",
                "an alternative is empty: write a comparator on both sides of each ||",
            ),
            (
                "1 ||",
                "an alternative is empty: write a comparator on both sides of each ||",
            ),
            (
                ">=1,,<2",
                "a comma has nothing to separate: write a comparator on both sides of it, or leave it out",
            ),
            (
                "1 || ,2",
                "a comma has nothing to separate: write a comparator on both sides of it, or leave it out",
            ),
            (">=", "the operator >= has no version behind it"),
            ("1 !=, 2", "the operator != has no version behind it"),
            (
                "=>1.0",
                r#""=>1.0" has two operators: write one out of = == != ! > >= < <= ^ ~ before each version"#,
            ),
            (
                "> =1.0",
                r#""> =1.0" has two operators: write one out of = == != ! > >= < <= ^ ~ before each version"#,
            ),
            ("~>1.2", "~> is not an operator here: write ~ instead, as in ~1.2"),
            (
                "1.0.0 - 2.0.0",
                "hyphen ranges are not accepted: instead of 1.0.0 - 2.0.0 write >=1.0.0 <=2.0.0",
            ),
            (">=v1.2.3", r#""v1.2.3" begins with a letter: write "1.2.3" instead"#),
            ("V1", r#""V1" begins with a letter: write "1" instead"#),
            (
                ">=*",
                r#""*" is a wildcard with more to it: * is any version already, so write it alone"#,
            ),
            (
                "x.2",
                r#""x.2" is a wildcard with more to it: * is any version already, so write it alone"#,
            ),
            (
                "10000000000000000000",
                r#""10000000000000000000" has a number of more than 19 digits"#,
            ),
            (
                "1.2.3.4",
                r#""1.2.3.4" is not a version: write one such as 1.2.3 or 1.2.3-rc.1, or a part of one such as 1.2 or 1.x"#,
            ),
        ] {
            assert_eq!(Requirement::parse(text).unwrap_err().to_string(), message, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused_with_its_cause() {
        for text in [
            "latest",
            "01",
            "1.02",
            "1.2.3-01",
            "1.2.3-",
            "1.2.3+",
            "1.2-rc.1",
            "1.2+5",
            "1.x.3",
            "1.*-rc.1",
            "1..2",
            "1.",
            "1.2.3-a..b",
            ">=1.0<2.0",
            "1|2",
            "1\u{a0}2",
            "1\u{b}2",
            "é",
            "x86",
            "^v",
            "1;2",
            "-1",
            "1 -2",
        ] {
            let error = Requirement::parse(text).unwrap_err();
            assert!(matches!(error, RequirementError::Version { .. }), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_requirement_may_be_as_long_as_its_bounds_and_no_longer() {
        let long = format!("1.2.3-{}", "a".repeat(250));
        assert!(Requirement::parse(&long).is_ok());
        assert!(matches!(
            Requirement::parse(&format!("{long}a")),
            Err(RequirementError::TooLong(257))
        ));
        assert!(Requirement::parse(&vec!["1"; 85].join("||")).is_ok());
        assert!(Requirement::parse(&vec!["1"; 128].join(" ")).is_ok());
        assert!(requirement("9999999999999999999").matches(&version("9999999999999999999.0.0")));
    }

    #[test]
    fn a_requirement_is_shown_as_it_was_written() {
        for text in [" >= 1.0 ,\t<2 ||  3.x ", "^1", "*"] {
            assert_eq!(requirement(text).to_string(), text);
        }
    }

    #[test]
    fn a_bare_version_is_exactly_that_one_and_a_bare_part_all_below_it() {
        assert!(requirement("1.2.3").matches(&version("1.2.3")));
        assert!(!requirement("1.2.3").matches(&version("1.2.4")));
        assert!(requirement("1.2").matches(&version("1.2.9")));
        assert!(!requirement("1.2").matches(&version("1.3.0")));
        assert!(requirement("1").matches(&version("1.9.9")));
        assert!(!requirement("1").matches(&version("2.0.0")));
    }

    #[test]
    fn a_pre_release_matches_only_where_one_of_its_version_is_asked_for() {
        for (text, pre_release, matches) in [
            ("*", "1.0.0-rc.1", false),
            (">=1.0.0-rc.1", "1.0.0-rc.2", true),
            (">=1.0.0-rc.1", "1.0.1-rc.2", false),
            (">=1.0.0-rc.1 || *", "1.0.1-rc.2", false),
            (">=0.1 || >=1.0.0-rc.1", "1.0.0-rc.2", true),
            ("* >=1.0.0-rc.1", "1.0.0-rc.2", true),
            (">=1.0.0-rc.1 !=1.0.0-rc.2", "1.0.0-rc.2", false),
            (">=1.0.0-rc.1 !=1.0.0-rc.2", "1.0.0-rc.3", true),
            (">=1.0.0-rc.1 !=1.0.0", "1.0.0-rc.3", true),
            ("!=1.0.0-rc.1", "1.0.0-rc.2", false),
            (">=1.0.0-rc.1 !=1.x", "1.0.0-rc.2", false),
        ] {
            assert_eq!(
                requirement(text).matches(&version(pre_release)),
                matches,
                "{text:?} {pre_release}"
            );
        }
    }

    #[test]
    fn build_metadata_is_not_compared() {
        assert!(requirement("1.2.3+a").matches(&version("1.2.3+b")));
        assert!(requirement("1.2.3").matches(&version("1.2.3+b")));
        assert!(!requirement("!=1.2.3+a").matches(&version("1.2.3+b")));
    }

    #[test]
    fn a_part_that_is_excluded_is_excluded_whole() {
        assert!(!requirement("!=1.x").matches(&version("1.9.0")));
        assert!(requirement("!=1.x").matches(&version("2.0.0")));
        assert!(!requirement(">=1, != 1.2").matches(&version("1.2.7")));
        assert!(requirement(">=1 !1.2.0").matches(&version("1.2.1")));
    }

    #[test]
    fn of_a_host_only_the_three_numbers_count() {
        for host in ["1.30.0-eks-a1b2", "1.30.0-gke.100", "1.30.0+k3s1", "1.30.0"] {
            assert!(requirement(">=1.30").matches_host(&version(host)), "{host}");
            assert!(requirement("1.30.0").matches_host(&version(host)), "{host}");
            assert!(!requirement(">=1.30.1").matches_host(&version(host)), "{host}");
        }
    }
}
