//! Resource types: objects that a plugin serves under its name, listed, read and changed as Kubernetes' own are.

mod context;
mod error;
mod list;
mod object;
mod patch;
mod selector;
mod serve;

use std::{fmt, future::Future, sync::Arc};

pub use context::ResourceContext;
pub use error::ResourceError;
use kite_api::validator::{Validator, ValidatorError};
pub use list::{ListQuery, Page};
pub use object::{Metadata, Object, ObjectKey};
pub use patch::Patch;
use schemars::{JsonSchema, Schema};
use serde::{Serialize, de::DeserializeOwned};
pub(crate) use serve::{Answer, Serve};

use crate::schema;

/// Most bytes of an object, as JSON.
pub(crate) const MAX_OBJECT: usize = 1024 * 1024;

/// What can be done with objects.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ResourceVerb {
    /// Several are read.
    List,
    /// One is read.
    Get,
    /// One is made.
    Create,
    /// One is replaced.
    Update,
    /// Some of one's fields are changed.
    Patch,
    /// One is removed.
    Delete,
}

/// What the objects of a type can hold: a struct with named fields that derives [`serde::Serialize`], [`serde::Deserialize`] and
/// [`schemars::JsonSchema`]. It is not implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the fields of a resource type",
    label = "the fields of a resource type",
    note = "make `Fields` a struct with named fields that derives `serde::Serialize`, `serde::Deserialize` and `schemars::JsonSchema`"
)]
pub trait ResourceFields: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {}

// What the compiler would recommend is a part of it only, and how to get it not at all.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static> ResourceFields for T {}

/// A type of objects that a plugin serves, and where they are.
///
/// Only the methods of the verbs in [`VERBS`](Self::VERBS) are called. Objects that come from outside fit the published schema, and have the name and
/// namespace that the request says.
#[diagnostic::on_unimplemented(
    message = "`{Self}` serves no resource type",
    label = "not a resource type",
    note = "write `impl Resources for {Self}`, with `Fields`, `NAME`, `DESCRIPTION`, `VERBS` and the methods of the verbs"
)]
pub trait Resources: Send + Sync + 'static {
    /// The author's fields of an object; the schema is derived from them.
    type Fields: ResourceFields;

    /// Name of the type, in the plural, such as `cost-reports`: an RFC 1123 label of at most 40 characters.
    const NAME: &'static str;
    /// What it is, for people.
    const DESCRIPTION: &'static str;
    /// Whether its objects live in namespaces.
    const NAMESPACED: bool = true;
    /// What can be done with them.
    const VERBS: &'static [ResourceVerb];

    /// The objects asked for. [`ListQuery::page`] makes the page for who has them in memory.
    fn list(
        &self,
        _context: &ResourceContext,
        _query: ListQuery,
    ) -> impl Future<Output = Result<Page<Self::Fields>, ResourceError>> + Send {
        async { Err(ResourceError::Unimplemented) }
    }

    /// One object.
    fn get(
        &self,
        _context: &ResourceContext,
        _key: &ObjectKey,
    ) -> impl Future<Output = Result<Object<Self::Fields>, ResourceError>> + Send {
        async { Err(ResourceError::Unimplemented) }
    }

    /// Makes an object, unless there is one of its name, and gives it as it is then.
    fn create(
        &self,
        _context: &ResourceContext,
        _object: Object<Self::Fields>,
    ) -> impl Future<Output = Result<Object<Self::Fields>, ResourceError>> + Send {
        async { Err(ResourceError::Unimplemented) }
    }

    /// Puts an object in the place of the one of its name, and gives it as it is then. If objects have a `resourceVersion`, the new
    /// one must carry the old one's: see [`Object::supersedes`].
    fn update(
        &self,
        _context: &ResourceContext,
        _object: Object<Self::Fields>,
    ) -> impl Future<Output = Result<Object<Self::Fields>, ResourceError>> + Send {
        async { Err(ResourceError::Unimplemented) }
    }

    /// Changes some of an object's fields. Unless it is given, it is [`get`](Self::get), the change, and [`update`](Self::update),
    /// again if the object was changed meanwhile by somebody else. Who gives another one, by [`Patch::apply`] perhaps, sees to it that
    /// the object fits afterwards.
    fn patch(
        &self,
        context: &ResourceContext,
        key: &ObjectKey,
        patch: Patch,
    ) -> impl Future<Output = Result<Object<Self::Fields>, ResourceError>> + Send {
        serve::patch_by_update(self, context, key.clone(), patch)
    }

    /// Removes an object, and gives it as it was.
    fn delete(
        &self,
        _context: &ResourceContext,
        _key: &ObjectKey,
    ) -> impl Future<Output = Result<Object<Self::Fields>, ResourceError>> + Send {
        async { Err(ResourceError::Unimplemented) }
    }
}

/// A resource type that a plugin offers.
#[derive(Clone)]
pub struct ResourceType {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<ResourceVerb>,
    pub(crate) schema: Schema,
    /// Made from the schema; what is wrong with it is told when the plugin starts.
    pub(crate) validator: Result<Validator, ValidatorError>,
    serve: Arc<dyn Serve>,
}

impl ResourceType {
    /// The type that `resources` serves.
    pub fn new<R: Resources>(resources: R) -> Self {
        let schema = schema::of_input::<Object<R::Fields>>();
        let mut verbs = R::VERBS.to_vec();
        verbs.sort_unstable();
        verbs.dedup();
        Self {
            name: R::NAME,
            description: R::DESCRIPTION,
            namespaced: R::NAMESPACED,
            verbs,
            validator: Validator::new(schema.as_value()),
            schema,
            serve: Arc::new(resources),
        }
    }

    /// What answers a request that was accepted.
    pub(crate) fn serve(&self) -> Arc<dyn Serve> {
        Arc::clone(&self.serve)
    }
}

impl fmt::Debug for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceType")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
