//! A layer of an image, or a package: a compressed archive whose bytes depend on nothing but its files.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::{Path, PathBuf},
    str::FromStr,
};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use oci_spec::image::{Digest, Sha256Digest};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

/// A file of a layer.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) mode: u32,
    pub(crate) content: Bytes,
}

/// A layer, ready to be sent.
pub(crate) struct Layer {
    pub(crate) compressed: Vec<u8>,
    pub(crate) digest: Digest,
    /// Digest of the archive before compression, by which an image's configuration names the layer.
    pub(crate) diff_id: Digest,
}

/// Which paths an archive may have.
#[derive(Clone, Copy)]
pub(crate) enum Paths {
    /// Any, by entries in GNU's format that tell the long ones.
    Any,
    /// Those that the POSIX format (ustar) has room for, so that each entry is a file or a folder.
    Short,
}

/// Writes an archive of `files`, by their absolute paths, and of the folders above them. Sorted, with one time and one
/// owner for all, so that the same files are always the same bytes.
pub(crate) fn write(files: &BTreeMap<PathBuf, File>, paths: Paths) -> io::Result<Layer> {
    let compressed = Hashing::new(Vec::new());
    // The header's time stays 0 and its operating system is a constant, not this machine's.
    let gzip = GzBuilder::new()
        .operating_system(255)
        .write(compressed, Compression::fast());
    let mut archive = tar::Builder::new(Hashing::new(gzip));

    let folders: BTreeSet<&Path> = files.keys().flat_map(|path| path.ancestors().skip(1)).collect();
    for folder in folders.into_iter().filter(|folder| folder.parent().is_some()) {
        append(
            &mut archive,
            paths,
            header(paths, EntryType::Directory, 0o755, 0),
            folder,
            &[],
        )?;
    }
    for (path, file) in files {
        let header = header(paths, EntryType::Regular, file.mode, file.content.len() as u64);
        append(&mut archive, paths, header, path, &file.content)?;
    }

    let (gzip, diff_id) = archive.into_inner()?.finish();
    let (compressed, digest) = gzip.finish()?.finish();
    Ok(Layer {
        compressed,
        digest,
        diff_id,
    })
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    paths: Paths,
    mut header: Header,
    path: &Path,
    content: &[u8],
) -> io::Result<()> {
    let path = path.strip_prefix("/").unwrap_or(path);
    match paths {
        Paths::Any => archive.append_data(&mut header, path, content),
        Paths::Short => {
            header.set_path(path)?;
            header.set_cksum();
            archive.append(&header, content)
        }
    }
}

fn header(paths: Paths, kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = match paths {
        Paths::Any => Header::new_gnu(),
        Paths::Short => Header::new_ustar(),
    };
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// The SHA-256 of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    named(&Sha256::digest(bytes))
}

fn named(hash: &[u8]) -> Digest {
    use std::fmt::Write as _;

    let hex = hash.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    #[expect(clippy::expect_used, reason = "64 hexadecimal digits are a SHA-256 digest")]
    Sha256Digest::from_str(&hex).expect("64 hexadecimal digits").into()
}

/// Passes bytes on and hashes them on the way, so that nothing is read twice.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    fn finish(self) -> (W, Digest) {
        (self.inner, named(&self.hash.finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn an_archive_has_the_files_and_the_folders_above_them_once() {
        let file = |mode, text: &str| File {
            mode,
            content: Bytes::copy_from_slice(text.as_bytes()),
        };
        let files = BTreeMap::from([
            (PathBuf::from("/usr/bin/b"), file(0o755, "binary")),
            (PathBuf::from("/usr/bin/a"), file(0o644, "")),
            (PathBuf::from("/plugin"), file(0o755, "plugin")),
        ]);
        let layer = write(&files, Paths::Any).unwrap();
        assert_eq!(layer.digest, digest(&layer.compressed));

        let mut plain = Vec::new();
        GzDecoder::new(layer.compressed.as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        assert_eq!(layer.diff_id, digest(&plain));
        let mut entries = Vec::new();
        for entry in tar::Archive::new(plain.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header();
            assert_eq!(
                (header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()),
                (0, 0, 0)
            );
            entries.push(format!(
                "{:o} {} {text}",
                header.mode().unwrap(),
                entry.path().unwrap().display()
            ));
        }
        assert_eq!(
            entries,
            [
                "755 usr ",
                "755 usr/bin ",
                "755 plugin plugin",
                "644 usr/bin/a ",
                "755 usr/bin/b binary"
            ]
        );
    }
}
