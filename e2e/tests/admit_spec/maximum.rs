//! An object with every list as long as it may be, and texts near their bounds.

use serde_json::{Map, Value, json};

/// Texts that differ, of `length` characters each.
fn texts(count: usize, length: usize) -> Vec<String> {
    let text = |n| format!("{}{n:02}", "a".repeat(length - 2));
    (0..count).map(text).collect()
}

fn each(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

/// The spec.
pub(crate) fn spec() -> Value {
    let mut spec = Map::new();
    for part in [relations(), access(), pages(), pods()] {
        if let Value::Object(fields) = part {
            spec.extend(fields);
        }
    }
    Value::Object(spec)
}

fn relations() -> Value {
    let verbs = [
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
        "impersonate",
        "bind",
        "escalate",
        "get",
        "list",
        "watch",
        "create",
        "update",
    ];
    let permission = json!({
        "apiGroups": texts(16, 253), "resources": texts(16, 127), "verbs": verbs,
        "resourceNames": texts(16, 253), "namespaces": texts(32, 63), "acknowledgeDangerous": true,
    });
    let requirement = [">=1.0.0"; 28].join(" ");
    json!({
        "version": "1.0.0", "image": format!("{}:1", "a".repeat(510)), "description": "é".repeat(1024),
        "compatibility": {"kite": format!(">=0{}", ",>=0".repeat(31)), "kubernetes": ">=1"},
        "dependencies": each(64, |n| json!({"name": texts(64, 40)[n], "version": requirement})),
        "permissions": vec![permission; 32],
        "calls": texts(64, 40),
    })
}

fn access() -> Value {
    let resource = "a".repeat(120);
    let group = "a".repeat(253);
    let route = |n| {
        let parameter = "p".repeat(63);
        let source = json!({"path": parameter});
        json!({
            "path": format!("/{{{parameter}}}/{n:02}/a{}", "/a".repeat(62)),
            "requires": each(8, |_| json!({"group": group, "resource": resource, "namespace": source, "name": source})),
        })
    };
    let tool = |n: usize| {
        let source = json!({"argument": format!("/{}", "a".repeat(250))});
        let requires = |_| json!({"group": group, "resource": resource, "verb": "list", "namespace": source});
        json!({"name": texts(64, 40)[n], "requires": each(8, requires)})
    };
    let resource_type = |n: usize| {
        let requires = |_| json!({"group": group, "resource": resource, "verb": "list"});
        json!({"name": texts(32, 40)[n], "requires": each(8, requires)})
    };
    let middleware = each(16, |n| json!(format!("/api/v1/plugins/{n:02}{}", "/a".repeat(240))));
    json!({
        "routes": each(64, route), "tools": each(64, tool), "resourceTypes": each(32, resource_type),
        "middleware": {"paths": middleware},
    })
}

fn pages() -> Value {
    let page = |n| json!({"path": format!("/{n:02}{}", "/:a/b".repeat(24)), "module": "./A"});
    let injection = |n: usize| json!({"slot": texts(32, 64)[n], "module": format!("./{}", "A".repeat(126))});
    json!({"frontend": {
        "remoteEntry": "a".repeat(256), "routes": each(32, page), "injections": each(32, injection),
        "connectSources": each(16, |n| json!(format!("https://{}", texts(16, 240)[n]))),
    }})
}

fn pods() -> Value {
    let labels = texts(16, 63).into_iter().map(|key| (key, json!("a".repeat(63))));
    let variable = |n| json!({"name": format!("{}{n:02}", "A".repeat(126)), "value": "a".repeat(4096)});
    let volume = |n: usize| {
        let path = format!("/{n:02}{}", "/a".repeat(120));
        json!({"name": texts(16, 63)[n], "mountPath": path, "emptyDir": {"sizeLimit": "1Gi"}})
    };
    json!({
        "imagePullSecrets": each(8, |n| json!({"name": texts(8, 253)[n]})),
        "tolerations": each(16, |_| json!({"key": "a".repeat(317), "value": "a".repeat(63)})),
        "nodeSelector": labels.collect::<Map<_, _>>(),
        "env": each(64, variable), "volumes": each(16, volume),
    })
}
