//! Patterns of paths: what they match, and which of them is wider than which.
//!
//! A segment is literal, `{parameter}` or `*` for any one; a `**` at the end is for one or more that follow. Many routers serve what
//! stands before it by the same handler, so that [`PathPattern::begins_at`] is asked too where nothing else is said of that.

use std::cmp::Reverse;

/// A pattern, read once so that many paths can be compared with it. Of a path only the segments count: one that has a brace or
/// an asterisk in it is compared as it stands, and can match no pattern by looking like it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    /// Whether `**` follows.
    has_rest: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Segment {
    Literal(String),
    Parameter(String),
    Any,
}

/// How specific a pattern is: of two that match one path, the smaller is literal further.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Specificity(Vec<(bool, bool)>);

impl PathPattern {
    /// The pattern that `text`, as the CRD admits it, writes.
    pub fn parse(text: &str) -> Self {
        let (text, has_rest) = match text.strip_suffix("/**") {
            Some(before) => (before, true),
            None => (text, false),
        };
        let is_root = has_rest && text.is_empty();
        let all = segments(text).filter(|_| !is_root).map(Segment::parse);
        Self {
            segments: all.collect(),
            has_rest,
        }
    }

    /// Whether it matches `path`, which is rooted and normal.
    pub fn matches(&self, path: &str) -> bool {
        self.is_followed_in(path) == Some(self.has_rest)
    }

    /// Whether it matches `path` to a router for which a parameter and a rest are of one byte at least, as they are in axum.
    pub fn matches_filled(&self, path: &str) -> bool {
        self.following(path, |segment| !segment.is_empty())
            .is_some_and(|mut follow| match follow.next() {
                None => !self.has_rest,
                Some(first) => self.has_rest && (!first.is_empty() || follow.next().is_some()),
            })
    }

    /// Whether it is for all below `path`.
    pub fn begins_at(&self, path: &str) -> bool {
        self.has_rest && self.is_followed_in(path) == Some(false)
    }

    /// Whether more segments follow in `path`, if it begins with those of the pattern.
    fn is_followed_in(&self, path: &str) -> Option<bool> {
        let mut follow = self.following(path, |_| true)?;
        Some(follow.next().is_some())
    }

    /// The segments that follow in `path`, if it begins with those of the pattern, where a parameter and `*` stand for what they `take`.
    fn following<'p>(&self, path: &'p str, take: fn(&str) -> bool) -> Option<impl Iterator<Item = &'p str> + use<'p>> {
        let mut path = segments(path);
        let begins = self.segments.iter().all(|segment| match (segment, path.next()) {
            (Segment::Literal(text), Some(it)) => text == it,
            (Segment::Parameter(_) | Segment::Any, Some(it)) => take(it),
            (_, None) => false,
        });
        begins.then_some(path)
    }

    /// Whether it is one path.
    pub fn is_literal(&self) -> bool {
        !self.has_rest
            && self
                .segments
                .iter()
                .all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// The segment of `path`, which it matches, in the place of the parameter `name`.
    pub fn parameter<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        let is_it = |segment: &&Segment| matches!(segment, Segment::Parameter(text) if text == name);
        let mut pairs = self.segments.iter().zip(segments(path));
        pairs.find(|(segment, _)| is_it(segment)).map(|(_, text)| text)
    }

    pub fn specificity(&self) -> Specificity {
        let all = self
            .segments
            .iter()
            .map(|segment| (false, !matches!(segment, Segment::Literal(_))));
        Specificity(all.chain(self.has_rest.then_some((true, false))).collect())
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        match inner {
            Some(name) => Self::Parameter(name.to_owned()),
            None if text == "*" => Self::Any,
            None => Self::Literal(text.to_owned()),
        }
    }
}

/// Whether every path that `narrow` matches is matched by `wide`. In doubt it is not.
pub fn covers(wide: &str, narrow: &str) -> bool {
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
pub fn most_specific<'a, T>(routes: &'a [T], pattern: impl Fn(&T) -> &str, path: &str) -> Option<&'a T> {
    let covering = routes.iter().filter(|route| covers(pattern(route), path));
    covering.min_by_key(|route| {
        let pattern = pattern(route);
        // Of patterns that are equally literal, the path itself.
        (PathPattern::parse(pattern).specificity(), Reverse(pattern == path))
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_empty_is_matched_where_segments_are_filled() {
        for (pattern, path, matches) in [
            ("/**", "/", false),
            ("/**", "/a/", true),
            ("/a/**", "/a/", false),
            ("/a/**", "/a//b", true),
            ("/a/**", "/a", false),
            ("/a/*", "/a/", false),
            ("/a/{x}/b", "/a//b", false),
            ("/a/{x}/b", "/a/c/b", true),
            ("/", "/", true),
        ] {
            assert_eq!(
                PathPattern::parse(pattern).matches_filled(path),
                matches,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn a_path_is_matched_by_its_segments() {
        for (pattern, path, matches) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/A", false),
            ("/a/**", "/a", false),
            ("/a/**", "/a/", true),
            ("/a/**", "/a/b/c", true),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/", true),
            ("/a/*", "/a/b/c", false),
            ("/a/{x}/c", "/a/b/c", true),
            ("/a/{x}/c", "/a/b/d", false),
            // A path is never read as a pattern.
            ("/a/b", "/a/*", false),
            ("/a/b", "/a/{x}", false),
            ("/a/b/c", "/a/**", false),
        ] {
            assert_eq!(PathPattern::parse(pattern).matches(path), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn a_parameter_is_the_segment_in_its_place() {
        let pattern = PathPattern::parse("/namespaces/{namespace}/pods/{name}/**");
        let path = "/namespaces/shop/pods/a/log/x";
        assert_eq!(pattern.parameter("namespace", path), Some("shop"));
        assert_eq!(pattern.parameter("name", path), Some("a"));
        assert_eq!(pattern.parameter("log", path), None);
    }

    proptest! {
        #[test]
        fn what_covers_matches_all_that_is_covered(
            wide in "(/(a|b|\\{x\\}|\\*)){0,3}(/\\*\\*)?", narrow in "(/(a|b|\\{x\\}|\\*)){0,3}(/\\*\\*)?", path in "(/[ab]){1,4}/?",
        ) {
            let or_root = |text: String| if text.is_empty() { String::from("/") } else { text };
            let (wide, narrow) = (or_root(wide), or_root(narrow));
            if covers(&wide, &narrow) && PathPattern::parse(&narrow).matches(&path) {
                prop_assert!(PathPattern::parse(&wide).matches(&path));
            }
            // A path is a pattern of literals.
            if !path.ends_with('/') {
                prop_assert_eq!(covers(&wide, &path), PathPattern::parse(&wide).matches(&path));
            }
        }
    }

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
