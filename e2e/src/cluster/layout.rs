//! Where a cluster keeps its things: everything lies in the cache, keyed by the checkout it belongs to.

use std::env;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The part of a checkout's name that goes into the cluster's; cgroup and socket paths must stay short.
const NAME_LENGTH: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("failed to find the cache: neither KITE_CACHE nor HOME is set")]
    Cache,
    #[error("failed to find the path of this program")]
    Program(#[source] std::io::Error),
    #[error("failed to accept the cluster id {0:?}: only a-z, 0-9 and '-', at most 32 characters")]
    Id(String),
    #[error("failed to accept {0:?} as the cache: its path must be absolute and of plain characters")]
    CachePath(PathBuf),
}

/// The places that belong to one checkout's cluster.
#[derive(Debug, Clone)]
pub struct Layout {
    checkout: PathBuf,
    cache: PathBuf,
    id: String,
    program: PathBuf,
}

impl Layout {
    /// The layout of the checkout that this program was built from. `KITE_CACHE` moves the cache, `KITE_CLUSTER_ID`
    /// names another cluster than the checkout's own.
    pub fn from_env() -> Result<Self, LayoutError> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap_or(Path::new("/"))
            .to_path_buf();
        let cache = match (env::var_os("KITE_CACHE"), env::var_os("HOME")) {
            (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
            (_, Some(home)) => Path::new(&home).join(".cache/kite"),
            _ => return Err(LayoutError::Cache),
        };
        let id = match env::var("KITE_CLUSTER_ID") {
            Ok(id) if !id.is_empty() => id,
            _ => id_of(&checkout),
        };
        let program = env::current_exe().map_err(LayoutError::Program)?;
        Self::new(checkout, cache, id, program)
    }

    pub fn new(checkout: PathBuf, cache: PathBuf, id: String, program: PathBuf) -> Result<Self, LayoutError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if id.is_empty() || id.len() > 32 || !id.chars().all(plain) {
            return Err(LayoutError::Id(id));
        }
        // The path stands in configuration files, apt's among them, whose quoting differs from one to the next.
        let tame = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
        if !cache.is_absolute() || !cache.to_str().is_some_and(|path| path.chars().all(tame)) {
            return Err(LayoutError::CachePath(cache));
        }
        Ok(Self {
            checkout,
            cache,
            id,
            program,
        })
    }

    /// Another cluster beside this one.
    pub fn with_id(self, id: &str) -> Result<Self, LayoutError> {
        Self::new(self.checkout, self.cache, id.to_owned(), self.program)
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn cache(&self) -> &Path {
        &self.cache
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The Go module that the cluster's programs are built from.
    pub fn module(&self) -> PathBuf {
        self.checkout.join("e2e/cluster")
    }

    /// The cluster's own folder, gone after `down`.
    pub fn dir(&self) -> PathBuf {
        self.cache.join("clusters").join(&self.id)
    }

    /// Beside the folder, not in it: whoever holds the lock may remove the folder.
    pub fn lock(&self) -> PathBuf {
        self.cache.join("clusters").join(format!("{}.lock", self.id))
    }

    /// Held while something is deployed to the cluster.
    pub(crate) fn deploy_lock(&self) -> PathBuf {
        self.cache.join("clusters").join(format!("{}.deploy.lock", self.id))
    }

    pub fn cgroup(&self) -> String {
        format!("kite-{}", self.id)
    }

    /// A number that differs by cluster.
    pub fn spread(&self) -> u8 {
        Sha256::digest(&self.id).first().copied().unwrap_or(0)
    }
}

/// A checkout's cluster is named after its folder, with a hash of the whole path as other folders may share the name.
fn id_of(checkout: &Path) -> String {
    let name: String = checkout
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
        .take(NAME_LENGTH)
        .collect();
    format!(
        "{name}-{}",
        hex(&Sha256::digest(checkout.as_os_str().as_encoded_bytes()), 8)
    )
}

/// The first `length` digits of `bytes` in hexadecimal.
pub(super) fn hex(bytes: &[u8], length: usize) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .take(length)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(id: &str) -> Result<Layout, LayoutError> {
        Layout::new(
            "/src/kite".into(),
            "/home/ann/.cache/kite".into(),
            id.to_owned(),
            "/bin/kite-e2e".into(),
        )
    }

    #[test]
    fn id_names_the_folder_and_differs_by_path() {
        let one = id_of(Path::new("/home/Ann/Kite Plugins"));
        assert!(one.starts_with("kiteplugins-"), "{one}");
        assert_eq!(one.len(), "kiteplugins-".len() + 8);
        assert_ne!(one, id_of(Path::new("/home/bob/Kite Plugins")));
        assert!(layout(&one).is_ok());
    }

    #[test]
    fn folder_without_a_usable_name_has_an_id_still() {
        assert!(layout(&id_of(Path::new("/"))).is_ok());
    }

    #[test]
    fn id_that_could_leave_its_folder_is_refused() {
        for id in ["", "../x", "A", "a_b", &"x".repeat(33)] {
            assert!(matches!(layout(id), Err(LayoutError::Id(_))), "{id:?}");
        }
    }

    #[test]
    fn relative_or_odd_cache_is_refused() {
        for cache in ["cache", "/home/my cache", "/x;y"] {
            let made = Layout::new("/c".into(), cache.into(), "a".to_owned(), "/p".into());
            assert!(matches!(made, Err(LayoutError::CachePath(_))), "{cache:?}");
        }
    }
}
