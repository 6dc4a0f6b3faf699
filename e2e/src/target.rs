//! The cluster that is worked on: the checkout's own local one, or the one that `KITE_CONTEXT` names.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::cluster::{self, ClusterError, Layout, StateError, Tools, write_whole};

#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error("failed to bring up the local cluster")]
    Cluster(#[from] ClusterError),
    #[error("failed to find a running cluster: start one with `make up`")]
    NotRunning,
    #[error(
        "failed to find a registry: KITE_CONTEXT names a cluster, so KITE_REGISTRY must name a registry that it pulls from"
    )]
    RegistryMissing,
    #[error("failed to read the context {context:?} of the kubeconfig: {output}")]
    Context { context: String, output: String },
    #[error("failed to run kubectl")]
    Kubectl(#[source] std::io::Error),
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("failed to keep the kubeconfig")]
    Keep(#[source] StateError),
    #[error("failed to read the kubeconfig {}", path.display())]
    Kubeconfig {
        path: PathBuf,
        source: kube::config::KubeconfigError,
    },
    #[error("failed to make a client of the cluster")]
    Client(#[source] kube::Error),
}

/// A running cluster, its registry, and the programs to work on it.
pub struct Target {
    /// A kubeconfig whose present context is the cluster.
    pub kubeconfig: PathBuf,
    /// Where what is known of the cluster is kept, gone after `down`.
    pub dir: PathBuf,
    pub registry: Registry,
    pub tools: Tools,
    /// Whether the cluster is this checkout's own.
    pub is_local: bool,
}

/// A registry, as it stands in an image's reference.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registry {
    pub host: String,
    /// Whether it is spoken to without TLS.
    pub plain_http: bool,
}

impl Registry {
    /// Reads `host[:port][/path]`, with `http://` before it where the registry has no TLS.
    fn parse(text: &str) -> Self {
        match text.strip_prefix("http://") {
            Some(host) => Self {
                host: host.trim_end_matches('/').to_owned(),
                plain_http: true,
            },
            None => Self {
                host: text.trim_end_matches('/').to_owned(),
                plain_http: false,
            },
        }
    }
}

impl Target {
    /// The cluster to work on; the local one is started if it is not up.
    pub fn ensure_up(layout: &Layout) -> Result<Self, TargetError> {
        if let Some(target) = Self::external(layout)? {
            return Ok(target);
        }
        let running = cluster::ensure_up(layout)?;
        Ok(Self::local(layout, running, cluster::tools(layout)?))
    }

    /// The cluster to work on, which must be running.
    pub fn running(layout: &Layout) -> Result<Self, TargetError> {
        if let Some(target) = Self::external(layout)? {
            return Ok(target);
        }
        let running = cluster::status(layout).ok_or(TargetError::NotRunning)?;
        Ok(Self::local(layout, running, cluster::tools(layout)?))
    }

    fn local(layout: &Layout, running: cluster::Running, tools: Tools) -> Self {
        let registry = Registry {
            host: running.registry,
            plain_http: true,
        };
        Self {
            kubeconfig: running.kubeconfig,
            dir: layout.dir(),
            registry,
            tools,
            is_local: true,
        }
    }

    /// The cluster that `KITE_CONTEXT` names, if it names one.
    pub fn external(layout: &Layout) -> Result<Option<Self>, TargetError> {
        let Some(context) = variable("KITE_CONTEXT") else {
            return Ok(None);
        };
        let registry = variable("KITE_REGISTRY").ok_or(TargetError::RegistryMissing)?;
        let tools = cluster::tools(layout)?;
        let output = tools
            .kubectl()
            .args(["config", "view", "--minify", "--flatten", "--context", &context])
            .output()
            .map_err(TargetError::Kubectl)?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(TargetError::Context { context, output });
        }
        let dir = layout.cache().join("contexts").join(layout.id());
        let path = dir.join("kubeconfig");
        write_private(&path, &output.stdout)?;
        Ok(Some(Self {
            kubeconfig: path,
            dir,
            registry: Registry::parse(&registry),
            tools,
            is_local: false,
        }))
    }

    /// A client with the kubeconfig's own credentials.
    pub async fn client(&self) -> Result<kube::Client, TargetError> {
        client_of(&self.kubeconfig).await
    }

    /// `kubectl` on this cluster.
    pub fn kubectl(&self) -> Command {
        let mut command = self.tools.kubectl();
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// `helm` on this cluster.
    pub fn helm(&self) -> Command {
        let mut command = self.tools.helm();
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }
}

/// A client with a kubeconfig's own credentials.
pub async fn client_of(path: &Path) -> Result<kube::Client, TargetError> {
    kube::Client::try_from(config_of(path).await?).map_err(TargetError::Client)
}

/// How a client of the cluster that the kubeconfig at `path` names reaches it.
pub async fn config_of(path: &Path) -> Result<kube::Config, TargetError> {
    let failed = |source| TargetError::Kubeconfig {
        path: path.to_owned(),
        source,
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    let options = KubeConfigOptions::default();
    kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(failed)
}

/// An environment variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Writes a file, whole or not at all, into a folder that only its owner may enter.
fn write_private(path: &Path, content: &[u8]) -> Result<(), TargetError> {
    let failed = |source| TargetError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    write_whole(path, content).map_err(TargetError::Keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_has_tls_unless_its_address_says_otherwise() {
        let registry = |host: &str, plain_http| Registry {
            host: host.to_owned(),
            plain_http,
        };
        assert_eq!(
            Registry::parse("registry.example/team/"),
            registry("registry.example/team", false)
        );
        assert_eq!(Registry::parse("http://10.0.0.1:5000"), registry("10.0.0.1:5000", true));
    }
}
