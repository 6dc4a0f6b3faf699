//! The page of figures. Pure: from what was measured to text.

use std::{fmt::Write as _, time::Duration};

use super::{
    operator::Took,
    promise::{self, Promise},
};

const MB: u64 = 1_000_000;
/// How many times as long as the bare client the operator may take, and how many bytes.
const TIME_AIM: f64 = 1.3;
const MEMORY_AIM: u64 = 60 * MB;

/// What a bare client took for the same objects.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bare {
    pub(super) time: Duration,
    pub(super) objects: usize,
}

/// All that was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) plugins: usize,
    pub(super) made: Took,
    pub(super) steady: Took,
    pub(super) changed: Took,
    /// What was written that is not of the plugin that was changed.
    pub(super) others: Vec<String>,
    pub(super) restarted: Took,
    /// The objects that differ after that.
    pub(super) rewritten: Vec<String>,
    /// A restart beside so many objects of others.
    pub(super) beside: Took,
    pub(super) foreign: usize,
    pub(super) promises: Vec<Promise>,
    /// How soon after the leader's end another operator led.
    pub(super) led: Duration,
    pub(super) bare: Option<Bare>,
}

impl Measured {
    /// The bounds that were not kept, in words; those of times are stretched by `patience`. Aims are not bounds.
    pub(super) fn broken(&self, patience: u32) -> Vec<String> {
        let mut broken = Vec::new();
        if self.steady.writes > 0 {
            let first = self.steady.written.join("; ");
            broken.push(format!(
                "{} writes while nothing happened, the first: {first}",
                self.steady.writes
            ));
        }
        if !self.rewritten.is_empty() {
            broken.push(format!("after a restart was written: {}", self.rewritten.join(", ")));
        }
        if !self.others.is_empty() {
            broken.push(format!(
                "one plugin was changed, and written was also: {}",
                self.others.join(", ")
            ));
        }
        broken.extend(self.promises.iter().filter_map(|promise| promise.broken(patience)));
        broken
    }

    /// All tables. Writing to a String does not fail, so that what it says is not looked at.
    pub(super) fn tables(&self) -> String {
        let mut page = String::new();
        self.tell_costs(&mut page);
        self.tell_promises(&mut page);
        self.tell_aims(&mut page);
        page
    }

    fn tell_costs(&self, page: &mut String) {
        let count = self.plugins;
        page.push_str(
            "\n| what happens | s | CPU s | most MB | reads | asked to write | requests per plugin |\n|---|---|---|---|---|---|---|\n",
        );
        for (what, took) in [
            (format!("{count} plugins come, until all are Loaded"), &self.made),
            (String::from("nothing"), &self.steady),
            (
                format!("one of {count} is changed, until its new revision serves"),
                &self.changed,
            ),
            (
                format!("a restart with {count}, until all were looked at"),
                &self.restarted,
            ),
            (
                format!("another, beside {} objects of others of 4 KiB each", self.foreign),
                &self.beside,
            ),
        ] {
            let _ = writeln!(
                page,
                "| {what} | {:.1} | {:.1} | {} | {} | {} | {:.1} |",
                took.time.as_secs_f64(),
                took.cpu.as_secs_f64(),
                took.peak / MB,
                took.reads,
                took.writes,
                per(took.reads + took.writes, count)
            );
        }
        let _ = writeln!(
            page,
            "\nA server-side apply that changes nothing is counted as asked. After the restart {} objects differed.",
            self.rewritten.len()
        );
    }

    fn tell_promises(&self, page: &mut String) {
        let _ = write!(page, "\n{}", promise::HEAD);
        page.extend(self.promises.iter().map(Promise::row));
        let _ = writeln!(
            page,
            "\nThe other operator led {:.1} s after the first was killed.",
            self.led.as_secs_f64()
        );
    }

    fn tell_aims(&self, page: &mut String) {
        let all = [&self.made, &self.steady, &self.changed, &self.restarted, &self.beside];
        let peak = all.map(|took| took.peak);
        let peak = peak.into_iter().max().unwrap_or_default();
        let _ = writeln!(
            page,
            "\nMemory at most {} MB: {}: {} MB at the most.",
            MEMORY_AIM / MB,
            verdict(peak <= MEMORY_AIM),
            peak / MB
        );
        if let Some(bare) = &self.bare {
            let ratio = self.made.time.as_secs_f64() / bare.time.as_secs_f64();
            let _ = writeln!(
                page,
                "\nAt most {TIME_AIM}× the time of a bare client: {}: {ratio:.2}×. That one created the same {} objects in the same order, {} plugins at \
                 once, and waited until every pod was available, which took {:.1} s.",
                verdict(ratio <= TIME_AIM),
                bare.objects,
                super::life::AT_ONCE,
                bare.time.as_secs_f64()
            );
        }
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "missed" }
}

#[expect(clippy::cast_precision_loss, reason = "a figure of three digits is made of them")]
fn per(requests: usize, plugins: usize) -> f64 {
    requests as f64 / plugins.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(what: &str, within: u64, milliseconds: &[u64]) -> Promise {
        Promise {
            what: what.to_owned(),
            within: Duration::from_secs(within),
            times: milliseconds.iter().copied().map(Duration::from_millis).collect(),
        }
    }

    fn measured() -> Measured {
        let took = |time, writes| Took {
            time: Duration::from_secs(time),
            cpu: Duration::from_millis(1500),
            peak: 55 * MB,
            reads: 300,
            writes,
            written: Vec::new(),
        };
        Measured {
            plugins: 100,
            made: took(13, 900),
            steady: took(60, 0),
            changed: took(4, 7),
            others: Vec::new(),
            restarted: took(2, 700),
            rewritten: Vec::new(),
            beside: took(2, 700),
            foreign: 900,
            promises: vec![
                promise("settings change, until they are told", 2, &[120, 80, 310]),
                promise("the leader is killed, until another one acts", 20, &[13_400]),
            ],
            led: Duration::from_millis(12_900),
            bare: Some(Bare {
                time: Duration::from_secs(10),
                objects: 800,
            }),
        }
    }

    #[test]
    fn the_tables_say_all_that_was_measured() {
        insta::assert_snapshot!(measured().tables());
        let mut alone = measured();
        alone.bare = None;
        alone.restarted.peak = 61 * MB;
        let tables = alone.tables();
        assert!(!tables.contains("bare client"));
        assert!(tables.contains("Memory at most 60 MB: missed: 61 MB"), "{tables}");
    }

    #[test]
    fn each_bound_that_is_broken_is_told() {
        assert_eq!(measured().broken(1), [""; 0]);
        let mut broken = measured();
        broken.steady.writes = 2;
        broken.steady.written = vec![String::from("patch")];
        broken.rewritten = vec![String::from("Role a")];
        broken.others = vec![String::from("fleet-0007")];
        broken.promises = vec![promise("settings change, until they are told", 2, &[120, 2500])];
        let first = [
            "2 writes while nothing happened, the first: patch",
            "after a restart was written: Role a",
            "one plugin was changed, and written was also: fleet-0007",
        ];
        let late = "settings change, until they are told: that took 2.50 s, and may take 2 s";
        assert_eq!(broken.broken(1), [first.as_slice(), &[late]].concat());
        assert_eq!(broken.broken(3), first);
    }
}
