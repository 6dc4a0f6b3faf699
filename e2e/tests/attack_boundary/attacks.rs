//! What somebody tries who may write KitePlugins and little else.

use serde_json::{Value, json};

use super::rights;

/// How the object is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Create,
    Replace,
    Apply,
    Merge,
    Json,
}

/// One attempt.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) how: How,
    /// What the administrator had made before.
    pub(crate) before: Option<fn() -> Value>,
    pub(crate) after: fn() -> Value,
    /// What the refusal says.
    pub(crate) says: &'static [&'static str],
    /// Who tries: `mallory` holds next to nothing; `trusted` also the verb `trust` and one Secret, `rich` every right that a
    /// row speaks of, so that only what the row is about is amiss.
    pub(crate) user: &'static str,
    /// Whether the schema refuses it already, also without the policies.
    pub(crate) by_schema: bool,
}

const NOT_HELD: &str = "may not grant a right that it does not hold";
const AGAIN: &str = "counts as granting every right again";

fn grant(resources: &[&str], verbs: &[&str], namespaces: &[&str]) -> Value {
    json!({"apiGroups": [""], "resources": resources, "verbs": verbs, "namespaces": namespaces})
}

/// What the attacker holds.
fn held() -> Value {
    json!({"permissions": [grant(&["pods"], &["get"], &["shop"])]})
}

const fn new(name: &'static str, after: fn() -> Value, says: &'static [&'static str]) -> Attack {
    Attack {
        name,
        how: How::Create,
        before: None,
        after,
        says,
        user: "mallory",
        by_schema: false,
    }
}

const fn change(
    name: &'static str,
    how: How,
    before: fn() -> Value,
    after: fn() -> Value,
    says: &'static [&'static str],
) -> Attack {
    Attack {
        name,
        how,
        before: Some(before),
        after,
        says,
        user: "mallory",
        by_schema: false,
    }
}

const fn by(user: &'static str, attack: Attack) -> Attack {
    Attack { user, ..attack }
}

const fn by_schema(attack: Attack) -> Attack {
    Attack {
        by_schema: true,
        ..attack
    }
}

pub(crate) fn all() -> Vec<Attack> {
    let mut all = BY_GRANT.to_vec();
    all.extend(by_writing());
    all.extend(by_code());
    all.extend(by_limits());
    all
}

/// A grant of these permissions.
macro_rules! granting {
    ($($permission:tt),*) => { || json!({"permissions": [$($permission),*]}) };
}

/// More than is held, in every part of a right.
const BY_GRANT: &[Attack] = &[
    new(
        "another verb",
        || json!({"permissions": [grant(&["pods"], &["list"], &["shop"])]}),
        &[NOT_HELD, "list pods in namespace shop"],
    ),
    new(
        "another resource",
        || json!({"permissions": [grant(&["services"], &["get"], &["shop"])]}),
        &[NOT_HELD, "get services"],
    ),
    new(
        "another group",
        granting!({"apiGroups": ["example.com"], "resources": ["pods"], "verbs": ["get"], "namespaces": ["shop"]}),
        &[NOT_HELD, "get pods.example.com"],
    ),
    new(
        "another namespace",
        || json!({"permissions": [grant(&["pods"], &["get"], &["pay"])]}),
        &[NOT_HELD, "in namespace pay"],
    ),
    new(
        "a namespace that does not exist yet",
        || json!({"permissions": [grant(&["pods"], &["get"], &["later"])]}),
        &[NOT_HELD, "in namespace later"],
    ),
    new(
        "the namespace left out",
        granting!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}),
        &[NOT_HELD, "in namespace kite-plugins"],
    ),
    new(
        "the whole cluster",
        || json!({"permissions": [grant(&["pods"], &["get"], &["*"])]}),
        &[NOT_HELD, "in the whole cluster"],
    ),
    new(
        "a subresource",
        || json!({"permissions": [grant(&["pods/log"], &["get"], &["shop"])]}),
        &[NOT_HELD, "get pods/log"],
    ),
    new(
        "one more name",
        granting!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "namespaces": ["shop"], "resourceNames": ["a", "b"]}),
        &[NOT_HELD, "get configmaps \"b\""],
    ),
    new(
        "no name",
        || json!({"permissions": [grant(&["configmaps"], &["get"], &["shop"])]}),
        &[NOT_HELD, "get configmaps in namespace shop"],
    ),
    new(
        "every verb",
        granting!({"apiGroups": [""], "resources": ["pods"], "verbs": ["*"], "namespaces": ["shop"], "allowWildcards": true, "acknowledgeDangerous": true}),
        &[NOT_HELD, "* pods"],
    ),
    new(
        "every resource",
        granting!({"apiGroups": [""], "resources": ["*"], "verbs": ["get"], "namespaces": ["shop"], "allowWildcards": true, "acknowledgeDangerous": true}),
        &[NOT_HELD, "get *"],
    ),
    new(
        "every group",
        granting!({"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"], "namespaces": ["shop"], "allowWildcards": true, "acknowledgeDangerous": true}),
        &[NOT_HELD, "get pods.*"],
    ),
    by_schema(new(
        "a wildcard that nobody acknowledges",
        granting!({"apiGroups": [""], "resources": ["*"], "verbs": ["get"], "namespaces": ["shop"]}),
        &["allowWildcards: true"],
    )),
    by_schema(new(
        "a dangerous right that nobody acknowledges",
        granting!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "namespaces": ["shop"]}),
        &["acknowledgeDangerous: true"],
    )),
    by_schema(new(
        "a wildcard that is dangerous and not acknowledged",
        granting!({"apiGroups": [""], "resources": ["*"], "verbs": ["get"], "namespaces": ["shop"], "allowWildcards": true}),
        &["acknowledgeDangerous: true"],
    )),
    by_schema(new(
        "upper case",
        granting!({"apiGroups": [""], "resources": ["Pods"], "verbs": ["get"], "namespaces": ["shop"]}),
        &["lower case"],
    )),
    new(
        "two entries that only together are too much",
        || json!({"permissions": [grant(&["pods"], &["get"], &["shop"]), grant(&["pods"], &["watch"], &["shop"])]}),
        &[NOT_HELD, "watch pods"],
    ),
    new(
        "Secrets that are acknowledged",
        granting!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "namespaces": ["shop"], "acknowledgeDangerous": true}),
        &[NOT_HELD, "get secrets"],
    ),
    new(
        "the routes of another plugin",
        || json!({"calls": ["other"]}),
        &[NOT_HELD, "kiteplugins/proxy.kite.dev \"other\" in the whole cluster"],
    ),
    new(
        "the system's namespace",
        || json!({"permissions": [grant(&["configmaps"], &["get"], &["kite-system"])]}),
        &["kite-system"],
    ),
];

/// The same by every way of writing, and on an object that is there.
fn by_writing() -> Vec<Attack> {
    let more: fn() -> Value = || json!({"permissions": [grant(&["pods"], &["get", "list"], &["shop"])]});
    let says: &[&str] = &[NOT_HELD, "list pods in namespace shop"];
    vec![
        change("a second update", How::Replace, held, more, says),
        change("server-side apply as another manager", How::Apply, held, more, says),
        change("a merge patch", How::Merge, held, more, says),
        change("a JSON patch", How::Json, held, more, says),
        change(
            "one call more",
            How::Merge,
            || json!({}),
            || json!({"calls": ["other"]}),
            &[NOT_HELD, "kiteplugins/proxy"],
        ),
    ]
}

/// The plugin has rights that the attacker lacks, and they change what runs with them.
fn by_code() -> Vec<Attack> {
    macro_rules! code {
        ($name:literal, $before:tt => $after:tt) => {
            by(
                "trusted",
                change(
                    $name,
                    How::Merge,
                    || with_nodes(json!($before)),
                    || with_nodes(json!($after)),
                    &[NOT_HELD, "list nodes in the whole cluster", AGAIN],
                ),
            )
        };
    }
    vec![
        code!("image", {} => {"image": "registry.example/evil:1.0.0"}),
        code!("rollback to an older image", {"image": "registry.example/plugin:2.0.0", "version": "2.0.0"} => {"image": "registry.example/plugin:1.0.0", "version": "1.0.0"}),
        code!("imagePullPolicy", {} => {"imagePullPolicy": "Always"}),
        code!("imagePullSecrets", {} => {"imagePullSecrets": [{"name": "a"}]}),
        code!("env", {} => {"env": [{"name": "LD_PRELOAD", "value": "/data/evil.so"}]}),
        code!("settingsSecretRef", {} => {"settingsSecretRef": {"name": "a"}}),
        code!("volumes", {} => {"volumes": [{"name": "a", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "a"}}]}),
        code!("nodeSelector", {} => {"nodeSelector": {"kubernetes.io/hostname": "mallorys"}}),
        code!("tolerations", {} => {"tolerations": [{"operator": "Exists"}]}),
        code!("frontend", {} => {"frontend": {"remoteEntry": "a.js"}}),
        code!("middleware", {} => {"middleware": {"paths": ["/api/v1/plugins/**"]}}),
        code!("enabled", {"enabled": false} => {"enabled": true}),
        code!("enabled left out", {"enabled": false} => {"enabled": null}),
        code!("a route's requirement dropped", {"routes": [{"path": "/a", "requires": [{"resource": "nodes", "verb": "list"}]}]} => {"routes": []}),
        code!("a route's requirement loosened", {"routes": [{"path": "/a", "requires": [{"resource": "nodes", "verb": "list"}]}]} => {"routes": [{"path": "/a", "requires": [{"resource": "pods", "verb": "list"}]}]}),
        code!("a tool's requirement dropped", {"tools": [{"name": "a", "requires": [{"resource": "nodes", "verb": "list"}]}]} => {"tools": [{"name": "a"}]}),
        code!("a tool's requirement loosened", {"tools": [{"name": "a", "requires": [{"resource": "nodes", "verb": "list"}]}]} => {"tools": [{"name": "a", "requires": [{"resource": "pods", "verb": "list"}]}]}),
        code!("a resource type's requirement dropped", {"resourceTypes": [{"name": "a", "requires": [{"resource": "nodes", "verb": "list"}]}]} => {"resourceTypes": [{"name": "a"}]}),
        code!("a resource type's requirement loosened", {"resourceTypes": [{"name": "a", "requires": [{"resource": "nodes", "verb": "list"}]}]} => {"resourceTypes": [{"name": "a", "requires": [{"resource": "pods", "verb": "list"}]}]}),
        change(
            "one call more beside other rights",
            How::Merge,
            || with_nodes(json!({})),
            || with_nodes(json!({"calls": ["other"]})),
            &[NOT_HELD, "kiteplugins/proxy"],
        ),
        change(
            "pages without trust",
            How::Merge,
            || json!({}),
            || json!({"frontend": {"remoteEntry": "a.js"}}),
            &["\"trust\""],
        ),
        change(
            "middleware without trust",
            How::Merge,
            || json!({}),
            || json!({"middleware": {"paths": ["/api/v1/plugins/**"]}}),
            &["\"trust\""],
        ),
        change(
            "other code under trusted pages",
            How::Merge,
            || json!({"frontend": {"remoteEntry": "a.js"}}),
            || json!({"image": "registry.example/evil:1.0.0", "frontend": {"remoteEntry": "a.js"}}),
            &["\"trust\""],
        ),
        change(
            "somebody's Secret in the environment",
            How::Merge,
            || json!({}),
            || json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "other", "key": "a"}}}]}),
            &["may not get the Secret \"other\" in kite-plugins"],
        ),
        change(
            "somebody's Secret as settings",
            How::Merge,
            || json!({}),
            || json!({"settingsSecretRef": {"name": "other"}}),
            &["may not get the Secret \"other\""],
        ),
        change(
            "somebody's Secret to pull with",
            How::Merge,
            || json!({}),
            || json!({"imagePullSecrets": [{"name": "other"}]}),
            &["may not get the Secret \"other\""],
        ),
    ]
}

fn with_nodes(fields: Value) -> Value {
    let mut spec = json!({"permissions": [grant(&["nodes"], &["list"], &["*"])]});
    if let (Value::Object(spec), Value::Object(fields)) = (&mut spec, fields) {
        spec.extend(fields);
    }
    spec
}

/// As much as the schema allows, and what is one too many.
fn by_limits() -> Vec<Attack> {
    vec![
        new(
            "as many entries as there may be",
            || json!({"permissions": vec![grant(&["pods"], &["get"], &["shop"]); 31].into_iter().chain([grant(&["nodes"], &["list"], &["*"])]).collect::<Vec<_>>()}),
            &[NOT_HELD, "list nodes"],
        ),
        by(
            "rich",
            new(
                "more than can be checked at once",
                || json!({"permissions": rights(265)}),
                &["adds 265 rights"],
            ),
        ),
        new(
            "more than there may be",
            || json!({"permissions": vec![grant(&["pods", "a", "b", "c", "d", "e", "f", "g"], &["get", "list", "watch"], &["shop"]); 22]}),
            &["more than 512 rights in all"],
        ),
    ]
}
