//! One row per cause, from what real kubelets, schedulers and API servers say.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

mod again;

const START: &str = "2026-01-12T09:31:07Z";
const LATER: &str = "2026-01-12T09:32:07Z";
const NOW: &str = "2026-01-12T09:33:07Z";

fn pod(status: &Value) -> Pod {
    let value = json!({
        "metadata": {"name": "p", "namespace": "kite-plugins", "uid": "u-1", "creationTimestamp": START},
        "spec": {"containers": [{
            "name": "plugin", "terminationMessagePolicy": "File",
            "resources": {"limits": {"memory": "64Mi"}},
        }]},
        "status": status,
    });
    serde_json::from_value(value).unwrap()
}

fn container(state: &Value, last_state: &Value, restarts: i32) -> Value {
    json!({"containerStatuses": [{
        "name": "plugin", "image": "registry.example/hello:0.1.0", "imageID": "", "ready": false,
        "restartCount": restarts, "state": state, "lastState": last_state,
    }]})
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn pull(message: &str) -> Value {
    container(&waiting("ErrImagePull", message), &json!({}), 0)
}

fn crash(terminated: &Value, restarts: i32) -> Value {
    let back_off = "back-off 20s restarting failed container=plugin pod=p_kite-plugins(u-1)";
    container(
        &waiting("CrashLoopBackOff", back_off),
        &json!({"terminated": terminated}),
        restarts,
    )
}

fn runs(started: bool) -> Value {
    let mut status = container(&json!({"running": {"startedAt": START}}), &json!({}), 0);
    status["containerStatuses"][0]["started"] = json!(started);
    status
}

fn unscheduled(message: &str) -> Value {
    json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    ]})
}

fn creating() -> Value {
    container(&json!({"waiting": {"reason": "ContainerCreating"}}), &json!({}), 0)
}

fn event(reason: &str, at: &str, message: &str) -> Event {
    let value = json!({
        "metadata": {"name": "e"}, "involvedObject": {"uid": "u-1"}, "reason": reason, "message": message,
        "lastTimestamp": at,
    });
    serde_json::from_value(value).unwrap()
}

fn deployment(refusal: Option<&str>) -> Deployment {
    let conditions: Vec<Value> = refusal
        .map(
            |message| json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}),
        )
        .into_iter()
        .collect();
    let value = json!({
        "metadata": {}, "spec": {"replicas": 1, "selector": {}, "template": {}}, "status": {"conditions": conditions},
    });
    serde_json::from_value(value).unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn of_pod(status: &Value, events: &[Event]) -> Option<Cause> {
    at(NOW, status, events)
}

/// What is told of the pod at that time.
fn at(now: &str, status: &Value, events: &[Event]) -> Option<Cause> {
    find(&deployment(None), &[pod(status)], events, time(now))
}

fn of_refusal(message: &str) -> Option<Cause> {
    find(&deployment(Some(message)), &[], &[], time(NOW))
}

/// What a registry, or the way to it, makes containerd 1.6 and later say.
fn images() -> Vec<(Kind, Option<Cause>)> {
    let row = |kind, message| (kind, of_pod(&pull(message), &[]));
    vec![
        row(
            Kind::ImageNotFound,
            r#"rpc error: code = NotFound desc = failed to pull and unpack image "registry.example/hello:0.1.0": failed to resolve reference "registry.example/hello:0.1.0": registry.example/hello:0.1.0: not found"#,
        ),
        row(
            Kind::ImageUnauthorised,
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "registry.example/hello:0.1.0": failed to resolve reference "registry.example/hello:0.1.0": pulling from host registry.example failed with status code [manifests 0.1.0]: 401 Unauthorized"#,
        ),
        row(
            Kind::ImageUnauthorised,
            r#"failed to pull and unpack image "docker.io/kite/hello:0.1.0": failed to resolve reference "docker.io/kite/hello:0.1.0": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"#,
        ),
        row(
            Kind::RegistryUnreachable,
            r#"rpc error: code = Unknown desc = failed to pull and unpack image "registry.example/hello:0.1.0": failed to resolve reference "registry.example/hello:0.1.0": failed to do request: Head "https://registry.example/v2/hello/manifests/0.1.0": dial tcp 198.18.0.2:443: connect: connection refused"#,
        ),
        row(
            Kind::RegistryUnreachable,
            r#"failed to do request: Head "https://registry.invalid/v2/hello/manifests/1": dial tcp: lookup registry.invalid on 10.96.0.10:53: no such host"#,
        ),
        row(
            Kind::ImageArchitecture,
            r#"rpc error: code = NotFound desc = failed to pull and unpack image "registry.example/hello:0.1.0": no match for platform in manifest: not found"#,
        ),
        row(
            Kind::ImagePull,
            "rpc error: code = Unknown desc = failed to extract layer: no space left on device",
        ),
        (
            Kind::ImageName,
            of_pod(
                &container(
                    &waiting(
                        "InvalidImageName",
                        "Failed to apply default image tag \"A\": couldn't parse image name",
                    ),
                    &json!({}),
                    0,
                ),
                &[],
            ),
        ),
        (
            Kind::ImagePull,
            of_pod(
                &container(
                    &waiting(
                        "ErrImageNeverPull",
                        "Container image \"registry.example/hello:0.1.0\" is not present with pull policy of Never",
                    ),
                    &json!({}),
                    0,
                ),
                &[],
            ),
        ),
    ]
}

fn processes() -> Vec<(Kind, Option<Cause>)> {
    let exit = json!({"exitCode": 3, "reason": "Error", "message": "no price list\n", "startedAt": START});
    let killed = json!({"exitCode": 137, "reason": "Error", "startedAt": START});
    let probes = [
        event(
            "Unhealthy",
            LATER,
            "Startup probe failed: service unhealthy (responded with \"NOT_SERVING\")",
        ),
        event(
            "Killing",
            LATER,
            "Container plugin failed startup probe, will be restarted",
        ),
    ];
    let readiness = [event(
        "Unhealthy",
        LATER,
        "Readiness probe failed: timeout: failed to connect service \"10.1.2.3:8081\" within 1s: context deadline exceeded",
    )];
    let not_executed = json!({"exitCode": 128, "reason": "StartError", "message": "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/plugin\": exec format error: unknown"});
    vec![
        (Kind::Crash, of_pod(&crash(&exit, 4), &[])),
        (
            Kind::Crash,
            of_pod(
                &container(&json!({"terminated": {"exitCode": 255}}), &json!({}), 1),
                &[],
            ),
        ),
        (
            Kind::OutOfMemory,
            of_pod(&crash(&json!({"exitCode": 137, "reason": "OOMKilled"}), 2), &[]),
        ),
        (Kind::Probe, of_pod(&crash(&killed, 2), &probes)),
        (Kind::Probe, of_pod(&runs(true), &readiness)),
        (Kind::ImageArchitecture, of_pod(&crash(&not_executed, 2), &[])),
    ]
}

/// Containers that are not made.
fn containers() -> Vec<(Kind, Option<Cause>)> {
    let waits = |reason, message| of_pod(&container(&waiting(reason, message), &json!({}), 0), &[]);
    let told = |reason, message| of_pod(&creating(), &[event(reason, LATER, message)]);
    vec![
        (
            Kind::ImageArchitecture,
            waits(
                "RunContainerError",
                "failed to create containerd task: exec: \"/plugin\": exec format error: unknown",
            ),
        ),
        (
            Kind::SecretMissing,
            waits("CreateContainerConfigError", "secret \"prices\" not found"),
        ),
        (
            Kind::SecretMissing,
            waits(
                "CreateContainerConfigError",
                "couldn't find key token in Secret kite-plugins/prices",
            ),
        ),
        (
            Kind::SecretMissing,
            told(
                "FailedMount",
                "MountVolume.SetUp failed for volume \"kite\" : secret \"kite-plugin-hello-tls\" not found",
            ),
        ),
        (
            Kind::NotStarted,
            told(
                "FailedMount",
                "MountVolume.SetUp failed for volume \"data\" : mount failed: exit status 32",
            ),
        ),
        (
            Kind::NotStarted,
            told(
                "FailedCreatePodSandBox",
                "Failed to create pod sandbox: plugin type=\"ptp\" failed (add): no IP addresses available",
            ),
        ),
        (
            Kind::NotStarted,
            waits(
                "CreateContainerConfigError",
                "container has runAsNonRoot and image will run as root",
            ),
        ),
    ]
}

fn places() -> Vec<(Kind, Option<Cause>)> {
    let node = |kind, message| (kind, of_pod(&unscheduled(message), &[]));
    let refusal = |kind, message| (kind, of_refusal(message));
    vec![
        node(
            Kind::NoRoom,
            "0/3 nodes are available: 3 Insufficient memory. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.",
        ),
        node(
            Kind::NoNodeMatches,
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        ),
        node(
            Kind::NodesTainted,
            "0/1 nodes are available: 1 node(s) had untolerated taint {gpu: }. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        ),
        node(
            Kind::Unschedulable,
            "0/1 nodes are available: 1 node(s) were unschedulable.",
        ),
        refusal(
            Kind::Quota,
            r#"pods "kite-plugin-hello-1-6d5c9b7f4-x2x8p" is forbidden: exceeded quota: kite-plugins, requested: pods=1, used: pods=200, limited: pods=200"#,
        ),
        refusal(
            Kind::LimitRange,
            r#"pods "kite-plugin-hello-1-6d5c9b7f4-x2x8p" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi"#,
        ),
        refusal(
            Kind::PodSecurity,
            r#"pods "kite-plugin-hello-1-6d5c9b7f4-x2x8p" is forbidden: violates PodSecurity "restricted:latest": unrestricted capabilities"#,
        ),
        refusal(
            Kind::Admission,
            r#"admission webhook "policy.example" denied the request: no images from there"#,
        ),
    ]
}

#[test]
fn each_cause_is_told_with_what_to_do() {
    let rows = [images(), processes(), containers(), places()].concat();
    let told = |kind: Kind| rows.iter().any(|(row, _)| *row == kind);
    assert!(Kind::ALL.into_iter().all(told), "a row for each");
    for (kind, cause) in &rows {
        assert_eq!(cause.as_ref().map(|cause| cause.kind), Some(*kind), "{cause:?}");
    }
    let told: Vec<String> = rows
        .iter()
        .flat_map(|(_, cause)| cause)
        .map(|cause| format!("{}: {}", cause.reason(), cause.message()))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn each_cause_has_a_page_that_explains_it() {
    for kind in Kind::ALL {
        let (file, heading) = kind.page().split_once('#').unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let page = std::fs::read_to_string(path).unwrap();
        let headings: Vec<String> = page
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .map(str::to_lowercase)
            .collect();
        assert!(headings.iter().any(|it| it == heading), "{kind:?}: {heading}");
        assert_eq!(heading, kind.reason().to_lowercase());
    }
}

#[test]
fn a_message_stands_still_while_the_kubelet_waits() {
    let words = "failed to resolve reference \"a\": a: not found";
    let tried = of_pod(&pull(&format!("rpc error: code = NotFound desc = {words}")), &[]);
    let message = format!("Back-off pulling image \"a\": ErrImagePull: rpc error: code = NotFound desc = {words}");
    let waits = of_pod(&container(&waiting("ImagePullBackOff", &message), &json!({}), 0), &[]);
    assert_eq!(tried, waits);
    let of_try = |name: &str| of_refusal(&format!("pods \"{name}\" is forbidden: exceeded quota: q"));
    assert_eq!(of_try("p-1"), of_try("p-2"));
}

#[test]
fn a_pod_that_is_starting_is_in_no_trouble() {
    assert_eq!(of_pod(&creating(), &[]), None);
    // It has a minute for its start.
    let early = event("Unhealthy", LATER, "Startup probe failed: timeout");
    assert_eq!(of_pod(&runs(false), &[early]), None);
}

#[test]
fn a_pod_that_is_ready_again_is_in_no_trouble() {
    let mut status = container(&json!({"running": {}}), &json!({"terminated": {"exitCode": 1}}), 1);
    status["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert_eq!(of_pod(&status, &[]), None);
}

#[test]
fn what_was_told_of_an_earlier_process_or_another_pod_does_not_count() {
    let killing = "Container plugin failed liveness probe, will be restarted";
    let exit = json!({"exitCode": 1, "startedAt": LATER});
    let cause = of_pod(&crash(&exit, 2), &[event("Killing", START, killing)]).unwrap();
    assert_eq!(cause.kind, Kind::Crash);
    let mut other = event("FailedMount", LATER, "secret \"a\" not found");
    other.involved_object.uid = Some(String::from("u-2"));
    assert_eq!(of_pod(&creating(), &[other]), None);
    let past = [
        event("FailedMount", START, "secret \"a\" not found"),
        event("Pulling", LATER, "Pulling image"),
    ];
    assert_eq!(of_pod(&creating(), &past), None, "what was missing is there by now");
}

#[test]
fn where_pods_differ_the_gravest_cause_is_told_whatever_their_order() {
    let full = pod(&unscheduled("0/1 nodes are available: 1 Insufficient cpu."));
    let crashes = pod(&crash(&json!({"exitCode": 1}), 2));
    for pods in [[full.clone(), crashes.clone()], [crashes, full]] {
        assert_eq!(
            find(&deployment(None), &pods, &[], time(NOW)).unwrap().kind,
            Kind::Crash
        );
    }
}

#[test]
fn last_words_are_bounded_and_printable() {
    let flood = format!("first\u{1b}[2J\n\u{202e}second {}", "é".repeat(1024 * 1024));
    let message = of_pod(&crash(&json!({"exitCode": 1, "message": flood}), 2), &[])
        .unwrap()
        .message();
    assert!(message.contains("first [2J second é"), "{message}");
    assert!(
        message.len() < 1024 && !message.chars().any(char::is_control),
        "{message}"
    );
}

#[test]
fn a_log_is_not_shown_though_the_kubelet_hands_it_over() {
    let mut pod = pod(&crash(&json!({"exitCode": 1, "message": "password=hunter2"}), 2));
    let shown = |pod: &Pod| {
        find(&deployment(None), std::slice::from_ref(pod), &[], time(NOW))
            .unwrap()
            .message()
    };
    assert!(shown(&pod).contains("hunter2"));
    let spec = pod.spec.as_mut().unwrap();
    spec.containers[0].termination_message_policy = Some(String::from("FallbackToLogsOnError"));
    let message = shown(&pod);
    assert!(
        !message.contains("hunter2") && message.contains("kubectl logs"),
        "{message}"
    );
}

#[test]
fn a_pod_is_looked_at_closer_when_it_had_time_to_be_ready() {
    let pods = [pod(&creating())];
    let at = |second| time(START) + SignedDuration::from_secs(second);
    assert_eq!(
        (unsettled(&pods, at(2)).count(), unsettled(&pods, at(5)).count()),
        (0, 1)
    );
    assert_eq!(look_again(&pods, at(2)), Some(Duration::from_secs(3)));
    assert_eq!(look_again(&pods, at(60)), Some(AGAIN));
    let ready = [pod(&json!({"conditions": [{"type": "Ready", "status": "True"}]}))];
    assert_eq!(
        (unsettled(&ready, at(60)).count(), look_again(&ready, at(60))),
        (0, None)
    );
}
