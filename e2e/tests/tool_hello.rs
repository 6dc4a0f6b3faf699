//! The tools of a plugin, through the gateway.

use kite_e2e::testing::{Gateway, scope, send};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_tool_answers_its_result() {
    let gateway = Gateway::from_env();
    let answer = gateway
        .tool(gateway.admin(), "plugin_hello_hello", json!({"name": "Ann"}))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let result = answer.json()["result"].as_str().unwrap().to_owned();
    assert!(result.contains("Ann"), "{result}");
}

#[tokio::test]
async fn a_tool_reads_with_the_plugins_own_rights() {
    let gateway = Gateway::from_env();
    let own = gateway
        .tool(
            gateway.admin(),
            "plugin_hello_count_pods",
            json!({"namespace": "kite-plugins"}),
        )
        .await;
    assert_eq!(own.status, 200, "{own:?}");
    let other = gateway
        .tool(
            gateway.admin(),
            "plugin_hello_count_pods",
            json!({"namespace": "kube-system"}),
        )
        .await;
    assert_eq!(
        other.problem().0,
        502,
        "hello has no right in kube-system, whatever its caller may do"
    );
}

#[tokio::test]
async fn each_wrong_call_has_its_status() {
    let gateway = Gateway::from_env();
    let admin = gateway.admin();
    for (tool, status) in [
        ("hello", 400),
        ("plugin_hello", 400),
        ("plugin_HELLO_x", 400),
        ("plugin_hello_no_such_tool", 404),
        ("plugin_nobody_hello", 404),
    ] {
        let answer = gateway.tool(admin, tool, json!({"name": "x"})).await;
        assert_eq!(answer.problem().0, status, "{tool}: {answer:?}");
    }
    let arguments = gateway.tool(admin, "plugin_hello_hello", json!({"name": 7})).await;
    assert_eq!(arguments.problem().0, 422);
    assert!(
        arguments.body.contains("name"),
        "the text names the argument: {arguments:?}"
    );
    let junk = gateway.tool("junk", "plugin_hello_hello", json!({"name": "x"})).await;
    assert_eq!(junk.problem().0, 401);
    for body in ["", "{", "[]", r#"{"arguments": 7}"#, r#"{"argument": {}}"#] {
        let request = gateway
            .request(Method::POST, "tools/plugin_hello_hello")
            .bearer_auth(admin)
            .body(body);
        assert_eq!(send(request).await.problem().0, 400, "{body:?}");
    }
}

#[tokio::test]
async fn the_object_tells_its_tools() {
    scope("tools", async |scope| {
        let status = scope.plugins().get("hello").await.unwrap().status.unwrap();
        let names: Vec<_> = status.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["plugin_hello_count_pods", "plugin_hello_hello"]);
        assert!(
            status
                .tools
                .iter()
                .all(|tool| tool.hash.starts_with("sha256:") && !tool.description.is_empty())
        );
        assert!(
            status
                .active()
                .unwrap()
                .definitions_hash
                .as_ref()
                .unwrap()
                .starts_with("sha256:")
        );
        assert_eq!(
            (status.version.as_deref(), status.active_revision.is_some()),
            (Some("0.1.0"), true)
        );
    })
    .await;
}
