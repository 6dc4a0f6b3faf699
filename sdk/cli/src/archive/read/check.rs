//! Whether the files of an archive are a package: the document, and the image that it names, whole and with nothing else.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType, OciLayout};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    super::{BLOBS, INDEX, LAYOUT, LAYOUT_VERSION, Package, WEB},
    ArchiveError, MAX_DESCRIPTION,
    entries::Path,
};
use crate::{
    image::{Blob, Image, layer},
    manifest::{self, MAX_SIZE, Manifest},
};

/// What a file of a package is.
enum Part<'a> {
    Document,
    Layout,
    Index,
    /// By the hexadecimal digits of its digest.
    Blob(&'a str),
    /// By its path in the folder of web files.
    Web(&'a str),
}

fn part(path: &Path) -> Result<Part<'_>, ArchiveError> {
    let unexpected = || ArchiveError::Unexpected(path.whole.clone());
    match path.rest.as_str() {
        manifest::FILE => return Ok(Part::Document),
        LAYOUT => return Ok(Part::Layout),
        INDEX => return Ok(Part::Index),
        _ => {}
    }
    let (folder, file) = path.rest.rsplit_once('/').ok_or_else(unexpected)?;
    let is_digest = file.len() == 64 && file.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if folder == BLOBS && is_digest {
        return Ok(Part::Blob(file));
    }
    let web = path.rest.strip_prefix(WEB).and_then(|rest| rest.strip_prefix('/'));
    web.map(Part::Web).ok_or_else(unexpected)
}

/// Most bytes of this file, of which none may have more than `most`.
pub(super) fn limit(path: &Path, most: u64) -> Result<u64, ArchiveError> {
    Ok(match part(path)? {
        Part::Document => MAX_SIZE.min(most),
        Part::Layout | Part::Index => MAX_DESCRIPTION.min(most),
        Part::Blob(_) | Part::Web(_) => most,
    })
}

/// The files that have come so far.
#[derive(Default)]
pub(super) struct Gathered {
    top: String,
    document: Option<Bytes>,
    layout: Option<Bytes>,
    index: Option<Bytes>,
    /// By the hexadecimal digits of their digests, which are what they say.
    blobs: BTreeMap<String, Bytes>,
    /// Those of them that the image has.
    used: BTreeSet<String>,
    web: BTreeMap<String, Bytes>,
}

impl Gathered {
    pub(super) fn add(&mut self, path: Path, content: Bytes) -> Result<(), ArchiveError> {
        match part(&path)? {
            Part::Document => self.document = Some(content),
            Part::Layout => self.layout = Some(content),
            Part::Index => self.index = Some(content),
            Part::Blob(name) => {
                let found = layer::digest(&content);
                if found.digest() != name {
                    return Err(ArchiveError::Digest {
                        path: path.whole,
                        found,
                    });
                }
                self.blobs.insert(name.to_owned(), content);
            }
            Part::Web(name) => {
                self.web.insert(name.to_owned(), content);
            }
        }
        self.top = path.top;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Package, ArchiveError> {
        let document = present(self.document.take(), manifest::FILE)?;
        let document = String::from_utf8(document.into()).map_err(|_| ArchiveError::NotText)?;
        let manifest = manifest::parse(&document).map_err(ArchiveError::Manifest)?;
        if manifest.name.as_str() != self.top {
            return Err(ArchiveError::Name {
                folder: self.top,
                name: manifest.name.to_string(),
            });
        }
        let layout: OciLayout = json(&present(self.layout.take(), LAYOUT)?, LAYOUT)?;
        if layout.image_layout_version() != LAYOUT_VERSION {
            return Err(ArchiveError::LayoutVersion);
        }
        let image = self.image()?;
        if let Some(unused) = self.blobs.into_keys().find(|name| !self.used.contains(name)) {
            return Err(ArchiveError::Unused(unused));
        }
        if !names(&manifest, image.digest()) {
            return Err(ArchiveError::ImageName(image.digest().clone()));
        }
        Ok(Package {
            manifest,
            document,
            image,
            web: self.web,
        })
    }

    /// The image that the index names, which marks its blobs as used.
    fn image(&mut self) -> Result<Image, ArchiveError> {
        let index: ImageIndex = json(&present(self.index.take(), INDEX)?, INDEX)?;
        let [described] = index.manifests().as_slice() else {
            return Err(ArchiveError::Images(index.manifests().len()));
        };
        let blob = self.blob(described, &[MediaType::ImageManifest], MAX_DESCRIPTION)?;
        let path = format!("{BLOBS}/{}", blob.digest.digest());
        let manifest: ImageManifest = json(&blob.data, &path)?;
        let config = self.blob(manifest.config(), &[MediaType::ImageConfig], MAX_DESCRIPTION)?;
        let kinds = [
            MediaType::ImageLayer,
            MediaType::ImageLayerGzip,
            MediaType::ImageLayerZstd,
        ];
        let layers = manifest.layers().iter();
        let layers: Result<_, _> = layers.map(|described| self.blob(described, &kinds, u64::MAX)).collect();
        Ok(Image::of_parts(layers?, config, blob.data))
    }

    /// The blob that is described, as it is described. An image may have a layer twice.
    fn blob(&mut self, described: &Descriptor, kinds: &[MediaType], limit: u64) -> Result<Blob, ArchiveError> {
        let digest = described.digest().clone();
        if !kinds.contains(described.media_type()) {
            let found = described.media_type().to_string();
            return Err(ArchiveError::MediaType { digest, found });
        }
        let path = || format!("image/blobs/{}", digest.to_string().replacen(':', "/", 1));
        // Only SHA-256 digests name files here.
        let name = digest.to_string();
        let name = name.strip_prefix("sha256:").unwrap_or_default();
        let data = present(self.blobs.get(name).cloned(), &path())?;
        self.used.insert(name.to_owned());
        let found = data.len() as u64;
        if found != described.size() {
            let expected = described.size();
            return Err(ArchiveError::Size {
                digest,
                expected,
                found,
            });
        }
        if found > limit {
            return Err(ArchiveError::FileTooLarge { path: path(), limit });
        }
        Ok(Blob { digest, data })
    }
}

fn present(content: Option<Bytes>, path: &str) -> Result<Bytes, ArchiveError> {
    content.ok_or_else(|| ArchiveError::Missing(path.to_owned()))
}

fn json<T: DeserializeOwned>(content: &[u8], path: &str) -> Result<T, ArchiveError> {
    serde_json::from_slice(content).map_err(|source| ArchiveError::Description {
        path: path.to_owned(),
        source,
    })
}

/// Whether the document's image is this one, whatever registry it is to come from.
fn names(manifest: &Manifest, digest: &Digest) -> bool {
    let spec = manifest.spec();
    let image = spec.get("image").and_then(Value::as_str).unwrap_or_default();
    image
        .rsplit_once('@')
        .is_some_and(|(_, named)| named == digest.to_string())
}
