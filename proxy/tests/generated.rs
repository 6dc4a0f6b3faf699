//! The committed `OpenAPI` document is what the routes say; `make generate` rewrites it.

use std::{fs, path::Path};

#[test]
fn the_openapi_document_is_current() {
    let fresh = kite_gateway::openapi::text();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/openapi.json");
    if std::env::var_os("KITE_GENERATE").is_some() {
        fs::write(&committed, &fresh).expect("the generated file is written");
    }
    assert!(
        fs::read_to_string(&committed).is_ok_and(|text| text == fresh),
        "docs/reference/openapi.json is not what the gateway's routes say: run `make generate`"
    );
}
