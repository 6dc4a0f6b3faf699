//! The stages of `make test`: each is run, timed and counted, whatever became of those before it.

mod failures;

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use self::failures::Failures;
use crate::{
    cluster::{self, Layout, Lock, Progress, remove_dir},
    deploy::{self, Exports},
    explain,
    target::{Target, variable},
};

/// Tests of this name have API servers and no node.
const API: &str = "api_*";
/// Parts of `e2e/tests/serial.rs`, which run alone, after the rest.
const SERIAL: [&str; 11] = [
    // What the suite did is read before anything is taken away.
    "serial_roles",
    // Nothing may happen to what is there.
    "serial_fleet",
    "serial_operator",
    "serial_revisions",
    "serial_workload",
    "serial_certificates",
    "serial_stream",
    "serial_load",
    "serial_cluster",
    "serial_context",
    "serial_uninstall",
];

/// Which stages to run.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// Run these stages only: check, unit, cluster, serial
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Run only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// Variables of those that need no cluster
    #[arg(skip)]
    variables: Vec<(&'static str, OsString)>,
}

impl Selection {
    /// The tests that need no cluster and whose names contain `filter`, with these variables.
    pub(crate) fn of_units(filter: &str, variables: Vec<(&'static str, OsString)>) -> Self {
        Self {
            only: vec![String::from("unit")],
            filter: Some(filter.to_owned()),
            variables,
        }
    }

    fn has(&self, stage: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == stage)
    }
}

/// How many tests passed and failed; a stage that has no tests of its own counts as one.
#[derive(Debug, Default, Eq, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
    /// How many of both were tests, and not whole stages.
    tests: u64,
    failures: Failures,
}

impl Count {
    fn one(passed: bool) -> Self {
        Self {
            passed: u64::from(passed),
            failed: u64::from(!passed),
            ..Self::default()
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.tests += other.tests;
        self.failures.add(other.failures);
    }

    /// Reads one of the summary lines that Rust's test harness prints.
    fn of_line(line: &str) -> Option<Self> {
        let rest = line.trim().strip_prefix("test result: ")?;
        let number = |word: &str| -> Option<u64> {
            let before = rest.split(word).next()?.trim_end();
            before.rsplit(' ').next()?.parse().ok()
        };
        let (passed, failed) = (number(" passed")?, number(" failed")?);
        Some(Self {
            passed,
            failed,
            tests: passed + failed,
            ..Self::default()
        })
    }
}

/// What ran, how long it took, what came of it.
struct Report {
    stages: Vec<(&'static str, Duration, Count)>,
    /// What only tests of this name were asked for, if so.
    filter: Option<String>,
}

impl Report {
    fn stage(&mut self, name: &'static str, run: impl FnOnce() -> Count) {
        say(&format!("\n=== {name}"));
        let began = Instant::now();
        let count = run();
        self.stages.push((name, began.elapsed(), count));
    }

    fn finish(self) -> ExitCode {
        let mut all = Count::default();
        say("\n=== stages");
        let mut matched = 0;
        for (name, took, count) in self.stages {
            say(&format!(
                "{:>7.1} s  {name}: {} passed, {} failed",
                took.as_secs_f64(),
                count.passed,
                count.failed
            ));
            matched += count.tests;
            all.add(count);
        }
        // Nobody may take a run of nothing for a success.
        if let Some(filter) = self.filter.filter(|_| matched == 0) {
            say(&format!("no test's name contains {filter:?}"));
            all.failed += 1;
        }
        // What stands far above is said again, where it is found.
        for line in all.failures.told() {
            say(&line);
        }
        let failed = all.failed > 0 || all.passed == 0;
        say(&format!("{} passed, {} failed", all.passed, all.failed));
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Runs the selected stages. A cluster that was up before stays up; one that was not is taken down at the end.
pub fn run(selection: &Selection, layout: &Layout, runtime: &tokio::runtime::Runtime) -> ExitCode {
    let mut report = Report {
        stages: Vec::new(),
        filter: selection.filter.clone(),
    };
    if selection.has("check") {
        report.stage("check", || {
            Count::one(command(Command::new("make").args(["--no-print-directory", "check"]), say).0)
        });
    }
    if selection.has("unit") {
        report.stage("unit, property, doc and API tests", || unit(layout, selection));
    }
    if selection.has("cluster") || selection.has("serial") {
        // A cluster of others is not ours to end, nor one that is up but slow to answer.
        let stays = variable("KITE_CONTEXT").is_some() || cluster::exists(layout);
        let mut exports = None;
        report.stage("cluster up", || {
            exports = runtime.block_on(up(layout));
            Count::one(exports.is_some())
        });
        if let Some(exports) = &exports {
            if selection.has("cluster") {
                report.stage("cluster suite", || suite(exports, selection));
            }
            if selection.has("serial") {
                report.stage("serial suite", || serial(layout, runtime, selection));
            }
        }
        if !stays {
            report.stage("cluster down", || {
                Count::one(cluster::down(layout).map_err(|error| fail(&error)).is_ok())
            });
        }
    }
    report.finish()
}

async fn up(layout: &Layout) -> Option<Exports> {
    let progress = Progress::start();
    let target = Target::ensure_up(layout).map_err(|error| fail(&error)).ok()?;
    deploy::everything(&target, layout, &progress)
        .await
        .map_err(|error| fail(&error))
        .ok()?;
    Exports::gather(&target).await.map_err(|error| fail(&error)).ok()
}

/// All tests that need no cluster. Those that have an API server wait for it more than they compute, so they run beside the others.
fn unit(layout: &Layout, selection: &Selection) -> Count {
    let folder = layout.cache().join("apiserver").join(layout.id());
    // Another run of this checkout would take the server's files away.
    let lock = Lock::take(&folder.with_extension("lock"), &Progress::start());
    let started = lock.map_err(|error| fail(&error)).and_then(|lock| {
        let server = cluster::apiserver::start(layout, &folder).map_err(|error| fail(&error))?;
        Ok((lock, server))
    });
    let Ok((_lock, server)) = started else {
        return Count::one(false);
    };
    // Nothing is compiled while time counts.
    let built = [test(&["--test", API]), test(&[])].map(|mut cargo| tests(cargo.arg("--no-run"), say));
    let mut all = Count::default();
    if let Some(failed) = built.into_iter().find(|count| count.failed > 0) {
        all.add(failed);
    } else {
        let variables = || selection.variables.iter().cloned();
        thread::scope(|scope| {
            let api = scope.spawn(|| {
                let mut said = Vec::new();
                let mut cargo = program(API, 4, selection);
                cargo.env("KITE_TEST_KUBECONFIG", server.kubeconfig());
                (tests(cargo.envs(variables()), |line| said.push(line.to_owned())), said)
            });
            all.add(tests(test(&[]).envs(variables()).args(&selection.filter), say));
            match api.join() {
                // What they say is not mixed with what the others do.
                Ok((count, said)) => {
                    for line in &said {
                        say(line);
                    }
                    all.add(count);
                }
                Err(_) => all.add(Count::one(false)),
            }
        });
    }
    drop(server);
    if let Err(error) = remove_dir(&folder) {
        fail(&error);
    }
    all
}

/// What may run beside one another on the cluster.
fn suite(exports: &Exports, selection: &Selection) -> Count {
    tests(program("suite", 4, selection).envs(exports.variables()), say)
}

/// Each file alone, with fresh exports, as the one before may have put the gateway and its admin back anew.
fn serial(layout: &Layout, runtime: &tokio::runtime::Runtime, selection: &Selection) -> Count {
    let mut all = Count::default();
    for file in SERIAL {
        let exports = Target::running(layout)
            .map_err(|error| fail(&error))
            .and_then(|target| runtime.block_on(Exports::gather(&target)).map_err(|error| fail(&error)));
        all.add(exports.map_or(Count::one(false), |exports| {
            let mut cargo = program("serial", 1, selection);
            // Of several filters one is enough for a test to run, so that the others' files are named instead.
            for other in SERIAL.iter().filter(|other| **other != file) {
                cargo.args(["--skip", &format!("{other}::")]);
            }
            tests(cargo.envs(exports.variables()), say)
        }));
    }
    all
}

/// Those of a program that are asked for, so many at once.
fn program(name: &str, threads: u8, selection: &Selection) -> Command {
    let mut cargo = test(&["--test", name]);
    cargo
        .arg("--")
        .args(&selection.filter)
        .arg(format!("--test-threads={threads}"));
    cargo
}

fn test(targets: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .args(targets);
    cargo
}

/// Runs a command that runs tests; one that fails without a failed test (it does not compile) counts as a failure.
fn tests(cargo: &mut Command, say: impl FnMut(&str)) -> Count {
    let (succeeded, mut count) = command(cargo, say);
    if !succeeded && count.failed == 0 {
        count.failed = 1;
    }
    count
}

/// Runs a command, passes each line that it prints to `say`, and counts the tests in it.
fn command(command: &mut Command, mut say: impl FnMut(&str)) -> (bool, Count) {
    let mut count = Count::default();
    let mut run = || -> io::Result<bool> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        for line in child
            .stdout
            .take()
            .map(BufReader::new)
            .into_iter()
            .flat_map(BufRead::lines)
        {
            let line = line?;
            say(&line);
            count.add(Count::of_line(&line).unwrap_or_default());
            count.failures.read(&line);
        }
        child.wait().map(|status| status.success())
    };
    let succeeded = run().map_err(|error| fail(&error)).unwrap_or(false);
    (succeeded, count)
}

/// Writes one line. That nobody reads it is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn fail(error: &dyn std::error::Error) {
    say(&explain(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_tests_is_forgotten() {
        let manifest = include_str!("../Cargo.toml");
        let (suite, serial) = (include_str!("../tests/suite.rs"), include_str!("../tests/serial.rs"));
        let has = |program: &str, name: &str| program.contains(&format!("mod {name};\n"));
        assert!(
            SERIAL.iter().all(|name| has(serial, name)),
            "one of SERIAL is no part of serial.rs"
        );
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.join("main.rs").exists() {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let is_whole = manifest.contains(&format!("name = \"{name}\"\n"));
            let places = [is_whole, has(suite, name), has(serial, name)];
            assert!(
                places.into_iter().filter(|is| *is).count() == 1,
                "{name} is a test of Cargo.toml, or else a part of suite.rs or of serial.rs"
            );
            let is_serial = name.starts_with("serial_");
            assert_eq!([has(serial, name), SERIAL.contains(&name)], [is_serial; 2], "{name}");
        }
    }

    #[test]
    fn a_summary_line_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.03s";
        assert_eq!(
            Count::of_line(line),
            Some(Count {
                passed: 12,
                failed: 3,
                tests: 15,
                ..Count::default()
            })
        );
    }

    #[test]
    fn other_lines_are_not() {
        for line in [
            "",
            "test a ... ok",
            "test result: ",
            "test result: odd passed; failed",
            "5 passed; 2 failed",
        ] {
            assert_eq!(Count::of_line(line), None, "{line:?}");
        }
    }
}
