//! The figures: runs every benchmark and writes what came of it to `docs/evidence/bench.md`; and has the gateway and the operator measured,
//! which write pages of their own.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
    thread,
};

use clap::{Args, ValueEnum};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

use crate::cluster::{Layout, StateError, remove_dir};

/// Of the workspace, as each crate of its own would be built with other features. A crate's library is no benchmark.
const COMMAND: [&str; 6] = ["cargo", "bench", "--workspace", "--locked", "--bench", "*"];
const PAGE: &str = "docs/evidence/bench.md";
/// What the gateway and the operator are measured with is built as benchmarks are.
const BUILD: [&str; 12] = [
    "cargo",
    "build",
    "--profile",
    "bench",
    "--workspace",
    "--locked",
    "--bin",
    "kite-e2e",
    "--bin",
    "kite-gateway",
    "--bin",
    "kite-operator",
];

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("failed to remove the figures of an earlier run")]
    Remove(#[source] StateError),
    #[error("failed to run {program}")]
    Run { program: &'static str, source: io::Error },
    #[error("failed to ask git for the commit: {0}")]
    Git(String),
    #[error("failed to build or run the benchmarks: cargo has said why above")]
    Cargo,
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to understand what criterion wrote to {path}")]
    Figure { path: PathBuf, source: serde_json::Error },
    #[error("failed to find any figure in {0}")]
    NoFigures(PathBuf),
    #[error("failed to write {PAGE}")]
    Write(#[source] io::Error),
}

/// What is compared with how it is where there is much, by the name of its benchmark; and how many times as long that may take.
const LITTLE: &str = "little of everything";
const GROWTH: f64 = 1.2;

/// Which figures are wanted.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Take these only
    #[arg(long, value_delimiter = ',', default_value = "criterion,gateway,operator")]
    only: Vec<Kind>,
}

/// How figures are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// Benchmarks in one process
    Criterion,
    /// The gateway's program beside nginx
    Gateway,
    /// The operator's program with many plugins
    Operator,
}

/// When, where and how the figures came about.
#[derive(Debug)]
pub(crate) struct Circumstances {
    commit: String,
    date: String,
    machine: String,
}

impl Circumstances {
    /// What the commit is, and that it is all there is, is asked before a run that takes long.
    pub(crate) fn gather(root: &Path) -> Result<Self, BenchError> {
        Ok(Self {
            commit: commit(root)?,
            date: Timestamp::now().strftime("%Y-%m-%d").to_string(),
            machine: machine()?,
        })
    }

    /// A table for the head of a page.
    pub(crate) fn table(&self, command: &str) -> String {
        let Self { commit, date, machine } = self;
        format!(
            "| | |\n|---|---|\n| commit | {commit} |\n| date | {date} |\n| machine | {machine} |\n| command | `{command}` |\n"
        )
    }
}

/// How often one turn of a benchmark allocates memory, as the benchmark itself wrote it.
#[derive(Debug, Deserialize, PartialEq)]
struct Counted {
    full_id: String,
    allocations: u64,
    bytes: u64,
}

/// What criterion says of a benchmark in `benchmark.json`.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
}

/// What criterion says of its times in `estimates.json`, all in nanoseconds.
#[derive(Deserialize)]
struct Estimates {
    median: Median,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Median {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Interval {
    confidence_level: f64,
    lower_bound: f64,
    upper_bound: f64,
}

/// A benchmark's time.
#[derive(Debug, PartialEq)]
struct Figure {
    name: String,
    median: Median,
}

/// Takes the figures that are wanted, and writes their pages.
pub fn run(layout: &Layout, selection: &Selection) -> Result<ExitCode, BenchError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let wants = |kind| selection.only.contains(&kind);
    if wants(Kind::Criterion) {
        criterion(layout, &root)?;
    }
    let mut all_kept = true;
    for (kind, measurement, program) in [
        (Kind::Gateway, "load", "kite-gateway"),
        (Kind::Operator, "fleet", "kite-operator"),
    ] {
        all_kept &= !wants(kind) || measured(layout, &root, measurement, program)?;
    }
    Ok(if all_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Has one of our programs measured, by programs that are built for it. Whether every bound was kept.
fn measured(layout: &Layout, root: &Path, measurement: &str, program: &str) -> Result<bool, BenchError> {
    let status = |command: &mut Command, program| {
        let status = command.current_dir(root).status();
        status.map_err(|source| BenchError::Run { program, source })
    };
    let [cargo, arguments @ ..] = BUILD;
    if !status(Command::new(cargo).args(arguments), cargo)?.success() {
        return Err(BenchError::Cargo);
    }
    // Beside the folder of this program, which is that of its profile.
    let built = layout.program().ancestors().nth(2).unwrap_or(root).join("release");
    let mut measure = Command::new(built.join("kite-e2e"));
    measure
        .args([measurement, "--write", "--program"])
        .arg(built.join(program));
    Ok(status(&mut measure, "kite-e2e")?.success())
}

/// Runs all benchmarks and writes the page.
fn criterion(layout: &Layout, root: &Path) -> Result<(), BenchError> {
    let circumstances = Circumstances::gather(root)?;
    let folder = layout.cache().join("bench").join(layout.id());
    remove_dir(&folder).map_err(BenchError::Remove)?;
    let [program, arguments @ ..] = COMMAND;
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .env("CRITERION_HOME", &folder)
        .status()
        .map_err(|source| BenchError::Run { program, source })?;
    if !status.success() {
        return Err(BenchError::Cargo);
    }
    let figures = figures(&folder)?;
    if figures.is_empty() {
        return Err(BenchError::NoFigures(folder));
    }
    let allocations = allocations(&folder.join("allocations"))?;
    let page_file = root.join(PAGE);
    fs::create_dir_all(page_file.parent().unwrap_or(root)).map_err(BenchError::Write)?;
    fs::write(page_file, page(&circumstances, &figures, &allocations)).map_err(BenchError::Write)
}

/// The page, from what was measured.
fn page(circumstances: &Circumstances, figures: &[Figure], allocations: &[Counted]) -> String {
    let mut page = format!(
        "# Figures\n\nWritten by `make bench`, which runs every benchmark again.\n\n{}\n\
         | benchmark | median | 95% interval |\n|---|---|---|\n",
        circumstances.table(&COMMAND.join(" ").replace('*', "'*'")),
    );
    for Figure { name, median } in figures {
        let Interval {
            lower_bound,
            upper_bound,
            ..
        } = median.confidence_interval;
        let times = [median.point_estimate, lower_bound, upper_bound].map(duration);
        let [median, lower, upper] = times;
        // To a String, which does not fail.
        let _ = writeln!(page, "| {name} | {median} | {lower} to {upper} |");
    }
    page.push_str(&growth(figures));
    page.push_str("\n| one turn | allocations | bytes |\n|---|---|---|\n");
    for Counted {
        full_id,
        allocations,
        bytes,
    } in allocations
    {
        let _ = writeln!(page, "| {full_id} | {allocations} | {bytes} |");
    }
    page
}

/// How many times as long it takes where there is much: a table, if anything was measured where there is little.
fn growth(figures: &[Figure]) -> String {
    let mut table = String::new();
    for little in figures {
        let Some(group) = little.name.strip_suffix(LITTLE) else {
            continue;
        };
        for much in figures.iter().filter(|it| it.name.starts_with(group) && *it != little) {
            let times = much.median.point_estimate / little.median.point_estimate;
            let kept = if times <= GROWTH { "kept" } else { "missed" };
            // To a String, which does not fail.
            let _ = writeln!(table, "| {} | {times:.2} | at most {GROWTH}: {kept} |", much.name);
        }
    }
    if table.is_empty() {
        return table;
    }
    format!("\n| benchmark | times as long as with {LITTLE} | aim |\n|---|---|---|\n{table}")
}

/// Nanoseconds with three digits that count, in the unit that makes them readable.
fn duration(nanoseconds: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| nanoseconds >= *unit)
        .unwrap_or((1.0, "ns"));
    let count = nanoseconds / unit;
    let decimals = match count {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{count:.decimals$} {name}")
}

/// The figure of one benchmark, from the two files that criterion writes of it.
fn figure(benchmark: &str, estimates: &str) -> Result<Figure, serde_json::Error> {
    let Benchmark { full_id } = serde_json::from_str(benchmark)?;
    let Estimates { median } = serde_json::from_str(estimates)?;
    Ok(Figure { name: full_id, median })
}

/// All figures below a folder, by name. Criterion keeps each benchmark's newest ones in a folder `new`.
fn figures(folder: &Path) -> Result<Vec<Figure>, BenchError> {
    let mut figures = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(path) = folders.pop() {
        let read = |source| BenchError::Read {
            path: path.clone(),
            source,
        };
        for entry in fs::read_dir(&path).map_err(read)? {
            let entry = entry.map_err(read)?;
            if entry.file_type().map_err(read)?.is_dir() {
                folders.push(entry.path());
            }
        }
        if path.ends_with("new") {
            let text = |file: &str| fs::read_to_string(path.join(file)).map_err(read);
            let figure = figure(&text("benchmark.json")?, &text("estimates.json")?);
            figures.push(figure.map_err(|source| BenchError::Figure { path, source })?);
        }
    }
    figures.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(figures)
}

/// What was counted, by name.
fn allocations(folder: &Path) -> Result<Vec<Counted>, BenchError> {
    let read = |source| BenchError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut counted = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let text = fs::read_to_string(&path).map_err(read)?;
        counted.push(serde_json::from_str(&text).map_err(|source| BenchError::Figure { path, source })?);
    }
    counted.sort_by(|one: &Counted, other| one.full_id.cmp(&other.full_id));
    Ok(counted)
}

/// The commit, and whether there is more than it.
fn commit(root: &Path) -> Result<String, BenchError> {
    let git = |arguments: &[&str]| -> Result<String, BenchError> {
        let program = "git";
        let output = Command::new(program).args(arguments).current_dir(root).output();
        let Output { status, stdout, stderr } = output.map_err(|source| BenchError::Run { program, source })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if status.success() {
            Ok(text(&stdout))
        } else {
            Err(BenchError::Git(text(&stderr)))
        }
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changes = git(&["status", "--porcelain", "--", ".", ":!docs/evidence"])?;
    Ok(if changes.is_empty() {
        commit
    } else {
        format!("{commit}, with changes that are not committed")
    })
}

fn machine() -> Result<String, BenchError> {
    let path = Path::new("/proc/cpuinfo");
    let cpus = fs::read_to_string(path).map_err(|source| BenchError::Read {
        path: path.to_owned(),
        source,
    })?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Ok(format!("{}, {cores} cores", cpu_model(&cpus)))
}

/// What `/proc/cpuinfo` calls the first CPU; on ARM it has no name for it.
fn cpu_model(cpus: &str) -> &str {
    let names = cpus.lines().filter_map(|line| line.split_once(':'));
    let mut names = names.filter(|(key, _)| key.trim() == "model name");
    names.next().map_or("CPU without a name", |(_, name)| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BENCHMARK: &str = r#"{"group_id": "a", "function_id": "b", "full_id": "a/b", "title": "a/b"}"#;
    const ESTIMATES: &str = r#"{
        "mean": {"confidence_interval": {"confidence_level": 0.95, "lower_bound": 1, "upper_bound": 2},
                 "point_estimate": 3, "standard_error": 4},
        "median": {"confidence_interval": {"confidence_level": 0.95, "lower_bound": 1976246.1, "upper_bound": 25098660},
                   "point_estimate": 2237607.4, "standard_error": 5}
    }"#;

    fn of_median(name: &str, point_estimate: f64, lower_bound: f64, upper_bound: f64) -> Figure {
        Figure {
            name: name.to_owned(),
            median: Median {
                point_estimate,
                confidence_interval: Interval {
                    confidence_level: 0.95,
                    lower_bound,
                    upper_bound,
                },
            },
        }
    }

    #[test]
    fn a_figure_is_the_median_under_its_benchmarks_name() {
        let expected = of_median("a/b", 2_237_607.4, 1_976_246.1, 25_098_660.0);
        assert_eq!(figure(BENCHMARK, ESTIMATES).unwrap(), expected);
        assert!(figure("{}", ESTIMATES).is_err());
        assert!(figure(BENCHMARK, "{}").is_err());
    }

    #[test]
    fn the_page_says_how_the_figures_came_about_and_what_they_are() {
        let circumstances = Circumstances {
            commit: "c837df8".to_owned(),
            date: "2026-11-23".to_owned(),
            machine: "Some CPU, 2 cores".to_owned(),
        };
        let figures = [
            of_median("a/b", 2_237_607.4, 1_976_246.1, 25_098_660.0),
            of_median("a/c", 31_801.0, 950.0, 1e9),
        ];
        assert_eq!(
            page(&circumstances, &figures, &[counted()]),
            "# Figures\n\nWritten by `make bench`, which runs every benchmark again.\n\n| | |\n|---|---|\n\
             | commit | c837df8 |\n| date | 2026-11-23 |\n| machine | Some CPU, 2 cores |\n\
             | command | `cargo bench --workspace --locked --bench '*'` |\n\n\
             | benchmark | median | 95% interval |\n|---|---|---|\n\
             | a/b | 2.24 ms | 1.98 ms to 25.1 ms |\n| a/c | 31.8 µs | 950 ns to 1.00 s |\n\n\
             | one turn | allocations | bytes |\n|---|---|---|\n| a/b | 12 | 3456 |\n"
        );
    }

    #[test]
    fn what_grows_is_compared_with_how_it_is_where_there_is_little() {
        let of = |name: &str, median| of_median(name, median, median, median);
        let figures = [
            of("a/little of everything", 10.0),
            of("a/x", 12.0),
            of("a/y", 12.1),
            of("b/x", 99.0),
        ];
        assert_eq!(
            growth(&figures),
            "\n| benchmark | times as long as with little of everything | aim |\n|---|---|---|\n\
             | a/x | 1.20 | at most 1.2: kept |\n| a/y | 1.21 | at most 1.2: missed |\n"
        );
        assert_eq!(growth(&figures[1..]), "");
    }

    fn counted() -> Counted {
        Counted {
            full_id: "a/b".to_owned(),
            allocations: 12,
            bytes: 3456,
        }
    }

    #[test]
    fn what_was_counted_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"full_id": "a/b", "allocations": 12, "bytes": 3456}"#;
        fs::write(folder.path().join("b.json"), text).unwrap();
        assert_eq!(allocations(folder.path()).unwrap(), [counted()]);
        fs::write(folder.path().join("c.json"), "{}").unwrap();
        assert!(matches!(allocations(folder.path()), Err(BenchError::Figure { .. })));
    }

    #[test]
    fn every_size_of_time_is_readable() {
        for (nanoseconds, text) in [
            (0.25, "0.25 ns"),
            (999.0, "999 ns"),
            (1_000.0, "1.00 µs"),
            (12_345.0, "12.3 µs"),
            (123_456.0, "123 µs"),
            (90e9, "90.0 s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }

    #[test]
    fn figures_are_found_where_criterion_puts_them() {
        let folder = tempfile::tempdir().unwrap();
        for (id, kind) in [("z", "new"), ("a", "new"), ("a", "base"), ("a", "change")] {
            let path = folder.path().join("group").join(id).join(kind);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("benchmark.json"), format!(r#"{{"full_id": "{id}"}}"#)).unwrap();
            fs::write(path.join("estimates.json"), ESTIMATES).unwrap();
        }
        let names: Vec<String> = figures(folder.path()).unwrap().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["a", "z"]);
    }

    #[test]
    fn the_cpu_is_named_as_the_kernel_names_it() {
        assert_eq!(
            cpu_model("processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n"),
            "AMD EPYC"
        );
        assert_eq!(cpu_model("processor\t: 0\n"), "CPU without a name");
    }
}
