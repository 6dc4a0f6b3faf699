//! The operator's replicas on a node: the one that leads is frozen and thawed, and killed, while plugins come, while one is used, and
//! while a cluster goes.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Pod, Secret},
    },
    jiff::Timestamp,
};
use kite_api::{Phase, labels};
use kite_e2e::{
    cluster::{self, Layout},
    target::Target,
    testing::{
        SOON, START, SYSTEM, Scope, eventually,
        load::{Greetings, Load, used},
        pod::is_ready,
        scope,
        told::{kubeconfig_of, told},
    },
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

/// Three times what a replica may take to act in the place of one that was killed.
const TAKEOVER: Duration = Duration::from_mins(1);

/// How long it may take until one leads when all were killed: the kubelet waits longer before each start.
const RESTARTED: Duration = Duration::from_mins(5);

/// The pod that holds the Lease.
async fn leader(scope: &Scope) -> Result<String, String> {
    let leases: Api<Lease> = Api::namespaced(scope.client.clone(), SYSTEM);
    let lease = leases.get("kite-operator").await.map_err(|error| error.to_string())?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
    let pod = holder.split('_').next().unwrap_or_default();
    if pod.is_empty() {
        return Err(String::from("nobody"));
    }
    Ok(pod.to_owned())
}

/// The pods of all replicas.
async fn operators(scope: &Scope) -> Result<Vec<Pod>, String> {
    let pods: Api<Pod> = Api::namespaced(scope.client.clone(), SYSTEM);
    let ours = ListParams::default().labels("app.kubernetes.io/name=kite-operator");
    let pods = pods.list(&ours).await.map_err(|error| error.to_string())?;
    Ok(pods.items)
}

/// Waits until both replicas are ready.
async fn two_are_ready(scope: &Scope) {
    eventually("two replicas are ready", START, async || {
        let pods = operators(scope).await?;
        match pods.iter().filter(|pod| is_ready(pod)).count() {
            2 => Ok(()),
            count => Err(format!("{count} of {}", pods.len())),
        }
    })
    .await;
}

/// The operator's process in this pod, as the machine counts processes.
fn process(pod: &str) -> Pid {
    let name = format!("HOSTNAME={pod}");
    let is_it = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|it| it == name.as_bytes())
    };
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Pid::from_raw(pids.find(is_it).expect("the pod's process"))
}

/// When this pod has written something other than the Lease.
fn writes(pod: &str) -> Vec<Timestamp> {
    let running = cluster::status(&Layout::from_env().unwrap()).expect("the local cluster");
    let mut times = Vec::new();
    for path in running.audit_logs().unwrap() {
        for line in BufReader::new(File::open(path).unwrap()).lines() {
            // The last line may be one that is just being written.
            let Ok(event) = serde_json::from_str::<Value>(&line.unwrap()) else {
                continue;
            };
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let is_write = ["create", "update", "patch", "delete"].contains(&text("/verb"));
            let is_its = text("/user/extra/authentication.kubernetes.io~1pod-name/0") == pod;
            if is_write && is_its && text("/objectRef/resource") != "leases" {
                times.push(text("/requestReceivedTimestamp").parse().unwrap());
            }
        }
    }
    times
}

/// Whether a process of the cluster can be told anything by a signal.
fn are_processes_here() -> bool {
    let is_local = Target::running(&Layout::from_env().unwrap()).unwrap().is_local;
    if !is_local {
        println!("nothing is killed: only the local cluster's processes are this machine's");
    }
    is_local
}

#[tokio::test]
async fn another_operator_takes_over_from_one_that_is_frozen_or_killed() {
    if !are_processes_here() {
        return;
    }
    scope("operators", async |scope| {
        two_are_ready(&scope).await;
        let first = leader(&scope).await.unwrap();
        scope.loaded_plugin("-before", |_| {}).await;
        assert!(!writes(&first).is_empty(), "it made the plugin");

        let frozen = process(&first);
        kill(frozen, Signal::SIGSTOP).unwrap();
        let second = eventually("another one leads", TAKEOVER, async || {
            leader(&scope)
                .await
                .and_then(|pod| if pod == first { Err(pod) } else { Ok(pod) })
        })
        .await;
        let taken = Timestamp::now();
        scope.loaded_plugin("-meanwhile", |_| {}).await;
        kill(frozen, Signal::SIGCONT).unwrap();
        two_are_ready(&scope).await;
        scope.loaded_plugin("-thawed", |_| {}).await;
        let late: Vec<Timestamp> = writes(&first).into_iter().filter(|time| *time > taken).collect();
        assert!(late.is_empty(), "{first} wrote after {taken}: {late:?}");

        let killed = Instant::now();
        kill(process(&second), Signal::SIGKILL).unwrap();
        let plugin = scope.make_plugin("-after", |_| {}).await;
        eventually("another one acts", TAKEOVER, async || {
            let status = scope.plugins().get(&plugin).await.unwrap().status;
            let seen = status.and_then(|status| status.observed_generation);
            if seen == Some(1) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;
        println!(
            "the other acted {:.1} s after the leader was killed",
            killed.elapsed().as_secs_f64()
        );
        scope.wait_for_phase(&plugin, Phase::Loaded).await;
        two_are_ready(&scope).await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_is_killed_in_the_midst_of_an_update_loses_no_request() {
    if !are_processes_here() {
        return;
    }
    scope("unattended", async |scope| {
        two_are_ready(&scope).await;
        let plugin = scope.loaded_plugin("", |_| {}).await;
        let greetings: Greetings = [(1, "Hello, "), (2, "Hello, ")].into();
        let load = Load::start(&scope, &plugin, greetings).await;
        used(&load, 1).await;

        let acting = process(&leader(&scope).await.unwrap());
        let other = json!({"spec": {"env": [{"name": "REVISION", "value": "2"}]}});
        scope.patch_plugin(&plugin, other).await;
        kill(acting, Signal::SIGKILL).unwrap();
        let killed = Instant::now();
        let status = scope.plugins().get(&plugin).await.unwrap().status.unwrap();
        assert_eq!(
            status.active_revision,
            Some(1),
            "the update is not over yet: {status:?}"
        );
        used(&load, 1).await;
        scope.wait_for_revision(&plugin, 2).await;
        println!(
            "the other had it done {:.1} s after the leader was killed",
            killed.elapsed().as_secs_f64()
        );
        used(&load, 2).await;
        two_are_ready(&scope).await;
        load.end().await.is_whole();
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_goes_while_nobody_leads_is_told_to_pods_that_knew_it() {
    if !are_processes_here() {
        return;
    }
    scope("forgotten", async |scope| {
        two_are_ready(&scope).await;
        let plugin = scope.loaded_plugin("", |_| {}).await;
        let pod = scope.pods_of(&plugin).await[0].name_any();
        let config = kubeconfig_of("https://127.0.0.1:1");
        let label = (labels::CLUSTER, "true");
        let cluster = scope.secret(SYSTEM, "", label, &[("kubeconfig", &config)]).await;
        told(&scope, &pod, &cluster, &["Added"], SOON).await;

        for operator in operators(&scope).await.unwrap() {
            kill(process(&operator.name_any()), Signal::SIGKILL).unwrap();
        }
        // Whoever leads next finds nothing of it.
        let secrets: Api<Secret> = Api::namespaced(scope.client.clone(), SYSTEM);
        secrets.delete(&cluster, &DeleteParams::default()).await.unwrap();
        told(&scope, &pod, &cluster, &["Added", "Removed"], RESTARTED).await;
        two_are_ready(&scope).await;
    })
    .await;
}
