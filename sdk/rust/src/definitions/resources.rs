//! Resource types that were accepted.

use std::collections::BTreeMap;

use kite_api::{
    name::{MAX_RESOURCE_TYPE, is_label},
    schema_rules::{MAX_SCHEMA, SchemaRuleError},
    tool_rules::{self, MAX_RESOURCE_TYPES, ToolRuleError},
    validator::ValidatorError,
};

use crate::{ResourceType, ResourceVerb, schema};

/// Why a plugin's resource types are no good.
#[derive(Debug, thiserror::Error)]
pub enum TypesError {
    /// A type's name is none.
    #[error(
        "failed to accept the resource type {0:?}: its name must be an RFC 1123 label of at most {MAX_RESOURCE_TYPE} characters, such as cost-reports"
    )]
    Name(String),
    /// Two types have one name.
    #[error("failed to accept the resource type {0}: there are two of this name, so rename one")]
    Twice(String),
    /// A type can do nothing.
    #[error("failed to accept the resource type {0}: name in VERBS what can be done with its objects")]
    NoVerbs(String),
    /// A type's description breaks the rules for descriptions.
    #[error("failed to accept the description of the resource type {name}")]
    Description {
        /// The name.
        name: String,
        /// The cause.
        source: ToolRuleError,
    },
    /// A type's fields are not a struct with named fields.
    #[error(
        "failed to accept the resource type {0}: its objects are not objects in JSON, so make Fields a struct with named fields"
    )]
    NotAnObject(String),
    /// A type's schema breaks the rules for schemas.
    #[error("failed to accept the schema of the resource type {name}")]
    Schema {
        /// The name.
        name: String,
        /// The cause.
        source: ValidatorError,
    },
    /// A type's schema cannot be written.
    #[error("failed to serialize the schema of the resource type {name}")]
    SerializeSchema {
        /// The name.
        name: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// There are too many types.
    #[error(
        "failed to accept the plugin's resource types: there are {0}, the limit is {MAX_RESOURCE_TYPES}, so move some of them to another plugin"
    )]
    TooMany(usize),
}

/// Types that were accepted, by name.
pub(crate) type Types = BTreeMap<&'static str, ResourceType>;

/// Checks the types.
pub(super) fn check(types: Vec<ResourceType>) -> Result<Types, TypesError> {
    if types.len() > MAX_RESOURCE_TYPES {
        return Err(TypesError::TooMany(types.len()));
    }
    let mut accepted = Types::new();
    for kind in types {
        let name = kind.name;
        let named = || name.to_owned();
        if !is_label(name) || name.len() > MAX_RESOURCE_TYPE {
            return Err(TypesError::Name(named()));
        }
        if kind.verbs.is_empty() {
            return Err(TypesError::NoVerbs(named()));
        }
        tool_rules::check_description(kind.description)
            .map_err(|source| TypesError::Description { name: named(), source })?;
        if !schema::is_object(&kind.schema) {
            return Err(TypesError::NotAnObject(named()));
        }
        if let Err(source) = &kind.validator {
            return Err(TypesError::Schema {
                name: named(),
                source: source.clone(),
            });
        }
        if accepted.insert(name, kind).is_some() {
            return Err(TypesError::Twice(named()));
        }
    }
    Ok(accepted)
}

/// The types in the order of their names, which is that of the map.
pub(super) fn written(types: &Types) -> Result<Vec<kite_proto::ResourceType>, TypesError> {
    types.values().map(written_one).collect()
}

fn written_one(kind: &ResourceType) -> Result<kite_proto::ResourceType, TypesError> {
    let name = kind.name.to_owned();
    let schema = serde_json::to_vec(&kind.schema).map_err(|source| TypesError::SerializeSchema {
        name: name.clone(),
        source,
    })?;
    if schema.len() > MAX_SCHEMA {
        let source = SchemaRuleError::Long(schema.len()).into();
        return Err(TypesError::Schema { name, source });
    }
    Ok(kite_proto::ResourceType {
        name,
        namespaced: kind.namespaced,
        description: kind.description.to_owned(),
        schema: schema.into(),
        verbs: kind.verbs.iter().map(|verb| sent(*verb).into()).collect(),
    })
}

fn sent(verb: ResourceVerb) -> kite_proto::ResourceVerb {
    match verb {
        ResourceVerb::List => kite_proto::ResourceVerb::List,
        ResourceVerb::Get => kite_proto::ResourceVerb::Get,
        ResourceVerb::Create => kite_proto::ResourceVerb::Create,
        ResourceVerb::Update => kite_proto::ResourceVerb::Update,
        ResourceVerb::Patch => kite_proto::ResourceVerb::Patch,
        ResourceVerb::Delete => kite_proto::ResourceVerb::Delete,
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::Resources;

    #[derive(Deserialize, JsonSchema, Serialize)]
    struct Nothing {}

    struct Good;

    impl Resources for Good {
        type Fields = Nothing;
        const NAME: &'static str = "cost-reports";
        const DESCRIPTION: &'static str = "What it cost";
        const VERBS: &'static [ResourceVerb] = &[ResourceVerb::Get, ResourceVerb::List, ResourceVerb::Get];
    }

    struct Itself;

    #[derive(Deserialize, JsonSchema, Serialize)]
    struct Tree {
        children: Vec<Tree>,
    }

    impl Resources for Itself {
        type Fields = Tree;
        const NAME: &'static str = "trees";
        const DESCRIPTION: &'static str = "Trees";
        const VERBS: &'static [ResourceVerb] = &[ResourceVerb::Get];
    }

    fn spoilt(spoil: impl FnOnce(&mut ResourceType)) -> TypesError {
        let mut kind = ResourceType::new(Good);
        spoil(&mut kind);
        check(vec![kind]).and_then(|types| written(&types)).unwrap_err()
    }

    #[test]
    fn verbs_stand_once_in_the_order_of_their_numbers() {
        let types = written(&check(vec![ResourceType::new(Good)]).unwrap()).unwrap();
        assert_eq!(types[0].verbs, [1, 2]);
        let schema: serde_json::Value = serde_json::from_slice(&types[0].schema).unwrap();
        assert_eq!(schema["required"], serde_json::json!(["metadata"]));
    }

    #[test]
    fn a_type_is_refused_for_each_of_its_reasons() {
        for name in ["", "Reports", "a/b", "a_b"] {
            assert!(matches!(spoilt(|kind| kind.name = name), TypesError::Name(_)), "{name}");
        }
        let long: &'static str = "a".repeat(41).leak();
        assert!(matches!(spoilt(|kind| kind.name = long), TypesError::Name(_)));
        assert!(matches!(spoilt(|kind| kind.verbs.clear()), TypesError::NoVerbs(_)));
        assert!(matches!(
            spoilt(|kind| kind.description = ""),
            TypesError::Description { .. }
        ));
        let text = || schema::of_input::<String>();
        assert!(matches!(
            spoilt(|kind| kind.schema = text()),
            TypesError::NotAnObject(_)
        ));
        let two = vec![ResourceType::new(Good), ResourceType::new(Good)];
        assert!(matches!(check(two).unwrap_err(), TypesError::Twice(_)));
        let many = vec![ResourceType::new(Good); 65];
        assert!(matches!(check(many).unwrap_err(), TypesError::TooMany(65)));
        let itself = check(vec![ResourceType::new(Itself)]).unwrap_err();
        assert!(matches!(itself, TypesError::Schema { .. }), "{itself}");
    }
}
