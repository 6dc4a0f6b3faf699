//! What a plugin notes of the settings that it is told: written by the process that is every plugin, and read by the one that measures.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::IpAddr,
};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The one plugin that can be told settings. All others need none, so that what they take is what they took before there was this one.
pub(super) const PLUGIN: &str = "fleet-told";

/// Its settings.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Settings {
    /// Which change it is.
    pub(super) change: u16,
}

/// That a pod was told settings.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Told {
    pub(super) at: Timestamp,
    /// The pod's address.
    pub(super) pod: IpAddr,
    pub(super) settings: Settings,
}

impl Told {
    /// Notes it on standard output, a line for each.
    pub(super) fn note(&self) -> io::Result<()> {
        let mut line = serde_json::to_string(self)?;
        line.push('\n');
        io::stdout().write_all(line.as_bytes())
    }
}

/// When each pod was told this change for the first time, by the notes among what was written.
pub(super) fn firsts(written: &str, change: u16) -> BTreeMap<IpAddr, Timestamp> {
    let mut firsts = BTreeMap::new();
    // The last line may be one that is just being written.
    let lines = written.lines();
    let notes = lines.filter_map(|line| serde_json::from_str::<Told>(line).ok());
    for told in notes.filter(|told| told.settings.change == change) {
        firsts.entry(told.pod).or_insert(told.at);
    }
    firsts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u8, pod: u8, change: u16) -> String {
        let told = Told {
            at: format!("2026-01-12T09:31:0{second}Z").parse().unwrap(),
            pod: [10, 77, 0, pod].into(),
            settings: Settings { change },
        };
        serde_json::to_string(&told).unwrap()
    }

    #[test]
    fn each_pod_counts_from_when_it_was_told_a_change_first() {
        let lines = [
            line(1, 1, 1),
            line(2, 1, 2),
            String::from("something else"),
            line(3, 2, 2),
            line(4, 1, 2),
            line(5, 3, 2)[..30].to_owned(),
        ];
        let firsts = firsts(&lines.join("\n"), 2);
        let seconds: Vec<String> = firsts.iter().map(|(pod, at)| format!("{pod} {at}")).collect();
        assert_eq!(
            seconds,
            ["10.77.0.1 2026-01-12T09:31:02Z", "10.77.0.2 2026-01-12T09:31:03Z"]
        );
    }
}
