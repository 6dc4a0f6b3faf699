//! Rules: rights as products of lists, as permissions are written and sentences are made.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use super::{MAX_RIGHTS, Place, Right, cover::Index};
use crate::{
    dangerous::{self, DANGEROUS},
    plugin::{
        KitePluginSpec, Permission, Verb,
        permission::{CALL_GROUP, CALL_RESOURCE},
    },
};

/// Every right of each kind, place and name with each verb.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rule<'a> {
    /// What its dangerous rights open. Of a rule that was grouped, all rights open the same.
    pub(super) opens: BTreeSet<&'static str>,
    /// Whether it is the right to call plugins.
    pub(super) is_call: bool,
    pub(super) kinds: BTreeSet<Kinds<'a>>,
    /// `None`: all objects.
    pub(super) names: BTreeSet<Option<&'a str>>,
    /// `None`: the whole cluster.
    pub(super) places: BTreeSet<Option<&'a str>>,
    pub(super) verbs: BTreeSet<Verb>,
}

/// Every resource in every group, which are kept apart so that a permission need not be multiplied out.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Kinds<'a> {
    pub(super) groups: BTreeSet<&'a str>,
    pub(super) resources: BTreeSet<&'a str>,
}

/// The rules that an object's grant has.
pub(super) fn of<'a>(spec: &'a KitePluginSpec, plugins_namespace: &'a str) -> Vec<Rule<'a>> {
    let permissions = spec
        .permissions
        .iter()
        .map(|permission| Rule::of_permission(permission, plugins_namespace));
    let calls = spec.calls.iter().map(|plugin| Rule::of_call(plugin));
    permissions.chain(calls).filter(|rule| rule.count() > 0).collect()
}

/// How many rights the rules spell out to, if none is in two of them.
pub(super) fn total(rules: &[Rule<'_>]) -> u64 {
    rules.iter().map(Rule::count).fold(0, u64::saturating_add)
}

/// All rights of the rules, unless they are more than [`MAX_RIGHTS`].
pub(super) fn spelled_out(rules: &[Rule<'_>]) -> Option<BTreeSet<Right>> {
    (total(rules) <= MAX_RIGHTS).then(|| rules.iter().flat_map(Rule::rights).collect())
}

/// Few rules that give exactly `rights`. Rights that others of them cover are not told again.
pub(super) fn grouped(rights: &BTreeSet<Right>) -> Vec<Rule<'_>> {
    let called = called(rights);
    let index = Index::of(rights);
    let single = rights
        .iter()
        .filter(|right| !is_call(right, &called) && !index.covers_by_another(right))
        .map(Rule::of_right);
    // Each step joins rules that differ in one part only, so that none claims more than its parts did.
    let rules = joined(single, |rule| &mut rule.verbs);
    let rules = joined(rules, |rule| &mut rule.names);
    let rules = joined(rules, |rule| &mut rule.places);
    let rules = joined(rules, |rule| &mut rule.kinds);
    in_whole(rules.into_iter().chain(called.into_iter().map(Rule::of_call)).collect())
}

/// The rules as they are, and one for all calls.
pub(super) fn in_whole(rules: Vec<Rule<'_>>) -> Vec<Rule<'_>> {
    let (calls, rules): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.is_call);
    rules.into_iter().chain(joined(calls, |rule| &mut rule.names)).collect()
}

/// The plugins that may be called, which needs every one of the call's rights.
fn called(rights: &BTreeSet<Right>) -> BTreeSet<&str> {
    let mut verbs: BTreeMap<&str, usize> = BTreeMap::new();
    for right in rights.iter().filter(|right| is_of_a_call(right)) {
        if let Some(name) = &right.name {
            *verbs.entry(name).or_default() += 1;
        }
    }
    verbs.retain(|_, verbs| *verbs == Verb::CALLS.len());
    verbs.into_keys().collect()
}

fn is_call(right: &Right, called: &BTreeSet<&str>) -> bool {
    is_of_a_call(right) && right.name.as_deref().is_some_and(|name| called.contains(name))
}

fn is_of_a_call(right: &Right) -> bool {
    right.group == CALL_GROUP
        && right.resource == CALL_RESOURCE
        && right.place == Place::Cluster
        && Verb::CALLS.contains(&right.verb)
}

/// Joins the rules that are the same but for `part`.
fn joined<'a, T: Ord>(
    rules: impl IntoIterator<Item = Rule<'a>>,
    part: for<'r> fn(&'r mut Rule<'a>) -> &'r mut BTreeSet<T>,
) -> Vec<Rule<'a>> {
    let mut by_rest: BTreeMap<Rule<'a>, BTreeSet<T>> = BTreeMap::new();
    for mut rule in rules {
        let values = mem::take(part(&mut rule));
        by_rest.entry(rule).or_default().extend(values);
    }
    let with_part = |(mut rule, values)| {
        *part(&mut rule) = values;
        rule
    };
    by_rest.into_iter().map(with_part).collect()
}

impl<'a> Rule<'a> {
    fn of_permission(permission: &'a Permission, plugins_namespace: &'a str) -> Self {
        let kinds = Kinds {
            groups: permission.api_groups.iter().map(String::as_str).collect(),
            resources: permission.resources.iter().map(String::as_str).collect(),
        };
        let verbs: BTreeSet<Verb> = permission.verbs.iter().copied().collect();
        let names = match &permission.resource_names {
            None => BTreeSet::from([None]),
            Some(names) => names.iter().map(|name| Some(name.as_str())).collect(),
        };
        let places = match &permission.namespaces {
            None => BTreeSet::from([Some(plugins_namespace)]),
            Some(namespaces) => namespaces
                .iter()
                .map(|name| (name != "*").then_some(name.as_str()))
                .collect(),
        };
        Self {
            opens: kinds.opens(&verbs),
            is_call: false,
            kinds: BTreeSet::from([kinds]),
            names,
            places,
            verbs,
        }
    }

    fn of_call(plugin: &'a str) -> Self {
        Self {
            opens: BTreeSet::new(),
            is_call: true,
            kinds: BTreeSet::from([Kinds::one(CALL_GROUP, CALL_RESOURCE)]),
            names: BTreeSet::from([Some(plugin)]),
            places: BTreeSet::from([None]),
            verbs: BTreeSet::from(Verb::CALLS),
        }
    }

    fn of_right(right: &'a Right) -> Self {
        let place = match &right.place {
            Place::Cluster => None,
            Place::Namespace(name) => Some(name.as_str()),
        };
        Self {
            opens: dangerous::opens(&right.group, &right.resource, right.verb)
                .into_iter()
                .collect(),
            is_call: false,
            kinds: BTreeSet::from([Kinds::one(&right.group, &right.resource)]),
            names: BTreeSet::from([right.name.as_deref()]),
            places: BTreeSet::from([place]),
            verbs: BTreeSet::from([right.verb]),
        }
    }

    pub(super) fn count(&self) -> u64 {
        let kinds = self.kinds.iter().map(Kinds::count).fold(0, u64::saturating_add);
        [self.names.len(), self.places.len(), self.verbs.len()]
            .into_iter()
            .fold(kinds, |product, length| product.saturating_mul(length as u64))
    }

    /// Every right of the rule, which may be very many.
    pub(super) fn rights(&self) -> impl Iterator<Item = Right> {
        self.kinds
            .iter()
            .flat_map(Kinds::pairs)
            .flat_map(move |(group, resource)| {
                self.verbs.iter().flat_map(move |verb| {
                    self.places.iter().flat_map(move |place| {
                        self.names.iter().map(move |name| Right {
                            group: group.to_owned(),
                            resource: resource.to_owned(),
                            verb: *verb,
                            place: place.map_or(Place::Cluster, |name| Place::Namespace(name.to_owned())),
                            name: name.map(str::to_owned),
                        })
                    })
                })
            })
    }

    /// Whether the rule alone gives all rights of the other.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let has_kinds = |narrow: &Kinds<'_>| self.kinds.iter().any(|wide| wide.covers(narrow));
        other.kinds.iter().all(has_kinds)
            && has_all(&self.names, &other.names, &None)
            && has_all(&self.places, &other.places, &None)
            && has_all(&self.verbs, &other.verbs, &Verb::All)
    }
}

impl<'a> Kinds<'a> {
    fn one(group: &'a str, resource: &'a str) -> Self {
        Self {
            groups: BTreeSet::from([group]),
            resources: BTreeSet::from([resource]),
        }
    }

    pub(super) fn count(&self) -> u64 {
        (self.groups.len() as u64).saturating_mul(self.resources.len() as u64)
    }

    /// Group and resource of each kind.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let resources = |group| self.resources.iter().map(move |resource| (group, *resource));
        self.groups.iter().copied().flat_map(resources)
    }

    fn covers(&self, other: &Self) -> bool {
        has_all(&self.groups, &other.groups, &"*") && has_all(&self.resources, &other.resources, &"*")
    }

    /// What the dangerous rights among them open.
    fn opens(&self, verbs: &BTreeSet<Verb>) -> BTreeSet<&'static str> {
        let is_listed_group = |group: &str| group == "*" || DANGEROUS.iter().any(|entry| entry.group == group);
        let is_listed_resource =
            |resource: &str| resource == "*" || DANGEROUS.iter().any(|entry| entry.resources.contains(&resource));
        let resources = telling(&self.resources, is_listed_resource);
        let mut opens = BTreeSet::new();
        for group in telling(&self.groups, is_listed_group) {
            for resource in &resources {
                opens.extend(verbs.iter().filter_map(|verb| dangerous::opens(group, resource, *verb)));
            }
        }
        opens
    }
}

/// The texts on which danger depends, and one of the others, which are all alike: few, however many there are.
fn telling<'a>(texts: &BTreeSet<&'a str>, is_listed: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let other = texts.iter().find(|text| !is_listed(text));
    let listed = texts.iter().filter(|text| is_listed(text));
    listed.chain(other).copied().collect()
}

/// Whether `wide` has all that `narrow` has. `all` stands for everything.
fn has_all<T: Ord>(wide: &BTreeSet<T>, narrow: &BTreeSet<T>, all: &T) -> bool {
    wide.contains(all) || wide.is_superset(narrow)
}
