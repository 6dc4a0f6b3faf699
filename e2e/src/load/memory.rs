//! What a gateway keeps in memory: while much passes through it, and for streams on which nothing happens.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Body, Client, Response};

use super::{
    LoadError,
    part::{EVENTS, SINK, SOURCE},
    scene::{Scene, stream_plugins},
    side::{Kind, Side},
    task::PLUGIN,
};
use crate::{cluster::Progress, process::Process};

pub(super) const MIB: u64 = 1 << 20;
/// How much over idle memory a transfer may take, whatever its size.
pub(super) const MOST: u64 = 64 * MIB;
/// The pieces of what is sent.
const PIECE: usize = 64 * 1024;
/// Streams that are opened at once: a gateway accepts only so many connections at a time.
const AT_ONCE: usize = 64;
/// Requests on one HTTP/2 connection, below what a gateway takes at once.
const STREAMS: usize = 200;

/// What a gateway's memory was.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) kind: Kind,
    pub(super) direction: &'static str,
    pub(super) bytes: u64,
    pub(super) time: Duration,
    pub(super) idle: u64,
    pub(super) peak: u64,
}

/// What a gateway's memory was with streams and without.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) kind: Kind,
    pub(super) version: &'static str,
    pub(super) count: usize,
    pub(super) without: u64,
    pub(super) with: u64,
}

impl Transfer {
    pub(super) fn over_idle(&self) -> u64 {
        self.peak.saturating_sub(self.idle)
    }
}

impl Streams {
    /// Bytes for each.
    #[expect(clippy::cast_precision_loss, reason = "a figure of three digits is made of them")]
    pub(super) fn each(&self) -> f64 {
        self.with.saturating_sub(self.without) as f64 / self.count as f64
    }
}

/// Sends so many bytes through each gateway, up and down.
pub(super) async fn transfers(scene: &Scene<'_>, bytes: u64, progress: &Progress) -> Result<Vec<Transfer>, LoadError> {
    let mut all = Vec::new();
    for (like, _) in scene.gateways() {
        for direction in ["up", "down"] {
            let (side, process) = scene.fresh(like).await?;
            let client = scene.client(false)?;
            let idle = process.resident()?;
            process.forget_peak()?;
            let began = Instant::now();
            let passed = match direction {
                "up" => up(scene, &client, &side, bytes).await,
                _ => down(scene, &client, &side, bytes).await,
            };
            let passed = passed.map_err(LoadError::Request)?;
            if passed != bytes {
                return Err(LoadError::Lost { bytes, passed });
            }
            let transfer = Transfer {
                kind: side.kind.clone(),
                direction,
                bytes,
                time: began.elapsed(),
                idle,
                peak: process.peak()?,
            };
            progress.say(&format!(
                "{}: {} MiB {direction} in {:.1} s, {} MiB over idle",
                side.kind,
                bytes / MIB,
                transfer.time.as_secs_f64(),
                transfer.over_idle() / MIB
            ));
            all.push(transfer);
        }
    }
    Ok(all)
}

/// Sends bytes, and gives how many the plugin says came.
async fn up(scene: &Scene<'_>, client: &Client, side: &Side, bytes: u64) -> reqwest::Result<u64> {
    let piece = Bytes::from(vec![b'a'; PIECE]);
    let count = usize::try_from(bytes).unwrap_or(usize::MAX) / PIECE;
    let pieces = stream::iter((0..count).map(move |_| Ok::<_, Infallible>(piece.clone())));
    let request = client
        .post(url(side, PLUGIN, SINK))
        .bearer_auth(&scene.token)
        .body(Body::wrap_stream(pieces));
    let answer = request.send().await?.error_for_status()?.text().await?;
    Ok(answer.parse().unwrap_or_default())
}

/// Gives how many bytes came.
async fn down(scene: &Scene<'_>, client: &Client, side: &Side, bytes: u64) -> reqwest::Result<u64> {
    let request = client
        .get(format!("{}/{bytes}", url(side, PLUGIN, SOURCE)))
        .bearer_auth(&scene.token);
    let mut answer = request.send().await?.error_for_status()?;
    let mut passed = 0;
    while let Some(piece) = answer.chunk().await? {
        passed += piece.len() as u64;
    }
    Ok(passed)
}

/// Opens so many event streams on each gateway, over each version of HTTP.
pub(super) async fn streams(
    scene: &Scene<'_>,
    count: usize,
    streamers: u8,
    progress: &Progress,
) -> Result<Vec<Streams>, LoadError> {
    let mut all = Vec::new();
    for (like, _) in scene.gateways() {
        for (version, http2) in [
            ("HTTP/1.1, a connection each", false),
            ("HTTP/2, 200 on a connection", true),
        ] {
            let (side, process) = scene.fresh(like).await?;
            let measured = open(scene, &side, &process, count, streamers, http2).await?;
            let streams = Streams { version, ..measured };
            progress.say(&format!(
                "{}: {count} event streams over {version}: {:.1} KiB each",
                side.kind,
                streams.each() / 1024.0
            ));
            all.push(streams);
        }
    }
    Ok(all)
}

async fn open(
    scene: &Scene<'_>,
    side: &Side,
    process: &Process,
    count: usize,
    streamers: u8,
    http2: bool,
) -> Result<Streams, LoadError> {
    let plugins: Vec<String> = stream_plugins(streamers).collect();
    // A client of HTTP/2 keeps to one connection, and one of HTTP/1.1 has as many as it has requests.
    let clients = (0..count.div_ceil(STREAMS)).map(|_| scene.client(http2));
    let clients: Vec<Client> = clients.collect::<Result<_, _>>()?;
    // The connections to the plugins are there with and without.
    for (plugin, client) in plugins.iter().zip(clients.iter().cycle()) {
        drop(one(scene, client, side, plugin).await?);
    }
    let without = process.resident()?;
    let wanted = clients.iter().cycle().zip(plugins.iter().cycle()).take(count);
    let asked = wanted.map(|(client, plugin)| one(scene, client, side, plugin));
    let asked: Vec<_> = asked.collect();
    let open: Vec<Response> = stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await?;
    let with = process.resident()?;
    Ok(Streams {
        kind: side.kind.clone(),
        version: "",
        count: open.len(),
        without,
        with,
    })
}

/// A stream whose first event has come.
async fn one(scene: &Scene<'_>, client: &Client, side: &Side, plugin: &str) -> Result<Response, LoadError> {
    let request = client.get(url(side, plugin, EVENTS)).bearer_auth(&scene.token);
    let answer = async {
        let mut answer = request.send().await?.error_for_status()?;
        answer.chunk().await?;
        Ok(answer)
    };
    answer.await.map_err(LoadError::Request)
}

/// A path below a plugin at a gateway.
pub(super) fn url(side: &Side, plugin: &str, path: &str) -> String {
    format!("https://{}/api/v1/plugins/{plugin}/{path}", side.address)
}
