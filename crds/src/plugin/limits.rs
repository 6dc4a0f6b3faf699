//! What a plugin's limits are where its object leaves some of them out.

use std::time::Duration;

use super::{KitePluginSpec, Limits, Quantity};

/// The bounds of what one request, and all that are under way, may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestLimits {
    /// Requests under way at once.
    pub in_flight: usize,
    /// Most bytes of a request's body.
    pub body_bytes: u64,
    /// How long a request may take until its answer begins.
    pub timeout: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            in_flight: 200,
            body_bytes: 10 * 1024 * 1024,
            timeout: Duration::from_secs(30),
        }
    }
}

impl RequestLimits {
    /// Those of `spec`. What the schema does not admit stands for what is absent.
    pub fn of(spec: &KitePluginSpec) -> Self {
        let (absent, none) = (Self::default(), Limits::default());
        let given = spec.limits.as_ref().unwrap_or(&none);
        let seconds = given.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        Self {
            in_flight: positive(given.in_flight).unwrap_or(absent.in_flight),
            body_bytes: given
                .request_body_bytes
                .as_ref()
                .and_then(bytes)
                .unwrap_or(absent.body_bytes),
            timeout: seconds
                .filter(|seconds| *seconds > 0)
                .map_or(absent.timeout, Duration::from_secs),
        }
    }
}

fn positive(number: Option<i32>) -> Option<usize> {
    number
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| *number > 0)
}

/// A number of bytes above 0, as it is or with the suffix Ki, Mi or Gi.
fn bytes(quantity: &Quantity) -> Option<u64> {
    let bytes = match quantity {
        Quantity::Number(number) => u64::try_from(*number).ok(),
        Quantity::Text(text) => {
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = match text.get(digits.len()..) {
                Some("") => Some(1),
                Some("Ki") => Some(1024),
                Some("Mi") => Some(1024 * 1024),
                Some("Gi") => Some(1024 * 1024 * 1024),
                _ => None,
            };
            let number: Option<u64> = digits.parse().ok();
            // The schema admits more than there can be.
            number.zip(unit).map(|(number, unit)| number.saturating_mul(unit))
        }
    };
    bytes.filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(limits: &Value) -> RequestLimits {
        let spec = json!({"version": "1.0.0", "image": "a", "limits": limits});
        RequestLimits::of(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn each_field_has_its_default() {
        assert_eq!(of(&Value::Null), RequestLimits::default());
        assert_eq!(of(&json!({})), RequestLimits::default());
        let given = of(&json!({"inFlight": 7, "requestBodyBytes": "512Ki", "timeoutSeconds": 2}));
        let expected = RequestLimits {
            in_flight: 7,
            body_bytes: 512 * 1024,
            timeout: Duration::from_secs(2),
        };
        assert_eq!(given, expected);
    }

    #[test]
    fn a_number_of_bytes_is_read_as_the_schema_has_it() {
        for (given, expected) in [
            (json!(65536), 65536),
            (json!("65536"), 65536),
            (json!("10Mi"), 10 * 1024 * 1024),
            (json!("3Gi"), 3 * 1024 * 1024 * 1024),
            (json!("999999999999Gi"), u64::MAX),
        ] {
            assert_eq!(of(&json!({"requestBodyBytes": given})).body_bytes, expected, "{given}");
        }
    }

    #[test]
    fn what_the_schema_does_not_admit_is_as_if_it_were_absent() {
        for limits in [
            json!({"inFlight": 0, "requestBodyBytes": 0, "timeoutSeconds": 0}),
            json!({"inFlight": -1, "requestBodyBytes": -1, "timeoutSeconds": -1}),
            json!({"requestBodyBytes": "10M"}),
            json!({"requestBodyBytes": "Mi"}),
            json!({"requestBodyBytes": "99999999999999999999Gi"}),
        ] {
            assert_eq!(of(&limits), RequestLimits::default(), "{limits}");
        }
    }
}
