//! Two API servers for all tests of this program, one with the boundary and one without.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use k8s_openapi::api::rbac::v1::RoleBinding;
pub(crate) use kite_e2e::testing::{
    PLUGINS, SYSTEM,
    world::{World, object, plugins, plugins_rule, rights, rules, subject},
};
use kube::Api;
use serde_json::json;
use tokio::runtime::Runtime;

/// Made by the first test, and gone with the last that uses it.
static BOTH: Mutex<Weak<Both>> = Mutex::new(Weak::new());

struct Both {
    runtime: Runtime,
    fenced: World,
    open: World,
}

impl Both {
    fn get() -> Arc<Self> {
        let mut both = BOTH.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(both) = both.upgrade() {
            return both;
        }
        let runtime = Runtime::new().expect("a runtime");
        let (fenced, open) = runtime.block_on(async {
            let (fenced, open) = (World::start().await, World::start().await);
            for w in [&fenced, &open] {
                bind_built_in_roles(w).await;
            }
            fenced.install_policies().await;
            (fenced, open)
        });
        let made = Arc::new(Self { runtime, fenced, open });
        *both = Arc::downgrade(&made);
        made
    }
}

/// Runs a test on the server with the boundary and on the one without.
pub(crate) fn both(test: impl AsyncFnOnce(&World, &World)) {
    let both = Both::get();
    both.runtime.block_on(test(&both.fenced, &both.open));
}

/// Users who were bound to built-in roles in the plugins' namespace before there were policies, which refuse it.
async fn bind_built_in_roles(w: &World) {
    for (user, roles) in [
        ("edits-here", ["view", "edit"].as_slice()),
        ("administers-here", &["view", "edit", "admin"]),
    ] {
        for role in roles {
            bind_built_in(w, user, role).await;
        }
        // Which they lack, and others may have.
        let more = json!([
            {"apiGroups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["patch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["create"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["create"]},
        ]);
        w.role_in(PLUGINS, user, more).await;
    }
}

/// Gives the user what a built-in role has in the plugins' namespace. The role itself is empty where no controller collects its
/// rules.
async fn bind_built_in(w: &World, user: &str, role: &str) {
    let binding = json!({
        "metadata": {"name": format!("{user}-{role}")}, "subjects": [subject(user)],
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": format!("system:aggregate-to-{role}"),
        },
    });
    w.apply::<RoleBinding>(&Api::namespaced(w.admin.clone(), PLUGINS), binding)
        .await;
}
