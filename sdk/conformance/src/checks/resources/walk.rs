//! Objects of one type from their creation to their end.

mod list;

use kite_proto::{ResourceRequest, ResourceType, ResourceVerb, resource_request::PatchType, resource_response::Part};
use serde_json::{Value, json};
use tonic::Code;

use super::ask;
use crate::{
    checks::definitions,
    verdict::{Checked, Failed, broken, ensure, not_applicable},
    world::World,
};

/// The namespace of the suite's objects.
const NAMESPACE: &str = "conformance";
/// The label of the suite's objects.
const LABEL: &str = "conformance";
/// The suite's objects.
const OBJECTS: [&str; 3] = ["a", "b", "c"];

/// What was seen of one type, a part for each rule.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(super) metadata: Checked,
    pub(super) exists: Checked,
    pub(super) unknown: Checked,
    pub(super) removed: Checked,
    pub(super) stale: Checked,
    pub(super) patch: Checked,
    pub(super) limit: Checked,
    pub(super) pages: Checked,
    pub(super) next_page: Checked,
    pub(super) bad_selector: Checked,
    pub(super) selector: Checked,
}

impl Walk {
    /// Nothing was seen, for one reason.
    fn none(failed: &Failed) -> Self {
        let part = || match failed {
            Failed::NotApplicable(_) => Err(failed.clone()),
            Failed::Broken { seen, .. } => not_applicable(seen),
        };
        Self {
            metadata: part(),
            exists: part(),
            unknown: part(),
            removed: part(),
            stale: part(),
            patch: part(),
            limit: part(),
            pages: part(),
            next_page: part(),
            bad_selector: part(),
            selector: part(),
        }
    }
}

/// A type and the objects that the suite makes of it.
struct Walker<'a> {
    world: &'a World,
    kind: &'a ResourceType,
    /// Names of this run's objects begin with it, and their label has it.
    run: String,
    object: &'a Value,
}

pub(super) async fn all(world: &World) -> Checked<Vec<Walk>> {
    let types = definitions::types(world).await?;
    let mut walks = Vec::new();
    for (name, object) in &world.known.objects {
        let Some(kind) = types.iter().find(|kind| kind.name == *name) else {
            continue;
        };
        let walker = Walker {
            world,
            kind,
            run: format!("conformance-{}", uuid::Uuid::new_v4().simple()),
            object,
        };
        walks.push(walker.walk().await);
    }
    Ok(walks)
}

impl Walker<'_> {
    async fn walk(&self) -> Walk {
        let mut created = Vec::new();
        for suffix in OBJECTS {
            match self.create(suffix).await {
                Ok(object) => created.push(object),
                Err(failed) => return Walk::none(&failed),
            }
        }
        let list = self.list_rules().await;
        let walk = Walk {
            metadata: self.metadata(&created).await,
            exists: self.exists().await,
            unknown: self.unknown().await,
            patch: self.patch().await,
            stale: self.stale().await,
            limit: list.limit,
            pages: list.pages,
            next_page: list.next_page,
            bad_selector: self.bad_selector().await,
            selector: self.selector().await,
            removed: self.removed().await,
        };
        for suffix in OBJECTS {
            // What is gone already is gone.
            let _ = self.delete(suffix).await;
        }
        walk
    }

    fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.run)
    }

    fn namespace(&self) -> String {
        let namespace = if self.kind.namespaced { NAMESPACE } else { "" };
        namespace.to_owned()
    }

    fn can(&self, verb: ResourceVerb) -> Checked {
        if self.kind.verbs.contains(&i32::from(verb)) {
            return Ok(());
        }
        not_applicable(format!("{} has no verb {}", self.kind.name, verb.as_str_name()))
    }

    fn request(&self, verb: ResourceVerb, suffix: &str) -> ResourceRequest {
        ResourceRequest {
            r#type: self.kind.name.clone(),
            verb: verb.into(),
            namespace: self.namespace(),
            name: self.name(suffix),
            ..ResourceRequest::default()
        }
    }

    /// The suite's object of this suffix, as it is sent.
    fn object(&self, suffix: &str) -> Value {
        let mut object = self.object.clone();
        if let Some(fields) = object.as_object_mut() {
            let mut metadata = json!({"name": self.name(suffix), "labels": {LABEL: self.run}});
            if self.kind.namespaced
                && let Some(metadata) = metadata.as_object_mut()
            {
                metadata.insert(String::from("namespace"), Value::from(NAMESPACE));
            }
            fields.insert(String::from("metadata"), metadata);
        }
        object
    }

    /// The object that a request is answered with.
    async fn one(&self, request: ResourceRequest, what: &str) -> Checked<Value> {
        let what = format!("{what} of {}", self.kind.name);
        match ask(self.world, request).await?.one(&what)?.part {
            Some(Part::Object(object)) => match serde_json::from_slice(&object) {
                Ok(object) => Ok(object),
                Err(error) => broken(format!("{what}: {error}"), "an object as JSON"),
            },
            Some(Part::List(_)) | None => broken(format!("{what}: no object"), "an object"),
        }
    }

    async fn create(&self, suffix: &str) -> Checked<Value> {
        self.can(ResourceVerb::Create)?;
        self.one(self.creation(suffix), "CREATE").await
    }

    fn creation(&self, suffix: &str) -> ResourceRequest {
        ResourceRequest {
            name: String::new(),
            body: self.object(suffix).to_string().into(),
            ..self.request(ResourceVerb::Create, suffix)
        }
    }

    async fn get(&self, suffix: &str) -> Checked<Value> {
        self.can(ResourceVerb::Get)?;
        self.one(self.request(ResourceVerb::Get, suffix), "GET").await
    }

    async fn delete(&self, suffix: &str) -> Checked<Value> {
        self.can(ResourceVerb::Delete)?;
        self.one(self.request(ResourceVerb::Delete, suffix), "DELETE").await
    }

    async fn metadata(&self, created: &[Value]) -> Checked {
        for (object, suffix) in created.iter().zip(OBJECTS) {
            self.is_named(object, suffix)?;
        }
        if self.can(ResourceVerb::Get).is_ok() {
            for suffix in OBJECTS {
                self.is_named(&self.get(suffix).await?, suffix)?;
            }
        }
        Ok(())
    }

    fn is_named(&self, object: &Value, suffix: &str) -> Checked {
        let text = |field: &str| {
            object
                .pointer(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let has = (text("/metadata/name"), text("/metadata/namespace"));
        let wants = (self.name(suffix), self.namespace());
        ensure(
            has == wants,
            || format!("name and namespace {has:?}"),
            format!("{wants:?}"),
        )
    }

    async fn exists(&self) -> Checked {
        let answer = ask(self.world, self.creation("a")).await?;
        answer.refused(Code::AlreadyExists, "CREATE of what is there")
    }

    async fn unknown(&self) -> Checked {
        self.can(ResourceVerb::Get)?;
        let answer = ask(self.world, self.request(ResourceVerb::Get, "none")).await?;
        answer.refused(Code::NotFound, "GET of what is not there")
    }

    async fn patch(&self) -> Checked {
        self.can(ResourceVerb::Patch)?;
        let mut metadata = json!({"labels": {"patched": "yes"}});
        let present = self.get("b").await;
        let version = present
            .as_ref()
            .ok()
            .and_then(|object| object.pointer("/metadata/resourceVersion"));
        if let (Some(version), Some(metadata)) = (version, metadata.as_object_mut()) {
            metadata.insert(String::from("resourceVersion"), version.clone());
        }
        let request = ResourceRequest {
            body: json!({"metadata": metadata}).to_string().into(),
            patch_type: PatchType::Merge.into(),
            ..self.request(ResourceVerb::Patch, "b")
        };
        let patched = self.one(request, "PATCH").await?;
        let labels = patched.pointer("/metadata/labels").cloned().unwrap_or_default();
        let wanted = json!({LABEL: self.run, "patched": "yes"});
        ensure(labels == wanted, || format!("the labels {labels}"), wanted)
    }

    async fn stale(&self) -> Checked {
        self.can(ResourceVerb::Update)?;
        let mut object = self.get("c").await?;
        let Some(version) = object.pointer_mut("/metadata/resourceVersion") else {
            return not_applicable(format!("objects of {} have no resourceVersion", self.kind.name));
        };
        *version = Value::from("conformance");
        let request = ResourceRequest {
            body: object.to_string().into(),
            ..self.request(ResourceVerb::Update, "c")
        };
        let answer = ask(self.world, request).await?;
        answer.refused(Code::Aborted, "UPDATE with another resourceVersion")
    }

    async fn removed(&self) -> Checked {
        self.can(ResourceVerb::Delete)?;
        let before = self.get("a").await.ok();
        let removed = self.delete("a").await?;
        let Some(before) = before else { return Ok(()) };
        ensure(removed == before, || format!("DELETE is answered by {removed}"), before)?;
        let answer = ask(self.world, self.request(ResourceVerb::Get, "a")).await?;
        answer.refused(Code::NotFound, "GET of what was removed")
    }
}
