//! What the gateway can be told about how callers come.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{pipeline::same_origin::WebOrigin, session::Lasting};

/// How callers come.
#[derive(Args, Clone, Debug)]
pub struct EntranceFlags {
    /// Namespace of the system, with the Secret of the sessions.
    #[arg(long, env = "KITE_SYSTEM_NAMESPACE", default_value = "kite-system")]
    pub system_namespace: String,

    /// Audiences of people's tokens, in place of the API server's own.
    #[arg(long = "token-audience", env = "KITE_TOKEN_AUDIENCES", value_delimiter = ',', value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub token_audiences: Vec<String>,

    /// Origins of the dashboard's pages, such as `https://kite.example`, beside the address by which a request reached the gateway.
    #[arg(long = "public-origin", env = "KITE_PUBLIC_ORIGINS", value_delimiter = ',')]
    pub public_origins: Vec<WebOrigin>,

    /// After how many seconds a session ends that is not used.
    #[arg(long, env = "KITE_SESSION_IDLE_SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u32).range(60..=604_800))]
    pub session_idle_seconds: u32,

    /// After how many seconds any session ends, unless its token does earlier.
    #[arg(long, env = "KITE_SESSION_SECONDS", default_value_t = 43_200, value_parser = clap::value_parser!(u32).range(60..=604_800))]
    pub session_seconds: u32,

    /// File with the CA of callers' client certificates, as PEM.
    #[arg(long, env = "KITE_CLIENT_CA_FILE")]
    pub client_ca_file: Option<PathBuf>,

    /// File with the CA of the certificates of authenticating proxies, as PEM.
    #[arg(long, env = "KITE_PROXY_CA_FILE", requires = "proxy_names")]
    pub proxy_ca_file: Option<PathBuf>,

    /// Common names of the certificates that an authenticating proxy may have.
    #[arg(long = "proxy-name", env = "KITE_PROXY_NAMES", value_delimiter = ',', requires = "proxy_ca_file", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub proxy_names: Vec<String>,
}

impl EntranceFlags {
    /// For how long sessions last, and what is known of them while the API server does not answer.
    pub fn lasting(&self, outage: Duration) -> Lasting {
        Lasting {
            idle: Duration::from_secs(self.session_idle_seconds.into()),
            longest: Duration::from_secs(self.session_seconds.into()),
            outage,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::flags::Flags;

    fn flags(arguments: &[&str]) -> Result<Flags, clap::Error> {
        Flags::try_parse_from([&["kite-gateway"], arguments].concat())
    }

    #[test]
    fn nobody_comes_by_certificate_or_proxy_unless_somebody_says_so() {
        let flags = flags(&[]).unwrap().entrance;
        assert_eq!((flags.client_ca_file, flags.proxy_ca_file), (None, None));
        assert!(flags.token_audiences.is_empty() && flags.public_origins.is_empty());
    }

    #[test]
    fn lists_are_given_at_once_or_one_by_one() {
        let flags = flags(&[
            "--token-audience=a,b",
            "--token-audience=c",
            "--public-origin=https://kite.example",
            "--proxy-ca-file=ca.crt",
            "--proxy-name=front",
        ]);
        let flags = flags.unwrap().entrance;
        assert_eq!(flags.token_audiences, ["a", "b", "c"]);
        assert_eq!(flags.public_origins, ["https://kite.example".parse().unwrap()]);
        assert_eq!(flags.proxy_names, ["front"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for arguments in [
            ["--proxy-ca-file=ca.crt"],
            ["--proxy-name=front"],
            ["--token-audience="],
            ["--public-origin=kite.example"],
            ["--public-origin=https://kite.example/x"],
            ["--session-seconds=5"],
        ] {
            assert!(flags(&arguments).is_err(), "{arguments:?}");
        }
    }
}
