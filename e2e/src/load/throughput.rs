//! How many requests a gateway answers, how soon, and what that takes, beside nginx in the same rounds.

use std::time::Duration;

use super::{
    LoadError,
    generator::{Clients, Generator, Sent},
    scene::Scene,
    side::{Kind, Side},
    task::Task,
};
use crate::{cluster::Progress, spread::Spread};

/// How long and how often.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    pub(super) seconds: u32,
    pub(super) count: usize,
    pub(super) clients: Vec<Clients>,
}

impl Rounds {
    /// Of the whole measurement.
    pub(super) const CLIENTS: [Clients; 5] = [
        Clients::Http1(1),
        Clients::Http1(32),
        Clients::Http1(256),
        Clients::Http1(1000),
        Clients::Http2,
    ];
    /// Of a try.
    pub(super) const FEW: [Clients; 2] = [Clients::Http1(8), Clients::Http2];
}

/// One side in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) sent: Sent,
    /// The time of the proxy's processes for all of it.
    pub(super) cpu: Duration,
    /// Bytes that they had in memory at the end of it.
    pub(super) resident: u64,
}

/// One side in all rounds.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) samples: Vec<Sample>,
}

/// All sides, for one kind of request and as many clients.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) task: Task,
    pub(super) clients: Clients,
    pub(super) rows: Vec<Row>,
}

#[expect(clippy::cast_precision_loss, reason = "figures of three digits are made of them")]
impl Sample {
    /// Requests a second.
    pub(super) fn rate(&self) -> f64 {
        self.sent.requests as f64 / self.sent.time.as_secs_f64()
    }

    /// Microseconds of the proxy for each request.
    pub(super) fn cpu(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.sent.requests as f64
    }

    /// Milliseconds.
    pub(super) fn p50(&self) -> f64 {
        self.sent.p50.as_secs_f64() * 1e3
    }

    /// Milliseconds.
    pub(super) fn p99(&self) -> f64 {
        self.sent.p99.as_secs_f64() * 1e3
    }

    /// MiB.
    pub(super) fn memory(&self) -> f64 {
        self.resident as f64 / f64::from(1 << 20)
    }
}

impl Row {
    /// What the rounds say together of one figure.
    pub(super) fn spread(&self, figure: fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.samples.iter().map(figure))
    }

    /// A figure as a multiple of another row's in the same round.
    pub(super) fn to(&self, other: &Self, figure: fn(&Sample) -> f64) -> Option<Spread> {
        let rounds = self.samples.iter().zip(&other.samples);
        Spread::of(rounds.map(|(own, others)| figure(own) / figure(others)))
    }

    pub(super) fn failed(&self) -> u64 {
        self.samples.iter().map(|sample| sample.sent.failed).sum()
    }
}

impl Cell {
    pub(super) fn row(&self, kind: &Kind) -> Option<&Row> {
        self.rows.iter().find(|row| row.kind == *kind)
    }
}

/// Measures all kinds of requests with all numbers of clients. The sides take turns in each round, so that what disturbs one
/// disturbs all.
pub(super) fn measure(
    scene: &Scene<'_>,
    generator: &Generator,
    rounds: &Rounds,
    progress: &Progress,
) -> Result<Vec<Cell>, LoadError> {
    let mut cells = Vec::new();
    for task in Task::ALL {
        for clients in &rounds.clients {
            let cell = cell(scene, generator, rounds, task, *clients)?;
            progress.say(&summary(&cell));
            cells.push(cell);
        }
    }
    Ok(cells)
}

fn cell(
    scene: &Scene<'_>,
    generator: &Generator,
    rounds: &Rounds,
    task: Task,
    clients: Clients,
) -> Result<Cell, LoadError> {
    let sides: Vec<_> = scene.sides().collect();
    let row = |(side, _): &(&Side, _)| Row {
        kind: side.kind.clone(),
        samples: Vec::new(),
    };
    let mut rows: Vec<Row> = sides.iter().map(row).collect();
    for round in 0..rounds.count {
        // Each is the first at times.
        let mut order: Vec<_> = rows.iter_mut().zip(&sides).collect();
        let turn = round % order.len();
        order.rotate_left(turn);
        for (row, (side, process)) in order {
            let before = process.cpu()?;
            let sent = generator.send(task, clients, side, rounds.seconds)?;
            row.samples.push(Sample {
                sent,
                cpu: process.cpu()?.saturating_sub(before),
                resident: process.resident()?,
            });
            scene.empty_logs()?;
        }
    }
    Ok(Cell { task, clients, rows })
}

/// A line for whoever waits.
fn summary(cell: &Cell) -> String {
    let sides = cell.rows.iter().map(|row| {
        let rate = row.spread(Sample::rate).map_or(0.0, |rate| rate.median);
        let cpu = row.spread(Sample::cpu).map_or(0.0, |cpu| cpu.median);
        format!("{} {rate:.0}/s at {cpu:.1} µs", row.kind)
    });
    let sides: Vec<String> = sides.collect();
    format!("{}, {}: {}", cell.task.name(), cell.clients, sides.join("; "))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// So many requests of a second, with times that differ as much.
    pub(in crate::load) fn row(kind: Kind, requests: &[u64]) -> Row {
        let sample = |requests: &u64| Sample {
            sent: Sent {
                requests: *requests,
                time: Duration::from_secs(1),
                p50: Duration::from_micros(*requests),
                p99: Duration::from_micros(10 * requests),
                failed: 1,
            },
            cpu: Duration::from_millis(50),
            resident: 3 << 20,
        };
        Row {
            kind,
            samples: requests.iter().map(sample).collect(),
        }
    }

    #[test]
    fn a_ratio_is_of_the_same_round() {
        let (own, other) = (row(Kind::Plain, &[200, 100, 400]), row(Kind::Both, &[100, 50, 100]));
        let ratio = own.to(&other, Sample::rate).unwrap();
        assert_eq!((ratio.median, ratio.least, ratio.most), (2.0, 2.0, 4.0));
        assert!((own.spread(Sample::cpu).unwrap().median - 250.0).abs() < 1e-9);
        assert_eq!(own.failed(), 3);
    }
}
