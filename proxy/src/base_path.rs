//! The path below which everything of the gateway's lies, where it shares an address with others.

use http::HeaderValue;

use crate::pipeline::path::NormalPath;

/// Most bytes of a base path, so that it leaves room for what stands below it.
const MAX_BASE: usize = 256;

/// Why a text is no base path.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BasePathError {
    #[error("failed to find a slash at the beginning of the base path")]
    NotRooted,
    #[error("failed to take a base path that ends with a slash: leave that out")]
    TrailingSlash,
    #[error("failed to find at most {MAX_BASE} bytes in the base path")]
    TooLong,
    #[error("failed to find letters, digits, -, ., _ and ~ alone between the slashes of the base path")]
    Character,
    #[error("failed to take a base path with a segment that is empty or dots")]
    Segment,
}

/// Nothing, or `/a/b`: segments of unreserved characters (RFC 3986, section 2.3), which everybody spells alike.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BasePath(String);

impl BasePath {
    pub fn parse(text: &str) -> Result<Self, BasePathError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > MAX_BASE {
            return Err(BasePathError::TooLong);
        }
        let segments = text.strip_prefix('/').ok_or(BasePathError::NotRooted)?;
        if segments.ends_with('/') || segments.is_empty() {
            return Err(BasePathError::TrailingSlash);
        }
        for segment in segments.split('/') {
            if !segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
            {
                return Err(BasePathError::Character);
            }
            if matches!(segment, "" | "." | "..") {
                return Err(BasePathError::Segment);
            }
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What of `path` stands below, with its slash; nothing for a path that is elsewhere.
    pub fn below<'a>(&self, path: &'a NormalPath) -> Option<&'a str> {
        let below = path.as_str().strip_prefix(self.as_str())?;
        below.starts_with('/').then_some(below)
    }

    /// A `Location` below the gateway's own root, as seen from outside.
    pub fn located(&self, location: &HeaderValue) -> Option<HeaderValue> {
        let whole = [self.0.as_bytes(), location.as_bytes()].concat();
        // Two field values in a row are one.
        HeaderValue::from_bytes(&whole).ok().filter(|_| !self.0.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::route::Route;

    #[test]
    fn what_is_no_base_path_is_refused_for_each_of_its_reasons() {
        let long = format!("/{}", "a".repeat(MAX_BASE));
        for (text, reason) in [
            ("/", BasePathError::TrailingSlash),
            ("/a/", BasePathError::TrailingSlash),
            ("a", BasePathError::NotRooted),
            ("https://host/a", BasePathError::NotRooted),
            (long.as_str(), BasePathError::TooLong),
            ("//a", BasePathError::Segment),
            ("/a//b", BasePathError::Segment),
            ("/.", BasePathError::Segment),
            ("/a/../b", BasePathError::Segment),
            ("/a%20b", BasePathError::Character),
            ("/%2e%2e", BasePathError::Character),
            ("/a b", BasePathError::Character),
            ("/a?b", BasePathError::Character),
            ("/a;b", BasePathError::Character),
            ("/a\\b", BasePathError::Character),
            ("/\u{e4}", BasePathError::Character),
        ] {
            assert_eq!(BasePath::parse(text), Err(reason), "{text:?}");
        }
        for text in ["", "/kite", "/a/b", "/a.b/_~-", "/..."] {
            assert_eq!(BasePath::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn only_what_stands_below_is_below() {
        let base = BasePath::parse("/a/b").unwrap();
        for (path, below) in [
            ("/a/b/", Some("/")),
            ("/a/b/c/", Some("/c/")),
            ("/%61/b/c", Some("/c")),
            ("/a/b", None),
            ("/a/bc/d", None),
            ("/A/b/c", None),
            ("/a/b;x/c", None),
            ("/x/a/b/c", None),
            ("/", None),
        ] {
            let path = NormalPath::parse(path).unwrap();
            assert_eq!(base.below(&path), below, "{path:?}");
            assert_eq!(BasePath::default().below(&path), Some(path.as_str()));
        }
    }

    #[test]
    fn a_location_is_seen_from_outside() {
        let location = HeaderValue::from_static("/api/v1/plugins/hello/");
        let base = BasePath::parse("/kite").unwrap();
        assert_eq!(base.located(&location).unwrap(), "/kite/api/v1/plugins/hello/");
        assert_eq!(BasePath::default().located(&location), None, "it is as it was");
    }

    proptest! {
        #[test]
        fn no_text_makes_parse_panic(text in ".{0,300}") {
            let _ = BasePath::parse(&text);
        }

        /// However a path is written, below a base it is the route that its rest is without one, and nothing else leads there.
        #[test]
        fn below_a_base_everything_is_as_without(
            base in "(/[a-z.~]{1,3}){1,3}",
            rest in "/(/|%2[ef5EF]|%5[cC]|%6[18]|%00|[a;.%]|api|v1|plugins|hello|healthz){0,12}",
        ) {
            let Ok(base) = BasePath::parse(&base) else { return Ok(()); };
            let (within, alone) = (format!("{}{rest}", base.as_str()), NormalPath::parse(&rest));
            if let (Ok(within), Ok(alone)) = (NormalPath::parse(&within), &alone) {
                let (seen, meant) = (Route::below(&base, &within), Route::below(&BasePath::default(), alone));
                prop_assert_eq!(seen, meant);
                prop_assert_eq!(base.below(&within), Some(alone.as_str()), "what is authorized is what is forwarded");
            }
            // Outside of it there is nothing but the probes.
            if let Ok(path) = alone && base.below(&path).is_none() {
                prop_assert!(matches!(Route::below(&base, &path), Route::Outside | Route::Health | Route::Ready));
            }
        }
    }
}
