//! Tells plugins what they must know: their settings, the clusters that there are, and that they are about to be stopped. Each has a task of its
//! own beside the controller, so that none waits for another.
//!
//! What each process has been told is known in memory alone. An operator that starts tells everything again, as the protocol allows.

pub mod call;
pub mod clusters;
pub mod ledger;
pub mod news;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kite_api::PluginName;
use tokio::{sync::watch, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use self::{
    call::{Caller, RELEASE},
    clusters::Clusters,
    news::{Listener, News, Settings, Told},
    task::Task,
};
use crate::{controller::watches::Waker, metrics::Metrics};

/// How long the controller waits for what processes say to what is new. What they say later wakes it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the controller tells of plugins, and asks about what came of telling them. When it is dropped, nothing is told any more.
#[derive(Debug)]
pub struct Pushes {
    caller: Caller,
    clusters: watch::Receiver<Arc<Clusters>>,
    waker: Waker,
    metrics: Metrics,
    plugins: Mutex<HashMap<String, Plugin>>,
}

/// A plugin that is told.
#[derive(Debug)]
struct Plugin {
    /// Another object of the same name is another plugin, and gets nothing of this one's.
    uid: String,
    news: watch::Sender<News>,
    told: watch::Receiver<Told>,
    _task: AbortOnDropHandle<()>,
}

impl Pushes {
    pub fn new(caller: Caller, clusters: watch::Receiver<Arc<Clusters>>, waker: Waker, metrics: Metrics) -> Self {
        Self {
            caller,
            clusters,
            waker,
            metrics,
            plugins: Mutex::default(),
        }
    }

    /// These are the settings of the plugin's revisions by this generation of its object. None is to be stopped any longer.
    pub fn settings(
        &self,
        plugin: &PluginName,
        (uid, generation): (&str, i64),
        settings: BTreeMap<i64, Option<Settings>>,
    ) {
        self.change(plugin, uid, |news| {
            news.generation = generation;
            news.stopping.retain(|revision| !settings.contains_key(revision));
            news.settings = settings;
        });
    }

    /// These are the processes of the plugin's revisions that can be told something, and all its pods.
    pub fn listeners(&self, plugin: &PluginName, uid: &str, listeners: Vec<Listener>, pods: BTreeSet<String>) {
        self.change(plugin, uid, |news| {
            news.listeners = listeners;
            news.pods = pods;
        });
    }

    /// What the plugin's processes say to their settings, as soon as each has said something, or in a moment.
    pub async fn told(&self, plugin: &PluginName) -> Told {
        self.wait(plugin, PATIENCE, Told::is_settled).await
    }

    /// Lets the pods of these revisions release what they hold, for as long as they may take.
    pub async fn release(&self, plugin: &PluginName, uid: &str, revisions: &BTreeSet<i64>) {
        // Of one that was told nothing it is not known whether it has anything to release.
        if revisions.is_empty() || !self.lock().contains_key(plugin.as_str()) {
            return;
        }
        self.change(plugin, uid, |news| news.stopping.extend(revisions));
        self.wait(plugin, RELEASE + PATIENCE, |told| told.releasing == 0).await;
    }

    /// Forgets all plugins but those for which `exists` holds, whatever they are being told.
    pub fn retain(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| exists(name));
    }

    fn change(&self, plugin: &PluginName, uid: &str, change: impl FnOnce(&mut News)) {
        let mut plugins = self.lock();
        let is_known = plugins.get(plugin.as_str()).is_some_and(|known| known.uid == uid);
        if !is_known {
            plugins.insert(plugin.to_string(), self.begin(plugin, uid));
        }
        let Some(known) = plugins.get(plugin.as_str()) else {
            return;
        };
        known.news.send_if_modified(|news| {
            let before = news.clone();
            change(news);
            let is_new = *news != before;
            news.version += u64::from(is_new);
            is_new
        });
    }

    fn begin(&self, plugin: &PluginName, uid: &str) -> Plugin {
        let (news, learnt) = watch::channel(News::default());
        let (tell, told) = watch::channel(Told::default());
        let task = Task {
            plugin: plugin.clone(),
            caller: self.caller.clone(),
            news: learnt,
            clusters: self.clusters.clone(),
            told: tell,
            metrics: self.metrics.clone(),
        };
        let (waker, name) = (self.waker.clone(), plugin.clone());
        let running = tokio::spawn(task.run(move || waker.wake(name.as_str())));
        Plugin {
            uid: uid.to_owned(),
            news,
            told,
            _task: AbortOnDropHandle::new(running),
        }
    }

    /// What came of the latest news, once `holds`, or as it is after `limit`.
    async fn wait(&self, plugin: &PluginName, limit: Duration, holds: impl Fn(&Told) -> bool) -> Told {
        let known = self.lock().get(plugin.as_str()).map(|known| {
            let version = known.news.borrow().version;
            (version, known.told.clone())
        });
        let Some((version, mut told)) = known else {
            return Told::default();
        };
        let is_so = told.wait_for(|told| told.version >= version && holds(told));
        // Late, or the task is gone, which ends with all that is known.
        let _ = timeout(limit, is_so).await;
        told.borrow().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Plugin>> {
        // An entry is put in as a whole.
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
