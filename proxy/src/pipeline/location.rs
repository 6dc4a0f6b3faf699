//! Where a plugin may send a caller: to its own paths, and nowhere else.

use http::HeaderValue;
use kite_api::PluginName;

use super::path::{NormalPath, PathError};

/// Why a caller is not sent there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LocationError {
    #[error("failed to read the Location as text")]
    NotText,
    #[error("failed to find one Location only")]
    Several,
    #[error("failed to find a path alone in the Location")]
    Elsewhere,
    #[error("failed to stay below the plugin's root")]
    AboveRoot,
    #[error("failed to read the Location as a path of the plugin")]
    Path(#[source] PathError),
}

/// What a request asked for, below the plugin's root.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    pub path: &'a str,
    pub query: Option<&'a str>,
}

/// The `Location` that a plugin gave, as seen from outside. The plugin speaks of paths below its own root; a relative one
/// is resolved against `base` (RFC 3986, section 5.2).
pub fn rewrite(plugin: &PluginName, base: Base<'_>, given: &HeaderValue) -> Result<HeaderValue, LocationError> {
    let text = given.to_str().map_err(|_| LocationError::NotText)?;
    let (reference, rest) = text.find(['?', '#']).map_or((text, ""), |end| text.split_at(end));
    let first = reference.split('/').next().unwrap_or_default();
    if first.contains(':') || reference.starts_with("//") {
        return Err(LocationError::Elsewhere);
    }
    let path = resolve(base.path, reference)?;
    let path = NormalPath::parse(&path).map_err(LocationError::Path)?;
    let mut outside = format!("/api/v1/plugins/{plugin}{}", path.as_str());
    if let (true, false, Some(query)) = (reference.is_empty(), rest.starts_with('?'), base.query) {
        outside.push('?');
        outside.push_str(query);
    }
    outside.push_str(rest);
    HeaderValue::try_from(outside).map_err(|_| LocationError::NotText)
}

/// The path that `reference` means to somebody who is at `base`, without dot segments. Encoded ones stay, and are refused
/// with whatever else could be read in two ways.
fn resolve(base: &str, reference: &str) -> Result<String, LocationError> {
    if reference.is_empty() {
        return Ok(base.to_owned());
    }
    let (folder, below) = match reference.strip_prefix('/') {
        Some(below) => ("", below),
        None => (base.rsplit_once('/').map_or("", |(folder, _)| folder), reference),
    };
    let mut segments: Vec<_> = folder.split('/').skip(1).collect();
    let mut given = below.split('/').peekable();
    while let Some(segment) = given.next() {
        match segment {
            "." => {}
            ".." => {
                segments.pop().ok_or(LocationError::AboveRoot)?;
            }
            _ => segments.push(segment),
        }
        if matches!(segment, "." | "..") && given.peek().is_none() {
            // What such a path ends at is a folder.
            segments.push("");
        }
    }
    Ok(format!("/{}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(given: &str) -> Result<HeaderValue, LocationError> {
        let base = Base {
            path: "/shop/items/7",
            query: Some("page=1"),
        };
        rewrite(
            &PluginName::parse("hello").unwrap(),
            base,
            &HeaderValue::from_bytes(given.as_bytes()).unwrap(),
        )
    }

    #[test]
    fn a_path_of_the_plugin_is_seen_from_outside() {
        for (given, seen) in [
            ("/", "/"),
            ("/items/7", "/items/7"),
            ("/items?to=http://x/../y#z", "/items?to=http://x/../y#z"),
            ("/a/b/../c/./d/..", "/a/c/"),
            // Relative ones, as browsers resolve them.
            ("8", "/shop/items/8"),
            ("8/", "/shop/items/8/"),
            ("./8?a:b", "/shop/items/8?a:b"),
            (".", "/shop/items/"),
            ("..", "/shop/"),
            ("../carts", "/shop/carts"),
            ("../..", "/"),
            ("", "/shop/items/7?page=1"),
            ("?page=2", "/shop/items/7?page=2"),
            ("#end", "/shop/items/7?page=1#end"),
        ] {
            assert_eq!(
                rewritten(given).unwrap(),
                format!("/api/v1/plugins/hello{seen}"),
                "{given}"
            );
        }
    }

    #[test]
    fn a_relative_path_at_the_root_stays_there() {
        let name = PluginName::parse("hello").unwrap();
        let base = Base { path: "/", query: None };
        for (given, seen) in [("items", "/items"), ("", "/"), ("./", "/")] {
            let seen = format!("/api/v1/plugins/hello{seen}");
            assert_eq!(rewrite(&name, base, &HeaderValue::from_static(given)).unwrap(), seen);
        }
    }

    #[test]
    fn redirect_to_any_other_place_is_refused() {
        for (given, reason) in [
            ("https://evil.example/", LocationError::Elsewhere),
            ("javascript:alert(1)", LocationError::Elsewhere),
            ("//evil.example/", LocationError::Elsewhere),
            ("/../other/", LocationError::AboveRoot),
            ("../../../other/", LocationError::AboveRoot),
            ("a//b", LocationError::Path(PathError::EmptySegment)),
            ("/.//evil.example", LocationError::Path(PathError::EmptySegment)),
            ("/\\evil.example/", LocationError::Path(PathError::Backslash)),
            ("\\\\evil.example/", LocationError::Path(PathError::Backslash)),
            ("/%2e%2e/other", LocationError::Path(PathError::DotSegment)),
            ("%2e%2e/%2e%2e/%2e%2e/other", LocationError::Path(PathError::DotSegment)),
            ("/%2fevil.example", LocationError::Path(PathError::Slash)),
            ("/\u{e4}", LocationError::NotText),
        ] {
            assert_eq!(rewritten(given), Err(reason), "{given}");
        }
    }
}
