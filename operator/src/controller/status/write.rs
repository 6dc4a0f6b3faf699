//! The status as it stands at the API server: read before it is decided, written when it differs.

use kite_api::{KitePlugin, KitePluginStatus, NamespaceStatus, labels};
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
pub struct Standing {
    pub status: KitePluginStatus,
    /// The object's version, so that nothing is written over what was not seen.
    version: Option<String>,
}

/// The status that stands at the API server: the watch may not have brought yet what was last written. `None`: the object
/// is gone, or another of the same name has its place.
pub async fn standing(object: &Object, client: &Client) -> Result<Option<Standing>, StatusError> {
    // Untyped, because the object may be one that this operator does not understand.
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<KitePlugin>(&()));
    let found = api
        .get_opt(object::name(object))
        .await
        .map_err(|error| StatusError::Read(error.into()))?;
    let found = found.filter(|found| found.metadata.uid == object.meta().uid);
    Ok(found.map(|found| {
        let status = found.data.get("status").cloned();
        Standing {
            status: status
                .and_then(|status| serde_json::from_value(status).ok())
                .unwrap_or_default(),
            version: found.metadata.resource_version,
        }
    }))
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

/// Writes `wanted`, unless it stands there already. Returns whether it does now: where the object is gone or somebody else has
/// written it meanwhile, it is looked at again anyway.
pub async fn tell(
    client: &Client,
    object: &Object,
    standing: &Standing,
    wanted: &KitePluginStatus,
) -> Result<bool, StatusError> {
    if standing.status == *wanted {
        return Ok(true);
    }
    let fields = whole(wanted).map_err(StatusError::Serialize)?;
    write(client, object, standing, &fields).await
}

/// Writes these fields of the status into the very version of the object that was seen. The version, and not the uid, says of
/// which object: the API server does not look at the uid in a patch of a status. Returns whether that version still stood.
async fn write(client: &Client, object: &Object, standing: &Standing, fields: &Value) -> Result<bool, StatusError> {
    let api: Api<Object> = Api::all(client.clone());
    let params = PatchParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    let patch = json!({"metadata": {"resourceVersion": standing.version}, "status": fields});
    match api
        .patch_status(object::name(object), &params, &Patch::Merge(patch))
        .await
    {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(false),
        Err(error) => Err(StatusError::Write(error.into())),
    }
}

/// Writes into the status which namespaces the grant was given for, as [`tell`] writes the whole.
pub async fn record(
    client: &Client,
    object: &Object,
    standing: &Standing,
    namespaces: &[NamespaceStatus],
) -> Result<bool, StatusError> {
    if standing.status.namespaces == namespaces {
        return Ok(true);
    }
    let fields = json!({"namespaces": namespaces});
    write(client, object, standing, &fields).await
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
}
