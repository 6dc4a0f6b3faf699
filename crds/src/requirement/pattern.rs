//! The syntax of requirements as one regular expression, put together from its parts.

macro_rules! space {
    () => {
        r"[ \t\r\n]"
    };
}
/// Of at most `MAX_DIGITS` digits.
macro_rules! number {
    () => {
        r"(0|[1-9][0-9]{0,18})"
    };
}
macro_rules! pre_release {
    () => {
        r"(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
    };
}
macro_rules! build {
    () => {
        r"[0-9a-zA-Z-]+"
    };
}
/// A version, whole, partial or with wildcards.
macro_rules! version {
    () => {
        concat!(
            number!(),
            r"(\.[*xX](\.[*xX])?|\.",
            number!(),
            r"(\.[*xX]|\.",
            number!(),
            "(-",
            pre_release!(),
            r"(\.",
            pre_release!(),
            r")*)?(\+",
            build!(),
            r"(\.",
            build!(),
            ")*)?)?)?"
        )
    };
}
macro_rules! comparator {
    () => {
        concat!("([*xX]|((==?|!=?|>=?|<=?|\\^|~)", space!(), "*)?", version!(), ")")
    };
}

/// What [`Requirement::parse`](super::Requirement::parse) accepts, but for its length: for the CRD's schema, so that
/// the API server refuses the rest. In the syntax of RE2, which the API server has.
pub const REQUIREMENT_PATTERN: &str = concat!(
    "^",
    space!(),
    "*(",
    comparator!(),
    "(",
    space!(),
    r"*(,|\|\|)",
    space!(),
    "*|",
    space!(),
    "+))*",
    comparator!(),
    space!(),
    "*$"
);
