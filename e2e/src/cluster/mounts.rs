//! What a node sees of the host's files: all of it, but for the places that its servers write to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Folders that every host has and that servers write below. Each becomes empty and the node's own.
const OWN: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// The kubelet sets these, and they are the whole host's. It is shown that they already are what it wants, and so
/// leaves them alone. None of them changes how pods run, but for the host's limits of memory and keys, which are the
/// host's to set.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("failed to mount {}", target.display())]
    Mount { target: PathBuf, source: Errno },
    #[error("failed to prepare the mount point {}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
}

/// Makes the node's view. `dir` is the cluster's folder, `cache` the whole cache; both stay where they are.
pub(super) fn set_up(cache: &Path, dir: &Path) -> Result<(), MountError> {
    // First of all: nothing done below may reach the host.
    change(Path::new("/"), MsFlags::MS_PRIVATE | MsFlags::MS_REC)?;
    let hidden = OWN.iter().any(|own| cache.starts_with(own));
    let aside = Path::new("/mnt");
    if hidden {
        bind(cache, aside)?;
    }
    for own in OWN {
        tmpfs(Path::new(own))?;
    }
    if hidden {
        make_dir(cache)?;
        bind(aside, cache)?;
        umount2(aside, MntFlags::MNT_DETACH).map_err(|source| MountError::Mount {
            target: aside.to_path_buf(),
            source,
        })?;
    }
    // On disk: images and volumes may be larger than memory.
    for name in ["containerd", "kubelet"] {
        let (kept, seen) = (dir.join(name), Path::new("/var/lib").join(name));
        make_dir(&kept)?;
        make_dir(&seen)?;
        bind(&kept, &seen)?;
    }
    // Containers get at volumes that the kubelet mounts after they were started.
    change(Path::new("/var/lib/kubelet"), MsFlags::MS_SHARED)?;
    show_sysctls()
}

fn show_sysctls() -> Result<(), MountError> {
    let shown = Path::new("/run/sysctl");
    for (name, value) in SYSCTLS {
        let target = Path::new("/proc/sys").join(name);
        if !target.exists() {
            continue;
        }
        let file = shown.join(name);
        make_dir(file.parent().unwrap_or(shown))?;
        fs::write(&file, value).map_err(|source| MountError::Prepare {
            path: file.clone(),
            source,
        })?;
        bind(&file, &target)?;
    }
    Ok(())
}

fn tmpfs(target: &Path) -> Result<(), MountError> {
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).map_err(|source| {
        MountError::Mount {
            target: target.to_path_buf(),
            source,
        }
    })
}

fn bind(from: &Path, target: &Path) -> Result<(), MountError> {
    mount(
        Some(from),
        target,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .map_err(|source| MountError::Mount {
        target: target.to_path_buf(),
        source,
    })
}

fn change(target: &Path, flags: MsFlags) -> Result<(), MountError> {
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>).map_err(|source| MountError::Mount {
        target: target.to_path_buf(),
        source,
    })
}

fn make_dir(path: &Path) -> Result<(), MountError> {
    fs::create_dir_all(path).map_err(|source| MountError::Prepare {
        path: path.to_path_buf(),
        source,
    })
}
