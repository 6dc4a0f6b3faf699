//! What a plugin's pods say that they have executed, by their logs. Those are followed from their beginning: of a long one a node keeps the end
//! alone, and of a pod that goes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{AsyncBufRead, AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kite_api::labels::PLUGIN;
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, timeout},
};

use crate::testing::{PLUGINS, SOON, Scope};

/// How long it takes to see that there is a pod or a log.
const TURN: Duration = Duration::from_secs(1);

/// Each time that an id was executed: the pod, and when by that pod's log. Whatever of a log is read again adds nothing.
type Times = BTreeMap<String, BTreeSet<(String, String)>>;

/// What was executed, as far as it was read.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Times>>);

impl Said {
    fn lock(&self) -> MutexGuard<'_, Times> {
        // A line is noted as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a line of the pod's log says.
    fn note(&self, pod: &str, line: &str) {
        if let Some((id, when)) = execution(line) {
            self.lock().entry(id).or_default().insert((pod.to_owned(), when));
        }
    }
}

/// The logs of a plugin's pods, which are followed until this is dropped.
pub(super) struct Executed {
    said: Said,
    _reading: JoinSet<()>,
}

impl Executed {
    /// Begins to follow the pods that there are, and those that come.
    pub(super) fn follow(scope: &Scope, plugin: &str) -> Self {
        let said = Said::default();
        let pods = Api::namespaced(scope.client.clone(), PLUGINS);
        let mut reading = JoinSet::new();
        reading.spawn(follow_all(pods, plugin.to_owned(), said.clone()));
        Self {
            said,
            _reading: reading,
        }
    }

    /// How often each id was executed, once all of the `answered` were, or as it is if that does not come to be so.
    pub(super) async fn counts(&self, answered: &[String]) -> BTreeMap<String, usize> {
        let all = async {
            let mut turns = interval(Duration::from_millis(100));
            while !self.has(answered) {
                turns.tick().await;
            }
        };
        // Whoever judges says what is missing.
        let _ = timeout(SOON, all).await;
        let said = self.said.lock();
        said.iter().map(|(id, times)| (id.clone(), times.len())).collect()
    }

    fn has(&self, answered: &[String]) -> bool {
        let said = self.said.lock();
        answered.iter().all(|id| said.contains_key(id))
    }
}

/// Follows each of the plugin's pods.
async fn follow_all(pods: Api<Pod>, plugin: String, said: Said) {
    let own = ListParams::default().labels(&format!("{PLUGIN}={plugin}"));
    let mut known = BTreeSet::new();
    let mut reading = JoinSet::new();
    let mut turns = turns();
    loop {
        turns.tick().await;
        // What cannot be listed now can be the next time.
        for pod in pods.list(&own).await.into_iter().flatten() {
            let name = pod.name_any();
            if known.insert(name.clone()) {
                reading.spawn(follow(pods.clone(), name, said.clone()));
            }
        }
    }
}

/// Reads all that the pod writes, until it is gone.
async fn follow(pods: Api<Pod>, name: String, said: Said) {
    let params = LogParams {
        follow: true,
        ..LogParams::default()
    };
    let mut turns = turns();
    loop {
        turns.tick().await;
        if let Ok(log) = pods.log_stream(&name, &params).await {
            read(log, &name, &said).await;
        } else if matches!(pods.get_opt(&name).await, Ok(None)) {
            return;
        }
        // One that is there has not begun yet, or has ended, or its log broke off.
    }
}

/// Reads a log to its end, or to where it breaks off.
async fn read(log: impl AsyncBufRead, pod: &str, said: &Said) {
    let log = pin!(log);
    let mut lines = log.lines();
    while let Ok(Some(line)) = lines.try_next().await {
        said.note(pod, &line);
    }
}

/// Which id was executed when, if the line of the log says that of one.
fn execution(line: &str) -> Option<(String, String)> {
    // Of a line that breaks off nothing can be read.
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str);
    if text("/fields/message") != Some("echoes") {
        return None;
    }
    Some((text("/span/request_id")?.to_owned(), text("/timestamp")?.to_owned()))
}

fn turns() -> Interval {
    let mut turns = interval(TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hello writes with the SDK when it echoes.
    fn line(id: &str, second: u8) -> String {
        let span = format!(r#"{{"method":"POST","path":"/echo","request_id":"{id}","name":"http"}}"#);
        format!(
            r#"{{"timestamp":"2026-01-12T09:31:{second:02}.000001Z","level":"INFO","fields":{{"message":"echoes"}},"target":"hello::routes","span":{span},"spans":[{span}]}}"#
        )
    }

    fn count(said: &Said, id: &str) -> usize {
        said.lock().get(id).map_or(0, BTreeSet::len)
    }

    #[test]
    fn what_is_read_again_counts_once_and_what_is_executed_again_twice() {
        let said = Said::default();
        said.note("one", &line("a-1", 7));
        said.note("one", &line("a-1", 7));
        assert_eq!(count(&said, "a-1"), 1);
        said.note("one", &line("a-1", 8));
        assert_eq!(count(&said, "a-1"), 2);
        said.note("other", &line("a-1", 8));
        assert_eq!(count(&said, "a-1"), 3);
    }

    #[test]
    fn what_is_no_whole_line_or_says_something_else_counts_for_nothing() {
        let said = Said::default();
        let whole = line("a-12", 7);
        let half = whole.get(..whole.len() - 1).unwrap();
        for other in [half, "", "echoes a-12", &whole.replace("echoes", "greets")] {
            said.note("one", other);
        }
        assert!(said.lock().is_empty());
        said.note("one", &whole);
        assert_eq!(count(&said, "a-12"), 1);
    }

    #[tokio::test]
    async fn a_log_is_read_line_by_line() {
        let said = Said::default();
        let log = [line("a-1", 7), line("a-2", 7), String::from("{\"a")].join("\n");
        read(log.as_bytes(), "one", &said).await;
        assert_eq!([count(&said, "a-1"), count(&said, "a-2")], [1, 1]);
    }
}
