//! The refusals of the schema, one row each.

use serde_json::{Value, json};

/// A change of a valid spec that is refused, and the nearest one that is not.
pub(crate) struct Case {
    /// What the text names as the place.
    pub(crate) field: &'static str,
    /// What it says.
    pub(crate) says: &'static str,
    pub(crate) refused: fn(&mut Value),
    pub(crate) accepted: fn(&mut Value),
}

/// `field, says, refused, accepted`, the last two as expressions for a field of the spec.
macro_rules! cases {
    ($($field:literal, $says:literal, $key:literal: $refused:tt => $accepted:tt;)*) => {
        &[$(Case {
            field: $field,
            says: $says,
            refused: |spec| spec[$key] = json!($refused),
            accepted: |spec| spec[$key] = json!($accepted),
        }),*]
    };
}

pub(crate) const REFUSALS: &[Case] = cases! {
    // Versions, requirements, images.
    "spec.version", "Semantic Versioning", "version": "1.2" => "1.2.0";
    "spec.version", "no \"v\"", "version": "v1.2.3" => "1.2.3-rc.1+build.5";
    "spec.version", "Semantic Versioning", "version": "01.2.3" => "0.2.3";
    "spec.version", "Semantic Versioning", "version": "99999999999999999999.0.0" => "9999999999999999999.0.0";
    "spec.image", "by tag or digest", "image": "" => "a";
    "spec.image", "lower case", "image": "Registry/Plugin:1" => "Registry:5000/plugin:1";
    "spec.image", "by tag or digest", "image": "a b" => "a/b@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    "spec.imagePullPolicy", "supported values", "imagePullPolicy": "Sometimes" => "Always";
    "spec.dependencies[0].version", "write a requirement", "dependencies": [{"name": "a", "version": "latest"}] => [{"name": "a", "version": "*"}];
    "spec.dependencies[0].version", "write a requirement", "dependencies": [{"name": "a", "version": "1.0.0 - 2.0.0"}] => [{"name": "a", "version": ">=1.0.0 <=2.0.0"}];
    "spec.dependencies[0].version", "write a requirement", "dependencies": [{"name": "a", "version": "~>1"}] => [{"name": "a", "version": "~1"}];
    "spec.dependencies[0].version", "write a requirement", "dependencies": [{"name": "a", "version": "^1.0 ||"}] => [{"name": "a", "version": "^1.0 || !=2.1.x, >=2"}];
    "spec.dependencies[0].version", "Required", "dependencies": [{"name": "a"}] => [{"name": "a", "version": "1.x"}];
    "spec.dependencies[0].name", "name of a plugin", "dependencies": [{"name": "A", "version": "1"}] => [{"name": "a", "version": "1"}];
    "spec.dependencies[0].name", "reserved", "dependencies": [{"name": "admin", "version": "1"}] => [{"name": "admins", "version": "1"}];
    "spec.dependencies[1]", "Duplicate", "dependencies": [{"name": "a", "version": "1"}, {"name": "a", "version": "2"}] => [{"name": "a", "version": "1"}, {"name": "b", "version": "2"}];
    "spec.compatibility.kite", "write a requirement", "compatibility": {"kite": "new"} => {"kite": ">=0.1"};
    "spec.compatibility.kubernetes", "write a requirement", "compatibility": {"kubernetes": "v1.30"} => {"kubernetes": ">=1.30, <2"};

    // Numbers and ranges.
    "spec.replicas", "greater than or equal to 1", "replicas": 0 => 1;
    "spec.replicas", "less than or equal to 100", "replicas": 101 => 100;
    "spec.priority", "greater than or equal to 0", "priority": (-1) => 0;
    "spec.rateLimit.requestsPerSecond", "greater than or equal to 1", "rateLimit": {"requestsPerSecond": 0} => {"requestsPerSecond": 1};
    "spec.rateLimit.burst", "greater than or equal to 1", "rateLimit": {"burst": (-5)} => {"burst": 5};
    "spec.rateLimit.perCaller", "greater than or equal to 1", "rateLimit": {"perCaller": 0} => {"perCaller": 1};
    "spec.limits.inFlight", "greater than or equal to 1", "limits": {"inFlight": (-1)} => {"inFlight": 10000};
    "spec.limits.timeoutSeconds", "greater than or equal to 1", "limits": {"timeoutSeconds": 0} => {"timeoutSeconds": 3600};
    "spec.limits.requestBodyBytes", "number of bytes above 0", "limits": {"requestBodyBytes": "-1Mi"} => {"requestBodyBytes": "1Mi"};
    "spec.limits.requestBodyBytes", "number of bytes above 0", "limits": {"requestBodyBytes": (-1)} => {"requestBodyBytes": 65536};
    "spec.limits.requestBodyBytes", "number of bytes above 0", "limits": {"requestBodyBytes": "1M"} => {"requestBodyBytes": "1Gi"};
    "spec.revisionHistoryLimit", "greater than or equal to 0", "revisionHistoryLimit": (-1) => 0;
    "spec.drainSeconds", "greater than or equal to 0", "drainSeconds": (-1) => 0;
    "spec.resources.limits", "not negative", "resources": {"limits": {"memory": "much"}} => {"limits": {"memory": "128Mi", "cpu": 1}};
    "spec.resources.requests", "not negative", "resources": {"requests": {"cpu": "-1"}} => {"requests": {"cpu": "10m"}};
    "spec.resources.requests", "not negative", "resources": {"requests": {"cpu": (-1)}} => {"requests": {"cpu": 0}};

    // The grant.
    "spec.permissions[0].apiGroups", "at least 1", "permissions": [{"apiGroups": [], "resources": ["pods"], "verbs": ["get"]}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}];
    "spec.permissions[0].resources", "at least 1", "permissions": [{"apiGroups": [""], "resources": [], "verbs": ["get"]}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}];
    "spec.permissions[0].verbs", "at least 1", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": []}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}];
    "spec.permissions[0].namespaces", "at least 1", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": []}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}];
    "spec.permissions[0].resourceNames", "at least 1", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": []}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]}];
    "spec.permissions[0].resourceNames[0]", "leave resourceNames out", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["*"]}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["system:a.b_c"]}];
    "spec.permissions[0].verbs[0]", "supported values", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["log"]}] => [{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}];
    "spec.permissions[0].verbs[0]", "supported values", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["Get"]}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["deletecollection"], "acknowledgeDangerous": true}];
    "spec.permissions[0].resources[0]", "pods/* and */scale are not accepted", "permissions": [{"apiGroups": [""], "resources": ["pods/*"], "verbs": ["get"]}] => [{"apiGroups": [""], "resources": ["pods/status"], "verbs": ["get"]}];
    "spec.permissions[0].resources[0]", "pods/* and */scale are not accepted", "permissions": [{"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["get"], "allowWildcards": true}] => [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"]}];
    "spec.permissions[0].resources[0]", "lower case", "permissions": [{"apiGroups": [""], "resources": ["Pods"], "verbs": ["get"]}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}];
    "spec.permissions[0].apiGroups[0]", "core group", "permissions": [{"apiGroups": ["Apps"], "resources": ["deployments"], "verbs": ["get"]}] => [{"apiGroups": ["apps", "metrics.k8s.io"], "resources": ["deployments"], "verbs": ["get"]}];
    "spec.permissions[0].namespaces[0]", "names of namespaces", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": ["../a"]}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": ["a"]}];
    "spec.permissions[0]", "allowWildcards: true", "permissions": [{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"], "acknowledgeDangerous": true}] => [{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"], "acknowledgeDangerous": true, "allowWildcards": true}];
    "spec.permissions[0]", "allowWildcards: true", "permissions": [{"apiGroups": [""], "resources": ["*"], "verbs": ["get"], "acknowledgeDangerous": true, "allowWildcards": false}] => [{"apiGroups": [""], "resources": ["*"], "verbs": ["get"], "acknowledgeDangerous": true, "allowWildcards": true}];
    "spec.permissions[0]", "allowWildcards: true", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"], "acknowledgeDangerous": true}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"], "acknowledgeDangerous": true, "allowWildcards": true}];
    "spec.permissions[0]", "whatever there is or will be", "permissions": [{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"], "allowWildcards": true}] => [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "acknowledgeDangerous": true, "allowWildcards": true}];
    "spec.permissions[0]", "stands alone in apiGroups", "permissions": [{"apiGroups": ["*", ""], "resources": ["pods"], "verbs": ["get"], "acknowledgeDangerous": true, "allowWildcards": true}] => [{"apiGroups": ["apps", ""], "resources": ["pods"], "verbs": ["get"]}];
    "spec.permissions[0]", "stands alone in resources", "permissions": [{"apiGroups": [""], "resources": ["*", "pods"], "verbs": ["get"], "acknowledgeDangerous": true, "allowWildcards": true}] => [{"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get"]}];
    "spec.permissions[0]", "stands alone in verbs", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["*", "get"], "acknowledgeDangerous": true, "allowWildcards": true}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "get"]}];
    "spec.permissions[0]", "stands alone in namespaces", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": ["*", "a"]}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "namespaces": ["*"]}];
    "spec.permissions[0]", "secrets opens credentials", "permissions": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}] => [{"apiGroups": ["example.com"], "resources": ["secrets"], "verbs": ["get"]}];
    "spec.permissions[0]", "acknowledgeDangerous: true", "permissions": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}] => [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"], "acknowledgeDangerous": true}];
    "spec.permissions[0]", "acknowledgeDangerous: true", "permissions": [{"apiGroups": [""], "resources": ["pods/attach"], "verbs": ["get"]}] => [{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}];
    "spec.permissions[0]", "acknowledgeDangerous: true", "permissions": [{"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get"]}] => [{"apiGroups": [""], "resources": ["pods/status"], "verbs": ["get"]}];
    "spec.permissions[0]", "acknowledgeDangerous: true", "permissions": [{"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["get"]}] => [{"apiGroups": [""], "resources": ["pods"], "verbs": ["watch"]}];
    "spec.permissions[0]", "those ServiceAccounts", "permissions": [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}] => [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["create"]}];
    "spec.permissions[0]", "the kubelets", "permissions": [{"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]}] => [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}];
    "spec.permissions[0]", "not the plugin's own", "permissions": [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}] => [{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"], "acknowledgeDangerous": true}];
    "spec.permissions[0]", "not the plugin's own", "permissions": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["bind"]}] => [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["get"]}];
    "spec.permissions[0]", "not the plugin's own", "permissions": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"]}] => [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["watch"]}];
    "spec.permissions[0]", "every ServiceAccount", "permissions": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}] => [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}];
    "spec.permissions[0]", "every ServiceAccount", "permissions": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}] => [{"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]}];
    "spec.permissions[0]", "every ServiceAccount", "permissions": [{"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["delete"]}] => [{"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["list"]}];
    "spec.permissions[0]", "who may do what", "permissions": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["update"]}] => [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["list"]}];
    "spec.permissions[0]", "names of others", "permissions": [{"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"], "verbs": ["update"]}] => [{"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["get"]}];
    "spec.permissions[0]", "what the API server admits", "permissions": [{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"], "verbs": ["create"]}] => [{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"], "verbs": ["get"]}];
    "spec.permissions[0]", "kinds of the API server", "permissions": [{"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["update"]}] => [{"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["get"]}];
    "spec.permissions[0]", "what plugins run", "permissions": [{"apiGroups": ["kite.dev"], "resources": ["kiteplugins"], "verbs": ["patch"], "namespaces": ["*"]}] => [{"apiGroups": ["kite.dev"], "resources": ["kiteplugins"], "verbs": ["list"], "namespaces": ["*"]}];
    "spec.calls[0]", "name of a plugin", "calls": ["a/b"] => ["a-b"];
    "spec.calls[1]", "Duplicate", "calls": ["a", "a"] => ["a", "b"];

    // Routes, tools, resource types.
    "spec.routes[0].path", "begins with /", "routes": [{"path": "costs"}] => [{"path": "/costs"}];
    "spec.routes[0].path", "no \"..\"", "routes": [{"path": "/a/../b"}] => [{"path": "/a/.b"}];
    "spec.routes[0].path", "no \"..\"", "routes": [{"path": "/."}] => [{"path": "/.well-known"}];
    "spec.routes[0].path", "encoded", "routes": [{"path": "/a%2fb"}] => [{"path": "/a/b"}];
    "spec.routes[0].path", "no \"//\"", "routes": [{"path": "/a//b"}] => [{"path": "/"}];
    "spec.routes[0].path", "does not end with it", "routes": [{"path": "/a/"}] => [{"path": "/a/**"}];
    "spec.routes[0].path", "begins with /", "routes": [{"path": "/**/a"}] => [{"path": "/*/a"}];
    "spec.routes[0].path", "gateway's own", "routes": [{"path": "/static"}] => [{"path": "/statics"}];
    "spec.routes[0].path", "gateway's own", "routes": [{"path": "/resources/**"}] => [{"path": "/a/resources/**"}];
    "spec.routes[1]", "Duplicate", "routes": [{"path": "/a"}, {"path": "/a"}] => [{"path": "/a"}, {"path": "/b"}];
    "spec.routes[0]", "the path does not have", "routes": [{"path": "/namespaces/pods", "requires": [{"resource": "pods", "namespace": {"path": "namespace"}}]}] => [{"path": "/namespaces/{namespace}/pods", "requires": [{"resource": "pods", "namespace": {"path": "namespace"}}]}];
    "spec.routes[0]", "takes its name", "routes": [{"path": "/{namespace}", "requires": [{"resource": "pods", "namespace": {"path": "namespace"}, "name": {"path": "name"}}]}] => [{"path": "/{namespace}/{name}", "requires": [{"resource": "pods", "namespace": {"path": "namespace"}, "name": {"path": "name"}}]}];
    "spec.routes[0].requires[0].namespace", "exactly one", "routes": [{"path": "/a", "requires": [{"resource": "pods", "namespace": {}}]}] => [{"path": "/a", "requires": [{"resource": "pods"}]}];
    "spec.routes[0].requires[0].namespace", "exactly one", "routes": [{"path": "/a", "requires": [{"resource": "pods", "namespace": {"query": "a", "body": "/a"}}]}] => [{"path": "/a", "requires": [{"resource": "pods", "namespace": {"query": "a"}, "name": {"body": "/a/b"}}]}];
    "spec.routes[0].requires[0].namespace.body", "JSON pointer", "routes": [{"path": "/a", "requires": [{"resource": "pods", "namespace": {"body": "a"}}]}] => [{"path": "/a", "requires": [{"resource": "pods", "namespace": {"body": "/a~1b/0"}}]}];
    "spec.routes[0].requires[0].resource", "one resource", "routes": [{"path": "/a", "requires": [{"resource": "*"}]}] => [{"path": "/a", "requires": [{"resource": "pods/log", "group": "", "verb": "get"}]}];
    "spec.routes[0].requires[0].verb", "supported values", "routes": [{"path": "/a", "requires": [{"resource": "pods", "verb": "*"}]}] => [{"path": "/a", "requires": [{"resource": "pods", "verb": "list"}]}];
    "spec.routes", "match just the same paths", "routes": [{"path": "/a/{x}", "requires": [{"resource": "pods"}]}, {"path": "/a/{y}"}] => [{"path": "/a/{x}"}, {"path": "/a/{x}/{y}"}];
    "spec.routes", "match just the same paths", "routes": [{"path": "/a/{x}"}, {"path": "/a/*"}] => [{"path": "/a/{x}"}, {"path": "/a/x"}];
    "spec.routes[0].path", "names each of its parameters differently", "routes": [{"path": "/{a}/{b}/{a}"}] => [{"path": "/{a}/{b}/{c}"}];
    "spec.routes[0].path", "at most 3 parameters", "routes": [{"path": "/{a}/{b}/{c}/{d}"}] => [{"path": "/{a}/b/{c}/*/{d}"}];
    "spec.volumes", "same mountPath", "volumes": [{"name": "a", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "a"}}, {"name": "b", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "a"}}] => [{"name": "a", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "a"}}, {"name": "b", "mountPath": "/b", "persistentVolumeClaim": {"claimName": "a"}}];
    "spec.permissions[0]", "who answers for them", "permissions": [{"apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"], "verbs": ["create"]}] => [{"apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"], "verbs": ["get"]}];
    "spec.tools[0].name", "tool's own name", "tools": [{"name": "Get"}] => [{"name": "get_cost2"}];
    "spec.tools[0].name", "55", "tools": [{"name": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}] => [{"name": "a"}];
    "spec.tools[1]", "Duplicate", "tools": [{"name": "a"}, {"name": "a"}] => [{"name": "a"}, {"name": "b"}];
    "spec.tools[0].requires[0].verb", "Required", "tools": [{"name": "a", "requires": [{"resource": "pods"}]}] => [{"name": "a", "requires": [{"resource": "pods", "verb": "list", "namespace": {"argument": "/namespace"}}]}];
    "spec.tools[0].requires[0].namespace.argument", "JSON pointer", "tools": [{"name": "a", "requires": [{"resource": "pods", "verb": "list", "namespace": {"argument": "namespace"}}]}] => [{"name": "a", "requires": [{"resource": "pods", "verb": "list"}]}];
    "spec.resourceTypes[0].name", "resource type", "resourceTypes": [{"name": "a_b"}] => [{"name": "cost-reports", "requires": [{"resource": "pods", "verb": "list"}]}];
    "spec.resourceTypes[1]", "Duplicate", "resourceTypes": [{"name": "a"}, {"name": "a"}] => [{"name": "a"}, {"name": "b"}];

    // Middleware.
    "spec.middleware.paths[0]", "below /api/v1/plugins/", "middleware": {"paths": ["/api/v1/session"]} => {"paths": ["/api/v1/plugins/a/**"]};
    "spec.middleware.paths[0]", "below /api/v1/plugins/", "middleware": {"paths": ["/api/v1/plugins"]} => {"paths": ["/api/v1/plugins/**"]};
    "spec.middleware.paths[0]", "below /api/v1/plugins/", "middleware": {"paths": ["/api/v1/plugins/../session"]} => {"paths": ["/api/v1/plugins/*/session"]};
    "spec.middleware.paths[0]", "below /api/v1/plugins/", "middleware": {"paths": ["/api/v1/plugins-of-others/**"]} => {"paths": ["/api/v1/plugins/a"]};
    "spec.middleware.paths", "at least 1", "middleware": {"paths": []} => {"paths": ["/api/v1/plugins/a"], "priority": 0, "failurePolicy": "Ignore", "timeoutSeconds": 30};
    "spec.middleware.failurePolicy", "supported values", "middleware": {"paths": ["/api/v1/plugins/a"], "failurePolicy": "fail"} => {"paths": ["/api/v1/plugins/a"], "failurePolicy": "Fail"};
    "spec.middleware.timeoutSeconds", "less than or equal to 30", "middleware": {"paths": ["/api/v1/plugins/a"], "timeoutSeconds": 31} => {"paths": ["/api/v1/plugins/a"], "timeoutSeconds": 1};

    // Pages.
    "spec.frontend.remoteEntry", "Required", "frontend": {} => {"remoteEntry": "remoteEntry.js"};
    "spec.frontend.remoteEntry", "relative", "frontend": {"remoteEntry": "../a.js"} => {"remoteEntry": "assets/mf-manifest.json"};
    "spec.frontend.routes[1]", "Duplicate", "frontend": {"remoteEntry": "a.js", "routes": [{"path": "/a", "module": "./A"}, {"path": "/a", "module": "./B"}]} => {"remoteEntry": "a.js", "routes": [{"path": "/a", "module": "./A"}, {"path": "/b", "module": "./A"}]};
    "spec.frontend.routes", "differ in the names of their parameters only", "frontend": {"remoteEntry": "a.js", "routes": [{"path": "/a/:id", "module": "./A"}, {"path": "/a/:name", "module": "./B"}]} => {"remoteEntry": "a.js", "routes": [{"path": "/a/:id", "module": "./A"}, {"path": "/a/:id/:name", "module": "./B"}]};
    "spec.frontend.routes[0].path", "begins with /", "frontend": {"remoteEntry": "a.js", "routes": [{"path": "cost", "module": "./A"}]} => {"remoteEntry": "a.js", "routes": [{"path": "/", "module": "./A"}]};
    "spec.frontend.routes[0].module", "./Name", "frontend": {"remoteEntry": "a.js", "routes": [{"path": "/a", "module": "CostDashboard"}]} => {"remoteEntry": "a.js", "routes": [{"path": "/a", "module": "./CostDashboard", "sidebarEntry": {"title": "Costs", "icon": "currency-dollar", "section": "observability", "priority": 100}}]};
    "spec.frontend.routes[0].module", "./Name", "frontend": {"remoteEntry": "a.js", "routes": [{"path": "/a", "module": "./../A"}]} => {"remoteEntry": "a.js", "routes": [{"path": "/a", "module": "./A_b-2"}]};
    "spec.frontend.routes[0].sidebarEntry.icon", "kebab case", "frontend": {"remoteEntry": "a.js", "routes": [{"path": "/a", "module": "./A", "sidebarEntry": {"title": "A", "icon": "IconBox"}}]} => {"remoteEntry": "a.js", "routes": [{"path": "/a", "module": "./A", "sidebarEntry": {"title": "A", "icon": "box"}}]};
    "spec.frontend.settingsPanel", "./Name", "frontend": {"remoteEntry": "a.js", "settingsPanel": "Settings"} => {"remoteEntry": "a.js", "settingsPanel": "./Settings"};
    "spec.frontend.injections[1]", "Duplicate", "frontend": {"remoteEntry": "a.js", "injections": [{"slot": "pod-detail", "module": "./A"}, {"slot": "pod-detail", "module": "./A"}]} => {"remoteEntry": "a.js", "injections": [{"slot": "pod-detail", "module": "./A"}, {"slot": "pod-detail", "module": "./B"}]};
    "spec.frontend.connectSources[0]", "write an origin", "frontend": {"remoteEntry": "a.js", "connectSources": ["https://a.example/path"]} => {"remoteEntry": "a.js", "connectSources": ["https://a.example:8443"]};
    "spec.frontend.connectSources[0]", "write an origin", "frontend": {"remoteEntry": "a.js", "connectSources": ["http://a.example"]} => {"remoteEntry": "a.js", "connectSources": ["wss://*.a.example"]};

    // Pods.
    "spec.imagePullSecrets[1]", "Duplicate", "imagePullSecrets": [{"name": "a"}, {"name": "a"}] => [{"name": "a"}, {"name": "b"}];
    "spec.imagePullSecrets[0].name", "name of an object", "imagePullSecrets": [{"name": "A"}] => [{"name": "a.b"}];
    "spec.settingsSecretRef.name", "name of an object", "settingsSecretRef": {"name": "a/b"} => {"name": "a-b"};
    "spec.env[0].name", "environment variable", "env": [{"name": "1A"}] => [{"name": "A1", "value": ""}];
    "spec.env[0].name", "set by the operator", "env": [{"name": "KITE_PLUGIN_NAME", "value": "x"}] => [{"name": "KITES", "value": "x"}];
    "spec.env[0].name", "set by the operator", "env": [{"name": "KUBERNETES_SERVICE_HOST", "value": "x"}] => [{"name": "KUBERNETES", "value": "x"}];
    "spec.env[0]", "not both", "env": [{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}] => [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}];
    "spec.env[0].valueFrom", "exactly one", "env": [{"name": "A", "valueFrom": {}}] => [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b.c"}}}];
    "spec.env[1]", "Duplicate", "env": [{"name": "A"}, {"name": "A"}] => [{"name": "A"}, {"name": "B"}];
    "spec.volumes[0]", "exactly one", "volumes": [{"name": "a", "mountPath": "/a"}] => [{"name": "a", "mountPath": "/a", "emptyDir": {"sizeLimit": "1Mi"}}];
    "spec.volumes[0]", "exactly one", "volumes": [{"name": "a", "mountPath": "/a", "emptyDir": {"sizeLimit": "1Mi"}, "persistentVolumeClaim": {"claimName": "a"}}] => [{"name": "a", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "a"}}];
    "spec.volumes[0].emptyDir.sizeLimit", "Required", "volumes": [{"name": "a", "mountPath": "/a", "emptyDir": {}}] => [{"name": "a", "mountPath": "/a", "emptyDir": {"sizeLimit": 65536}}];
    "spec.volumes[0].mountPath", "no \"..\"", "volumes": [{"name": "a", "mountPath": "/a/../run", "persistentVolumeClaim": {"claimName": "a"}}] => [{"name": "a", "mountPath": "/a/run", "persistentVolumeClaim": {"claimName": "a"}}];
    "spec.volumes[0].mountPath", "certificate", "volumes": [{"name": "a", "mountPath": "/run/kite/a", "persistentVolumeClaim": {"claimName": "a"}}] => [{"name": "a", "mountPath": "/run/kites", "persistentVolumeClaim": {"claimName": "a"}}];
    "spec.volumes[0].mountPath", "certificate", "volumes": [{"name": "a", "mountPath": "/run", "persistentVolumeClaim": {"claimName": "a"}}] => [{"name": "a", "mountPath": "/run/a", "persistentVolumeClaim": {"claimName": "a"}}];
    "spec.volumes[0].name", "operator's own", "volumes": [{"name": "kite", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "a"}}] => [{"name": "kite-data", "mountPath": "/a", "persistentVolumeClaim": {"claimName": "a"}}];
    "spec.nodeSelector", "label's value", "nodeSelector": {"a": "b c"} => {"kubernetes.io/arch": "amd64"};
    "spec.tolerations[0]", "operator is Exists", "tolerations": [{"effect": "NoSchedule"}] => [{"operator": "Exists", "effect": "NoSchedule"}];
    "spec.tolerations[0]", "there is no value", "tolerations": [{"key": "a", "operator": "Exists", "value": "b"}] => [{"key": "a", "operator": "Equal", "value": "b"}];
    "spec.tolerations[0]", "NoExecute", "tolerations": [{"key": "a", "tolerationSeconds": 1}] => [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 1}];

    // Kinds of value.
    "spec.settings", "must be of type object", "settings": [] => {"currency": "EUR", "nested": {"list": [1, "a", null]}};
    "spec.settingsSchema", "must be of type object", "settingsSchema": true => {"type": "object", "properties": {"currency": {"enum": ["EUR"]}}};
    "spec.enabled", "must be of type boolean", "enabled": "yes" => false;
};
