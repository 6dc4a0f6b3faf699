//! What [Prometheus](https://prometheus.io/docs/practices/naming/) asks of the names on a page. The operator's tests judge by it as well.

use std::collections::{BTreeMap, BTreeSet};

/// Units that are none of the base units, and what the format itself puts at the end of a name.
const MISPLACED: [&str; 13] = [
    "ms",
    "milliseconds",
    "microseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "mb",
    "percent",
    "total",
    "count",
    "sum",
    "bucket",
];

/// The lines of the page that are not as they should be, where families begin with one of `prefixes`.
pub(super) fn odd<'a>(page: &'a str, prefixes: &[&str]) -> Vec<&'a str> {
    let mut helps = BTreeSet::new();
    let mut kinds = BTreeMap::new();
    let mut samples = BTreeSet::new();
    let mut last = "";
    let mut odd = Vec::new();
    for line in page.lines().filter(|line| *line != "# EOF") {
        let is_well = if let Some((family, help)) = described(line, "# HELP ") {
            helps.insert(family) && !help.is_empty()
        } else if let Some((family, kind)) = described(line, "# TYPE ") {
            last = family;
            // One family in two places is none.
            kinds.insert(family, kind).is_none() && helps.contains(family) && is_named(family, kind, prefixes)
        } else {
            let (sample, _) = line.rsplit_once(' ').unwrap_or_default();
            let kind = kinds.get(last).copied().unwrap_or_default();
            samples.insert(sample) && is_of(sample, last, kind)
        };
        if !is_well {
            odd.push(line);
        }
    }
    odd
}

/// The family that the line says `what` of, and what it says.
pub(super) fn described<'a>(line: &'a str, what: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix(what)?.split_once(' ')
}

/// Whether a family may be called so: in small letters, with the program in front, and a base unit and no other at the end, where there is one.
fn is_named(family: &str, kind: &str, prefixes: &[&str]) -> bool {
    let own = prefixes.iter().find_map(|prefix| family.strip_prefix(prefix));
    let words: Vec<&str> = own.unwrap_or_default().split('_').collect();
    let units = words.iter().filter(|word| is_unit(word)).count();
    let ends_in_unit = words.last().is_some_and(|word| is_unit(word));
    let has_unit = kind == "histogram"
        || words
            .iter()
            .any(|word| ["age", "duration", "memory", "timestamp"].contains(word));
    words.iter().all(|word| is_word(word) && !MISPLACED.contains(word))
        && units == usize::from(ends_in_unit)
        && (ends_in_unit || !has_unit)
}

fn is_unit(word: &str) -> bool {
    matches!(word, "seconds" | "bytes")
}

fn is_word(word: &str) -> bool {
    let is_small = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    word.starts_with(|first: char| first.is_ascii_lowercase()) && word.chars().all(is_small)
}

/// Whether the sample is one of that family, and its labels may be called so.
fn is_of(sample: &str, family: &str, kind: &str) -> bool {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
    let ends: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        "gauge" => &[""],
        _ => &[],
    };
    let mut labels = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|label| !label.is_empty());
    let is_label = |label: &str| {
        label
            .split_once('=')
            .is_some_and(|(name, _)| name.split('_').all(is_word))
    };
    name.strip_prefix(family).is_some_and(|end| ends.contains(&end)) && labels.all(is_label)
}

#[test]
fn whatever_is_not_as_it_should_be_is_found() {
    const OWN: [&str; 1] = ["kite_program_"];
    let good = "# HELP kite_program_a_seconds A.\n# TYPE kite_program_a_seconds counter\nkite_program_a_seconds_total{b=\"c\"} 1\n# EOF\n";
    assert_eq!(odd(good, &OWN), [""; 0]);
    let again = good.replace("# EOF", "kite_program_a_seconds_total{b=\"c\"} 2");
    for page in [
        again,
        good.replace("kite_program", "other"),
        good.replace("# HELP kite_program_a_seconds A.\n", ""),
        good.replace(" A.", " "),
        good.replace("_seconds", "_milliseconds"),
        good.replace("_a_seconds", "_seconds_a"),
        good.replace("_a_", "_A_"),
        good.replace("_seconds", "_duration"),
        good.replace("_seconds_total", "_seconds"),
        good.replace("counter", "gauge"),
        good.replace("b=", "bC="),
    ] {
        assert_eq!(odd(&page, &OWN).len(), 1, "{page}");
    }
    assert_eq!(odd(&good.repeat(2), &OWN).len(), 3, "no family is there twice");
}
