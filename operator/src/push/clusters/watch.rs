//! Learns what clusters there are from Secrets in *system*, and asks each now and then whether it can be reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kite_api::{error_chain, labels, name::ClusterName};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, timeout},
};

use super::{
    Clusters,
    kubeconfig::{self, KubeconfigError},
};
use crate::{
    Options, backoff,
    controller::{
        causes::words,
        events::{self, Notice},
    },
    metrics::Metrics,
};

/// How often a cluster is asked whether it can be reached.
const EVERY: Duration = Duration::from_mins(1);
/// Most that it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most characters that are told of why it does not.
const MAX_TOLD: usize = 400;

/// Reasons of the events on a cluster's Secret.
mod reasons {
    pub(super) const REFUSED: &str = "ClusterRefused";
    pub(super) const UNREACHABLE: &str = "ClusterUnreachable";
    pub(super) const REACHABLE: &str = "ClusterReachable";
}

/// Why a Secret is no cluster.
#[derive(Debug, thiserror::Error)]
enum RefusalError {
    #[error("failed to name a cluster as the Secret: the home cluster is called so")]
    Home,
    #[error("failed to name a cluster as the Secret: {0}")]
    Name(kite_api::name::ClusterNameError),
    #[error(transparent)]
    Kubeconfig(KubeconfigError),
}

/// A Secret that is a cluster, or is none for a reason.
struct Found {
    reference: ObjectReference,
    fingerprint: String,
    state: Result<Reached, RefusalError>,
}

/// A cluster, and what came of asking it last.
struct Reached {
    client: Client,
    answer: Option<Result<(), String>>,
}

/// What came of asking the cluster that was as this says.
struct Answer {
    name: String,
    fingerprint: String,
    result: Result<(), String>,
}

/// The clusters as they are found, and those who are told of them.
pub struct Watch<'a> {
    client: &'a Client,
    options: &'a Options,
    metrics: &'a Metrics,
    clusters: &'a watch::Sender<Arc<Clusters>>,
    found: BTreeMap<String, Found>,
    /// What a list that has begun has brought so far.
    listing: Option<BTreeMap<String, Found>>,
}

/// The clusters before any Secret was read: the home cluster alone.
pub fn home(options: &Options) -> Clusters {
    Clusters::awaited(options.home_cluster.clone())
}

/// Keeps `clusters` what the Secrets say, for as long as it is let.
pub async fn keep(client: &Client, options: &Options, metrics: &Metrics, clusters: &watch::Sender<Arc<Clusters>>) {
    let mut watch = Watch {
        client,
        options,
        metrics,
        clusters,
        found: BTreeMap::new(),
        listing: None,
    };
    watch.run().await;
}

impl Watch<'_> {
    async fn run(&mut self) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.options.namespaces.system);
        let label = format!("{}=true", labels::CLUSTER);
        let watching = self.options.watching().labels(&label);
        let mut events = pin!(watcher(secrets, watching).backoff(backoff::of_watches()));
        let mut turns = tokio::time::interval(EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut questions = FuturesUnordered::new();
        let mut asked: BTreeSet<(String, String)> = BTreeSet::new();
        loop {
            let mut is_turn = false;
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.take_in(event).await,
                    None => return,
                },
                _ = turns.tick() => is_turn = true,
                Some(answer) = questions.next() => {
                    let answer: Answer = answer;
                    asked.remove(&(answer.name.clone(), answer.fingerprint.clone()));
                    self.answered(answer).await;
                }
            }
            for (name, found) in &self.found {
                let Ok(reached) = &found.state else { continue };
                let key = (name.clone(), found.fingerprint.clone());
                if (is_turn || reached.answer.is_none()) && asked.insert(key) {
                    questions.push(ask(name.clone(), found.fingerprint.clone(), reached.client.clone()));
                }
            }
        }
    }

    async fn take_in(&mut self, event: watcher::Result<Event<Secret>>) {
        match event {
            Ok(Event::Apply(secret)) => {
                let (name, found) = self.judge(secret).await;
                self.found.insert(name, found);
            }
            Ok(Event::Delete(secret)) => _ = self.found.remove(&secret.name_any()),
            Ok(Event::Init) => self.listing = Some(BTreeMap::new()),
            Ok(Event::InitApply(secret)) => {
                let (name, found) = self.judge(secret).await;
                if let Some(listing) = &mut self.listing {
                    listing.insert(name, found);
                }
                return;
            }
            Ok(Event::InitDone) => self.found = self.listing.take().unwrap_or_default(),
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "the watch of the clusters was interrupted");
                return;
            }
        }
        if self.listing.is_none() {
            self.publish();
        }
    }

    /// What the Secret is. One that has not changed is what it was.
    async fn judge(&mut self, secret: Secret) -> (String, Found) {
        let name = secret.name_any();
        let uid = secret.uid().unwrap_or_default();
        let data = secret.data.as_ref();
        let bytes = data
            .and_then(|data| data.get(kubeconfig::KEY))
            .map(|bytes| bytes.0.as_slice());
        let fingerprint = format!("{uid} {}", kite_proto::sha256(bytes.unwrap_or_default()));
        if let Some(known) = self.found.remove(&name) {
            if known.fingerprint == fingerprint {
                return (name, known);
            }
            // While a list is read, those of before are what there is.
            self.metrics.cluster(&name, None);
        }
        let reference = ObjectReference {
            namespace: secret.namespace(),
            api_version: Some(Secret::api_version(&()).into_owned()),
            kind: Some(Secret::kind(&()).into_owned()),
            name: Some(name.clone()),
            uid: secret.uid(),
            ..ObjectReference::default()
        };
        let state = self.usable(&name, data).await;
        let found = Found {
            reference,
            fingerprint,
            state,
        };
        if let Err(refusal) = &found.state {
            let note = format!("this is no cluster: {}", error_chain(refusal));
            self.tell(&name, &found.reference, &Notice::warning(reasons::REFUSED, note))
                .await;
        }
        (name, found)
    }

    async fn usable(
        &self,
        name: &str,
        data: Option<&BTreeMap<String, k8s_openapi::ByteString>>,
    ) -> Result<Reached, RefusalError> {
        let name = ClusterName::parse(name).map_err(RefusalError::Name)?;
        if name == self.options.home_cluster {
            return Err(RefusalError::Home);
        }
        let kubeconfig = kubeconfig::read(data).map_err(RefusalError::Kubeconfig)?;
        let client = kubeconfig::client(kubeconfig).await.map_err(RefusalError::Kubeconfig)?;
        Ok(Reached { client, answer: None })
    }

    /// Tells the plugins what there is.
    fn publish(&self) {
        let usable = self.found.iter().filter(|(_, found)| found.state.is_ok());
        let mut all: BTreeMap<ClusterName, String> = usable
            .filter_map(|(name, found)| Some((ClusterName::parse(name).ok()?, found.fingerprint.clone())))
            .collect();
        all.insert(self.options.home_cluster.clone(), String::new());
        self.clusters.send_if_modified(|clusters| {
            let mut next = Clusters::clone(clusters);
            let is_new = next.replace(all);
            if is_new {
                *clusters = Arc::new(next);
            }
            is_new
        });
        self.metrics.retain_clusters(|name| self.found.contains_key(name));
    }

    async fn answered(&mut self, answer: Answer) {
        let Answer {
            name,
            fingerprint,
            result,
        } = answer;
        let Some(found) = self
            .found
            .get_mut(&name)
            .filter(|found| found.fingerprint == fingerprint)
        else {
            return;
        };
        let Ok(reached) = &mut found.state else { return };
        let before = reached.answer.replace(result.clone());
        self.metrics.cluster(&name, Some(result.is_ok()));
        let was_unreachable = before.is_some_and(|before| before.is_err());
        let notice = match result {
            Err(why) if !was_unreachable => {
                let note = format!("the cluster cannot be reached: {why}");
                Notice::warning(reasons::UNREACHABLE, note)
            }
            Ok(()) if was_unreachable => {
                Notice::normal(reasons::REACHABLE, String::from("the cluster can be reached again"))
            }
            _ => return,
        };
        let reference = found.reference.clone();
        self.tell(&name, &reference, &notice).await;
    }

    /// Tells something on the Secret. What cannot be told is in the log.
    async fn tell(&self, cluster: &str, reference: &ObjectReference, notice: &Notice) {
        tracing::info!(cluster, ?notice, "told");
        let told = timeout(PATIENCE, events::tell(self.client, reference, notice, "Watch")).await;
        match told {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(cluster, error = error_chain(&error), "an event could not be told");
            }
            Err(_) => tracing::warn!(cluster, "an event could not be told in time"),
        }
    }
}

/// Asks the cluster's API server what it is, as the user of the kubeconfig.
async fn ask(name: String, fingerprint: String, client: Client) -> Answer {
    let answer = timeout(PATIENCE, client.apiserver_version()).await;
    let result = match answer {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(words::cut(&error_chain(&error), MAX_TOLD)),
        Err(_) => Err(format!("its API server did not answer within {} s", PATIENCE.as_secs())),
    };
    Answer {
        name,
        fingerprint,
        result,
    }
}
