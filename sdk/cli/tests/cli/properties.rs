//! Whatever the text: nothing panics, and each complaint has a place inside it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kite_api::boundary::Places;
use kite_plugin::manifest::check;
use proptest::{prelude::*, sample::Index};

const PLACES: Places<'_> = Places {
    plugins: "kite-plugins",
    system: "kite-system",
};

const EVERY_FIELD: &str = include_str!("../../../../e2e/tests/admit_spec/every-field.yaml");

/// What is put in the place of some characters.
fn pieces() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[\\[\\]{}:,\"'*&!|>%@`#?\t\n -]{1,4}",
        prop::sample::select(vec![
            "yes", "010", "1.20", "~", "\n---\n", "\r\n", "\u{feff}", "*a", "&a ", "<<: ", "é", "\u{0}", "null", "- ",
            "?", "[[[[",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

/// `text` with a few pieces of it replaced.
fn spoil(text: &str, edits: &[(Index, usize, String)]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for (place, length, piece) in edits {
        let start = place.index(characters.len() + 1);
        let end = (start + length).min(characters.len());
        characters.splice(start..end, piece.chars());
    }
    characters.into_iter().collect()
}

fn check_places(text: &[u8]) -> Result<(), TestCaseError> {
    let shown = String::from_utf8_lossy(text).into_owned();
    let checked = check("plugin.yaml", text.to_vec(), PLACES);
    let lines: Vec<&str> = shown.split('\n').collect();
    for complaint in checked.complaints.told() {
        let line = lines.get(complaint.line - 1);
        prop_assert!(line.is_some(), "{:?}", complaint);
        let most = line.map_or(0, |line| line.chars().count()) + 1;
        prop_assert!((1..=most).contains(&complaint.column), "{:?}", complaint);
    }
    prop_assert_eq!(checked.manifest.is_none(), checked.complaints.errors() > 0);
    let has_control = checked.complaints.report().contains('\u{0}');
    prop_assert!(!has_control, "a report shows no control characters");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spoiled_document_is_complained_about_inside_it(
        edits in prop::collection::vec((any::<Index>(), 0_usize..12, pieces()), 1..4),
    ) {
        check_places(spoil(EVERY_FIELD, &edits).as_bytes())?;
    }

    #[test]
    fn any_bytes_are_complained_about_inside_them(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_places(&bytes)?;
    }
}

/// The rules of the schema, which are in the Common Expression Language.
fn rules(schema: &JSONSchemaProps, found: &mut Vec<String>) {
    let own = schema.x_kubernetes_validations.iter().flatten();
    found.extend(own.map(|rule| rule.rule.clone()));
    for inner in schema.properties.iter().flatten().map(|(_, inner)| inner) {
        rules(inner, found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        rules(items, found);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(inner)) = &schema.additional_properties {
        rules(inner, found);
    }
}

/// A rule with a function that is missing here would refuse every document that has the field: whoever uses another one in the
/// schema sees to it that the command has it, and adds it here.
#[test]
fn every_rule_of_the_schema_can_be_evaluated() {
    const FUNCTIONS: [&str; 6] = ["matches", "size", "split", "startsWith", "string", "type"];
    let mut found = Vec::new();
    for version in kite_api::crd().spec.versions {
        rules(&version.schema.unwrap().open_api_v3_schema.unwrap(), &mut found);
    }
    assert!(found.len() > 90, "{}", found.len());
    for rule in found {
        let program = kube_cel::cel::Program::compile(&rule).unwrap();
        let references = program.references();
        let called = references.functions().into_iter();
        let is_operator = |name: &str| !name.chars().all(|character| character.is_ascii_alphanumeric());
        let unknown: Vec<&str> = called
            .filter(|name| !is_operator(name) && !FUNCTIONS.contains(name))
            .collect();
        assert_eq!(unknown, [""; 0], "{rule}");
    }
}
