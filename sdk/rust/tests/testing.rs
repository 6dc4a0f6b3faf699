//! Running a plugin in its author's tests, for all that a client can ask.

use kite_plugin_sdk::{
    ApplySettings, Caller, Cluster, ClusterChange, ClusterEvents, Kite, Object, ObjectKey, Plugin, Refused,
    ResourceContext, ResourceError, ResourceType, ResourceVerb, Resources, Settings, Tool, ToolContext, ToolError,
    WebFiles,
    axum::{
        Router,
        body::Bytes,
        routing::{get, post},
    },
    testing::{self, Code},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Deserialize, JsonSchema, Serialize)]
struct Price {
    euros: u8,
}

struct Prices;

impl Resources for Prices {
    type Fields = Price;
    const NAME: &'static str = "prices";
    const DESCRIPTION: &'static str = "Prices";
    const NAMESPACED: bool = false;
    const VERBS: &'static [ResourceVerb] = &[ResourceVerb::Get, ResourceVerb::Update];

    async fn get(&self, _: &ResourceContext, key: &ObjectKey) -> Result<Object<Price>, ResourceError> {
        Ok(Object::of(key, Price { euros: 7 }))
    }

    async fn update(&self, _: &ResourceContext, price: Object<Price>) -> Result<Object<Price>, ResourceError> {
        Ok(price)
    }
}

struct Shop;

impl Plugin for Shop {
    fn manifest(&self) -> &'static str {
        "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: shop}, spec: {version: 0.1.0, image: shop}}"
    }

    fn routes(&self) -> Router {
        let who = |caller: Option<Caller>, cluster: Cluster| async move {
            let caller = caller.map(|caller| format!("{} {:?}", caller.name, caller.groups));
            format!("{caller:?} {cluster}")
        };
        Router::new()
            .route("/who", get(who))
            .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
            .route(
                "/price",
                get(|price: Settings<Price>| async move { price.euros.to_string() }),
            )
    }

    fn tools(&self) -> Vec<Tool> {
        vec![Tool::new("buy", "Buys", buy).authorized_by(may_buy)]
    }

    fn resource_types(&self) -> Vec<ResourceType> {
        vec![ResourceType::new(Prices)]
    }

    fn web_files(&self) -> WebFiles {
        WebFiles::default().and("a.txt", "text/plain", "shop")
    }

    fn apply_settings(&self) -> Option<ApplySettings> {
        Some(ApplySettings::of::<Price>())
    }

    fn on_cluster_event(&self) -> Option<ClusterEvents> {
        Some(ClusterEvents::new(|_: Kite, event| async move {
            if event.cluster == "bad" {
                Err("on purpose".into())
            } else {
                Ok(())
            }
        }))
    }
}

async fn buy(context: ToolContext, price: Price) -> Result<String, ToolError> {
    context.progress(0.5, "paying");
    Ok(format!("bought for {}", price.euros))
}

async fn may_buy(context: ToolContext, _: Price) -> Result<(), Refused> {
    match context.caller()?.name.as_str() {
        "anna" => Ok(()),
        name => Err(Refused::new(format!("{name} has no money"))),
    }
}

#[tokio::test]
async fn routes_know_who_calls_about_what() {
    let client = testing::start(Shop).await;
    assert_eq!(client.get("/who").await.text(), "Some(\"tester []\") the home cluster");
    let other = client.as_member("anna", ["admins"]).about_cluster("west");
    assert_eq!(other.get("/who").await.text(), "Some(\"anna [\\\"admins\\\"]\") west");
    assert_eq!(client.as_host().get("/who").await.text(), "None the home cluster");
    assert_eq!(
        client
            .post("/length", &json!("a".repeat(200_000)))
            .await
            .json::<usize>(),
        200_002
    );
}

#[tokio::test]
async fn settings_are_there_from_the_start_and_can_change() {
    let client = testing::of(Shop)
        .named("shop")
        .settings(json!({"euros": 3}))
        .start()
        .await;
    assert_eq!(client.get("/price").await.text(), "3");
    client.apply_settings(json!({"euros": 4})).await.unwrap();
    assert!(
        client
            .apply_settings(json!({}))
            .await
            .unwrap_err()
            .contains("euros is missing")
    );
    assert_eq!(client.get("/price").await.text(), "4");
}

#[tokio::test]
async fn tools_files_events_and_objects_are_asked_for_as_the_host_does() {
    let client = testing::start(Shop).await;
    let bought = client.call_tool("buy", json!({"euros": 5})).await.unwrap();
    assert_eq!(
        (bought.text.as_str(), bought.progress),
        ("bought for 5", vec![(0.5, "paying".to_owned())])
    );
    let arguments = json!({"euros": 5});
    let may = client.authorize_tool("buy", arguments.clone()).await.unwrap();
    assert_eq!(may, Err("tester has no money".to_owned()));
    assert_eq!(
        client.as_user("anna").authorize_tool("buy", arguments).await.unwrap(),
        Ok(())
    );

    assert_eq!(client.file("a.txt").await.unwrap(), "shop");
    assert_eq!(client.file("b.txt").await.unwrap_err().code, Code::NotFound);
    client.cluster_event(ClusterChange::Added, "west").await.unwrap();
    let failed = client.cluster_event(ClusterChange::Removed, "bad").await.unwrap_err();
    assert_eq!(failed.code, Code::Internal);

    let price = json!({"metadata": {"name": "milk"}, "euros": 7});
    assert_eq!(client.object("prices", "", "milk").await.unwrap(), price);
    assert_eq!(client.update("prices", "", "milk", &price).await.unwrap(), price);
    client.stop().await.unwrap();
}

#[tokio::test]
#[should_panic(expected = "failed to start the plugin: failed to read the plugin.yaml that the plugin was built with")]
async fn a_plugin_that_does_not_start_fails_the_test_with_a_sentence() {
    struct Broken;
    impl Plugin for Broken {
        fn manifest(&self) -> &'static str {
            "{"
        }
    }
    testing::start(Broken).await;
}
