//! Lists in messages: the first of them, and how many more there are.

use std::borrow::Borrow;

/// Most that are spelled out.
pub const MOST: usize = 8;

/// Names, as in "a, b and 3 more".
pub fn names<T: Borrow<str>>(names: &[T]) -> String {
    first_of(names, ", ", " and ")
}

/// Sentences, as in "a is missing; b is not bound; and 3 more".
pub fn sentences<T: Borrow<str>>(sentences: &[T]) -> String {
    first_of(sentences, "; ", "; and ")
}

fn first_of<T: Borrow<str>>(items: &[T], between: &str, before_rest: &str) -> String {
    let first = items.get(..MOST).unwrap_or(items).join(between);
    match items.len().saturating_sub(MOST) {
        0 => first,
        more => format!("{first}{before_rest}{more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_eight_are_spelled_out() {
        let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(names(&all[..0]), "");
        assert_eq!(names(&all[..8]), "0, 1, 2, 3, 4, 5, 6, 7");
        assert_eq!(names(&all), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
        assert_eq!(sentences(&all[..9]), "0; 1; 2; 3; 4; 5; 6; 7; and 1 more");
    }
}
