//! The plugin's methods.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use kite_proto::{
    ApplySettingsRequest, ApplySettingsResponse, AuthorizeToolRequest, AuthorizeToolResponse, CallToolRequest,
    CallToolResponse, DescribeRequest, DescribeResponse, ExchangeRequest, ExchangeResponse, GetFileRequest,
    GetFileResponse, Header, HttpRequest, HttpResponse, HttpResponseHead, InterceptAnswer, InterceptContinue,
    InterceptRequest, InterceptResponse, MAX_CHUNK, MAX_RESULT, OnClusterEventRequest, OnClusterEventResponse,
    Progress, ResourceRequest, ResourceResponse, ShutdownRequest, ShutdownResponse, ToolResult,
    call_tool_response::Part, intercept_response::Part as Verdict, plugin_server::Plugin,
};
use serde_json::{Value, json};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Core, Fault, Link, definitions, exchange,
    http::{self, Answers},
    notes,
};

/// A text that is longer than a reason may be.
const LONG: usize = 2000;

pub(super) struct Service(pub(super) Arc<Core>);

impl Service {
    fn has(&self, fault: Fault) -> bool {
        self.0.has(fault)
    }

    /// Waits for ever if that is the fault.
    async fn unless(&self, fault: Fault) {
        if self.has(fault) {
            std::future::pending::<()>().await;
        }
    }
}

/// The connection that a request came on; on the health port there is none to cut.
fn link<T>(request: &Request<T>) -> Link {
    request
        .extensions()
        .get::<Link>()
        .cloned()
        .unwrap_or_else(|| Link::new(None))
}

#[tonic::async_trait]
impl Plugin for Service {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        self.unless(Fault::SlowDescribe).await;
        Ok(Response::new(definitions::describe(&self.0)))
    }

    async fn get_file(&self, request: Request<GetFileRequest>) -> Result<Response<Answers<GetFileResponse>>, Status> {
        let path = request.into_inner().path;
        let file = definitions::files(self.0.fault)
            .into_iter()
            .find(|(name, _)| *name == path);
        let mut data = match file {
            Some((_, data)) if self.has(Fault::OtherContent) => data.slice(1..),
            Some((_, data)) => data,
            None if self.has(Fault::EveryFile) => "every file".into(),
            None => return Err(Status::not_found("no such file")),
        };
        let mut pieces = Vec::new();
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(MAX_CHUNK));
            pieces.push(Ok(GetFileResponse { data: piece }));
        }
        if self.has(Fault::EmptyPiece) {
            pieces.push(Ok(GetFileResponse::default()));
        }
        Ok(Response::new(stream::iter(pieces).boxed()))
    }

    async fn http(&self, request: Request<Streaming<HttpRequest>>) -> Result<Response<Answers<HttpResponse>>, Status> {
        let link = link(&request);
        http::answer(Arc::clone(&self.0), link, request.into_inner())
            .await
            .map(Response::new)
    }

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Answers<ExchangeResponse>>, Status> {
        let link = link(&request);
        let answers = exchange::serve(Arc::clone(&self.0), link, request.into_inner());
        Ok(Response::new(answers))
    }

    async fn intercept(&self, _: Request<InterceptRequest>) -> Result<Response<InterceptResponse>, Status> {
        self.unless(Fault::SlowMiddleware).await;
        let part = if self.has(Fault::LargeAnswer) {
            Verdict::Answer(InterceptAnswer {
                head: Some(HttpResponseHead {
                    status: 200,
                    headers: vec![],
                }),
                data: vec![0; MAX_CHUNK + 1].into(),
            })
        } else {
            let name = if self.has(Fault::AddsForeignField) {
                "x-kite-user"
            } else {
                "x-added"
            };
            let field = Header {
                name: name.to_owned(),
                value: "1".into(),
            };
            Verdict::Continue(InterceptContinue { headers: vec![field] })
        };
        Ok(Response::new(InterceptResponse { part: Some(part) }))
    }

    async fn call_tool(
        &self,
        request: Request<CallToolRequest>,
    ) -> Result<Response<Answers<CallToolResponse>>, Status> {
        let CallToolRequest { tool, arguments, .. } = request.into_inner();
        if !tool.starts_with("greet") && !tool.starts_with("wave") {
            return Err(match self.0.fault {
                Some(Fault::UnknownToolInvalid) => Status::invalid_argument("no such tool"),
                Some(Fault::Quotes) => Status::not_found(format!("there is no tool {tool}")),
                _ => Status::not_found("no such tool"),
            });
        }
        let arguments: Value = serde_json::from_slice(&arguments).unwrap_or_default();
        let is_fine = arguments.is_object() || self.has(Fault::TakesBadArguments);
        if !is_fine {
            return Err(Status::invalid_argument("the arguments are no object"));
        }
        let parts = self
            .called(&arguments)
            .into_iter()
            .map(|part| Ok(CallToolResponse { part: Some(part) }));
        Ok(Response::new(stream::iter(parts.collect::<Vec<_>>()).boxed()))
    }

    async fn authorize_tool(
        &self,
        _: Request<AuthorizeToolRequest>,
    ) -> Result<Response<AuthorizeToolResponse>, Status> {
        let refuses = self.has(Fault::LongRefusal);
        Ok(Response::new(AuthorizeToolResponse {
            allowed: !refuses,
            reason: if refuses { "n".repeat(LONG) } else { String::new() },
        }))
    }

    async fn resource(&self, request: Request<ResourceRequest>) -> Result<Response<ResourceResponse>, Status> {
        notes::answer(&self.0, &request.into_inner()).map(Response::new)
    }

    async fn apply_settings(
        &self,
        _: Request<ApplySettingsRequest>,
    ) -> Result<Response<ApplySettingsResponse>, Status> {
        let at_length = self.has(Fault::LongReason);
        let second = self.has(Fault::RefusesSecondSettings) && Core::is_second(&self.0.applied);
        Ok(Response::new(ApplySettingsResponse {
            accepted: !at_length && !second,
            reason: if at_length { "n".repeat(LONG) } else { String::new() },
        }))
    }

    async fn on_cluster_event(
        &self,
        request: Request<OnClusterEventRequest>,
    ) -> Result<Response<OnClusterEventResponse>, Status> {
        let event = request.into_inner();
        if self.0.knows(event.kind, &event.cluster) && self.has(Fault::FailsOnKnownEvent) {
            return Err(Status::already_exists("it was told before"));
        }
        Ok(Response::new(OnClusterEventResponse {}))
    }

    async fn shutdown(&self, _: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>, Status> {
        self.unless(Fault::SlowShutdown).await;
        Ok(Response::new(ShutdownResponse {}))
    }
}

impl Service {
    /// What a tool says.
    fn called(&self, arguments: &Value) -> Vec<Part> {
        let progress = |fraction, message: &str| {
            Part::Progress(Progress {
                fraction,
                message: message.to_owned(),
            })
        };
        let name = arguments.get("name").and_then(Value::as_str).unwrap_or("nobody");
        let greeting = format!("Hello, {name}!");
        let structured = if self.has(Fault::UnfitResult) {
            json!({"greeting": 1})
        } else {
            json!({"greeting": greeting})
        };
        let text = if self.has(Fault::LargeResult) {
            "a".repeat(MAX_RESULT)
        } else {
            greeting
        };
        let result = Part::Result(ToolResult {
            text,
            structured_content: structured.to_string().into(),
            is_error: false,
        });
        let long = "n".repeat(LONG);
        let message = if self.has(Fault::LongProgress) {
            long.as_str()
        } else {
            "thinking"
        };
        let mut parts = vec![progress(0.5, message)];
        if self.has(Fault::ProgressBackwards) {
            parts.push(progress(0.25, ""));
        }
        if self.has(Fault::TwoResults) {
            parts.push(result.clone());
        }
        parts.push(result);
        parts
    }
}
