//! Whatever a fuzzer has found once, and what it began with, is tried again.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use kite_fuzz::TARGETS;

/// Panics of all threads, those that are caught on their way too: a handler's is an answer 500 otherwise.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

#[test]
fn every_file_of_every_corpus_is_held() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        others(info);
    }));
    for (target, run) in TARGETS {
        let folder = corpus().join(target);
        let mut files = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            let ended = catch_unwind(AssertUnwindSafe(|| run(&data)));
            assert!(ended.is_ok(), "{} fails", path.display());
            assert_eq!(PANICS.load(Ordering::Relaxed), 0, "{} panics", path.display());
            files += 1;
        }
        assert!(files > 0, "{} is empty", folder.display());
    }
}

#[test]
fn every_target_has_a_corpus_and_a_program_and_no_other_is_there() {
    let named: BTreeSet<String> = TARGETS.iter().map(|(target, _)| (*target).to_owned()).collect();
    let stems_in = |folder: PathBuf| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        let stems = entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
        stems.collect()
    };
    assert_eq!(stems_in(corpus()), named);
    let libfuzzer = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("libfuzzer");
    assert_eq!(stems_in(libfuzzer.join("fuzz_targets")), named);
    let manifest = fs::read_to_string(libfuzzer.join("Cargo.toml")).unwrap();
    for target in &named {
        assert!(
            manifest.contains(&format!("name = \"{target}\"")),
            "{target} is no program"
        );
    }
}
