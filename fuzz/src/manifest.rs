//! An author's `plugin.yaml`, as the command reads it.

use kite_plugin::manifest;

/// What is read is written so that it is read as the same.
pub(crate) fn parse(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(read) = manifest::parse(text) else { return };
    let written = read
        .with_image(&format!("registry.example/a@sha256:{}", "0".repeat(64)))
        .expect("what was read is written");
    let again = manifest::parse(&written).expect("what was written is read");
    assert_eq!((&again.name, &again.version), (&read.name, &read.version));
    let without_image = |mut spec: serde_json::Value| {
        spec.as_object_mut().and_then(|spec| spec.remove("image"));
        spec
    };
    assert_eq!(without_image(again.spec()), without_image(read.spec()));
}
