//! The page of figures. Pure: from what was measured to text.

use std::fmt::Write as _;

use super::{
    memory::{self, MIB, Streams, Transfer},
    others::{self, Offended, Round},
    side::Kind,
    task::Task,
    throughput::{Cell, Row, Sample},
};
use crate::spread::Spread;

/// How many times as many small requests as nginx a gateway should answer, and how much of nginx's p99 that may take.
const RATE_AIM: f64 = 1.2;
const P99_AIM: f64 = 0.8;

/// Between these a summary stands in a page that people have written.
const BEGIN: &str = "<!-- Written by `make bench ONLY=gateway`. -->";
const END: &str = "<!-- The end of what is written by a program. -->";

/// All that was measured; what was not asked for is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) cells: Vec<Cell>,
    pub(super) transfers: Vec<Transfer>,
    pub(super) streams: Vec<Streams>,
    pub(super) offended: Vec<Offended>,
}

impl Measured {
    /// The bounds that were not kept, in words; those of times are stretched by `patience`. Aims are not bounds.
    pub(super) fn broken(&self, patience: f64) -> Vec<String> {
        let transfers = self
            .transfers
            .iter()
            .filter(|transfer| transfer.over_idle() > memory::MOST);
        let transfers = transfers.map(|it| {
            let (over, most) = (it.over_idle() / MIB, memory::MOST / MIB);
            format!(
                "{}: {over} MiB over idle memory {}, more than {most}",
                it.kind, it.direction
            )
        });
        let slowed = self.offended.iter().filter_map(|it| {
            let ratio = it.of_elsewhere()?;
            let text = format!(
                "{}: others' p99 is {ratio} of what it is while one {} through another gateway",
                it.kind, it.offence
            );
            (ratio.median > others::MOST * patience).then_some(text)
        });
        let failed = self.offended.iter().filter(|it| it.failed > 0);
        let failed = failed.map(|it| {
            format!(
                "{}: {} others' requests failed where one {}",
                it.kind, it.failed, it.offence
            )
        });
        transfers.chain(slowed).chain(failed).collect()
    }

    /// All tables.
    pub(super) fn tables(&self) -> String {
        let mut page = String::new();
        if !self.cells.is_empty() {
            throughput(&mut page, &self.cells);
        }
        page + &self.summary()
    }

    /// The tables that say whether aims and bounds were kept. Writing to a String does not fail, so that what it says is not looked at.
    pub(super) fn summary(&self) -> String {
        let mut page = String::new();
        if !self.cells.is_empty() {
            aims(&mut page, &self.cells);
        }
        if !self.transfers.is_empty() {
            transfers(&mut page, &self.transfers);
        }
        if !self.streams.is_empty() {
            streams(&mut page, &self.streams);
        }
        if !self.offended.is_empty() {
            offended(&mut page, &self.offended);
        }
        page
    }
}

/// A page in which the summary stands in the place of the one that stood there, if the page has such a place.
pub(super) fn with_summary(page: &str, summary: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{summary}\n{END}{after}"))
}

fn text(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| spread.to_string())
}

fn throughput(page: &mut String, cells: &[Cell]) {
    for task in Task::ALL {
        let _ = write!(
            page,
            "\n## {}\n\n| connections | side | requests/s | p50 ms | p99 ms | CPU µs | memory MiB | failed |\n\
             |---|---|---|---|---|---|---|---|\n",
            task.title()
        );
        for cell in cells.iter().filter(|cell| cell.task == task) {
            for row in &cell.rows {
                let figures: [fn(&Sample) -> f64; 5] =
                    [Sample::rate, Sample::p50, Sample::p99, Sample::cpu, Sample::memory];
                let figures = figures.map(|figure| text(row.spread(figure))).join(" | ");
                let _ = writeln!(
                    page,
                    "| {} | {} | {figures} | {} |",
                    cell.clients,
                    row.kind,
                    row.failed()
                );
            }
        }
    }
}

/// The gateways' figures as multiples of nginx's in the same round.
fn aims(page: &mut String, cells: &[Cell]) {
    page.push_str(
        "\n## The gateway as a multiple of nginx in the same round\n\n\
         | request | connections | side | beside | requests/s | p99 | CPU | aim |\n|---|---|---|---|---|---|---|---|\n",
    );
    for cell in cells {
        let gateways = cell.rows.iter().filter(|row| matches!(row.kind, Kind::Gateway(_)));
        for gateway in gateways {
            for kind in [Kind::Plain, Kind::Front, Kind::Both] {
                let Some(nginx) = cell.row(&kind) else { continue };
                let to = |figure| text(gateway.to(nginx, figure));
                let (rate, p99, cpu) = (to(Sample::rate), to(Sample::p99), to(Sample::cpu));
                let aim = aim(cell.task, gateway, nginx);
                let (request, clients) = (cell.task.name(), cell.clients);
                let _ = writeln!(
                    page,
                    "| {request} | {clients} | {} | {kind} | {rate} | {p99} | {cpu} | {aim} |",
                    gateway.kind
                );
            }
        }
    }
}

/// What is aimed at beside this nginx, and whether it is reached.
fn aim(task: Task, gateway: &Row, nginx: &Row) -> String {
    let median = |figure| gateway.to(nginx, figure).map_or(f64::NAN, |spread| spread.median);
    let (rate, p99) = (median(Sample::rate), median(Sample::p99));
    let verdict = |reached| if reached { "reached" } else { "missed" };
    match (task, &nginx.kind) {
        (Task::Small, Kind::Plain) => format!(
            "{RATE_AIM}×: {}; p99 at most {P99_AIM}×: {}",
            verdict(rate >= RATE_AIM),
            verdict(p99 <= P99_AIM)
        ),
        (Task::Echo, Kind::Both) => format!("no slower: {}", verdict(rate >= 1.0)),
        _ => String::new(),
    }
}

fn transfers(page: &mut String, transfers: &[Transfer]) {
    let most = memory::MOST / MIB;
    let _ = write!(
        page,
        "\n## Much in one body\n\nAt most {most} MiB over idle memory.\n\n\
         | side | direction | MiB | MiB/s | idle MiB | most MiB | over idle MiB |\n|---|---|---|---|---|---|---|\n"
    );
    for transfer in transfers {
        let mib = |bytes: u64| bytes / MIB;
        let rate = u128::from(mib(transfer.bytes)) * 1000 / transfer.time.as_millis().max(1);
        let _ = writeln!(
            page,
            "| {} | {} | {} | {rate} | {} | {} | {} |",
            transfer.kind,
            transfer.direction,
            mib(transfer.bytes),
            mib(transfer.idle),
            mib(transfer.peak),
            mib(transfer.over_idle())
        );
    }
}

fn streams(page: &mut String, streams: &[Streams]) {
    page.push_str(
        "\n## Event streams on which nothing happens\n\n\
         | side | over | streams | MiB without | MiB with | KiB each |\n|---|---|---|---|---|---|\n",
    );
    for it in streams {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {:.1} |",
            it.kind,
            it.version,
            it.count,
            it.without / MIB,
            it.with / MIB,
            it.each() / 1024.0
        );
    }
}

fn offended(page: &mut String, offended: &[Offended]) {
    let _ = write!(
        page,
        "\n## Beside a plugin that offends\n\nRequests at a steady rate to another plugin; their p99 is to be at most {}× of what it is \
         while the same offence goes through another gateway, in the median of the rounds.\n\n\
         | side | the offender | p99 ms alone | p99 ms, offender by another gateway | p99 ms beside | of alone | of another gateway | \
         others' failed | offender's answers and pieces |\n\
         |---|---|---|---|---|---|---|---|---|\n",
        others::MOST
    );
    for it in offended {
        let p99 = |of: fn(&Round) -> f64| text(Spread::of(it.rounds.iter().map(of)));
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            it.kind,
            it.offence,
            p99(|round| round.alone),
            p99(|round| round.elsewhere),
            p99(|round| round.beside),
            text(it.of_alone()),
            text(it.of_elsewhere()),
            it.failed,
            it.got
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::{generator::Clients, throughput::tests::row};

    fn measured() -> Measured {
        let gateway = Kind::Gateway(String::new());
        let cell = |task| Cell {
            task,
            clients: Clients::Http1(32),
            rows: vec![
                row(gateway.clone(), &[240, 120]),
                row(Kind::Plain, &[100, 100]),
                row(Kind::Both, &[300, 300]),
            ],
        };
        let transfer = Transfer {
            kind: gateway.clone(),
            direction: "up",
            bytes: 1024 * MIB,
            time: Duration::from_secs(2),
            idle: 10 * MIB,
            peak: 30 * MIB,
        };
        let streams = Streams {
            kind: gateway.clone(),
            version: "HTTP/1.1",
            count: 1024,
            without: 10 * MIB,
            with: 42 * MIB,
        };
        let round = |(alone, elsewhere, beside)| Round {
            alone,
            elsewhere,
            beside,
        };
        let offended = Offended {
            kind: gateway.clone(),
            offence: "hangs",
            rounds: [(1.0, 2.0, 2.0), (1.0, 2.0, 3.0), (1.0, 1.0, 2.0)].map(round).into(),
            failed: 0,
            got: 7,
        };
        Measured {
            cells: vec![cell(Task::Small), cell(Task::Echo)],
            transfers: vec![transfer],
            streams: vec![streams],
            offended: vec![offended],
        }
    }

    #[test]
    fn the_tables_say_all_that_was_measured() {
        insta::assert_snapshot!(measured().tables());
        assert_eq!(Measured::default().tables(), "");
    }

    #[test]
    fn a_summary_takes_the_place_of_the_one_before() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let expected = format!("a\n{BEGIN}\nnew\n{END}\nb\n");
        assert_eq!(with_summary(&page, "new"), Some(expected));
        assert_eq!(with_summary("a", "new"), None);
        let written = include_str!("../../../docs/performance.md");
        assert!(with_summary(written, "new").is_some());
    }

    #[test]
    fn each_bound_that_is_broken_is_told() {
        assert!(measured().broken(1.0).is_empty());
        let broken = |spoil: fn(&mut Measured)| {
            let mut measured = measured();
            spoil(&mut measured);
            measured.broken(1.0).len()
        };
        assert_eq!(broken(|it| it.transfers[0].peak = 75 * MIB), 1);
        assert_eq!(broken(|it| it.offended[0].rounds[0].beside = 4.0), 1);
        assert_eq!(broken(|it| it.offended[0].failed = 1), 1);
        let mut slow = measured();
        slow.offended[0].rounds[0].beside = 4.0;
        assert!(slow.broken(3.0).is_empty());
    }
}
