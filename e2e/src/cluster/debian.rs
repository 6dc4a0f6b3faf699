//! What is taken from Debian, unpacked into the cache and not installed: the parts of a node (containerd, runc, CNI plugins,
//! iptables) with skopeo, which checks images; and what the gateway is measured with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::command::{CommandError, run, run_logged};
use super::layout::{Layout, hex};
use super::progress::Progress;
use super::state::{Lock, StateError, fresh_half, remove_dir};

/// The packages of a node.
pub(super) const NODE: &[&str] = &[
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "conntrack",
    "iproute2",
    "skopeo",
];

/// What the gateway is compared with, what loads both, and what makes the network for it.
const LOAD: &[&str] = &["nginx", "wrk", "nghttp2-client", "iproute2"];

/// What every Debian has, and what must not be mixed with the host's own: its loader goes with its C library.
const HOSTS_OWN: [&str; 8] = [
    "libc6",
    "libc-bin",
    "libcrypt1",
    "libgcc-s1",
    "debconf",
    "dpkg",
    "tar",
    "perl-base",
];

#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    #[error("failed to prepare {}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error("failed to read the list of packages")]
    Update(#[source] CommandError),
    #[error("failed to download the packages")]
    Download(#[source] CommandError),
    #[error("failed to unpack {}", path.display())]
    Unpack { path: PathBuf, source: CommandError },
    #[error("failed to prepare the folder of packages")]
    State(#[from] StateError),
}

/// A folder that looks like the root of a Debian with only our packages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Debian {
    root: PathBuf,
}

impl Debian {
    /// Programs of these folders come before the host's.
    pub(super) fn path(&self) -> String {
        let own = ["usr/sbin", "usr/bin", "sbin", "bin"].map(|dir| self.root.join(dir).display().to_string());
        format!(
            "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            own.join(":")
        )
    }

    pub(super) fn libraries(&self) -> String {
        ["usr/lib", "lib"]
            .map(|dir| self.root.join(dir).join(triplet()).display().to_string())
            .join(":")
    }

    pub(super) fn xtables(&self) -> PathBuf {
        self.root.join("usr/lib").join(triplet()).join("xtables")
    }

    pub(super) fn cni(&self) -> PathBuf {
        self.root.join("usr/lib/cni")
    }

    /// The program of that name here, or by the search path of whoever starts it.
    pub fn program(&self, name: &str) -> PathBuf {
        let found = ["usr/sbin", "usr/bin", "sbin", "bin"].map(|dir| self.root.join(dir).join(name));
        found
            .into_iter()
            .find(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from(name))
    }

    /// A command that finds these programs and their libraries, and nothing of the caller's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.program(program));
        command
            .env_clear()
            .env("PATH", self.path())
            .env("LD_LIBRARY_PATH", self.libraries());
        command
    }
}

/// The parts as the cache has them; where it has not, the host's own programs take their place.
pub(super) fn at_hand(layout: &Layout, packages: &[&str]) -> Debian {
    Debian {
        root: layout.cache().join("debian").join(key(packages)),
    }
}

/// Finds what the gateway is measured with in the cache, or fetches it: nginx, wrk, h2load and ip.
pub fn load_tools(layout: &Layout) -> Result<Debian, DebianError> {
    debian(layout, LOAD, &Progress::start())
}

/// Finds the parts in the cache, or fetches them.
pub(super) fn debian(layout: &Layout, packages: &[&str], progress: &Progress) -> Result<Debian, DebianError> {
    let all = layout.cache().join("debian");
    let done = at_hand(layout, packages).root;
    if !done.exists() {
        let _lock = Lock::take(&all.join("lock"), progress)?;
        if !done.exists() {
            fetch(&all, &done, packages, progress)?;
        }
    }
    Ok(Debian { root: done })
}

fn fetch(all: &Path, done: &Path, packages: &[&str], progress: &Progress) -> Result<(), DebianError> {
    let half = fresh_half(all, "debian")?;
    let prepare = |path: PathBuf| fs::create_dir_all(&path).map_err(|source| DebianError::Prepare { path, source });
    for dir in ["lists/partial", "cache/archives/partial", "root", "tmp"] {
        prepare(half.join(dir))?;
    }
    let config = half.join("apt.conf");
    for (path, text) in [(&config, apt_config(&half)), (&half.join("status"), String::new())] {
        fs::write(path, text).map_err(|source| DebianError::Prepare {
            path: path.clone(),
            source,
        })?;
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .arg("-c")
            .arg(&config)
            .args(args)
            .env("LC_ALL", "C")
            .env("TMPDIR", half.join("tmp"));
        command
    };
    progress.say("debian: reading the list of packages");
    let log = half.join("log");
    run_logged(progress, "debian", &apt(&["update"]), &log).map_err(DebianError::Update)?;
    progress.say(&format!("debian: downloading {}", packages.join(", ")));
    let mut install = apt(&["install", "--yes", "--download-only", "--no-install-recommends"]);
    install.args(packages);
    run_logged(progress, "debian", &install, &log).map_err(DebianError::Download)?;
    unpack(&half)?;
    let keep = |source| DebianError::Prepare {
        path: done.to_path_buf(),
        source,
    };
    fs::rename(half.join("root"), done).map_err(keep)?;
    remove_dir(&half)?;
    progress.say("debian: unpacked");
    Ok(())
}

/// Everything that apt reads about the host's packages or writes anywhere is turned into `half`; hooks that a host
/// has set up (they empty its own caches, for one) are left out.
fn apt_config(half: &Path) -> String {
    let half = half.display();
    format!(
        "Dir::State::Lists \"{half}/lists\";\n\
         Dir::State::status \"{half}/status\";\n\
         Dir::State::extended_states \"{half}/extended_states\";\n\
         Dir::Cache \"{half}/cache\";\n\
         Dir::Cache::archives \"{half}/cache/archives\";\n\
         Dir::Cache::pkgcache \"\";\n\
         Dir::Cache::srcpkgcache \"\";\n\
         Dir::Log \"{half}\";\n\
         Debug::NoLocking \"true\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         #clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear DPkg::Pre-Install-Pkgs;\n\
         #clear DPkg::Pre-Invoke;\n\
         #clear DPkg::Post-Invoke;\n"
    )
}

fn unpack(half: &Path) -> Result<(), DebianError> {
    let archives = half.join("cache/archives");
    let listed = fs::read_dir(&archives).map_err(|source| DebianError::Prepare {
        path: archives.clone(),
        source,
    })?;
    for path in listed.filter_map(Result::ok).map(|entry| entry.path()) {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_wanted(&file) {
            run(Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&path)
                .arg(half.join("root")))
            .map_err(|source| DebianError::Unpack { path, source })?;
        }
    }
    Ok(())
}

fn is_wanted(file: &str) -> bool {
    let package = file.split('_').next().unwrap_or_default();
    let is_package = Path::new(file).extension().is_some_and(|end| end == "deb");
    is_package && !HOSTS_OWN.contains(&package) && !package.starts_with("gcc-")
}

fn triplet() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// The packages belong to one release of one distribution.
fn key(packages: &[&str]) -> String {
    let release = fs::read("/etc/os-release").unwrap_or_default();
    let release = String::from_utf8_lossy(&release);
    let release: Vec<&str> = release
        .lines()
        .filter(|line| line.starts_with("ID=") || line.starts_with("VERSION_CODENAME="))
        .collect();
    let whole = format!("{release:?}{packages:?}{HOSTS_OWN:?}{}", std::env::consts::ARCH);
    hex(&Sha256::digest(whole), 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_has_is_left_out() {
        for file in ["libc6_2.36-9_amd64.deb", "gcc-12-base_12_amd64.deb", "lock", "partial"] {
            assert!(!is_wanted(file), "{file}");
        }
        assert!(is_wanted("libcap2_1%3a2.66-4_amd64.deb"));
        assert!(is_wanted("containerd_1.6.20~ds1-1_amd64.deb"));
    }

    #[test]
    fn apt_writes_only_below_its_folder() {
        let config = apt_config(Path::new("/cache/half"));
        for line in config.lines().filter(|line| line.contains('/')) {
            assert!(line.contains("\"/cache/half"), "{line}");
        }
    }
}
