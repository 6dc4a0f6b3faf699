//! One operation of the `OpenAPI` document.

use std::collections::BTreeMap;

use http::Method;
use kite_api::Verb;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Schemas;
use crate::{
    pipeline::{
        authorize::Part,
        revision::FIELD,
        route::{Content, Operation, Row},
    },
    problem::Kind,
};

/// Types of problems that every route has whose callers are asked who they are.
const OF_CALLERS: &[&str] = &[
    "unauthenticated",
    "authentication-unavailable",
    "sessions-unavailable",
    "too-many-attempts",
    "cross-site",
];
/// Those of every route that is about one plugin.
const OF_RIGHTS: &[&str] = &[
    "invalid-name",
    "forbidden",
    "authorization-unavailable",
    "ambiguous-cluster",
    "no-such-cluster",
    "invalid-revision",
    "revision-gone",
    "no-such-plugin",
    "not-ready",
    "not-loaded",
    "audit-unavailable",
    "audit-failed",
    "no-endpoint",
];
/// Those of every path that names something.
const OF_NAMES: &[&str] = &["ambiguous-path", "no-such-route"];

/// The operation, and in `schemas` what it refers to.
pub(super) fn operation(
    row: &Row,
    of: &Operation,
    (method, verb): (&Method, Verb),
    schemas: &mut Schemas,
    problem: &Schema,
) -> Value {
    let about = &of.about;
    let mut whole = Map::new();
    let mut set = |key: &str, value: Value| drop(whole.insert(key.to_owned(), value));
    set(
        "operationId",
        format!("{}{}", method.as_str().to_ascii_lowercase(), about.id).into(),
    );
    set("summary", about.summary.into());
    set("description", description(row, about.description, verb).into());
    let open = row.is_open(method);
    set(
        "security",
        if open {
            json!([])
        } else {
            json!([{"bearer": []}, {"session": []}])
        },
    );
    let query = about.query.iter().map(|query| {
        json!({
            "name": query.name, "in": "query", "description": query.description,
            "schema": {"type": "string", "pattern": query.pattern}, "example": query.example,
        })
    });
    let parameters: Vec<Value> = query.chain(row.part().map(|_| pin())).collect();
    if !parameters.is_empty() {
        set("parameters", parameters.into());
    }
    let takes_body = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if takes_body && let Some(content) = content(about.body, &mut schemas.bodies) {
        let is_needed = matches!(about.body, Content::Json(..));
        set("requestBody", json!({"required": is_needed, "content": content}));
    }
    set(
        "responses",
        responses(row, of, open, &mut schemas.answers, problem).into(),
    );
    whole.into()
}

/// The field by which a page says from which revision it was loaded.
fn pin() -> Value {
    json!({
        "name": FIELD.as_str(), "in": "header",
        "description": "The revision of the plugin that is to answer, as the field of that name in an answer says it: the one that takes the \
                        traffic, or one that drains. Left out: the one that takes the traffic.",
        "schema": {"type": "integer", "format": "int64", "minimum": 1},
    })
}

/// What it is for, at which other paths it is, and which right it needs.
fn description(row: &Row, text: &str, verb: Verb) -> String {
    let right = row.part().and_then(Part::subresource).map(|subresource| {
        let verb = verb.as_str();
        format!("Needs `{verb}` on `kiteplugins/{subresource}` of the plugin.")
    });
    let others = row.paths.iter().skip(1).map(|path| format!("`{}`", path.literal));
    let others: Vec<String> = others.collect();
    let others = (!others.is_empty()).then(|| format!("Also at {}.", others.join(", ")));
    let parts: Vec<String> = [Some(text.to_owned()), right, others].into_iter().flatten().collect();
    parts.join("\n\n")
}

fn responses(
    row: &Row,
    of: &Operation,
    open: bool,
    generator: &mut SchemaGenerator,
    problem: &Schema,
) -> Map<String, Value> {
    let headers = json!({"x-request-id": {"$ref": "#/components/headers/RequestId"}});
    let is_plugins = matches!(of.about.body, Content::Any);
    let mut all = Map::new();
    for answer in of.about.answers {
        let mut response = json!({"description": answer.description, "headers": headers});
        if let (Some(content), Some(response)) = (content(answer.content, generator), response.as_object_mut()) {
            response.insert("content".to_owned(), content);
        }
        all.insert(answer.status.to_string(), response);
    }
    for (status, titles) in problems(row, of, open) {
        let mut content = json!({"application/problem+json": {"schema": problem}});
        // What a plugin answers may have the same status.
        if let (true, Some(content)) = (is_plugins, content.as_object_mut()) {
            content.insert("*/*".to_owned(), json!({}));
        }
        let response = json!({"description": titles.join("\n"), "headers": headers, "content": content});
        all.insert(status.to_string(), response);
    }
    if is_plugins {
        let response = json!({"description": "What the plugin answers.", "headers": headers});
        all.insert("default".to_owned(), response);
    }
    all
}

/// By status, which problems there are.
fn problems(row: &Row, of: &Operation, open: bool) -> BTreeMap<u16, Vec<String>> {
    let has = |wanted: bool, slugs: &'static [&'static str]| if wanted { slugs } else { &[] };
    let lists = [
        of.about.problems,
        has(!open, OF_CALLERS),
        has(row.part().is_some(), OF_RIGHTS),
        has(row.part().is_some(), OF_NAMES),
    ];
    let mut all: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for kind in Kind::ALL {
        let slug = kind.slug();
        if lists.iter().any(|list| list.contains(&slug)) {
            let told = format!("- `{slug}`: {}.", kind.title());
            all.entry(kind.status().as_u16()).or_default().push(told);
        }
    }
    all
}

fn content(content: Content, generator: &mut SchemaGenerator) -> Option<Value> {
    Some(match content {
        Content::Nothing => return None,
        Content::Json(schema, "") => json!({"application/json": {"schema": schema(generator)}}),
        Content::Json(schema, example) => {
            let example: Value = serde_json::from_str(example).unwrap_or_default();
            json!({"application/json": {"schema": schema(generator), "example": example}})
        }
        Content::JsonOrEvents(schema) => json!({
            "application/json": {"schema": schema(generator)},
            "text/event-stream": {"schema": {"type": "string"}},
        }),
        Content::Text(media_type) => json!({(media_type): {"schema": {"type": "string"}}}),
        Content::Any => json!({"*/*": {}}),
    })
}
