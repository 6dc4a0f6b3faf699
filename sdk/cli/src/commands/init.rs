//! `kite-plugin init`: a new plugin that works, for its author to go on from.

use std::path::{Path, PathBuf};

use clap::Args;
use kite_api::{
    PluginName,
    name::{MAX_PLUGIN_NAME, NameError},
};

use crate::{
    cli::ExitStatus,
    printer::Printer,
    scaffold::{self, Files, Language, VENDOR, WriteError},
};

/// Make a new plugin, with a route, a tool, a setting and tests
///
/// The folder is made, or is there and empty (a `.git` aside). Nothing is overwritten, and a failure leaves nothing. All that it
/// takes to build the plugin is in it or comes from the language's package registry: no checkout of Kite Plugins is needed.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// The plugin's name, which becomes its folder's; or a path whose last part is the name. `.` is the present folder
    #[arg(value_name = "NAME")]
    path: PathBuf,

    /// What to write it in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,

    /// The plugin's name, where its folder is called otherwise
    #[arg(long)]
    name: Option<String>,
}

/// Why a plugin could not be made.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("failed to find a name in the path {path}")]
    NoName { path: PathBuf },
    #[error("failed to accept {name:?} as a plugin's name")]
    Name { name: String, source: NameError },
    #[error("failed to make the plugin {name}")]
    Write { name: PluginName, source: WriteError },
}

pub(crate) fn run(args: &InitArgs, printer: &mut Printer<'_>) -> ExitStatus {
    match init(args) {
        Ok((name, files)) => {
            tell(&name, &files, args, printer);
            ExitStatus::Success
        }
        Err(error) => {
            printer.error(&error, hint(&error, args).as_deref());
            ExitStatus::Failure
        }
    }
}

fn init(args: &InitArgs) -> Result<(PluginName, Files), InitError> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => last_part(&args.path)?,
    };
    let name = PluginName::parse(&name).map_err(|source| InitError::Name { name, source })?;
    let files = scaffold::files(&name, args.language);
    match scaffold::write(&files, &args.path) {
        Ok(()) => Ok((name, files)),
        Err(source) => Err(InitError::Write { name, source }),
    }
}

/// The last part of a path; that of `.` and `..` is known to the file system alone.
fn last_part(path: &Path) -> Result<String, InitError> {
    let found = path.canonicalize();
    let whole = match path.file_name() {
        Some(_) => Some(path),
        None => found.as_deref().ok(),
    };
    let name = whole.and_then(Path::file_name);
    name.map(|name| name.to_string_lossy().into_owned())
        .ok_or_else(|| InitError::NoName { path: path.to_owned() })
}

/// Tells what was made, and what to do with it.
fn tell(name: &PluginName, files: &Files, args: &InitArgs, printer: &mut Printer<'_>) {
    let folder = args.path.display();
    let (language, test) = match args.language {
        Language::Rust => ("Rust", "cargo test"),
        Language::Python => ("Python", "kite-plugin build && .venv/bin/python -m unittest"),
    };
    let is_vendored = |path: &&String| path.split('/').next() == Some(VENDOR);
    let own = files.keys().filter(|path| !is_vendored(path)).map(String::as_str);
    let vendored = files.keys().find(is_vendored).map(|_| "vendor/ (the SDK)");
    let all: Vec<&str> = own.chain(vendored).collect();
    let list = all.join("\n  ");
    printer.talk(&format!(
        "Made the plugin {name}, in {language}, in {folder}:\n  {list}\n"
    ));
    printer.hint(&format!(
        "test it: `cd {folder} && {test}`, and then send it to your registry and your cluster: \
         `kite-plugin package --push registry.example/{name} | kubectl apply -f -`"
    ));
}

/// The next command, where there is an obvious one.
fn hint(error: &InitError, args: &InitArgs) -> Option<String> {
    match error {
        InitError::NoName { path } => Some(format!("name it: {}", command(path, Some("NAME"), args))),
        InitError::Name { name, .. } => {
            let better = better(name);
            let is_named_by_path = args.name.is_none() && args.path.file_name().is_some();
            let command = if is_named_by_path {
                command(&args.path.with_file_name(better), None, args)
            } else {
                command(&args.path, Some(&better), args)
            };
            Some(format!(
                "a name has lower-case letters, digits and `-`, the last neither first nor last, and at most \
                 {MAX_PLUGIN_NAME} characters: {command}"
            ))
        }
        InitError::Write { name, source } => match source {
            WriteError::NotEmpty { .. } | WriteError::Look { .. } => {
                let other = args.path.with_file_name(format!("{name}-plugin"));
                let command = command(&other, Some(name.as_str()), args);
                Some(format!("choose a folder that is not there yet: {command}"))
            }
            WriteError::Stage { parent, source } if source.kind() == std::io::ErrorKind::NotFound => {
                Some(format!("make that folder first: `mkdir -p {}`", parent.display()))
            }
            WriteError::Stage { .. } | WriteError::File { .. } | WriteError::Place { .. } => None,
        },
    }
}

/// The same command with another path, and another name.
fn command(path: &Path, name: Option<&str>, args: &InitArgs) -> String {
    let name = name.map(|name| format!(" --name {name}")).unwrap_or_default();
    let language = match args.language {
        Language::Rust => "",
        Language::Python => " --language python",
    };
    format!("`kite-plugin init {}{name}{language}`", path.display())
}

/// A good name that is like this one.
fn better(name: &str) -> String {
    let letters = name.to_lowercase();
    let words = letters.split(|character: char| !character.is_ascii_lowercase() && !character.is_ascii_digit());
    let joined = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    let short: String = joined.chars().take(MAX_PLUGIN_NAME).collect();
    let short = short.trim_end_matches('-');
    match PluginName::parse(short) {
        Ok(name) => name.to_string(),
        Err(NameError::Reserved) => format!("{short}-plugin"),
        Err(_) => "my-plugin".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_better_name_is_a_good_one(name in "\\PC{0,60}|[a-zA-Z_ -]{0,60}|tools|api") {
            prop_assert!(PluginName::parse(&better(&name)).is_ok(), "{}", better(&name));
        }
    }
}
