//! What breaks operators, at length: has the tests of it run, and writes what came of them to `docs/evidence/chaos.md`.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::runtime::Runtime;

use crate::{
    bench::{BenchError, Circumstances},
    cluster::{Layout, StateError, remove_dir},
    stages::{self, Selection},
};

const PAGE: &str = "docs/evidence/chaos.md";
/// Begins the names of the tests.
const TESTS: &str = "faults_";
/// By which they are told where they leave their figures, which faults they try, and how many specs.
const FOLDER: &str = "KITE_CHAOS";
const FAULT: &str = "KITE_FAULT";
const STEPS: &str = "KITE_WALK_STEPS";
/// Every fault.
const ALL: &str = "all";

#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    #[error("failed to remove the figures of an earlier run")]
    Remove(#[source] StateError),
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to understand {}", path.display())]
    Figures { path: PathBuf, source: serde_json::Error },
    #[error("failed to write {PAGE}")]
    Write(#[source] io::Error),
    #[error("failed to say when and where this was tried")]
    Circumstances(#[source] BenchError),
}

/// How much is done to the operator.
#[derive(Args, Clone, Debug)]
pub struct Extent {
    /// The words of a fault, or the first of them; only if it is all, the page is written
    #[arg(long, env = FAULT, default_value = ALL)]
    fault: String,
    /// How many specs there are, in all walks together
    #[arg(long, env = STEPS, default_value_t = 300)]
    steps: u64,
}

/// What came of the faults, as their test wrote it.
#[derive(Debug, Deserialize)]
struct Faults {
    /// How many changes there are, each of which is made again with each fault.
    changes: usize,
    kinds: BTreeMap<String, Count>,
    seconds: f64,
}

/// What came of the faults of one kind.
#[derive(Debug, Default, Deserialize)]
struct Count {
    /// How often it was the same as without the fault.
    well: u64,
    /// How often the fault did not come about.
    missed: u64,
    /// How often it was something else.
    failed: u64,
}

/// What came of the walks, as their test wrote it.
#[derive(Debug, Deserialize)]
struct Walks {
    count: u64,
    /// That of the first; the others have those that follow.
    seed: u64,
    /// How many specs there were after which all was as it should be.
    specs: u64,
    /// Before how many of them the plugin had one that cannot be carried out.
    refused: u64,
    /// In how many of them the operator ended.
    ended: u64,
    failed: u64,
    seconds: f64,
}

/// Runs the tests, whose outcome is that of the whole, and writes the page.
pub fn run(layout: &Layout, extent: &Extent, runtime: &Runtime) -> Result<ExitCode, ChaosError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let circumstances = Circumstances::gather(&root).map_err(ChaosError::Circumstances)?;
    let folder = layout.cache().join("chaos").join(layout.id());
    remove_dir(&folder).map_err(ChaosError::Remove)?;
    let variables = vec![
        (FOLDER, folder.clone().into()),
        (FAULT, extent.fault.clone().into()),
        (STEPS, extent.steps.to_string().into()),
    ];
    let code = stages::run(&Selection::of_units(TESTS, variables), layout, runtime);
    let command = format!("make chaos {STEPS}={}", extent.steps);
    let figures = figures(&read(&folder.join("faults.json"))?, &read(&folder.join("walks.json"))?);
    if extent.fault == ALL {
        let text = page(&circumstances.table(&command), &figures);
        fs::write(root.join(PAGE), text).map_err(ChaosError::Write)?;
    }
    say(&figures);
    Ok(code)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ChaosError> {
    let text = fs::read_to_string(path).map_err(|source| ChaosError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| ChaosError::Figures {
        path: path.to_owned(),
        source,
    })
}

fn page(circumstances: &str, figures: &str) -> String {
    format!(
        "# What breaks operators\n\nWritten by `make chaos`. [What is done, and what is compared](../decisions/0026-faults-and-walks.md); \
         [how one of them is repeated](../../CONTRIBUTING.md).\n\n{circumstances}{figures}"
    )
}

/// What came of it all. Writing to a String does not fail, so that what it says is not looked at.
fn figures(faults: &Faults, walks: &Walks) -> String {
    let mut text = format!(
        "\n{} changes of a plugin, each made again with one fault at a time, in {:.0} s.\n\n\
         | fault | the same came of it as without | something else did | it did not come about |\n|---|---|---|---|\n",
        faults.changes, faults.seconds
    );
    let mut all = Count::default();
    for (kind, count) in &faults.kinds {
        let _ = writeln!(
            text,
            "| `{kind}` | {} | {} | {} |",
            count.well, count.failed, count.missed
        );
        all.well += count.well;
        all.failed += count.failed;
        all.missed += count.missed;
    }
    let _ = writeln!(text, "| all | {} | {} | {} |", all.well, all.failed, all.missed);
    let last = walks.seed.saturating_add(walks.count.saturating_sub(1));
    let _ = writeln!(
        text,
        "\n{} walks, with the seeds {} to {last}, in {:.0} s: after {} specs the plugin was what one is that is new, {} of them by way of one \
         that cannot be carried out, and in {} of them the operator had ended. Walks that came to something else: {}.",
        walks.count, walks.seed, walks.seconds, walks.specs, walks.refused, walks.ended, walks.failed
    );
    text
}

/// What is left of a closed terminal is no reason to stop.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTS: &str = r#"{
        "changes": 9, "seconds": 61.4,
        "kinds": {"crash": {"well": 20, "missed": 0, "failed": 0}, "lost": {"well": 7, "missed": 2, "failed": 1}}
    }"#;
    const WALKS: &str =
        r#"{"count": 5, "seed": 40, "specs": 299, "refused": 90, "ended": 120, "failed": 1, "seconds": 99.6}"#;

    #[test]
    fn the_page_says_what_the_tests_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let faults = read(&write("faults.json", FAULTS)).unwrap();
        let walks = read(&write("walks.json", WALKS)).unwrap();
        assert_eq!(
            page("| commit | c837df8 |\n", &figures(&faults, &walks)),
            "# What breaks operators\n\nWritten by `make chaos`. \
             [What is done, and what is compared](../decisions/0026-faults-and-walks.md); \
             [how one of them is repeated](../../CONTRIBUTING.md).\n\n| commit | c837df8 |\n\n\
             9 changes of a plugin, each made again with one fault at a time, in 61 s.\n\n\
             | fault | the same came of it as without | something else did | it did not come about |\n|---|---|---|---|\n\
             | `crash` | 20 | 0 | 0 |\n| `lost` | 7 | 1 | 2 |\n| all | 27 | 1 | 2 |\n\n\
             5 walks, with the seeds 40 to 44, in 100 s: after 299 specs the plugin was what one is that is new, 90 of them by way \
             of one that cannot be carried out, and in 120 of them the operator had ended. Walks that came to something else: 1.\n"
        );
        assert!(matches!(
            read::<Faults>(&write("faults.json", "{}")),
            Err(ChaosError::Figures { .. })
        ));
        assert!(matches!(
            read::<Faults>(&folder.path().join("none.json")),
            Err(ChaosError::Read { .. })
        ));
    }
}
