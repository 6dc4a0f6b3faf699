//! The cluster's own programs, built from their Go modules once and kept by what they were built from.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::command::{CommandError, run, run_logged};
use super::layout::{Layout, hex};
use super::progress::Progress;
use super::state::{Lock, StateError, fresh_half, remove_dir};

/// Kubernetes takes its version from its linker's command line; without it clients see none.
const KUBERNETES: &str = "v1.34.4";
const HELM: &str = "v3.19.5";

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("failed to read the sources of {}", module.display())]
    Sources { module: PathBuf, source: io::Error },
    #[error("failed to learn the version of Go")]
    Version(#[source] CommandError),
    #[error("failed to build the cluster's programs")]
    Build(#[source] CommandError),
    #[error("failed to keep what was built in {}", path.display())]
    Keep { path: PathBuf, source: io::Error },
    #[error("failed to prepare the folder of programs")]
    State(#[from] StateError),
}

/// The programs of a cluster that run on the host or in the node.
#[derive(Debug, Clone)]
pub struct Tools {
    pub kube: PathBuf,
    pub helm: PathBuf,
    pub coredns: PathBuf,
    pub pause: PathBuf,
    pub registry: PathBuf,
    /// Where kubectl and helm keep what they remember, so that nothing of theirs is left in the home folder.
    home: PathBuf,
}

impl Tools {
    /// `kubectl`, for arguments to be added.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kube);
        command.arg("kubectl").env("KUBECACHEDIR", self.home.join("kube"));
        command
    }

    /// `helm`, for arguments to be added. Nothing of the caller's environment turns it to another cluster or namespace.
    pub fn helm(&self) -> Command {
        let mut command = Command::new(&self.helm);
        for (variable, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HELM_")) {
            command.env_remove(variable);
        }
        for (variable, folder) in [
            ("KUBECACHEDIR", "kube"),
            ("HELM_CACHE_HOME", "helm/cache"),
            ("HELM_CONFIG_HOME", "helm/config"),
            ("HELM_DATA_HOME", "helm/data"),
        ] {
            command.env(variable, self.home.join(folder));
        }
        command
    }
}

struct Module {
    name: &'static str,
    dir: PathBuf,
    packages: &'static [&'static str],
}

/// Finds the programs in the cache, or builds them.
pub(super) fn tools(layout: &Layout, progress: &Progress) -> Result<Tools, BuildError> {
    let kube = Module {
        name: "kubernetes",
        dir: layout.module(),
        packages: &[
            "./cmd/kube",
            "./cmd/pause",
            "helm.sh/helm/v3/cmd/helm",
            "github.com/coredns/coredns",
        ],
    };
    let go = kube.go()?;
    let kube = kube.ready(layout, progress, &go)?;
    Ok(Tools {
        helm: kube.join("helm"),
        coredns: kube.join("coredns"),
        pause: kube.join("pause"),
        kube: kube.join("kube"),
        registry: registry(layout, progress)?,
        home: layout.cache().join("home"),
    })
}

/// Finds the registry server in the cache, or builds it.
pub(super) fn registry(layout: &Layout, progress: &Progress) -> Result<PathBuf, BuildError> {
    let packages = &["github.com/distribution/distribution/v3/cmd/registry"];
    alone("registry", packages, layout, progress)
}

/// Finds buf in the cache, or builds it: it checks the protocol.
pub(super) fn buf(layout: &Layout, progress: &Progress) -> Result<PathBuf, BuildError> {
    alone("buf", &["github.com/bufbuild/buf/cmd/buf"], layout, progress)
}

/// Finds crane in the cache, or builds it: it checks images.
pub(super) fn crane(layout: &Layout, progress: &Progress) -> Result<PathBuf, BuildError> {
    let packages = &["github.com/google/go-containerregistry/cmd/crane"];
    alone("crane", packages, layout, progress)
}

/// Finds h2spec in the cache, or builds it: it speaks HTTP/2 as the standard has it, and as it forbids.
pub(super) fn h2spec(layout: &Layout, progress: &Progress) -> Result<PathBuf, BuildError> {
    let packages = &["github.com/summerwind/h2spec/cmd/h2spec"];
    alone("h2spec", packages, layout, progress)
}

/// Finds the program that judges objects as kstatus and Argo CD do, or builds it.
pub(super) fn judge(layout: &Layout, progress: &Progress) -> Result<PathBuf, BuildError> {
    alone("judge", &["."], layout, progress)
}

/// Finds kwok in the cache, or builds it: it says of pods that they run.
pub(super) fn kwok(layout: &Layout, progress: &Progress) -> Result<PathBuf, BuildError> {
    alone("kwok", &["sigs.k8s.io/kwok/cmd/kwok"], layout, progress)
}

/// A program that is the only one of its module, both of one name.
fn alone(
    name: &'static str,
    packages: &'static [&'static str],
    layout: &Layout,
    progress: &Progress,
) -> Result<PathBuf, BuildError> {
    let module = Module {
        name,
        dir: layout.module().join(name),
        packages,
    };
    let go = module.go()?;
    Ok(module.ready(layout, progress, &go)?.join(name))
}

/// Waits until all files of a folder are on the disk: one that is there by name but empty, after a power cut, would be
/// believed for ever.
fn sync(dir: &Path) -> io::Result<()> {
    fs::read_dir(dir)?.try_for_each(|entry| File::open(entry?.path())?.sync_all())
}

impl Module {
    /// The version of Go that builds it.
    fn go(&self) -> Result<String, BuildError> {
        run(Command::new("go").args(["env", "GOVERSION"]).current_dir(&self.dir)).map_err(BuildError::Version)
    }

    /// The folder that holds the module's programs.
    fn ready(&self, layout: &Layout, progress: &Progress, go: &str) -> Result<PathBuf, BuildError> {
        let all = layout.cache().join("bin");
        let done = all.join(format!("{}-{}", self.name, self.key(go)?));
        if done.exists() {
            return Ok(done);
        }
        let _lock = Lock::take(&all.join("lock"), progress)?;
        // Another checkout's command may have built it while this one waited.
        if !done.exists() {
            self.build(layout, progress, &done)?;
        }
        Ok(done)
    }

    fn build(&self, layout: &Layout, progress: &Progress, done: &Path) -> Result<(), BuildError> {
        let half = fresh_half(&layout.cache().join("bin"), self.name)?;
        let kept = |source| BuildError::Keep {
            path: half.clone(),
            source,
        };
        let (programs, temporary) = (half.join("programs"), half.join("tmp"));
        fs::create_dir_all(&programs).map_err(kept)?;
        fs::create_dir_all(&temporary).map_err(kept)?;
        progress.say(&format!(
            "{}: building with Go (about 5 minutes on 2 cores when nothing is cached)",
            self.name
        ));
        let log = half.join("build.log");
        let mut command = self.command(&programs);
        // A killed build leaves its temporary files, which must lie where the next one removes them.
        command.env("TMPDIR", &temporary);
        run_logged(progress, self.name, &command, &log).map_err(BuildError::Build)?;
        Self::link_kubectl(&programs).map_err(kept)?;
        sync(&programs).map_err(kept)?;
        fs::rename(&programs, done).map_err(kept)?;
        remove_dir(&half)?;
        progress.say(&format!("{}: built", self.name));
        Ok(())
    }

    /// For people: a name by which the program knows what it is to be.
    fn link_kubectl(dir: &Path) -> io::Result<()> {
        if dir.join("kube").exists() {
            symlink("kube", dir.join("kubectl"))
        } else {
            Ok(())
        }
    }

    fn command(&self, out: &Path) -> Command {
        let version = "k8s.io/component-base/version";
        let (major, minor) = KUBERNETES.trim_start_matches('v').split_once('.').unwrap_or_default();
        let minor = minor.split('.').next().unwrap_or_default();
        let flags = format!(
            "-s -w -X {version}.gitVersion={KUBERNETES} -X {version}.gitMajor={major} -X {version}.gitMinor={minor} \
             -X helm.sh/helm/v3/internal/version.version={HELM}"
        );
        let mut command = Command::new("go");
        command
            .args([
                "build",
                "-mod=readonly",
                "-trimpath",
                "-buildvcs=false",
                "-ldflags",
                &flags,
                "-o",
            ])
            .arg(out)
            .args(self.packages)
            .env("CGO_ENABLED", "0")
            .current_dir(&self.dir);
        command
    }

    /// Differs whenever what would be built differs.
    fn key(&self, go: &str) -> Result<String, BuildError> {
        let failed = |source| BuildError::Sources {
            module: self.dir.clone(),
            source,
        };
        let mut hash = Sha256::new();
        let salt = format!("{go}{}{KUBERNETES}{HELM}{:?}", env::consts::ARCH, self.packages);
        hash.update(salt);
        for file in sources(&self.dir).map_err(failed)? {
            hash.update(
                file.strip_prefix(&self.dir)
                    .unwrap_or(&file)
                    .as_os_str()
                    .as_encoded_bytes(),
            );
            hash.update(fs::read(&file).map_err(failed)?);
        }
        Ok(hex(&hash.finalize(), 16))
    }
}

/// The module's own files, in a stable order; a folder with a `go.mod` is another module.
fn sources(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() {
            if !path.join("go.mod").exists() {
                found.extend(sources(&path)?);
            }
        } else if name == "go.mod" || name == "go.sum" || path.extension().is_some_and(|ext| ext == "go") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(dir: &Path) -> Module {
        Module {
            name: "m",
            dir: dir.to_path_buf(),
            packages: &["./cmd"],
        }
    }

    #[test]
    fn key_follows_sources_and_toolchain_but_not_other_modules() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("go.mod", "module m");
        write("cmd/main.go", "package main");
        let key = |go: &str| module(dir.path()).key(go).unwrap();
        let first = key("go1");
        assert_eq!(key("go1"), first);
        assert_ne!(key("go2"), first);
        write("other/go.mod", "module other");
        write("other/main.go", "package main");
        write("notes.txt", "x");
        assert_eq!(key("go1"), first);
        write("cmd/main.go", "package main // changed");
        assert_ne!(key("go1"), first);
    }
}
