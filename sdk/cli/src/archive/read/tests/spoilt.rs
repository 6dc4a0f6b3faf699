//! A good package, and what becomes of it when one thing of it is spoilt.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
};

use bytes::Bytes;
use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};
use oci_spec::image::Digest;
use serde_json::{Value, json};

use crate::{
    archive::{ArchiveError, Package, read, write},
    image::{Blob, Image, layer},
    manifest,
};

/// An entry as it is written, which need not be one that may be.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) kind: tar::EntryType,
    /// What the header says instead of the content's size.
    pub(super) size: Option<u64>,
    pub(super) content: Vec<u8>,
}

impl Entry {
    pub(super) fn file(path: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.to_owned(),
            kind: tar::EntryType::Regular,
            size: None,
            content: content.into(),
        }
    }

    pub(super) fn of(path: &str, kind: tar::EntryType) -> Self {
        Self {
            kind,
            ..Self::file(path, "")
        }
    }
}

pub(super) fn blob(data: impl Into<Bytes>) -> Blob {
    let data = data.into();
    Blob {
        digest: layer::digest(&data),
        data,
    }
}

pub(super) fn described(blob: &Blob, kind: &str) -> Value {
    json!({"mediaType": kind, "digest": blob.digest.to_string(), "size": blob.data.len()})
}

/// A package with an image of two layers, the second one twice.
pub(super) fn package(web: BTreeMap<String, Bytes>) -> Package {
    let layers = [blob("one"), blob("two"), blob("two")];
    let config = blob("{}");
    let layer = |blob| described(blob, "application/vnd.oci.image.layer.v1.tar+gzip");
    let image = json!({
        "schemaVersion": 2,
        "config": described(&config, "application/vnd.oci.image.config.v1+json"),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    let image = Image::of_parts(layers.into(), config, image.to_string().into());
    let document = document(image.digest());
    Package {
        manifest: manifest::parse(&document).unwrap(),
        document,
        image,
        web,
    }
}

pub(super) fn document(digest: &Digest) -> String {
    format!(
        "apiVersion: kite.dev/v1alpha1\nkind: KitePlugin\nmetadata: {{name: own}}\n\
         spec: {{version: 1.0.0, image: \"registry.example/own@{digest}\"}}\n"
    )
}

pub(super) fn good() -> Package {
    package(BTreeMap::from([("assets/a.css".to_owned(), Bytes::from("a {}"))]))
}

/// The entries of a good package.
pub(super) fn entries() -> Vec<Entry> {
    let written = write(&good()).unwrap();
    let mut archive = tar::Archive::new(GzDecoder::new(written.as_slice()));
    let entry = |mut entry: tar::Entry<'_, _>| {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        Entry {
            path: entry.path().unwrap().display().to_string(),
            kind: entry.header().entry_type(),
            size: None,
            content,
        }
    };
    archive.entries().unwrap().map(|each| entry(each.unwrap())).collect()
}

pub(super) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(entry.kind);
        header.set_size(entry.size.unwrap_or(entry.content.len() as u64));
        let ustar = header.as_ustar_mut().unwrap();
        let (prefix, name) = match entry.path.len() {
            0..=100 => ("", entry.path.as_str()),
            long => entry.path.split_at_checked(long - 100).unwrap(),
        };
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        ustar.prefix[..prefix.len()].copy_from_slice(prefix.as_bytes());
        ustar.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, entry.content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// What becomes of a good package of which one thing is spoilt.
pub(super) fn spoilt(spoil: impl FnOnce(&mut Vec<Entry>)) -> ArchiveError {
    let mut entries = entries();
    spoil(&mut entries);
    read(gzip(&tar(&entries)).as_slice()).unwrap_err()
}

pub(super) fn with(entry: Entry) -> ArchiveError {
    spoilt(|entries| entries.push(entry))
}

pub(super) fn find<'a>(entries: &'a mut [Entry], path: &str) -> &'a mut Entry {
    entries.iter_mut().find(|entry| entry.path == path).unwrap()
}

/// What becomes of a good package whose image is described otherwise, by descriptions that fit one another.
pub(super) fn described_otherwise(change: impl FnOnce(&mut Value)) -> ArchiveError {
    spoilt(|entries| {
        let index: Value = serde_json::from_slice(&find(entries, "own/image/index.json").content).unwrap();
        let old = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        let path = |digest: &str| format!("own/image/blobs/{}", digest.replace(':', "/"));
        let entry = find(entries, &path(&old));
        let mut image: Value = serde_json::from_slice(&entry.content).unwrap();
        change(&mut image);
        let new = blob(image.to_string());
        *entry = Entry::file(&path(new.digest.as_ref()), new.data.to_vec());
        let manifests = [described(&new, "application/vnd.oci.image.manifest.v1+json")];
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        find(entries, "own/image/index.json").content = index.to_string().into();
        find(entries, "own/plugin.yaml").content = document(&new.digest).into();
    })
}

pub(super) fn index_otherwise(change: impl FnOnce(&mut Value)) -> ArchiveError {
    spoilt(|entries| {
        let entry = find(entries, "own/image/index.json");
        let mut index: Value = serde_json::from_slice(&entry.content).unwrap();
        change(&mut index);
        entry.content = index.to_string().into();
    })
}

pub(super) fn parts(package: &Package) -> (String, Digest, Vec<Bytes>, BTreeMap<String, Bytes>) {
    let layers = package.image.layers.iter().map(|layer| layer.data.clone());
    (
        package.document.clone(),
        package.image.digest().clone(),
        layers.collect(),
        package.web.clone(),
    )
}
