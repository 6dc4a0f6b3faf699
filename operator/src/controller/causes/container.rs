//! Why a container does not run, or runs and is not ready: from its status, and from what the kubelet told as Events.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Event, Pod};

use super::{
    Cause, Kind, image,
    told::{self, Told},
    words::cut,
};

/// Most characters that are kept of what a process left as its last words.
const LAST_WORDS: usize = 200;
/// What the kubelet calls it if a container cannot be made.
const FAILING: [&str; 4] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreCreateHookError",
];
/// The exit code of a process that could not be executed, as the container runtimes have it.
const NOT_EXECUTED: i32 = 255;
/// What the kubelet calls it if it waits before it starts a process again.
const BACK_OFF: &str = "CrashLoopBackOff";
/// When a process has run for so long, the kubelet starts it again at once when it ends, whatever ended before it. If it ends earlier, the kubelet
/// waits longer each time: until then one that runs may be one more of the same row, and to be told now so and now otherwise helps nobody.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);

/// What keeps the pod's containers from being ready at this time, as far as more than time is needed.
pub(super) fn cause(pod: &Pod, events: &[&Event], now: Timestamp) -> Option<Cause> {
    let status = pod.status.as_ref()?;
    let mut containers = status.container_statuses.iter().flatten();
    containers
        .find_map(|container| of_status(pod, container, events, now))
        .or_else(|| told::not_started(events).filter(|_| is_being_made(pod)))
}

fn of_status(pod: &Pod, container: &ContainerStatus, events: &[&Event], now: Timestamp) -> Option<Cause> {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting
        .and_then(|waiting| waiting.reason.as_deref())
        .unwrap_or_default();
    let message = waiting.and_then(|waiting| waiting.message.as_deref());
    if let Some(cause) = image::cause(&container.image, reason, message) {
        return Some(cause);
    }
    if FAILING.contains(&reason) {
        return Some(not_made(pod, container, reason, message));
    }
    if let Some(ended) = in_a_row(container, reason, now) {
        return Some(again_and_again(pod, container, ended, events));
    }
    // One that has just begun is not ready because it begins, and has its time for that.
    let should_answer = container.started == Some(true) && !container.ready;
    let running = container.state.as_ref().and_then(|state| state.running.as_ref());
    let began = running.and_then(|running| running.started_at.as_ref());
    let probe = should_answer
        .then(|| told::probe_failure_since(events, began, now))
        .flatten()?;
    Some(unready(pod, &probe))
}

/// How the process ended last, if it does so again and again. That it ended once does not say so, nor that it did long ago or after a long
/// time, as where its node was started again: it is started once more, and time may do.
fn in_a_row<'a>(container: &'a ContainerStatus, reason: &str, now: Timestamp) -> Option<&'a ContainerStateTerminated> {
    let last = ended(container.last_state.as_ref());
    if reason == BACK_OFF {
        return last;
    }
    let state = container.state.as_ref()?;
    if let Some(present) = state.terminated.as_ref() {
        return (container.restart_count > 0 && ended_early(present)).then_some(present);
    }
    let began = state.running.as_ref()?.started_at.as_ref()?;
    let has_just_begun = now.duration_since(began.0) < FORGOTTEN;
    last.filter(|last| has_just_begun && !container.ready && container.restart_count > 1 && ended_early(last))
}

/// Whether the process ended before what was before it was forgotten. Of one that could not even be started the kubelet says that it began in 1970.
fn ended_early(ended: &ContainerStateTerminated) -> bool {
    let times = ended.started_at.as_ref().zip(ended.finished_at.as_ref());
    times.is_none_or(|(started, finished)| {
        started.0 <= Timestamp::UNIX_EPOCH || finished.0.duration_since(started.0) < FORGOTTEN
    })
}

/// The container could not be made.
fn not_made(pod: &Pod, container: &ContainerStatus, reason: &str, message: Option<&str>) -> Cause {
    let words = message.unwrap_or_default();
    if image::meaning(words) == Some(Kind::ImageArchitecture) {
        return wrong_architecture(&container.image);
    }
    if let Some(cause) = told::missing(words) {
        return cause;
    }
    let sentence = format!("pod {} cannot start ({reason})", name(pod));
    Cause::new(Kind::NotStarted, sentence).said("the kubelet", message)
}

fn wrong_architecture(image: &str) -> Cause {
    let sentence = format!(
        "image {} is not for the node's architecture",
        super::words::bounded(image)
    );
    Cause::new(Kind::ImageArchitecture, sentence)
}

/// The process ends, however often it is started.
fn again_and_again(
    pod: &Pod,
    container: &ContainerStatus,
    ended: &ContainerStateTerminated,
    events: &[&Event],
) -> Cause {
    let last_words = last_words(pod, container, ended);
    if image::meaning(last_words.as_deref().unwrap_or_default()) == Some(Kind::ImageArchitecture) {
        return wrong_architecture(&container.image);
    }
    let (code, restarts) = (ended.exit_code, container.restart_count);
    let restarts = if restarts == 1 {
        String::from("1 restart")
    } else {
        format!("{restarts} restarts")
    };
    if ended.reason.as_deref() == Some("OOMKilled") {
        let sentence = match limit(pod, container) {
            Some(limit) => format!("the plugin takes more memory than the {limit} that it may ({restarts})"),
            None => format!("the plugin takes more memory than it may ({restarts})"),
        };
        return Cause::new(Kind::OutOfMemory, sentence);
    }
    if let Some(probe) = told::killed_for(events, ended.started_at.as_ref()) {
        let sentence =
            format!("the kubelet ends the plugin again and again because its {probe} probe fails ({restarts})");
        let said = told::probe_failure(events).map(|failure| failure.words);
        return Cause::new(Kind::Probe, sentence).said("the kubelet", said.as_deref());
    }
    let left = last_words
        .map(|words| format!(" and leaves the message {words:?}"))
        .unwrap_or_default();
    let sentence = format!("the plugin ends again and again (exit code {code}, {restarts}){left}");
    let read = format!("read its log with `{}`", log(pod, container));
    Cause::new(Kind::Crash, sentence).next_step(match code {
        NOT_EXECUTED => format!("{read}, and check that the image is for the node's architecture"),
        _ => read,
    })
}

fn unready(pod: &Pod, told: &Told) -> Cause {
    let sentence = format!("pod {} runs, and its {} probe fails", name(pod), told.probe);
    Cause::new(Kind::Probe, sentence).said("the kubelet", Some(&told.words))
}

/// What the process wrote to its termination log for whoever looks at its end. What a kubelet took from the log instead is not shown: a log
/// may hold secrets, and a plugin's status is read by many.
fn last_words(pod: &Pod, container: &ContainerStatus, ended: &ContainerStateTerminated) -> Option<String> {
    let spec = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .find(|it| it.name == container.name);
    let from_log = spec.is_none_or(|it| it.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"));
    let words = ended.message.as_deref().filter(|_| !from_log)?;
    let words = cut(words, LAST_WORDS);
    (!words.is_empty()).then_some(words)
}

/// The memory that the container may take.
fn limit(pod: &Pod, container: &ContainerStatus) -> Option<String> {
    let spec = pod
        .spec
        .as_ref()?
        .containers
        .iter()
        .find(|it| it.name == container.name)?;
    let limits = spec.resources.as_ref()?.limits.as_ref()?;
    limits.get("memory").map(|limit| limit.0.clone())
}

/// The command that shows what the process wrote before it ended.
fn log(pod: &Pod, container: &ContainerStatus) -> String {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    format!(
        "kubectl logs -n {namespace} {} -c {} --previous",
        name(pod),
        container.name
    )
}

/// Whether no process of the pod has begun yet.
fn is_being_made(pod: &Pod) -> bool {
    let containers = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let mut states = containers.map(|container| container.state.as_ref());
    states.all(|state| state.is_none_or(|state| state.running.is_none() && state.terminated.is_none()))
}

fn ended(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state?.terminated.as_ref()
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}
