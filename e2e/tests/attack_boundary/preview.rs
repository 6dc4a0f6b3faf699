//! What `kite-plugin can-i-apply` says before is what the API server says to the apply.

use kite_plugin::{
    cli::{self, ExitStatus},
    printer::Printer,
};
use kube::api::Patch;
use serde_json::{Value, json};

use super::world::{World, both, object, plugins_rule, rights};

/// The command's status, and what it wrote to stdout.
async fn asked(w: &World, user: &str, object: &Value) -> (ExitStatus, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plugin.yaml");
    std::fs::write(&file, object.to_string()).unwrap();
    let (file, kubeconfig) = (file.to_str().unwrap(), w.kubeconfig().to_str().unwrap());
    let arguments = [
        "kite-plugin",
        "can-i-apply",
        file,
        "--kubeconfig",
        kubeconfig,
        "--as",
        user,
    ];
    let (mut data, mut talk) = (Vec::new(), Vec::new());
    let arguments = arguments.iter().map(Into::into);
    let status = cli::run(arguments, &mut Printer::new(&mut data, &mut talk)).await;
    let text = String::from_utf8(data).unwrap();
    assert!(
        status != ExitStatus::Unanswered,
        "{user}: {text}{}",
        String::from_utf8_lossy(&talk)
    );
    (status, text)
}

/// What the API server says to the apply that was asked about.
async fn applied(w: &World, user: &str, object: &Value) -> Result<(), String> {
    let name = object["metadata"]["name"].as_str().unwrap();
    w.patch(&w.user(user), name, "kubectl", Patch::Apply(object.clone()))
        .await
}

async fn both_say_yes(w: &World, user: &str, object: &Value) {
    let said = asked(w, user, object).await;
    assert_eq!(said, (ExitStatus::Success, String::from("yes\n")), "{user}");
    assert_eq!(applied(w, user, object).await, Ok(()), "{user}");
}

/// That just these are missing, and that the API server refuses with these words.
async fn both_say_no(w: &World, user: &str, object: &Value, lines: &[&str], says: &str) {
    let text = format!("no\n{}\n", lines.join("\n"));
    assert_eq!(asked(w, user, object).await, (ExitStatus::Failure, text), "{user}");
    let text = applied(w, user, object).await.unwrap_err();
    assert!(text.contains(says) && !text.contains("cost"), "{user}: {text}");
}

fn rule(group: &str, resource: &str, verbs: &[&str], names: &[&str]) -> Value {
    let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

/// All that the object of [`whole`] takes, each with the line that tells that it is missing, and the words of the refusal.
fn takes(name: &str) -> Vec<(Value, Vec<String>, &'static str)> {
    let line = |text: &str| vec![text.to_owned()];
    let verbs = ["get", "create", "update", "patch", "delete"];
    let calls = verbs.map(|verb| format!("{verb} kiteplugins/proxy.kite.dev \"other\" in the whole cluster"));
    let on_plugin = |verb: &str, why: &str| {
        line(&format!(
            "{verb} kiteplugins.kite.dev \"{name}\" in the whole cluster, {why}"
        ))
    };
    vec![
        (
            rule("", "nodes", &["list"], &[]),
            line("list nodes in the whole cluster"),
            "list nodes in the whole cluster",
        ),
        (
            rule("apps", "deployments/scale", &["patch"], &["a"]),
            line("patch deployments/scale.apps \"a\" in namespace shop"),
            "patch deployments/scale.apps \"a\" in namespace shop",
        ),
        (
            rule("kite.dev", "kiteplugins/proxy", &verbs, &["other"]),
            calls.to_vec(),
            "kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
        ),
        (
            rule("", "secrets", &["get"], &["db"]),
            line("get secrets \"db\" in namespace kite-plugins, which the object names"),
            "may not get the Secret \"db\" in kite-plugins",
        ),
        (
            rule("kite.dev", "kiteplugins", &["trust"], &[name]),
            on_plugin("trust", "for its pages or middleware"),
            "\"trust\"",
        ),
        (
            rule("kite.dev", "kiteplugins", &["patch"], &[name]),
            on_plugin("patch", "to apply it at all"),
            "cannot patch resource",
        ),
        (
            rule("kite.dev", "kiteplugins", &["create"], &[name]),
            on_plugin("create", "to apply it at all"),
            "cannot create resource",
        ),
    ]
}

/// A plugin of which each kind of question is asked.
fn whole(name: &str) -> Value {
    object(
        name,
        json!({
            "permissions": [
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"], "namespaces": ["*"]},
                {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"], "namespaces": ["shop"], "resourceNames": ["a"]},
            ],
            "calls": ["other"],
            "settingsSecretRef": {"name": "db"},
            "frontend": {"remoteEntry": "a.js"},
        }),
    )
}

#[test]
fn whoever_has_just_what_it_takes_may_and_with_one_less_may_not() {
    both(async |fenced: &World, _| {
        let plugin = whole("preview");
        let takes = takes("preview");
        let all: Vec<Value> = takes.iter().map(|(rule, ..)| rule.clone()).collect();
        // Not to see the object is no matter where there is none.
        fenced.role("preview-all", json!(all)).await;
        both_say_yes(fenced, "preview-all", &plugin).await;
        for (missing, (_, lines, says)) in takes.iter().enumerate() {
            let user = format!("preview-lacks-{missing}");
            let mut rules = all.clone();
            rules.remove(missing);
            fenced.role(&user, json!(rules)).await;
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            both_say_no(fenced, &user, &plugin, &lines, says).await;
        }
    });
}

#[test]
fn whoever_may_escalate_may_and_whoever_may_only_write_may_not() {
    both(async |fenced: &World, _| {
        let plugin = whole("preview-escalated");
        let escalate = |names: &[&str]| rule("kite.dev", "kiteplugins", &["escalate"], names);
        for (user, names) in [
            ("preview-escalates-all", [].as_slice()),
            ("preview-escalates-one", &["preview-escalated"]),
        ] {
            fenced.role(user, json!([plugins_rule(), escalate(names)])).await;
            both_say_yes(fenced, user, &plugin).await;
        }
        let others = json!([plugins_rule(), escalate(&["preview-other"])]);
        fenced.role("preview-escalates-other", others).await;
        let (status, text) = asked(fenced, "preview-escalates-other", &plugin).await;
        assert_eq!((status, text.lines().count()), (ExitStatus::Failure, 10), "{text}");
        assert!(applied(fenced, "preview-escalates-other", &plugin).await.is_err());

        let too_many = object("preview-many", json!({"permissions": rights(265)}));
        fenced.role("preview-many", json!([plugins_rule()])).await;
        let everything = json!([{"apiGroups": ["example.com"], "resources": ["*"], "verbs": ["*"]}]);
        fenced.role_in("shop", "preview-many", everything).await;
        let line = "this change adds 265 rights, and 264 can be checked at once: add them in several changes, or ask somebody who may \
                    \"escalate\" kiteplugins";
        both_say_no(fenced, "preview-many", &too_many, &[line], line).await;
        let as_many = object("preview-many", json!({"permissions": rights(264)}));
        both_say_yes(fenced, "preview-many", &as_many).await;
    });
}

#[test]
fn of_an_object_that_is_there_only_what_changes_is_asked() {
    both(async |fenced: &World, _| {
        let name = "preview-there";
        fenced.given(&whole(name)).await;
        let user = "preview-changes";
        fenced.role(user, json!([plugins_rule()])).await;
        let with = |fields: Value| {
            let mut object = whole(name);
            for (field, value) in fields.as_object().unwrap() {
                object["spec"][field] = value.clone();
            }
            object
        };
        both_say_yes(fenced, user, &whole(name)).await;
        both_say_yes(
            fenced,
            user,
            &with(json!({"description": "better", "replicas": 2, "enabled": false})),
        )
        .await;
        both_say_yes(fenced, user, &with(json!({"permissions": []}))).await;
        let pods = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": ["shop"]}]);
        let line = "get pods in namespace shop";
        both_say_no(fenced, user, &with(json!({"permissions": pods})), &[line], line).await;

        let all = [
            "list nodes in the whole cluster",
            "patch deployments/scale.apps \"a\" in namespace shop",
            "get kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
            "create kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
            "update kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
            "patch kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
            "delete kiteplugins/proxy.kite.dev \"other\" in the whole cluster",
            "get secrets \"db\" in namespace kite-plugins, which the object names",
            "trust kiteplugins.kite.dev \"preview-there\" in the whole cluster, for its pages or middleware",
        ];
        let evil = json!({"image": "registry.example/evil:1.0.0"});
        both_say_no(fenced, user, &with(evil.clone()), &all, "").await;
        // What the administrator made, the document does not take away by leaving it out.
        both_say_no(fenced, user, &object(name, evil.clone()), &all, "").await;
        // Who cannot see it must hold all of it, although the API server asks for less.
        let writes = rule("kite.dev", "kiteplugins", &["create", "patch"], &[name]);
        fenced.role("preview-blind", json!([writes])).await;
        let (status, text) = asked(fenced, "preview-blind", &whole(name)).await;
        assert_eq!(
            (status, text),
            (ExitStatus::Failure, format!("no\n{}\n", all.join("\n")))
        );
        assert_eq!(applied(fenced, "preview-blind", &whole(name)).await, Ok(()));

        let takes = takes(name).into_iter().map(|(rule, ..)| rule);
        let takes: Vec<Value> = takes.chain([plugins_rule()]).collect();
        fenced.role("preview-takes", json!(takes)).await;
        both_say_yes(fenced, "preview-takes", &with(evil)).await;
    });
}
