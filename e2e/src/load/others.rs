//! Whether callers of one plugin notice what another one does.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    LoadError,
    part::{BETWEEN_REQUESTS, Offence},
    scene::Scene,
    side::{Kind, Side},
    task::Task,
};
use crate::{
    cluster::Progress,
    process::Process,
    spread::{Spread, percentile},
};

/// What the others' p99 may be beside an offender, as a multiple of what it is while the same offence goes through another gateway.
pub(super) const MOST: f64 = 1.5;
/// Connections for these, of each version of HTTP.
const CONNECTIONS: [(bool, usize); 2] = [(false, 20), (true, 2)];
/// Within which a request has to be answered.
const LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at whether an offence is felt.
const WAIT: Duration = Duration::from_millis(20);
/// The time in which all callers have come: in the first half of it each begins.
const ARRIVAL: Duration = BETWEEN_REQUESTS.saturating_mul(2);

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) rounds: usize,
    /// Of each round.
    pub(super) time: Duration,
    /// Requests a second to the plugin whose callers are watched: half of them small, half of them tool calls.
    pub(super) rate: u32,
    /// Callers of the offender at once.
    pub(super) callers: usize,
}

/// The others' p99 in milliseconds, measured one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Without an offender.
    pub(super) alone: f64,
    /// While the offence goes through another gateway: what is felt then is felt of the machine, which all share here.
    pub(super) elsewhere: f64,
    /// While it goes through theirs.
    pub(super) beside: f64,
}

/// What one offence does to others.
#[derive(Clone, Debug)]
pub(super) struct Offended {
    pub(super) kind: Kind,
    pub(super) offence: &'static str,
    pub(super) rounds: Vec<Round>,
    /// Requests to the other plugin that were not answered as they should be, in all rounds.
    pub(super) failed: usize,
    /// What the offender's callers got done at the others' gateway: pieces and whole answers.
    pub(super) got: usize,
}

impl Offended {
    /// Of what it is without an offender.
    pub(super) fn of_alone(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round.beside / round.alone))
    }

    /// Of what it is while the offence goes through another gateway: what theirs does to them.
    pub(super) fn of_elsewhere(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round.beside / round.elsewhere))
    }
}

/// Measures each offence at each gateway.
pub(super) async fn measure(
    scene: &Scene<'_>,
    amount: Amount,
    progress: &Progress,
) -> Result<Vec<Offended>, LoadError> {
    let mut all = Vec::new();
    for (side, _) in scene.gateways() {
        let watched = Watched::of(scene, side)?;
        let (far, _process) = scene.far(side).await?;
        // What is made for the first request is not what is measured.
        watched.p99(amount).await?;
        for offence in Offence::ALL {
            let mut offended = Offended {
                kind: side.kind.clone(),
                offence: offence.name(),
                rounds: Vec::new(),
                failed: 0,
                got: 0,
            };
            for _ in 0..amount.rounds {
                let (alone, first) = watched.p99(amount).await?;
                let (elsewhere, second, _) = watched.p99_while(offence, &far, scene, amount).await?;
                let (beside, third, got) = watched.p99_while(offence, side, scene, amount).await?;
                offended.rounds.push(Round {
                    alone,
                    elsewhere,
                    beside,
                });
                offended.failed += first + second + third;
                offended.got += got;
                scene.empty_logs()?;
            }
            let ratio = |spread: Option<Spread>| spread.map_or(0.0, |spread| spread.median);
            progress.say(&format!(
                "{}: one plugin {}: others' p99 {:.2}× of alone, {:.2}× of beside another gateway",
                side.kind,
                offended.offence,
                ratio(offended.of_alone()),
                ratio(offended.of_elsewhere()),
            ));
            all.push(offended);
        }
    }
    Ok(all)
}

/// The callers who are watched.
struct Watched {
    clients: Vec<Client>,
    side: Side,
    token: String,
}

impl Watched {
    fn of(scene: &Scene<'_>, side: &Side) -> Result<Self, LoadError> {
        let versions = CONNECTIONS
            .iter()
            .flat_map(|(http2, count)| std::iter::repeat_n(*http2, *count));
        Ok(Self {
            clients: versions.map(|http2| scene.client(http2)).collect::<Result<_, _>>()?,
            side: side.clone(),
            token: scene.token.clone(),
        })
    }

    /// The p99 in milliseconds of requests that begin when they should, whether those before are answered or not; and how many failed.
    async fn p99(&self, amount: Amount) -> Result<(f64, usize), LoadError> {
        let times = Arc::new(Mutex::new(Vec::new()));
        let failed = Arc::new(AtomicUsize::new(0));
        let mut pace = interval(Duration::from_secs(1) / amount.rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = JoinSet::new();
        let began = Instant::now();
        for (client, task) in self
            .clients
            .iter()
            .cycle()
            .zip([Task::Small, Task::Tool].iter().cycle())
        {
            if began.elapsed() >= amount.time {
                break;
            }
            pace.tick().await;
            let request = self.request(client, *task);
            let (times, failed) = (Arc::clone(&times), Arc::clone(&failed));
            let answer = task.answer();
            under_way.spawn(async move {
                let began = Instant::now();
                let answered = async { request.send().await?.bytes().await };
                let is_well = matches!(timeout(LIMIT, answered).await, Ok(Ok(body)) if body == answer);
                failed.fetch_add(usize::from(!is_well), Ordering::Relaxed);
                times
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(began.elapsed());
            });
        }
        under_way.join_all().await;
        let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
        let p99 = percentile(&mut times, 0.99).ok_or(LoadError::NoTimes)?;
        Ok((p99.as_secs_f64() * 1e3, failed.load(Ordering::Relaxed)))
    }

    /// The same while the offence goes on at the gateway `by`, and what its callers got done.
    async fn p99_while(
        &self,
        offence: Offence,
        by: &Side,
        scene: &Scene<'_>,
        amount: Amount,
    ) -> Result<(f64, usize, usize), LoadError> {
        let callers = Callers::start(scene, by, offence, amount.callers)?;
        callers.began().await?;
        let before = callers.got();
        let (p99, failed) = self.p99(amount).await?;
        Ok((p99, failed, callers.goes_on_from(before)?))
    }

    fn request(&self, client: &Client, task: Task) -> reqwest::RequestBuilder {
        let url = self.side.url(task);
        let request = match task {
            Task::Small => client.get(url),
            Task::Echo | Task::Tool => client
                .post(url)
                .header("content-type", task.content_type())
                .body(task.body()),
        };
        request.bearer_auth(&self.token)
    }
}

/// The callers of the offender, until it is dropped.
struct Callers {
    process: Process,
    offence: Offence,
}

impl Callers {
    fn start(scene: &Scene<'_>, side: &Side, offence: Offence, count: usize) -> Result<Self, LoadError> {
        Ok(Self {
            process: scene.callers(side, offence, count)?,
            offence,
        })
    }

    /// Pieces and whole answers that they got; nothing, before they have all begun.
    fn got(&self) -> Option<usize> {
        self.process.last_words().split_whitespace().next_back()?.parse().ok()
    }

    /// The same, if it has grown: of one who hangs nobody gets anything, ever.
    fn goes_on_from(&self, before: Option<usize>) -> Result<usize, LoadError> {
        let now = self.got();
        let goes_on = now > before || (self.offence == Offence::Hangs && now == Some(0));
        let now = now.filter(|_| goes_on);
        now.ok_or_else(|| LoadError::NoOffence(self.offence.name(), self.process.last_words()))
    }

    /// Waits until the offence is felt, and all callers have had the time to come: that they agree on TLS is no offence. One who hangs is felt by
    /// nobody.
    async fn began(&self) -> Result<(), LoadError> {
        let is_felt = |got: usize| got > 0 || self.offence == Offence::Hangs;
        let felt = async {
            while !self.got().is_some_and(is_felt) {
                sleep(WAIT).await;
            }
        };
        let felt = timeout(LIMIT, felt).await;
        felt.map_err(|_| LoadError::NoOffence(self.offence.name(), self.process.last_words()))?;
        sleep(ARRIVAL).await;
        Ok(())
    }
}
