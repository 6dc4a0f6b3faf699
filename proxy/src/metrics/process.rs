//! What the kernel says of this process.

use std::fs;

/// What it uses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
}

impl Process {
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let files = fs::read_dir("/proc/self/fd").map(|files| files.count() as u64);
        Self {
            resident_bytes: resident(&status),
            open_files: files.ok(),
        }
    }
}

/// Of the line `VmRSS:    1234 kB` of proc(5).
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_kernel_says() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(resident("VmRSS:\t x kB"), None);
        let now = Process::now();
        assert!(now.resident_bytes.is_some_and(|bytes| bytes > 1024 * 1024), "{now:?}");
        assert!(now.open_files.is_some_and(|files| files > 2), "{now:?}");
    }
}
