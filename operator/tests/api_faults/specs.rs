//! Specs that an API server admits and an operator can carry out, made up.

use proptest::{
    option,
    prelude::*,
    sample::{select, subsequence},
};
use serde_json::{Map, Value, json};

/// Stands in a spec for a namespace that there is.
pub(crate) const SHOP: &str = "SHOP";

/// Stands in a spec for a Secret that is the plugin's own.
pub(crate) const OWN: &str = "OWN-SECRET";
/// A Secret that pulls every plugin's image.
pub(crate) const PULL: &str = "pull";

/// A spec. It has no empty map: where a server-side apply takes the last key out of one, the API server makes it null, and refuses that. With the same image a plugin always answers as the same version, which is the image's tag.
pub(crate) fn spec() -> impl Strategy<Value = Map<String, Value>> {
    let required = (
        select(&["0.1.0", "0.2.0", "1.0.0-rc.1"][..]),
        select(&["hello", "other"][..]),
    );
    (required, words(), rights(), what_runs(), what_is_served(), life()).prop_map(
        |((version, image), words, rights, runs, served, life)| {
            let image = format!("registry.invalid/{image}:{version}");
            let required = [("version", json!(version)), ("image", json!(image))].map(Some);
            let optional = [words, rights, runs, served, life].into_iter().flatten();
            required
                .into_iter()
                .chain(optional)
                .flatten()
                .map(|(field, value)| (field.to_owned(), value))
                .collect()
        },
    )
}

type Field = Option<(&'static str, Value)>;

/// The field, or not.
fn maybe(field: &'static str, value: impl Strategy<Value = Value>) -> impl Strategy<Value = Field> {
    option::of(value.prop_map(move |value| (field, value)))
}

fn one_of(values: Vec<Value>) -> impl Strategy<Value = Value> {
    select(values)
}

fn some_of(values: Vec<Value>) -> impl Strategy<Value = Value> {
    let all = values.len();
    subsequence(values, 1..=all).prop_map(Value::Array)
}

fn words() -> impl Strategy<Value = Vec<Field>> {
    (
        maybe("description", one_of(vec![json!("a"), json!("of many words")])),
        maybe("author", one_of(vec![json!("Acme")])),
        maybe("priority", one_of(vec![json!(0), json!(10000)])),
        maybe(
            "compatibility",
            one_of(vec![json!({"kite": ">=0.1"}), json!({"kubernetes": ">=1.30"})]),
        ),
        maybe(
            "dependencies",
            one_of(vec![json!([{"name": "nobody", "version": "^1.0", "optional": true}])]),
        ),
    )
        .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e])
}

/// What a plugin gets if it is to have some rights, and nothing else says which.
pub(crate) fn least_rights() -> [(&'static str, Value); 2] {
    let pods = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    [("permissions", pods), ("calls", json!(["other"]))]
}

fn rights() -> impl Strategy<Value = Vec<Field>> {
    let rule = |resource: &str, verbs: Value| json!({"apiGroups": [""], "resources": [resource], "verbs": verbs});
    let within = |mut rule: Value, namespaces: Value| {
        rule["namespaces"] = namespaces;
        rule
    };
    let permissions = vec![
        rule("pods", json!(["get"])),
        rule("configmaps", json!(["get", "list"])),
        within(rule("pods", json!(["list"])), json!([SHOP])),
        within(rule("services", json!(["get", "watch"])), json!([SHOP, "nowhere"])),
        within(rule("nodes", json!(["get"])), json!(["*"])),
        within(rule("pods", json!(["watch"])), json!(["*"])),
    ];
    (
        maybe("permissions", some_of(permissions)),
        maybe("calls", some_of(vec![json!("other"), json!("third")])),
    )
        .prop_map(|(permissions, calls)| vec![permissions, calls])
}

fn what_runs() -> impl Strategy<Value = Vec<Field>> {
    let resources = vec![
        json!({"limits": {"memory": "128Mi"}}),
        json!({"requests": {"cpu": "10m"}, "limits": {"cpu": 1, "memory": "1Gi"}}),
    ];
    let of_secret = json!({"name": "C", "valueFrom": {"secretKeyRef": {"name": OWN, "key": "word"}}});
    let env = vec![json!({"name": "A", "value": "1"}), json!({"name": "B"}), of_secret];
    let volumes = vec![
        json!({"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "16Mi"}}),
        json!({"name": "data", "mountPath": "/data", "persistentVolumeClaim": {"claimName": "data"}}),
    ];
    let tolerations = vec![
        json!({"operator": "Exists"}),
        json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60}),
    ];
    (
        maybe(
            "imagePullPolicy",
            one_of(vec![json!("Always"), json!("IfNotPresent"), json!("Never")]),
        ),
        maybe("replicas", one_of(vec![json!(1), json!(2), json!(3)])),
        maybe("resources", one_of(resources)),
        maybe(
            "nodeSelector",
            one_of(vec![json!({"disk": "fast"}), json!({"zone": "b"})]),
        ),
        maybe("tolerations", some_of(tolerations)),
        maybe("env", some_of(env)),
        maybe("volumes", some_of(volumes)),
        maybe("imagePullSecrets", one_of(vec![json!([{"name": PULL}])])),
    )
        .prop_map(|(a, b, c, d, e, f, g, h)| vec![a, b, c, d, e, f, g, h])
}

fn what_is_served() -> impl Strategy<Value = Vec<Field>> {
    let list_pods = json!([{"resource": "pods", "verb": "list"}]);
    let routes = vec![
        json!({"path": "/a/**"}),
        json!({"path": "/b/{namespace}", "requires": [{"resource": "pods", "namespace": {"path": "namespace"}}]}),
    ];
    let frontend = json!({
        "remoteEntry": "remoteEntry.js",
        "routes": [{"path": "/page", "module": "./Page", "sidebarEntry": {"title": "Page"}}],
        "injections": [{"slot": "pod-detail", "module": "./Pod"}, {"slot": "nowhere", "module": "./Pod"}],
    });
    (
        maybe("routes", some_of(routes)),
        maybe("tools", one_of(vec![json!([{"name": "hello", "requires": list_pods}])])),
        maybe(
            "middleware",
            one_of(vec![
                json!({"paths": ["/api/v1/plugins/**"], "failurePolicy": "Ignore"}),
            ]),
        ),
        maybe(
            "rateLimit",
            one_of(vec![
                json!({"requestsPerSecond": 5}),
                json!({"burst": 7, "perCaller": 2}),
            ]),
        ),
        maybe(
            "limits",
            one_of(vec![json!({"inFlight": 5}), json!({"requestBodyBytes": "1Mi"})]),
        ),
        maybe("audit", one_of(vec![json!({"bodies": true})])),
        maybe("metrics", one_of(vec![json!({"allowFrom": {"namespaceSelector": {}}})])),
        maybe("frontend", one_of(vec![json!({"remoteEntry": "a.js"}), frontend])),
    )
        .prop_map(|(a, b, c, d, e, f, g, h)| vec![a, b, c, d, e, f, g, h])
}

/// Settings go with their schema: those that an old revision refuses would keep what it has.
fn life() -> impl Strategy<Value = Vec<Field>> {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer", "default": 7}}});
    (
        prop_oneof![4 => Just(None), 1 => Just(Some(("enabled", json!(false))))],
        maybe("settings", one_of(vec![json!({"a": 1}), json!({"a": 2, "b": [true]})])),
        maybe("settingsSchema", one_of(vec![schema, json!({"type": "object"})])),
        maybe("settingsSecretRef", one_of(vec![json!({"name": OWN})])),
        maybe("revisionHistoryLimit", one_of(vec![json!(0), json!(1), json!(3)])),
        maybe("drainSeconds", one_of(vec![json!(0), json!(2)])),
    )
        .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f])
}

/// What the API server admits in a spec and an operator cannot carry out: the fields that are so.
pub(crate) fn refused() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"dependencies": [{"name": "nobody", "version": "^1.0"}]}),
        json!({"compatibility": {"kite": ">=99"}}),
        json!({"imagePullSecrets": [{"name": "nowhere"}]}),
        json!({"env": [{"name": "D", "valueFrom": {"secretKeyRef": {"name": "nowhere", "key": "a"}}}]}),
        json!({"settingsSecretRef": {"name": "nowhere"}}),
        json!({"settings": {"a": "no number"}, "settingsSchema": {"type": "object", "properties": {"a": {"type": "integer"}}}}),
    ])
}
