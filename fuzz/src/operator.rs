//! What a pod says that the plugin is, as the operator judges it.

use std::sync::{Arc, LazyLock};

use kite_api::boundary::Places;
use kite_operator::controller::{
    describe::{
        ask::Answer,
        judge::{self, PodAnswer, Verdict},
    },
    validate::{self, ValidatedPlugin},
};
use kite_proto::{DescribeResponse, PROTOCOL};
use prost::Message as _;
use serde_json::json;

fn plugin() -> ValidatedPlugin {
    let object = json!({
        "apiVersion": "kite.dev/v1alpha1",
        "kind": "KitePlugin",
        "metadata": {"name": "hello", "uid": "u-1", "generation": 1},
        "spec": {"version": "0.1.0", "image": "registry.example/hello:0.1.0"},
    });
    let places = Places {
        plugins: "kite-plugins",
        system: "kite-system",
    };
    validate::validate(&serde_json::from_value(object).expect("an object"), places).expect("a plugin")
}

/// Nothing is accepted that is not what the object says, and nothing is told that is longer than a status can hold.
pub(crate) fn describe(data: &[u8]) {
    static PLUGIN: LazyLock<ValidatedPlugin> = LazyLock::new(plugin);
    let Ok(response) = DescribeResponse::decode(data) else {
        return;
    };
    let (name, version, protocol) = (response.name.clone(), response.version.clone(), response.protocol);
    let answer = PodAnswer {
        pod: String::from("a"),
        digest: None,
        result: Ok(Arc::new(Answer::of(&PLUGIN.name, &response))),
    };
    match judge::judge(&PLUGIN.name, &PLUGIN.version, None, &[answer]) {
        Verdict::Described { tools, unanswered, .. } => {
            assert_eq!(
                (name.as_str(), version.as_str(), protocol),
                ("hello", "0.1.0", PROTOCOL)
            );
            assert_eq!(unanswered, None);
            assert!(
                tools
                    .iter()
                    .all(|tool| tool.name.starts_with("plugin_hello_") && tool.name.len() <= 64)
            );
        }
        Verdict::Mismatch { message, .. } => {
            assert!(message.len() <= 4096, "{} bytes are told", message.len());
            assert!(!message.contains(char::is_control), "{message:?}");
        }
        other @ (Verdict::NotAsked | Verdict::Awaited { .. } | Verdict::Unreachable { .. }) => {
            unreachable!("it has answered: {other:?}")
        }
    }
}
