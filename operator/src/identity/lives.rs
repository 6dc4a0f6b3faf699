//! For how long what the operator issues is valid, and how long it takes until everybody has it.

use std::time::Duration;

use super::{authority::Purpose, rotation::Rules};

/// A CA lives so many times as long as its certificates, and as the notice that is given of the next one, at least: when that is made a third
/// of the life is left, in which both have room.
const ROOM: u32 = 6;

/// For how long what the operator issues is valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::Args)]
pub struct Lives {
    /// For how many minutes certificates of plugins, gateway and operator are valid. They are renewed at two thirds
    #[arg(long = "certificate-minutes", env = "KITE_CERTIFICATE_MINUTES", value_name = "MINUTES", default_value = "10080", value_parser = minutes)]
    pub certificate: Duration,

    /// For how many hours CAs are valid, and at least six times as long as certificates. The next one is made at two thirds
    #[arg(long = "ca-hours", env = "KITE_CA_HOURS", value_name = "HOURS", default_value = "8760", value_parser = hours)]
    pub ca: Duration,

    /// How many seconds it takes until whoever has to know a new CA has it: the time in which kubelets bring changed Secrets and programs
    /// read them. So long after a CA was given to all, certificates of it are issued
    #[arg(long = "ca-spread-seconds", env = "KITE_CA_SPREAD_SECONDS", value_name = "SECONDS", default_value = "300", value_parser = spread)]
    pub spread: Duration,

    /// For how many hours the next CA of the gateway's serving certificate is shown before the certificate is one of it, for those who
    /// keep a copy of the CA outside the cluster
    #[arg(long = "serving-ca-notice-hours", env = "KITE_SERVING_CA_NOTICE_HOURS", value_name = "HOURS", default_value = "168", value_parser = notice)]
    pub serving_notice: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Self {
            certificate: Duration::from_hours(168),
            ca: Duration::from_hours(8760),
            spread: Duration::from_mins(5),
            serving_notice: Duration::from_hours(168),
        }
    }
}

impl Lives {
    /// How long a CA is valid that is made for `purpose`.
    pub fn authority(&self, purpose: Purpose) -> Duration {
        let notice = self.rules(purpose).notice.saturating_mul(ROOM);
        let certificates = self.certificate.saturating_mul(ROOM);
        self.ca.max(certificates).max(notice)
    }

    /// By what the CA for `purpose` is rotated.
    pub fn rules(&self, purpose: Purpose) -> Rules {
        let spread = self.spread;
        Rules {
            certificate: self.certificate,
            notice: match purpose {
                Purpose::Servers | Purpose::Clients => spread,
                Purpose::Serving => spread.max(self.serving_notice),
            },
        }
    }
}

/// What an argument may be.
#[derive(Debug, thiserror::Error)]
#[error("failed to read it as a number from {least} to {most}")]
struct RangeError {
    least: u64,
    most: u64,
}

fn between(text: &str, least: u64, most: u64) -> Result<u64, RangeError> {
    let read = text.parse().ok().filter(|number| (least..=most).contains(number));
    read.ok_or(RangeError { least, most })
}

/// A kubelet takes about a minute to bring a new certificate, so that a shorter life would not leave it much time.
fn minutes(text: &str) -> Result<Duration, RangeError> {
    between(text, 10, 525_600).map(Duration::from_mins)
}

fn hours(text: &str) -> Result<Duration, RangeError> {
    between(text, 24, 87_600).map(Duration::from_hours)
}

fn spread(text: &str) -> Result<Duration, RangeError> {
    between(text, 30, 3600).map(Duration::from_secs)
}

fn notice(text: &str) -> Result<Duration, RangeError> {
    between(text, 0, 8760).map(Duration::from_hours)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Given {
        #[command(flatten)]
        lives: Lives,
    }

    fn read(arguments: &[&str]) -> Result<Lives, clap::Error> {
        Given::try_parse_from(["x"].iter().chain(arguments)).map(|given| given.lives)
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        assert_eq!(read(&[]).unwrap(), Lives::default());
    }

    #[test]
    fn what_is_too_short_or_too_long_is_refused() {
        for (argument, ends, beyond) in [
            ("--certificate-minutes", ["10", "525600"], ["9", "525601"]),
            ("--ca-hours", ["24", "87600"], ["23", "87601"]),
            ("--ca-spread-seconds", ["30", "3600"], ["29", "3601"]),
            ("--serving-ca-notice-hours", ["0", "8760"], ["-1", "8761"]),
        ] {
            for text in ends {
                assert!(read(&[&format!("{argument}={text}")]).is_ok(), "{argument}={text}");
            }
            for text in beyond.into_iter().chain(["", "x", "1.5"]) {
                assert!(read(&[&format!("{argument}={text}")]).is_err(), "{argument}={text}");
            }
        }
    }

    #[test]
    fn a_ca_outlives_its_certificates_and_its_notice() {
        let lives = read(&["--ca-hours=24", "--certificate-minutes=1440"]).unwrap();
        assert_eq!(lives.authority(Purpose::Servers), Duration::from_hours(144));
        assert_eq!(lives.authority(Purpose::Serving), Duration::from_hours(6 * 168));
    }

    #[test]
    fn people_are_given_notice_of_the_serving_ca_and_never_less_than_programs() {
        let lives = read(&["--serving-ca-notice-hours=0", "--ca-spread-seconds=60"]).unwrap();
        assert_eq!(lives.rules(Purpose::Serving).notice, Duration::from_mins(1));
        assert_eq!(
            Lives::default().rules(Purpose::Serving).notice,
            Duration::from_hours(168)
        );
        assert_eq!(Lives::default().rules(Purpose::Clients).notice, Duration::from_mins(5));
    }
}
