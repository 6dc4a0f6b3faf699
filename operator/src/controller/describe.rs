//! Asks the running plugin what it is, and judges whether it is what its object says.

pub mod ask;
pub mod judge;
pub mod tools;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;

pub use self::judge::Verdict;
use self::{
    ask::{Answer, AskError},
    judge::PodAnswer,
};
use super::{object::is_ready, validate::ValidatedPlugin};
use crate::identity::Identity;

/// One run of a plugin's process: its pod, and how often the container was started again in it. What it answered once it
/// answers for as long as it lives.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Process {
    pod: String,
    restarts: i32,
}

/// What was answered, by plugin and process. Failures to answer are not kept.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, HashMap<Process, Arc<Answer>>>>);

impl Memory {
    /// Forgets all plugins but those for which `exists` holds.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn recall(&self, plugin: &str, process: &Process) -> Option<Arc<Answer>> {
        self.lock().get(plugin)?.get(process).cloned()
    }

    fn remember(&self, plugin: &str, answers: HashMap<Process, Arc<Answer>>) {
        self.lock().insert(plugin.to_owned(), answers);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<Process, Arc<Answer>>>> {
        // An entry is replaced as a whole, so that none is half written whatever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks those of `pods` that are ready, all at once, and only those that have not answered yet.
pub async fn describe(plugin: &ValidatedPlugin, pods: &[Pod], identity: &Identity, memory: &Memory) -> Verdict {
    let name = plugin.name.as_str();
    let targets = pods.iter().filter(|pod| is_ready(pod)).filter_map(target);
    let answers = join_all(targets.map(|target| answer(plugin, target, identity, memory))).await;
    let known = |(target, result): &(Target, Result<Arc<Answer>, AskError>)| {
        Some((target.process.clone(), Arc::clone(result.as_ref().ok()?)))
    };
    memory.remember(name, answers.iter().filter_map(known).collect());
    let answers: Vec<_> = answers
        .into_iter()
        .map(|(target, result)| PodAnswer {
            pod: target.name,
            result,
        })
        .collect();
    judge::judge(plugin, &answers)
}

async fn answer(
    plugin: &ValidatedPlugin,
    target: Target,
    identity: &Identity,
    memory: &Memory,
) -> (Target, Result<Arc<Answer>, AskError>) {
    let result = match memory.recall(plugin.name.as_str(), &target.process) {
        Some(answer) => Ok(answer),
        None => ask::ask(&plugin.name, &target.ip, identity).await.map(Arc::new),
    };
    (target, result)
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

    #[test]
    fn a_restarted_process_and_a_deleted_plugin_are_forgotten() {
        let memory = Memory::default();
        let process = |restarts| Process {
            pod: String::from("uid"),
            restarts,
        };
        let answer = Arc::new(Answer::of(
            &PluginName::parse("hello").unwrap(),
            DescribeResponse::default(),
        ));
        memory.remember("hello", HashMap::from([(process(0), answer)]));
        assert!(memory.recall("hello", &process(0)).is_some());
        assert!(memory.recall("hello", &process(1)).is_none());
        assert!(memory.recall("other", &process(0)).is_none());
        memory.retain(|_| false);
        assert!(memory.recall("hello", &process(0)).is_none());
    }
}
