//! The controller: what happens to a `KitePlugin`, in order.

pub mod account;
pub mod apply;
pub mod build;
mod carry_out;
pub mod causes;
pub mod describe;
mod differing;
mod error;
pub mod events;
pub mod findings;
pub mod fleet;
pub mod gather;
pub mod host;
pub mod namespaces;
pub mod object;
pub mod observe;
pub mod orphans;
mod owned;
pub mod pair;
pub mod plan;
pub mod references;
pub mod relations;
pub mod removal;
pub mod revision;
pub mod settings;
pub mod status;
pub mod steady;
mod tell;
pub mod turns;
pub mod unreadable;
pub mod validate;
pub mod watches;

use std::{
    collections::BTreeMap,
    future::ready,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::StreamExt;
use kite_api::{KitePluginStatus, PluginName, dependencies::Standing, error_chain, host::unmet};
use kube::{
    Client,
    runtime::{
        controller::{Action, Error as ControllerError},
        reflector::{ObjectRef, Store},
    },
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use self::error::ReconcileError;
use self::{
    build::{Decisions, Desired, Installation},
    carry_out::{carry_out, forget, take_away},
    describe::Memory,
    differing::Replaced,
    events::Told,
    findings::{Around, Findings},
    fleet::Fleet,
    gather::Surroundings,
    host::Versions,
    namespaces::Places,
    object::Object,
    observe::CarriedOut,
    pair::Pair,
    relations::Relations,
    removal::Writer,
    revision::Revision,
    settings::{Checked, SettingsSecret},
    status::{Recorded, Situation},
    steady::Steady,
    turns::{Next, Turn, Turns},
    unreadable::Unreadable,
    validate::{CompatibleWith, ValidatedPlugin},
    watches::{Deletions, Minds, Waker},
};
use crate::{
    Options,
    backoff::{Failures, Trouble},
    defect::caught,
    health::Health,
    identity::{Current, Identity, certificate::Certified},
    leadership::Term,
    metrics::Metrics,
    push::{Pushes, call::Caller, clusters, news::Settings},
    traces::Traces,
};

/// A plugin is looked at this often though nothing has changed.
const RESYNC: Duration = Duration::from_mins(10);
/// The graph of dependencies learns of a plugin this soon.
const MOMENT: Duration = Duration::from_secs(1);

/// What every reconcile has at hand.
pub struct Context {
    client: Client,
    options: Options,
    identity: Current,
    plugins: Store<Object>,
    relations: Arc<Relations>,
    steady: Arc<Steady>,
    deletions: Arc<Deletions>,
    turns: Arc<Turns>,
    versions: Versions,
    answers: Memory,
    replaced: Replaced,
    failures: Failures,
    told: Told,
    unreadable: Unreadable,
    checked: Checked,
    pushes: Pushes,
    metrics: Metrics,
    traces: Option<Traces>,
}

/// Watches, reconciles and tells plugins what they must know until `stop`, in this term.
pub async fn run(
    (client, term): (&Client, &Term),
    options: &Options,
    identity: Current,
    health: &Health,
    traces: Option<&Traces>,
    stop: &CancellationToken,
) {
    let (wake, woken) = mpsc::unbounded_channel();
    let waker = Waker::new(wake, health.metrics.queue());
    let minds = Minds::default();
    let controller = watches::controller(client, options, minds.clone(), (&waker, woken));
    let (told_clusters, clusters) = watch::channel(Arc::new(clusters::watch::home(options)));
    let caller = Caller::new(identity.clone(), term.clone());
    let plugins = controller.store();
    health.metrics.plugins_are_in(plugins.clone());
    let context = Arc::new(Context {
        client: client.clone(),
        options: options.clone(),
        identity,
        plugins: plugins.clone(),
        relations: minds.relations,
        steady: minds.steady,
        deletions: minds.deletions,
        turns: minds.turns,
        versions: Versions::default(),
        answers: Memory::new(waker.clone()),
        replaced: Replaced::default(),
        failures: Failures::default(),
        told: Told::default(),
        unreadable: Unreadable::default(),
        checked: Checked::default(),
        pushes: Pushes::new(caller, clusters, waker, health.metrics.clone()),
        metrics: health.metrics.clone(),
        traces: traces.cloned(),
    });
    let work = controller
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, retry, Arc::clone(&context))
        .for_each(|result| {
            report(result.map(drop), &context);
            // When the last one was deleted, nothing else is looked at.
            context.forget_the_deleted();
            ready(())
        });
    let closing = async {
        stop.cancelled().await;
        context.turns.close();
    };
    let synced = async {
        if plugins.wait_until_ready().await.is_ok() {
            health.readiness.watch_is_synced();
        }
    };
    let clusters = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = clusters::watch::keep(client, options, &health.metrics, &told_clusters) => {}
        }
    };
    let sweep = stop.run_until_cancelled(Box::pin(minds.orphans.keep(client, &plugins, &context.steady)));
    tokio::join!(work, synced, clusters, sweep, closing);
}

/// Looks after one plugin when it is its turn, and keeps account of that.
async fn reconcile(object: Arc<Object>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    context.forget_the_deleted();
    let (reference, name) = (ObjectRef::from_obj(object.as_ref()), object::name(&object));
    let queue = context.metrics.queue();
    // What has woken it was seen by a look that began after that.
    if let Some(rest) = context.turns.rest(name, Instant::now()).filter(|_| !queue.waits(name)) {
        return Ok(rest.into());
    }
    let Some(turn) = context.turns.take(name, || context.plugins.get(&reference)).await else {
        return Ok(Action::await_change());
    };
    queue.begins(name);
    // As it is now.
    let Some(object) = context.plugins.get(&reference) else {
        return Ok(Action::await_change());
    };
    let result = Box::pin(account::keep(&object, &context, look_after(&object, &context, turn))).await;
    context.turns.ended(name, result.as_ref().ok().copied(), Instant::now());
    if context.plugins.get(&reference).is_none() {
        // Something was remembered of it after all.
        context.deletions.note();
    }
    result.map(Action::from)
}

/// Brings one plugin to where its object says, and tells if that failed.
async fn look_after(object: &Object, context: &Context, turn: Turn<'_>) -> Result<Next, ReconcileError> {
    let name = object::name(object);
    let error = match caught(Box::pin(attempt(object, context, turn))).await {
        // Only now: a status that could not be written is a failure as well.
        Ok(next) => {
            context.failures.succeeded(name, Instant::now());
            return Ok(next);
        }
        Err(error) => error,
    };
    let version = object::version(object);
    let told = context.failures.failed(name, version, error.trouble(), Instant::now());
    if let (Some(Trouble { message, .. }), Some(situation)) = (told, error.situation()) {
        let situation = situation(message);
        let told = caught(Box::pin(tell::tell(object, context, None, &situation))).await;
        if let Err(untold) = told {
            tracing::warn!(
                plugin = name,
                error = error_chain(&untold),
                "a failure could not be told"
            );
        }
    }
    Err(error)
}

/// The steps, in their order. The `turn` is another plugin's from when the plugin itself is waited for.
async fn attempt(object: &Object, context: &Context, mut turn: Turn<'_>) -> Result<Next, ReconcileError> {
    let namespaces = &context.options.namespaces;
    // 1. Is there anything to do, and can the object be understood?                                    pure
    let standing = context.standing(object);
    let plugin = match understood(object, standing.as_ref(), context) {
        Ok(plugin) => plugin,
        Err(situation) => {
            drop(turn);
            unreadable::tell(object, context, &situation).await?;
            return Ok(Next::Woken);
        }
    };
    // The graph is a moment behind; nothing is started before it says whether that may be.
    let Some(standing) = standing else {
        return Ok(Next::After(MOMENT));
    };
    // 2. What is there already?                                                                        asks the cluster
    let found = Box::pin(gather::gather(&context.client, namespaces, &context.steady, &plugin)).await;
    let mut found = found.map_err(ReconcileError::Gather)?;
    turn.was_read();
    // 3. What was told last, of the very object that is looked at: by an older one nothing is begun or ended.  asks the cluster
    let Some(mut recorded) = last_told(object, &plugin, context).await? else {
        return Ok(Next::After(MOMENT));
    };
    // 4. What should not run stops, and rights no longer granted go, before anything new could use them.    asks the cluster
    take_away(&plugin, &mut found, context, &mut turn).await?;
    // 5. For which namespaces was the grant given? That stands in the status before any Role does, so that one which is
    //    made again is known as another whenever this program ends.                                    pure, one patch
    let placing = namespaces::places(object, &plugin, &found, &mut recorded, context);
    let Some(places) = turn.during(placing).await? else {
        return Ok(Next::Woken);
    };
    // 6. Which revisions are there, and which should run?                                              pure
    let fleet = Fleet::of(&plugin, &found, &recorded.status).map_err(ReconcileError::Gather)?;
    // 7. What else is there to know, and what should be there?                                         asks for versions, pure
    let (mut findings, settings) = context.findings(&plugin, &fleet, standing, places).await?;
    context
        .pushes
        .settings(&plugin.name, (&plugin.uid, plugin.generation), settings);
    let desired = should_be(&plugin, &fleet, &found, &recorded.status, &mut findings, context)?;
    // 8. A namespace that was made again has had its rights withdrawn with it, or loses them now; a revision that is wanted no
    //    longer stops before another is started; then all else, in one order, and last what is not kept.   asks the cluster
    let applied = Box::pin(carry_out(&plugin, &fleet, &mut found, &desired, context, &mut turn)).await?;
    let applied = match applied {
        Ok(applied) => applied,
        Err(error) => {
            turn.give_back();
            let before = &recorded.status;
            let refused = observe::refused(error, &plugin, before, &found, &fleet, findings, context);
            return Err(Box::pin(refused).await?);
        }
    };
    turn.during(forget(&plugin, &fleet, &found, &desired, context)).await?;
    // It is large, and while the plugin is asked nobody needs it.
    drop(found);
    // 9. What runs, and what does it say that it is? What differs from what is on record goes, once.   asks the cluster
    let carried_out = CarriedOut {
        fleet: &fleet,
        desired: &desired,
        applied,
    };
    let seen = observe::observe(&plugin, &recorded.status, carried_out, findings, context, &mut turn);
    let (situation, next) = Box::pin(seen).await?;
    // 10. What is there to tell?                                                                       pure, one patch
    let telling = Box::pin(tell::tell(object, context, Some(recorded), &situation));
    turn.during(telling).await?;
    Ok(next)
}

/// The objects that should be there, after the status `before`. Into `findings` goes what keeps a revision from being started.
fn should_be(
    plugin: &ValidatedPlugin,
    fleet: &Fleet,
    found: &Surroundings,
    before: &KitePluginStatus,
    findings: &mut Findings,
    context: &Context,
) -> Result<Desired, ReconcileError> {
    let identity = context.identity.get();
    let certificate = context.certificate(&identity, plugin, found)?;
    let own = &context.options.namespaces.plugins;
    let withheld = references::withheld(&found.references, &plugin.name, own);
    let has_started = object::has_started(before);
    let running = fleet.starts(plugin, found, has_started, findings.may_start(), withheld.is_none());
    let decisions = Decisions {
        usable: &findings.places.usable,
        running: &running,
        lingering: &fleet.plan.lingering,
        new: fleet.new.as_ref(),
    };
    let desired = build::build(plugin, decisions, certificate, context.installation(&identity));
    findings.kept = fleet::version_that_goes_on(&running);
    findings.withheld = withheld.filter(|_| fleet::wanted_is_held(&running));
    Ok(desired)
}

/// What was told last, if the object that is looked at still stands.
async fn last_told(
    object: &Object,
    plugin: &ValidatedPlugin,
    context: &Context,
) -> Result<Option<Recorded>, ReconcileError> {
    let recorded = status::recorded(object, &context.client).await;
    let recorded = recorded.map_err(ReconcileError::Status)?;
    Ok(recorded.filter(|recorded| recorded.generation == Some(plugin.generation)))
}

/// The plugin that the object declares, or what is to be told instead.
fn understood(
    object: &Object,
    standing: Option<&Standing>,
    context: &Context,
) -> Result<ValidatedPlugin, Box<Situation>> {
    if object::is_being_deleted(object) {
        let standing = standing.cloned().unwrap_or_default();
        return Err(Box::new(Situation::Deleting { standing }));
    }
    let read = validate::validate(object, context.options.namespaces.places());
    // Of one that is not understood it is not known what it grants.
    let refused = read.as_ref().map_or(0, |plugin| plugin.refused.len());
    context.metrics.refused_permissions(object::name(object), refused);
    read.map_err(|error| {
        let message = error_chain(&error);
        Box::new(Situation::Invalid { message })
    })
}

/// Each plugin waits on its own, longer each time.
#[expect(clippy::needless_pass_by_value, reason = "the controller hands over what it shares")]
fn retry(object: Arc<Object>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let wait = context.failures.wait(object::name(&object), Instant::now());
    Action::requeue(error.again().map_or(wait, |again| again.min(wait)))
}

impl Context {
    fn writer(&self) -> Writer<'_> {
        Writer {
            client: &self.client,
            steady: &self.steady,
        }
    }

    /// How the plugin stands to others, if the graph knows it yet.
    fn standing(&self, object: &Object) -> Option<Standing> {
        let name = PluginName::parse(object::name(object)).ok()?;
        self.relations.standing(&name)
    }

    /// What is known of a plugin that stands so to others and to its namespaces, and the settings of its revisions, as far as they
    /// can be settings.
    async fn findings(
        &self,
        plugin: &ValidatedPlugin,
        fleet: &Fleet,
        standing: Standing,
        places: Places,
    ) -> Result<(Findings, BTreeMap<i64, Option<Settings>>), ReconcileError> {
        let CompatibleWith { kite, kubernetes } = &plugin.compatible_with;
        let unmet = if kite.is_none() && kubernetes.is_none() {
            Vec::new()
        } else {
            let host = self.versions.now(&self.client).await.map_err(ReconcileError::Host)?;
            unmet(kite.as_ref(), kubernetes.as_ref(), &host)
        };
        let own = &self.options.namespaces.plugins;
        let secret = SettingsSecret::read(&self.client, own, plugin)
            .await
            .map_err(ReconcileError::Gather)?;
        let mut settings = BTreeMap::new();
        let mut check = async |revision: &Revision| -> Result<_, ReconcileError> {
            let checked = self.checked.settings(plugin, revision, &secret).await;
            let checked = checked.map_err(ReconcileError::Settings)?;
            // Of one that is disabled nobody is there to be told.
            if plugin.enabled {
                settings.insert(revision.number, checked.clone().ok());
            }
            Ok(checked.map(drop))
        };
        let Pair { lead, next } = fleet.running.as_ref();
        let around = Around {
            standing,
            unmet,
            places,
            settings: check(lead).await?,
            settings_of_next: match next {
                Some(next) => check(next).await?,
                None => Ok(()),
            },
        };
        let mut findings = Findings::of(plugin, around, own);
        if next.is_some() {
            findings.lacking = lead.record.rights.withdrawn(&plugin.spec, own);
        }
        Ok((findings, settings))
    }

    /// The plugin's certificate: the one that it has, as long as that does. What is told is when that one ends, whatever is issued: it may be
    /// that nothing can be written. A new one wakes the plugin when it is written, and is found then.
    fn certificate(
        &self,
        identity: &Identity,
        plugin: &ValidatedPlugin,
        found: &Surroundings,
    ) -> Result<Certified, ReconcileError> {
        let existing = found.certificate();
        let end = existing.as_ref().and_then(Certified::not_after);
        self.metrics.plugin_certificate(plugin.name.as_str(), end);
        let issued = identity.plugin_certificate(&plugin.name, existing, SystemTime::now());
        issued.map_err(ReconcileError::Issue)
    }

    fn installation<'a>(&'a self, identity: &'a Identity) -> Installation<'a> {
        Installation {
            namespaces: &self.options.namespaces,
            identity,
            gateway_address: &self.options.gateway_address,
            pod_defaults: &self.options.pod_defaults,
        }
    }

    fn exists(&self, plugin: &str) -> bool {
        self.plugins.get(&ObjectRef::new(plugin)).is_some()
    }

    /// Nothing else forgets a plugin that is gone: one that was deleted is not reconciled.
    fn forget_the_deleted(&self) {
        if !self.deletions.taken() {
            return;
        }
        let exists = |name: &str| self.exists(name);
        self.turns.retain(exists);
        self.steady.retain(exists);
        self.failures.retain(exists);
        self.answers.retain(exists);
        self.replaced.retain(exists);
        self.told.retain(exists);
        self.unreadable.retain(exists);
        self.checked.retain(exists);
        self.pushes.retain(exists);
        self.metrics.retain(exists);
    }
}

/// Writes what went wrong to the log.
fn report<Q: std::error::Error + 'static>(result: Result<(), ControllerError<ReconcileError, Q>>, context: &Context) {
    match result {
        // A look that failed is in the log already, with its plugin.
        Ok(()) | Err(ControllerError::ReconcilerFailed(..)) => {}
        // No error: it was deleted meanwhile, or something carries the label of a plugin that never was.
        Err(ControllerError::ObjectNotFound(plugin)) => {
            let queue = context.metrics.queue();
            queue.passed_over(&plugin.name, || context.exists(&plugin.name));
        }
        Err(error @ (ControllerError::QueueError(_) | ControllerError::RunnerError(_))) => {
            tracing::warn!(error = error_chain(&error), "a watch was interrupted");
        }
    }
}
