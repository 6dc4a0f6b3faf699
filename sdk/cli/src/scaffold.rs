//! A new project for a plugin: which files it has, and what stands in them.

mod crate_name;
mod lock;
mod packed;
mod write;

use std::{borrow::Cow, collections::BTreeMap};

use clap::ValueEnum;
use kite_api::PluginName;
use rust_embed::Embed;

pub use crate_name::CrateName;
pub use lock::ROOT as LOCK_ROOT;
pub use packed::{PACKED, Packed};
pub(crate) use write::{WriteError, write};

/// Contents by path, which is relative to the project's folder and has `/` between its parts.
pub type Files = BTreeMap<String, Cow<'static, [u8]>>;

/// Where the files lie that are not the author's.
pub const VENDOR: &str = "vendor";
/// On a template whose places are filled in. Others are taken as they are.
const TEMPLATE: &str = ".in";
/// The lock file.
const LOCK_FILE: &str = "Cargo.lock";
/// The toolchain with which all of it was tested.
const TOOLCHAIN: &str = include_str!("../../../rust-toolchain.toml");

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Language {
    Rust,
    Python,
}

#[derive(Embed)]
#[folder = "templates/rust"]
struct RustTemplates;

#[derive(Embed)]
#[folder = "templates/python"]
struct PythonTemplates;

/// The protocol's modules.
#[derive(Embed)]
#[folder = "generated/python"]
struct PythonModules;

/// The files of a new plugin called `name`.
pub fn files(name: &PluginName, language: Language) -> Files {
    match language {
        Language::Rust => rust(name),
        Language::Python => python(name),
    }
}

fn rust(name: &PluginName) -> Files {
    let crate_name = CrateName::of(name);
    let places = [
        ("{{name}}", name.as_str()),
        ("{{text}}", &yaml_text(name)),
        ("{{crate}}", crate_name.as_str()),
    ];
    let mut files = filled::<RustTemplates>(&places);
    let text = |text: String| Cow::Owned(text.into_bytes());
    files.insert(LOCK_FILE.to_owned(), text(lock::with_root(&crate_name)));
    files.insert("rust-toolchain.toml".to_owned(), Cow::Borrowed(TOOLCHAIN.as_bytes()));
    for packed in PACKED {
        let folder = format!("{VENDOR}/{}", packed.name);
        files.extend(
            packed
                .files()
                .into_iter()
                .map(|(path, data)| (format!("{folder}/{path}"), data)),
        );
    }
    files
}

/// The name as a text in YAML: `76` and `no` would be something else without quotes.
fn yaml_text(name: &PluginName) -> String {
    let quoted = || format!("\"{name}\"");
    serde_saphyr::to_string(&name.as_str()).map_or_else(|_| quoted(), |text| text.trim().to_owned())
}

fn python(name: &PluginName) -> Files {
    let mut files = filled::<PythonTemplates>(&[("{{name}}", name.as_str()), ("{{text}}", &yaml_text(name))]);
    files.extend(filled::<PythonModules>(&[]));
    files
}

/// All templates, with what stands in their places.
fn filled<T: Embed>(places: &[(&str, &str)]) -> Files {
    let fill = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        places
            .iter()
            .fold(text, |text, (place, value)| text.replace(place, value))
    };
    let all = T::iter().filter_map(|path| Some((T::get(&path)?.data, path)));
    all.map(|(data, path)| match path.strip_suffix(TEMPLATE) {
        Some(path) => (path.to_owned(), Cow::Owned(fill(&data).into_bytes())),
        None => (path.into_owned(), data),
    })
    .collect()
}
