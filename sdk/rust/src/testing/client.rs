//! What the host asks of a plugin, for a test to ask.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, Method, Request};
use bytes::{Bytes, BytesMut};
use kite_proto::{
    ApplySettingsRequest, AuthorizeToolRequest, CallContext, CallToolRequest, GetFileRequest, Header, HttpRequest,
    HttpRequestHead, MAX_CHUNK, OnClusterEventRequest, ResourceRequest, ResourceVerb, User, call_tool_response,
    on_cluster_event_request::Kind, plugin_client::PluginClient, resource_response,
};
use serde_json::Value;
use tonic::transport::Channel;

use super::{Answer, OrFail as _, Refusal, Served, ToolResult};
use crate::{ClusterChange, ServeError};

/// A plugin that runs, and somebody who calls it. Clones call the same plugin; it stops when the last of them is gone.
#[derive(Clone, Debug)]
pub struct TestClient {
    protocol: PluginClient<Channel>,
    context: CallContext,
    served: Arc<Served>,
}

impl TestClient {
    pub(super) fn new(channel: Channel, served: Served) -> Self {
        let context = CallContext {
            user: Some(User {
                name: "tester".to_owned(),
                ..User::default()
            }),
            request_id: "test".to_owned(),
            ..CallContext::default()
        };
        Self {
            protocol: PluginClient::new(channel),
            context,
            served: Arc::new(served),
        }
    }

    /// The same plugin, called by the user `name`, who is in no groups. Unless it is said, it is `tester`.
    #[must_use]
    pub fn as_user(&self, name: impl Into<String>) -> Self {
        self.as_member(name, [""; 0])
    }

    /// The same plugin, called by the user `name`, who is in `groups`.
    #[must_use]
    pub fn as_member<G: Into<String>>(&self, name: impl Into<String>, groups: impl IntoIterator<Item = G>) -> Self {
        let user = User {
            name: name.into(),
            groups: groups.into_iter().map(Into::into).collect(),
            ..User::default()
        };
        self.with(|context| context.user = Some(user))
    }

    /// The same plugin, called by the host itself.
    #[must_use]
    pub fn as_host(&self) -> Self {
        self.with(|context| context.user = None)
    }

    /// The same plugin, called about the cluster `name`. Unless it is said, it is the home cluster.
    #[must_use]
    pub fn about_cluster(&self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.with(|context| context.cluster = name)
    }

    fn with(&self, change: impl FnOnce(&mut CallContext)) -> Self {
        let mut other = self.clone();
        change(&mut other.context);
        other
    }

    /// Gets `path`, which is below the plugin's own root.
    pub async fn get(&self, path: &str) -> Answer {
        self.request(path, Request::new(Bytes::new())).await
    }

    /// Posts JSON to `path`.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let mut request = Request::new(Bytes::from(body.to_string()));
        *request.method_mut() = Method::POST;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", json);
        self.request(path, request).await
    }

    /// Sends a request to `path`, whatever stands in its own address.
    pub async fn request(&self, path: &str, request: Request<Bytes>) -> Answer {
        let messages = self.messages(path, request);
        let exchange = async {
            let mut client = self.protocol.clone();
            let mut stream = client.http(tokio_stream::iter(messages)).await?.into_inner();
            let (mut head, mut body) = (None, BytesMut::new());
            while let Some(message) = stream.message().await? {
                head = head.or(message.head);
                body.extend_from_slice(&message.data);
            }
            Ok::<_, tonic::Status>((head.unwrap_or_default(), body.freeze()))
        };
        let (head, body) = exchange.await.or_fail("exchange a request");
        let field = |Header { name, value }: Header| {
            let name = HeaderName::from_bytes(name.as_bytes()).or_fail("read a header field");
            (
                name,
                HeaderValue::from_maybe_shared(value).or_fail("read a header field"),
            )
        };
        let status = u16::try_from(head.status).or_fail("read the status");
        Answer {
            status: status.try_into().or_fail("read the status"),
            headers: head.headers.into_iter().map(field).collect(),
            body,
        }
    }

    fn messages(&self, path: &str, request: Request<Bytes>) -> Vec<HttpRequest> {
        let (parts, mut body) = request.into_parts();
        let header = |(name, value): (&HeaderName, &HeaderValue)| Header {
            name: name.as_str().to_owned(),
            value: value.as_bytes().to_vec().into(),
        };
        let mut head = Some(HttpRequestHead {
            context: Some(self.context.clone()),
            method: parts.method.to_string(),
            path_and_query: path.to_owned(),
            headers: parts.headers.iter().map(header).collect(),
            ..HttpRequestHead::default()
        });
        let mut messages = Vec::new();
        loop {
            let data = body.split_to(body.len().min(MAX_CHUNK));
            let end = body.is_empty();
            messages.push(HttpRequest {
                head: head.take(),
                data,
                end,
                ..HttpRequest::default()
            });
            if end {
                return messages;
            }
        }
    }

    /// Calls the tool `name`. A tool that fails answers so; an error is that the call was refused.
    pub async fn call_tool(&self, name: &str, arguments: Value) -> Result<ToolResult, Refusal> {
        let request = CallToolRequest {
            context: Some(self.context.clone()),
            tool: name.to_owned(),
            arguments: arguments.to_string().into(),
        };
        let mut stream = self.protocol.clone().call_tool(request).await?.into_inner();
        let mut progress = Vec::new();
        let mut result = None;
        while let Some(message) = stream.message().await? {
            match message.part {
                Some(call_tool_response::Part::Progress(told)) => progress.push((told.fraction, told.message)),
                Some(call_tool_response::Part::Result(ended)) => result = Some(ended),
                None => {}
            }
        }
        let result = result.ok_or("there was no result").or_fail("call the tool");
        let structured = match result.structured_content {
            empty if empty.is_empty() => Value::Null,
            json => serde_json::from_slice(&json).or_fail("read the structured content"),
        };
        Ok(ToolResult {
            text: result.text,
            structured,
            is_error: result.is_error,
            progress,
        })
    }

    /// Asks the authorizer of the tool `name`: whether the caller may, and if not, why.
    pub async fn authorize_tool(&self, name: &str, arguments: Value) -> Result<Result<(), String>, Refusal> {
        let request = AuthorizeToolRequest {
            context: Some(self.context.clone()),
            tool: name.to_owned(),
            arguments: arguments.to_string().into(),
        };
        let answer = self.protocol.clone().authorize_tool(request).await?.into_inner();
        Ok(if answer.allowed { Ok(()) } else { Err(answer.reason) })
    }

    /// Applies settings, and gives the plugin's reason if it refuses them.
    pub async fn apply_settings(&self, settings: Value) -> Result<(), String> {
        let request = ApplySettingsRequest {
            context: Some(CallContext::default()),
            settings: settings.to_string().into(),
        };
        let answer = self.protocol.clone().apply_settings(request).await;
        let answer = answer.or_fail("apply settings").into_inner();
        if answer.accepted { Ok(()) } else { Err(answer.reason) }
    }

    /// Tells of a cluster.
    pub async fn cluster_event(&self, change: ClusterChange, cluster: &str) -> Result<(), Refusal> {
        let kind = match change {
            ClusterChange::Added => Kind::Added,
            ClusterChange::Updated => Kind::Updated,
            ClusterChange::Removed => Kind::Removed,
        };
        let request = OnClusterEventRequest {
            context: Some(CallContext::default()),
            kind: kind.into(),
            cluster: cluster.to_owned(),
            present: Vec::new(),
        };
        self.protocol.clone().on_cluster_event(request).await?;
        Ok(())
    }

    /// A web file.
    pub async fn file(&self, path: &str) -> Result<Bytes, Refusal> {
        let request = GetFileRequest {
            context: Some(CallContext::default()),
            path: path.to_owned(),
        };
        let mut stream = self.protocol.clone().get_file(request).await?.into_inner();
        let mut file = BytesMut::new();
        while let Some(piece) = stream.message().await? {
            file.extend_from_slice(&piece.data);
        }
        Ok(file.freeze())
    }

    /// Reads the object `name` of the type `kind`. `namespace` is empty for a type without namespaces, here and below.
    pub async fn object(&self, kind: &str, namespace: &str, name: &str) -> Result<Value, Refusal> {
        self.resource(kind, ResourceVerb::Get, namespace, name, None).await
    }

    /// Makes an object.
    pub async fn create(&self, kind: &str, namespace: &str, object: &Value) -> Result<Value, Refusal> {
        self.resource(kind, ResourceVerb::Create, namespace, "", Some(object))
            .await
    }

    /// Puts an object in the place of the one of its name.
    pub async fn update(&self, kind: &str, namespace: &str, name: &str, object: &Value) -> Result<Value, Refusal> {
        self.resource(kind, ResourceVerb::Update, namespace, name, Some(object))
            .await
    }

    /// Removes an object.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<Value, Refusal> {
        self.resource(kind, ResourceVerb::Delete, namespace, name, None).await
    }

    /// The first page of the objects of the type `kind`; an empty `namespace` is all of them.
    pub async fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>, Refusal> {
        match self.resource(kind, ResourceVerb::List, namespace, "", None).await? {
            Value::Array(objects) => Ok(objects),
            _ => Ok(Vec::new()),
        }
    }

    /// The object of the answer, or the objects of its list.
    async fn resource(
        &self,
        kind: &str,
        verb: ResourceVerb,
        namespace: &str,
        name: &str,
        body: Option<&Value>,
    ) -> Result<Value, Refusal> {
        let request = ResourceRequest {
            context: Some(self.context.clone()),
            r#type: kind.to_owned(),
            verb: verb.into(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            body: body.map(ToString::to_string).unwrap_or_default().into(),
            ..ResourceRequest::default()
        };
        let read = |object: &Bytes| serde_json::from_slice(object).or_fail("read an object");
        Ok(match self.protocol.clone().resource(request).await?.into_inner().part {
            Some(resource_response::Part::Object(object)) => read(&object),
            Some(resource_response::Part::List(list)) => list.objects.iter().map(read).collect(),
            None => Value::Null,
        })
    }

    /// The protocol itself, for what this client has no word for.
    pub fn protocol(&self) -> PluginClient<Channel> {
        self.protocol.clone()
    }

    /// Tells the plugin to stop, as the kubelet does, and waits for its end.
    pub async fn stop(self) -> Result<(), ServeError> {
        self.served.stop().await
    }
}
