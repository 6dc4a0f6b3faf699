//! The entries of an archive: plain files and folders by plain paths, below one folder, and each once.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bytes::Bytes;
use tar::{Archive, Entry, EntryType};

use super::{super::MAX_PATH, ArchiveError, Limits};

/// Passes on no more than so many bytes, and then fails.
pub(super) struct Bounded<R> {
    inner: R,
    left: u64,
    is_exhausted: bool,
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self {
            inner,
            left: limit,
            is_exhausted: false,
        }
    }

    /// Whether there was more than was passed on.
    pub(super) fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            // The end at the very limit is none of too much.
            let more = self.inner.read(&mut [0])?;
            self.is_exhausted |= more > 0;
            return if more > 0 {
                Err(io::ErrorKind::FileTooLarge.into())
            } else {
                Ok(0)
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// Gives each file to `take`, by its path and with its content, which `take` may have limited by the answer of
/// [`super::check::limit`] before.
pub(super) fn each(
    plain: &mut impl Read,
    limits: Limits,
    mut take: impl FnMut(Path, Bytes) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut archive = Archive::new(plain);
    // Raw, so that entries that change others (long names, attributes, sparse files) are seen and refused, and not obeyed.
    let entries = archive.entries().map_err(ArchiveError::Read)?.raw(true);
    let mut seen = BTreeMap::new();
    let mut top = None;
    for entry in entries {
        if seen.len() >= limits.entries {
            return Err(ArchiveError::TooManyEntries(limits.entries));
        }
        let mut entry = entry.map_err(ArchiveError::Read)?;
        let (whole, is_file) = path(&entry)?;
        place(&mut seen, &whole, is_file)?;
        let path = below_top(&mut top, whole, is_file)?;
        if let Some(path) = path {
            let content = content(&mut entry, &path, limits)?;
            take(path, content)?;
        }
    }
    Ok(())
}

/// A file's path.
pub(super) struct Path {
    /// As it stands in the archive.
    pub(super) whole: String,
    /// The top folder.
    pub(super) top: String,
    /// In the top folder.
    pub(super) rest: String,
}

/// The path of an entry, and whether it is a file's.
fn path<R: Read>(entry: &Entry<'_, R>) -> Result<(String, bool), ArchiveError> {
    let bytes = entry.path_bytes();
    let shown = || String::from_utf8_lossy(&bytes).into_owned();
    let is_file = match entry.header().entry_type() {
        EntryType::Regular => true,
        EntryType::Directory => false,
        other => {
            return Err(ArchiveError::Kind {
                path: shown(),
                kind: char::from(other.as_byte()),
            });
        }
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| ArchiveError::Path(shown()))?;
    // A folder may be written with a slash behind it.
    let text = if is_file {
        text
    } else {
        text.strip_suffix('/').unwrap_or(text)
    };
    if !is_plain(text) {
        return Err(ArchiveError::Path(shown()));
    }
    Ok((text.to_owned(), is_file))
}

/// Whether a path means the same file to everybody: no root, no steps up or in place, nothing that some system takes for
/// a separator or cannot show.
fn is_plain(path: &str) -> bool {
    path.len() <= MAX_PATH
        && !path.contains(|character: char| character == '\\' || character.is_control())
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Notes that there is something at `path`, whose folders may have no entries of their own.
fn place(seen: &mut BTreeMap<String, bool>, path: &str, is_file: bool) -> Result<(), ArchiveError> {
    let folders = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
    for folder in folders {
        if seen.get(folder) == Some(&true) {
            return Err(ArchiveError::BelowFile(path.to_owned()));
        }
    }
    let below = format!("{path}/");
    let has_some_below = seen
        .range(below.clone()..)
        .next()
        .is_some_and(|(other, _)| other.starts_with(&below));
    if is_file && has_some_below {
        return Err(ArchiveError::BelowFile(path.to_owned()));
    }
    match seen.insert(path.to_owned(), is_file) {
        Some(_) => Err(ArchiveError::Duplicate(path.to_owned())),
        None => Ok(()),
    }
}

/// Parts a file's path. Of a folder's nothing is kept.
fn below_top(top: &mut Option<String>, whole: String, is_file: bool) -> Result<Option<Path>, ArchiveError> {
    let (first, rest) = whole.split_once('/').unwrap_or((&whole, ""));
    let known = top.get_or_insert_with(|| first.to_owned());
    if known != first {
        let top = known.clone();
        return Err(ArchiveError::OtherFolder { path: whole, top });
    }
    if !is_file {
        return Ok(None);
    }
    if rest.is_empty() {
        return Err(ArchiveError::Unexpected(whole));
    }
    let (top, rest) = (first.to_owned(), rest.to_owned());
    Ok(Some(Path { whole, top, rest }))
}

fn content<R: Read>(entry: &mut Entry<'_, R>, path: &Path, limits: Limits) -> Result<Bytes, ArchiveError> {
    let limit = super::check::limit(path, limits.file)?;
    let size = entry.header().size().map_err(ArchiveError::Read)?;
    if size > limit {
        return Err(ArchiveError::FileTooLarge {
            path: path.whole.clone(),
            limit,
        });
    }
    // It grows with what comes, and not by what the header says.
    let mut content = Vec::new();
    let read = entry.read_to_end(&mut content).map_err(ArchiveError::Read)?;
    if read as u64 == size {
        Ok(content.into())
    } else {
        Err(ArchiveError::Read(io::ErrorKind::UnexpectedEof.into()))
    }
}

/// Reads what follows the last entry: nothing but the zeros that fill an archive up.
pub(super) fn expect_zeros(plain: &mut impl Read) -> Result<(), ArchiveError> {
    let mut buffer = [0; 4096];
    loop {
        let read = plain.read(&mut buffer).map_err(ArchiveError::Read)?;
        match buffer.get(..read) {
            None | Some([]) => return Ok(()),
            Some(bytes) if bytes.iter().any(|byte| *byte != 0) => return Err(ArchiveError::TrailingData),
            Some(_) => {}
        }
    }
}
