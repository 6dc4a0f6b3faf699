//! What a plugin logs while it handles a call. It is a program of its own, because what is logged is decided for a whole process.

use std::{
    io,
    sync::{Arc, Mutex},
};

use kite_plugin_sdk::{
    ApplySettings, Plugin, Settings, Tool, ToolContext, ToolError, testing,
    tracing::{Level, subscriber, warn},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

struct Logging;

impl Plugin for Logging {
    fn manifest(&self) -> &'static str {
        "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: a}, spec: {version: 0.1.0, image: a}}"
    }

    fn tools(&self) -> Vec<Tool> {
        vec![Tool::new("log", "Logs", |_: ToolContext, _: Nothing| async {
            warn!("working");
            Ok::<_, ToolError>("done")
        })]
    }

    fn apply_settings(&self) -> Option<ApplySettings> {
        Some(ApplySettings::with(|_, _: Settings<Nothing>| async {
            warn!("applying");
            Ok(())
        }))
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().map_err(|_| io::Error::other("a writer panicked"))?;
        log.extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_line_of_a_call_carries_its_request_id_at_every_level() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt()
        .json()
        .with_max_level(Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    subscriber::set_global_default(lines).unwrap();
    let client = testing::start(Logging).await;
    client.call_tool("log", json!({})).await.unwrap();
    client.apply_settings(json!({})).await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for (word, id) in [
        ("working", r#""request_id":"test""#),
        ("applying", r#""what":"settings""#),
    ] {
        let line = text.lines().find(|line| line.contains(word)).unwrap();
        assert!(line.contains(id), "{line}");
    }
}
