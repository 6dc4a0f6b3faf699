//! The status as it stands at the API server: read before it is decided, written when it differs.

use kite_api::{KitePlugin, KitePluginStatus, NamespaceStatus, labels, understood};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::controller::object::{self, Object};

/// Why a status could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("failed to read the object")]
    Read(#[source] Box<kube::Error>),
    #[error("failed to write the status")]
    Write(#[source] Box<kube::Error>),
    #[error("failed to write the status as JSON")]
    Serialize(#[source] serde_json::Error),
}

/// The status as it stands, of the very object that is being looked at.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub status: KitePluginStatus,
    /// Whether that is all that stands there. Else it is written anew, though nothing that is understood were to change: others may
    /// understand as little.
    is_whole: bool,
    /// The generation of the object that has it.
    pub generation: Option<i64>,
    /// The object's version, so that nothing is written over what was not seen.
    version: Option<String>,
}

/// The status that stands at the API server: the watch may not have brought yet what was last written. `None`: the object
/// is gone, or another of the same name has its place.
pub async fn recorded(object: &Object, client: &Client) -> Result<Option<Recorded>, StatusError> {
    // Untyped, because the object may be one that this operator does not understand.
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<KitePlugin>(&()));
    let found = api
        .get_opt(object::name(object))
        .await
        .map_err(|error| StatusError::Read(error.into()))?;
    let found = found.filter(|found| found.metadata.uid == object.meta().uid);
    Ok(found.map(|found| {
        let (status, is_whole) = found.data.get("status").map_or_else(absent, read);
        Recorded {
            status,
            is_whole,
            generation: found.metadata.generation,
            version: found.metadata.resource_version,
        }
    }))
}

/// Nothing has been told yet.
fn absent() -> (KitePluginStatus, bool) {
    (KitePluginStatus::default(), true)
}

/// The status as far as it is understood, and whether that is all of it: another operator may have written words that this one does not
/// know.
fn read(status: &Value) -> (KitePluginStatus, bool) {
    match serde_json::from_value(status.clone()) {
        Ok(whole) => (whole, true),
        Err(_) => (understood::status(status), false),
    }
}

/// Every field of a status, so that one that is no longer there is removed. A test holds it against the schema.
const FIELDS: [&str; 14] = [
    "observedGeneration",
    "phase",
    "version",
    "activeRevision",
    "revisions",
    "toolCount",
    "tools",
    "resourceTypes",
    "dependencies",
    "namespaces",
    "selector",
    "replicas",
    "readyReplicas",
    "conditions",
];

/// Writes `wanted`, unless that and nothing else stands there already. Returns whether it does now: it does not where the object is gone, or
/// somebody else has written it since it was read.
pub async fn tell(
    client: &Client,
    object: &Object,
    recorded: &Recorded,
    wanted: &KitePluginStatus,
) -> Result<bool, StatusError> {
    // If somebody has written another since, that has woken the plugin.
    if recorded.is_whole && recorded.status == *wanted {
        return Ok(true);
    }
    let fields = whole(wanted).map_err(StatusError::Serialize)?;
    let version = write(client, object, recorded, &fields).await?;
    Ok(version.is_some())
}

/// Writes these fields of the status into the very version of the object that was seen. The version, and not the uid, says of
/// which object: the API server does not look at the uid in a patch of a status. Returns the version that came of it, if that one still
/// stood.
async fn write(
    client: &Client,
    object: &Object,
    recorded: &Recorded,
    fields: &Value,
) -> Result<Option<String>, StatusError> {
    let api: Api<Object> = Api::all(client.clone());
    let params = PatchParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    let patch = json!({"metadata": {"resourceVersion": recorded.version}, "status": fields});
    match api
        .patch_status(object::name(object), &params, &Patch::Merge(patch))
        .await
    {
        Ok(written) => Ok(written.meta().resource_version.clone()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(None),
        Err(error) => Err(StatusError::Write(error.into())),
    }
}

/// Writes into the status which namespaces the grant was given for, as [`tell`] writes the whole. Returns whether they stand there now, and
/// has `recorded` say so.
pub async fn record(
    client: &Client,
    object: &Object,
    recorded: &mut Recorded,
    namespaces: &[NamespaceStatus],
) -> Result<bool, StatusError> {
    if recorded.status.namespaces == namespaces {
        return Ok(true);
    }
    let fields = json!({"namespaces": namespaces});
    let Some(version) = write(client, object, recorded, &fields).await? else {
        return Ok(false);
    };
    recorded.status.namespaces = namespaces.to_vec();
    recorded.version = Some(version);
    Ok(true)
}

/// Every field, so that a merge patch leaves nothing of what was there before.
fn whole(wanted: &KitePluginStatus) -> Result<Value, serde_json::Error> {
    let mut fields = serde_json::to_value(wanted)?;
    if let Value::Object(fields) = &mut fields {
        for field in FIELDS {
            fields.entry(field).or_insert(Value::Null);
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kite_api::Phase;

    use super::*;

    #[test]
    fn the_patch_speaks_of_every_field_of_the_schema() {
        let crd = serde_json::to_value(kite_api::crd()).unwrap();
        let schema = crd
            .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties")
            .unwrap();
        let fields: BTreeSet<&str> = schema.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, FIELDS.into());
        let whole = whole(&KitePluginStatus::default()).unwrap();
        assert!(FIELDS.iter().all(|field| whole.get(field).is_some_and(Value::is_null)));
    }

    #[test]
    fn a_status_that_is_understood_in_part_is_known_to_be_no_more() {
        let told = |phase: &str| json!({"phase": phase, "activeRevision": 1});
        let status = KitePluginStatus {
            phase: Some(Phase::Loaded),
            active_revision: Some(1),
            ..KitePluginStatus::default()
        };
        assert_eq!(read(&told("Loaded")), (status.clone(), true));
        let without = KitePluginStatus { phase: None, ..status };
        assert_eq!(read(&told("Evolving")), (without, false));
        assert_eq!(read(&json!("Loaded")), (KitePluginStatus::default(), false));
        assert_eq!(read(&json!({})), absent());
    }
}
