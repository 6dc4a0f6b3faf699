//! What holds for every grant: sentences say its rights, no more and no less, and changes are what the sets say.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::Index as Choice, sample::select, sample::subsequence};

use super::{
    Changes, MAX_RIGHTS, Place, Right, changes, count,
    cover::{self, Index},
    fixtures::NAMESPACE,
    rights,
    rule::{self, Rule},
    summary,
};
use crate::{
    dangerous,
    plugin::{KitePluginSpec, Permission, Verb},
};

const GROUPS: [&str; 4] = ["", "apps", "kite.dev", "*"];
const RESOURCES: [&str; 6] = [
    "pods",
    "secrets",
    "deployments",
    "deployments/scale",
    "kiteplugins/proxy",
    "*",
];
const VERBS: [Verb; 7] = [
    Verb::Get,
    Verb::Create,
    Verb::Update,
    Verb::Patch,
    Verb::Delete,
    Verb::Impersonate,
    Verb::All,
];

fn some(from: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(from, 1..=most).prop_map(|texts| texts.into_iter().map(str::to_owned).collect())
}

fn verbs() -> impl Strategy<Value = Vec<Verb>> {
    prop_oneof![3 => subsequence(&VERBS, 1..=4), 1 => Just(VERBS[..5].to_vec())]
}

fn permission() -> impl Strategy<Value = Permission> {
    let names = prop_oneof![2 => Just(None), 1 => some(&["a", "b"], 2).prop_map(Some)];
    let namespaces = prop_oneof![
        Just(None),
        Just(Some(vec![String::from("*")])),
        some(&["shop", NAMESPACE, "*"], 2).prop_map(Some),
    ];
    (some(&GROUPS, 2), some(&RESOURCES, 3), verbs(), names, namespaces).prop_map(
        |(api_groups, resources, verbs, resource_names, namespaces)| Permission {
            api_groups,
            resources,
            verbs,
            resource_names,
            namespaces,
            ..Permission::default()
        },
    )
}

/// Grants that often overlap, cover one another and meet the right to call.
fn grant() -> impl Strategy<Value = KitePluginSpec> {
    let calls = prop_oneof![1 => Just(Vec::new()), 1 => some(&["a", "b", "c"], 3)];
    let enabled = select(vec![None, Some(true), Some(true), Some(false)]);
    (prop::collection::vec(permission(), 0..5), calls, enabled).prop_map(|(permissions, calls, enabled)| {
        KitePluginSpec {
            enabled,
            permissions,
            calls,
            ..KitePluginSpec::default()
        }
    })
}

/// One grant, and another that is the same but for one permission, as most changes are, or none of it.
fn pair() -> impl Strategy<Value = (KitePluginSpec, KitePluginSpec)> {
    let edited = (grant(), permission(), any::<Choice>()).prop_map(|(old, permission, choice)| {
        let mut new = old.clone();
        match old.permissions.len() {
            0 => new.permissions.push(permission),
            length => new.permissions[choice.index(length)] = permission,
        }
        (old, new)
    });
    prop_oneof![edited, (grant(), grant())]
}

fn all(spec: &KitePluginSpec) -> BTreeSet<Right> {
    rights(spec, NAMESPACE).unwrap()
}

/// The rights that the plugin has now.
fn held(spec: &KitePluginSpec) -> BTreeSet<Right> {
    if spec.is_enabled() { all(spec) } else { BTreeSet::new() }
}

/// Each with each.
fn not_covered(rights: &BTreeSet<Right>, by: &BTreeSet<Right>) -> BTreeSet<Right> {
    let is_covered = |right: &&Right| by.iter().any(|other| other.covers(right));
    rights.iter().filter(|right| !is_covered(right)).cloned().collect()
}

fn expanded(rules: &[Rule<'_>]) -> BTreeSet<Right> {
    rules.iter().flat_map(Rule::rights).collect()
}

/// A grant that is too large with any other, and gives nothing that those of [`grant`] do.
fn too_large(mut spec: KitePluginSpec) -> KitePluginSpec {
    let many = |text: &str| (0..32).map(|number| format!("{text}{number}")).collect::<Vec<_>>();
    spec.permissions.push(Permission {
        api_groups: many("group"),
        resources: many("resource"),
        verbs: VERBS.to_vec(),
        ..Permission::default()
    });
    assert!(count(&spec) > MAX_RIGHTS);
    spec
}

fn is_printable(text: &str) -> bool {
    text.chars().all(|c| matches!(c, ' '..='~' | '…'))
}

fn told(changes: &Changes) -> impl Iterator<Item = &String> {
    let statements = changes.added.iter().chain(&changes.removed);
    statements
        .map(|statement| &statement.text)
        .chain(&changes.trust)
        .chain(&changes.open)
}

/// Any texts at all, where an object has been through no API server.
fn hostile() -> impl Strategy<Value = KitePluginSpec> {
    let long = ("[a-z\u{1b}\u{202e} ]{1,3}", 1..150usize).prop_map(|(text, times)| text.repeat(times));
    let text = prop_oneof![".{0,12}", long];
    let texts = || prop::collection::vec(text.clone(), 0..12);
    (texts(), texts(), texts(), texts(), texts(), verbs()).prop_map(
        |(groups, resources, names, namespaces, other, verbs)| {
            let spec = KitePluginSpec {
                calls: other.clone(),
                permissions: vec![Permission {
                    api_groups: groups,
                    resources,
                    verbs,
                    resource_names: Some(names),
                    namespaces: Some(namespaces),
                    ..Permission::default()
                }],
                ..KitePluginSpec::default()
            };
            let other: Vec<&str> = other.iter().map(String::as_str).collect();
            let spec = spec.may(&["get"], &["pods"]).with_pages(&other).with_middleware(&other);
            other.iter().fold(spec, |spec, name| {
                spec.with_route(name, &[]).with_tool(name, &other).with_type(name, &[])
            })
        },
    )
}

proptest! {
    #[test]
    fn sentences_say_every_right_and_no_other(spec in grant()) {
        let rights = all(&spec);
        let rules = rule::grouped(&rights);
        let said = expanded(&rules);
        prop_assert!(said.is_subset(&rights));
        prop_assert_eq!(not_covered(&rights, &said), BTreeSet::new());
        // And say them once, calls apart, which have words of their own.
        let others: Vec<Rule<'_>> = rules.into_iter().filter(|rule| !rule.is_call).collect();
        let single: u64 = others.iter().map(Rule::count).sum();
        let said = expanded(&others);
        prop_assert_eq!(single, said.len() as u64);
        for right in &said {
            prop_assert!(!said.iter().any(|other| other != right && other.covers(right)));
        }
    }

    #[test]
    fn a_sentence_is_dangerous_as_each_of_its_rights_is(spec in grant()) {
        for rule in rule::grouped(&all(&spec)) {
            for right in rule.rights() {
                let opens: BTreeSet<&str> = dangerous::opens(&right.group, &right.resource, right.verb).into_iter().collect();
                prop_assert_eq!(&rule.opens, &opens);
            }
        }
    }

    #[test]
    fn a_permission_is_as_dangerous_as_all_of_its_rights(spec in grant()) {
        for rule in rule::of(&spec, NAMESPACE) {
            let opens = |right: Right| dangerous::opens(&right.group, &right.resource, right.verb);
            let all: BTreeSet<&str> = rule.rights().filter_map(opens).collect();
            prop_assert_eq!(&rule.opens, &all);
        }
    }

    #[test]
    fn the_rights_are_those_of_permissions_and_calls(spec in grant()) {
        let mut expected = BTreeSet::new();
        let mut add = |group: &str, resource: &str, verb, namespace: &str, name: Option<&String>| {
            let place = if namespace == "*" { Place::Cluster } else { Place::Namespace(namespace.to_owned()) };
            expected.insert(Right { group: group.to_owned(), resource: resource.to_owned(), verb, place, name: name.cloned() });
        };
        for permission in &spec.permissions {
            let here = [NAMESPACE.to_owned()];
            let namespaces = permission.namespaces.as_deref().unwrap_or(&here);
            let names = permission.resource_names.as_ref();
            let names: Vec<Option<&String>> = names.map_or_else(|| vec![None], |names| names.iter().map(Some).collect());
            for group in &permission.api_groups {
                for resource in &permission.resources {
                    for verb in &permission.verbs {
                        for namespace in namespaces {
                            for name in &names {
                                add(group, resource, *verb, namespace, *name);
                            }
                        }
                    }
                }
            }
        }
        for name in &spec.calls {
            for verb in [Verb::Get, Verb::Create, Verb::Update, Verb::Patch, Verb::Delete] {
                add("kite.dev", "kiteplugins/proxy", verb, "*", Some(name));
            }
        }
        prop_assert!(count(&spec) >= expected.len() as u64);
        prop_assert_eq!(all(&spec), expected);
    }

    #[test]
    fn the_index_finds_what_comparing_each_with_each_finds((old, new) in pair()) {
        let (old, new) = (all(&old), all(&new));
        prop_assert_eq!(cover::beyond(&old, &new), not_covered(&new, &old));
        let index = Index::of(&old);
        for right in &old {
            let by_another = old.iter().any(|other| other != right && other.covers(right));
            prop_assert_eq!(index.covers_by_another(right), by_another);
        }
    }

    #[test]
    fn changes_are_what_the_other_does_not_cover((old, new) in pair()) {
        let found = changes(Some(&old), &new, NAMESPACE);
        let added = not_covered(&held(&new), &held(&old));
        let removed = not_covered(&held(&old), &held(&new));
        prop_assert_eq!(found.added.is_empty(), added.is_empty());
        prop_assert_eq!(found.removed.is_empty(), removed.is_empty());
        prop_assert_eq!(&found.added, &super::statements(rule::grouped(&added)));
        prop_assert_eq!(&found.removed, &super::statements(rule::grouped(&removed)));
    }

    #[test]
    fn changes_back_are_the_same_the_other_way((old, new) in pair()) {
        for (old, new) in [(old.clone(), new.clone()), (too_large(old), too_large(new))] {
            let (there, back) = (changes(Some(&old), &new, NAMESPACE), changes(Some(&new), &old, NAMESPACE));
            prop_assert_eq!(there.added, back.removed);
            prop_assert_eq!(there.removed, back.added);
        }
    }

    #[test]
    fn an_object_does_not_differ_from_itself(spec in grant()) {
        prop_assert!(changes(Some(&spec), &spec, NAMESPACE).is_empty());
        let spec = too_large(spec);
        prop_assert!(changes(Some(&spec), &spec, NAMESPACE).is_empty());
    }

    #[test]
    fn a_permission_that_covers_another_has_all_of_its_rights(wide in permission(), narrow in permission()) {
        let of = |permission| KitePluginSpec { permissions: vec![permission], ..KitePluginSpec::default() };
        let (wide, narrow) = (of(wide), of(narrow));
        let has_all = not_covered(&all(&narrow), &all(&wide)).is_empty();
        let (wide, narrow) = (rule::of(&wide, NAMESPACE), rule::of(&narrow, NAMESPACE));
        prop_assert_eq!(wide[0].covers(&narrow[0]), has_all);
    }
}

proptest! {
    // Each case spells out thousands of rights with long names.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_an_object_has_in_it_words_are_printable_and_bounded(old in hostile(), new in hostile(), max_bytes in 0..1500usize) {
        let found = changes(Some(&old), &new, NAMESPACE);
        let whole = summary(&new, NAMESPACE);
        let texts = told(&found).chain(whole.rights.iter().map(|right| &right.text)).chain(&whole.trust).chain(&whole.open);
        for text in texts {
            prop_assert!(is_printable(text), "{:?}", text);
            prop_assert!(text.len() <= 900, "{}", text.len());
        }
        for note in [found.note(max_bytes), whole.note(max_bytes)] {
            prop_assert!(note.len() <= max_bytes);
            prop_assert!(is_printable(&note), "{:?}", note);
        }
    }
}
