//! What a plugin's object requires of a request: which rights, as the request names namespace and object. A request that can be
//! read in more than one way where it names them is refused.

mod values;

use std::{collections::BTreeSet, time::Duration};

use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full};
use kite_api::{
    Verb,
    name::is_label,
    plugin::access::{RequestSource, ToolRequirement},
    rights::{Place, Right},
};
use serde_json::Value;

use self::values::{Query, json_text, object, text_at};
use super::{
    RequestBody,
    whole_body::{WholeBodyError, whole},
};
use crate::directory::Matched;

/// Most bytes of a body that has to be read before it may be passed on.
const MAX_BODY: usize = 64 * 1024;

/// Why a request is refused before it is known which rights it needs, or because one of them is missing.
#[derive(Debug, thiserror::Error)]
pub enum RequiresError {
    #[error("the query parameter {0} is given more than once")]
    QueryTwice(String),
    #[error("the query is not percent-encoded UTF-8, with & between its parameters")]
    Query,
    #[error("this route reads the body before it passes it on: send application/json, and no content encoding")]
    MediaType,
    #[error(transparent)]
    Body(#[from] WholeBodyError),
    #[error("beside a key on the way to {0} there is another that differs in case only")]
    KeyTwice(String),
    #[error(
        "this route takes what it is about from the query, beside which a form could say something else: send JSON"
    )]
    Form,
    #[error("failed to parse the body")]
    Json(#[source] serde_json::Error),
    #[error("the value at {0} is no text")]
    NotText(String),
    #[error("{0:?} is not the name of a namespace")]
    Namespace(String),
    #[error("{0:?} is not the name of an object")]
    Name(String),
    #[error("the plugin was not granted the right to {0}: `spec.permissions` of its KitePlugin would have to have it")]
    NotGranted(Right),
    #[error("you lack the right to {0}, which this plugin requires of its callers")]
    NotHeld(Right),
}

/// The rights that a request for `matched` needs with `verbs`, and the request with its body as it was. Only a body that names
/// something is read, and has to be there within `limit`.
pub async fn of_route(
    matched: &[Matched<'_>],
    verbs: &[Verb],
    request: Request<RequestBody>,
    limit: Duration,
) -> Result<(BTreeSet<Right>, Request<RequestBody>), RequiresError> {
    let any_source = |is: fn(&RequestSource) -> bool| {
        let requirements = matched.iter().flat_map(|matched| &matched.route.requires);
        let sources = requirements.flat_map(|requirement| [&requirement.namespace, &requirement.name]);
        sources.flatten().any(is)
    };
    let reads_body = any_source(|source| source.body.is_some());
    let reads_query = any_source(|source| source.query.is_some());
    let (parts, body) = request.into_parts();
    if reads_query && is_form(&parts.headers) {
        return Err(RequiresError::Form);
    }
    let (json, body) = if reads_body {
        let bytes = whole(body, MAX_BODY, limit).await?;
        let json = if bytes.is_empty() {
            Value::Null
        } else {
            check_media_type(&parts.headers)?;
            object(&bytes)?
        };
        (json, Full::new(bytes).map_err(|never| match never {}).boxed_unsync())
    } else {
        (Value::Null, body)
    };
    let query = Query::of(parts.uri.query());
    let mut rights = BTreeSet::new();
    for matched in matched {
        let find = |source: &Option<RequestSource>| match source {
            None => Ok(None),
            Some(source) => value(source, matched, &query, &json),
        };
        for requirement in &matched.route.requires {
            let place = place(find(&requirement.namespace)?)?;
            let name = named(find(&requirement.name)?)?;
            let given = requirement.verb.as_slice();
            let verbs = if given.is_empty() { verbs } else { given };
            rights.extend(verbs.iter().map(|verb| Right {
                group: requirement.group.clone().unwrap_or_default(),
                resource: requirement.resource.clone(),
                verb: *verb,
                place: place.clone(),
                name: name.clone(),
            }));
        }
    }
    Ok((rights, Request::from_parts(parts, body)))
}

/// The rights that a call with `arguments` needs.
pub fn of_tool(requirements: &[ToolRequirement], arguments: &[u8]) -> Result<BTreeSet<Right>, RequiresError> {
    let mut all = requirements
        .iter()
        .flat_map(|requirement| [&requirement.namespace, &requirement.name]);
    let arguments = if all.any(Option::is_some) {
        serde_json::from_slice(arguments).map_err(RequiresError::Json)?
    } else {
        Value::Null
    };
    let right = |requirement: &ToolRequirement| {
        let find = |source: &Option<_>| match source {
            None => Ok(None),
            Some(kite_api::plugin::access::ArgumentSource { argument }) => text_at(&arguments, argument),
        };
        Ok(Right {
            group: requirement.group.clone().unwrap_or_default(),
            resource: requirement.resource.clone(),
            verb: requirement.verb,
            place: place(find(&requirement.namespace)?)?,
            name: named(find(&requirement.name)?)?,
        })
    };
    requirements.iter().map(right).collect()
}

/// The rights that every call needs, whatever its arguments.
pub fn of_every_call(requirements: &[ToolRequirement]) -> BTreeSet<Right> {
    let constant = |requirement: &&ToolRequirement| requirement.namespace.is_none() && requirement.name.is_none();
    let right = |requirement: &ToolRequirement| Right {
        group: requirement.group.clone().unwrap_or_default(),
        resource: requirement.resource.clone(),
        verb: requirement.verb,
        place: Place::Cluster,
        name: None,
    };
    requirements.iter().filter(constant).map(right).collect()
}

fn value(
    source: &RequestSource,
    matched: &Matched<'_>,
    query: &Query<'_>,
    json: &Value,
) -> Result<Option<String>, RequiresError> {
    match source {
        RequestSource { path: Some(name), .. } => {
            let segment = matched.route.pattern.parameter(name, &matched.path);
            Ok(segment.map(values::decoded))
        }
        RequestSource { query: Some(key), .. } => query.value(key),
        RequestSource {
            body: Some(pointer), ..
        } => text_at(json, pointer),
        // The schema admits no source without one of the three; the widest right is asked for.
        _ => Ok(None),
    }
}

/// Whether a body says by its media type, or by several of them, that it may have parameters, which some readers prefer to those of
/// the query.
fn is_form(headers: &HeaderMap) -> bool {
    let types = headers.get_all(header::CONTENT_TYPE);
    let is_one = |value: &http::HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        ["application/x-www-form-urlencoded", "multipart/"]
            .iter()
            .any(|form| text.contains(form))
    };
    types.iter().count() > 1 || types.iter().any(is_one)
}

/// Whoever reads the body has to read it as it was read here.
fn check_media_type(headers: &HeaderMap) -> Result<(), RequiresError> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = match (types.next().map(http::HeaderValue::to_str), types.next()) {
        (Some(Ok(text)), None) => json_text(text),
        _ => false,
    };
    if is_json && !headers.contains_key(header::CONTENT_ENCODING) {
        Ok(())
    } else {
        Err(RequiresError::MediaType)
    }
}

/// No namespace, or an empty one, is the whole cluster.
fn place(name: Option<String>) -> Result<Place, RequiresError> {
    match name.filter(|name| !name.is_empty()) {
        None => Ok(Place::Cluster),
        Some(name) if is_label(&name) => Ok(Place::Namespace(name)),
        Some(name) => Err(RequiresError::Namespace(values::cut(name))),
    }
}

/// No name, or an empty one, is every object.
fn named(name: Option<String>) -> Result<Option<String>, RequiresError> {
    match name.filter(|name| !name.is_empty()) {
        Some(name) if !kite_api::name::is_object_name(&name) => Err(RequiresError::Name(values::cut(name))),
        name => Ok(name),
    }
}

#[cfg(test)]
mod tests;
