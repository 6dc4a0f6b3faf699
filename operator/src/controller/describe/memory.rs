//! What is known of the processes of plugins, from the questions that were put to them, and how many of these there may be at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Semaphore;

use super::{ask::Answer, judge::Silence, question::Question, target};
use crate::{
    backoff::Failure,
    controller::{object::is_ready, watches::Waker},
    push::news::Process,
};

/// How many processes of a plugin are asked at once: each answer takes up to the protocol's limit in memory until it was read.
const AT_ONCE: usize = 16;

/// What came of asking a process.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// Since when this program has it.
    Answer(Arc<Answer>, Instant),
    /// It did not answer, and is not asked again before the failure is due.
    Silence(Failure<String>),
    /// It is being asked. What was told of a failure before stands until that has ended, which wakes the plugin.
    Asked(Arc<Question>),
}

/// What is known of a plugin's processes.
pub(super) type Processes = HashMap<Process, Known>;

/// How much is asked of a plugin at once.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) asked: Semaphore,
    /// One answer at a time, so that others' are read beside it.
    pub(super) read: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            asked: Semaphore::new(AT_ONCE),
            read: Arc::new(Semaphore::new(1)),
        }
    }
}

#[derive(Debug, Default)]
struct Plugin {
    room: Arc<Room>,
    processes: Processes,
}

/// What came of asking, by plugin and process. A question that is under way ends when its process is forgotten, or all of this is dropped.
#[derive(Debug)]
pub struct Memory {
    pub(super) waker: Waker,
    plugins: Mutex<HashMap<String, Plugin>>,
}

impl Memory {
    /// Of nothing yet. An answer for which no look has waited wakes its plugin by `waker`.
    pub fn new(waker: Waker) -> Self {
        Self {
            waker,
            plugins: Mutex::default(),
        }
    }

    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    /// Forgets the plugin, of which nobody is to be asked any more.
    pub fn forget(&self, plugin: &str) {
        self.lock().remove(plugin);
    }

    pub(super) fn room(&self, plugin: &str) -> Arc<Room> {
        Arc::clone(&self.lock().entry(plugin.to_owned()).or_default().room)
    }

    pub(super) fn recall(&self, plugin: &str, process: &Process) -> Option<Known> {
        self.lock().get(plugin)?.processes.get(process).cloned()
    }

    /// What is known of those of the pods that are not ready. One that is not for a moment is not asked sooner for that; what it answered counts
    /// from when it is ready.
    pub(super) fn unready<'a>(&self, plugin: &str, pods: impl Iterator<Item = &'a Pod>) -> Processes {
        let targets = pods.filter(|pod| !is_ready(pod)).filter_map(target);
        let known = targets.filter_map(|target| Some((target.process.clone(), self.recall(plugin, &target.process)?)));
        let known = known.map(|(process, known)| (process, known.by_now()));
        known.filter(|(_, known)| !matches!(known, Known::Answer(..))).collect()
    }

    pub(super) fn remember(&self, plugin: &str, processes: Processes) {
        self.lock().entry(plugin.to_owned()).or_default().processes = processes;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Plugin>> {
        // What is in an entry is replaced as a whole, so that none is half written whatever panicked.
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The answer, or why there is none.
    pub(super) fn answer(self) -> Result<Arc<Answer>, Silence> {
        match self {
            Self::Answer(answer, _) => Ok(answer),
            Self::Silence(failure) => Err(Silence::Failed(failure.told)),
            Self::Asked(question) => Err(match &question.before {
                Some(failure) => Silence::Failed(failure.told.clone()),
                None => Silence::NotYet,
            }),
        }
    }

    /// Since when the process has answered.
    pub(super) fn since(&self) -> Option<Instant> {
        match self {
            Self::Answer(_, since) => Some(*since),
            Self::Silence(_) | Self::Asked(_) => None,
        }
    }

    /// How long to wait before the process is asked again. `None`: it has answered, or is being asked.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Answer(..) | Self::Asked(_) => None,
            Self::Silence(failure) => Some(failure.wait(now)),
        }
    }
}

/// What is known of a process after `before`. If it is due to be asked, `ask` begins that, and an answer that comes soon is waited for.
pub(super) async fn know(
    before: Option<Known>,
    now: Instant,
    ask: impl FnOnce(Option<Failure<String>>) -> Question,
) -> Known {
    let failure = match before.map(Known::by_now) {
        Some(Known::Silence(failure)) if failure.is_due(now) => Some(failure),
        Some(known) => return known,
        None => None,
    };
    let question = Arc::new(ask(failure));
    question.wait().await;
    Known::Asked(question).by_now()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use kite_api::PluginName;
    use kite_proto::DescribeResponse;
    use serde_json::json;
    use tokio::sync::{mpsc, oneshot};

    use super::{
        super::{MAX_TOLD, ask::AskError},
        *,
    };
    use crate::metrics::Metrics;

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
        assert_eq!(first.clone().answer().unwrap_err(), Silence::NotYet);
        // Another look goes on at once.
        let second = know(Some(first), Instant::now(), nobody).await;
        assert_eq!(second.clone().answer().unwrap_err(), Silence::NotYet);
        say.send(answer()).unwrap();
        woken.recv().await.unwrap();
        let third = know(Some(second), Instant::now(), nobody).await;
        assert!(third.answer().is_ok());
    }

    #[tokio::test]
    async fn an_answer_that_a_look_has_waited_for_wakes_nobody() {
        let (wake, mut woken) = mpsc::unbounded_channel();
        let ask = |failure| Question::begin(failure, ready(Ok(answer())), move || wake.send(()).unwrap());
        let known = know(None, Instant::now(), ask).await;
        assert!(known.answer().is_ok());
        assert_eq!(woken.recv().await, None);
    }

    #[tokio::test]
    async fn what_was_told_of_a_failure_stands_while_the_process_is_asked_again() {
        let failure = Failure::after(None, String::from("refused"), Instant::now());
        let later = Instant::now() + Duration::from_mins(1);
        let ask = |failure| Question::begin(failure, pending(), || {});
        let known = know(Some(Known::Silence(failure)), later, ask).await;
        assert_eq!(known.wait(later), None, "the end of the question wakes the plugin");
        assert_eq!(known.answer().unwrap_err(), Silence::Failed(String::from("refused")));
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
        let Err(Silence::Failed(told)) = failed.answer() else {
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
}
