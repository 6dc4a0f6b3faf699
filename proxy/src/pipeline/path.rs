//! The path of a request, made unambiguous once: what is matched, authorized and forwarded is this one value.

use percent_encoding::percent_decode_str;

/// Most bytes of a path.
const MAX_PATH: usize = 8 * 1024;
/// How often a path may be percent-decoded before nothing is left to decode. A path that was encoded more often than
/// twice over was made to be read differently by two readers.
const MAX_DECODINGS: usize = 3;

/// Why a path can be read in more than one way.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathError {
    #[error("the path does not begin with a slash")]
    NotRooted,
    #[error("the path has more than {MAX_PATH} bytes")]
    TooLong,
    #[error("the path has an empty segment")]
    EmptySegment,
    #[error("the path has a dot segment")]
    DotSegment,
    #[error("the path has an encoded slash")]
    Slash,
    #[error("the path has a backslash")]
    Backslash,
    #[error("the path has a control character")]
    Control,
    #[error("the path has a percent sign that no two hexadecimal digits follow")]
    Escape,
    #[error("the path is encoded several times over")]
    Encodings,
    #[error("the path is not UTF-8")]
    NotUtf8,
}

/// A rooted path without empty segments (but the last), dot segments, and anything that another reader could take for
/// a separator, in any decoding. Unreserved characters stand for themselves, all others but `!$&'()*+,;=:@` are
/// percent-encoded in upper case, so that two spellings of one path are one value.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NormalPath(String);

impl NormalPath {
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        let rest = text.strip_prefix('/').ok_or(PathError::NotRooted)?;
        let mut normal = String::with_capacity(text.len());
        let mut segments = rest.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment.is_empty() && segments.peek().is_some() {
                return Err(PathError::EmptySegment);
            }
            check_escapes(segment)?;
            check_decodings(segment)?;
            normal.push('/');
            normalize(segment, &mut normal);
        }
        Ok(Self(normal))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Every percent sign begins an escape.
pub(super) fn check_escapes(segment: &str) -> Result<(), PathError> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let is_hex = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_hexdigit());
        if byte == b'%' && !(is_hex(bytes.next()) && is_hex(bytes.next())) {
            return Err(PathError::Escape);
        }
    }
    Ok(())
}

/// Neither the segment as it stands nor any decoding of it is, or holds, what separates or climbs.
fn check_decodings(segment: &str) -> Result<(), PathError> {
    if !segment.contains('%') {
        // As most have it: it is what it decodes to.
        return check_plain(segment);
    }
    let mut decoded = segment.to_owned();
    for _ in 0..=MAX_DECODINGS {
        check_plain(&decoded)?;
        let next = percent_decode_str(&decoded)
            .decode_utf8()
            .map_err(|_| PathError::NotUtf8)?
            .into_owned();
        if next == decoded {
            return Ok(());
        }
        decoded = next;
    }
    Err(PathError::Encodings)
}

fn check_plain(segment: &str) -> Result<(), PathError> {
    if segment.contains('/') {
        return Err(PathError::Slash);
    }
    if segment.contains('\\') {
        return Err(PathError::Backslash);
    }
    if segment.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    // Some servers take what follows a semicolon for parameters of the segment.
    let name = segment.split(';').next().unwrap_or_default();
    if matches!(name, "." | "..") {
        return Err(PathError::DotSegment);
    }
    if name.is_empty() && !segment.is_empty() {
        return Err(PathError::EmptySegment);
    }
    Ok(())
}

/// Appends the one spelling of `segment`, whose escapes are known to be whole.
fn normalize(segment: &str, normal: &mut String) {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (bytes.next().and_then(hex), bytes.next().and_then(hex));
            let decoded = high.unwrap_or_default() * 16 + low.unwrap_or_default();
            if is_unreserved(decoded) {
                normal.push(char::from(decoded));
            } else {
                escape(decoded, normal);
            }
        } else if is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte) {
            normal.push(char::from(byte));
        } else {
            escape(byte, normal);
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// The characters that mean the same encoded or not (RFC 3986, section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn escape(byte: u8, text: &mut String) {
    text.push_str(percent_encoding::percent_encode_byte(byte));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_refused_for_each_of_its_reasons() {
        let long = format!("/{}", "a".repeat(MAX_PATH));
        for (text, reason) in [
            ("", PathError::NotRooted),
            ("*", PathError::NotRooted),
            ("a/b", PathError::NotRooted),
            (long.as_str(), PathError::TooLong),
            ("//a", PathError::EmptySegment),
            ("/a//b", PathError::EmptySegment),
            ("/a//", PathError::EmptySegment),
            ("/a/;x/b", PathError::EmptySegment),
            ("/a/%3Bx", PathError::EmptySegment),
            ("/..", PathError::DotSegment),
            ("/a/./b", PathError::DotSegment),
            ("/a/%2e%2E/b", PathError::DotSegment),
            ("/a/.%2e", PathError::DotSegment),
            ("/a/%252e%252e/b", PathError::DotSegment),
            ("/a/..;x=1/b", PathError::DotSegment),
            ("/a/..%3bx/b", PathError::DotSegment),
            ("/a%2fb", PathError::Slash),
            ("/a%252Fb", PathError::Slash),
            ("/a\\b", PathError::Backslash),
            ("/a%5cb", PathError::Backslash),
            ("/a%00", PathError::Control),
            ("/a%0d%0a", PathError::Control),
            ("/a%", PathError::Escape),
            ("/a%2", PathError::Escape),
            ("/a%zz", PathError::Escape),
            ("/%25252525252e", PathError::Encodings),
            ("/%ff", PathError::NotUtf8),
            ("/%c0%ae", PathError::NotUtf8),
        ] {
            assert_eq!(NormalPath::parse(text), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn two_spellings_of_one_path_are_one_value() {
        for (text, normal) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/a/b", "/a/b"),
            ("/hell%6F/%7euser", "/hello/~user"),
            ("/a%20b/%c3%a4", "/a%20b/%C3%A4"),
            ("/\u{e4}", "/%C3%A4"),
            ("/a\"{b}", "/a%22%7Bb%7D"),
            ("/a,b;c=d:e@f", "/a,b;c=d:e@f"),
            ("/a%2Cb", "/a%2Cb"),
            ("/100%25", "/100%25"),
            ("/...", "/..."),
        ] {
            assert_eq!(NormalPath::parse(text).unwrap().as_str(), normal);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_parse_panic(text in ".{0,200}") {
            let _ = NormalPath::parse(&text);
        }

        #[test]
        fn path_confusion_what_is_accepted_has_one_reading(text in "(/|%2[ef5EF]|%5[cC]|%00|%[0-9a-f]{2}|[.;a%]){0,24}") {
            let Ok(path) = NormalPath::parse(&format!("/{text}")) else { return Ok(()); };
            prop_assert_eq!(&NormalPath::parse(path.as_str()).unwrap(), &path, "a fixed point");
            let segments = path.as_str().matches('/').count();
            let mut decoded = path.as_str().to_owned();
            for _ in 0..10 {
                prop_assert_eq!(decoded.matches('/').count(), segments);
                prop_assert!(!decoded.contains(['\\', '\0']));
                prop_assert!(!decoded.contains("//"));
                prop_assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."));
                decoded = percent_decode_str(&decoded).decode_utf8().unwrap().into_owned();
            }
        }
    }
}
