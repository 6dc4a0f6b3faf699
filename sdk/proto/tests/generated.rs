//! The committed code is what `plugin.proto` generates; `make generate` rewrites it.

use std::{fs, path::Path};

#[test]
fn the_generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().expect("a folder to generate into");
    let descriptors =
        protox::compile([root.join("kite/plugin/v1/plugin.proto")], [root]).expect("plugin.proto compiles");
    tonic_prost_build::configure()
        .bytes(".")
        // What a plugin's responses are read into is bounded.
        .extern_path(".kite.plugin.v1.HttpResponse", "crate::HttpResponse")
        .extern_path(".kite.plugin.v1.HttpResponseHead", "crate::HttpResponseHead")
        // A plugin has only the methods that it speaks of.
        .generate_default_stubs(true)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("code is generated from plugin.proto");
    let fresh = fs::read_to_string(out.path().join("kite.plugin.v1.rs")).expect("the generated file");
    let committed = root.join("src/generated/kite.plugin.v1.rs");
    if std::env::var_os("KITE_GENERATE").is_some() {
        fs::write(&committed, &fresh).expect("the generated file is written");
    }
    assert!(
        fs::read_to_string(&committed).is_ok_and(|text| text == fresh),
        "sdk/proto/src/generated/kite.plugin.v1.rs is not what plugin.proto generates: run `make generate`"
    );
}
