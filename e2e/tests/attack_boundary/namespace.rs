//! In the plugins' namespace nobody passes for a plugin, and the operator's credentials open no more than they must.

use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

use super::world::{PLUGINS, SYSTEM, World, both};

/// A request, and what is sent with it.
struct Try {
    name: &'static str,
    method: Method,
    path: String,
    body: Value,
}

/// A pod that mounts a plugin's certificate and key.
fn with_its_secret() -> Value {
    let mut spec = pod_spec();
    spec["volumes"] = json!([{"name": "a", "secret": {"secretName": "kite-plugin-victim-tls"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "a", "mountPath": "/a"}]);
    spec
}

fn pod_spec() -> Value {
    json!({"serviceAccountName": "kite-plugin-victim", "containers": [{"name": "a", "image": "registry.example/evil"}]})
}

/// Makes an object of a kind that makes pods.
fn workload(name: &'static str, group: &str, resource: &str, kind: &str, spec: &Value) -> Try {
    let (path, version) = if group.is_empty() {
        (String::from("/api/v1"), "v1")
    } else {
        (format!("/apis/{group}"), group)
    };
    Try {
        name,
        method: Method::POST,
        path: format!("{path}/namespaces/{PLUGINS}/{resource}?dryRun=All"),
        body: json!({"apiVersion": version, "kind": kind, "metadata": {"name": "evil"}, "spec": spec}),
    }
}

/// A request that makes something, or asks for something to be done.
fn post(name: &'static str, path: String, body: Value) -> Try {
    Try {
        name,
        method: Method::POST,
        path,
        body,
    }
}

/// By every built-in kind, a pod that runs as a plugin.
fn pods() -> Vec<Try> {
    let labels = json!({"app": "evil"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod_spec()});
    let selected = json!({"selector": {"matchLabels": labels}, "template": template});
    let mut stateful = selected.clone();
    stateful["serviceName"] = json!("evil");
    let mut job = template.clone();
    job["spec"]["restartPolicy"] = json!("Never");
    let job = json!({"template": job});
    let cron = json!({"schedule": "* * * * *", "jobTemplate": {"spec": job}});
    let replication = json!({"selector": labels, "template": template});
    vec![
        workload("a pod", "", "pods", "Pod", &pod_spec()),
        workload("a pod with its Secret", "", "pods", "Pod", &with_its_secret()),
        workload("a Deployment", "apps/v1", "deployments", "Deployment", &selected),
        workload("a DaemonSet", "apps/v1", "daemonsets", "DaemonSet", &selected),
        workload("a ReplicaSet", "apps/v1", "replicasets", "ReplicaSet", &selected),
        workload("a StatefulSet", "apps/v1", "statefulsets", "StatefulSet", &stateful),
        workload(
            "a ReplicationController",
            "",
            "replicationcontrollers",
            "ReplicationController",
            &replication,
        ),
        workload("a Job", "batch/v1", "jobs", "Job", &job),
        workload("a CronJob", "batch/v1", "cronjobs", "CronJob", &cron),
    ]
}

/// Ways into a pod that runs.
fn ways_in() -> Vec<Try> {
    let pod = format!("/api/v1/namespaces/{PLUGINS}/pods/runs");
    vec![
        post("exec", format!("{pod}/exec?command=id&stdout=true"), Value::Null),
        post("attach", format!("{pod}/attach?stdout=true"), Value::Null),
        post("port-forward", format!("{pod}/portforward?ports=9443"), Value::Null),
        Try {
            name: "an ephemeral container",
            method: Method::PATCH,
            path: format!("{pod}/ephemeralcontainers?dryRun=All"),
            body: json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "registry.example/evil"}]}}),
        },
    ]
}

/// Ways to a plugin's credentials.
fn credentials() -> Vec<Try> {
    let here = format!("/api/v1/namespaces/{PLUGINS}");
    let secrets = || format!("{here}/secrets?dryRun=All");
    let secret = |name: &str, kind: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": "kite-plugin-victim"}},
            "data": {"tls.crt": "", "tls.key": ""},
        })
    };
    let mut operators = secret("kite-plugin-victim-tls", "kubernetes.io/tls");
    operators["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "kite-operator"});
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}});
    let token = secret("evil", "kubernetes.io/service-account-token");
    let namesake = secret("kite-plugin-other-tls", "kubernetes.io/tls");
    vec![
        post(
            "a token",
            format!("{here}/serviceaccounts/kite-plugin-victim/token"),
            request,
        ),
        post("a token by a Secret", secrets(), token),
        post("a Secret in the name of a plugin", secrets(), namesake),
        Try {
            name: "another certificate in the operator's Secret",
            method: Method::PUT,
            path: format!("{here}/secrets/kite-plugin-victim-tls?dryRun=All"),
            body: operators,
        },
    ]
}

/// Ways to a plugin's place.
fn places() -> Vec<Try> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "evil"},
        "spec": {"ports": [{"port": 9443}], "selector": {"kite.dev/plugin": "victim"}},
    });
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "kite-plugin-other"}});
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "evil"},
        "spec": {"podSelector": {}},
    });
    let here = |group: &str, resource: &str| format!("/{group}/namespaces/{PLUGINS}/{resource}?dryRun=All");
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"port": 9443}],
        "metadata": {"name": "evil", "labels": {"kubernetes.io/service-name": "kite-plugin-victim-1"}},
        "endpoints": [{"addresses": ["192.0.2.1"]}],
    });
    let bound = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "subjects": [],
        "metadata": {"name": "kite-plugin-victim", "labels": {
            "app.kubernetes.io/managed-by": "kite-operator", "kite.dev/plugin": "victim",
        }},
        // Of which it is nothing that the user lacks.
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    });
    vec![
        post("its traffic by a Service", here("api/v1", "services"), service),
        Try {
            name: "its traffic by its own Service",
            method: Method::PATCH,
            path: here("api/v1", "services/kite-plugin-victim-1"),
            body: json!({"spec": {"selector": {"app": "evil"}}}),
        },
        post(
            "its traffic by an EndpointSlice",
            here("apis/discovery.k8s.io/v1", "endpointslices"),
            slice,
        ),
        post(
            "a binding in the operator's name",
            here("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
            bound,
        ),
        post("an account", here("api/v1", "serviceaccounts"), account),
        post(
            "a network policy",
            here("apis/networking.k8s.io/v1", "networkpolicies"),
            policy,
        ),
    ]
}

/// Status and text of the answer.
async fn send(client: &Client, attempt: &Try) -> (u16, String) {
    let media = if attempt.method == Method::PATCH {
        "application/strategic-merge-patch+json"
    } else {
        "application/json"
    };
    let body = if attempt.body.is_null() {
        Vec::new()
    } else {
        attempt.body.to_string().into_bytes()
    };
    let request = Request::builder().method(&attempt.method).uri(&attempt.path);
    let request = request.header(http::header::CONTENT_TYPE, media).body(body).unwrap();
    match client.request::<Value>(request).await {
        Ok(_) => (200, String::new()),
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        // An answer that is no JSON is one of the API server's later steps.
        Err(error) => (500, error.to_string()),
    }
}

async fn make_victim(w: &World) {
    for (path, body) in [
        (
            "serviceaccounts",
            json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "kite-plugin-victim"}}),
        ),
        (
            "secrets",
            json!({
                "kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""},
                "metadata": {"name": "kite-plugin-victim-tls", "labels": {"app.kubernetes.io/managed-by": "kite-operator"}},
            }),
        ),
        (
            "services",
            json!({
                "kind": "Service", "apiVersion": "v1", "metadata": {"name": "kite-plugin-victim-1"},
                "spec": {"ports": [{"port": 9443}], "selector": {"kite.dev/plugin": "victim"}},
            }),
        ),
        (
            "pods",
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "runs"}, "spec": pod_spec()}),
        ),
    ] {
        let attempt = Try {
            name: "",
            method: Method::POST,
            path: format!("/api/v1/namespaces/{PLUGINS}/{path}"),
            body,
        };
        let (status, text) = send(&w.admin, &attempt).await;
        assert!(status == 200 || status == 409, "{path}: {text}");
    }
}

#[test]
fn nobody_with_the_built_in_roles_passes_for_a_plugin() {
    both(async |fenced: &World, open: &World| {
        let mut wrong = Vec::new();
        for w in [fenced, open] {
            make_victim(w).await;
            // Both were bound before there were policies, which refuse it.
            for user in ["edits-here", "administers-here"] {
                let client = w.user(user);
                let all = [pods(), ways_in(), credentials(), places()];
                for attempt in all.iter().flatten() {
                    let (status, text) = send(&client, attempt).await;
                    let is_refused = status == 403 && text.contains("reserved for plugins");
                    let is_allowed = status != 403;
                    if is_refused != std::ptr::eq(w, fenced) || is_allowed == is_refused {
                        wrong.push(format!("{user}, {}: {status} {text}", attempt.name));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

fn binding(name: &str, role: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
    })
}

#[test]
fn edit_and_admin_are_bound_there_by_nobody() {
    both(async |fenced: &World, open: &World| {
        let user = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"});
        let operator = json!({"kind": "ServiceAccount", "name": "kite-operator", "namespace": SYSTEM});
        let bind = |role: &str, subject: &Value| Try {
            name: "",
            method: Method::POST,
            path: format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{PLUGINS}/rolebindings?dryRun=All"),
            body: binding("jane", role, subject),
        };
        for role in ["edit", "admin", "cluster-admin"] {
            let (status, text) = send(&fenced.admin, &bind(role, &user)).await;
            assert!(
                status == 403 && text.contains("only the ClusterRole view"),
                "{role}: {status} {text}"
            );
            assert_eq!(send(&open.admin, &bind(role, &user)).await.0, 200);
        }
        assert_eq!(send(&fenced.admin, &bind("view", &user)).await, (200, String::new()));
        assert_eq!(
            send(&fenced.admin, &bind("edit", &operator)).await,
            (200, String::new()),
            "the chart's own"
        );
    });
}

/// What somebody tries who has the operator's credentials, and all rights that RBAC can give: roles and bindings.
fn roles_of_the_operator() -> Vec<Try> {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let account = |name: &str, namespace: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
    let everywhere = |name: &str, role: &str, subject: Value| {
        let mut binding = binding(name, role, &subject);
        binding["kind"] = json!("ClusterRoleBinding");
        let path = format!("{rbac}/clusterrolebindings?dryRun=All");
        post("a binding for the whole cluster", path, binding)
    };
    let role = |metadata: Value, extra: Value| {
        let mut role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": [],
        });
        role.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        post("a role", format!("{rbac}/clusterroles?dryRun=All"), role)
    };
    let evil = "kite-plugin-evil";
    let collected = json!({"name": evil, "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}});
    let by_others = json!({"name": evil, "labels": {"rbac.example.com/aggregate-to-monitoring": "true"}});
    let collects = json!({"aggregationRule": {"clusterRoleSelectors": [{}]}});
    let in_system = binding(evil, evil, &account(evil, PLUGINS));
    vec![
        everywhere("evil", "cluster-admin", account(evil, PLUGINS)),
        everywhere(evil, "cluster-admin", account(evil, PLUGINS)),
        everywhere(evil, evil, account("default", PLUGINS)),
        everywhere(evil, evil, account(evil, SYSTEM)),
        role(json!({"name": "evil"}), json!({})),
        role(collected, json!({})),
        role(by_others, json!({})),
        role(json!({"name": evil}), collects),
        post(
            "a binding in the system's namespace",
            format!("{rbac}/namespaces/{SYSTEM}/rolebindings?dryRun=All"),
            in_system,
        ),
    ]
}

/// The rest of what they try.
fn the_rest_of_the_operator() -> Vec<Try> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "evil"}, "spec": pod_spec()});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "evil"}});
    let token = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}},
    });
    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
    });
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "as.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster", "names": {"plural": "as", "kind": "A"},
            "versions": [version],
        },
    });
    let within = |namespace: &str, resource: &str| format!("/api/v1/namespaces/{namespace}/{resource}?dryRun=All");
    let crds = String::from("/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All");
    vec![
        post("a pod", within(PLUGINS, "pods"), pod),
        post("a Secret elsewhere", within("shop", "secrets"), secret),
        post("a token in the system's namespace", within(SYSTEM, "secrets"), token),
        post("a kind", crds, crd),
    ]
}

#[test]
fn the_operators_credentials_write_nothing_outside_the_fence() {
    both(async |fenced: &World, open: &World| {
        let operator = format!("system:serviceaccount:{SYSTEM}:kite-operator");
        let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
        let mut wrong = Vec::new();
        for w in [fenced, open] {
            make_victim(w).await;
            w.role(&operator, all.clone()).await;
            let client = w.user(&operator);
            for attempt in roles_of_the_operator().into_iter().chain(the_rest_of_the_operator()) {
                let (status, text) = send(&client, &attempt).await;
                let is_refused = status == 403 && text.contains("kite-fence");
                if is_refused != std::ptr::eq(w, fenced) || (!is_refused && status != 200) {
                    wrong.push(format!("{}: {status} {text}", attempt.name));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn the_status_is_the_operators_alone() {
    both(async |fenced: &World, open: &World| {
        let traffic = json!({"status": {"activeRevision": 7}});
        for w in [fenced, open] {
            w.given(&super::object("told", json!({}))).await;
            let api = super::plugins(&w.admin);
            let patch = kube::api::Patch::Merge(traffic.clone());
            let result = api
                .patch_status("told", &kube::api::PatchParams::default(), &patch)
                .await;
            assert_eq!(result.is_err(), std::ptr::eq(w, fenced), "{result:?}");
        }
    });
}
