//! Writes a package. The same content is the same bytes: entries are sorted, and have no times and no owners.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use oci_spec::{
    OciSpecError,
    image::{Descriptor, DescriptorBuilder, ImageIndexBuilder, MediaType, SCHEMA_VERSION},
};

use super::{BLOBS, INDEX, LAYOUT, LAYOUT_VERSION, MAX_PATH, Package, WEB};
use crate::{
    image::{
        Blob, ImageError,
        layer::{self, File, Paths},
    },
    manifest,
};

/// Why a package could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("failed to write the image's index")]
    Index(#[source] OciSpecError),
    #[error("failed to serialize the image's index")]
    Serialize(#[source] Box<ImageError>),
    #[error(
        "failed to take the file {path}: its path has more than {MAX_PATH} bytes, or cannot be parted in a name of 100 bytes at most and folders of 155"
    )]
    Path { path: PathBuf, source: io::Error },
    #[error("failed to write the archive")]
    Archive(#[source] io::Error),
}

/// The bytes of a package.
pub(crate) fn write(package: &Package) -> Result<Vec<u8>, WriteError> {
    let index = index(package)?;
    let layout = format!(r#"{{"imageLayoutVersion":"{LAYOUT_VERSION}"}}"#);
    let mut contents = BTreeMap::from([
        (
            manifest::FILE.to_owned(),
            Bytes::copy_from_slice(package.document.as_bytes()),
        ),
        (LAYOUT.to_owned(), Bytes::from(layout)),
        (INDEX.to_owned(), index),
    ]);
    let own = Blob {
        digest: package.image.digest().clone(),
        data: package.image.manifest.clone(),
    };
    for blob in package.image.layers.iter().chain([&package.image.config, &own]) {
        contents.insert(format!("{BLOBS}/{}", blob.digest.digest()), blob.data.clone());
    }
    let web = package.web.iter();
    contents.extend(web.map(|(path, content)| (format!("{WEB}/{path}"), content.clone())));

    let mut files = BTreeMap::new();
    for (path, content) in contents {
        let path = PathBuf::from("/").join(package.manifest.name.as_str()).join(path);
        check_path(&path)?;
        files.insert(path, File { mode: 0o644, content });
    }
    let written = layer::write(&files, Paths::Short).map_err(WriteError::Archive)?;
    Ok(written.compressed)
}

/// Said of the file itself, and not of the archive. Folders have entries too, which must fit as well.
fn check_path(path: &Path) -> Result<(), WriteError> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    relative
        .ancestors()
        .filter(|part| part.file_name().is_some())
        .try_for_each(|part| tar::Header::new_ustar().set_path(part))
        .map_err(|source| WriteError::Path {
            path: relative.to_owned(),
            source,
        })
}

fn index(package: &Package) -> Result<Bytes, WriteError> {
    let image = &package.image;
    let name = (
        "org.opencontainers.image.ref.name".to_owned(),
        package.manifest.version.to_string(),
    );
    let descriptor: Descriptor = DescriptorBuilder::default()
        .media_type(MediaType::ImageManifest)
        .size(image.manifest.len() as u64)
        .digest(image.digest().clone())
        .annotations(HashMap::from([name]))
        .build()
        .map_err(WriteError::Index)?;
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![descriptor])
        .build()
        .map_err(WriteError::Index)?;
    crate::image::serialize(&index).map_err(|source| WriteError::Serialize(Box::new(source)))
}
