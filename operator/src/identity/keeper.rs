//! Keeps who is who: rotates the CAs, and sees that gateway and plugins have their certificates and whom to believe.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Secret, Service};
use kite_api::{error_chain, identity::GATEWAY_SERVICE, labels};
use kube::{
    Api, Client,
    api::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{Config, watcher},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    ByPurpose, Current, Identity,
    authority::Purpose,
    gateway::{self, Gateway},
    kept::Cas,
    news::{self, News},
    plugins::{self, Plugins},
    rotation::{Facts, Spread, Step},
    secrets::{Found, IdentityError, PURPOSES, Store},
};
use crate::{Options, backoff, metrics::Metrics};

/// How often all is looked at though nothing has changed, at most and at least.
const LONGEST: Duration = Duration::from_hours(1);
const SHORTEST: Duration = Duration::from_millis(500);
/// Into how many looks a certificate's life is divided: each is late by so little that it has nearly a third of its life left.
const LOOKS: u32 = 20;
/// Most steps at one look. What is left is for the next.
const STEPS: usize = 16;

/// Keeps the identity of an installation.
pub struct Keeper<'a> {
    client: &'a Client,
    options: &'a Options,
    metrics: &'a Metrics,
    store: Store,
    /// What the Secrets were left with.
    known: ByPurpose<Cas>,
    news: News,
    current: watch::Sender<Arc<Identity>>,
    failures: u32,
}

/// Reads or makes the identity, and brings it to gateway and plugins, as often as it takes. `None`: the operator was told to stop before.
pub async fn establish<'a>(
    client: &'a Client,
    options: &'a Options,
    metrics: &'a Metrics,
    stop: &CancellationToken,
) -> Option<Keeper<'a>> {
    let mut failures = 0;
    let mut told = None;
    loop {
        let attempt = async {
            let mut keeper = Keeper::start(client, options, metrics).await?;
            keeper.look().await?;
            Ok::<_, IdentityError>(keeper)
        };
        let error = tokio::select! {
            () = stop.cancelled() => return None,
            result = attempt => match result {
                Ok(keeper) => return Some(keeper),
                Err(error) => error,
            },
        };
        failures += 1;
        let wait = backoff::delay(failures);
        tracing::error!(error = error_chain(&error), retry_in = ?wait, "the CAs and the gateway's certificates are not there");
        // Once, and not at each try.
        let text = error_chain(&error);
        if told.as_ref() != Some(&text) {
            news::unusable(client, &error).await;
            told = Some(text);
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl<'a> Keeper<'a> {
    /// Begins with the CAs as they are, which are made where there are none.
    async fn start(client: &'a Client, options: &'a Options, metrics: &'a Metrics) -> Result<Self, IdentityError> {
        let store = Store::new(client, &options.namespaces.system, options.lives);
        let mut news = News::default();
        let mut load = async |purpose| {
            let found = store.load(purpose, None).await?;
            news.mended(client, &found).await;
            Ok::<_, IdentityError>(found.cas)
        };
        let known = ByPurpose {
            servers: load(Purpose::Servers).await?,
            clients: load(Purpose::Clients).await?,
            serving: load(Purpose::Serving).await?,
        };
        let identity = Identity::new(known.clone(), None, options.lives, SystemTime::now());
        let identity = identity.map_err(IdentityError::Issue)?;
        Ok(Self {
            client,
            options,
            metrics,
            store,
            known,
            news,
            current: watch::Sender::new(Arc::new(identity)),
            failures: 0,
        })
    }

    /// The identity as it is at any time.
    pub fn current(&self) -> Current {
        Current(self.current.subscribe())
    }

    /// Keeps all as it should be, until `stop`.
    pub async fn keep(mut self, stop: &CancellationToken) {
        let mut changes = pin!(changes(
            self.client,
            &self.options.namespaces.system,
            self.options.watching()
        ));
        let mut wait = SHORTEST;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.next() => {}
                () = tokio::time::sleep(wait) => {}
            }
            // What has come meanwhile is looked at together.
            while let Some(Some(())) = changes.next().now_or_never() {}
            wait = match self.look().await {
                Ok(wait) => wait,
                Err(error) => {
                    self.failures += 1;
                    tracing::error!(
                        error = error_chain(&error),
                        "the certificates are not as they should be"
                    );
                    backoff::delay(self.failures)
                }
            };
        }
    }

    /// Looks at all once, takes the steps that are due, and says when to look again. Writes nothing where all is well.
    async fn look(&mut self) -> Result<Duration, IdentityError> {
        for _ in 0..STEPS {
            let found = self.load().await?;
            // Before anything is given to others: what has ended is not.
            if self.advance(&found, None).await? {
                continue;
            }
            let identity = self.publish()?;
            let spread = self.ensure(&identity).await?;
            if self.advance(&found, Some(spread)).await? {
                continue;
            }
            return Ok(self.wait(spread));
        }
        Ok(SHORTEST)
    }

    async fn load(&mut self) -> Result<ByPurpose<Found>, IdentityError> {
        let load = async |purpose| self.store.load(purpose, Some(self.known.of(purpose))).await;
        let found = ByPurpose {
            servers: load(Purpose::Servers).await?,
            clients: load(Purpose::Clients).await?,
            serving: load(Purpose::Serving).await?,
        };
        for purpose in PURPOSES {
            let found = found.of(purpose);
            self.news.mended(self.client, found).await;
            *self.known.of_mut(purpose) = found.cas.clone();
        }
        Ok(found)
    }

    /// Takes the next step of each rotation that has one, and tells whether any had.
    async fn advance(
        &mut self,
        found: &ByPurpose<Found>,
        spread: Option<ByPurpose<Spread>>,
    ) -> Result<bool, IdentityError> {
        let mut stepped = false;
        for purpose in PURPOSES {
            let found = found.of(purpose);
            let rules = self.options.lives.rules(purpose);
            let now = SystemTime::now();
            let facts = Facts {
                now,
                requested: found.requested,
                spread: spread.map(|spread| *spread.of(purpose)),
            };
            let Some(step) = found.cas.step(&facts, &rules) else {
                self.news.waits(self.client, purpose, found).await;
                continue;
            };
            stepped = true;
            let after = found
                .cas
                .clone()
                .after(step, now, &rules, || self.store.create(purpose, now));
            let after = after.map_err(IdentityError::Create)?;
            let granted = matches!(step, Step::Begin | Step::Promote | Step::Replace);
            match self.store.write(purpose, found, &after, granted).await {
                Ok(_) => {
                    news::step(self.client, step, found, &after, &rules).await;
                    *self.known.of_mut(purpose) = after;
                }
                // Somebody else was quicker, and it is another decision.
                Err(IdentityError::Write(_, error)) if is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(stepped)
    }

    /// The identity that the CAs give now, which is everybody's from now on.
    fn publish(&self) -> Result<Arc<Identity>, IdentityError> {
        let operator = self.current.borrow().operator.clone();
        let identity = Identity::new(
            self.known.clone(),
            Some(operator),
            self.options.lives,
            SystemTime::now(),
        );
        let identity = Arc::new(identity.map_err(IdentityError::Issue)?);
        self.current.send_replace(Arc::clone(&identity));
        for (certificate, end) in identity.ends() {
            self.metrics.certificate(certificate, end);
        }
        for purpose in PURPOSES {
            self.metrics.rotation(purpose.metric(), self.known.of(purpose).stage());
        }
        Ok(identity)
    }

    /// Sees that gateway and plugins have what they should.
    async fn ensure(&self, identity: &Identity) -> Result<ByPurpose<Spread>, IdentityError> {
        let namespaces = &self.options.namespaces;
        let names = &self.options.gateway_names;
        let (gateway, Plugins { clients, serving }) = tokio::join!(
            gateway::ensure(identity, self.client, &namespaces.system, names),
            plugins::ensure(identity, self.client, &namespaces.plugins, self.metrics),
        );
        let Gateway {
            client: of_client,
            serving: of_serving,
        } = gateway?;
        self.metrics.certificate("gateway-client", of_client.end);
        self.metrics.certificate("gateway-serving", of_serving.end);
        Ok(ByPurpose {
            servers: of_client.spread,
            clients,
            serving: serving.min(of_serving.spread),
        })
    }

    /// When to look again.
    fn wait(&mut self, spread: ByPurpose<Spread>) -> Duration {
        let lives = &self.options.lives;
        let now = SystemTime::now();
        let due = PURPOSES.map(|purpose| self.known.of(purpose).wait(now, &lives.rules(purpose)));
        let lacking = PURPOSES.iter().any(|purpose| *spread.of(*purpose) == Spread::Lacking);
        self.failures = if lacking { self.failures + 1 } else { 0 };
        let again = lacking.then(|| backoff::delay(self.failures));
        let first = due.into_iter().chain(again).chain([lives.certificate / LOOKS]).min();
        first.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict())
}

/// One item for each change of the gateway's Service and of the operator's own Secrets.
fn changes(client: &Client, system: &str, watching: Config) -> impl Stream<Item = ()> + use<> {
    let service: Api<PartialObjectMeta<Service>> = Api::namespaced(client.clone(), system);
    let service = watcher(
        service,
        watching.clone().fields(&format!("metadata.name={GATEWAY_SERVICE}")),
    );
    let secret: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), system);
    let ours = format!("{}={}", labels::MANAGED_BY, labels::OPERATOR);
    let secret = watcher(secret, watching.labels(&ours));
    // A watch that fails is begun again; what it missed is in its new list.
    let service = service.backoff(backoff::of_watches()).touched_objects().map_ok(drop);
    let secret = secret.backoff(backoff::of_watches()).touched_objects().map_ok(drop);
    stream::select(service, secret).filter_map(async |result| {
        result
            .inspect_err(|error| {
                tracing::warn!(
                    error = error_chain(error),
                    "a watch of the certificates was interrupted"
                );
            })
            .ok()
    })
}
