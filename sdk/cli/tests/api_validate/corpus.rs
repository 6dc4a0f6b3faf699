//! Good and bad objects: the refusals of the schema with their accepted neighbours, and what is odd in other ways.

use serde_json::{Map, Value, json};

use crate::refusals::{Case, REFUSALS};

/// An object with every field.
pub(crate) fn every_field() -> Value {
    serde_saphyr::from_str(include_str!("../../../../e2e/tests/admit_spec/every-field.yaml")).unwrap()
}

fn object(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({"version": "1.2.0", "image": "registry.example/plugin:1.2.0"});
    change(&mut spec);
    json!({"apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": name}, "spec": spec})
}

/// An object with other metadata.
fn with_metadata(metadata: Value) -> Value {
    let mut object = object("a", |_| {});
    object["metadata"] = metadata;
    object
}

/// An object with this field of its spec.
fn with(field: &str, value: Value) -> Value {
    object("a", |spec| spec[field] = value)
}

/// Objects that the schema refuses, the field that the API server names, and what it says.
pub(crate) fn refusals() -> impl Iterator<Item = (Value, &'static str, &'static str)> {
    let cases = REFUSALS.iter();
    cases.map(|case| (object("admit-spec", case.refused), case.field, case.says))
}

pub(crate) fn all() -> Vec<Value> {
    let mut all = vec![every_field()];
    for Case { refused, accepted, .. } in REFUSALS {
        all.push(object("admit-spec", refused));
        all.push(object("admit-spec", accepted));
    }
    all.extend(names());
    all.extend(metadata());
    all.extend(odd_values());
    all.extend(bounds());
    all.extend(grants());
    all.extend(settings());
    all
}

fn names() -> Vec<Value> {
    let long = "a".repeat(41);
    let mut names: Vec<Value> = [
        "a.b",
        &long,
        &long[1..],
        "tools",
        "api",
        "A",
        "a_b",
        "-a",
        "a-",
        "1",
        "é",
        "",
    ]
    .into_iter()
    .map(|name| object(name, |_| {}))
    .collect();
    for other in ["lib", "other"] {
        names.push(object("lib", |spec| {
            spec["dependencies"] = json!([{"name": other, "version": "*"}]);
        }));
    }
    for length in [40, 41] {
        let tools = json!([{"name": "t".repeat(length)}]);
        names.push(object(&"a".repeat(16), |spec| spec["tools"] = tools));
    }
    names
}

fn metadata() -> Vec<Value> {
    let long = "v".repeat(64);
    [
        json!({"name": "a", "labels": {"team": "costs", "example.com/tier": "", "a.b_c": "A.1_b"}}),
        json!({"name": "a", "labels": {"team": "front end"}}),
        json!({"name": "a", "labels": {"team": long}}),
        json!({"name": "a", "labels": {"a/b/c": "x"}}),
        json!({"name": "a", "labels": {"/b": "x"}}),
        json!({"name": "a", "labels": {"a/": "x"}}),
        json!({"name": "a", "labels": {"Example.com/b": "x"}}),
        json!({"name": "a", "labels": {"team": 7}}),
        json!({"name": "a", "labels": {"team": null}}),
        json!({"name": "a", "labels": []}),
        json!({"name": "a", "annotations": {"Example.com/B": "any text, of any length\n"}}),
        json!({"name": "a", "annotations": {"a b": "x"}}),
        json!({"name": "a", "annotations": {"a": true}}),
        json!({"name": "a", "annotations": {"a": "x".repeat(256 * 1024)}}),
        json!({"name": "a", "annotations": {"a": "x".repeat(256 * 1024 - 1)}}),
        json!({"name": "a", "annotations": null, "labels": null}),
        json!({"name": 7}),
        json!({"name": null}),
        json!({}),
        json!([]),
        Value::Null,
        json!({"name": "a", "colour": "red"}),
        json!({"name": "a", "finalizers": ["example.com/a"]}),
    ]
    .map(with_metadata)
    .into()
}

/// Values of every kind, and at the edges of kinds.
fn values() -> Vec<Value> {
    let text = r#"[null, true, 0, 1, -1, 1.0, 1.5, 1e30, "1", "", [], [null], ["a"], {}, {"a": null}]"#;
    serde_json::from_str(text).unwrap()
}

/// Values of another kind than is wanted, in fields of every kind.
fn odd_values() -> Vec<Value> {
    const FIELDS: [&str; 17] = [
        "version",
        "image",
        "replicas",
        "enabled",
        "description",
        "permissions",
        "calls",
        "compatibility",
        "settings",
        "nodeSelector",
        "resources",
        "limits",
        "tolerations",
        "env",
        "middleware",
        "metrics",
        "unknown",
    ];
    let mut odd = Vec::new();
    for value in values() {
        odd.extend(FIELDS.map(|field| with(field, value.clone())));
        let labels = json!({"matchLabels": {"a": value}});
        odd.push(with("limits", json!({"requestBodyBytes": value})));
        odd.push(with("resources", json!({"limits": {"memory": value}})));
        odd.push(with("metrics", json!({"allowFrom": {"namespaceSelector": labels}})));
        odd.push(with("nodeSelector", json!({"a": value})));
    }
    odd
}

/// Numbers, texts and lists at their bounds, and the document's own fields.
fn bounds() -> Vec<Value> {
    let tolerated = |seconds: Value| {
        let toleration = json!({"key": "a", "effect": "NoExecute", "tolerationSeconds": seconds});
        with("tolerations", json!([toleration]))
    };
    let asks = |pointer: &str| {
        let requires = json!([{"resource": "pods", "verb": "get", "namespace": {"argument": pointer}}]);
        with("tools", json!([{"name": "a", "requires": requires}]))
    };
    let mut bounds = vec![
        tolerated(json!(1e19)),
        asks("/a\u{7}"),
        asks("/é~0"),
        with("description", json!("é".repeat(1024))),
        with("description", json!("é".repeat(1025))),
        with("version", json!("1.2.1٣")),
        with(
            "routes",
            json!([{"path": "/{a}/{b}/{a}/{c}"}, {"path": "/{x}/**"}, {"path": "/*/**"}]),
        ),
    ];
    for number in [i64::from(i32::MAX), i64::from(i32::MAX) + 1, i64::MAX, i64::MIN] {
        bounds.push(tolerated(json!(number)));
        bounds.push(with("rateLimit", json!({"burst": number})));
    }
    for count in [16, 17, 64, 65] {
        let calls: Vec<String> = (0..count).map(|n| format!("a{n}")).collect();
        let labels: Map<String, Value> = calls.iter().map(|call| (call.clone(), json!("b"))).collect();
        bounds.push(with("calls", json!(calls)));
        bounds.push(with("nodeSelector", labels.into()));
    }
    for (field, value) in [
        ("kind", json!("Plugin")),
        ("apiVersion", json!("kite.dev/v1")),
        ("extra", json!(1)),
        ("status", json!({"phase": "Loaded"})),
        ("spec", json!(null)),
        ("spec", json!([])),
    ] {
        let mut object = object("a", |_| {});
        object[field] = value;
        bounds.push(object);
    }
    bounds
}

fn grants() -> Vec<Value> {
    let permission = |groups: Value, resources: Value, verbs: Value, namespaces: Value| {
        let mut permission = json!({
            "apiGroups": groups, "resources": resources, "verbs": verbs, "acknowledgeDangerous": true, "allowWildcards": true,
        });
        if !namespaces.is_null() {
            permission["namespaces"] = namespaces;
        }
        with("permissions", json!([permission]))
    };
    let mut grants = Vec::new();
    for namespaces in [
        json!(null),
        json!(["kite-plugins"]),
        json!(["shop", "kite-plugins"]),
        json!(["*"]),
        json!(["shop"]),
        json!(["kite-system"]),
    ] {
        for (group, resource, verb) in [
            ("", "pods", "get"),
            ("", "pods", "create"),
            ("", "secrets", "get"),
            ("", "*", "get"),
            ("*", "secrets", "list"),
            ("apps", "deployments", "patch"),
            ("apps", "deployments/scale", "patch"),
            ("rbac.authorization.k8s.io", "roles", "bind"),
            ("", "pods/exec", "create"),
            ("*", "*", "*"),
        ] {
            grants.push(permission(
                json!([group]),
                json!([resource]),
                json!([verb]),
                namespaces.clone(),
            ));
        }
    }
    grants.push(with(
        "permissions",
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": null}]),
    ));
    grants
}

fn settings() -> Vec<Value> {
    let nested = |levels: usize| {
        let text = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        json!({"a": serde_json::from_str::<Value>(&text).unwrap()})
    };
    let mut settings: Vec<Value> = [30, 31, 32, 33].map(|levels| with("settings", nested(levels))).into();
    settings.extend([30, 31, 32, 33].map(|levels| with("settingsSchema", json!({"default": nested(levels)["a"]}))));
    settings.push(object("a", |spec| {
        spec["settings"] = json!({"currency": "euro"});
        spec["settingsSchema"] = json!({"properties": {"currency": {"enum": ["EUR"]}}});
    }));
    settings.push(with(
        "settings",
        json!({"currency": null, "list": [null, 1.5, {"a": null}]}),
    ));
    settings.push(with("settingsSchema", json!({"type": "text"})));
    settings
}
