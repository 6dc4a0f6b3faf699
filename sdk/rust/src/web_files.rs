//! A plugin's web files: in the program, found by their paths in a fixed map.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

/// The files that the dashboard loads in a browser, in the program itself: none is read from a disk.
///
/// ```
/// use kite_plugin_sdk::{WebFiles, rust_embed::Embed};
///
/// // The folder is relative to the Cargo.toml, and read when the program is compiled.
/// #[derive(Embed)]
/// #[folder = "src"]
/// #[crate_path = "kite_plugin_sdk::rust_embed"]
/// struct Web;
///
/// let files = WebFiles::embedded::<Web>();
/// ```
#[derive(Clone, Default)]
pub struct WebFiles(Vec<WebFile>);

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct WebFile {
    pub(crate) path: String,
    pub(crate) media_type: String,
    pub(crate) sha256: [u8; 32],
    pub(crate) data: Bytes,
}

impl WebFiles {
    /// The files of a folder that `Folder` has embedded. What kind each is is told by the ending of its name.
    pub fn embedded<Folder: RustEmbed>() -> Self {
        let files = Folder::iter().filter_map(|path| {
            let file = Folder::get(&path)?;
            Some(WebFile {
                media_type: with_charset(file.metadata.mimetype()),
                sha256: file.metadata.sha256_hash(),
                data: match file.data {
                    Cow::Borrowed(data) => Bytes::from_static(data),
                    Cow::Owned(data) => data.into(),
                },
                path: path.into_owned(),
            })
        });
        Self(files.collect())
    }

    /// The same files and this one: one that the program makes itself, say. It must be the same each time.
    #[must_use]
    pub fn and(mut self, path: impl Into<String>, media_type: impl Into<String>, data: impl Into<Bytes>) -> Self {
        let data = data.into();
        self.0.push(WebFile {
            path: path.into(),
            media_type: media_type.into(),
            sha256: Sha256::digest(&data).into(),
            data,
        });
        self
    }

    pub(crate) fn into_files(self) -> Vec<WebFile> {
        self.0
    }
}

impl fmt::Debug for WebFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|file| &file.path)).finish()
    }
}

/// Browsers guess the charset of a text that does not say it.
fn with_charset(media_type: &str) -> String {
    if media_type.starts_with("text/") {
        format!("{media_type}; charset=utf-8")
    } else {
        media_type.to_owned()
    }
}
