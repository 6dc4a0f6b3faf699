//! Where the loader looks for libraries, as ld.so(8) has it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use oci_spec::image::Arch;

/// The file that lists more folders than the built-in ones.
const CONFIGURATION: &str = "/etc/ld.so.conf";
/// How deep `include` lines may nest.
const MAX_INCLUDES: usize = 8;

/// The folders that hold for every binary.
#[derive(Clone, Debug)]
pub(super) struct SearchPath {
    /// From the loader's configuration. An image has none, so what is found here goes elsewhere in it.
    pub(super) configured: Vec<PathBuf>,
    /// Built into the loader: it looks here in the image too.
    pub(super) built_in: Vec<PathBuf>,
}

impl SearchPath {
    /// The folders of this machine.
    pub(super) fn of_host(architecture: &Arch) -> Self {
        let mut configured = Vec::new();
        read_configuration(Path::new(CONFIGURATION), MAX_INCLUDES, &mut configured);
        Self {
            configured,
            built_in: built_in(architecture),
        }
    }
}

/// The folders that the loaders of Debian, Fedora and Alpine have built in.
fn built_in(architecture: &Arch) -> Vec<PathBuf> {
    let triplet = match architecture {
        Arch::ARM64 => "aarch64-linux-gnu",
        _ => "x86_64-linux-gnu",
    };
    let mut folders = vec![
        PathBuf::from("/lib").join(triplet),
        PathBuf::from("/usr/lib").join(triplet),
    ];
    folders.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from));
    folders
}

/// Where a library called `name` may lie, best first. `own` is the RPATH or RUNPATH that holds, expanded.
pub(super) fn candidates(name: &str, own: &[PathBuf], search: &SearchPath) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![PathBuf::from(name)];
    }
    own.iter()
        .chain(&search.configured)
        .chain(&search.built_in)
        .map(|folder| folder.join(name))
        .collect()
}

/// Folders of an RPATH or RUNPATH, with `$ORIGIN`, the folder of the file that has it, filled in.
pub(super) fn expand(folders: &[String], origin: &Path) -> Vec<PathBuf> {
    let origin = origin.to_string_lossy();
    folders
        .iter()
        .map(|folder| PathBuf::from(folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)))
        .collect()
}

/// Reads a configuration file; one that cannot be read names no folders, as for the loader.
fn read_configuration(file: &Path, includes_left: usize, folders: &mut Vec<PathBuf>) {
    let Ok(text) = fs::read_to_string(file) else { return };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line
            .strip_prefix("include")
            .filter(|rest| rest.starts_with(char::is_whitespace))
        {
            if includes_left > 0 {
                for included in matching(&file.parent().unwrap_or(Path::new("/")).join(pattern.trim())) {
                    read_configuration(&included, includes_left - 1, folders);
                }
            }
        } else if line.starts_with('/') {
            folders.push(PathBuf::from(line));
        }
    }
}

/// The files that a pattern with `*` in its last part names, sorted.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(|file| fits(name, file)))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

/// Whether `name` fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(left) = name.strip_prefix(head) else {
        return false;
    };
    left.char_indices()
        .map(|(at, _)| at)
        .chain([left.len()])
        .any(|at| left.get(at..).is_some_and(|tail| fits(rest, tail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_folders_come_before_configured_ones_and_those_before_the_built_in() {
        let search = SearchPath {
            configured: vec!["/opt/lib".into()],
            built_in: vec!["/lib".into()],
        };
        let own = expand(
            &["$ORIGIN/../lib".to_owned(), "${ORIGIN}".to_owned()],
            Path::new("/app/bin"),
        );
        let expected = [
            "/app/bin/../lib/liba.so",
            "/app/bin/liba.so",
            "/opt/lib/liba.so",
            "/lib/liba.so",
        ];
        assert_eq!(candidates("liba.so", &own, &search), expected.map(PathBuf::from));
        assert_eq!(
            candidates("/opt/liba.so", &own, &search),
            [PathBuf::from("/opt/liba.so")]
        );
    }

    #[test]
    fn the_configuration_is_read_with_its_includes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("conf.d")).unwrap();
        fs::write(
            path("ld.so.conf"),
            "/first # why\n\ninclude conf.d/*.conf\n  /last\nrelative\n",
        )
        .unwrap();
        fs::write(path("conf.d/b.conf"), "/b\ninclude ../ld.so.conf\n").unwrap();
        fs::write(path("conf.d/a.conf"), "/a\n").unwrap();
        fs::write(path("conf.d/c.txt"), "/c\n").unwrap();
        let mut folders = Vec::new();
        read_configuration(&path("ld.so.conf"), 1, &mut folders);
        assert_eq!(folders, ["/first", "/a", "/b", "/last"].map(PathBuf::from));
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, fit) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b", "ab", true),
            ("a", "b", false),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }
}
