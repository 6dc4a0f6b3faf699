//! Rights in words: what a plugin's object allows, and what a change of it changes.
//!
//! First a grant is spelled out into single rights, the unit that RBAC decides about, so that two grants compare as sets,
//! however each of them is written. Then what there is to tell is grouped into few sentences, which together say these
//! rights, no more and no less.

mod cover;
#[cfg(test)]
mod fixtures;
mod grant;
mod note;
mod open;
#[cfg(test)]
mod properties;
mod rule;
#[cfg(test)]
mod tests;
mod trust;
mod words;

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

pub use self::grant::grants;
use self::rule::Rule;
use crate::plugin::{KitePluginSpec, Verb};

/// Most rights that are spelled out. An object that the CRD admits may spell out to 67 million, and who writes one is not
/// trusted with the memory of those who read it. Grants beyond this are told permission by permission.
pub const MAX_RIGHTS: u64 = 4096;

/// One right: the unit that RBAC decides about.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Right {
    /// `*` is every group.
    pub group: String,
    /// `*` is every resource.
    pub resource: String,
    pub verb: Verb,
    pub place: Place,
    /// The name of the only object. Absent: all.
    pub name: Option<String>,
}

/// Where a right holds.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// Every namespace, and what has none.
    Cluster,
    Namespace(String),
}

/// What may be done, and nothing of what it opens: "list pods in namespace shop".
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb.as_str(), words::kind(&self.group, &self.resource))?;
        if let Some(name) = &self.name {
            write!(f, " \"{}\"", words::plain(name))?;
        }
        match &self.place {
            Place::Cluster => f.write_str(" in the whole cluster"),
            Place::Namespace(name) => write!(f, " in namespace {}", words::plain(name)),
        }
    }
}

/// A sentence about some rights.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Statement {
    /// What may be done, as in "get and list pods in namespace shop": printable, one line, 900 bytes at most.
    pub text: String,
    /// What these rights open beside themselves, if they are dangerous.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dangerous: Option<String>,
}

/// What an object allows. Dangerous rights come first.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Summary {
    /// Whether the plugin runs. If not, nothing of the rest holds until it does.
    pub enabled: bool,
    /// What the plugin may do in the cluster.
    pub rights: Vec<Statement>,
    /// What is entrusted to it beside rights: viewers' browser sessions, requests to plugins.
    pub trust: Vec<String>,
    /// What of it lends its rights to callers who need not hold them.
    pub open: Vec<String>,
}

/// What differs between two objects. What was covered before is not added, and what is still covered is not removed.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Changes {
    pub added: Vec<Statement>,
    pub removed: Vec<Statement>,
    /// What is entrusted to the plugin beside rights, and no longer is.
    pub trust: Vec<String>,
    /// What of it newly lends its rights to callers who need not hold them.
    pub open: Vec<String>,
}

impl Right {
    /// Whether whoever holds this right holds the other too.
    pub fn covers(&self, other: &Self) -> bool {
        let is_within = |wide: &str, narrow: &str| wide == "*" || wide == narrow;
        is_within(&self.group, &other.group)
            && is_within(&self.resource, &other.resource)
            && (self.verb == Verb::All || self.verb == other.verb)
            && (self.place == Place::Cluster || self.place == other.place)
            && (self.name.is_none() || self.name == other.name)
    }
}

impl Summary {
    /// All of it as one line of at most `max_bytes`, dangerous rights first. What does not fit is counted.
    pub fn note(&self, max_bytes: usize) -> String {
        let lead = if self.enabled {
            ""
        } else {
            "disabled, and until it is enabled nothing of this holds: "
        };
        let (dangerous, harmless) = told("may", &self.rights);
        note::fit(lead, &[&dangerous, &self.trust, &harmless, &self.open], max_bytes)
            .unwrap_or_else(|| note::cut(String::from("no rights"), max_bytes))
    }
}

impl Changes {
    /// Whether neither rights nor trust change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All of it as one line of at most `max_bytes`: what is dangerous first, what is removed last. What does not fit is
    /// counted.
    pub fn note(&self, max_bytes: usize) -> String {
        let (dangerous, harmless) = told("may now", &self.added);
        let removed: Vec<String> = self
            .removed
            .iter()
            .map(|statement| format!("may no longer {}", statement.text))
            .collect();
        let parts: [&[String]; 5] = [&dangerous, &self.trust, &harmless, &self.open, &removed];
        note::fit("", &parts, max_bytes).unwrap_or_else(|| note::cut(String::from("no change of rights"), max_bytes))
    }
}

/// The dangerous and the harmless of `statements`, as parts of a note.
fn told(begin: &str, statements: &[Statement]) -> (Vec<String>, Vec<String>) {
    let (mut dangerous, mut harmless) = (Vec::new(), Vec::new());
    for Statement { text, dangerous: opens } in statements {
        match opens {
            Some(opens) => dangerous.push(format!("{begin} {text} (dangerous: opens {opens})")),
            None => harmless.push(format!("{begin} {text}")),
        }
    }
    (dangerous, harmless)
}

/// How many rights the grant spells out to at most: rights that several of its permissions give are counted for each.
pub fn count(spec: &KitePluginSpec) -> u64 {
    rule::total(&rule::of(spec, ""))
}

/// Every right of permissions and calls, whether or not the plugin is enabled, or nothing where [`count`] says that they
/// are more than [`MAX_RIGHTS`].
pub fn rights(spec: &KitePluginSpec, plugins_namespace: &str) -> Option<BTreeSet<Right>> {
    rule::spelled_out(&rule::of(spec, plugins_namespace))
}

/// Few sentences that together say these rights. Those that others of them cover are not told again.
pub fn sentences(rights: &BTreeSet<Right>) -> Vec<Statement> {
    statements(rule::grouped(rights))
}

/// What the object allows, or would if it were enabled.
pub fn summary(spec: &KitePluginSpec, plugins_namespace: &str) -> Summary {
    let rules = rule::of(spec, plugins_namespace);
    let rights = match rule::spelled_out(&rules) {
        Some(rights) => sentences(&rights),
        None => statements(rule::in_whole(rules)),
    };
    Summary {
        enabled: spec.is_enabled(),
        rights,
        trust: trust::all(spec),
        open: open::all(spec),
    }
}

/// What differs between an object (or none) and its successor. A plugin that is disabled has no rights while it is, and
/// nobody is at its mercy.
pub fn changes(old: Option<&KitePluginSpec>, new: &KitePluginSpec, plugins_namespace: &str) -> Changes {
    let nothing = KitePluginSpec::default();
    let old = old.filter(|spec| spec.is_enabled()).unwrap_or(&nothing);
    let new = if new.is_enabled() { new } else { &nothing };
    let old_rules = rule::of(old, plugins_namespace);
    let new_rules = rule::of(new, plugins_namespace);
    let (added, removed) = match (rule::spelled_out(&old_rules), rule::spelled_out(&new_rules)) {
        (Some(old), Some(new)) => (added_rights(&old, &new), added_rights(&new, &old)),
        // One of them is too large, so both are compared as they are written.
        _ => (added_rules(&old_rules, &new_rules), added_rules(&new_rules, &old_rules)),
    };
    Changes {
        added,
        removed,
        trust: trust::changed(old, new),
        open: open::opened(old, new),
    }
}

fn added_rights(old: &BTreeSet<Right>, new: &BTreeSet<Right>) -> Vec<Statement> {
    sentences(&cover::beyond(old, new))
}

fn added_rules(old: &[Rule<'_>], new: &[Rule<'_>]) -> Vec<Statement> {
    let is_added = |rule: &&Rule<'_>| !old.iter().any(|old| old.covers(rule));
    statements(rule::in_whole(new.iter().filter(is_added).cloned().collect()))
}

fn statements(mut rules: Vec<Rule<'_>>) -> Vec<Statement> {
    let is_behind = |rule: &Rule<'_>| (rule.opens.is_empty(), rule.is_call);
    rules.sort_by(|a, b| is_behind(a).cmp(&is_behind(b)).then_with(|| a.cmp(b)));
    rules.iter().map(statement).collect()
}

fn statement(rule: &Rule<'_>) -> Statement {
    let opens: Vec<&str> = rule.opens.iter().copied().collect();
    Statement {
        text: words::sentence(rule),
        dangerous: (!opens.is_empty()).then(|| opens.join("; ")),
    }
}
