//! A plugin whose spec is another again and again; after each step it is what a plugin would be that was never anything else.

use std::{collections::BTreeSet, env};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kite_api::{KitePlugin, KitePluginStatus, Phase, RevisionState, labels};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use proptest::{
    option,
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    case::Scene,
    cell::{Cell, LIMIT, connect},
    fault::Fault,
    record,
    snapshot::{Found, State, walk},
    specs::{self, OWN, PULL, SHOP},
};

/// How many plugins walk at once.
const WALKERS: u64 = 5;
/// The seed of the first walker; the others have those that follow.
const SEED: &str = "KITE_WALK_SEED";
/// How many specs are tried, all walkers together.
const STEPS: &str = "KITE_WALK_STEPS";
const FEW: u64 = 30;
/// No step takes so many writes but a few.
const MOST_WRITES: usize = 12;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number, and not {text:?}")),
    )
}

/// What a walker draws its specs from.
struct Specs {
    runner: TestRunner,
    /// Fields that stay once they were there. Withdrawing the last right leaves the pods as they are, with a token that opens nothing; so what
    /// runs does not follow from the spec alone, and is not meant to.
    kept: BTreeSet<&'static str>,
}

impl Specs {
    fn of(seed: u64) -> Self {
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().zip(seed.to_be_bytes()) {
            *place = byte;
        }
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self {
            runner: TestRunner::new_with_rng(Config::default(), random),
            kept: BTreeSet::new(),
        }
    }

    /// The next step: sometimes by way of a spec that cannot be carried out.
    fn next(&mut self, cell: &Cell) -> Step {
        let by_way = option::weighted(0.3, (specs::spec(), specs::refused()));
        let all = (specs::spec(), by_way, 0..MOST_WRITES);
        let (spec, by_way, writes) = all.new_tree(&mut self.runner).expect("a step").current();
        let refused = by_way.map(|(mut spec, refused)| {
            spec.extend(refused.as_object().cloned().unwrap_or_default());
            self.fitted(spec, cell)
        });
        Step {
            refused,
            spec: self.fitted(spec, cell),
            writes,
        }
    }

    /// The spec with the fields that stay, as the cell has what it names.
    fn fitted(&mut self, mut spec: Map<String, Value>, cell: &Cell) -> Value {
        for (field, least) in specs::least_rights() {
            if spec.contains_key(field) {
                self.kept.insert(field);
            } else if self.kept.contains(field) {
                spec.insert(field.to_owned(), least);
            }
        }
        for value in spec.values_mut() {
            walk(value, &mut |_, value| {
                if value == SHOP {
                    *value = json!(cell.shop);
                }
            });
        }
        Value::Object(spec)
    }
}

/// From one spec to another.
struct Step {
    /// One that the plugin has before, and that the operator cannot carry out.
    refused: Option<Value>,
    spec: Value,
    /// The operator that makes the step ends after so many writes, if it has so many to make, and another goes on.
    writes: usize,
}

/// The spec with this plugin's own Secret in it.
fn of(subject: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    walk(&mut spec, &mut |_, value| {
        if value == OWN {
            *value = json!(own(subject));
        }
    });
    spec
}

/// What the Secret is called that is the plugin's own.
fn own(subject: &str) -> String {
    format!("own-of-{subject}")
}

/// Gives the plugin its Secret, and the cell the one that pulls images.
async fn give_secrets(cell: &Cell, subject: &str) {
    let secrets: Api<Secret> = Api::namespaced(cell.client.clone(), cell.plugins_namespace());
    let all = [
        (own(subject), labels::PLUGIN, subject),
        (PULL.to_owned(), labels::PULL, "true"),
    ];
    for (name, label, value) in all {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": {label: value}},
            "stringData": {"word": "secret"},
        });
        let given = secrets
            .patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(secret))
            .await;
        given.expect("a Secret");
    }
}

/// Takes away the plugin and its Secret.
async fn end(scene: Scene<'_>) -> Result<(), String> {
    let secrets: Api<Secret> = Api::namespaced(scene.cell.client.clone(), scene.cell.plugins_namespace());
    let deleted = secrets.delete(&own(&scene.subject), &DeleteParams::default()).await;
    deleted.map_err(|error| error.to_string())?;
    scene.end().await
}

/// A plugin that is to walk, with its Secret.
async fn begin(cell: &Cell) -> Scene<'_> {
    let scene = Scene::set(cell).await;
    give_secrets(cell, &scene.subject).await;
    scene
}

/// What there is of a plugin as it is, without what it was.
fn aside(found: &Found, cell: &Cell, subject: &str) -> Result<State, String> {
    let plugin = plugin(found)?;
    let status = plugin.status.clone().unwrap_or_default();
    let present = present(&status).ok_or("it has no revision")?;
    let is_past = |object: &DynamicObject| number_of(object).is_some_and(|number| number != present);
    history(found, &status, &plugin)?;
    let of_now = Found {
        plugin: found.plugin.clone(),
        objects: found
            .objects
            .iter()
            .filter(|(_, object)| !is_past(object))
            .cloned()
            .collect(),
    };
    let mut state = of_now.normal(cell, subject);
    let (named, number) = (format!("kite-plugin-NAME-{present}"), present.to_string());
    let renamed = |text: &str| text.replace(&named, "kite-plugin-NAME-REVISION");
    let objects = std::mem::take(&mut state.0);
    for (what, mut object) in objects {
        if let Some(revisions) = object.pointer_mut("/status/revisions").and_then(Value::as_array_mut) {
            revisions.retain(|entry| entry["number"] == json!(present));
        }
        // What was granted when the revision was made is of the past.
        if let Some(data) = object.get_mut("data").and_then(Value::as_object_mut) {
            data.remove("rights");
        }
        walk(&mut object, &mut |key, value| match (key, value) {
            ("number" | "activeRevision" | "revision", value) if *value == json!(present) => *value = json!("REVISION"),
            (labels::REVISION, value) if *value == json!(number) => *value = json!("REVISION"),
            (_, Value::String(text)) => *text = renamed(text),
            _ => {}
        });
        state.0.insert(renamed(&what), object);
    }
    Ok(state)
}

fn plugin(found: &Found) -> Result<KitePlugin, String> {
    let object = found.plugin.as_ref().ok_or("there is no plugin")?;
    let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// The revision that the object wants, once it has come to rest.
fn present(status: &KitePluginStatus) -> Option<i64> {
    let last = status.revisions.iter().map(|entry| entry.number).max();
    status.active_revision.or(last)
}

fn number_of(object: &DynamicObject) -> Option<i64> {
    object.labels().get(labels::REVISION)?.parse().ok()
}

/// Whether of each revision that is kept there is everything, of none too much, and none runs that should not.
fn history(found: &Found, status: &KitePluginStatus, plugin: &KitePlugin) -> Result<(), String> {
    let numbers = |kind: &str| -> BTreeSet<i64> {
        let of_kind = found.objects.iter().filter(|(resource, _)| resource.kind == kind);
        of_kind.filter_map(|(_, object)| number_of(object)).collect()
    };
    let told: BTreeSet<i64> = status.revisions.iter().map(|entry| entry.number).collect();
    for kind in ["ControllerRevision", "Service", "Deployment"] {
        let there = numbers(kind);
        if there != told {
            return Err(format!(
                "there is a {kind} of the revisions {there:?}, and told are {told:?}"
            ));
        }
    }
    let lingers = |number: i64| {
        let mut entries = status.revisions.iter();
        entries.any(|entry| entry.number == number && entry.draining_since.is_some())
    };
    let runs = |object: &DynamicObject| object.data.pointer("/spec/replicas") != Some(&json!(0));
    let mut all = found.objects.iter().filter(|(kind, _)| kind.kind == "Deployment");
    let surplus = all.find(|(_, object)| {
        let number = number_of(object);
        runs(object) && number != status.active_revision && !number.is_some_and(lingers)
    });
    if let Some((_, object)) = surplus {
        return Err(format!("{} runs, which is not the active one", object.name_any()));
    }
    // The newest stays in any case, so that its number is not given again.
    let is_bound = |number: i64| Some(number) == present(status) || Some(&number) == told.last() || lingers(number);
    let past = told.iter().filter(|number| !is_bound(**number)).count();
    if past > plugin.spec.kept_revisions() {
        return Err(format!("{past} old revisions are kept"));
    }
    Ok(())
}

/// Whether the plugin has come to where it is to stay.
fn has_settled(plugin: &KitePlugin) -> bool {
    let Some(status) = &plugin.status else { return false };
    let mut revisions = status.revisions.iter();
    let is_ready = status
        .conditions
        .iter()
        .any(|it| it.type_ == "Ready" && it.status == "True");
    let wanted = if plugin.spec.is_enabled() {
        Phase::Loaded
    } else {
        Phase::Disabled
    };
    status.observed_generation == plugin.metadata.generation
        && is_ready
        && status.phase == Some(wanted)
        && revisions.all(|entry| entry.state != RevisionState::Starting)
}

/// A step: the spec over the last one, and beside it one that has nothing before it. Whether the operator has ended in it.
async fn make(walked: &mut Scene<'_>, step: &Step) -> Result<bool, String> {
    let fresh = begin(walked.cell).await;
    walked.arm(&Fault::Crash { after: step.writes });
    let all_of_it = async {
        if let Some(refused) = &step.refused {
            be_refused(walked, refused).await?;
        }
        come_alike([walked, &fresh], &step.spec).await
    };
    let outcome = tokio::select! {
        () = walked.operator.line.is_cut() => None,
        outcome = all_of_it => Some(outcome),
    };
    let has_ended = outcome.is_none();
    let outcome = if let Some(outcome) = outcome {
        outcome
    } else {
        walked.restart(None).await;
        come_alike([walked, &fresh], &step.spec).await
    };
    outcome.and(end(fresh).await).map(|()| has_ended)
}

/// Applies a spec that cannot be carried out, and waits until that is told.
async fn be_refused(walked: &Scene<'_>, refused: &Value) -> Result<(), String> {
    let applied = walked.cell.apply(&walked.subject, &of(&walked.subject, refused)).await;
    let is_told = |plugin: &KitePlugin| {
        let observed = plugin.status.as_ref().and_then(|status| status.observed_generation);
        // One that is not to run is at rest with any spec.
        observed >= applied.metadata.generation && (!plugin.spec.is_enabled() || !has_settled(plugin))
    };
    walked.cell.seen(&walked.subject, is_told).await.map(drop)
}

async fn come_alike(both: [&Scene<'_>; 2], spec: &Value) -> Result<(), String> {
    join_all(both.map(async |scene| scene.cell.apply(&scene.subject, &of(&scene.subject, spec)).await)).await;
    for outcome in join_all(both.map(|scene| scene.cell.seen(&scene.subject, has_settled))).await {
        outcome?;
    }
    let limit = Instant::now() + LIMIT;
    loop {
        join_all(both.map(|scene| scene.operator.line.quiet())).await;
        let look = async |scene: &Scene<'_>| {
            let found = Found::of(scene.cell, &scene.subject).await;
            aside(&found.map_err(|error| error.to_string())?, scene.cell, &scene.subject)
        };
        let [walked, fresh] = both;
        let compared = match (look(walked).await, look(fresh).await) {
            (Ok(walked), Ok(fresh)) => walked.differences(&fresh),
            (Err(error), _) => vec![error],
            (_, Err(error)) => vec![format!("of one that is new: {error}")],
        };
        if compared.is_empty() {
            return Ok(());
        }
        if Instant::now() > limit {
            return Err(compared.join("\n  "));
        }
    }
}

/// What came of a walk.
struct Walked {
    /// After how many specs it was what one is that is new.
    specs: u64,
    /// Before how many of them it had one that cannot be carried out.
    refused: u64,
    /// In how many of them the operator has ended.
    ended: u64,
    outcome: Result<(), String>,
}

async fn go(cell: &Cell, seed: u64, steps: u64) -> Walked {
    let mut specs = Specs::of(seed);
    let mut scene = begin(cell).await;
    let mut walked = Walked {
        specs: 0,
        refused: 0,
        ended: 0,
        outcome: Ok(()),
    };
    for number in 1..=steps {
        let step = specs.next(cell);
        match make(&mut scene, &step).await {
            Ok(has_ended) => {
                walked.specs += 1;
                walked.refused += u64::from(step.refused.is_some());
                walked.ended += u64::from(has_ended);
            }
            Err(error) => {
                walked.outcome = Err(format!(
                    "{SEED}={seed} {STEPS}={}, step {number}: not what one is that is new:\n  {error}\nby way of: {refused}\nits spec: {spec}\nthe operator was to end after {writes} writes",
                    steps * WALKERS,
                    refused = step.refused.unwrap_or_default(),
                    spec = step.spec,
                    writes = step.writes,
                ));
                break;
            }
        }
    }
    let removed = end(scene).await;
    walked.outcome = walked.outcome.and(removed);
    walked
}

#[expect(clippy::print_stdout, reason = "the harness keeps a test's standard output")]
#[tokio::test(flavor = "multi_thread")]
async fn faults_a_walk_through_specs_leaves_nothing_behind() {
    let began = Instant::now();
    let client = connect().await;
    let seed = number(SEED).unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0 >> 16);
    let steps = number(STEPS).unwrap_or(FEW).div_ceil(WALKERS);
    println!("{WALKERS} walks of {steps} steps each, with seeds from {seed}");
    let walks = (0..WALKERS).map(async |walker| {
        let cell = Cell::make(&client).await;
        go(&cell, seed + walker, steps).await
    });
    let walked = join_all(walks).await;
    let seconds = began.elapsed().as_secs_f64();
    println!("after {seconds:.1} s");
    let specs: u64 = walked.iter().map(|walk| walk.specs).sum();
    let refused: u64 = walked.iter().map(|walk| walk.refused).sum();
    let ended: u64 = walked.iter().map(|walk| walk.ended).sum();
    let failed: Vec<String> = walked.into_iter().filter_map(|walk| walk.outcome.err()).collect();
    record::leave(
        "walks.json",
        &json!({
            "count": WALKERS, "seed": seed, "specs": specs, "refused": refused, "ended": ended, "failed": failed.len(), "seconds": seconds,
        }),
    );
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
