//! When a token ends, as far as it says so itself.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::{moment::Moment, pipeline::authenticate::BearerToken};

/// What of a token's claims is read (RFC 7519, section 4.1.4).
#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

/// When the token ends, if it is a JWT that says so. Nobody checks its signature here: whoever lies makes their own session shorter, and
/// the API server is asked about the token anyway.
pub fn of(token: &BearerToken) -> Option<Moment> {
    let mut parts = token.secret().split('.');
    let claims = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(claims), Some(_), None) => BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?,
        _ => return None,
    };
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    // Whatever is too small or too large ends at the bounds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seconds, and the fraction does not matter"
    )]
    Some(Moment::of(exp as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(claims: &str) -> Option<Moment> {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
        of(&BearerToken::parse(&format!("e30.{claims}.c2ln")).unwrap())
    }

    #[test]
    fn a_jwt_says_when_it_ends() {
        assert_eq!(
            expiry(r#"{"exp": 1700000000, "sub": "a"}"#),
            Some(Moment::of(1_700_000_000))
        );
        assert_eq!(expiry(r#"{"exp": 1700000000.5}"#), Some(Moment::of(1_700_000_000)));
        assert_eq!(expiry(r#"{"exp": -5}"#), Some(Moment::of(0)));
        assert_eq!(expiry(r#"{"exp": 1e300}"#), Some(Moment::NEVER));
    }

    #[test]
    fn other_tokens_do_not() {
        for claims in ["{}", "junk", r#"{"exp": "soon"}"#, r#"{"exp": null}"#] {
            assert_eq!(expiry(claims), None, "{claims}");
        }
        for token in ["opaque", "a.b", "a.!.c", "a.e30.c.d"] {
            assert_eq!(of(&BearerToken::parse(token).unwrap()), None, "{token}");
        }
    }
}
