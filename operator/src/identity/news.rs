//! What is told of the CAs: as Events on their Secrets, and in the log.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kite_api::{error_chain, identity::OLD_CERTIFICATE_KEY};
use kube::Client;

use super::{
    ByPurpose,
    authority::Purpose,
    kept::Cas,
    rotation::{Rules, Step},
    secrets::{Found, IdentityError, Mended},
};
use crate::controller::events::{self, Notice};

/// Reasons of the events.
mod reasons {
    pub(super) const BEGUN: &str = "RotationBegun";
    pub(super) const WAITS: &str = "RotationWaits";
    pub(super) const TOOK_OVER: &str = "CaTookOver";
    pub(super) const OLD_DROPPED: &str = "OldCaDropped";
    pub(super) const ENDED: &str = "CaEnded";
    pub(super) const NEXT_ENDED: &str = "NextCaEnded";
    pub(super) const CLEANED: &str = "CaCleaned";
    pub(super) const RESTORED: &str = "CaRestored";
    pub(super) const BROUGHT: &str = "CaBrought";
    pub(super) const UNUSABLE: &str = "CaUnusable";
}

/// What was told already and is not told at each look.
#[derive(Clone, Debug, Default)]
pub struct News {
    waits: ByPurpose<bool>,
}

impl News {
    /// Tells what was mended in a Secret.
    pub async fn mended(&mut self, client: &Client, found: &Found) {
        if let Some(mended) = &found.mended {
            tell(client, &found.reference, &mended_notice(mended)).await;
        }
    }

    /// Tells that another CA is asked for and cannot be made yet, if that is so.
    pub async fn waits(&mut self, client: &Client, purpose: Purpose, found: &Found) {
        let until = found.cas.old.as_ref().map(|old| old.until);
        let notice = until.filter(|_| found.requested).map(waits_notice);
        let told = std::mem::replace(self.waits.of_mut(purpose), notice.is_some());
        if let Some(notice) = notice.filter(|_| !told) {
            tell(client, &found.reference, &notice).await;
        }
    }
}

/// Tells what was done.
pub async fn step(client: &Client, step: Step, found: &Found, after: &Cas, rules: &Rules) {
    if let Some(notice) = step_notice(step, after, rules) {
        tell(client, &found.reference, &notice).await;
    } else {
        tracing::info!(secret = found.reference.name, ?step, "a step of the CA's rotation");
    }
}

/// Tells on a Secret that its CA cannot be used, if that is the error.
pub async fn unusable(client: &Client, error: &IdentityError) {
    if let IdentityError::Unusable(reference, _) = error {
        tell(
            client,
            reference,
            &Notice::warning(reasons::UNUSABLE, error_chain(error)),
        )
        .await;
    }
}

fn mended_notice(mended: &Mended) -> Notice {
    match mended {
        Mended::Cleaned(spoilt) => Notice::warning(
            reasons::CLEANED,
            format!(
                "{} could not be used; what nothing was issued by is made anew when it is needed",
                spoilt.join(", ")
            ),
        ),
        Mended::Restored(error) => Notice::warning(
            reasons::RESTORED,
            format!("the CA could not be used any more, and was put back from memory: {error}"),
        ),
        Mended::Brought => Notice::normal(
            reasons::BROUGHT,
            String::from("another CA was put here; it becomes the next, because nobody would believe it yet"),
        ),
    }
}

fn waits_notice(until: SystemTime) -> Notice {
    Notice::normal(
        reasons::WAITS,
        format!(
            "another CA is asked for, and is made when the one before is not believed any more, {}; to have it at once take {} out",
            shown(until),
            OLD_CERTIFICATE_KEY
        ),
    )
}

fn step_notice(step: Step, after: &Cas, rules: &Rules) -> Option<Notice> {
    let until = after.old.as_ref().map(|old| shown(old.until)).unwrap_or_default();
    Some(match step {
        Step::Begin => Notice::normal(
            reasons::BEGUN,
            format!(
                "the next CA was made; it issues when all who have to believe it have had it for {}",
                words(rules.notice)
            ),
        ),
        Step::Promote => Notice::normal(
            reasons::TOOK_OVER,
            format!("the next CA issues from now on, and the one before is believed until {until}"),
        ),
        Step::Drop => Notice::normal(
            reasons::OLD_DROPPED,
            String::from("the CA before is not believed any more: all that it had issued has ended"),
        ),
        Step::Replace => Notice::warning(
            reasons::ENDED,
            String::from("the CA had ended, and all that it had issued; another issues from now on"),
        ),
        Step::Discard => Notice::warning(
            reasons::NEXT_ENDED,
            String::from("the next CA had ended before it issued, and was taken out"),
        ),
        Step::Count | Step::Recount => return None,
    })
}

fn shown(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .and_then(|time| time.round(jiff::Unit::Second))
        .map_or_else(|_| String::from("in the far future"), |time| time.to_string())
}

/// A time as people say it, in the largest unit of which it is a whole number.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        1.. if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        1.. if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

async fn tell(client: &Client, reference: &ObjectReference, notice: &Notice) {
    let secret = reference.name.as_deref().unwrap_or_default();
    tracing::info!(secret, reason = notice.reason(), note = notice.note(), "told");
    if let Err(error) = events::tell(client, reference, notice, "Rotate").await {
        tracing::warn!(secret, error = error_chain(&error), "an event could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{rotation::Old, tests::cas};

    #[test]
    fn each_step_that_people_care_for_is_told() {
        let mut after = cas(Purpose::Servers);
        after.old = Some(Old {
            root: String::new(),
            until: SystemTime::UNIX_EPOCH + Duration::from_millis(1_900_000_000_400),
        });
        let rules = Rules {
            certificate: Duration::from_hours(168),
            notice: Duration::from_mins(5),
        };
        let note = |step| step_notice(step, &after, &rules).map(|notice| notice.note().to_owned());
        assert_eq!(
            note(Step::Begin).unwrap(),
            "the next CA was made; it issues when all who have to believe it have had it for 5 min"
        );
        assert_eq!(
            note(Step::Promote).unwrap(),
            "the next CA issues from now on, and the one before is believed until 2030-03-17T17:46:40Z"
        );
        assert_eq!((note(Step::Count), note(Step::Recount)), (None, None));
        assert!(
            waits_notice(SystemTime::UNIX_EPOCH)
                .note()
                .contains("1970-01-01T00:00:00Z")
        );
    }

    #[test]
    fn times_are_said_in_their_largest_unit() {
        let said = [0, 59, 60, 90, 3600, 604_800].map(|seconds| words(Duration::from_secs(seconds)));
        assert_eq!(said, ["0 s", "59 s", "1 min", "90 s", "1 h", "168 h"]);
    }
}
