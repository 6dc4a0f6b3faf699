//! JSON Schemas of the types that an author writes.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

/// The schema (2020-12) of `T` as it is read; its doc comments are the descriptions.
pub(crate) fn of_input<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
}

/// The schema (2020-12) of `T` as it is written: a field with a default is always there, for example.
pub(crate) fn of_output<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>()
}

/// Whether it is the schema of an object, as everything that the protocol carries is.
pub(crate) fn is_object(schema: &Schema) -> bool {
    schema.get("type").and_then(|kind| kind.as_str()) == Some("object")
}
