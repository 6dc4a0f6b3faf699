//! All cases, several at once.

use std::{
    collections::{BTreeMap, VecDeque},
    env,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures::future::join_all;
use serde::Serialize;
use serde_json::json;
use strum::IntoEnumIterator;

use super::{
    case::{self, Outcome},
    cell::{Cell, connect},
    change::Change,
    fault::{Case, Fault},
    record,
};

/// How many cases are tried at once. Most of their time they wait.
const AT_ONCE: usize = 12;
/// The words of the cases that are to be tried, or the first of them; `all` is all. Absent: the usual ones.
const ONLY: &str = "KITE_FAULT";

/// Everything that can be done to the operator while it makes the change that was rehearsed.
fn all(change: Change, rehearsed: &Outcome) -> Vec<Case> {
    let writes = rehearsed.acts.len();
    let crashes = (0..=writes).map(|after| Fault::Crash { after });
    let stale = (1..=writes).map(|after| Fault::Stale { after });
    let lost = (1..=writes).map(|write| Fault::Lost { write });
    let unseen = rehearsed.events.iter().flat_map(|(resource, count)| {
        (1..=*count).map(|event| Fault::Unseen {
            resource: resource.clone(),
            event,
        })
    });
    let faults = crashes.chain(stale).chain(lost).chain(unseen);
    faults.map(|fault| Case { change, fault }).collect()
}

/// Does `work` with each of `items`, in as many cells as there are.
async fn each<T, R>(cells: &[Arc<Cell>], items: Vec<T>, work: impl AsyncFn(&Cell, T) -> R) -> Vec<R> {
    let queue = Mutex::new(VecDeque::from(items));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let workers = cells.iter().map(async |cell| {
        let mut done = Vec::new();
        while let Some(item) = next() {
            done.push(work(cell, item).await);
        }
        done
    });
    join_all(workers).await.into_iter().flatten().collect()
}

/// The cases that are asked for.
fn asked_for(case: &Case) -> bool {
    match env::var(ONLY).as_deref() {
        Err(_) => is_usual(case),
        Ok("all") => true,
        Ok(words) => {
            let case = case.to_string();
            case == words || case.starts_with(&format!("{words} "))
        }
    }
}

/// Whether the case is tried each time. At every write an operator ends, and each other time the next is told of an earlier state. What the operator has done
/// itself it need not be told, and a write whose answer is lost is written again as one is before which it has ended: one of these is tried.
fn is_usual(Case { change, fault }: &Case) -> bool {
    match fault {
        Fault::Crash { after } => after % 2 == 0,
        Fault::Stale { after } => after % 2 == 1,
        Fault::Lost { write } => *change == Change::Create && *write == 1,
        Fault::Unseen { resource, .. } => {
            *change == Change::Pilfer || matches!(resource.as_str(), "kiteplugins" | "deployments" | "pods")
        }
    }
}

/// What came of the faults of one kind.
#[derive(Debug, Default, Serialize)]
struct Count {
    /// How often it was the same as without the fault.
    well: usize,
    /// How often the fault did not come about.
    missed: usize,
    /// How often it was something else.
    failed: usize,
}

/// What came of all that was played.
fn count(played: &[(Case, Result<bool, String>)]) -> BTreeMap<&'static str, Count> {
    let mut kinds: BTreeMap<_, Count> = BTreeMap::new();
    for (case, outcome) in played {
        let count = kinds.entry(case.fault.kind()).or_default();
        match outcome {
            Ok(true) => count.well += 1,
            Ok(false) => count.missed += 1,
            Err(_) => count.failed += 1,
        }
    }
    kinds
}

#[expect(clippy::print_stdout, reason = "the harness keeps a test's standard output")]
fn say(text: &str) {
    println!("{text}");
}

/// What each change takes without faults.
async fn rehearse(cells: &[Arc<Cell>]) -> Vec<(Change, Outcome)> {
    let rehearsed = each(cells, Change::iter().collect(), async |cell, change| {
        let outcome = case::rehearse(cell, change).await;
        (change, outcome.unwrap_or_else(|error| panic!("{change}: {error}")))
    })
    .await;
    for (change, outcome) in &rehearsed {
        say(&format!("{change}: {:?}", outcome.events));
        for (number, act) in outcome.acts.iter().enumerate() {
            say(&format!("  {} {act}", number + 1));
        }
    }
    rehearsed
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_whatever_is_done_to_the_operator_the_same_comes_of_it() {
    let began = Instant::now();
    let client = connect().await;
    let cells = join_all((0..AT_ONCE).map(async |_| Arc::new(Cell::make(&client).await))).await;
    let rehearsed = rehearse(&cells).await;
    say(&format!("rehearsed after {:.1} s", began.elapsed().as_secs_f64()));
    let mut cases: Vec<(Case, &Outcome)> = Vec::new();
    for (change, outcome) in &rehearsed {
        cases.extend(all(*change, outcome).into_iter().map(|case| (case, outcome)));
    }
    cases.retain(|(case, _)| asked_for(case));
    let played = each(&cells, cases, async |cell, (case, expected)| {
        let began = Instant::now();
        let outcome = case::play(cell, case.change, &case.fault, expected).await;
        let word = match &outcome {
            Ok(true) => "well",
            Ok(false) => "did not come about",
            Err(error) => error,
        };
        say(&format!("{case}: {word} after {:.1} s", began.elapsed().as_secs_f64()));
        (case, outcome)
    })
    .await;
    let seconds = began.elapsed().as_secs_f64();
    let kinds = count(&played);
    record::leave(
        "faults.json",
        &json!({"changes": rehearsed.len(), "kinds": kinds, "seconds": seconds}),
    );
    let (count, missed) = (played.len(), kinds.values().map(|count| count.missed).sum::<usize>());
    let failed = played
        .iter()
        .filter_map(|(case, outcome)| Some(format!("{case}: {}", outcome.as_ref().err()?)));
    let failed: Vec<String> = failed.collect();
    say(&format!(
        "{count} faults in {seconds:.1} s; {missed} did not come about"
    ));
    let list = failed.join("\n\n");
    assert!(
        failed.is_empty(),
        "of {count} faults {} failed; {ONLY} repeats them:\n{list}",
        failed.len()
    );
    assert!(missed * 10 < count, "hardly any of {count} faults came about");
}
