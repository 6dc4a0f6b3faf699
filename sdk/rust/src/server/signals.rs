//! The signals that tell a process to stop.

use std::{future::Future, io};

use tokio::signal::unix::{SignalKind, signal};

/// Completes at SIGTERM, which the kubelet sends, or SIGINT, which a terminal does. Both are listened for from now on.
pub(super) fn stop() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
