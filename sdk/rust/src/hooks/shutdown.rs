//! Releasing what the plugin holds, once.

use std::{
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::watch;
use tracing::error;

use crate::{Kite, service::panic_text};

/// A plugin's hook for its end.
#[derive(Clone)]
pub struct Shutdown(Arc<dyn Fn(Kite) -> BoxFuture<'static, ()> + Send + Sync>);

impl Shutdown {
    /// `hook` releases what the plugin holds. It runs once: when the operator announces the stop, while requests may still be
    /// under way, or else when the plugin is told to stop by a signal and its requests have ended.
    pub fn new<Run, Running>(hook: Run) -> Self
    where
        Run: Fn(Kite) -> Running + Send + Sync + 'static,
        Running: Future<Output = ()> + Send + 'static,
    {
        let hook = Arc::new(hook);
        Self(Arc::new(move |kite| {
            let hook = Arc::clone(&hook);
            async move { hook(kite).await }.boxed()
        }))
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shutdown")
    }
}

/// A hook that runs once, whoever asks first and however long they wait: it goes on when nobody does.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    hook: Shutdown,
    kite: Kite,
    ended: Arc<OnceLock<watch::Receiver<bool>>>,
}

impl Once {
    pub(crate) fn new(hook: Shutdown, kite: Kite) -> Self {
        Self {
            hook,
            kite,
            ended: Arc::default(),
        }
    }

    /// Begins the hook, unless it has begun, and waits for its end.
    pub(crate) async fn run(&self) {
        let mut ended = self.ended.get_or_init(|| self.begin()).clone();
        // Fails only if the task is gone, which is the end too.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    fn begin(&self) -> watch::Receiver<bool> {
        let (end, ended) = watch::channel(false);
        let running = (self.hook.0)(self.kite.clone());
        tokio::spawn(async move {
            if let Err(panic) = AssertUnwindSafe(running).catch_unwind().await {
                error!(panic = panic_text(&*panic), "the plugin's shutdown hook panicked");
            }
            end.send_replace(true);
        });
        ended
    }
}
