//! Each wrong use of the SDK in `wrong/` does not compile, and the compiler says what to change: the whole text of it stands in the
//! file of the same name. `TRYBUILD=overwrite` writes the texts anew.

#[test]
fn the_compiler_says_what_to_change() {
    trybuild::TestCases::new().compile_fail("tests/wrong/*.rs");
}
