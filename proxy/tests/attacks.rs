//! Each attack that the documentation says the gateway is proof against has tests, which are named by it.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The attacks that concern the gateway, each of which needs a row.
const KEYS: [&str; 21] = [
    "confused-deputy",
    "cross-site",
    "cross-user-cache",
    "http2-floods",
    "identity-headers",
    "internal-bypass",
    "name-as-path",
    "no-rule-open",
    "path-confusion",
    "plugin-html",
    "pre-login",
    "redirect",
    "regex-bomb",
    "smuggling",
    "ssrf",
    "starvation",
    "token-in-url",
    "token-passthrough",
    "tool-injection",
    "tool-poisoning",
    "upgrade-tunnel",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The key of each row, and the tests that it names.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let table = page
        .split("| attack | what holds | tests |")
        .nth(1)
        .expect("a table of attacks");
    let rows = table.trim().lines().skip(1).take_while(|line| line.starts_with('|'));
    let read = |row: &str| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [key, _, tests] = cells[..] else {
            panic!("{row} has not three cells")
        };
        let tests = tests.split(',').map(|test| test.trim().trim_matches('`').to_owned());
        (key.to_owned(), tests.collect())
    };
    rows.map(read).collect()
}

/// The names of all functions that are tests, below `folder`.
fn tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            // What stands behind an attribute that makes it a test.
            for part in text.split("test]\n").skip(1) {
                let head = part.lines().next().unwrap_or_default();
                let name = head.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                found.extend(name.map(ToOwned::to_owned));
            }
        }
    }
}

#[test]
fn each_attack_has_tests_that_are_named_by_it() {
    let page = fs::read_to_string(root().join("docs/security.md")).expect("the page");
    let rows = rows(&page);
    let keys: BTreeSet<&str> = rows.iter().map(|(key, _)| key.as_str()).collect();
    for key in KEYS {
        assert!(keys.contains(key), "docs/security.md has no row {key}");
    }
    let mut found = BTreeSet::new();
    for folder in [
        "proxy/src",
        "proxy/tests",
        "fuzz/tests",
        "e2e/tests",
        "crds/src",
        "operator/src",
    ] {
        tests(&root().join(folder), &mut found);
    }
    for (key, tests) in &rows {
        assert!(!tests.is_empty());
        for test in tests {
            assert!(found.contains(test), "{key}: there is no test {test}");
            assert!(test.starts_with(&key.replace('-', "_")), "{test} is not named by {key}");
        }
    }
    // A test that is named by an attack is not left out of its row.
    for test in &found {
        let row = rows
            .iter()
            .find(|(key, _)| test.starts_with(&format!("{}_", key.replace('-', "_"))));
        if let Some((key, tests)) = row {
            assert!(tests.contains(test), "the row {key} does not name {test}");
        }
    }
}
