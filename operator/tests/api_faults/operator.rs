//! An operator: the controller as it is, which reaches the API server by a line of its own.

use std::{sync::Arc, time::Duration};

use kite_operator::{controller, health::Health, identity::keeper, leadership::Term};
use kube::{Client, Config};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{cell::Cell, ledger::Ledger, line::Line};

/// Longer than any test takes: who leads is tried elsewhere.
const FOR_EVER: Duration = Duration::from_hours(1);

/// It ends, without a word to anybody, when this is dropped.
pub(crate) struct Operator {
    pub(crate) line: Line,
    task: JoinHandle<()>,
}

impl Operator {
    /// Starts one. If `frozen_at` is given, its watches tell of the cluster as it was at that version, until they are told to go on.
    pub(crate) async fn start(cell: &Cell, subject: &str, ledger: &Arc<Ledger>, frozen_at: Option<String>) -> Self {
        let line = Line::open(&cell.client, subject, ledger, frozen_at).await;
        let address = format!("http://{}", line.address).parse().expect("an address");
        let client = Client::try_from(Config::new(address)).expect("a client");
        let options = cell.options.clone();
        let task = tokio::spawn(async move {
            let (health, stop) = (Health::default(), CancellationToken::new());
            // It waits for ever when the line is cut.
            let Some(keeper) = keeper::establish(&client, &options, &health.metrics, &stop).await else {
                return;
            };
            let term = Term::until(Instant::now() + FOR_EVER);
            controller::run((&client, &term), &options, keeper.current(), &health, None, &stop).await;
        });
        Self { line, task }
    }

    /// Ends it where it is.
    pub(crate) fn stop(&self) {
        self.line.cut();
        self.task.abort();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.stop();
    }
}
