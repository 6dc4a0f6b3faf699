//! What is known of a request by its end, and the one place that its audit, access log, metrics and span are made in.

mod body;
mod class;
mod later;
mod opened;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use jiff::Timestamp;
use kite_api::{PluginName, ToolName, Verb};
use tokio::sync::oneshot;

use self::later::Ended;
pub use self::{
    body::{End, Recorded},
    class::{Class, Doing},
    later::Later,
    opened::{Opened, Traffic},
};
use crate::{
    access_log::{AccessLog, Fields, Line},
    audit::{AuditError, Kind, Outcome, Record, Trail, milliseconds},
    metrics::{Code, Metrics, UnderWay},
    peer::Peer,
    pipeline::{RequestBody, ResponseBody, authenticate::Caller, over::Over, trace::Trace},
    problem::bounded,
    request_id::RequestId,
    traces::{Said, Spanning, Traces},
};

/// Most bytes of a path that are recorded.
const MAX_PATH: usize = 1024;
/// And of a method.
const MAX_METHOD: usize = 16;

/// All that records go to.
pub struct Recorder {
    /// The cluster that operations are of.
    pub cluster: Arc<str>,
    pub trail: Trail,
    pub access_log: Option<AccessLog>,
    pub metrics: Arc<Metrics>,
    pub traces: Option<Traces>,
}

/// What is known of a request. Whatever ends the request, all records are made when this is dropped.
pub struct Account {
    recorder: Arc<Recorder>,
    began: Instant,
    time: SystemTime,
    id: RequestId,
    method: Method,
    version: Version,
    /// As it came, without its query, and without its end if it is long.
    path: String,
    peer: Option<IpAddr>,
    class: Class,
    caller: Option<Arc<Caller>>,
    operation: Option<Operation>,
    under_way: Option<UnderWay>,
    problem: Option<&'static str>,
    /// What was answered, and how long after the beginning.
    answered: Option<(StatusCode, Duration)>,
    /// Where that is known only later.
    ended: Option<Ended>,
    end: End,
    received: Option<Arc<AtomicU64>>,
    sent: u64,
    span: Option<Spanning>,
    /// Who has the account once the connection is no longer one of HTTP.
    heir: Option<oneshot::Sender<Opened>>,
}

/// What a plugin is asked to do.
struct Operation {
    plugin: PluginName,
    revision: Option<i64>,
    kind: Kind,
    text: String,
    /// Whether it is more than reading.
    changes: bool,
    /// Whether the plugin may have begun with it.
    begun: bool,
    recorded: bool,
}

impl Account {
    /// The account of a request that has just come, and the request, whose body is counted from now on.
    pub fn open(
        recorder: &Arc<Recorder>,
        request: Request<RequestBody>,
        id: RequestId,
    ) -> (Self, Request<RequestBody>) {
        let (request, received) = body::counted(request);
        let time = SystemTime::now();
        let span = recorder
            .traces
            .as_ref()
            .map(|traces| traces.begin(Trace::given(request.headers()).as_ref(), time));
        let account = Self {
            recorder: Arc::clone(recorder),
            began: Instant::now(),
            time,
            id,
            method: request.method().clone(),
            version: request.version(),
            path: bounded(request.uri().path(), MAX_PATH).to_owned(),
            peer: request.extensions().get::<Peer>().map(Peer::address),
            class: Class::Nothing,
            caller: None,
            operation: None,
            under_way: None,
            problem: None,
            answered: None,
            ended: None,
            end: End::Cancelled,
            received,
            sent: 0,
            span,
            heir: None,
        };
        (account, request)
    }

    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// Which sort of route it is for.
    pub fn is_for(&mut self, class: Class) {
        self.class = class;
    }

    /// Who asks.
    pub fn is_from(&mut self, caller: &Arc<Caller>) {
        self.caller = Some(Arc::clone(caller));
    }

    /// A plugin is to be asked at one of its routes, if the caller may. From here on there will be a record.
    pub fn asks(&mut self, plugin: &PluginName, verb: Verb, below: &str, upgrade: bool) {
        let below = bounded(below, MAX_PATH);
        let text = if upgrade {
            self.class = Class::WebSocket;
            format!("websocket {below}")
        } else {
            format!("{} {below}", verb.as_str())
        };
        self.operation(plugin, Kind::Plugin, text, upgrade || verb != Verb::Get);
    }

    /// A tool is to be called, if the caller may.
    pub fn calls(&mut self, plugin: &PluginName, tool: &ToolName) {
        self.operation(plugin, Kind::PluginTool, tool.as_str().to_owned(), true);
    }

    fn operation(&mut self, plugin: &PluginName, kind: Kind, text: String, changes: bool) {
        self.under_way = Some(UnderWay::of(self.recorder.metrics.of(Some(plugin))));
        self.operation = Some(Operation {
            plugin: plugin.clone(),
            revision: None,
            kind,
            text,
            changes,
            begun: false,
            recorded: false,
        });
    }

    /// The plugin exists, and this revision of it takes the request.
    pub fn is_served_by(&mut self, revision: i64) {
        if let Some(operation) = &mut self.operation {
            operation.revision = Some(revision);
        }
    }

    /// The plugin is about to be told. No change begins whose record cannot be expected to be kept.
    pub fn begins(&mut self) -> Result<(), AuditError> {
        if let Some(operation) = &mut self.operation {
            if operation.changes {
                self.recorder.trail.may_begin()?;
            }
            operation.begun = true;
        }
        Ok(())
    }

    /// The request ends with this problem.
    pub fn fails(&mut self, problem: &'static str) {
        self.problem = Some(problem);
    }

    /// The trace that the plugin becomes a part of.
    pub fn trace(&self, headers: &HeaderMap) -> Trace {
        self.span.as_ref().map_or_else(|| Trace::of(headers), Spanning::trace)
    }

    /// Records how the operation ended. Of a change that the plugin may have begun it is an error if its record is not safe;
    /// of whatever changed nothing the record need not be waited for.
    pub async fn settle(&mut self, status: StatusCode) -> Result<(), AuditError> {
        self.answered = Some((status, self.began.elapsed()));
        let Some(record) = self.record() else { return Ok(()) };
        let waits = self.operation.as_ref().is_some_and(|it| it.changes && it.begun);
        if waits {
            return self.recorder.trail.keep(record).await;
        }
        self.recorder.trail.note(record);
        Ok(())
    }

    /// Has the operation recorded when it ends, which is after the head of the answer.
    pub fn later(&mut self) -> Later {
        let ended = Ended::default();
        self.ended = Some(ended.clone());
        let record = self.record();
        Later::new(Arc::clone(&self.recorder), self.began, record, ended)
    }

    /// Who gets the account if the request becomes a WebSocket, at whose end everything else is recorded then.
    pub fn opens(&mut self) -> oneshot::Receiver<Opened> {
        let (heir, opened) = oneshot::channel();
        self.heir = Some(heir);
        opened
    }

    /// The answer, at whose end everything else is recorded. When it is `over`, that is its end.
    pub fn close(mut self, response: Response<ResponseBody>, over: Option<Over>) -> Response<Recorded> {
        let head = self.answered.map_or_else(|| self.began.elapsed(), |(_, head)| head);
        self.answered = Some((response.status(), head));
        match self.heir.take() {
            Some(heir) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                // Fails if the caller is gone, which ends the account too.
                let _ = heir.send(Opened::new(self, over));
                Recorded::elsewhere(response)
            }
            _ => Recorded::of(response, self, over),
        }
    }

    /// The record of the operation, once.
    fn record(&mut self) -> Option<Record> {
        let operation = self.operation.as_mut().filter(|operation| !operation.recorded)?;
        operation.recorded = true;
        let (status, duration) = self.answered.unzip();
        Some(Record {
            time: timestamp(self.time),
            request_id: self.id.as_str().to_owned(),
            kind: operation.kind,
            caller: self.caller.clone(),
            source: self.peer,
            cluster: Arc::clone(&self.recorder.cluster),
            plugin: operation.plugin.clone(),
            revision: operation.revision,
            operation: std::mem::take(&mut operation.text),
            outcome: status.map_or(Outcome::Cancelled, Outcome::of),
            status,
            duration: duration.unwrap_or_else(|| self.began.elapsed()),
            error: self.problem,
        })
    }

    fn method(&self) -> &str {
        bounded(self.method.as_str(), MAX_METHOD)
    }

    fn received(&self) -> u64 {
        self.received.as_ref().map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The plugin, as a label: only one that there is has figures.
    fn count(&self) {
        let none;
        let figures = if let Some(under_way) = &self.under_way {
            under_way.figures()
        } else {
            none = self.recorder.metrics.of(None);
            &none
        };
        let status = self.answered.map(|(status, _)| status);
        figures.ended(self.class, Doing::of(&self.method), Code::of(status));
        if let Some((_, head)) = self.answered {
            figures.took(self.class, head);
        }
        figures.passed(self.received(), self.sent);
        if let Some(problem) = self.problem {
            figures.problem(problem);
        }
    }

    fn tell(&self, log: &AccessLog) {
        let operation = self.operation.as_ref();
        log.tell(&Line {
            timestamp: timestamp(self.time),
            level: "INFO",
            target: "access",
            fields: Fields {
                request_id: self.id.as_str(),
                method: self.method(),
                route: self.class.as_str(),
                path: &self.path,
                protocol: protocol(self.version),
                status: self.answered.map(|(status, _)| status.as_u16()),
                end: self.end.as_str(),
                duration_ms: milliseconds(self.began.elapsed()),
                head_ms: self.answered.map(|(_, head)| milliseconds(head)),
                received_bytes: self.received(),
                sent_bytes: self.sent,
                user: self.caller.as_ref().map(|caller| caller.name()),
                peer: self.peer,
                plugin: operation.map(|operation| operation.plugin.as_str()),
                revision: operation.and_then(|operation| operation.revision),
                problem: self.problem,
            },
        });
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            let ended = ended.get();
            // Nobody who did not hear of the end has an answer.
            let head = self.answered.map_or_else(|| self.began.elapsed(), |(_, head)| head);
            self.answered = ended.map(|(status, _)| (status, head));
            self.problem = ended.and_then(|(_, problem)| problem);
        }
        // Nobody waited for the answer.
        if let Some(record) = self.record() {
            self.recorder.trail.note(record);
        }
        self.count();
        if let Some(log) = &self.recorder.access_log {
            self.tell(log);
        }
        if let Some(span) = self.span.take() {
            let operation = self.operation.as_ref();
            span.end(&Said {
                method: self.method(),
                route: self.class.as_str(),
                path: &self.path,
                status: self.answered.map(|(status, _)| status),
                plugin: operation.map(|operation| operation.plugin.as_str()),
                revision: operation.and_then(|operation| operation.revision),
                problem: self.problem,
                request_id: self.id.as_str(),
            });
        }
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP",
    }
}
