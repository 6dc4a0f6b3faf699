//! Spans of the operator, sent to an OpenTelemetry collector: one for each look at a plugin.
//!
//! They are made by hand and not from the log's, so that nothing leaves the process that is not named here.

use std::path::PathBuf;

use kite_api::error_chain;
use opentelemetry::{
    KeyValue,
    trace::{Span as _, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span},
};

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

/// Where spans go, if they go anywhere.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Collector {
    /// Address of the OpenTelemetry collector (OTLP over gRPC) that spans are sent to, as in <http://collector:4317>. Absent: none are
    /// made
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// File with what the collector's certificate is signed by, where its address begins with https
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub otlp_ca: Option<PathBuf>,

    /// Of how many looks at plugins spans are sent, in percent
    #[arg(long, env = "KITE_TRACE_PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub trace_percent: u8,
}

/// Makes spans.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The span of a look at a plugin.
pub struct Look(Span);

impl Traces {
    /// Spans are sent in the background, by the runtime that this is called in. A collector that cannot be reached costs spans and
    /// nothing else. `None`: there is no collector.
    pub async fn to(collector: &Collector) -> Result<Option<Self>, TracesError> {
        // An empty variable is one that was not set.
        let endpoint = collector.otlp_endpoint.as_deref();
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else {
            return Ok(None);
        };
        let mut builder = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        if let Some(path) = &collector.otlp_ca {
            let ca = tokio::fs::read(path).await.map_err(|source| TracesError::Read {
                path: path.clone(),
                source,
            })?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            builder = builder.with_tls_config(tls);
        } else if endpoint.starts_with("https:") {
            return Err(TracesError::NoCa);
        }
        let exporter = builder.build().map_err(TracesError::Exporter)?;
        let resource = Resource::builder()
            .with_service_name("kite-operator")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let ratio = f64::from(collector.trace_percent) / 100.0;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::TraceIdRatioBased(ratio))
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("kite-operator");
        Ok(Some(Self { provider, tracer }))
    }

    /// The span of a look at the plugin, as it is in this generation.
    pub fn begin(&self, plugin: &str, generation: Option<i64>) -> Look {
        let mut span = self.tracer.start("reconcile");
        span.set_attribute(KeyValue::new("kite.plugin.name", plugin.to_owned()));
        if let Some(generation) = generation {
            span.set_attribute(KeyValue::new("kite.plugin.generation", generation));
        }
        Look(span)
    }

    /// Sends the spans that have ended. It blocks for as long as the exporter may take.
    pub fn end(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(error = error_chain(&error), "failed to send the last spans");
        }
    }
}

impl Look {
    /// The look came to its end, or failed in this step.
    pub fn end(mut self, failed: Option<&'static str>) {
        match failed {
            None => self.0.set_status(Status::Ok),
            Some(step) => {
                self.0.set_attribute(KeyValue::new("error.type", step));
                self.0.set_status(Status::error(step));
            }
        }
        self.0.end();
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        // Of a span that has ended nothing changes any more: this is said of looks that were dropped before their end.
        self.0.set_status(Status::error("dropped"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry_proto::tonic::{
        collector::trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
        trace::v1::{Span, status::StatusCode},
    };
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Request, Response, transport::Server};

    use super::*;

    /// A collector that keeps what it gets.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Span>>>);

    #[tonic::async_trait]
    impl TraceService for Kept {
        async fn export(
            &self,
            request: Request<ExportTraceServiceRequest>,
        ) -> Result<Response<ExportTraceServiceResponse>, tonic::Status> {
            let scopes = request
                .into_inner()
                .resource_spans
                .into_iter()
                .flat_map(|it| it.scope_spans);
            self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
            Ok(Response::new(ExportTraceServiceResponse::default()))
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_look_is_a_span_that_says_what_became_of_it() {
        let kept = Kept::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Collector {
            otlp_endpoint: Some(format!("http://{}", listener.local_addr().unwrap())),
            otlp_ca: None,
            trace_percent: 100,
        };
        let server = Server::builder().add_service(TraceServiceServer::new(kept.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let traces = Traces::to(&collector).await.unwrap().unwrap();
        traces.begin("hello", Some(3)).end(None);
        traces.begin("hello", Some(4)).end(Some("apply"));
        drop(traces.begin("hello", None));
        tokio::task::spawn_blocking(move || traces.end()).await.unwrap();
        let spans = kept.0.lock().unwrap().clone();
        let said: Vec<_> = spans
            .iter()
            .map(|span| {
                let status = span.status.as_ref().unwrap();
                (
                    span.name.as_str(),
                    span.attributes.len(),
                    status.code(),
                    status.message.as_str(),
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                ("reconcile", 2, StatusCode::Ok, ""),
                ("reconcile", 3, StatusCode::Error, "apply"),
                ("reconcile", 1, StatusCode::Error, "dropped"),
            ]
        );
    }

    #[tokio::test]
    async fn without_a_collector_there_are_none_and_one_that_nobody_could_verify_is_refused() {
        let to = async |endpoint: &str| {
            let collector = Collector {
                otlp_endpoint: Some(endpoint.to_owned()),
                ..Collector::default()
            };
            Traces::to(&collector).await
        };
        assert!(matches!(to("").await, Ok(None)));
        assert!(matches!(to("https://collector:4317").await, Err(TracesError::NoCa)));
    }
}
