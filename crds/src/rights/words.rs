//! Words: rules and their parts in plain English, printable and bounded whatever an object has in it.

use super::rule::{Kinds, Rule};
use crate::{dangerous::DANGEROUS, plugin::Verb};

/// Most bytes of one name in a sentence.
const ITEM: usize = 100;
/// Most bytes of a list in a sentence, without the number of the others behind it.
const LIST: usize = 200;

/// What the rule allows, as in "get and list pods in namespace shop".
pub(super) fn sentence(rule: &Rule<'_>) -> String {
    let own_names = || rule.names.iter().copied().flatten();
    if rule.is_call {
        let noun = noun("plugin", rule.names.len());
        let names = list(own_names().map(plain), rule.names.len() as u64);
        return format!("call the {noun} {names} through the gateway, as itself");
    }
    let total = rule.kinds.iter().map(Kinds::count).fold(0, u64::saturating_add);
    let pairs = rule.kinds.iter().flat_map(Kinds::pairs);
    let kinds = list(pairs.map(|(group, resource)| kind(group, resource)), total);
    let names = if rule.names.contains(&None) {
        String::new()
    } else {
        // One kind takes its names beside it; of several, or of all, it is said that these are names.
        let is_one = total == 1 && !kinds.contains(' ');
        let begin = if is_one { " " } else { " named " };
        let quoted = own_names().map(|name| format!("\"{}\"", plain(name)));
        format!("{begin}{}", list(quoted, rule.names.len() as u64))
    };
    format!("{} {kinds}{names} {}{}", verbs(rule), places(rule), reach(rule))
}

fn verbs(rule: &Rule<'_>) -> String {
    if rule.verbs.contains(&Verb::All) {
        return String::from("do everything with");
    }
    list(
        rule.verbs.iter().map(|verb| verb.as_str().to_owned()),
        rule.verbs.len() as u64,
    )
}

fn places(rule: &Rule<'_>) -> String {
    if rule.places.contains(&None) {
        return String::from("in the whole cluster");
    }
    let names = rule.places.iter().copied().flatten().map(plain);
    let noun = noun("namespace", rule.places.len());
    format!("in {noun} {}", list(names, rule.places.len() as u64))
}

/// What the whole cluster means for Kite itself: it reaches the namespace with Kite's keys, and whoever can enter the pods
/// that hold them, act as them or start others can read them.
fn reach(rule: &Rule<'_>) -> &'static str {
    if !rule.places.contains(&None) {
        return "";
    }
    let has = |group: &str, resources: &[&str]| {
        rule.kinds.iter().any(|kinds| {
            let has_group = kinds.groups.contains("*") || kinds.groups.contains(group);
            let has_resource = |resource: &&str| kinds.resources.contains(resource);
            has_group && (kinds.resources.contains("*") || resources.iter().any(has_resource))
        })
    };
    let leads_to_keys = DANGEROUS.iter().any(|entry| {
        // The groups of Secrets and of whatever makes pods.
        matches!(entry.group, "" | "apps" | "batch")
            && has(entry.group, entry.resources)
            && (!entry.writes_only || rule.verbs.iter().any(|verb| verb.is_write()))
    });
    if !leads_to_keys {
        ""
    } else if !rule.names.contains(&None) {
        ", in Kite's own namespaces too"
    } else if has("", &["secrets"]) {
        ", Kite's own keys included"
    } else {
        ", with Kite's own keys in reach"
    }
}

/// A kind of object as kubectl writes it: `pods/log`, `deployments.apps/scale`.
pub(super) fn kind(group: &str, resource: &str) -> String {
    let words = match (group, resource) {
        ("*", "*") => String::from("every resource of every group"),
        ("", "*") => String::from("every resource of the core group"),
        (group, "*") => format!("every resource of the group {}", plain(group)),
        ("*", resource) => format!("{} of every group", plain(resource)),
        ("", resource) => plain(resource),
        (group, resource) => match resource.split_once('/') {
            Some((resource, sub)) => format!("{}.{}/{}", plain(resource), plain(group), plain(sub)),
            None => format!("{}.{}", plain(resource), plain(group)),
        },
    };
    bounded(words)
}

/// A text of an object's: what no name, path or origin has in it (blanks, commas, quotes, whatever is not ASCII) would
/// only serve to write sentences of one's own.
pub(super) fn plain(text: &str) -> String {
    if text.is_empty() {
        return String::from("?");
    }
    let is_harmless = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | ',' | ';');
    let one_more = text.chars().take(ITEM + 1);
    bounded(one_more.map(|c| if is_harmless(&c) { c } else { '?' }).collect())
}

fn bounded(mut words: String) -> String {
    if words.len() > ITEM {
        words.truncate(words.floor_char_boundary(ITEM - '…'.len_utf8()));
        words.push('…');
    }
    words
}

/// `a, b and c`; of a long list its beginning, and how many of the `total` are left out.
pub(super) fn list(items: impl Iterator<Item = String>, total: u64) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut length = 0;
    for item in items {
        length += item.len() + ", ".len();
        if length > LIST && !shown.is_empty() {
            break;
        }
        shown.push(item);
    }
    let left = total.saturating_sub(shown.len() as u64);
    if left > 0 {
        return format!("{} and {left} more", shown.join(", "));
    }
    match shown.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The noun in the singular or the plural.
pub(super) fn noun(noun: &str, count: usize) -> String {
    format!("{noun}{}", if count == 1 { "" } else { "s" })
}
