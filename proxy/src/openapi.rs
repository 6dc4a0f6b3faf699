//! The `OpenAPI` document (3.1) of the gateway's routes, made from the table by which requests are matched.

mod operation;

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use self::operation::operation;
use crate::{
    pipeline::{
        ResponseBody, full,
        route::{Path, Row, TABLE, Tail},
    },
    problem,
};

const DESCRIPTION: &str = "Plugins of the dashboard, through their gateway. Every error is a problem document (RFC 9457) with a \
                           stable `type`.";

/// A plugin's name, and a tool's whole one.
pub(crate) const NAME: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
const TOOL_NAME: &str = "^plugin_[a-z0-9]([a-z0-9-]*[a-z0-9])?_[a-z][a-z0-9_]*$";
/// A path that everybody reads alike: what is refused is not all that this leaves out.
const PATH: &str = "^$|^[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$";

/// What is served: the same bytes until the program is another.
struct Served {
    bytes: Bytes,
    tag: HeaderValue,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let bytes = Bytes::from(text());
    let hash = kite_proto::sha256(&bytes);
    let tag = HeaderValue::from_str(&format!("\"{hash}\""));
    Served {
        // Hexadecimal digits, which every field value can have.
        tag: tag.unwrap_or(HeaderValue::from_static("\"-\"")),
        bytes,
    }
});

/// The answer to whoever asks for the document: that it is the one they have, or the document.
pub fn answer(headers: &HeaderMap) -> Response<ResponseBody> {
    let Served { bytes, tag } = &*SERVED;
    let is_known = has(headers, tag);
    let mut response = Response::new(full(if is_known { Bytes::new() } else { bytes.clone() }));
    let fields = response.headers_mut();
    if !is_known {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    fields.insert(header::ETAG, tag.clone());
    // Whoever keeps it asks whether it is still the one: the next version of the gateway has another.
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response
}

/// Whether one of the tags that the caller has is `tag` (RFC 9110, section 13.1.2).
fn has(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == tag.as_bytes())
}

/// The types that operations speak of: of some fields it depends on who writes them whether they may be left out.
struct Schemas {
    bodies: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        Self {
            bodies: settings.clone().for_deserialize().into_generator(),
            answers: settings.for_serialize().into_generator(),
        }
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.bodies.take_definitions(true);
        all.extend(self.answers.take_definitions(true));
        all
    }
}

/// The document as text, of which there is one.
pub fn text() -> String {
    // Nothing in it is what JSON does not have.
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

/// The document.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let problem = schemas.answers.subschema_for::<problem::Document<'_>>();
    let mut paths = Map::new();
    for row in TABLE {
        let mut item = Map::new();
        let parameters = parameters(row);
        if !parameters.is_empty() {
            item.insert("parameters".to_owned(), parameters.into());
        }
        for of in row.operations {
            for (method, verb) in of.methods {
                let whole = operation(row, of, (method, *verb), &mut schemas, &problem);
                item.insert(method.as_str().to_ascii_lowercase(), whole);
            }
        }
        if let Some(path) = row.paths.first() {
            paths.insert(template(path), item.into());
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Kite Plugins",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.all(),
            "headers": {
                "RequestId": {
                    "description": "By which the request is found in logs: the caller's own, or one that was made.",
                    "required": true,
                    "schema": {"type": "string", "minLength": 1},
                },
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the cluster: of a ServiceAccount, or of an identity provider that the API server trusts.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "auth_token",
                    "description": "What `POST /api/v1/session` gives to the dashboard's own pages.",
                },
            },
        },
    })
}

/// The path with the names of what follows, as `OpenAPI` writes it.
pub(crate) fn template(path: &Path) -> String {
    path.filled("{tool}", "{name}", "{path}")
}

/// What has to stand in the path.
fn parameters(row: &Row) -> Vec<Value> {
    let parameter = |name: &str, description: &str, schema: Value, example: &str| json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema, "example": example});
    match row.paths.first().map(|path| path.tail) {
        None | Some(Tail::Nothing) => Vec::new(),
        Some(Tail::Tool) => vec![parameter(
            "tool",
            "The tool's whole name: `plugin_<plugin>_<tool>`.",
            json!({"type": "string", "pattern": TOOL_NAME, "maxLength": kite_api::name::MAX_TOOL_NAME}),
            "plugin_hello_hello",
        )],
        Some(Tail::Plugin) => vec![
            parameter(
                "name",
                "The plugin's name: an RFC 1123 label.",
                json!({"type": "string", "pattern": NAME, "minLength": 1, "maxLength": kite_api::name::MAX_PLUGIN_NAME}),
                "hello",
            ),
            parameter(
                "path",
                "The path below the plugin's root, which may be empty, with slashes between its segments.",
                json!({"type": "string", "pattern": PATH}),
                "hello",
            ),
        ],
    }
}

#[cfg(test)]
mod tests;
