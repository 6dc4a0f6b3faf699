//! The smallest package of a plugin.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A package that is not compressed, behind the byte that says so.
pub(super) fn whole() -> Vec<u8> {
    let layer = tar(&[]);
    let config = text(&json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    }));
    let manifest = text(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }));
    let index = text(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", &manifest)],
    }));
    let document = format!(
        "apiVersion: kite.dev/v1alpha1\nkind: KitePlugin\nmetadata: {{name: own}}\nspec: {{version: 1.0.0, image: \"own@{}\"}}\n",
        digest(&manifest)
    );
    let blob = |content: &[u8]| format!("own/image/blobs/sha256/{}", &digest(content)["sha256:".len()..]);
    let entries = [
        ("own/plugin.yaml".to_owned(), document.into_bytes()),
        (
            "own/image/oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        ("own/image/index.json".to_owned(), index),
        (blob(&config), config.clone()),
        (blob(&manifest), manifest.clone()),
        (blob(&layer), layer.clone()),
        ("own/web/remoteEntry.js".to_owned(), b"export {};".to_vec()),
    ];
    [vec![1], tar(&entries)].concat()
}

fn tar(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn digest(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    hash.iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn text(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}
