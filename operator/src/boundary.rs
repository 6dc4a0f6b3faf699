//! Watches whether the boundary is drawn: the policies that the chart installs, and bindings that they find already there.
//!
//! The operator changes none of them: what protects these is RBAC alone, so it holds no right to.

mod judge;

use std::{
    collections::{BTreeSet, HashSet},
    fmt::{Debug, Write as _},
    future::ready,
    hash::Hash,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::ObjectReference,
    rbac::v1::{ClusterRoleBinding, RoleBinding},
};
use kite_api::{
    boundary::{self, Bound, Places},
    error_chain,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::watch::Receiver, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    Options, backoff,
    controller::events::{self, Notice},
    first_of,
    health::Health,
};

/// How often it is asked whether policies can be read at all, and how long that may take.
const EVERY: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_secs(10);
/// Reason of the event on a binding that gives others more than `view` in the plugins' namespace.
const REACHES_PLUGINS: &str = "ReachesPlugins";

/// What is known of the boundary; shared by who finds it out and the route that tells.
#[derive(Clone, Debug, Default)]
pub struct Boundary(Arc<Mutex<Known>>);

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Known {
    /// What is amiss with the policies, if they could be read.
    faults: Option<Vec<String>>,
    /// How many bindings give others more than `view` in the plugins' namespace.
    bindings: usize,
}

impl Boundary {
    /// What is known, in lines.
    pub fn text(&self) -> String {
        let known = self.lock();
        let mut text = match known.faults.as_deref() {
            None => String::from("boundary: the policies cannot be read, so nothing is known of them\n"),
            Some([]) => String::from("boundary: the policies are installed and bound\n"),
            Some(faults) => format!("boundary: NOT WHOLE: {}\n", first_of::names(faults)),
        };
        if known.bindings > 0 {
            let _ = writeln!(
                text,
                "boundary: bindings that give others more than view in the plugins' namespace: {}; each has an event {REACHES_PLUGINS}",
                known.bindings
            );
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // It is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is watched: the boundary's own policies and bindings, and the bindings that give others more than they should.
struct Stores {
    policies: Store<ValidatingAdmissionPolicy>,
    policy_bindings: Store<ValidatingAdmissionPolicyBinding>,
    bindings: Store<RoleBinding>,
    cluster_bindings: Store<ClusterRoleBinding>,
}

/// A binding that gives others more than `view` in the plugins' namespace.
#[derive(Clone, Debug)]
struct Reaching {
    reference: ObjectReference,
    note: String,
}

/// Finds out until `stop`. What there is to tell on objects is told by the client in `acts`, while there is one: by the one replica
/// that leads.
pub async fn watch(
    client: &Client,
    options: &Options,
    health: &Health,
    mut acts: Receiver<Option<Client>>,
    stop: &CancellationToken,
) {
    let namespaces = &options.namespaces;
    let wanted = boundary::policies(namespaces.places());
    let (stores, streams) = stores(client, options, &wanted);
    let mut events = pin!(stream::select_all(streams).take_until(stop.cancelled()));
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = BTreeSet::new();
    loop {
        let can_be_read = tokio::select! {
            event = events.next() => match event {
                None => return,
                Some(Err(error)) => {
                    tracing::warn!(error = error_chain(&error), "a watch of the boundary was interrupted");
                    continue;
                }
                Some(Ok(())) => true,
            },
            // A watch that hears nothing may be one that is not answered any more.
            _ = looks.tick() => can_be_read(client).await,
            // What only the replica that leads tells is told when it comes to lead.
            Ok(()) = acts.changed() => can_be_read(client).await,
        };
        // What has come meanwhile is looked at together.
        while let Some(Some(_)) = events.next().now_or_never() {}
        let looked = if can_be_read {
            look(&stores, &wanted, namespaces.places())
        } else {
            None
        };
        let (known, reaching) = looked.unwrap_or_default();
        health
            .metrics
            .boundary(known.faults.as_ref().map(Vec::len), known.bindings);
        let writer = acts.borrow().clone().filter(|_| known.faults.is_some());
        if let Some(writer) = writer {
            tell(&writer, &mut told, reaching).await;
        }
        let before = mem::replace(&mut *health.boundary.lock(), known.clone());
        if before != known {
            report(&known);
        }
    }
}

/// Whether policies and their bindings can be read now.
async fn can_be_read(client: &Client) -> bool {
    let one = ListParams::default().limit(1);
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client.clone());
    let read = async { tokio::try_join!(policies.list_metadata(&one), bindings.list_metadata(&one)) };
    match tokio::time::timeout(PATIENCE, read).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::warn!(
                error = error_chain(&error),
                "the policies of the boundary cannot be read"
            );
            false
        }
        Err(_) => false,
    }
}

/// A stream that moves when what is watched changes.
type Changes = stream::BoxStream<'static, Result<(), watcher::Error>>;

/// All that is watched, of which only what matters is kept: a cluster has any number of bindings and policies of others.
fn stores(client: &Client, options: &Options, wanted: &[Bound]) -> (Stores, [Changes; 4]) {
    let names: HashSet<String> = wanted.iter().map(|(policy, _)| policy.name_any()).collect();
    let of_the_boundary = |names: HashSet<String>| move |name: String| names.contains(&name);
    let is_ours = of_the_boundary(names.clone());
    let (policies, policy_changes) = stored(
        Api::all(client.clone()),
        options,
        move |it: &ValidatingAdmissionPolicy| is_ours(it.name_any()),
    );
    let is_ours = of_the_boundary(names);
    let keep = move |it: &ValidatingAdmissionPolicyBinding| is_ours(it.name_any());
    let (policy_bindings, policy_binding_changes) = stored(Api::all(client.clone()), options, keep);
    let namespaces = options.namespaces.clone();
    let here = Api::namespaced(client.clone(), &namespaces.plugins);
    let keep = move |it: &RoleBinding| judge::reaches(it, namespaces.places());
    let (bindings, binding_changes) = stored(here, options, keep);
    let (cluster_bindings, cluster_binding_changes) =
        stored(Api::all(client.clone()), options, judge::reaches_everywhere);
    let stores = Stores {
        policies,
        policy_bindings,
        bindings,
        cluster_bindings,
    };
    let changes = [
        policy_changes,
        policy_binding_changes,
        binding_changes,
        cluster_binding_changes,
    ];
    (stores, changes)
}

/// The objects of a kind that are to be kept, as they are, without what managers write there, and a stream that moves when they
/// change.
fn stored<K>(api: Api<K>, options: &Options, keep: impl Fn(&K) -> bool + Send + 'static) -> (Store<K>, Changes)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Clone + Eq + Hash + Default,
{
    let (store, writer) = reflector::store();
    let events = watcher(api, options.watching())
        .backoff(backoff::of_watches())
        .try_filter_map(move |event| ready(Ok(only(event, &keep))))
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .map_ok(drop)
        .boxed();
    (store, events)
}

/// The event as it would be if there were only objects that are to be kept.
fn only<K>(event: Event<K>, keep: &impl Fn(&K) -> bool) -> Option<Event<K>> {
    match event {
        // It may have been one before.
        Event::Apply(object) if !keep(&object) => Some(Event::Delete(object)),
        Event::InitApply(object) if !keep(&object) => None,
        event => Some(event),
    }
}

/// What there is to know, once all of it was read.
fn look(stores: &Stores, wanted: &[Bound], places: Places<'_>) -> Option<(Known, Vec<Reaching>)> {
    let Stores {
        policies,
        policy_bindings,
        bindings,
        cluster_bindings,
    } = stores;
    let are_read = [
        is_read(policies),
        is_read(policy_bindings),
        is_read(bindings),
        is_read(cluster_bindings),
    ];
    if are_read.contains(&false) {
        return None;
    }
    let (policies, policy_bindings) = (policies.state(), policy_bindings.state());
    let faults = judge::faults(
        wanted,
        policies.iter().map(AsRef::as_ref),
        policy_bindings.iter().map(AsRef::as_ref),
    );
    let plugins = places.plugins;
    let here = bindings.state();
    let here = here.iter().map(|binding| Reaching {
        reference: binding.object_ref(&()),
        note: format!(
            "it binds {} {:?} in {plugins}, where only the ClusterRole view may be bound; by edit and admin its subjects act as any \
             plugin: delete it, or bind view",
            binding.role_ref.kind, binding.role_ref.name
        ),
    });
    let everywhere = cluster_bindings.state();
    let everywhere = everywhere
        .iter()
        .map(|binding| Reaching {
            reference: binding.object_ref(&()),
            note: format!(
                "it binds ClusterRole {:?} in every namespace, {plugins} included, where its subjects may act as any plugin: bind it \
                 in the namespaces where it is needed",
                binding.role_ref.name
            ),
        });
    let reaching: Vec<Reaching> = here.chain(everywhere).collect();
    let known = Known {
        faults: Some(faults),
        bindings: reaching.len(),
    };
    Some((known, reaching))
}

/// Whether the first list of the kind has come.
fn is_read<K>(store: &Store<K>) -> bool
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    K::DynamicType: Clone + Eq + Hash + Default,
{
    store
        .wait_until_ready()
        .now_or_never()
        .is_some_and(|ready| ready.is_ok())
}

/// Tells as an event on each binding what it does, once.
async fn tell(client: &Client, told: &mut BTreeSet<String>, reaching: Vec<Reaching>) {
    let uid = |reaching: &Reaching| reaching.reference.uid.clone().unwrap_or_default();
    told.retain(|known| reaching.iter().any(|it| uid(it) == *known));
    for binding in reaching {
        let uid = uid(&binding);
        if told.contains(&uid) {
            continue;
        }
        let name = binding.reference.name.as_deref().unwrap_or_default();
        tracing::warn!(
            binding = name,
            note = binding.note,
            "others have more than view in the plugins' namespace"
        );
        let notice = Notice::warning(REACHES_PLUGINS, binding.note);
        match events::tell(client, &binding.reference, &notice, "Watch").await {
            Ok(()) => drop(told.insert(uid)),
            // It is tried again when there is something else to tell, or to look at.
            Err(error) => tracing::warn!(
                binding = name,
                error = error_chain(&error),
                "an event could not be told"
            ),
        }
    }
}

/// Says in the log what has changed.
fn report(known: &Known) {
    match known.faults.as_deref() {
        Some([]) => tracing::info!("the policies of the boundary are installed and bound"),
        Some(faults) => tracing::error!(
            faults = first_of::names(faults),
            "the boundary is not whole: who may write KitePlugins may gain rights; install the chart again"
        ),
        None => tracing::warn!("nothing is known of the policies of the boundary"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_objects_of_others_none_is_kept() {
        let keep = |number: &i32| *number > 0;
        let is = |event: Option<Event<i32>>, what: &str| assert_eq!(format!("{event:?}"), what);
        is(only(Event::InitApply(1), &keep), "Some(InitApply(1))");
        is(only(Event::InitApply(-1), &keep), "None");
        is(only(Event::Apply(1), &keep), "Some(Apply(1))");
        is(only(Event::Apply(-1), &keep), "Some(Delete(-1))");
        is(only(Event::Delete(-1), &keep), "Some(Delete(-1))");
        is(only(Event::InitDone, &keep), "Some(InitDone)");
    }

    #[test]
    fn the_text_tells_what_is_known() {
        let text = |faults: Option<usize>, bindings| {
            let faults = faults.map(|count| (0..count).map(|n| format!("kite-{n} is missing")).collect());
            Boundary(Arc::new(Mutex::new(Known { faults, bindings }))).text()
        };
        assert_eq!(
            text(None, 0),
            "boundary: the policies cannot be read, so nothing is known of them\n"
        );
        assert_eq!(text(Some(0), 0), "boundary: the policies are installed and bound\n");
        assert_eq!(
            text(Some(1), 2),
            "boundary: NOT WHOLE: kite-0 is missing\nboundary: bindings that give others more than view in the plugins' \
             namespace: 2; each has an event ReachesPlugins\n"
        );
        assert!(text(Some(10), 0).ends_with("kite-7 is missing and 2 more\n"));
    }
}
