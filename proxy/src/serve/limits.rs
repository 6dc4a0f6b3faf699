//! How much a client may ask of a listener, in one place. What a plugin may do has its bounds where plugins are called.

use std::time::Duration;

/// Most bytes of a request's head, which are in memory before anything is known of the caller.
pub(super) const MAX_HEAD: u32 = 64 * 1024;
/// Most header fields of a request, in either version of HTTP: each costs more than its bytes.
pub(super) const MAX_FIELDS: usize = 128;
/// Most requests under way on one HTTP/2 connection.
pub(super) const MAX_STREAMS: u32 = 256;
/// Most streams that a peer may have reset before they were looked at; more is an attack (CVE-2023-44487).
pub(super) const MAX_RESETS: usize = 64;
/// Most streams that the gateway may have had to reset for the peer's mistakes; more is an attack too.
pub(super) const MAX_FAULTS: usize = 64;
/// Most requests of a connection whose caller went before the answer, less those that were answered: an attack that takes its time
/// to reset, so that each request costs something (CVE-2023-44487 again). A browser that leaves a page resets some dozens.
pub(super) const MAX_ABANDONED: usize = 256;
/// Connections whose peer is gone are noticed after interval and timeout: by pings in HTTP/2, by TCP in HTTP/1.1.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// How often TCP asks.
pub(super) const KEEP_ALIVE_RETRIES: u32 = 3;
/// Flow-control windows: measured to be where larger ones bring nothing more.
pub(super) const STREAM_WINDOW: u32 = 1024 * 1024;
pub(super) const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Most bytes of one HTTP/2 stream that wait for a client to take them.
pub(super) const SEND_BUFFER: usize = 256 * 1024;
/// Most bytes of a connection that the kernel has not sent yet, since the client takes nothing: it would take megabytes of each. Those under
/// way are not counted, so that it slows down nobody who takes what comes.
pub(super) const UNSENT: u32 = 256 * 1024;
/// How long a connection that was told of its end, and has no request, may take over it.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often at most the log is told that there is no room.
pub(super) const TOLD: Duration = Duration::from_secs(10);
/// After an accept that failed for want of something, such as file descriptors, that others will give back.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The bounds that a test makes smaller.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once: 10,000 callers who only listen have room.
    pub connections: usize,
    /// Most connections that have not agreed on TLS. Who opens them and says nothing takes room from others for `handshake` each.
    pub handshakes: usize,
    /// A client that has not agreed on TLS by then does not want to.
    pub handshake: Duration,
    /// For the head of a request over HTTP/1.1, and for how long a connection of either version may be without a request.
    pub idle: Duration,
    /// How long a client may leave an answer where it is. What it holds of the plugin is let go then.
    pub stalled: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16 * 1024,
            handshakes: 4 * 1024,
            handshake: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            stalled: Duration::from_mins(1),
        }
    }
}
