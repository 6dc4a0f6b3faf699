//! The cgroups of a node: a folder of its own in every hierarchy, so that all of them can be removed afterwards.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::wait_until;
use super::layout::Layout;

/// How long the processes of a killed node may take to leave their cgroups.
const LEAVE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    #[error("failed to read the mounts of this host")]
    Mounts(#[source] io::Error),
    #[error("failed to make the cgroup {}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("failed to remove the cgroup {}: its processes did not end", path.display())]
    Remove { path: PathBuf },
}

struct Hierarchy {
    mount: PathBuf,
    /// Version 2 has all controllers in one tree.
    unified: bool,
}

/// Makes the node's cgroup in every hierarchy that can hold one.
pub(super) fn make(layout: &Layout) -> Result<(), CgroupError> {
    let all = hierarchies()?;
    // Beside version 1, the version 2 tree has no controllers: nothing is put into it.
    let only_unified = all.iter().all(|hierarchy| hierarchy.unified);
    for hierarchy in all.iter().filter(|hierarchy| hierarchy.unified == only_unified) {
        let path = hierarchy.mount.join(layout.cgroup());
        make_one(hierarchy, &path).map_err(|source| CgroupError::Make { path, source })?;
    }
    Ok(())
}

fn make_one(hierarchy: &Hierarchy, path: &Path) -> io::Result<()> {
    if let Err(error) = fs::create_dir(path)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    if hierarchy.unified {
        let controllers = fs::read_to_string(path.join("cgroup.controllers"))?;
        let enable: Vec<String> = controllers.split_whitespace().map(|name| format!("+{name}")).collect();
        return fs::write(path.join("cgroup.subtree_control"), enable.join(" "));
    }
    // A new cpuset of version 1 is empty, and no process can enter it.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let parent = hierarchy.mount.join(file);
        if parent.exists() {
            fs::write(path.join(file), fs::read(parent)?)?;
        }
    }
    Ok(())
}

/// Removes the node's cgroups, of whatever depth.
pub(super) fn remove(layout: &Layout) -> Result<(), CgroupError> {
    for hierarchy in hierarchies()? {
        let path = hierarchy.mount.join(layout.cgroup());
        // Killed processes leave a little later.
        let gone = wait_until(LEAVE, || {
            remove_tree(&path);
            (!path.exists()).then_some(())
        });
        if gone.is_none() {
            return Err(CgroupError::Remove { path });
        }
    }
    Ok(())
}

/// Deepest first, as a cgroup with children cannot be removed. What fails is tried again by the caller.
fn remove_tree(path: &Path) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

fn hierarchies() -> Result<Vec<Hierarchy>, CgroupError> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(CgroupError::Mounts)?;
    Ok(parse(&mounts))
}

fn parse(mounts: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(mount), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        if matches!(kind, "cgroup" | "cgroup2") {
            found.push(Hierarchy {
                mount: PathBuf::from(mount),
                unified: kind == "cgroup2",
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "proc /proc proc rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found: Vec<_> = parse(mounts).into_iter().map(|h| (h.mount, h.unified)).collect();
        assert_eq!(
            found,
            [
                ("/sys/fs/cgroup/cpu".into(), false),
                ("/sys/fs/cgroup/unified".into(), true)
            ]
        );
    }
}
