//! Reads a package that anybody may have made: as a stream, entry by entry, within bounds, and nothing of it to disk.

mod check;
mod entries;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead as _, BufReader, Read};

use flate2::bufread::GzDecoder;

use self::{check::Gathered, entries::Bounded};
use super::Package;
use crate::{image::Digest, manifest::ManifestError};

/// How large a package may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most bytes of all, uncompressed, the archive's own included.
    pub total: u64,
    /// Most bytes of one file; `plugin.yaml` and the image's descriptions have smaller limits of their own.
    pub file: u64,
    /// Most entries, files and folders together.
    pub entries: usize,
}

impl Default for Limits {
    /// 1 GiB, 512 MiB in one file, 20,000 entries.
    fn default() -> Self {
        Self {
            total: 1 << 30,
            file: 512 << 20,
            entries: 20_000,
        }
    }
}

/// Most bytes of the image's layout, index, manifest or configuration.
const MAX_DESCRIPTION: u64 = 4 << 20;

/// Why a package is refused. A path is as it stands in the archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("failed to read the archive: it is no gzip file, or damaged, or ends early")]
    Read(#[source] io::Error),
    #[error("failed to read the archive: it has more than {0} bytes, uncompressed")]
    TooLarge(u64),
    #[error("failed to read the archive: it has more than {0} entries")]
    TooManyEntries(usize),
    #[error("failed to read the archive: something follows its end")]
    TrailingData,
    #[error("failed to accept an entry: its path is not a plain relative path of at most 255 bytes: {0:?}")]
    Path(String),
    #[error("failed to accept the entry {path}: it is neither a file nor a folder (type {kind:?})")]
    Kind { path: String, kind: char },
    #[error("failed to accept the entry {0}: there is another of this path")]
    Duplicate(String),
    #[error("failed to accept the entry {0}: it lies below a file")]
    BelowFile(String),
    #[error("failed to accept the entry {path}: the archive's one top folder is {top}")]
    OtherFolder { path: String, top: String },
    #[error("failed to accept the entry {0}: packages have no such file")]
    Unexpected(String),
    #[error("failed to accept the file {path}: it has more than {limit} bytes")]
    FileTooLarge { path: String, limit: u64 },
    #[error("failed to accept the file {path}: its digest is {found}")]
    Digest { path: String, found: Digest },
    #[error("failed to find {0} in the archive")]
    Missing(String),
    #[error("failed to accept plugin.yaml")]
    Manifest(#[source] ManifestError),
    #[error("failed to accept plugin.yaml: it is not UTF-8")]
    NotText,
    #[error("failed to accept the top folder {folder}: the plugin's name is {name}")]
    Name { folder: String, name: String },
    #[error("failed to accept plugin.yaml: its image is not named by the digest {0} of the image beside it")]
    ImageName(Digest),
    #[error("failed to accept {path}")]
    Description { path: String, source: serde_json::Error },
    #[error("failed to accept image/oci-layout: its version is not 1.0.0")]
    LayoutVersion,
    #[error("failed to accept image/index.json: it names {0} manifests, and a package has one image")]
    Images(usize),
    #[error("failed to accept the blob {digest}: its media type is {found:?} where the image is described")]
    MediaType { digest: Digest, found: String },
    #[error("failed to accept the blob {digest}: it has {found} bytes, and {expected} where the image is described")]
    Size { digest: Digest, expected: u64, found: u64 },
    #[error("failed to accept the blob {0}: the image does not have it")]
    Unused(String),
}

/// Reads a package within the default limits. Nothing that it holds is believed: see [`ArchiveError`] for what is
/// refused. It keeps all of it in memory, up to [`Limits::total`].
pub fn read(source: impl Read) -> Result<Package, ArchiveError> {
    read_within(source, Limits::default())
}

/// Reads a package within `limits`.
pub fn read_within(source: impl Read, limits: Limits) -> Result<Package, ArchiveError> {
    let mut source = BufReader::new(source);
    let mut plain = Bounded::new(GzDecoder::new(&mut source), limits.total);
    let mut gathered = Gathered::default();
    let ended = entries::each(&mut plain, limits, |path, content| gathered.add(path, content))
        .and_then(|()| entries::expect_zeros(&mut plain));
    // Whatever else went wrong after the limit was reached went wrong because of it.
    if plain.is_exhausted() {
        return Err(ArchiveError::TooLarge(limits.total));
    }
    ended?;
    if !source.fill_buf().map_err(ArchiveError::Read)?.is_empty() {
        return Err(ArchiveError::TrailingData);
    }
    gathered.finish()
}
