//! Resource types, as the gateway asks for their objects.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use kite_plugin_sdk::{
    ListQuery, Object, ObjectKey, Page, Plugin, ResourceContext, ResourceError, ResourceType, ResourceVerb, Resources,
    schemars::JsonSchema,
    serde::{Deserialize, Serialize},
    serde_json::{Value, json},
};
use kite_proto::{
    Definitions, DescribeRequest, ResourceList, ResourceRequest, ResourceVerb as Verb, plugin_client::PluginClient,
    resource_request::PatchType, resource_response::Part,
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    plugin::MANIFEST,
    world::{World, context, within},
};

/// Notes, in memory.
#[derive(Default)]
struct Notes {
    objects: Mutex<BTreeMap<ObjectKey, Object<Note>>>,
    version: AtomicU64,
    /// How many updates find that somebody else came before.
    disturbed: AtomicU64,
}

/// A note.
#[derive(Clone, Deserialize, JsonSchema, Serialize)]
#[serde(crate = "kite_plugin_sdk::serde")]
#[schemars(crate = "kite_plugin_sdk::schemars")]
struct Note {
    /// What is noted.
    #[schemars(length(min = 1), regex(pattern = "^[a-z]+$"))]
    text: String,
    #[serde(default)]
    stars: u8,
}

impl Notes {
    fn put(&self, mut object: Object<Note>) -> Object<Note> {
        let version = self.version.fetch_add(1, Ordering::Relaxed);
        object.metadata.resource_version = Some(version.to_string());
        self.objects.lock().unwrap().insert(object.key(), object.clone());
        object
    }

    fn read(&self, key: &ObjectKey) -> Result<Object<Note>, ResourceError> {
        self.objects
            .lock()
            .unwrap()
            .get(key)
            .cloned()
            .ok_or(ResourceError::NotFound)
    }
}

impl Resources for Notes {
    type Fields = Note;
    const NAME: &'static str = "notes";
    const DESCRIPTION: &'static str = "What somebody noted";
    const VERBS: &'static [ResourceVerb] = &[
        ResourceVerb::List,
        ResourceVerb::Get,
        ResourceVerb::Create,
        ResourceVerb::Update,
        ResourceVerb::Patch,
        ResourceVerb::Delete,
    ];

    async fn list(&self, _: &ResourceContext, query: ListQuery) -> Result<Page<Note>, ResourceError> {
        let all: Vec<_> = self.objects.lock().unwrap().values().cloned().collect();
        query.page(all)
    }

    async fn get(&self, context: &ResourceContext, key: &ObjectKey) -> Result<Object<Note>, ResourceError> {
        match key.name.as_str() {
            "panic" => panic!("on purpose"),
            "fail" => Err("x".parse::<u8>().unwrap_err().into()),
            "secret" => Err(ResourceError::Forbidden(format!("not for {}", context.caller()?.name))),
            _ => self.read(key),
        }
    }

    async fn create(&self, _: &ResourceContext, object: Object<Note>) -> Result<Object<Note>, ResourceError> {
        match self.read(&object.key()) {
            Ok(_) => Err(ResourceError::AlreadyExists),
            Err(_) => Ok(self.put(object)),
        }
    }

    async fn update(&self, _: &ResourceContext, object: Object<Note>) -> Result<Object<Note>, ResourceError> {
        let mut current = self.read(&object.key())?;
        let left = |left: u64| left.checked_sub(1);
        if self
            .disturbed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .is_ok()
        {
            current.fields.stars += 1;
            current = self.put(current);
        }
        object.supersedes(&current.metadata.resource_version.unwrap())?;
        Ok(self.put(object))
    }

    async fn delete(&self, _: &ResourceContext, key: &ObjectKey) -> Result<Object<Note>, ResourceError> {
        self.objects.lock().unwrap().remove(key).ok_or(ResourceError::NotFound)
    }
}

/// A type that can be read, and lives in no namespace.
struct Planets;

impl Resources for Planets {
    type Fields = Note;
    const NAME: &'static str = "planets";
    const DESCRIPTION: &'static str = "Planets";
    const NAMESPACED: bool = false;
    const VERBS: &'static [ResourceVerb] = &[ResourceVerb::Get, ResourceVerb::List];

    async fn get(&self, _: &ResourceContext, key: &ObjectKey) -> Result<Object<Note>, ResourceError> {
        let text = "a".repeat(if key.name == "large" { 1024 * 1024 } else { 1 });
        Ok(Object::new(key.name.clone(), Note { text, stars: 0 }))
    }
}

struct Keeper {
    disturbed: u64,
}

impl Plugin for Keeper {
    fn manifest(&self) -> &'static str {
        MANIFEST
    }

    fn resource_types(&self) -> Vec<ResourceType> {
        let notes = Notes {
            disturbed: AtomicU64::new(self.disturbed),
            ..Notes::default()
        };
        vec![ResourceType::new(Planets), ResourceType::new(notes)]
    }
}

fn of(verb: Verb, name: &str, body: &Value) -> ResourceRequest {
    ResourceRequest {
        context: Some(context()),
        r#type: "notes".to_owned(),
        verb: verb.into(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        body: if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        }
        .into(),
        ..ResourceRequest::default()
    }
}

async fn ask(client: &mut PluginClient<Channel>, request: ResourceRequest) -> Result<Part, Status> {
    let answer = within("the objects", client.resource(request)).await?;
    Ok(answer.into_inner().part.unwrap())
}

async fn object(client: &mut PluginClient<Channel>, request: ResourceRequest) -> Result<Value, Status> {
    match ask(client, request).await? {
        Part::Object(object) => Ok(serde_json::from_slice(&object).unwrap()),
        Part::List(_) => panic!("a list, and no object"),
    }
}

/// The names of a page's objects, and what leads to the next.
async fn list(client: &mut PluginClient<Channel>, request: ResourceRequest) -> Result<(Vec<String>, String), Status> {
    let Part::List(ResourceList { objects, r#continue }) = ask(client, request).await? else {
        panic!("an object, and no list")
    };
    let name = |object: &[u8]| {
        let object: Value = serde_json::from_slice(object).unwrap();
        object["metadata"]["name"].as_str().unwrap().to_owned()
    };
    Ok((objects.iter().map(|object| name(object)).collect(), r#continue))
}

fn note(name: &str, text: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"kind": text}}, "text": text})
}

async fn refused(client: &mut PluginClient<Channel>, request: ResourceRequest) -> (Code, String) {
    let status = ask(client, request).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn objects_are_made_read_changed_and_removed() {
    let world = World::serve(Keeper { disturbed: 0 }).await;
    let mut client = world.client().await;
    let made = object(&mut client, of(Verb::Create, "", &note("a", "milk")))
        .await
        .unwrap();
    assert_eq!(
        made,
        json!({
            "metadata": {"name": "a", "namespace": "shop", "labels": {"kind": "milk"}, "resourceVersion": "0"},
            "text": "milk", "stars": 0,
        })
    );
    assert_eq!(
        object(&mut client, of(Verb::Get, "a", &Value::Null)).await.unwrap(),
        made
    );

    let mut changed = made.clone();
    changed["text"] = "bread".into();
    let changed = object(&mut client, of(Verb::Update, "a", &changed)).await.unwrap();
    assert_eq!(
        (&changed["text"], &changed["metadata"]["resourceVersion"]),
        (&json!("bread"), &json!("1"))
    );
    let (code, _) = refused(&mut client, of(Verb::Update, "a", &made)).await;
    assert_eq!(code, Code::Aborted, "it is of an older version");

    assert_eq!(
        object(&mut client, of(Verb::Delete, "a", &Value::Null)).await.unwrap(),
        changed
    );
    assert_eq!(
        refused(&mut client, of(Verb::Get, "a", &Value::Null)).await.0,
        Code::NotFound
    );
}

#[tokio::test]
async fn patches_change_some_fields_and_are_tried_again_when_others_came_before() {
    let world = World::serve(Keeper { disturbed: 2 }).await;
    let mut client = world.client().await;
    object(&mut client, of(Verb::Create, "", &note("a", "milk")))
        .await
        .unwrap();
    let patch = |kind: PatchType, body: Value| ResourceRequest {
        patch_type: kind.into(),
        ..of(Verb::Patch, "a", &body)
    };
    let patched = object(&mut client, patch(PatchType::Merge, json!({"text": "bread"})))
        .await
        .unwrap();
    assert_eq!(
        (&patched["text"], &patched["stars"]),
        (&json!("bread"), &json!(2)),
        "with what came before"
    );
    let operation = json!([{"op": "replace", "path": "/stars", "value": 5}]);
    let patched = object(&mut client, patch(PatchType::Json, operation)).await.unwrap();
    assert_eq!((&patched["text"], &patched["stars"]), (&json!("bread"), &json!(5)));

    for (body, code, words) in [
        (json!({"stars": "many"}), Code::InvalidArgument, "/stars"),
        (json!({"text": "No!"}), Code::InvalidArgument, "/text"),
        (
            json!({"metadata": {"name": "b"}}),
            Code::InvalidArgument,
            "neither name nor namespace",
        ),
        (
            json!({"metadata": {"resourceVersion": "0"}}),
            Code::Aborted,
            "changed meanwhile",
        ),
    ] {
        let (told, message) = refused(&mut client, patch(PatchType::Merge, body)).await;
        assert_eq!(told, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
    let test = json!([{"op": "test", "path": "/stars", "value": 1}]);
    let (code, _) = refused(&mut client, patch(PatchType::Json, test)).await;
    assert_eq!(code, Code::FailedPrecondition);
    let (code, _) = refused(&mut client, patch(PatchType::Unspecified, json!({}))).await;
    assert_eq!(code, Code::InvalidArgument);
}

#[tokio::test]
async fn lists_come_in_pages_and_are_narrowed_by_labels() {
    let world = World::serve(Keeper { disturbed: 0 }).await;
    let mut client = world.client().await;
    for (name, text) in [("c", "milk"), ("a", "milk"), ("b", "bread")] {
        object(&mut client, of(Verb::Create, "", &note(name, text)))
            .await
            .unwrap();
    }
    let first = ResourceRequest {
        limit: 2,
        ..of(Verb::List, "", &Value::Null)
    };
    let (names, next) = list(&mut client, first.clone()).await.unwrap();
    assert_eq!(names, ["a", "b"]);
    let second = ResourceRequest {
        r#continue: next,
        ..first.clone()
    };
    assert_eq!(
        list(&mut client, second).await.unwrap(),
        (vec!["c".to_owned()], String::new())
    );
    let milk = ResourceRequest {
        label_selector: "kind in (milk)".to_owned(),
        namespace: String::new(),
        ..first.clone()
    };
    assert_eq!(list(&mut client, milk).await.unwrap().0, ["a", "c"]);
    let elsewhere = ResourceRequest {
        namespace: "pay".to_owned(),
        ..first.clone()
    };
    assert_eq!(list(&mut client, elsewhere).await.unwrap().0, [""; 0]);
    let bad = ResourceRequest {
        label_selector: "kind in".to_owned(),
        ..first.clone()
    };
    assert_eq!(refused(&mut client, bad).await.0, Code::InvalidArgument);
    for token in ["nonsense".to_owned(), "a".repeat(1025)] {
        let old = ResourceRequest {
            r#continue: token,
            ..first.clone()
        };
        assert_eq!(refused(&mut client, old).await.0, Code::OutOfRange);
    }
}

#[tokio::test]
async fn what_a_caller_sends_is_refused_for_each_of_its_reasons() {
    let world = World::serve(Keeper { disturbed: 0 }).await;
    let mut client = world.client().await;
    object(&mut client, of(Verb::Create, "", &note("a", "milk")))
        .await
        .unwrap();
    let create = |body: Value| of(Verb::Create, "", &body);
    let get = |name: &str| of(Verb::Get, name, &Value::Null);
    let elsewhere = json!({"metadata": {"name": "b", "namespace": "pay"}, "text": "milk"});
    let large = json!({"metadata": {"name": "b"}, "text": "a".repeat(1024 * 1024)});
    for (request, code, words) in [
        (create(note("a", "milk")), Code::AlreadyExists, "of this name"),
        (create(json!({"text": "milk"})), Code::InvalidArgument, "no metadata"),
        (create(note("", "milk")), Code::InvalidArgument, "metadata.name"),
        (create(note("../b", "milk")), Code::InvalidArgument, "metadata.name"),
        (create(note("b", "MILK")), Code::InvalidArgument, "/text"),
        (
            create(json!({"metadata": {"name": "b"}})),
            Code::InvalidArgument,
            "text",
        ),
        (create(elsewhere), Code::InvalidArgument, "metadata.namespace"),
        (create(json!([])), Code::InvalidArgument, "no metadata"),
        (create(large), Code::InvalidArgument, "the limit is 1048576"),
        (
            of(Verb::Update, "b", &note("a", "milk")),
            Code::InvalidArgument,
            "metadata.name",
        ),
        (
            of(Verb::Update, "b", &note("b", "milk")),
            Code::NotFound,
            "no such object",
        ),
        (get("none"), Code::NotFound, "no such object"),
        (get(".."), Code::InvalidArgument, "name"),
        (get(""), Code::InvalidArgument, "name"),
        (get("secret"), Code::PermissionDenied, "not for anna"),
        (get("fail"), Code::Internal, "the resource type failed"),
        (get("panic"), Code::Internal, "the resource type failed"),
        (of(Verb::Unspecified, "a", &Value::Null), Code::Unimplemented, "verb"),
    ] {
        let (told, message) = refused(&mut client, request).await;
        assert_eq!(told, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
    for (namespace, kind, code) in [
        ("", "notes", Code::InvalidArgument),
        ("Shop", "notes", Code::InvalidArgument),
        ("shop", "planets", Code::InvalidArgument),
        ("shop", "none", Code::NotFound),
    ] {
        let request = ResourceRequest {
            namespace: namespace.to_owned(),
            r#type: kind.to_owned(),
            ..get("a")
        };
        assert_eq!(refused(&mut client, request).await.0, code, "{namespace} {kind}");
    }
}

#[tokio::test]
async fn a_type_has_the_verbs_that_it_says_and_objects_within_the_bound() {
    let world = World::serve(Keeper { disturbed: 0 }).await;
    let mut client = world.client().await;
    let described = client.describe(DescribeRequest::default()).await.unwrap().into_inner();
    let definitions: Definitions = prost::Message::decode(described.definitions).unwrap();
    let told = definitions.resource_types.iter().map(|kind| {
        let verbs: Vec<i32> = kind.verbs.clone();
        (kind.name.as_str(), kind.namespaced, verbs)
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [("notes", true, vec![1, 2, 3, 4, 5, 6]), ("planets", false, vec![1, 2])]
    );
    let of_planets = |verb: Verb, name: &str| ResourceRequest {
        r#type: "planets".to_owned(),
        namespace: String::new(),
        ..of(verb, name, &note("mars", "a"))
    };
    assert_eq!(
        object(&mut client, of_planets(Verb::Get, "mars")).await.unwrap()["text"],
        "a"
    );
    for (verb, name, code) in [
        (Verb::Delete, "mars", Code::Unimplemented),
        (Verb::Create, "", Code::Unimplemented),
        (Verb::List, "", Code::Unimplemented),
        (Verb::Get, "large", Code::Internal),
    ] {
        assert_eq!(refused(&mut client, of_planets(verb, name)).await.0, code, "{verb:?}");
    }
}
