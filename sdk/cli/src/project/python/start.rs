//! Where a plugin in Python starts: a function that the project names as a script, or a file.

use std::{collections::BTreeMap, path::Path};

/// The file that is run where no script is named.
const FILE: &str = "plugin.py";

/// What the interpreter is told to run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Start {
    /// A file of the project, by its path in it.
    File(&'static str),
    /// A function, by its module and its path in that.
    Function { module: String, function: String },
}

/// Why nothing can be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("failed to find {FILE}, or a script under [project.scripts]")]
    Nothing,
    #[error("failed to choose one of the scripts under [project.scripts]: {}", .0.join(", "))]
    Several(Vec<String>),
    #[error("failed to understand the script {name}: {value:?} is not module:function")]
    Script { name: String, value: String },
}

/// The script that is called as the plugin, or the only one; or the file.
pub(super) fn find(
    folder: &Path,
    scripts: &BTreeMap<String, String>,
    plugin: Option<&str>,
) -> Result<Start, StartError> {
    let own = plugin.and_then(|plugin| scripts.get_key_value(plugin));
    let only = scripts.iter().next().filter(|_| scripts.len() == 1);
    match own.or(only) {
        Some((name, value)) => function(value).ok_or_else(|| StartError::Script {
            name: name.clone(),
            value: value.clone(),
        }),
        None if folder.join(FILE).is_file() => Ok(Start::File(FILE)),
        None if scripts.is_empty() => Err(StartError::Nothing),
        None => Err(StartError::Several(scripts.keys().cloned().collect())),
    }
}

/// `module:function`, both with dots in them or not. What follows in brackets names optional packages, and is past use.
fn function(value: &str) -> Option<Start> {
    let (module, function) = value.split_once(':')?;
    let function = function.split('[').next().unwrap_or(function);
    let [module, function] = [module, function].map(str::trim);
    // Both become part of a line of Python.
    let is_name = |text: &str| {
        text.split('.').all(|part| {
            let mut characters = part.chars();
            characters
                .next()
                .is_some_and(|first| first == '_' || first.is_alphabetic())
                && characters.all(|other| other == '_' || other.is_alphanumeric())
        })
    };
    (is_name(module) && is_name(function)).then(|| Start::Function {
        module: module.to_owned(),
        function: function.to_owned(),
    })
}

impl Start {
    /// The interpreter's arguments, for a project that lies in `folder`.
    pub(crate) fn arguments(&self, folder: &str) -> Vec<String> {
        match self {
            Self::File(file) => vec![format!("{folder}/{file}")],
            Self::Function { module, function } => {
                let first = function.split('.').next().unwrap_or(function);
                let script = format!("import sys; from {module} import {first}; sys.exit({function}())");
                vec!["-c".to_owned(), script]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(scripts: &[(&str, &str)], has_file: bool) -> Result<Start, StartError> {
        let folder = tempfile::tempdir().unwrap();
        if has_file {
            fs::write(folder.path().join(FILE), "").unwrap();
        }
        let scripts = scripts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        find(folder.path(), &scripts.collect(), Some("own"))
    }

    #[test]
    fn the_start_is_found_by_the_first_rule_that_fits() {
        let function = |module: &str, function: &str| Start::Function {
            module: module.to_owned(),
            function: function.to_owned(),
        };
        assert_eq!(
            found(&[("a", "a:main"), ("own", "own.start:App.run")], true).unwrap(),
            function("own.start", "App.run")
        );
        assert_eq!(
            found(&[("a", "a : main [extra]")], true).unwrap(),
            function("a", "main")
        );
        assert_eq!(found(&[], true).unwrap(), Start::File(FILE));
        assert_eq!(found(&[("a", "a:b"), ("c", "c:d")], true).unwrap(), Start::File(FILE));
    }

    #[test]
    fn nothing_is_run_for_each_of_its_reasons() {
        assert!(matches!(found(&[], false), Err(StartError::Nothing)));
        let several = found(&[("a", "a:b"), ("c", "c:d")], false);
        assert!(matches!(several, Err(StartError::Several(names)) if names == ["a", "c"]));
        for value in ["a", "a:", ":b", "a:b()", "a b:c", "a:b; import os", "a..b:c", "1:c"] {
            let refused = found(&[("a", value)], true);
            assert!(matches!(refused, Err(StartError::Script { .. })), "{value}");
        }
    }

    #[test]
    fn a_function_is_run_as_a_script_of_pip_would_run_it() {
        let start = found(&[("own", "own.start:App.run")], false).unwrap();
        assert_eq!(
            start.arguments("/app"),
            ["-c", "import sys; from own.start import App; sys.exit(App.run())"]
        );
        assert_eq!(Start::File(FILE).arguments("/app"), ["/app/plugin.py"]);
    }
}
