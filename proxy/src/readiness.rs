//! Whether the gateway should get traffic, and what that is made of. Nothing in it is a secret: it is open before login.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    audit::{AuditError, Trail},
    metrics::Metrics,
};

/// What the gateway knows of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    pub listed: bool,
    pub last_change: Option<Timestamp>,
    pub ending: bool,
    /// When the API server last answered a question, and when it last did not.
    pub answered: Option<Timestamp>,
    pub unanswered: Option<Timestamp>,
    pub certificate_end: Option<Timestamp>,
    pub audit: Option<AuditError>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    /// Whether the gateway gets no traffic while it is not ok.
    pub required: bool,
    /// Since when, or until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Option<Timestamp>,
    pub message: &'static str,
}

impl Known {
    /// What is known now, but for what the pipeline itself knows.
    pub fn of(metrics: &Metrics, trail: &Trail) -> Self {
        let questions = [metrics.identities.last(), metrics.decisions.last()];
        Self {
            last_change: metrics.last_change(),
            answered: questions.iter().filter_map(|(answered, _)| *answered).max(),
            unanswered: questions.iter().filter_map(|(_, unanswered)| *unanswered).max(),
            certificate_end: metrics.certificate_end(),
            audit: trail.standing().trouble,
            ..Self::default()
        }
    }

    /// What follows from it at the moment `now`.
    pub fn checks(&self, now: Timestamp) -> Vec<Check> {
        let check = |name, required, ok, time, (good, bad): (&'static str, &'static str)| Check {
            name,
            ok,
            required,
            time,
            message: if ok { good } else { bad },
        };
        // Only what was last heard counts, however long ago that was: nobody may have had a question since.
        let api_server = self
            .unanswered
            .is_none_or(|no| self.answered.is_some_and(|yes| yes > no));
        vec![
            check(
                "directory",
                true,
                self.listed,
                self.last_change,
                ("the plugins are known", "the plugins have not been listed yet"),
            ),
            check("ending", true, !self.ending, None, ("serving", "told to end")),
            check(
                "certificate",
                true,
                self.certificate_end.is_none_or(|end| end > now),
                self.certificate_end,
                ("the serving certificate is valid", "the serving certificate has ended"),
            ),
            check(
                "api-server",
                false,
                api_server,
                self.answered,
                (
                    "the last question was answered",
                    "the last question was not answered: former decisions hold for a while",
                ),
            ),
            check(
                "audit",
                false,
                self.audit.is_none(),
                None,
                ("records are kept", "records are not kept: no change is begun"),
            ),
        ]
    }
}

/// Whether the gateway should get traffic.
pub fn is_ready(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.ok || !check.required)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn checks(spoil: impl FnOnce(&mut Known)) -> (bool, Vec<&'static str>) {
        let mut known = Known {
            listed: true,
            last_change: Some(at(50)),
            answered: Some(at(90)),
            unanswered: Some(at(80)),
            certificate_end: Some(at(200)),
            ..Known::default()
        };
        spoil(&mut known);
        let checks = known.checks(at(100));
        let failed = checks.iter().filter(|check| !check.ok).map(|check| check.name);
        (is_ready(&checks), failed.collect())
    }

    #[test]
    fn each_check_fails_for_its_reason_and_some_of_them_matter() {
        assert_eq!(checks(|_| ()), (true, vec![]));
        assert_eq!(checks(|known| known.certificate_end = None), (true, vec![]));
        assert_eq!(checks(|known| known.listed = false), (false, vec!["directory"]));
        assert_eq!(checks(|known| known.ending = true), (false, vec!["ending"]));
        assert_eq!(
            checks(|known| known.certificate_end = Some(at(100))),
            (false, vec!["certificate"])
        );
        assert_eq!(
            checks(|known| known.unanswered = Some(at(90))),
            (true, vec!["api-server"])
        );
        assert_eq!(
            checks(|known| known.audit = Some(AuditError::Stalled)),
            (true, vec!["audit"])
        );
    }
}
