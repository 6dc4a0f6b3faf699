//! The SDK's crates as cargo packs them. Until they are published, each project has these files.

use rust_embed::Embed;

use super::Files;

#[derive(Embed)]
#[folder = "../../crds/src"]
struct Api;

#[derive(Embed)]
#[folder = "../proto/src"]
struct Proto;

#[derive(Embed)]
#[folder = "../rust/src"]
struct Sdk;

/// A crate as cargo packs it, but for what says only how it was packed: `Cargo.toml.orig` and `.cargo_vcs_info.json`.
#[derive(Clone, Copy, Debug)]
pub struct Packed {
    /// Its name.
    pub name: &'static str,
    /// Its manifest, which leans on no workspace. `make generate` writes it.
    pub manifest: &'static str,
    sources: fn() -> Files,
}

/// The crates that a plugin links, and what they need of ours.
pub const PACKED: [Packed; 3] = [
    Packed {
        name: "kite-api",
        manifest: include_str!("../../generated/kite-api.toml"),
        sources: || below::<Api>("src"),
    },
    Packed {
        name: "kite-plugin-sdk",
        manifest: include_str!("../../generated/kite-plugin-sdk.toml"),
        sources: || below::<Sdk>("src"),
    },
    Packed {
        name: "kite-proto",
        manifest: include_str!("../../generated/kite-proto.toml"),
        sources: || {
            let protocol = include_bytes!("../../../proto/kite/plugin/v1/plugin.proto");
            let mut files = below::<Proto>("src");
            files.insert("kite/plugin/v1/plugin.proto".to_owned(), protocol.as_slice().into());
            files
        },
    },
];

impl Packed {
    /// Its files.
    pub fn files(&self) -> Files {
        let mut files = (self.sources)();
        files.insert("Cargo.toml".to_owned(), self.manifest.as_bytes().into());
        files
    }
}

fn below<E: Embed>(folder: &str) -> Files {
    E::iter()
        .filter_map(|path| Some((format!("{folder}/{path}"), E::get(&path)?.data)))
        .collect()
}
