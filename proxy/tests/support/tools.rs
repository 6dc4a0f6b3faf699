//! Tool calls: what is checked before the plugin is asked, progress, and the list.

use http::{HeaderValue, Method};
use kite_api::{KitePluginSpec, PluginName, RevisionSpec};
use kite_gateway::directory::{Guards, Table};
use kite_proto::{Definitions, MAX_DEFINITIONS, Tool};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    LIMIT, PATIENT, Scene, by_exchange,
    gateway::{request, table},
    limits::call_by_events,
    rogue::{DEFINITIONS, Rogue, TOOLS},
    slug,
};

#[tokio::test]
async fn arguments_are_compared_with_the_tools_schema_before_the_plugin_sees_them() {
    let scene = Scene::new().await;
    let good = scene.tool("strict", r#"{"arguments": {"name": "x"}}"#).await;
    assert_eq!(good.status, 200);
    for (body, place) in [("{}", "name"), (r#"{"arguments": {"name": 1}}"#, "/name: ")] {
        let answer = scene.tool("strict", body).await;
        assert_eq!(
            (answer.status.as_u16(), slug(&answer).as_str()),
            (422, "arguments-refused")
        );
        assert!(answer.json()["detail"].as_str().unwrap().contains(place), "{body}");
    }
}

#[tokio::test]
async fn a_plugin_may_refuse_a_call_for_reasons_of_its_own() {
    let scene = Scene::new().await;
    let consent = scene.tool("guarded", r#"{"arguments": {"name": "jane"}}"#).await;
    assert_eq!(consent.status, 200);
    for (tool, reason) in [
        ("guarded", "only jane"),
        ("shut", "the plugin does not let you call this tool so"),
    ] {
        let answer = scene.tool(tool, "{}").await;
        assert_eq!(
            (answer.status.as_u16(), slug(&answer).as_str()),
            (403, "tool-forbidden"),
            "{tool}"
        );
        assert_eq!(answer.json()["detail"], reason);
    }
}

#[tokio::test]
async fn tool_injection_arguments_reach_the_plugin_as_one_value_as_they_came() {
    const ARGUMENTS: &str =
        r#"{"namespace": "a/../../b?c=d#e", "%2e%2e": "x\r\nX-Kite-User: root", "q": "' OR 1=1; $(id)"}"#;
    let scene = Scene::new().await;
    let body: String = format!(r#"{{"arguments": {ARGUMENTS}}}"#);
    let call = request(
        Method::POST,
        "tools/plugin_rogue_greet?namespace=other&arguments=x",
        body,
    );
    let answer = scene.whole(call).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["result"]),
        (200, &json!(ARGUMENTS))
    );
}

/// The names of the events, and what each has.
pub(crate) fn events(text: &[u8]) -> Vec<(&str, Value)> {
    let text = std::str::from_utf8(text).unwrap();
    let parts = text.split("\n\n").filter(|part| !part.is_empty());
    let read = |part| {
        let (name, data) = str::split_once(part, "\ndata: ").unwrap();
        (
            name.strip_prefix("event: ").unwrap(),
            serde_json::from_str(data).unwrap(),
        )
    };
    parts.map(read).collect()
}

#[tokio::test]
async fn a_caller_who_takes_events_learns_how_far_the_tool_is() {
    let scene = Scene::new().await;
    let call = async |tool: &str| {
        let mut call = call_by_events(tool);
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        call.headers_mut().insert("accept", accept);
        scene.whole(call).await.unwrap()
    };
    let halfway = call("halfway").await;
    assert_eq!(halfway.headers["content-type"], "text/event-stream");
    let expected = [
        ("progress", json!({"progress": 0.5, "message": "half"})),
        ("result", json!({"result": "{}", "structuredContent": {"a": 1}})),
    ];
    assert_eq!(events(&halfway.body), expected);
    for (tool, problem) in [("fail", "tool-failed"), ("silent", "plugin-answer-invalid")] {
        let answer = call(tool).await;
        assert_eq!(answer.status, 200);
        let events = events(&answer.body);
        let (name, document) = events.last().unwrap();
        assert_eq!(*name, "error");
        assert!(document["type"].as_str().unwrap().ends_with(problem), "{document}");
    }
    // What is known before the tool said anything has a status of its own.
    assert_eq!(call("busy").await.status, 503);
}

#[tokio::test]
async fn the_list_of_tools_has_what_a_caller_needs_to_call_them() {
    let scene = Scene::new().await;
    let list = scene.get("tools").await.json();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names.len(), TOOLS.len());
    let greet = list
        .as_array()
        .unwrap()
        .iter()
        .find(|tool| tool["name"] == "plugin_rogue_greet");
    let expected = json!({
        "name": "plugin_rogue_greet",
        "plugin": "rogue",
        "description": "Is greet.",
        "inputSchema": {"type": "object"},
        "annotations": {"readOnlyHint": true, "destructiveHint": false, "idempotentHint": false},
    });
    assert_eq!(greet, Some(&expected));
    assert_eq!(scene.get("tools?plugin=other").await.json(), json!([]));
    assert_eq!(scene.get("tools?plugin=Bad_Name").await.status, 400);
}

#[tokio::test]
async fn the_list_of_tools_leaves_out_what_can_never_be_called() {
    let scene = Scene::new().await;
    let all = |resource: &str| json!([{"resource": resource, "verb": "list"}]);
    let spec = json!({
        "version": "1.0.0",
        "image": "a",
        "permissions": [{"apiGroups": [""], "resources": ["nodes", "secrets"], "verbs": ["list"], "namespaces": ["*"]}],
        "tools": [
            {"name": "strict", "requires": all("nodes")},
            {"name": "greet", "requires": all("secrets")},
            {"name": "guarded", "requires": all("persistentvolumes")},
        ],
    });
    let spec: KitePluginSpec = serde_json::from_value(spec).unwrap();
    let mut guarded = table("rogue", &[scene.address], &DEFINITIONS);
    let entry = guarded.get_mut(&PluginName::parse("rogue").unwrap()).unwrap();
    entry.active.as_mut().unwrap().guards = Guards::of(&RevisionSpec::of(&spec), &spec.permissions, "kite-plugins");
    scene.directory.0.store(guarded.into());
    let list = scene.get("tools").await.json();
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), TOOLS.len() - 2, "{names:?}");
    assert!(names.contains(&"plugin_rogue_strict"));
    for (tool, lacking) in [("greet", "caller-lacks-right"), ("guarded", "plugin-lacks-right")] {
        assert!(!names.contains(&format!("plugin_rogue_{tool}").as_str()), "{tool}");
        assert_eq!(slug(&scene.tool(tool, "{}").await), lacking);
    }
}

#[tokio::test]
async fn a_list_of_tools_that_is_too_large_is_refused() {
    let scene = Scene::cold(PATIENT, by_exchange()).await;
    let wordy = Tool {
        name: "greet".to_owned(),
        description: "a".repeat(MAX_DEFINITIONS - 1024),
        input_schema: "{}".into(),
        ..Tool::default()
    };
    let definitions = Definitions {
        tools: vec![wordy],
        ..Definitions::default()
    }
    .encode_to_vec();
    let mut all = Table::new();
    // One more than a list has room for.
    for number in 0..=16 {
        let name = format!("rogue-{number}");
        let (rogue, address) = Rogue::start_as(&scene.certificates, &name).await;
        *rogue.definitions.lock().unwrap() = definitions.clone().into();
        all.extend(table(&name, &[address], &definitions));
    }
    scene.directory.0.store(all.into());
    let refused = async {
        loop {
            let answer = scene.get("tools").await;
            // Of a plugin that takes long to connect there are none.
            if answer.status != 200 {
                break answer;
            }
        }
    };
    let refused = timeout(LIMIT, refused).await.expect("the list is refused");
    assert_eq!(
        (refused.status.as_u16(), slug(&refused).as_str()),
        (400, "list-too-large")
    );
    let one = scene.get("tools?plugin=rogue-0").await;
    assert_eq!(
        (one.status.as_u16(), one.json()[0]["plugin"].as_str()),
        (200, Some("rogue-0"))
    );
}
