//! Asks the running plugin what it is, and judges whether it is what its object says.

pub mod ask;
pub mod judge;
mod question;
pub mod tools;

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kite_api::{PluginName, error_chain};
use semver::Version;
use tokio::sync::Semaphore;

pub use self::judge::{OnRecord, Verdict};
use self::{
    ask::{Answer, AskError},
    judge::{PodAnswer, Silence},
    question::Question,
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

/// How many processes of a plugin are asked at once: each answer takes up to the protocol's limit in memory until it was read.
const AT_ONCE: usize = 16;

/// What came of asking a process.
#[derive(Clone, Debug)]
enum Known {
    /// Since when this program has it.
    Answer(Arc<Answer>, Instant),
    /// It did not answer, and is not asked again before the failure is due.
    Silence(Failure<String>),
    /// It is being asked. What was told of a failure before stands until that has ended, which wakes the plugin.
    Asked(Arc<Question>),
}

/// What is known of a plugin's processes.
type Processes = HashMap<Process, Known>;

/// How much is asked of a plugin at once.
#[derive(Debug)]
struct Room {
    asked: Semaphore,
    /// One answer at a time, so that others' are read beside it.
    read: Arc<Semaphore>,
}

/// What came of asking, by plugin and process. A question that is under way ends when its process is forgotten, or all of this is dropped.
#[derive(Debug)]
pub struct Memory {
    waker: Waker,
    plugins: Mutex<HashMap<String, Processes>>,
    rooms: Mutex<HashMap<String, Arc<Room>>>,
}

impl Memory {
    /// Of nothing yet. An answer for which no look has waited wakes its plugin by `waker`.
    pub fn new(waker: Waker) -> Self {
        Self {
            waker,
            plugins: Mutex::default(),
            rooms: Mutex::default(),
        }
    }

    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
        self.lock_rooms().retain(|name, _| exists(name));
    }

    /// Forgets the plugin, of which nobody is to be asked any more.
    pub fn forget(&self, plugin: &str) {
        self.lock().remove(plugin);
        self.lock_rooms().remove(plugin);
    }

    fn room(&self, plugin: &str) -> Arc<Room> {
        let mut rooms = self.lock_rooms();
        let room = rooms.entry(plugin.to_owned()).or_insert_with(|| {
            Arc::new(Room {
                asked: Semaphore::new(AT_ONCE),
                read: Arc::new(Semaphore::new(1)),
            })
        });
        Arc::clone(room)
    }

    fn lock_rooms(&self) -> MutexGuard<'_, HashMap<String, Arc<Room>>> {
        // An entry is whole from its beginning.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recall(&self, plugin: &str, process: &Process) -> Option<Known> {
        self.lock().get(plugin)?.get(process).cloned()
    }

    /// What is known of those of the pods that are not ready. One that is not for a moment is not asked sooner for that; what it answered counts
    /// from when it is ready.
    fn unready<'a>(&self, plugin: &str, pods: impl Iterator<Item = &'a Pod>) -> Processes {
        let targets = pods.filter(|pod| !is_ready(pod)).filter_map(target);
        let known = targets.filter_map(|target| Some((target.process.clone(), self.recall(plugin, &target.process)?)));
        let known = known.map(|(process, known)| (process, known.by_now()));
        known.filter(|(_, known)| !matches!(known, Known::Answer(..))).collect()
    }

    fn remember(&self, plugin: &str, processes: Processes) {
        self.lock().insert(plugin.to_owned(), processes);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Processes>> {
        // An entry is replaced as a whole, so that none is half written whatever panicked.
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
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
    let room = memory.room(name);
    let ask_all = async |pods: &[Pod]| {
        let targets = pods.iter().filter(|pod| is_ready(pod)).filter_map(target);
        let asked = targets.map(async |target| {
            let before = memory.recall(name, &target.process);
            let asker = Asker {
                plugin,
                identity,
                waker: &memory.waker,
                metrics,
                room: &room,
            };
            let ask = |failure| asker.begin(&target.ip, failure);
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
    room: &'a Arc<Room>,
}

impl Asker<'_> {
    /// Asks the process at address `ip`, after the question before this one has failed so.
    fn begin(&self, ip: &str, failure: Option<Failure<String>>) -> Question {
        let (name, address) = (self.plugin.clone(), ip.to_owned());
        let (identity, metrics) = (Arc::clone(self.identity), self.metrics.clone());
        let room = Arc::clone(self.room);
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
            Known::Silence(failure) => Err(Silence::Failed(failure.told)),
            Known::Asked(question) => Err(match &question.before {
                Some(failure) => Silence::Failed(failure.told.clone()),
                None => Silence::NotYet,
            }),
        },
    }
}

impl Known {
    /// What is known now, if it was this before.
    fn by_now(self) -> Self {
        let outcome = match &self {
            Self::Answer(..) | Self::Silence(_) => None,
            Self::Asked(question) => question.outcome(),
        };
        match outcome {
            Some(Ok((answer, since))) => Self::Answer(answer, since),
            Some(Err(failure)) => Self::Silence(failure),
            None => self,
        }
    }

    /// Since when the process has answered.
    fn since(&self) -> Option<Instant> {
        match self {
            Self::Answer(_, since) => Some(*since),
            Self::Silence(_) | Self::Asked(_) => None,
        }
    }

    /// How long to wait before the process is asked again. `None`: it has answered, or is being asked.
    fn wait(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Answer(..) | Self::Asked(_) => None,
            Self::Silence(failure) => Some(failure.wait(now)),
        }
    }
}

/// What is known of a process after `before`. If it is due to be asked, `ask` begins that, and an answer that comes soon is waited for.
async fn know(before: Option<Known>, now: Instant, ask: impl FnOnce(Option<Failure<String>>) -> Question) -> Known {
    let failure = match before.map(Known::by_now) {
        Some(Known::Silence(failure)) if failure.is_due(now) => Some(failure),
        Some(known) => return known,
        None => None,
    };
    let question = Arc::new(ask(failure));
    question.wait().await;
    Known::Asked(question).by_now()
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
    use std::future::{pending, ready};

    use kite_proto::DescribeResponse;
    use serde_json::json;
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    fn answer() -> Answer {
        Answer::of(&PluginName::parse("hello").unwrap(), &DescribeResponse::default())
    }

    fn memory() -> Memory {
        let (wake, _) = mpsc::unbounded_channel();
        Memory::new(Waker::new(wake, Metrics::default().queue()))
    }

    fn process(restarts: i32) -> Process {
        Process {
            pod: String::from("uid"),
            restarts,
        }
    }

    /// Nobody is to be asked.
    fn nobody(_: Option<Failure<String>>) -> Question {
        panic!("it is asked a second time")
    }

    /// What is told of a pod of which this is known.
    fn told(known: Known) -> Result<Arc<Answer>, Silence> {
        let target = Target {
            process: process(0),
            name: String::from("a"),
            ip: String::from("127.0.0.1"),
            digest: None,
        };
        answer_of((target, known)).result
    }

    #[test]
    fn a_restarted_process_and_a_deleted_or_disabled_plugin_are_forgotten() {
        let memory = memory();
        let remember = || {
            let known = Known::Answer(Arc::new(answer()), Instant::now());
            memory.remember("hello", HashMap::from([(process(0), known)]));
        };
        remember();
        assert!(memory.recall("hello", &process(0)).is_some());
        assert!(memory.recall("hello", &process(1)).is_none());
        assert!(memory.recall("other", &process(0)).is_none());
        memory.retain(|_| false);
        assert!(memory.recall("hello", &process(0)).is_none());
        remember();
        memory.forget("hello");
        assert!(memory.recall("hello", &process(0)).is_none());
    }

    #[tokio::test]
    async fn a_failure_stands_as_it_was_told_until_it_is_due() {
        let silent = async |before, now, text: &str| {
            let failing = ready(Err(AskError::Address(text.to_owned())));
            match know(before, now, |failure| Question::begin(failure, failing, || {})).await {
                Known::Silence(failure) => failure,
                other => panic!("{other:?}"),
            }
        };
        let now = Instant::now();
        let first = silent(None, now, "1").await;
        assert_eq!(first.told, "failed to read the pod's address \"1\"");
        let asked_early = silent(Some(Known::Silence(first.clone())), now, "2").await;
        assert_eq!(asked_early, first);
        let later = now + Duration::from_mins(1);
        let second = silent(Some(Known::Silence(first)), later, "3").await;
        assert_eq!(second.told, "failed to read the pod's address \"3\"");
        assert!(second.wait(now) >= Duration::from_secs(2), "{second:?}");
        let answering = ready(Ok(answer()));
        let known = know(Some(Known::Silence(second)), later, |failure| {
            Question::begin(failure, answering, || {})
        })
        .await;
        assert_eq!(known.wait(later), None);
        assert!(known.since().is_some());
    }

    #[tokio::test]
    async fn an_answer_that_is_late_is_found_by_a_later_look_which_it_wakes() {
        let (say, said) = oneshot::channel();
        let (wake, mut woken) = mpsc::unbounded_channel();
        let late = async move { Ok(said.await.unwrap()) };
        let ask = |failure| Question::begin(failure, late, move || wake.send(()).unwrap());
        let first = know(None, Instant::now(), ask).await;
        assert_eq!((first.wait(Instant::now()), first.since()), (None, None));
        assert_eq!(told(first.clone()).unwrap_err(), Silence::NotYet);
        // Another look goes on at once.
        let second = know(Some(first), Instant::now(), nobody).await;
        assert_eq!(told(second.clone()).unwrap_err(), Silence::NotYet);
        say.send(answer()).unwrap();
        woken.recv().await.unwrap();
        let third = know(Some(second), Instant::now(), nobody).await;
        assert!(told(third).is_ok());
    }

    #[tokio::test]
    async fn an_answer_that_a_look_has_waited_for_wakes_nobody() {
        let (wake, mut woken) = mpsc::unbounded_channel();
        let ask = |failure| Question::begin(failure, ready(Ok(answer())), move || wake.send(()).unwrap());
        let known = know(None, Instant::now(), ask).await;
        assert!(told(known).is_ok());
        assert_eq!(woken.recv().await, None);
    }

    #[tokio::test]
    async fn what_was_told_of_a_failure_stands_while_the_process_is_asked_again() {
        let failure = Failure::after(None, String::from("refused"), Instant::now());
        let later = Instant::now() + Duration::from_mins(1);
        let ask = |failure| Question::begin(failure, pending(), || {});
        let known = know(Some(Known::Silence(failure)), later, ask).await;
        assert_eq!(known.wait(later), None, "the end of the question wakes the plugin");
        assert_eq!(told(known).unwrap_err(), Silence::Failed(String::from("refused")));
    }

    #[tokio::test]
    async fn a_question_ends_with_the_process_that_is_asked() {
        // It has its end of the channel for as long as it is put.
        let (end, mut other) = mpsc::channel::<()>(1);
        let endless = async move {
            end.closed().await;
            Ok(answer())
        };
        let ask = |failure| Question::begin(failure, endless, || {});
        let memory = memory();
        let known = know(None, Instant::now(), ask).await;
        memory.remember("hello", HashMap::from([(process(0), known)]));
        memory.remember("hello", HashMap::new());
        assert_eq!(other.recv().await, None);
    }

    #[tokio::test]
    async fn what_panics_in_a_question_is_a_failure() {
        let (say, said) = oneshot::channel();
        drop(say);
        let broken = async move { said.await.unwrap() };
        let failed = know(None, Instant::now(), |failure| Question::begin(failure, broken, || {})).await;
        let Err(Silence::Failed(told)) = told(failed) else {
            panic!("it is not told")
        };
        assert!(told.contains("a defect of the operator"), "{told}");
    }

    #[test]
    fn one_that_is_not_ready_for_a_moment_is_not_asked_sooner_for_that() {
        let memory = memory();
        let silence = Known::Silence(Failure::after(None, String::from("refused"), Instant::now()));
        let known = Known::Answer(Arc::new(answer()), Instant::now());
        memory.remember("hello", HashMap::from([(process(0), silence), (process(1), known)]));
        let pods = [0, 1].map(|restarts| {
            let status = json!({"podIP": "127.0.0.1", "containerStatuses": [{
                "name": "plugin", "image": "", "imageID": "", "ready": false, "restartCount": restarts,
            }]});
            let pod = json!({"metadata": {"name": "pod", "uid": process(0).pod}, "status": status});
            serde_json::from_value::<Pod>(pod).unwrap()
        });
        let kept: Vec<Process> = memory.unready("hello", pods.iter()).into_keys().collect();
        assert_eq!(kept, [process(0)], "what was answered counts from when it is ready");
    }

    #[tokio::test]
    async fn of_why_a_pod_did_not_answer_the_beginning_is_told() {
        let long = "a".repeat(100_000);
        let failing = ready(Err(AskError::Address(long)));
        let known = know(None, Instant::now(), |failure| Question::begin(failure, failing, || {})).await;
        let Known::Silence(failure) = known else {
            panic!("an answer")
        };
        assert_eq!(failure.told.chars().count(), MAX_TOLD + 1);
        assert!(failure.told.ends_with("a…"), "{}", failure.told);
    }

    #[test]
    fn a_message_shows_the_beginning_of_a_text_and_no_control_characters() {
        assert_eq!(
            shown(&format!("\u{1b}[31m{}", "é".repeat(100))),
            format!("[31m{}", "é".repeat(76))
        );
    }
}
