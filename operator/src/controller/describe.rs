//! Asks the running plugin what it is, and judges whether it is what its object says.

pub mod ask;
pub mod judge;
pub mod tools;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kite_api::error_chain;

pub use self::judge::Verdict;
use self::{
    ask::{Answer, AskError},
    judge::PodAnswer,
};
use super::{object::is_ready, validate::ValidatedPlugin};
use crate::{backoff::Failure, identity::Identity};

/// One run of a plugin's process: its pod, and how often the container was started again in it. What it answered once it
/// answers for as long as it lives.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Process {
    pod: String,
    restarts: i32,
}

/// What came of asking a process.
#[derive(Clone, Debug)]
enum Known {
    Answer(Arc<Answer>),
    /// It did not answer, and is not asked again before the failure is due.
    Silence(Failure<String>),
}

/// What is known of a plugin's processes.
type Processes = HashMap<Process, Known>;

/// What came of asking, by plugin and process.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, Processes>>);

impl Memory {
    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn recall(&self, plugin: &str, process: &Process) -> Option<Known> {
        self.lock().get(plugin)?.get(process).cloned()
    }

    fn remember(&self, plugin: &str, processes: Processes) {
        self.lock().insert(plugin.to_owned(), processes);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Processes>> {
        // An entry is replaced as a whole, so that none is half written whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks those of `pods` that are ready, all at once, and of them only those that have not answered yet and are due to be
/// asked. Returns how long to wait before the next is due, too.
pub async fn describe(
    plugin: &ValidatedPlugin,
    pods: &[Pod],
    identity: &Identity,
    memory: &Memory,
) -> (Verdict, Option<Duration>) {
    let name = plugin.name.as_str();
    let targets = pods.iter().filter(|pod| is_ready(pod)).filter_map(target);
    let asked = join_all(targets.map(async |target| {
        let before = memory.recall(name, &target.process);
        let ask = async || ask::ask(&plugin.name, &target.ip, identity).await;
        let known = know(before, Instant::now, ask).await;
        (target, known)
    }))
    .await;
    let now = Instant::now();
    let wait = asked.iter().filter_map(|(_, known)| known.wait(now)).min();
    memory.remember(
        name,
        asked
            .iter()
            .map(|(target, known)| (target.process.clone(), known.clone()))
            .collect(),
    );
    let answers: Vec<_> = asked
        .into_iter()
        .map(|(target, known)| PodAnswer {
            pod: target.name,
            result: match known {
                Known::Answer(answer) => Ok(answer),
                Known::Silence(failure) => Err(failure.told),
            },
        })
        .collect();
    (judge::judge(plugin, &answers), wait)
}

impl Known {
    /// How long to wait before the process is asked again. `None`: it has answered.
    fn wait(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Answer(_) => None,
            Self::Silence(failure) => Some(failure.wait(now)),
        }
    }
}

/// What is known of a process after `before`; `ask` asks it, if that is due.
async fn know(
    before: Option<Known>,
    now: impl Fn() -> Instant,
    ask: impl AsyncFnOnce() -> Result<Answer, AskError>,
) -> Known {
    let failure = match before {
        Some(Known::Answer(answer)) => return Known::Answer(answer),
        Some(Known::Silence(failure)) if !failure.is_due(now()) => return Known::Silence(failure),
        Some(Known::Silence(failure)) => Some(failure),
        None => None,
    };
    match ask().await {
        Ok(answer) => Known::Answer(Arc::new(answer)),
        // The wait begins when the question ends, which may take its time.
        Err(error) => Known::Silence(Failure::after(failure.as_ref(), error_chain(&error), now())),
    }
}

/// The beginning of a text of any length, for a message.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(80)
        .collect()
}

/// A process, and where it is reached.
struct Target {
    process: Process,
    name: String,
    ip: String,
}

fn target(pod: &Pod) -> Option<Target> {
    let status = pod.status.as_ref()?;
    let restarts = status
        .container_statuses
        .iter()
        .flatten()
        .map(|container| container.restart_count)
        .sum();
    Some(Target {
        process: Process {
            pod: pod.metadata.uid.clone()?,
            restarts,
        },
        name: pod.metadata.name.clone()?,
        ip: status.pod_ip.clone()?,
    })
}

#[cfg(test)]
mod tests {
    use kite_api::PluginName;
    use kite_proto::DescribeResponse;

    use super::*;

    fn answer() -> Answer {
        Answer::of(&PluginName::parse("hello").unwrap(), DescribeResponse::default())
    }

    #[test]
    fn a_restarted_process_and_a_deleted_plugin_are_forgotten() {
        let memory = Memory::default();
        let process = |restarts| Process {
            pod: String::from("uid"),
            restarts,
        };
        memory.remember(
            "hello",
            HashMap::from([(process(0), Known::Answer(Arc::new(answer())))]),
        );
        assert!(memory.recall("hello", &process(0)).is_some());
        assert!(memory.recall("hello", &process(1)).is_none());
        assert!(memory.recall("other", &process(0)).is_none());
        memory.retain(|_| false);
        assert!(memory.recall("hello", &process(0)).is_none());
    }

    #[tokio::test]
    async fn a_failure_stands_as_it_was_told_until_it_is_due() {
        let now = Instant::now();
        let silent = async |before, now, text: &str| {
            let text = text.to_owned();
            match know(before, || now, async || Err(AskError::Address(text))).await {
                Known::Silence(failure) => failure,
                Known::Answer(_) => panic!("an answer"),
            }
        };
        let first = silent(None, now, "1").await;
        assert_eq!(first.told, "failed to read the pod's address \"1\"");
        let asked_early = silent(Some(Known::Silence(first.clone())), now, "2").await;
        assert_eq!(asked_early, first);
        let later = now + Duration::from_secs(1);
        let second = silent(Some(Known::Silence(first)), later, "3").await;
        assert_eq!(second.told, "failed to read the pod's address \"3\"");
        assert_eq!(second.wait(later), Duration::from_secs(2));
        let known = know(
            Some(Known::Silence(second)),
            || later + Duration::from_secs(2),
            async || Ok(answer()),
        )
        .await;
        assert_eq!(known.wait(later), None);
    }

    #[test]
    fn a_message_shows_the_beginning_of_a_text_and_no_control_characters() {
        assert_eq!(
            shown(&format!("\u{1b}[31m{}", "é".repeat(100))),
            format!("[31m{}", "é".repeat(76))
        );
    }
}
