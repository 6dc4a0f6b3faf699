//! Spans of the gateway, sent to an OpenTelemetry collector: one for each request, a child of the caller's and the parent
//! of the plugin's.
//!
//! The spans are made by hand and not from the log's: so none of another crate's can leave the process, whose fields might
//! hold what callers sent.

use std::{path::PathBuf, str::FromStr as _, time::SystemTime};

use http::StatusCode;
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
        Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span},
};

use crate::pipeline::trace::Trace;

/// Why no spans are sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("failed to find the CA of a collector that is reached by https")]
    NoCa,
    #[error("failed to make the exporter of spans")]
    Exporter(#[source] ExporterBuildError),
}

/// Where spans go, and of how many of the traces that begin here.
#[derive(Clone, Debug)]
pub struct Collector {
    /// Its address, as in `http://collector:4317`.
    pub endpoint: String,
    /// What its certificate is signed by, in PEM, where the address begins with https.
    pub ca: Option<PathBuf>,
    /// From 0 to 1. Of a trace that the caller began the caller says whether it is recorded.
    pub ratio: f64,
}

/// Makes spans.
#[derive(Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The span of a request. It ends when it is dropped, if not before.
pub struct Spanning(Box<Span>);

/// What a span says of its request in the end.
pub(crate) struct Said<'a> {
    pub(crate) method: &'a str,
    pub(crate) route: &'static str,
    pub(crate) path: &'a str,
    pub(crate) status: Option<StatusCode>,
    pub(crate) plugin: Option<&'a str>,
    pub(crate) revision: Option<i64>,
    pub(crate) problem: Option<&'static str>,
    pub(crate) request_id: &'a str,
}

impl Traces {
    /// Spans are sent in the background, by the runtime that this is called in. A collector that cannot be reached costs
    /// spans and nothing else.
    pub async fn to(collector: &Collector) -> Result<Self, TracesError> {
        let mut builder = SpanExporter::builder().with_tonic().with_endpoint(&collector.endpoint);
        if let Some(path) = &collector.ca {
            let ca = tokio::fs::read(path).await.map_err(|source| TracesError::Read {
                path: path.clone(),
                source,
            })?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            builder = builder.with_tls_config(tls);
        } else if collector.endpoint.starts_with("https:") {
            return Err(TracesError::NoCa);
        }
        let exporter = builder.build().map_err(TracesError::Exporter)?;
        let resource = Resource::builder()
            .with_service_name("kite-gateway")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                collector.ratio,
            ))))
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("kite-gateway");
        Ok(Self { provider, tracer })
    }

    /// The span of a request that came at `time`, a child of `given` or the first of its trace.
    pub(crate) fn begin(&self, given: Option<&Trace>, time: SystemTime) -> Spanning {
        let parent = given
            .and_then(remote)
            .map_or_else(Context::new, |remote| Context::new().with_remote_span_context(remote));
        let builder = self
            .tracer
            .span_builder("request")
            .with_kind(SpanKind::Server)
            .with_start_time(time);
        Spanning(Box::new(self.tracer.build_with_context(builder, &parent)))
    }

    /// Sends the spans that have ended. It blocks for as long as the exporter may take.
    pub fn end(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(error = kite_api::error_chain(&error), "failed to send the last spans");
        }
    }
}

impl Spanning {
    /// The trace as the plugin goes on with it.
    pub(crate) fn trace(&self) -> Trace {
        let context = self.0.span_context();
        let parent = format!(
            "00-{}-{}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags().to_u8()
        );
        Trace::going_on(parent, context.trace_state().header())
    }

    /// Ends the span.
    pub(crate) fn end(mut self, said: &Said<'_>) {
        let span = &mut self.0;
        if !span.is_recording() {
            return;
        }
        span.update_name(format!("{} {}", said.method, said.route));
        let text = |key, value: &str| KeyValue::new(key, value.to_owned());
        span.set_attribute(text("http.request.method", said.method));
        span.set_attribute(text("url.path", said.path));
        span.set_attribute(text("kite.request.id", said.request_id));
        if let Some(status) = said.status {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        }
        if let Some(plugin) = said.plugin {
            span.set_attribute(text("kite.plugin.name", plugin));
        }
        if let Some(revision) = said.revision {
            span.set_attribute(KeyValue::new("kite.plugin.revision", revision));
        }
        if let Some(problem) = said.problem {
            span.set_attribute(KeyValue::new("error.type", problem));
        }
        if said.status.is_some_and(|status| status.is_server_error()) {
            span.set_status(Status::error(said.problem.unwrap_or_default()));
        }
        span.end();
    }
}

/// The caller's span, as one of another process.
fn remote(trace: &Trace) -> Option<SpanContext> {
    let mut parts = trace.parent().split('-').skip(1);
    let id = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    let state = TraceState::from_str(trace.state()).unwrap_or_default();
    Some(SpanContext::new(id, span, TraceFlags::new(flags), true, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_collector_whose_certificate_nobody_could_verify_is_refused() {
        let to = async |ca: Option<&str>| {
            let collector = Collector {
                endpoint: "https://collector:4317".to_owned(),
                ca: ca.map(PathBuf::from),
                ratio: 1.0,
            };
            Traces::to(&collector).await.err()
        };
        assert!(matches!(to(None).await, Some(TracesError::NoCa)));
        assert!(matches!(to(Some("/nonexistent")).await, Some(TracesError::Read { .. })));
    }
}
