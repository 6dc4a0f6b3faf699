//! The package of a plugin, `<name>-<version>.tar.gz`: its document, its image and its web files in one file.
//! `docs/package-format.md` is the format.

mod read;
mod web;
mod write;

use std::collections::BTreeMap;

use bytes::Bytes;
pub use read::{ArchiveError, Limits, read, read_within};
pub(crate) use web::{FOLDER as WEB_FOLDER, WebError, read as read_web};
pub(crate) use write::{WriteError, write};

use crate::{image::Image, manifest::Manifest};

/// Where the image's parts lie, each called by its digest. The folder `image` is an OCI image layout.
const BLOBS: &str = "image/blobs/sha256";
/// The file by which a folder is known for an image layout.
const LAYOUT: &str = "image/oci-layout";
/// The file that names the image's manifest.
const INDEX: &str = "image/index.json";
/// What the file [`LAYOUT`] says in every version of the format that there is.
const LAYOUT_VERSION: &str = "1.0.0";
/// The folder of the web files in the top folder.
const WEB: &str = "web";
/// Most bytes of a path in the archive, the top folder's name included: what the POSIX format has room for.
const MAX_PATH: usize = 255;

/// What is in a package.
#[derive(Clone, Debug)]
pub struct Package {
    /// The document, which names the image by its digest.
    pub manifest: Manifest,
    /// The document's text.
    pub document: String,
    pub image: Image,
    /// The web files, by their paths relative to the folder of web files.
    pub web: BTreeMap<String, Bytes>,
}
