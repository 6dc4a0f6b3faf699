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
use kite_api::{PluginName, error_chain};
use semver::Version;

pub use self::judge::{OnRecord, Verdict};
use self::{
    ask::{Answer, AskError},
    judge::PodAnswer,
};
use super::{
    object::{digest, is_ready},
    pair::Pair,
};
use crate::{
    backoff::Failure,
    identity::Identity,
    metrics::Metrics,
    push::news::{Listener, Process},
};

/// What came of asking a process.
#[derive(Clone, Debug)]
enum Known {
    /// Since when this program has it.
    Answer(Arc<Answer>, Instant),
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

/// The pods of a revision that are to be asked, and what they should be.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub number: i64,
    pub version: &'a Version,
    /// `None`: what its pods offer is what will be recorded.
    pub on_record: Option<OnRecord<'a>>,
    pub pods: &'a [Pod],
}

/// A verdict for each revision, and for how long the last of its answers has been known.
pub type Verdicts = Pair<(Verdict, Option<Duration>)>;

/// A pod that is not what it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Differing {
    pub name: String,
    pub uid: String,
}

/// What came of asking.
#[derive(Debug)]
pub struct Described {
    pub verdicts: Verdicts,
    /// Those that are what the object says, so that they can be told something.
    pub listeners: Vec<Listener>,
    /// Those pods of revisions on record that are another plugin, of another version, or offer something else than is on record.
    pub differing: Vec<Differing>,
    /// How long to wait before the next pod is due.
    pub wait: Option<Duration>,
}

/// Asks those pods that are ready, of both revisions at once, and of them only those that have not answered yet and are due to be asked.
pub async fn describe(
    plugin: &PluginName,
    revisions: Pair<Asked<'_>>,
    identity: &Identity,
    memory: &Memory,
    metrics: &Metrics,
) -> Described {
    let name = plugin.as_str();
    let ask_all = async |pods: &[Pod]| {
        let targets = pods.iter().filter(|pod| is_ready(pod)).filter_map(target);
        let asked = targets.map(async |target| {
            let before = memory.recall(name, &target.process);
            let ask = async || {
                let began = Instant::now();
                let answer = ask::ask(plugin, &target.ip, identity).await;
                metrics.asked(began.elapsed(), answer.is_ok());
                answer
            };
            let known = know(before, Instant::now, ask).await;
            (target, known)
        });
        join_all(asked).await
    };
    let next = async {
        match revisions.next {
            Some(next) => Some(ask_all(next.pods).await),
            None => None,
        }
    };
    let (lead, next) = tokio::join!(ask_all(revisions.lead.pods), next);
    let asked = Pair { lead, next };
    let all = || asked.lead.iter().chain(asked.next.iter().flatten());
    let now = Instant::now();
    let wait = all().filter_map(|(_, known)| known.wait(now)).min();
    let processes = all().map(|(target, known)| (target.process.clone(), known.clone()));
    memory.remember(name, processes.collect());
    let (mut listeners, mut differing) = (Vec::new(), Vec::new());
    let verdicts = revisions.zip(asked).map(|(revision, asked)| {
        for (target, known) in &asked {
            match told_apart(plugin, revision, target, known) {
                Some(Ok(listener)) => listeners.push(listener),
                Some(Err(other)) => differing.push(other),
                None => {}
            }
        }
        let known_for = asked.iter().filter_map(|(_, known)| known.since()).max();
        let known_for = known_for.map(|since| now.saturating_duration_since(since));
        let answers: Vec<PodAnswer> = asked.into_iter().map(answer_of).collect();
        let verdict = judge::judge(plugin, revision.version, revision.on_record, &answers);
        (verdict, known_for)
    });
    Described {
        verdicts,
        listeners,
        differing,
        wait,
    }
}

/// The process, if it has answered as it should, or in a way that differs from what is on record. Whether its protocol and its tools are such as
/// this operator wants says nothing of that: another pod would answer the same.
fn told_apart(
    plugin: &PluginName,
    revision: Asked<'_>,
    target: &Target,
    known: &Known,
) -> Option<Result<Listener, Differing>> {
    let Known::Answer(answer, _) = known else { return None };
    if judge::is_as_said(plugin, revision.version, revision.on_record, answer) {
        return Some(Ok(Listener {
            process: target.process.clone(),
            name: target.name.clone(),
            ip: target.ip.clone(),
            revision: revision.number,
            supports: answer.supports,
        }));
    }
    let on_record = revision.on_record?;
    (!judge::is_recorded(plugin, revision.version, on_record, answer)).then(|| {
        Err(Differing {
            name: target.name.clone(),
            uid: target.process.pod.clone(),
        })
    })
}

fn answer_of((target, known): (Target, Known)) -> PodAnswer {
    PodAnswer {
        pod: target.name,
        digest: target.digest,
        result: match known {
            Known::Answer(answer, _) => Ok(answer),
            Known::Silence(failure) => Err(failure.told),
        },
    }
}

impl Known {
    /// Since when the process has answered.
    fn since(&self) -> Option<Instant> {
        match self {
            Self::Answer(_, since) => Some(*since),
            Self::Silence(_) => None,
        }
    }

    /// How long to wait before the process is asked again. `None`: it has answered.
    fn wait(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Answer(..) => None,
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
        Some(Known::Answer(answer, since)) => return Known::Answer(answer, since),
        Some(Known::Silence(failure)) if !failure.is_due(now()) => return Known::Silence(failure),
        Some(Known::Silence(failure)) => Some(failure),
        None => None,
    };
    match ask().await {
        Ok(answer) => Known::Answer(Arc::new(answer), now()),
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
    digest: Option<String>,
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
        digest: digest(pod),
    })
}

#[cfg(test)]
mod tests {
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
            HashMap::from([(process(0), Known::Answer(Arc::new(answer()), Instant::now()))]),
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
                Known::Answer(..) => panic!("an answer"),
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
