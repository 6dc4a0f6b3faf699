//! The versions in the crate's documentation are those that it is built with.

#[test]
fn the_documented_versions_are_those_of_the_workspace() {
    let manifest = include_str!("../../../Cargo.toml");
    let documented = include_str!("../src/lib.rs");
    let mut compared = 0;
    for row in documented.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let [library, version, _] = row.split(" | ").collect::<Vec<_>>()[..] else {
            continue;
        };
        let library = library.trim_matches(['[', ']', '`']).replace('_', "-");
        let entry = |line: &&str| line.starts_with(&format!("{library} = "));
        let Some(line) = manifest.lines().find(entry) else {
            continue;
        };
        let required = line.split('"').nth(1).unwrap();
        assert!(
            required.starts_with(version),
            "{library}: {version} is documented, {required} is used"
        );
        compared += 1;
    }
    assert!(
        compared >= 8,
        "the table in lib.rs has only {compared} rows that were understood"
    );
}
