//! Objects, in memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kite_proto::{
    ResourceList, ResourceRequest, ResourceResponse, ResourceVerb, resource_request::PatchType, resource_response::Part,
};
use serde_json::{Value, json};
use tonic::Status;

use super::{Core, Fault};

/// Most objects of a page.
const MOST: usize = 500;
/// Bytes before what leads to the next page, where that is too long.
const LONG: usize = 2000;

/// All notes, by namespace and name.
#[derive(Default)]
pub(super) struct Notes(Mutex<BTreeMap<(String, String), Value>>);

impl Notes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(String, String), Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers one request.
pub(super) fn answer(core: &Core, request: &ResourceRequest) -> Result<ResourceResponse, Status> {
    let part = match request.r#type.as_str() {
        "notes" => notes(core, request)?,
        "tasks" if request.verb() == ResourceVerb::List => Part::List(ResourceList::default()),
        _ if core.has(Fault::UnknownTypeInvalid) => return Err(Status::invalid_argument("no such type")),
        _ => return Err(Status::not_found("no such type")),
    };
    Ok(ResourceResponse { part: Some(part) })
}

fn notes(core: &Core, request: &ResourceRequest) -> Result<Part, Status> {
    let body =
        || serde_json::from_slice::<Value>(&request.body).map_err(|error| Status::invalid_argument(error.to_string()));
    let mut all = core.notes.all();
    let key = (request.namespace.clone(), request.name.clone());
    let present = |all: &BTreeMap<_, Value>| match all.get(&key) {
        Some(object) => Ok(object.clone()),
        None if core.has(Fault::FailsOnUnknown) && request.name.ends_with("-none") => {
            Err(Status::internal("no object"))
        }
        None => Err(Status::not_found("no such object")),
    };
    let object = match request.verb() {
        ResourceVerb::List => return list(core, &all, request).map(Part::List),
        ResourceVerb::Get => present(&all)?,
        ResourceVerb::Create => {
            let mut object = body()?;
            let name = object
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let key = (request.namespace.clone(), name);
            if all.contains_key(&key) && !core.has(Fault::Overwrites) {
                return Err(Status::already_exists("it is there"));
            }
            stamp(&mut object, 1);
            all.insert(key, object.clone());
            if let (true, Some(metadata)) = (core.has(Fault::NoNamespace), object.pointer_mut("/metadata")) {
                metadata.as_object_mut().map(|metadata| metadata.remove("namespace"));
            }
            object
        }
        ResourceVerb::Update => {
            let (old, new) = (present(&all)?, body()?);
            change(core, &old, new, &mut all, key.clone())?
        }
        ResourceVerb::Patch if request.patch_type() == PatchType::Merge => {
            let (old, patch) = (present(&all)?, body()?);
            let mut new = old.clone();
            if !core.has(Fault::IgnoresPatch) {
                merge(&mut new, &patch);
            }
            change(core, &old, new, &mut all, key.clone())?
        }
        ResourceVerb::Delete => {
            let object = present(&all)?;
            if !core.has(Fault::RemovesNothing) {
                all.remove(&key);
            }
            object
        }
        ResourceVerb::Patch | ResourceVerb::Unspecified => return Err(Status::invalid_argument("no such verb")),
    };
    Ok(Part::Object(object.to_string().into()))
}

fn version(object: &Value) -> u64 {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn stamp(object: &mut Value, version: u64) {
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert(String::from("resourceVersion"), json!(version.to_string()));
    }
}

fn change(
    core: &Core,
    old: &Value,
    mut new: Value,
    all: &mut BTreeMap<(String, String), Value>,
    key: (String, String),
) -> Result<Value, Status> {
    if version(old) != version(&new) && !core.has(Fault::TakesStale) {
        return Err(Status::aborted("it was changed meanwhile"));
    }
    stamp(&mut new, version(old) + 1);
    all.insert(key, new.clone());
    Ok(new)
}

/// JSON Merge Patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if let Some(fields) = target.as_object_mut() {
            if value.is_null() {
                fields.remove(name);
            } else {
                merge(fields.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

/// Whether an object is selected by `key=value`, which is the one kind of selector there is.
fn selects(core: &Core, object: &Value, selector: &str) -> Result<bool, Status> {
    if selector.is_empty() {
        return Ok(true);
    }
    let Some((key, value)) = selector.split_once('=') else {
        return if core.has(Fault::TakesBadSelector) {
            Ok(true)
        } else {
            Err(Status::invalid_argument("no selector"))
        };
    };
    let label = object
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(key))
        .and_then(Value::as_str);
    Ok(label == Some(value) || core.has(Fault::IgnoresSelector))
}

fn list(
    core: &Core,
    all: &BTreeMap<(String, String), Value>,
    request: &ResourceRequest,
) -> Result<ResourceList, Status> {
    let mut objects = Vec::new();
    for ((namespace, _), object) in all {
        let is_here = request.namespace.is_empty() || *namespace == request.namespace;
        if selects(core, object, &request.label_selector)? && is_here {
            objects.push(bytes::Bytes::from(object.to_string()));
        }
    }
    if core.has(Fault::OtherOrder) && request.limit == 1 {
        objects.reverse();
    }
    let limit = match usize::try_from(request.limit).unwrap_or(MOST) {
        0 => MOST,
        _ if core.has(Fault::IgnoresLimit) => MOST,
        limit => limit.min(MOST),
    };
    // The number of those on the pages before.
    let before = request.r#continue.trim_start_matches('+').parse().unwrap_or(0_usize);
    let after = before + limit;
    let padding = if core.has(Fault::LongContinue) {
        "+".repeat(LONG)
    } else {
        String::new()
    };
    Ok(ResourceList {
        r#continue: if after < objects.len() {
            format!("{padding}{after}")
        } else {
            String::new()
        },
        objects: objects.into_iter().skip(before).take(limit).collect(),
    })
}
