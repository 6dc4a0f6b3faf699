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
    #[error("failed to read the Location as a path of the plugin")]
    Path(#[source] PathError),
}

/// The `Location` that a plugin gave, as seen from outside. The plugin speaks of paths below its own root.
pub fn rewrite(plugin: &PluginName, given: &HeaderValue) -> Result<HeaderValue, LocationError> {
    let text = given.to_str().map_err(|_| LocationError::NotText)?;
    let (path, rest) = text.find(['?', '#']).map_or((text, ""), |end| text.split_at(end));
    let path = NormalPath::parse(path).map_err(LocationError::Path)?;
    let outside = format!("/api/v1/plugins/{plugin}{}{rest}", path.as_str());
    HeaderValue::try_from(outside).map_err(|_| LocationError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(given: &str) -> Result<HeaderValue, LocationError> {
        rewrite(
            &PluginName::parse("hello").unwrap(),
            &HeaderValue::from_bytes(given.as_bytes()).unwrap(),
        )
    }

    #[test]
    fn a_path_of_the_plugin_is_seen_from_outside() {
        for (given, seen) in [
            ("/", "/api/v1/plugins/hello/"),
            ("/items/7", "/api/v1/plugins/hello/items/7"),
            (
                "/items?to=http://x/../y#z",
                "/api/v1/plugins/hello/items?to=http://x/../y#z",
            ),
        ] {
            assert_eq!(rewritten(given).unwrap(), seen);
        }
    }

    #[test]
    fn any_other_place_is_refused() {
        for (given, reason) in [
            ("https://evil.example/", PathError::NotRooted),
            ("javascript:alert(1)", PathError::NotRooted),
            ("items", PathError::NotRooted),
            ("", PathError::NotRooted),
            ("//evil.example/", PathError::EmptySegment),
            ("/\\evil.example/", PathError::Backslash),
            ("/../other/", PathError::DotSegment),
            ("/%2e%2e/other", PathError::DotSegment),
            ("/%2fevil.example", PathError::Slash),
        ] {
            assert_eq!(rewritten(given), Err(LocationError::Path(reason)), "{given}");
        }
        assert_eq!(rewritten("/\u{e4}"), Err(LocationError::NotText));
    }
}
