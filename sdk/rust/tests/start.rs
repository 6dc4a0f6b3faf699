//! What a plugin is told that offers what is no good: one sentence, before anything is served, that says what to change.
#![cfg(test)]

use std::path::Path;

use kite_plugin_sdk::{
    Certificates, Config, Plugin, PluginName, ResourceType, ResourceVerb, Resources, Structured, Tool, ToolContext,
    ToolError, WebFiles,
    axum::{Router, routing::get},
    serve_with,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

const MANIFEST: &str =
    "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: costs}, spec: {version: 0.1.0, image: costs}}";

/// A plugin of which a part is wrong.
struct Wrong {
    manifest: &'static str,
    routes: fn() -> Router,
    tools: fn() -> Vec<Tool>,
    types: fn() -> Vec<ResourceType>,
    files: fn() -> WebFiles,
}

const GOOD: Wrong = Wrong {
    manifest: MANIFEST,
    routes: Router::new,
    tools: Vec::new,
    types: Vec::new,
    files: WebFiles::default,
};

impl Plugin for Wrong {
    fn manifest(&self) -> &str {
        self.manifest
    }

    fn routes(&self) -> Router {
        (self.routes)()
    }

    fn tools(&self) -> Vec<Tool> {
        (self.tools)()
    }

    fn resource_types(&self) -> Vec<ResourceType> {
        (self.types)()
    }

    fn web_files(&self) -> WebFiles {
        (self.files)()
    }
}

/// What is told of `plugin`, which is not served.
async fn told(plugin: Wrong) -> String {
    let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config {
        name: PluginName::parse("costs").unwrap(),
        listener: listen().await,
        health_listener: listen().await,
        // They are not there, which would be told last.
        certificates: Certificates::Folder("/nonexistent".into()),
        kube: None,
        gateway: "/nonexistent".into(),
        grace: Config::GRACE,
    };
    let error = serve_with(plugin, config, std::future::pending()).await.unwrap_err();
    format!("{error:?}")
}

macro_rules! is_told {
    ($($test:ident: $part:ident = $wrong:expr, @$sentence:literal;)*) => {$(
        #[tokio::test]
        async fn $test() {
            let told = told(Wrong { $part: $wrong, ..GOOD }).await;
            insta::assert_snapshot!(told, @$sentence);
        }
    )*};
}

#[derive(Deserialize, JsonSchema, Serialize)]
struct Nothing {}

async fn run(_: ToolContext, _: Nothing) -> Result<String, ToolError> {
    Ok(String::new())
}

fn tool(name: &str) -> Tool {
    Tool::new(name, "Does nothing.", run)
}

macro_rules! resource_type {
    ($kind:ident, $name:literal, $description:literal, $fields:ty, $verbs:expr) => {
        struct $kind;
        impl Resources for $kind {
            type Fields = $fields;
            const NAME: &'static str = $name;
            const DESCRIPTION: &'static str = $description;
            const VERBS: &'static [ResourceVerb] = $verbs;
        }
    };
}

#[derive(Deserialize, JsonSchema, Serialize)]
struct Tree {
    children: Vec<Tree>,
}

resource_type!(Reports, "reports", "Reports", Nothing, &[ResourceVerb::Get]);
resource_type!(Upper, "Reports", "Reports", Nothing, &[ResourceVerb::Get]);
resource_type!(NoVerbs, "reports", "Reports", Nothing, &[]);
resource_type!(Undescribed, "reports", "", Nothing, &[ResourceVerb::Get]);
resource_type!(Recursive, "trees", "Trees", Tree, &[ResourceVerb::Get]);

async fn hello() -> &'static str {
    "hello"
}

is_told! {
    two_tools_of_one_name: tools = || vec![tool("greet"), tool("greet")], @r#"failed to check what the plugin offers: failed to accept the tool greet: there are two of this name, so rename one"#;
    a_tool_whose_name_is_too_long: tools = || vec![tool(&"a".repeat(60))], @r#"failed to check what the plugin offers: failed to accept the tool "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": call it by a lower-case letter, then lower-case letters, digits and underscores, 51 characters at most in this plugin: the name has more than 64 characters"#;
    a_tool_whose_name_is_none: tools = || vec![tool("greetSomebody")], @r#"failed to check what the plugin offers: failed to accept the tool "greetSomebody": call it by a lower-case letter, then lower-case letters, digits and underscores, 51 characters at most in this plugin: the name has other characters than it may have, or begins or ends with one that it may not"#;
    a_tool_without_a_name: tools = || vec![tool("")], @r#"failed to check what the plugin offers: failed to accept the tool "": call it by a lower-case letter, then lower-case letters, digits and underscores, 51 characters at most in this plugin: the name is empty"#;
    more_tools_than_a_plugin_has: tools = || (0..65).map(|n| tool(&format!("a{n}"))).collect(), @r#"failed to check what the plugin offers: failed to accept the plugin's tools: there are 65, the limit is 64, so move some of them to another plugin"#;
    a_tool_without_a_description: tools = || vec![Tool::new("greet", "", run)], @r#"failed to check what the plugin offers: failed to accept the tool greet: its description is empty: say what it is for"#;
    a_tool_described_by_what_does_not_show: tools = || vec![Tool::new("greet", "Greets\u{200b}.", run)], @r#"failed to check what the plugin offers: failed to accept the tool greet: it is described with the character U+200B, which does not show: take it out"#;
    a_tool_whose_title_is_too_long: tools = || vec![tool("greet").titled("a".repeat(129))], @r#"failed to check what the plugin offers: failed to accept the title of the tool greet: its title has 129 bytes, the limit is 128: shorten it"#;
    a_tool_whose_arguments_are_no_object: tools = || vec![Tool::new("greet", "Greets.", |_: ToolContext, text: String| async { Ok(text) })], @r#"failed to check what the plugin offers: failed to accept the tool greet: its arguments are not an object in JSON, so make their type a struct with named fields"#;
    a_tool_whose_answer_is_no_object: tools = || vec![Tool::new("greet", "Greets.", |_: ToolContext, _: Nothing| async { Ok(Structured::new(1)) })], @r#"failed to check what the plugin offers: failed to accept the tool greet: what it answers is not an object in JSON, so make the type in Structured a struct with named fields"#;
    two_resource_types_of_one_name: types = || vec![ResourceType::new(Reports), ResourceType::new(Reports)], @r#"failed to check what the plugin offers: failed to accept the resource type reports: there are two of this name, so rename one"#;
    a_resource_type_whose_name_is_none: types = || vec![ResourceType::new(Upper)], @r#"failed to check what the plugin offers: failed to accept the resource type "Reports": its name must be an RFC 1123 label of at most 40 characters, such as cost-reports"#;
    a_resource_type_without_verbs: types = || vec![ResourceType::new(NoVerbs)], @r#"failed to check what the plugin offers: failed to accept the resource type reports: name in VERBS what can be done with its objects"#;
    a_resource_type_without_a_description: types = || vec![ResourceType::new(Undescribed)], @r#"failed to check what the plugin offers: failed to accept the description of the resource type reports: its description is empty: say what it is for"#;
    a_resource_type_that_holds_itself: types = || vec![ResourceType::new(Recursive)], @r##"failed to check what the plugin offers: failed to accept the schema of the resource type trees: the schema cannot be used: it refers to itself by "#/$defs/Tree": what is checked against it must end, so let objects name one another instead of holding one another"##;
    a_web_file_with_a_way_up: files = || WebFiles::default().and("../a.js", "text/javascript", ""), @r#"failed to check what the plugin offers: failed to accept the web file "../a.js": its path has a segment that is empty, begins with ".", or has other characters than ASCII letters, digits, ".", "_" and "-": rename it"#;
    a_web_file_of_no_media_type: files = || WebFiles::default().and("a.js", "script", ""), @r#"failed to check what the plugin offers: failed to accept the web file "a.js": its media type is not a type and a subtype, as text/css is, or has more than 128 bytes"#;
    two_web_files_of_one_path: files = || WebFiles::default().and("a.js", "text/javascript", "").and("a.js", "text/javascript", ""), @r#"failed to check what the plugin offers: failed to accept the web file a.js: there are two of this path, so leave one out"#;
    a_web_file_that_is_too_large: files = || WebFiles::default().and("a.js", "text/javascript", vec![0; 16 * 1024 * 1024 + 1]), @r#"failed to check what the plugin offers: failed to accept the web file "a.js": it has 16777217 bytes, the limit is 16777216: split it, or serve it by a route"#;
    a_manifest_that_is_no_yaml: manifest = "{", @r#"failed to read the plugin.yaml that the plugin was built with: failed to parse it: unclosed bracket '{' at line 1, column 1"#;
    a_manifest_without_a_spec: manifest = "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: costs}}", @r#"failed to read the plugin.yaml that the plugin was built with: failed to parse it: missing field `spec` at line 1, column 51"#;
    a_manifest_of_no_version: manifest = "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: costs}, spec: {version: one, image: costs}}", @r#"failed to read the plugin.yaml that the plugin was built with: failed to accept spec.version, "one", which must be three numbers as 1.2.3 is: unexpected character 'o' while parsing major version number"#;
    a_manifest_with_a_front_end_that_is_not_there: manifest = "{apiVersion: kite.dev/v1alpha1, kind: KitePlugin, metadata: {name: costs}, spec: {version: 0.1.0, image: costs, frontend: {remoteEntry: remoteEntry.js}}}", @r#"failed to check what the plugin offers: failed to find "remoteEntry.js", which spec.frontend.remoteEntry of the plugin.yaml names, among the web files: build the front end before the plugin, and return it by Plugin::web_files"#;
}

/// What is told of routes: axum's words, and the place, whose line is that of the call in this file.
async fn told_of_routes(routes: fn() -> Router) -> String {
    let told = told(Wrong { routes, ..GOOD }).await;
    let (words, place) = told.rsplit_once(" (").unwrap();
    let place = Path::new(place.split_once(':').unwrap().0);
    assert!(place.ends_with("sdk/rust/tests/start.rs"), "{told}");
    words.to_owned()
}

#[tokio::test]
async fn a_route_that_does_not_begin_with_a_slash() {
    let told = told_of_routes(|| Router::new().route("hello", get(hello))).await;
    insta::assert_snapshot!(told, @r#"failed to put the plugin together: it panicked: Paths must start with a `/`"#);
}

#[tokio::test]
async fn a_route_that_is_there_twice() {
    let told = told_of_routes(|| Router::new().route("/hello", get(hello)).route("/hello", get(hello))).await;
    insta::assert_snapshot!(told, @r#"failed to put the plugin together: it panicked: Overlapping method route. Handler for `GET /hello` already exists"#);
}

#[tokio::test]
async fn a_route_with_a_parameter_as_it_was_written_before() {
    let told = told_of_routes(|| Router::new().route("/hello/:name", get(hello))).await;
    insta::assert_snapshot!(told, @r#"failed to put the plugin together: it panicked: Path segments must not start with `:`. For capture groups, use `{capture}`. If you meant to literally match a segment starting with a colon, call `without_v07_checks` on the router"#);
}
