//! The libraries that a binary needs at run time, found on this machine as its loader would find them.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use oci_spec::image::Arch;

use super::{
    elf::{self, Elf, ElfError},
    search::{self, SearchPath},
};

/// The C library by whose name glibc is told from others.
const GLIBC: &str = "libc.so.6";
/// What glibc opens by name, without asking for it in any ELF file: when a thread ends itself, and when a host's or a
/// user's name is looked up.
const OPENED_BY_GLIBC: [&str; 4] = [
    "libgcc_s.so.1",
    "libnss_dns.so.2",
    "libnss_files.so.2",
    "libresolv.so.2",
];

/// Why the libraries of a binary could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    #[error("failed to find the library {name}, which {needed_by} needs, in any of: {}", list(.looked_in))]
    Find {
        name: String,
        needed_by: String,
        looked_in: Vec<PathBuf>,
    },
    #[error("failed to read the loader {path}, which the binary asks for")]
    ReadLoader { path: PathBuf, source: io::Error },
    #[error("failed to use the library {path}")]
    Parse { path: PathBuf, source: ElfError },
}

/// A file that the program may open while it runs, as an interpreter opens its extension modules. It is in the image.
pub(super) struct Module {
    /// On this machine, without links in it.
    pub(super) path: PathBuf,
    pub(super) content: Bytes,
}

/// A library that a module needs, and this machine does not have. The module cannot be opened here either.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unfound {
    name: String,
    needed_by: String,
}

impl fmt::Display for Unfound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, needed_by } = self;
        write!(
            f,
            "{needed_by} needs the library {name}, which this machine does not have: it cannot be imported, here and in the image"
        )
    }
}

fn list(paths: &[PathBuf]) -> String {
    let folders: Vec<_> = paths
        .iter()
        .filter_map(|path| path.parent())
        .map(|path| path.to_string_lossy())
        .collect();
    folders.join(", ")
}

/// A binary whose libraries are wanted, and what they are called by where they lie in the image.
struct Closure<'a> {
    search: &'a SearchPath,
    architecture: &'a Arch,
    found: Vec<Found>,
    seen: HashSet<String>,
    /// Files that are in the image already, by their paths on this machine.
    carried: HashSet<PathBuf>,
    unfound: Vec<Unfound>,
}

struct Found {
    /// The name that was asked for: the loader asks for it again in the image.
    name: String,
    path: PathBuf,
    bytes: Vec<u8>,
}

/// An ELF file whose `DT_NEEDED` are to be found.
struct Asking {
    name: String,
    folders: Vec<PathBuf>,
    /// The RPATHs of it and of all that loaded it.
    rpaths: Vec<PathBuf>,
    needed: Vec<String>,
}

impl Asking {
    fn new(name: String, elf: Elf, origin: &Path, loaders: &[PathBuf]) -> Self {
        let mut rpaths = search::expand(&elf.rpath, origin);
        rpaths.extend_from_slice(loaders);
        let folders = elf
            .runpath
            .map_or_else(|| rpaths.clone(), |runpath| search::expand(&runpath, origin));
        Self {
            name,
            folders,
            rpaths,
            needed: elf.needed,
        }
    }
}

/// What a binary and its modules need.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Needed {
    /// By their paths in the image.
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
    /// What the modules lack.
    pub(super) unfound: Vec<Unfound>,
}

/// What `binary` and its `modules` need. A static binary needs nothing.
pub(super) fn closure(
    binary: &Path,
    elf: Elf,
    modules: &[Module],
    search: &SearchPath,
) -> Result<Needed, LibraryError> {
    let Some(interpreter) = elf.interpreter.clone() else {
        return Ok(Needed::default());
    };
    let loader = fs::read(&interpreter).map_err(|source| LibraryError::ReadLoader {
        path: interpreter.clone(),
        source,
    })?;
    let loader_name = interpreter.file_name().map(|name| name.to_string_lossy().into_owned());

    let architecture = elf.architecture.clone();
    // The C library asks for the loader by its name, which is loaded already then.
    let seen = loader_name.into_iter().collect();
    let mut closure = Closure {
        search,
        architecture: &architecture,
        found: Vec::new(),
        seen,
        carried: modules.iter().map(|module| module.path.clone()).collect(),
        unfound: Vec::new(),
    };
    let origin = fs::canonicalize(binary).unwrap_or_else(|_| binary.to_owned());
    let origin = origin.parent().unwrap_or(Path::new("/"));
    let own = Asking::new(binary.display().to_string(), elf, origin, &[]);
    // What the binary has an RPATH to is looked into for its modules too.
    let loaders = own.rpaths.clone();
    closure.follow(own, Lacking::Fails)?;
    for module in modules {
        closure.add_module(module, &loaders)?;
    }
    if closure.seen.contains(GLIBC) {
        closure.add_opened_by_glibc()?;
    }

    let mut files: BTreeMap<_, _> = place(closure.found, &search.built_in).collect();
    files.insert(interpreter, loader);
    let unfound = closure.unfound;
    Ok(Needed { files, unfound })
}

/// What becomes of a library that is not found.
#[derive(Clone, Copy)]
enum Lacking {
    Fails,
    IsTold,
}

impl Closure<'_> {
    /// Finds all that `first` asks for, and what that asks for; breadth first, as the loader does.
    fn follow(&mut self, first: Asking, lacking: Lacking) -> Result<(), LibraryError> {
        let mut queue = VecDeque::from([first]);
        while let Some(asking) = queue.pop_front() {
            for name in &asking.needed {
                if self.seen.contains(name) {
                    continue;
                }
                let candidates = search::candidates(name, &asking.folders, self.search);
                let Some((path, bytes, elf)) = self.first_that_fits(&candidates)? else {
                    let needed_by = asking.name.clone();
                    let name = name.clone();
                    match lacking {
                        Lacking::Fails => {
                            return Err(LibraryError::Find {
                                name,
                                needed_by,
                                looked_in: candidates,
                            });
                        }
                        Lacking::IsTold => self.tell(name, needed_by),
                    }
                    continue;
                };
                let origin = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
                if self.carried.contains(&origin) {
                    // It lies in the image as it lies here beside whoever asks, and is a module itself.
                    continue;
                }
                self.seen.insert(name.clone());
                let origin = origin.parent().unwrap_or(Path::new("/"));
                queue.push_back(Asking::new(path.display().to_string(), elf, origin, &asking.rpaths));
                self.found.push(Found {
                    name: name.clone(),
                    path,
                    bytes,
                });
            }
        }
        Ok(())
    }

    /// A module is whatever the program may open: what is no library of this machine's kind is passed over.
    fn add_module(&mut self, module: &Module, loaders: &[PathBuf]) -> Result<(), LibraryError> {
        let elf = elf::parse(&module.content);
        let Some(elf) = elf.ok().filter(|elf| elf.architecture == *self.architecture) else {
            return Ok(());
        };
        let origin = module.path.parent().unwrap_or(Path::new("/"));
        let asking = Asking::new(module.path.display().to_string(), elf, origin, loaders);
        self.follow(asking, Lacking::IsTold)
    }

    /// A library that lies somewhere among the modules is opened by its path before those that need it.
    fn tell(&mut self, name: String, needed_by: String) {
        let is_carried = self
            .carried
            .iter()
            .any(|path| path.file_name().is_some_and(|file| file == name.as_str()));
        self.seen.insert(name.clone());
        if !is_carried {
            self.unfound.push(Unfound { name, needed_by });
        }
    }

    /// The first candidate that exists and is for the same machine; others are passed over, as by the loader.
    fn first_that_fits(&self, candidates: &[PathBuf]) -> Result<Option<(PathBuf, Vec<u8>, Elf)>, LibraryError> {
        for path in candidates {
            let Ok(bytes) = fs::read(path) else { continue };
            match elf::parse(&bytes) {
                Ok(elf) if elf.architecture == *self.architecture => return Ok(Some((path.clone(), bytes, elf))),
                Ok(_) | Err(ElfError::Bits32 | ElfError::OtherMachine(_) | ElfError::OtherSystem(_)) => {}
                Err(source) => {
                    return Err(LibraryError::Parse {
                        path: path.clone(),
                        source,
                    });
                }
            }
        }
        Ok(None)
    }

    fn add_opened_by_glibc(&mut self) -> Result<(), LibraryError> {
        for name in OPENED_BY_GLIBC {
            let exists = search::candidates(name, &[], self.search)
                .iter()
                .any(|path| path.exists());
            if exists {
                let needed = vec![name.to_owned()];
                let asking = Asking {
                    name: GLIBC.to_owned(),
                    folders: Vec::new(),
                    rpaths: Vec::new(),
                    needed,
                };
                self.follow(asking, Lacking::Fails)?;
            }
        }
        Ok(())
    }
}

/// Where each library goes in the image. The image has no loader configuration and another `$ORIGIN`, so only the
/// built-in folders are sure to be looked into: what was found elsewhere goes into the one that has the C library.
fn place(found: Vec<Found>, built_in: &[PathBuf]) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    let is_built_in = |path: &Path| {
        path.parent()
            .is_some_and(|folder| built_in.iter().any(|known| known == folder))
    };
    let of_c_library = found
        .iter()
        .filter(|library| library.name.starts_with("libc."))
        .chain(&found)
        .find(|library| is_built_in(&library.path))
        .and_then(|library| library.path.parent())
        .map_or_else(|| PathBuf::from("/usr/lib"), Path::to_owned);
    let built_in = built_in.to_vec();
    found.into_iter().map(move |library| {
        let stays = library.name.contains('/')
            || library
                .path
                .parent()
                .is_some_and(|folder| built_in.iter().any(|known| known == folder));
        let path = if stays {
            library.path
        } else {
            of_c_library.join(&library.name)
        };
        (path, library.bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> (PathBuf, Elf) {
        let path = std::env::current_exe().unwrap();
        let elf = elf::parse(&fs::read(&path).unwrap()).unwrap();
        (path, elf)
    }

    #[test]
    fn the_test_itself_needs_its_loader_and_the_c_library() {
        let (path, elf) = own();
        let interpreter = elf.interpreter.clone().unwrap();
        let search = SearchPath::of_host(&elf.architecture);
        let files = closure(&path, elf, &[], &search).unwrap().files;
        assert!(files.contains_key(&interpreter));
        let c_library = files.keys().find(|path| path.ends_with(GLIBC)).unwrap();
        assert!(
            search
                .built_in
                .iter()
                .any(|folder| Some(folder.as_path()) == c_library.parent())
        );
    }

    #[test]
    fn a_static_binary_needs_nothing() {
        let (path, mut elf) = own();
        elf.interpreter = None;
        let search = SearchPath::of_host(&elf.architecture);
        assert_eq!(closure(&path, elf, &[], &search).unwrap(), Needed::default());
    }

    #[test]
    fn a_missing_library_is_named_with_the_folders_that_were_searched() {
        let (_, mut elf) = own();
        elf.needed = vec!["libnowhere.so.1".to_owned()];
        let search = SearchPath {
            configured: vec!["/opt/a".into()],
            built_in: vec!["/opt/b".into()],
        };
        let error = closure(Path::new("/x/plugin"), elf, &[], &search).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to find the library libnowhere.so.1, which /x/plugin needs, in any of: /opt/a, /opt/b"
        );
    }

    #[test]
    fn a_missing_loader_is_named() {
        let (path, mut elf) = own();
        elf.interpreter = Some("/nowhere/ld.so".into());
        let search = SearchPath::of_host(&elf.architecture);
        let error = closure(&path, elf, &[], &search).unwrap_err();
        assert!(matches!(error, LibraryError::ReadLoader { path, .. } if path == Path::new("/nowhere/ld.so")));
    }

    #[test]
    fn what_lies_where_the_loader_of_the_image_does_not_look_goes_beside_the_c_library() {
        let library = |name: &str, path: &str| Found {
            name: name.into(),
            path: path.into(),
            bytes: Vec::new(),
        };
        let found = vec![
            library("liba.so.1", "/opt/plugin/lib/liba.so.1"),
            library("libc.so.6", "/usr/lib/libc.so.6"),
            library("libb.so.1", "/lib/libb.so.1"),
            library("/opt/x.so", "/opt/x.so"),
        ];
        let placed: Vec<PathBuf> = place(found, &["/lib".into(), "/usr/lib".into()])
            .map(|(path, _)| path)
            .collect();
        let expected = [
            "/usr/lib/liba.so.1",
            "/usr/lib/libc.so.6",
            "/lib/libb.so.1",
            "/opt/x.so",
        ];
        assert_eq!(placed, expected.map(PathBuf::from));
    }

    #[test]
    fn what_modules_lack_is_told_unless_it_is_a_module_itself() {
        let (binary, _) = own();
        let search = SearchPath {
            configured: Vec::new(),
            built_in: vec!["/nowhere".into()],
        };
        let module = |path: &str, content: Vec<u8>| Module {
            path: path.into(),
            content: content.into(),
        };
        // This test is as good a module as any, and asks for the C library.
        let asking = || module("/x/asking.so", fs::read(&binary).unwrap());
        let lacking = |modules: &[Module]| {
            let (_, mut elf) = own();
            elf.needed.clear();
            let needed = closure(&binary, elf, modules, &search).unwrap();
            let unfound = needed.unfound.iter();
            unfound.map(|unfound| unfound.name.clone()).collect::<Vec<_>>()
        };
        assert!(lacking(&[asking()]).contains(&GLIBC.to_owned()));
        let carried = module("/y/libc.so.6", b"no library of this machine".to_vec());
        assert!(!lacking(&[asking(), carried]).contains(&GLIBC.to_owned()));
        assert_eq!(lacking(&[module("/x/text.py", b"text".to_vec())]), Vec::<String>::new());
    }
}
