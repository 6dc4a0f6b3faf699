//! Asks the running plugin what it is, and judges whether it is what its object says.

pub mod ask;
mod difference;
pub mod judge;
mod memory;
mod question;
pub mod tools;

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kite_api::{PluginName, error_chain};
use semver::Version;

use self::{
    ask::AskError,
    judge::PodAnswer,
    memory::{Known, Room, know},
    question::Question,
};
pub use self::{
    judge::{OnRecord, Verdict},
    memory::Memory,
};
use super::{
    causes::words,
    object::{digest, is_ready},
    pair::Pair,
    watches::Waker,
};
use crate::{
    backoff::Failure,
    identity::Identity,
    metrics::Metrics,
    push::news::{Listener, Process},
};

/// Most characters that are told of why a pod did not answer, or of what is wrong with its answer. Names and errors that it has made up may
/// stand in that.
const MAX_TOLD: usize = 1024;

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
    /// How long to wait before the next pod is due. One that is being asked wakes the plugin.
    pub wait: Option<Duration>,
}

/// Asks those pods that are ready, of both revisions at once, and of them only those that have not answered yet and are due to be asked. One that
/// does not answer soon is judged by what is known of it, and answers to a later look.
pub async fn describe(
    plugin: &PluginName,
    revisions: Pair<Asked<'_>>,
    identity: &Arc<Identity>,
    memory: &Memory,
    metrics: &Metrics,
) -> Described {
    let name = plugin.as_str();
    let host = Asker {
        plugin,
        identity,
        waker: &memory.waker,
        metrics,
        room: memory.room(name),
    };
    let ask_all = async |pods: &[Pod]| {
        let targets = pods.iter().filter(|pod| is_ready(pod)).filter_map(target);
        let asked = targets.map(async |target| {
            let before = memory.recall(name, &target.process);
            let ask = |failure| host.begin(&target.ip, failure);
            let known = know(before, Instant::now(), ask).await;
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
    let pods = revisions
        .lead
        .pods
        .iter()
        .chain(revisions.next.iter().flat_map(|next| next.pods));
    memory.remember(name, processes.chain(memory.unready(name, pods)).collect());
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

/// Whoever asks the processes of a plugin.
struct Asker<'a> {
    plugin: &'a PluginName,
    identity: &'a Arc<Identity>,
    waker: &'a Waker,
    metrics: &'a Metrics,
    room: Arc<Room>,
}

impl Asker<'_> {
    /// Asks the process at address `ip`, after the question before this one has failed so.
    fn begin(&self, ip: &str, failure: Option<Failure<String>>) -> Question {
        let (name, address) = (self.plugin.clone(), ip.to_owned());
        let (identity, metrics) = (Arc::clone(self.identity), self.metrics.clone());
        let room = Arc::clone(&self.room);
        let asked = async move {
            let _place = room.asked.acquire().await;
            let since = Instant::now();
            let answer = ask::ask(&name, &address, &identity).await;
            metrics.asked(since.elapsed(), answer.is_ok());
            let answer = answer?;
            let turn = Arc::clone(&room.read).acquire_owned().await;
            // It is never closed.
            let turn = turn.map_err(|_| AskError::Deadline)?;
            ask::read(&name, answer, turn).await
        };
        let (waker, plugin) = (self.waker.clone(), self.plugin.clone());
        Question::begin(failure, asked, move || waker.wake(plugin.as_str()))
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
    if difference::is_as_said(plugin, revision.version, revision.on_record, answer) {
        return Some(Ok(Listener {
            process: target.process.clone(),
            name: target.name.clone(),
            ip: target.ip.clone(),
            revision: revision.number,
            supports: answer.supports,
        }));
    }
    let on_record = revision.on_record?;
    (!difference::is_recorded(plugin, revision.version, on_record, answer)).then(|| {
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
        result: known.answer(),
    }
}

/// The beginning of what an error says, with its sources, for a message.
fn in_short(error: &dyn Error) -> String {
    words::cut(&error_chain(error), MAX_TOLD)
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
    use super::*;

    #[test]
    fn a_message_shows_the_beginning_of_a_text_and_no_control_characters() {
        assert_eq!(
            shown(&format!("\u{1b}[31m{}", "é".repeat(100))),
            format!("[31m{}", "é".repeat(76))
        );
    }
}
