//! The package of a plugin, which anybody may have made.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use kite_plugin::archive::{self, Limits};

/// Enough for whatever a fuzzer makes, and few enough to be fast.
const LIMITS: Limits = Limits {
    total: 1 << 20,
    file: 1 << 18,
    entries: 64,
};

/// What is read has no path that leads anywhere else. The first byte says whether the rest is compressed here, without which next
/// to nothing that is made up would be reached.
pub(crate) fn read(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let package = if first % 2 == 0 {
        archive::read_within(rest, LIMITS)
    } else {
        archive::read_within(compressed(rest).as_slice(), LIMITS)
    };
    let Ok(package) = package else { return };
    let leads_elsewhere = |path: &str| path.split('/').any(|part| matches!(part, "" | "." | ".."));
    assert!(
        !package.web.keys().any(|path| leads_elsewhere(path)),
        "{:?}",
        package.web.keys()
    );
    assert!(package.document.contains("@sha256:"));
}

fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}
