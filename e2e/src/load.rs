//! How fast the gateway is, what it keeps in memory, and whether one plugin slows down others: measured on the programs as they are
//! shipped, in a network of their own.

mod error;
mod generator;
mod memory;
mod others;
mod page;
mod part;
mod scene;
mod side;
mod task;
mod throughput;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use tokio::runtime::Runtime;

pub use self::{
    error::LoadError,
    part::{Part, PartError},
};
use self::{
    generator::Generator,
    others::Amount,
    page::Measured,
    scene::{Plan, Scene},
    throughput::Rounds,
};
use crate::{
    bench::Circumstances,
    cluster::{self, Layout, Progress},
    unshared,
};

/// By how much bounds of times are stretched where little is measured: a build that is not optimised, on a machine that may be busy,
/// says nothing of times.
const PATIENCE: f64 = f64::INFINITY;
const PAGE: &str = "docs/evidence/gateway.md";
const READERS_PAGE: &str = "docs/performance.md";

/// What is measured, and for how long.
#[derive(Args, Clone, Debug)]
pub struct Measurement {
    /// The gateway's program
    #[arg(long)]
    program: PathBuf,
    /// Measure these only
    #[arg(long, value_delimiter = ',', default_value = "throughput,transfers,streams,others")]
    only: Vec<Subject>,
    /// How often each is measured
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// For how many seconds each time
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Runtimes of the gateway, and workers of nginx
    #[arg(long, default_value_t = 1)]
    threads: u16,
    /// Flags of each gateway that is measured; between two gateways stands a semicolon
    #[arg(
        long,
        env = "KITE_BENCH_GATEWAY_FLAGS",
        value_delimiter = ';',
        default_value = "",
        allow_hyphen_values = true
    )]
    flags: Vec<String>,
    /// Take little of everything, and judge no times
    #[arg(long)]
    small: bool,
    /// Write docs/evidence/gateway.md, and the summary in docs/performance.md
    #[arg(long)]
    write: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Requests a second, beside nginx
    Throughput,
    /// Memory while much passes
    Transfers,
    /// Memory of event streams
    Streams,
    /// Others beside a plugin that offends
    Others,
}

/// How much of everything.
struct Size {
    transfer: u64,
    streams: usize,
    /// Plugins that the streams lead to.
    streamers: u8,
    /// Requests a second beside an offender.
    rate: u32,
    /// Callers of the offender.
    callers: usize,
}

impl Size {
    const WHOLE: Self = Self {
        transfer: 1024 * memory::MIB,
        streams: 10_000,
        streamers: 50,
        rate: 200,
        callers: 64,
    };
    const SMALL: Self = Self {
        transfer: 96 * memory::MIB,
        streams: 200,
        streamers: 2,
        rate: 50,
        callers: 16,
    };
}

/// Measures, in a network of its own, and writes the page.
pub fn run(layout: &Layout, measurement: &Measurement, runtime: &Runtime) -> Result<ExitCode, LoadError> {
    let programs = cluster::load_tools(layout)?;
    if !unshared::is_inside() {
        // What has to be fetched is fetched before.
        cluster::tools(layout)?;
        return Ok(unshared::again_inside(layout.program())?);
    }
    unshared::network(&programs)?;
    let measured = runtime.block_on(inside(layout, &programs, measurement))?;
    let tables = measured.tables();
    let broken = measured.broken(if measurement.small { PATIENCE } else { 1.0 });
    if measurement.write {
        write_pages(measurement, &measured)?;
    }
    say(&tables);
    for bound in &broken {
        say(&format!("NOT KEPT: {bound}\n"));
    }
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn inside(layout: &Layout, programs: &cluster::Debian, measurement: &Measurement) -> Result<Measured, LoadError> {
    let progress = Progress::start();
    let size = if measurement.small { Size::SMALL } else { Size::WHOLE };
    let plan = Plan {
        layout,
        programs,
        gateway: &measurement.program,
        flags: &measurement.flags,
        threads: measurement.threads,
        streamers: size.streamers,
    };
    let scene = Scene::start(plan).await?;
    progress.say("everything runs and answers");
    let wants = |subject| measurement.only.contains(&subject);
    let mut measured = Measured::default();
    if wants(Subject::Transfers) {
        measured.transfers = memory::transfers(&scene, size.transfer, &progress).await?;
    }
    if wants(Subject::Others) {
        let amount = Amount {
            rounds: measurement.rounds,
            time: Duration::from_secs(measurement.seconds.into()),
            rate: size.rate,
            callers: size.callers,
        };
        measured.offended = others::measure(&scene, amount, &progress).await?;
    }
    if wants(Subject::Throughput) {
        let generator = Generator::new(programs.clone(), scene.folder(), scene.token.clone())?;
        let rounds = Rounds {
            seconds: measurement.seconds,
            count: measurement.rounds,
            clients: if measurement.small {
                Rounds::FEW.into()
            } else {
                Rounds::CLIENTS.into()
            },
        };
        measured.cells = throughput::measure(&scene, &generator, &rounds, &progress)?;
    }
    if wants(Subject::Streams) {
        measured.streams = memory::streams(&scene, size.streams, size.streamers, &progress).await?;
    }
    Ok(measured)
}

/// Writes the page of figures, and what matters most of it where people read of it.
fn write_pages(measurement: &Measurement, measured: &Measured) -> Result<(), LoadError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let circumstances = Circumstances::gather(&root).map_err(LoadError::Circumstances)?;
    let Measurement {
        rounds,
        seconds,
        threads,
        flags,
        ..
    } = measurement;
    let text = format!(
        "# Figures of the gateway\n\nWritten by `make bench ONLY=gateway`. The median of {rounds} rounds of {seconds} s, in brackets the least and \
         the most; {threads} runtime(s) of the gateway, as many workers of nginx. [What they mean](../performance.md).\n\n{}{}{}",
        circumstances.table("make bench ONLY=gateway"),
        match flags.as_slice() {
            [only] if only.is_empty() => String::new(),
            flags => format!("\nFlags of the gateways: `{}`.\n", flags.join(";")),
        },
        measured.tables()
    );
    let path = root.join(PAGE);
    fs::write(&path, text).map_err(|source| LoadError::prepare(&path, source))?;
    let path = root.join(READERS_PAGE);
    let page = fs::read_to_string(&path).map_err(|source| LoadError::prepare(&path, source))?;
    let page = page::with_summary(&page, &measured.summary()).ok_or(LoadError::NoPlace(READERS_PAGE))?;
    fs::write(&path, page).map_err(|source| LoadError::prepare(&path, source))
}

/// What is left of a closed terminal is no reason to stop.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
