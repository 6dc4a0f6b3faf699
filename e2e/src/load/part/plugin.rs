//! The plugin that is measured, as an author would write it.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use kite_plugin_sdk::{
    Certificates, Config, Plugin, PluginName, Tool, ToolContext, ToolError,
    axum::{
        Router,
        body::Body,
        extract::{DefaultBodyLimit, Path as PathPart},
        http::header::CONTENT_TYPE,
        response::{IntoResponse, Response},
        routing::{get, post},
    },
    serve_with,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::TcpListener;

use super::{PartError, listen, read};
use crate::load::task::SMALL;

/// Takes whatever is posted, and answers how many bytes it was.
pub(in crate::load) const SINK: &str = "sink";
/// Followed by a number: as many bytes.
pub(in crate::load) const SOURCE: &str = "source";
/// One event, and then none for as long as somebody listens.
pub(in crate::load) const EVENTS: &str = "events";

/// The pieces in which [`SOURCE`] answers.
const PIECE: usize = 64 * 1024;

struct Load {
    manifest: &'static str,
}

impl Plugin for Load {
    fn manifest(&self) -> &'static str {
        self.manifest
    }

    fn routes(&self) -> Router {
        Router::new()
            .route("/small", get(async || SMALL))
            .route("/echo", post(async |body: Body| Response::new(body)))
            .route(&format!("/{SINK}"), post(sink))
            .route(&format!("/{SOURCE}/{{bytes}}"), get(source))
            .route(&format!("/{EVENTS}"), get(events))
            .layer(DefaultBodyLimit::disable())
    }

    fn tools(&self) -> Vec<Tool> {
        vec![Tool::new("greet", "Greets somebody by name.", greet).read_only()]
    }
}

/// Whom to greet.
#[derive(Deserialize, JsonSchema)]
struct Greet {
    name: String,
}

async fn greet(_: ToolContext, Greet { name }: Greet) -> Result<String, ToolError> {
    Ok(format!("Hello, {name}!"))
}

async fn sink(body: Body) -> Result<String, String> {
    let mut pieces = body.into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        bytes += piece.map_err(|error| error.to_string())?.len();
    }
    Ok(bytes.to_string())
}

async fn source(PathPart(bytes): PathPart<usize>) -> Body {
    let whole = Bytes::from(vec![b'a'; PIECE]);
    let pieces = stream::unfold(bytes, move |left| {
        let piece = whole.slice(..left.min(PIECE));
        async move { (left > 0).then(|| (Ok::<_, Infallible>(piece.clone()), left - piece.len())) }
    });
    Body::from_stream(pieces)
}

async fn events() -> impl IntoResponse {
    let first = stream::once(async { Ok::<_, Infallible>("data: began\n\n") });
    let all = Body::from_stream(first.chain(stream::pending()));
    ([(CONTENT_TYPE, "text/event-stream")], all)
}

/// Serves the plugin under each of the names.
pub(super) async fn run(folder: &Path, names: Vec<(String, IpAddr)>) -> Result<(), PartError> {
    let mut served = Vec::new();
    for (name, address) in names {
        let manifest = format!(
            "{{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {{name: {name}}}, spec: {{version: 1.0.0, image: load}}}}"
        );
        let plugin = Load {
            // A plugin embeds it; as many as there are names stay for as long as the process.
            manifest: manifest.leak(),
        };
        let config = Config {
            listener: listen(address).await?,
            health_listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .map_err(PartError::Listen)?,
            certificates: Certificates::Fixed {
                certificate: read(folder, &format!("{name}.crt"))?.into(),
                key: read(folder, &format!("{name}.key"))?.into(),
                clients_ca: read(folder, "clients-ca.crt")?.into(),
            },
            name: PluginName::parse(&name).map_err(PartError::Name)?,
            kube: None,
            // It calls nobody.
            gateway: PathBuf::from("/nowhere"),
            grace: Config::GRACE,
        };
        served.push(serve_with(plugin, config, std::future::pending()));
    }
    futures::future::try_join_all(served).await.map_err(PartError::Plugin)?;
    Ok(())
}
