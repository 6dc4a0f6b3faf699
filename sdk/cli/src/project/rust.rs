//! A project in Rust, built by cargo such that the same sources give the same binary in whatever folder they lie.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

use cargo_metadata::{Message, Metadata, MetadataCommand, Package, TargetKind};
use tokio::process::Command;

use super::{
    CARGO,
    run::{RunError, run},
};
use crate::printer::Printer;

/// Between the flags in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: char = '\u{1f}';

/// Why there is no binary.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RustError {
    #[error("failed to find the project's folder")]
    Folder(#[source] io::Error),
    #[error("failed to ask cargo about the project")]
    Ask(#[source] RunError),
    #[error("failed to understand what cargo says about the project")]
    Metadata(#[source] cargo_metadata::Error),
    #[error("failed to find a package in {0}: it is a workspace only")]
    NoPackage(PathBuf),
    #[error("failed to find a binary in the package {0}: it has none")]
    NoBinary(String),
    #[error("failed to choose one of the binaries of the package {package}: {}", .binaries.join(", "))]
    SeveralBinaries { package: String, binaries: Vec<String> },
    #[error("failed to compile the project")]
    Compile(#[source] RunError),
    #[error("failed to understand what cargo says about the build")]
    Messages(#[source] io::Error),
    #[error("failed to find the binary {0}: cargo does not say where it is")]
    NoArtifact(String),
}

/// Builds the binary of the package in `folder` with the profile `release`, and gives its path.
pub(super) async fn build(folder: &Path, name: Option<&str>, printer: &mut Printer<'_>) -> Result<PathBuf, RustError> {
    let manifest = folder.join(CARGO).canonicalize().map_err(RustError::Folder)?;
    let metadata = metadata(&manifest, printer).await?;
    let is_ours = |package: &&Package| package.manifest_path == manifest;
    let package = metadata.packages.iter().find(is_ours);
    let package = package.ok_or_else(|| RustError::NoPackage(manifest.clone()))?;
    let binary = binary(package, name)?;
    let command = compile(&manifest, &metadata, &binary);
    let messages = run(command, printer).await.map_err(RustError::Compile)?;
    let mut found = None;
    for message in Message::parse_stream(messages.as_slice()) {
        if let Message::CompilerArtifact(artifact) = message.map_err(RustError::Messages)?
            && artifact.package_id == package.id
            && artifact.target.name == binary
            && artifact.target.kind.contains(&TargetKind::Bin)
        {
            found = artifact.executable;
        }
    }
    found
        .map(cargo_metadata::camino::Utf8PathBuf::into_std_path_buf)
        .ok_or(RustError::NoArtifact(binary))
}

async fn metadata(manifest: &Path, printer: &mut Printer<'_>) -> Result<Metadata, RustError> {
    let mut ask = MetadataCommand::new();
    let ask = ask.manifest_path(manifest).no_deps().cargo_command();
    let answer = run(ask, printer).await.map_err(RustError::Ask)?;
    MetadataCommand::parse(String::from_utf8_lossy(&answer)).map_err(RustError::Metadata)
}

/// The binary that is the plugin: `default-run`, or the only one, or the one that is called as the plugin or the package.
fn binary(package: &Package, plugin: Option<&str>) -> Result<String, RustError> {
    let binaries = package.targets.iter().filter(|target| target.is_bin());
    let mut binaries: Vec<String> = binaries.map(|target| target.name.clone()).collect();
    let wanted = [package.default_run.as_deref(), plugin, Some(package.name.as_str())];
    for wanted in wanted.into_iter().flatten() {
        if binaries.iter().any(|name| name == wanted) {
            return Ok(wanted.to_owned());
        }
    }
    let package = package.name.to_string();
    match (binaries.pop(), binaries.is_empty()) {
        (None, _) => Err(RustError::NoBinary(package)),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            binaries.push(last);
            Err(RustError::SeveralBinaries { package, binaries })
        }
    }
}

fn compile(manifest: &Path, metadata: &Metadata, binary: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--release", "--message-format=json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(manifest)
        .args(["--bin", binary]);
    if metadata.workspace_root.join("Cargo.lock").exists() {
        command.arg("--locked");
    }
    // Build scripts and macros that write the time of the build take this one.
    if env::var_os("SOURCE_DATE_EPOCH").is_none() {
        command.env("SOURCE_DATE_EPOCH", "0");
    }
    let flags = remaps(metadata);
    let others = env::var("CARGO_ENCODED_RUSTFLAGS").or_else(|_| {
        let flags = env::var("RUSTFLAGS")?;
        let flags: Vec<&str> = flags.split(' ').filter(|flag| !flag.is_empty()).collect();
        Ok::<_, env::VarError>(flags.join(&SEPARATOR.to_string()))
    });
    match others {
        // Flags in the environment are the only ones that cargo takes then, so ours are added to them.
        Ok(others) => {
            let all = others.split(SEPARATOR).filter(|flag| !flag.is_empty());
            let all: Vec<&str> = all.chain(flags.iter().map(String::as_str)).collect();
            command.env("CARGO_ENCODED_RUSTFLAGS", all.join(&SEPARATOR.to_string()));
        }
        // Cargo adds these to the ones that its configuration files have under the same key.
        Err(_) => {
            command.arg("--config").arg(format!("build.rustflags={}", list(&flags)));
        }
    }
    command
}

/// What the compiler writes into the binary instead of this machine's folders, in messages of panics and for debuggers.
/// Of several that fit a path the last counts.
fn remaps(metadata: &Metadata) -> Vec<String> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
    let places: [(Option<&OsStr>, &str); 3] = [
        (cargo_home.as_deref().map(Path::as_os_str), "/cargo"),
        (Some(metadata.workspace_root.as_os_str()), "/source"),
        (Some(metadata.target_directory.as_os_str()), "/target"),
    ];
    let remap = |(folder, instead): (Option<&OsStr>, &str)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(folder?);
        flag.push("=");
        flag.push(instead);
        // A folder whose name is no text cannot be told to cargo, and stays as it is.
        flag.into_string().ok()
    };
    places.into_iter().filter_map(remap).collect()
}

/// A list of texts in TOML, which reads JSON's texts as its own.
fn list(flags: &[String]) -> String {
    serde_json::Value::from(flags).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is chosen among the binaries of a package called `own`, of which the manifest says `more`.
    async fn chosen(binaries: &[&str], more: &str, plugin: Option<&str>) -> Result<String, RustError> {
        let folder = tempfile::tempdir().unwrap();
        let bins = binaries
            .iter()
            .map(|name| format!("[[bin]]\nname = \"{name}\"\npath = \"main.rs\"\n"));
        let head = format!("[package]\nname = \"own\"\nedition = \"2024\"\nautobins = false\n{more}\n[workspace]\n");
        let manifest = folder.path().join(CARGO);
        fs::write(&manifest, bins.fold(head, |all, bin| all + &bin)).unwrap();
        for file in ["main.rs", "lib.rs"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let library = "\n[lib]\npath = \"lib.rs\"\n";
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text + library).unwrap();
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        let metadata = metadata(&manifest, &mut Printer::new(&mut data, &mut talk)).await?;
        binary(&metadata.packages[0], plugin)
    }

    #[tokio::test]
    async fn the_binary_is_chosen_by_the_first_rule_that_fits() {
        let all = ["a", "b", "own"];
        assert_eq!(chosen(&all, "default-run = \"a\"", Some("b")).await.unwrap(), "a");
        assert_eq!(chosen(&all, "", Some("b")).await.unwrap(), "b");
        assert_eq!(chosen(&all, "", Some("c")).await.unwrap(), "own");
        assert_eq!(chosen(&["a"], "", Some("c")).await.unwrap(), "a");
        let several = chosen(&["a", "b"], "", Some("c")).await.unwrap_err();
        assert_eq!(
            several.to_string(),
            "failed to choose one of the binaries of the package own: a, b"
        );
        assert!(matches!(chosen(&[], "", None).await, Err(RustError::NoBinary(_))));
    }

    #[test]
    fn a_list_is_toml_whatever_is_in_it() {
        let flags = ["a=/b \"c\" \\ d".to_owned(), "ä".to_owned()];
        let text = format!("flags = {}", list(&flags));
        let table: toml::Table = toml::from_str(&text).unwrap();
        let read: Vec<String> = table["flags"].clone().try_into().unwrap();
        assert_eq!(read, flags);
    }
}
