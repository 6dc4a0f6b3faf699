//! Patterns of paths: which of them is wider than which.
//!
//! A segment is literal, `{parameter}` or `*` for any one; a `**` at the end is for all that follows.

use std::cmp::Reverse;

/// Whether every path that `narrow` matches is matched by `wide`. In doubt it is not.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (segments(wide), segments(narrow));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) | (Some("**"), Some(_)) => return true,
            (Some(wide), Some(narrow)) if narrow != "**" && (is_any(wide) || wide == narrow) => {}
            _ => return false,
        }
    }
}

/// The most specific of the patterns that cover `path`: the one that is literal further, segment by segment.
pub(super) fn most_specific<'a, T>(routes: &'a [T], pattern: impl Fn(&T) -> &str, path: &str) -> Option<&'a T> {
    let rank = |segment: &str| (segment == "**", is_any(segment));
    let covering = routes.iter().filter(|route| covers(pattern(route), path));
    covering.min_by_key(|route| {
        let pattern = pattern(route);
        // Of patterns that are equally literal, the path itself.
        (
            segments(pattern).map(rank).collect::<Vec<_>>(),
            Reverse(pattern == path),
        )
    })
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

fn is_any(segment: &str) -> bool {
    segment == "*" || segment.starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_matches() {
        for (wide, narrow) in [
            ("/", "/"),
            ("/**", "/"),
            ("/**", "/**"),
            ("/**", "/a/{b}/**"),
            ("/a/**", "/a/b"),
            ("/a/**", "/a/*/c"),
            ("/a/*", "/a/b"),
            ("/a/{b}", "/a/*"),
            ("/a/{b}", "/a/{c}"),
            ("/a/{b}/c", "/a/x/c"),
        ] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
    }

    #[test]
    fn a_pattern_does_not_cover_its_neighbours() {
        for (wide, narrow) in [
            ("/", "/a"),
            ("/a", "/"),
            ("/a", "/a/b"),
            ("/a/b", "/a"),
            ("/a/**", "/a"),
            ("/a/**", "/**"),
            ("/a/*", "/a/**"),
            ("/a/*", "/a/b/c"),
            ("/a/b", "/a/*"),
            ("/a/b", "/a/c"),
        ] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }

    #[test]
    fn the_most_specific_pattern_is_literal_furthest() {
        let all = ["/**", "/a/**", "/{x}/b", "/a/*", "/a/{b}", "/a/c"];
        for (path, found) in [
            ("/", Some("/**")),
            ("/a/c", Some("/a/c")),
            ("/a/d", Some("/a/*")),
            ("/a/{b}", Some("/a/{b}")),
            ("/a/*", Some("/a/*")),
            ("/a/d/e", Some("/a/**")),
            ("/z/b", Some("/{x}/b")),
            ("/z", Some("/**")),
        ] {
            assert_eq!(most_specific(&all, |pattern| pattern, path).copied(), found, "{path}");
        }
        assert_eq!(most_specific(&["/a"], |pattern| pattern, "/b"), None);
    }
}
