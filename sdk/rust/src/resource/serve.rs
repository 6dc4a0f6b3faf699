//! Requests about objects, between JSON and an author's types.

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use kite_api::{json_rules, validator::Validator};
use kite_proto::{ResourceList, ResourceRequest, resource_request::PatchType};
use serde_json::Value;

use super::{
    ListQuery, MAX_OBJECT, Object, ObjectKey, Patch, ResourceContext, ResourceError, ResourceType, ResourceVerb,
    Resources,
    list::{MAX_CONTINUE, MAX_PAGE, MAX_PAGE_BYTES},
    object, patch, selector,
};

/// How often a change is tried that others come before.
const ATTEMPTS: usize = 4;

/// A request that was accepted.
#[derive(Debug)]
pub(crate) enum Request {
    List(ListQuery),
    Get(ObjectKey),
    /// The object, which fits the schema and has the request's namespace.
    Create(Value),
    /// The same, and the request's name.
    Update(Value),
    Patch(ObjectKey, Patch),
    Delete(ObjectKey),
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Object(Bytes),
    List(ResourceList),
}

/// [`Resources`] whose type of objects does not matter any more.
pub(crate) trait Serve: Send + Sync {
    /// Answers a request. `validator` is that of the type.
    fn serve<'a>(
        &'a self,
        context: &'a ResourceContext,
        validator: &'a Validator,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, ResourceError>>;
}

impl<R: Resources> Serve for R {
    fn serve<'a>(
        &'a self,
        context: &'a ResourceContext,
        validator: &'a Validator,
        request: Request,
    ) -> BoxFuture<'a, Result<Answer, ResourceError>> {
        async move {
            let object = match request {
                Request::List(query) => return listed(self.list(context, query).await?),
                Request::Get(key) => self.get(context, &key).await?,
                Request::Create(object) => self.create(context, typed(object)?).await?,
                Request::Update(object) => self.update(context, typed(object)?).await?,
                Request::Patch(key, patch) => {
                    VALIDATOR
                        .scope(validator.clone(), self.patch(context, &key, patch))
                        .await?
                }
                Request::Delete(key) => self.delete(context, &key).await?,
            };
            let object = serde_json::to_vec(&object)?;
            if object.len() > MAX_OBJECT {
                return Err(ResourceError::Failed(patch::too_large(object.len()).to_string()));
            }
            Ok(Answer::Object(object.into()))
        }
        .boxed()
    }
}

tokio::task_local! {
    /// What a patched object is checked against, for [`patch_by_update`], which an author's `patch` may call too.
    static VALIDATOR: Validator;
}

/// A patch as a read, the change, and an update.
pub(super) async fn patch_by_update<R: Resources + ?Sized>(
    resources: &R,
    context: &ResourceContext,
    key: ObjectKey,
    patch: Patch,
) -> Result<Object<R::Fields>, ResourceError> {
    let mut attempt = 1;
    loop {
        let current = resources.get(context, &key).await?;
        let version = current.metadata.resource_version.clone();
        let mut value = serde_json::to_value(&current)?;
        patch.apply(&mut value)?;
        if let Ok(checked) = VALIDATOR.try_with(|validator| validator.check(&value)) {
            checked.map_err(|violations| violated(&violations))?;
        }
        let changed: Object<R::Fields> = typed(value)?;
        if changed.key() != key {
            return Err(ResourceError::Invalid(
                "a patch changes neither name nor namespace".to_owned(),
            ));
        }
        // One that says itself which version it is of is of no use for another.
        let own = changed.metadata.resource_version != version;
        match resources.update(context, changed).await {
            Err(ResourceError::Conflict) if !own && attempt < ATTEMPTS => attempt += 1,
            ended => return ended,
        }
    }
}

fn typed<T: serde::de::DeserializeOwned>(object: Value) -> Result<T, ResourceError> {
    serde_path_to_error::deserialize(object).map_err(|error| match error.path().to_string() {
        path if path == "." => ResourceError::Invalid(format!("the object does not fit: {}", error.inner())),
        path => ResourceError::Invalid(format!("{path} does not fit: {}", error.inner())),
    })
}

fn listed<T: serde::Serialize>(page: super::Page<T>) -> Result<Answer, ResourceError> {
    let failed = |text: String| Err(ResourceError::Failed(text));
    if page.objects.len() > MAX_PAGE {
        return failed(format!(
            "the page has {} objects, the limit is {MAX_PAGE}",
            page.objects.len()
        ));
    }
    let next = page.next.unwrap_or_default();
    if next.len() > MAX_CONTINUE {
        return failed(format!("the page's `next` has more than {MAX_CONTINUE} bytes"));
    }
    let mut bytes = 0;
    let mut objects = Vec::with_capacity(page.objects.len());
    for object in page.objects {
        let object = serde_json::to_vec(&object)?;
        bytes += object.len();
        if object.len() > MAX_OBJECT || bytes > MAX_PAGE_BYTES {
            return failed(format!(
                "the objects of the page have more than {MAX_PAGE_BYTES} bytes, or one of them {MAX_OBJECT}"
            ));
        }
        objects.push(object.into());
    }
    Ok(Answer::List(ResourceList {
        objects,
        r#continue: next,
    }))
}

fn violated(violations: &[String]) -> ResourceError {
    ResourceError::Invalid(format!(
        "the object is not as its schema says: {}",
        violations.join("; ")
    ))
}

impl ResourceType {
    /// Reads a request about objects of this type, and checks what can be checked before it is begun.
    pub(crate) fn request(&self, request: ResourceRequest) -> Result<Request, ResourceError> {
        use kite_proto::ResourceVerb as Sent;

        let verb = match request.verb() {
            Sent::List => ResourceVerb::List,
            Sent::Get => ResourceVerb::Get,
            Sent::Create => ResourceVerb::Create,
            Sent::Update => ResourceVerb::Update,
            Sent::Patch => ResourceVerb::Patch,
            Sent::Delete => ResourceVerb::Delete,
            Sent::Unspecified => return Err(ResourceError::Unimplemented),
        };
        if !self.verbs.contains(&verb) {
            return Err(ResourceError::Unimplemented);
        }
        let namespace = self.namespace(verb, &request.namespace)?;
        let key = |name: String| {
            if object::is_name(&name) {
                Ok(ObjectKey {
                    namespace: namespace.clone(),
                    name,
                })
            } else {
                Err(ResourceError::Invalid("the object's name is none".to_owned()))
            }
        };
        Ok(match verb {
            ResourceVerb::List => Request::List(query(namespace, &request)?),
            ResourceVerb::Get => Request::Get(key(request.name)?),
            ResourceVerb::Delete => Request::Delete(key(request.name)?),
            ResourceVerb::Create => Request::Create(self.object(&request.body, namespace.as_deref(), None)?),
            ResourceVerb::Update => {
                let key = key(request.name)?;
                Request::Update(self.object(&request.body, namespace.as_deref(), Some(&key.name))?)
            }
            ResourceVerb::Patch => {
                if request.body.len() > MAX_OBJECT {
                    return Err(patch::too_large(request.body.len()));
                }
                let patch = match request.patch_type() {
                    PatchType::Merge => Patch::merge(&request.body)?,
                    PatchType::Json => Patch::json(&request.body)?,
                    PatchType::Unspecified => {
                        return Err(ResourceError::Invalid("the patch is of no known type".to_owned()));
                    }
                };
                Request::Patch(key(request.name)?, patch)
            }
        })
    }

    fn namespace(&self, verb: ResourceVerb, namespace: &str) -> Result<Option<String>, ResourceError> {
        let invalid = |text: &str| Err(ResourceError::Invalid(text.to_owned()));
        match (self.namespaced, namespace) {
            (false, "") => Ok(None),
            (false, _) => invalid("objects of this type live in no namespace"),
            (true, "") if verb == ResourceVerb::List => Ok(None),
            (true, "") => invalid("objects of this type live in a namespace: name it"),
            (true, name) if kite_api::name::is_label(name) => Ok(Some(name.to_owned())),
            (true, _) => invalid("the namespace's name is none"),
        }
    }

    /// The object in `body`, which fits the schema and has this namespace and name.
    fn object(&self, body: &[u8], namespace: Option<&str>, name: Option<&str>) -> Result<Value, ResourceError> {
        if body.len() > MAX_OBJECT {
            return Err(patch::too_large(body.len()));
        }
        let invalid = |text: String| ResourceError::Invalid(text);
        let no_json = |error| invalid(format!("the object is no JSON that can be taken: {error}"));
        json_rules::check(body).map_err(no_json)?;
        let mut object: Value = serde_json::from_slice(body).map_err(no_json)?;
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let metadata = metadata.ok_or_else(|| invalid("the object has no metadata".to_owned()))?;
        match metadata.get("namespace").and_then(Value::as_str) {
            named if named == namespace => {}
            None => {
                metadata.insert("namespace".to_owned(), namespace.into());
            }
            Some(_) => return Err(invalid("metadata.namespace is not that of the request".to_owned())),
        }
        let named = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
        if !object::is_name(named) {
            return Err(invalid("metadata.name is none".to_owned()));
        }
        if name.is_some_and(|name| name != named) {
            return Err(invalid("metadata.name is not that of the request".to_owned()));
        }
        if let Ok(validator) = &self.validator {
            validator.check(&object).map_err(|violations| violated(&violations))?;
        }
        Ok(object)
    }
}

fn query(namespace: Option<String>, request: &ResourceRequest) -> Result<ListQuery, ResourceError> {
    if request.r#continue.len() > MAX_CONTINUE {
        return Err(ResourceError::Expired);
    }
    let selector = selector::parse(&request.label_selector);
    let limit = usize::try_from(request.limit).unwrap_or(MAX_PAGE);
    Ok(ListQuery {
        namespace,
        selector: selector.map_err(|error| ResourceError::Invalid(error.to_string()))?,
        limit: if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) },
        after: Some(request.r#continue.clone()).filter(|token| !token.is_empty()),
    })
}
