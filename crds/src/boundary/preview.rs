//! What the policies would ask about whoever makes a change, in their very semantics, to be answered before the change is made.
//!
//! What the API server refuses to everybody (the schema, what no grant may name, settings that are too deep) is not asked here.

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;
mod question;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, fmt};

use serde::Deserialize;
use serde_json::Value;

pub use self::question::Question;
use super::{
    CODE, ESCALATE, MOST_ADDED, MOST_CHARACTERS, MOST_RIGHTS, MOST_SECRETS, Places, Refused, TRUST, accepted, cel,
};
use crate::{
    plugin::{
        KitePluginSpec, Permission, Verb,
        permission::{CALL_GROUP, CALL_RESOURCE},
    },
    rights::{Place, Right},
};

/// Whom else to turn to.
pub(super) const ADVICE: &str = "or ask somebody who may \"escalate\" kiteplugins";

/// A change of a plugin's object.
///
/// The specs are as they are written, since the policies tell an empty list from one that is absent.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The plugin's name.
    pub name: &'a str,
    /// The namespaces of plugins and system.
    pub places: Places<'a>,
    /// The spec that is there. Absent: none is, or it cannot be seen, and all is new.
    pub old: Option<&'a Value>,
    /// The spec that takes its place.
    pub new: &'a Value,
}

/// What is asked about whoever may not `escalate` the plugin.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// Whether code changes, so that every right of the object counts as added.
    pub code_is_new: bool,
    /// Why the change is refused whatever the answers are.
    pub excesses: Vec<Excess>,
    /// Permissions that are refused to everybody, also to who may `escalate`.
    pub refused: Vec<Refused>,
    /// What the user must be allowed, each once, in the order in which the policies ask.
    pub needs: Vec<Need>,
}

/// What the user must be allowed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Need {
    /// A right that the change grants.
    Right(Right),
    /// To get this Secret in the plugins' namespace, which the object names.
    Secret(String),
    /// To trust the plugin, since the object brings pages or middleware.
    Trust,
}

/// More than the policies can check. The texts are those of their refusals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Excess {
    /// More rights in all than [`MOST_RIGHTS`].
    Rights,
    /// More characters of rights than [`MOST_CHARACTERS`].
    Characters,
    /// So many rights are added, more than [`MOST_ADDED`].
    Added(usize),
    /// More Secrets are named than [`MOST_SECRETS`].
    Secrets,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rights => write!(
                f,
                "spec.permissions and spec.calls grant more than {MOST_RIGHTS} rights in all (group x resource x verb x namespace x \
                 name): grant fewer, use wildcards that you hold, {ADVICE}"
            ),
            Self::Characters => write!(
                f,
                "the rights of spec.permissions and spec.calls have more than {MOST_CHARACTERS} characters when they are spelled out: \
                 grant fewer, {ADVICE}"
            ),
            Self::Added(count) => write!(
                f,
                "this change adds {count} rights, and {MOST_ADDED} can be checked at once: add them in several changes, {ADVICE}"
            ),
            Self::Secrets => write!(
                f,
                "the object names more than {MOST_SECRETS} Secrets: put keys together, {ADVICE}"
            ),
        }
    }
}

/// Whether the user may change the plugin's object at all, by server-side apply: `patch`, and `create` where it is not there.
pub fn access(name: &str) -> [Question; 2] {
    ["patch", "create"].map(|verb| Question::of_plugin(verb, name))
}

/// Whether the user is asked nothing.
pub fn escalate(name: &str) -> Question {
    Question::of_plugin(ESCALATE, name)
}

impl Change<'_> {
    /// What the policies ask. Fails where the new spec is none.
    pub fn asked(&self) -> Result<Asked, serde_json::Error> {
        let new = KitePluginSpec::deserialize(self.new)?;
        let code_is_new = self.code_is_new();
        let mut asked = Asked {
            code_is_new,
            ..Asked::default()
        };
        if self.differs("permissions") {
            asked.refused = accepted(&new, self.places).1;
        }
        if code_is_new || ["permissions", "calls"].iter().any(|field| self.differs(field)) {
            let (excess, added) = self.added(&new);
            asked.excesses.extend(excess);
            asked.needs.extend(added.into_iter().map(Need::Right));
        }
        if code_is_new {
            let secrets = secrets(&new);
            if secrets.len() > MOST_SECRETS {
                asked.excesses.push(Excess::Secrets);
            }
            let secrets = secrets.into_iter().map(|name| Need::Secret(name.to_owned()));
            asked.needs.extend(secrets);
            if new.frontend.is_some() || new.middleware.is_some() {
                asked.needs.push(Need::Trust);
            }
        }
        let mut seen = HashSet::new();
        asked.needs.retain(|need| seen.insert(need.clone()));
        Ok(asked)
    }

    /// The question whether the user has what is needed.
    pub fn question(&self, need: &Need) -> Question {
        match need {
            Need::Right(right) => Question::of_right(right),
            Need::Secret(name) => Question::of_secret(name, self.places.plugins),
            Need::Trust => Question::of_plugin(TRUST, self.name),
        }
    }

    /// As [`cel::code_is_new`].
    fn code_is_new(&self) -> bool {
        let is_enabled = |spec: &Value| spec.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        self.old.is_none_or(|old| {
            CODE.iter().any(|field| self.differs(field)) || (is_enabled(self.new) && !is_enabled(old))
        })
    }

    fn differs(&self, field: &str) -> bool {
        let of = |spec: &'_ Value| spec.get(field).filter(|value| !value.is_null()).cloned();
        self.old.and_then(of) != of(self.new)
    }

    /// The rights that count as added, or why they are not asked.
    fn added(&self, new: &KitePluginSpec) -> (Option<Excess>, Vec<Right>) {
        let grant = Grant {
            permissions: new.permissions.clone(),
            calls: new.calls.clone(),
        };
        if let Some(excess) = grant.excess(self.places.plugins) {
            return (Some(excess), Vec::new());
        }
        let mut rights = grant.spelled_out(self.places.plugins);
        if !self.code_is_new() {
            let old: HashSet<Right> = self.granted_before().into_iter().collect();
            rights.retain(|right| !old.contains(right));
        }
        if rights.len() > MOST_ADDED {
            return (Some(Excess::Added(rights.len())), Vec::new());
        }
        (None, rights)
    }

    /// The rights of the object that is there, as far as the policies read them.
    fn granted_before(&self) -> Vec<Right> {
        // One that is older than the schema may have verbs or forms that are not known: then nothing of it counts.
        let grant = self
            .old
            .and_then(|old| Grant::deserialize(old).ok())
            .unwrap_or_default();
        if grant.is_ambiguous() || grant.excess(self.places.plugins).is_some() {
            return Vec::new();
        }
        grant.spelled_out(self.places.plugins)
    }
}

/// The part of a spec that gives rights.
#[derive(Default, Deserialize)]
struct Grant {
    #[serde(default)]
    permissions: Vec<Permission>,
    #[serde(default)]
    calls: Vec<String>,
}

impl Grant {
    /// As [`cel::count`] and [`cel::characters`]: by the sizes of the lists, whatever stands in them twice.
    fn excess(&self, plugins: &str) -> Option<Excess> {
        let (mut count, mut characters) = (0_usize, 0_usize);
        for permission in &self.permissions {
            let lists = lists(permission, plugins);
            let rights = lists.iter().map(Vec::len).fold(1, usize::saturating_mul);
            let longest = |list: &Vec<&str>| list.iter().map(|text| text.chars().count()).max().unwrap_or_default();
            let length: usize = lists.len() + lists.iter().map(longest).sum::<usize>();
            count = count.saturating_add(rights);
            characters = characters.saturating_add(rights.saturating_mul(length));
        }
        let calls = self.calls.len() * Verb::CALLS.len();
        count = count.saturating_add(calls);
        characters = characters.saturating_add(calls * cel::CALL_CHARACTERS);
        if count > MOST_RIGHTS {
            return Some(Excess::Rights);
        }
        (characters > MOST_CHARACTERS).then_some(Excess::Characters)
    }

    /// As [`cel::rights`], in that order. Only where they are known to be few enough.
    fn spelled_out(&self, plugins: &str) -> Vec<Right> {
        let mut rights = Vec::new();
        for permission in &self.permissions {
            let [groups, resources, _, namespaces, names] = lists(permission, plugins);
            for group in &groups {
                for resource in &resources {
                    for verb in &permission.verbs {
                        for namespace in &namespaces {
                            let right = |name: &&str| Right {
                                group: (*group).to_owned(),
                                resource: (*resource).to_owned(),
                                verb: *verb,
                                place: place(namespace),
                                name: (!name.is_empty()).then(|| (*name).to_owned()),
                            };
                            rights.extend(names.iter().map(right));
                        }
                    }
                }
            }
        }
        let of_call = |plugin: &String| {
            let plugin = plugin.clone();
            Verb::CALLS.map(move |verb| Right {
                group: String::from(CALL_GROUP),
                resource: String::from(CALL_RESOURCE),
                verb,
                place: Place::Cluster,
                name: Some(plugin.clone()),
            })
        };
        rights.extend(self.calls.iter().flat_map(of_call));
        rights
    }

    /// As [`cel::is_ambiguous`].
    fn is_ambiguous(&self) -> bool {
        self.permissions.iter().any(|permission| {
            let texts = lists(permission, "").into_iter().flatten();
            texts.into_iter().any(|text| text.contains([cel::BETWEEN, cel::WITHIN]))
        })
    }
}

/// Groups, resources, verbs, namespaces and names of a permission; without names there is one that is empty.
fn lists<'a>(permission: &'a Permission, plugins: &'a str) -> [Vec<&'a str>; 5] {
    let texts = |list: &'a [String]| list.iter().map(String::as_str).collect();
    [
        texts(&permission.api_groups),
        texts(&permission.resources),
        permission.verbs.iter().map(|verb| verb.as_str()).collect(),
        permission.namespaces.as_deref().map_or_else(|| vec![plugins], texts),
        permission.resource_names.as_deref().map_or_else(|| vec![""], texts),
    ]
}

fn place(namespace: &str) -> Place {
    if namespace == "*" {
        Place::Cluster
    } else {
        Place::Namespace(namespace.to_owned())
    }
}

/// The Secrets that the object names, as often as it does.
fn secrets(spec: &KitePluginSpec) -> Vec<&str> {
    let settings = spec.settings_secret_ref.iter();
    let pull = spec.image_pull_secrets.iter();
    let variables = spec.env.iter().filter_map(|variable| {
        let source = variable.value_from.as_ref()?;
        Some(source.secret_key_ref.as_ref()?.name.as_str())
    });
    settings
        .chain(pull)
        .map(|reference| reference.name.as_str())
        .chain(variables)
        .collect()
}
