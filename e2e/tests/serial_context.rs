//! A cluster of others, named by `KITE_CONTEXT`: it is used, none is built, and what was brought to it is taken away again.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use kite_api::KitePlugin;
use kite_e2e::{
    cluster::{self, Layout},
    deploy::binary,
    target::Target,
    testing::{Scope, layout_beside, scope},
};
use kube::{Api, api::PostParams};

/// `kite-e2e` as on a machine without a cluster of its own, with this cluster as that of others; what it printed.
fn elsewhere(registry: &str, context: &str, command: &str) -> Result<String, String> {
    let mut e2e = Command::new(binary("kite-e2e").unwrap());
    e2e.arg(command)
        .env("KITE_CLUSTER_ID", layout_beside("other").id())
        .env_remove("KITE_URL");
    e2e.env("KITE_CONTEXT", context).env("KITE_REGISTRY", registry);
    let output = e2e.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// Puts the local deployment back, whatever becomes of the test.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        let up = Command::new(binary("kite-e2e").unwrap()).arg("up").output().unwrap();
        println!("restored: {}", String::from_utf8_lossy(&up.stderr));
    }
}

/// A plugin that somebody else applied.
async fn make_a_plugin_of_others(scope: &Scope) -> String {
    let mut plugin = KitePlugin::new("others", scope.hello().await);
    plugin.metadata.labels = Some([("kite.dev/test".to_owned(), scope.name.clone())].into());
    Api::all(scope.client.clone())
        .create(&PostParams::default(), &plugin)
        .await
        .unwrap();
    "others".to_owned()
}

#[tokio::test]
async fn what_is_brought_to_a_cluster_of_others_is_taken_away_again_and_nothing_else() {
    scope("context", async |scope| {
        let target = Target::running(&Layout::from_env().unwrap()).unwrap();
        let registry = format!("http://{}", target.registry.host);
        let _restore = Restore;
        let refused = elsewhere(&registry, "nowhere", "up").unwrap_err();
        assert!(refused.contains("nowhere"), "{refused}");
        let refused = elsewhere("", "kite", "up").unwrap_err();
        assert!(refused.contains("KITE_REGISTRY"), "{refused}");

        let shown = elsewhere(&registry, "kite", "up").unwrap();
        assert!(shown.contains("kite-plugin-hello-1-"), "{shown}");
        assert!(!cluster::exists(&layout_beside("other")), "no cluster is built");
        let exports = elsewhere(&registry, "kite", "env").unwrap();
        for name in ["KUBECONFIG", "KITE_URL", "KITE_CA", "KITE_TOKEN"] {
            assert!(exports.contains(&format!("export {name}='")), "{exports}");
        }

        let others = make_a_plugin_of_others(&scope).await;
        elsewhere(&registry, "kite", "down").unwrap();
        let plugins: Api<KitePlugin> = Api::all(scope.client.clone());
        assert!(plugins.get_opt("hello").await.unwrap().is_none(), "hello is gone");
        assert!(
            plugins.get_opt(&others).await.unwrap().is_some(),
            "a plugin of others stays"
        );
        assert!(
            !layout_beside("other")
                .cache()
                .join("contexts")
                .join(layout_beside("other").id())
                .exists(),
            "no credential is left"
        );
    })
    .await;
}
