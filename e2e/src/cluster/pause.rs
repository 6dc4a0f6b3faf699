//! The image of a pod's first container, written so that containerd can import it without a registry.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use super::layout::hex;

#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write the image {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Writes an OCI layout as one file: one static program, run by nobody.
pub(super) fn write_image(program: &Path, name: &str, archive: &Path) -> Result<(), PauseError> {
    let program = fs::read(program).map_err(|source| PauseError::Read {
        path: program.to_path_buf(),
        source,
    })?;
    let write = |source| PauseError::Write {
        path: archive.to_path_buf(),
        source,
    };
    let bytes = layout(&program, name).map_err(write)?;
    fs::write(archive, bytes).map_err(write)
}

fn layout(program: &[u8], name: &str) -> io::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    add(&mut layer, "pause", program, 0o755)?;
    let layer = layer.into_inner()?;
    let config = bytes(&json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    }));
    let manifest = bytes(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }));
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("annotations".to_owned(), json!({"io.containerd.image.name": name}));
    }
    let mut archive = Builder::new(Vec::new());
    add(
        &mut archive,
        "oci-layout",
        &bytes(&json!({"imageLayoutVersion": "1.0.0"})),
        0o644,
    )?;
    add(
        &mut archive,
        "index.json",
        &bytes(&json!({"schemaVersion": 2, "manifests": [entry]})),
        0o644,
    )?;
    for blob in [&layer, &config, &manifest] {
        add(&mut archive, &format!("blobs/sha256/{}", hash(blob)), blob, 0o644)?;
    }
    archive.into_inner()
}

fn add(archive: &mut Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, path, content)
}

fn descriptor(kind: &str, content: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(content), "size": content.len()})
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hash(content))
}

fn hash(content: &[u8]) -> String {
    hex(&Sha256::digest(content), 64)
}

/// Go's name for this machine, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_blob_lies_under_its_digest() {
        let archive = layout(b"program", "registry/pause:1").unwrap();
        let mut blobs = 0;
        let mut archive = tar::Archive::new(archive.as_slice());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(name, hash(&content));
                blobs += 1;
            }
            if path == "index.json" {
                assert!(
                    String::from_utf8_lossy(&content).contains("\"io.containerd.image.name\":\"registry/pause:1\"")
                );
            }
        }
        assert_eq!(blobs, 3);
    }
}
