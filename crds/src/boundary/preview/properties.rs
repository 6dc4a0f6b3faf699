//! What is asked is what a naive reading of the policies asks, with rights as the texts that they are there.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::select, sample::subsequence};
use serde_json::{Map, Value, json};

use super::{
    Excess, Need,
    fixtures::{PLACES, asked, change},
};
use crate::{
    plugin::KitePluginSpec,
    rights::{Place, rights},
};

const PLUGINS: &str = PLACES.plugins;

/// The expressions of `kite-rights-…` and `kite-references`, each read word for word.
mod naive {
    use super::*;

    const CODE: [&str; 13] = [
        "image",
        "imagePullPolicy",
        "imagePullSecrets",
        "env",
        "settingsSecretRef",
        "volumes",
        "nodeSelector",
        "tolerations",
        "frontend",
        "middleware",
        "routes",
        "tools",
        "resourceTypes",
    ];

    fn list(owner: &Value, field: &str, absent: Value) -> Vec<Value> {
        let value = owner.get(field).cloned().unwrap_or(absent);
        value.as_array().unwrap().clone()
    }

    fn texts(owner: &Value, field: &str, absent: Value) -> Vec<String> {
        let list = list(owner, field, absent);
        list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    fn parts(p: &Value) -> [Vec<String>; 5] {
        [
            texts(p, "apiGroups", json!(null)),
            texts(p, "resources", json!(null)),
            texts(p, "verbs", json!(null)),
            texts(p, "namespaces", json!([PLUGINS])),
            texts(p, "resourceNames", json!([""])),
        ]
    }

    fn permissions(spec: &Value) -> Vec<Value> {
        list(spec, "permissions", json!([]))
    }

    pub(super) fn rights(spec: &Value) -> Vec<String> {
        let mut rights = Vec::new();
        for p in permissions(spec) {
            let [groups, resources, verbs, namespaces, names] = parts(&p);
            for g in &groups {
                for r in &resources {
                    for v in &verbs {
                        for n in &namespaces {
                            rights.extend(names.iter().map(|m| format!("{g}|{r}|{v}|{n}|{m}")));
                        }
                    }
                }
            }
        }
        for c in texts(spec, "calls", json!([])) {
            for v in ["get", "create", "update", "patch", "delete"] {
                rights.push(format!("kite.dev|kiteplugins/proxy|{v}|*|{c}"));
            }
        }
        rights
    }

    fn characters(spec: &Value) -> usize {
        let of = |p: &Value| {
            let parts = parts(p);
            let longest = parts.iter().map(|part| part.iter().map(String::len).max().unwrap());
            parts.iter().map(Vec::len).product::<usize>() * (5 + longest.sum::<usize>())
        };
        let calls = list(spec, "calls", json!([])).len();
        permissions(spec).iter().map(of).sum::<usize>() + calls * 400
    }

    pub(super) fn code_is_new(old: Option<&Value>, new: &Value) -> bool {
        let Some(old) = old else { return true };
        let enabled = |spec: &Value| spec.get("enabled").is_none_or(|enabled| enabled == &json!(true));
        CODE.iter().any(|field| new.get(field) != old.get(field)) || (enabled(new) && !enabled(old))
    }

    /// The texts of the rights, and the texts of what is refused.
    pub(super) fn added(old: Option<&Value>, new: &Value) -> (BTreeSet<String>, Vec<Excess>) {
        let all = code_is_new(old, new);
        let grants_otherwise = ["permissions", "calls"]
            .iter()
            .any(|field| old.is_none_or(|old| new.get(field) != old.get(field)));
        if !(grants_otherwise || all) {
            return (BTreeSet::new(), Vec::new());
        }
        let spelled_out = |spec: &Value| {
            if rights(spec).len() > 512 || characters(spec) > 40_000 {
                Vec::new()
            } else {
                rights(spec)
            }
        };
        let before = old.filter(|_| !all).map(spelled_out).unwrap_or_default();
        let mut added = spelled_out(new);
        added.retain(|right| !before.contains(right));
        let mut excesses = Vec::new();
        if rights(new).len() > 512 {
            excesses.push(Excess::Rights);
        } else if characters(new) > 40_000 {
            excesses.push(Excess::Characters);
        } else if added.len() > 264 {
            excesses.push(Excess::Added(added.len()));
            added.clear();
        }
        (added.into_iter().collect(), excesses)
    }

    pub(super) fn secrets(spec: &Value) -> Vec<String> {
        let mut secrets = Vec::new();
        if let Some(name) = spec.pointer("/settingsSecretRef/name") {
            secrets.push(name.clone());
        }
        secrets.extend(
            list(spec, "imagePullSecrets", json!([]))
                .iter()
                .map(|it| it["name"].clone()),
        );
        let variables = list(spec, "env", json!([]));
        secrets.extend(
            variables
                .iter()
                .filter_map(|it| it.pointer("/valueFrom/secretKeyRef/name").cloned()),
        );
        secrets.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }
}

fn some(from: &'static [&'static str], most: usize) -> impl Strategy<Value = Value> {
    subsequence(from, 1..=most).prop_map(|texts| json!(texts))
}

/// A list, some of which stands in it many times.
fn crowded(from: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => some(from, 3),
        1 => prop::collection::vec(select(from), 1..16).prop_map(|texts| json!(texts)),
    ]
}

fn permission() -> impl Strategy<Value = Value> {
    const LONG: &str = "a-long-name-that-counts-for-many-characters-when-all-rights-are-spelled-out";
    let names = prop::option::of(crowded(&["a", "b", LONG]));
    let namespaces = prop::option::of(prop_oneof![Just(json!(["*"])), crowded(&["shop", "pay", PLUGINS])]);
    (
        crowded(&["", "apps", "*"]),
        crowded(&["pods", "pods/log", "nodes"]),
        crowded(&["get", "list", "*"]),
        names,
        namespaces,
    )
        .prop_map(|(groups, resources, verbs, names, namespaces)| {
            let mut permission = json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
            for (field, value) in [("resourceNames", names), ("namespaces", namespaces)] {
                if let Some(value) = value {
                    permission[field] = value;
                }
            }
            permission
        })
}

/// A field of the spec and its value.
fn field() -> impl Strategy<Value = (&'static str, Value)> {
    let secret = |name: &str| json!({"name": name});
    let variable = |count: usize| -> Value {
        let one = |number| json!({"name": format!("V{number}"), "valueFrom": {"secretKeyRef": {"name": format!("s{}", number % 20), "key": "a"}}});
        (0..count).map(one).collect()
    };
    prop_oneof![
        prop::collection::vec(permission(), 0..4).prop_map(|list| ("permissions", json!(list))),
        some(&["a", "b", "c"], 3).prop_map(|calls| ("calls", calls)),
        select(vec![json!(true), json!(false)]).prop_map(|enabled| ("enabled", enabled)),
        select(vec!["a", "b"]).prop_map(|image| ("image", json!(image))),
        select(vec!["a", "b"]).prop_map(|text| ("description", json!(text))),
        (0..30_usize).prop_map(move |count| ("env", variable(count))),
        select(vec!["s1", "s9", "x"]).prop_map(move |name| ("settingsSecretRef", secret(name))),
        select(vec!["s2", "y"]).prop_map(move |name| ("imagePullSecrets", json!([secret(name)]))),
        Just(("frontend", json!({"remoteEntry": "a.js"}))),
        Just(("middleware", json!({"paths": ["/api/v1/plugins/**"]}))),
        Just(("routes", json!([{"path": "/a"}]))),
        Just(("tolerations", json!([]))),
        Just(("nodeSelector", json!({"a": "b"}))),
    ]
}

fn spec() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec(field(), 0..6).prop_map(|fields| {
        let required = [("version", json!("1.0.0")), ("image", json!("a"))];
        let fields = required.into_iter().chain(fields);
        fields.map(|(field, value)| (field.to_owned(), value)).collect()
    })
}

/// A spec, and one that is the same but for a few fields; or none before it.
fn pair() -> impl Strategy<Value = (Option<Value>, Value)> {
    let edited = (spec(), prop::collection::vec((field(), any::<bool>()), 0..3)).prop_map(|(old, edits)| {
        let mut new = old.clone();
        for ((field, value), stays) in edits {
            if stays || field == "image" {
                new.insert(field.to_owned(), value);
            } else {
                new.remove(field);
            }
        }
        (Some(Value::Object(old)), Value::Object(new))
    });
    prop_oneof![4 => edited, 1 => spec().prop_map(|new| (None, Value::Object(new)))]
}

proptest! {
    #[test]
    fn the_questions_are_those_of_the_policies((old, new) in pair()) {
        let old = old.as_ref();
        let found = asked(old, &new);
        prop_assert_eq!(found.code_is_new, naive::code_is_new(old, &new));

        let (rights, mut excesses) = naive::added(old, &new);
        let (mut secrets, mut trusts) = (Vec::new(), false);
        if naive::code_is_new(old, &new) {
            secrets = naive::secrets(&new);
            trusts = new.get("frontend").is_some() || new.get("middleware").is_some();
        }
        if secrets.len() > 24 {
            excesses.push(Excess::Secrets);
        }
        prop_assert_eq!(&found.excesses, &excesses);

        let (mut of_rights, mut of_secrets, mut of_trust) = (Vec::new(), Vec::new(), Vec::new());
        for need in &found.needs {
            let question = change(old, &new).question(need);
            let namespace = match &question.place {
                Place::Cluster => "*",
                Place::Namespace(name) => name,
            };
            let name = question.name.as_deref().unwrap_or_default();
            let text = format!("{}|{}|{}|{namespace}|{name}", question.group, question.resource, question.verb);
            match need {
                Need::Right(_) => of_rights.push(text),
                Need::Secret(_) => of_secrets.push(text),
                Need::Trust => of_trust.push(text),
            }
        }
        // Each once.
        let once = |texts: &[String]| texts.iter().cloned().collect::<BTreeSet<String>>();
        prop_assert_eq!(of_rights.len(), rights.len());
        prop_assert_eq!(once(&of_rights), rights);
        let secrets: BTreeSet<String> = secrets.iter().map(|name| format!("|secrets|get|{PLUGINS}|{name}")).collect();
        prop_assert_eq!(of_secrets.len(), secrets.len());
        prop_assert_eq!(once(&of_secrets), secrets);
        let trust: Vec<&str> = trusts.then_some("kite.dev|kiteplugins|trust|*|hello").into_iter().collect();
        prop_assert_eq!(of_trust, trust);
    }

    #[test]
    fn what_a_new_object_grants_are_its_rights(new in spec()) {
        let new = Value::Object(new);
        let found = asked(None, &new);
        if found.excesses.is_empty() {
            let spec: KitePluginSpec = serde_json::from_value(new).unwrap();
            let granted = found.needs.into_iter().filter_map(|need| match need {
                Need::Right(right) => Some(right),
                Need::Secret(_) | Need::Trust => None,
            });
            prop_assert_eq!(granted.collect::<BTreeSet<_>>(), rights(&spec, PLUGINS).unwrap());
        }
    }
}
