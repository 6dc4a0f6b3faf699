//! What the operator takes with many plugins, beside a client that only creates what it creates: measured on the program as it is shipped, in a
//! network of its own, with kwok in the place of kubelets and one process in the place of the plugins.

mod bare;
mod error;
mod foreign;
mod life;
mod operator;
mod page;
mod part;
mod promise;
mod push;
mod scene;
mod takeover;
mod told;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use tokio::runtime::Runtime;

use self::{
    bare::Objects,
    operator::{Operator, Replica},
    page::{Bare, Measured},
    scene::Scene,
    takeover::Takeover,
};
pub use self::{
    error::FleetError,
    operator::ENVIRONMENT,
    part::{Part, PartError},
};
use crate::{
    bench::Circumstances,
    cluster::{self, Layout, Progress},
    unshared,
};

/// What all plugins say that they are: the version that the tests' plugins have.
const VERSION: &str = "1.0.0";
const PAGE: &str = "docs/evidence/operator.md";

/// What is measured, and for how long.
#[derive(Args, Clone, Debug)]
pub struct Measurement {
    /// The operator's program
    #[arg(long)]
    program: PathBuf,
    /// With how many plugins
    #[arg(long, env = "KITE_BENCH_PLUGINS", default_value_t = 1000)]
    plugins: usize,
    /// For how many seconds nothing happens
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// How often settings are changed, and how many of the plugins when the operator is killed
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    changes: u16,
    /// How many times as long as is promised anything may take: of a build that is not optimised, on a machine that may be busy, times say little
    #[arg(long, default_value_t = 1)]
    patience: u32,
    /// Compare it with nothing
    #[arg(long)]
    alone: bool,
    /// Write docs/evidence/operator.md
    #[arg(long)]
    write: bool,
}

/// Measures, in a network of its own, and writes the page.
pub fn run(layout: &Layout, measurement: &Measurement, runtime: &Runtime) -> Result<ExitCode, FleetError> {
    let programs = cluster::load_tools(layout)?;
    if !unshared::is_inside() {
        // What has to be fetched is fetched before.
        cluster::tools(layout)?;
        cluster::kwok(layout)?;
        return Ok(unshared::again_inside(layout.program())?);
    }
    unshared::network(&programs)?;
    let load = load_average()?;
    let measured = runtime.block_on(measure(layout, measurement))?;
    if measurement.write {
        write_page(measurement, &load, &measured)?;
    }
    say(&measured.tables());
    let broken = measured.broken(measurement.patience);
    for bound in &broken {
        say(&format!("NOT KEPT: {bound}\n"));
    }
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(layout: &Layout, measurement: &Measurement) -> Result<Measured, FleetError> {
    let progress = Progress::start();
    let scene = Scene::start(layout).await?;
    let (mut measured, objects) = Box::pin(of_operator(&scene, measurement, &progress)).await?;
    drop(scene);
    if !measurement.alone {
        let scene = Scene::start(layout).await?;
        let count = objects.count();
        let time = objects.create(&scene).await?;
        progress.say(&format!("a bare client took {:.1} s", time.as_secs_f64()));
        measured.bare = Some(Bare { time, objects: count });
    }
    Ok(measured)
}

/// All but what the operator is compared with, which is given the objects that there are once the plugins are made.
async fn of_operator(
    scene: &Scene,
    measurement: &Measurement,
    progress: &Progress,
) -> Result<(Measured, Objects), FleetError> {
    let Measurement { plugins, program, .. } = measurement;
    let operator = Operator::start(scene, program, Replica::First)?;
    operator.is_done(0, life::limit(0)).await?;
    progress.say("the operator leads");
    let made = life::made(scene, &operator, *plugins).await?;
    progress.say(&format!(
        "{plugins} plugins are Loaded after {:.1} s",
        made.time.as_secs_f64()
    ));
    let steady = life::steady(scene, &operator, Duration::from_secs(measurement.seconds)).await?;
    progress.say(&format!("{} writes in {} s", steady.writes, measurement.seconds));
    let objects = Objects::of(scene).await?;
    let (changed, others) = life::changed(scene, &operator).await?;
    progress.say(&format!("one was changed in {:.1} s", changed.time.as_secs_f64()));
    let (operator, restarted, rewritten) = life::restarted(scene, operator, program, *plugins).await?;
    progress.say(&format!("{} objects were written after a restart", rewritten.len()));
    let foreign = foreign::make(scene, *plugins).await?;
    progress.say(&format!("{foreign} other objects are there"));
    let (operator, beside, _) = life::restarted(scene, operator, program, *plugins).await?;
    progress.say("the operator was restarted beside them");
    let told = push::pushed(scene, &operator, measurement.changes).await?;
    progress.say(&told.in_words());
    // The last of all: what is told above is told of one operator alone.
    let Takeover { led, acted } =
        takeover::taken_over(scene, operator, program, (*plugins, measurement.changes)).await?;
    progress.say(&acted.in_words());
    let measured = Measured {
        plugins: *plugins,
        made,
        steady,
        changed,
        others: others.into_iter().collect(),
        restarted,
        rewritten,
        beside,
        foreign,
        promises: vec![told, acted],
        led,
        bare: None,
    };
    Ok((measured, objects))
}

/// What else the machine had to do: tasks that ran or waited, in the last minute.
fn load_average() -> Result<String, FleetError> {
    let path = PathBuf::from("/proc/loadavg");
    let text = fs::read_to_string(&path).map_err(|source| FleetError::Read { path, source })?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

fn write_page(measurement: &Measurement, load: &str, measured: &Measured) -> Result<(), FleetError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let circumstances = Circumstances::gather(&root).map_err(FleetError::Circumstances)?;
    let built = if cfg!(debug_assertions) {
        "without optimisations"
    } else {
        "as it is shipped"
    };
    let text = format!(
        "# Figures of the operator\n\nWritten by `make bench ONLY=operator`, with {} plugins, the operator built {built}. Before, {load} tasks ran or waited on the \
         machine: with more than a few the times say nothing. [What they mean](../operate.md#how-much-it-takes).\n\n{}{}",
        measurement.plugins,
        circumstances.table("make bench ONLY=operator"),
        measured.tables()
    );
    let path = root.join(PAGE);
    fs::write(&path, text).map_err(|source| FleetError::Write { path, source })
}

/// What is left of a closed terminal is no reason to stop.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
