//! Callers of the offender: a process of its own, so that what they have to do delays nobody who is watched.

use std::{
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::Args;
use reqwest::{Certificate, RequestBuilder};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

use super::{Offence, PartError, read};
use crate::load::scene::client_believing;

/// Between two pieces that a caller of the offender takes.
const PACE: Duration = Duration::from_millis(50);
/// Between two requests of such a caller. They all begin within one of these.
pub(in crate::load) const BETWEEN_REQUESTS: Duration = Duration::from_millis(500);
/// What such a caller sends, of which an offender that is slow reads nothing.
const BODY: usize = 256 * 1024;
/// Between two lines that say how much all have got.
const REPORT: Duration = Duration::from_millis(50);

/// Callers of one offence.
#[derive(Args, Clone, Debug)]
pub struct Callers {
    /// A folder with serving/tls.crt, the gateway's certificate
    #[arg(long)]
    folder: PathBuf,
    /// Who they are
    #[arg(long, env = TOKEN, hide_env_values = true)]
    token: String,
    /// What they suffer
    #[arg(long)]
    offence: Offence,
    /// How many they are
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// The offence's address at the gateway
    url: String,
}

/// Where the token is handed over.
pub(in crate::load) const TOKEN: &str = "KITE_TOKEN";

impl Callers {
    /// Calls until the process ends. Prints now and then how many pieces and whole answers there were.
    pub(super) async fn run(self) -> Result<(), PartError> {
        let certificate = read(&self.folder, "serving/tls.crt")?;
        let certificate = Certificate::from_pem(certificate.as_bytes()).map_err(PartError::Client)?;
        let body = if self.offence == Offence::IsSlow { BODY } else { 0 };
        let got = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for caller in 0..self.count {
            // With one of its own it shares no connection.
            let client = client_believing(certificate.clone(), false).map_err(PartError::Client)?;
            // Each kind of garbage comes at some caller.
            let request = client
                .post(format!("{}/{}", self.url, caller % 6))
                .bearer_auth(&self.token)
                .body(vec![b'a'; body]);
            // Side by side, they would be felt for coming all at once, whatever the plugin does.
            let wait = BETWEEN_REQUESTS / self.count * caller;
            callers.spawn(suffer(wait, request, Arc::clone(&got)));
        }
        let mut reports = interval(REPORT);
        loop {
            reports.tick().await;
            writeln!(std::io::stdout(), "{}", got.load(Ordering::Relaxed)).map_err(PartError::Report)?;
        }
    }
}

/// After a `wait`, asks again and again, and takes what comes at its own pace: so that it is not the caller who floods the machine.
async fn suffer(wait: Duration, request: RequestBuilder, got: Arc<AtomicUsize>) {
    sleep(wait).await;
    while let Some(request) = request.try_clone() {
        if let Ok(mut answer) = request.send().await {
            while let Ok(Some(_)) = answer.chunk().await {
                got.fetch_add(1, Ordering::Relaxed);
                sleep(PACE).await;
            }
            got.fetch_add(1, Ordering::Relaxed);
        }
        sleep(BETWEEN_REQUESTS).await;
    }
}
