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
    task: AbortOnDropHandle<()>,
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
        let before = plugins.get(plugin.as_str()).filter(|known| known.uid == uid);
        let news = match before {
            Some(known) if !known.task.is_finished() => None,
            // It panicked. What it has told is gone with it, and all is told anew.
            Some(known) => {
                tracing::error!(plugin = %plugin, "the task that tells a plugin has died, and another begins");
                Some(known.news.borrow().clone())
            }
            None => Some(News::default()),
        };
        if let Some(news) = news {
            plugins.insert(plugin.to_string(), self.begin(plugin, uid, news));
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

    fn begin(&self, plugin: &PluginName, uid: &str, news: News) -> Plugin {
        let (news, learnt) = watch::channel(news);
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
            task: AbortOnDropHandle::new(running),
        }
    }

    /// What came of the latest news, once `holds`, or as it is after `limit` or when the task has died.
    async fn wait(&self, plugin: &PluginName, limit: Duration, holds: impl Fn(&Told) -> bool) -> Told {
        let known = self.lock().get(plugin.as_str()).map(|known| {
            let news = known.news.borrow();
            (news.version, news.waiting(), known.told.clone())
        });
        let Some((version, waiting, mut told)) = known else {
            return Told::default();
        };
        let is_so = told.wait_for(|told| told.version >= version && holds(told));
        let is_dead = matches!(timeout(limit, is_so).await, Ok(Err(_)));
        let last = told.borrow().clone();
        last.as_of(version, waiting, is_dead)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Plugin>> {
        // An entry is put in as a whole.
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kite_proto::Supports;
    use tokio::{sync::mpsc, task::yield_now, time::Instant};

    use super::{
        ledger::tests::{listener, settings},
        news::Taken,
        *,
    };
    use crate::{
        controller::describe::ask::tests::{Pod, certificate, own},
        identity::{Current, Identity, tests::identity},
        leadership::Term,
    };

    /// What tells plugins in this term, as long as the sender of the clusters is there.
    fn begun(identity: Identity, term: Term) -> (Pushes, watch::Sender<Arc<Clusters>>) {
        let (sender, clusters) = watch::channel(Arc::new(Clusters::default()));
        let metrics = Metrics::default();
        let waker = Waker::new(mpsc::unbounded_channel().0, metrics.queue());
        let caller = Caller::new(Current::always(identity), term);
        (Pushes::new(caller, clusters, waker, metrics), sender)
    }

    fn hello() -> PluginName {
        PluginName::parse("hello").unwrap()
    }

    /// A look at the plugin finds these revisions, each with a pod.
    fn look(pushes: &Pushes, generation: i64, revisions: &[i64]) {
        let wanted = revisions.iter().map(|revision| (*revision, Some(settings(1))));
        pushes.settings(&hello(), ("uid", generation), wanted.collect());
        let listeners = revisions
            .iter()
            .map(|revision| listener(&revision.to_string(), 0, *revision));
        let pods = revisions.iter().map(ToString::to_string).collect();
        pushes.listeners(&hello(), "uid", listeners.collect(), pods);
    }

    /// The task that tells the plugin ends as by a panic.
    async fn die(pushes: &Pushes) {
        let known = pushes.lock().get("hello").map(|known| known.task.abort_handle());
        let task = known.unwrap();
        task.abort();
        let over = async {
            while !task.is_finished() {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), over).await.unwrap();
    }

    /// The pods that could not be told their settings, by revision.
    fn failed(told: &Told) -> Vec<(i64, Vec<&str>)> {
        let settings = told.settings.iter();
        settings
            .map(|(revision, taken)| (*revision, taken.failed.keys().map(String::as_str).collect()))
            .collect()
    }

    #[tokio::test]
    async fn a_task_that_has_died_is_replaced_and_all_is_told_anew() {
        crate::run::install_crypto();
        // As the term has ended, whoever is to be told fails at once.
        let (pushes, _clusters) = begun(identity(), Term::until(Instant::now()));
        look(&pushes, 1, &[1]);
        assert_eq!(failed(&pushes.told(&hello()).await), [(1, vec!["pod-1"])]);
        die(&pushes).await;
        look(&pushes, 2, &[1, 2]);
        let told = pushes.told(&hello()).await;
        assert_eq!(failed(&told), [(1, vec!["pod-1"]), (2, vec!["pod-2"])]);
        assert!(told.is_settled(), "{told:?}");
    }

    #[tokio::test]
    async fn whoever_is_to_be_told_waits_where_the_task_has_just_died() {
        crate::run::install_crypto();
        let (pushes, _clusters) = begun(identity(), Term::until(Instant::now()));
        look(&pushes, 1, &[1]);
        pushes.told(&hello()).await;
        look(&pushes, 2, &[1, 2]);
        die(&pushes).await;
        let waiting = Taken {
            waiting: 1,
            ..Taken::default()
        };
        let told = pushes.told(&hello()).await.settings;
        assert_eq!(told, BTreeMap::from([(1, waiting.clone()), (2, waiting)]));
        look(&pushes, 2, &[1, 2]);
        let told = pushes.told(&hello()).await;
        assert_eq!(failed(&told), [(1, vec!["pod-1"]), (2, vec!["pod-2"])]);
    }

    #[tokio::test]
    async fn pods_may_release_what_they_hold_though_the_task_has_died() {
        crate::run::install_crypto();
        let identity = identity();
        let pod = Pod::start(&certificate("hello", &identity), &identity).await;
        let operator = own(&identity);
        let (pushes, _clusters) = begun(identity, Term::until(Instant::now() + Duration::from_hours(1)));
        let mut releasing = listener("a", 0, 1);
        releasing.ip.clone_from(&pod.ip);
        releasing.supports = Supports {
            shutdown: true,
            ..Supports::default()
        };
        let pods = BTreeSet::from([String::from("a")]);
        pushes.listeners(&hello(), "uid", vec![releasing], pods);
        pushes.told(&hello()).await;
        die(&pushes).await;
        pushes.release(&hello(), "uid", &BTreeSet::from([1])).await;
        assert_eq!(pod.callers(), [operator]);
    }
}
