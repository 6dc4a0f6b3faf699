//! Web files, as the gateway fetches them.

use kite_plugin_sdk::{Plugin, WebFiles, rust_embed::Embed};
use kite_proto::{
    CallContext, Definitions, DescribeRequest, File, GetFileRequest, MAX_CHUNK, Permission, plugin_client::PluginClient,
};
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status, transport::Channel};

use crate::world::{World, within};

#[derive(Embed)]
#[folder = "tests/serve/web"]
#[crate_path = "kite_plugin_sdk::rust_embed"]
struct Web;

struct Pages;

impl Plugin for Pages {
    fn manifest(&self) -> &'static str {
        "apiVersion: kite.dev/v1alpha1
kind: KitePlugin
metadata: {name: hello}
spec:
  version: 0.1.0
  image: hello
  permissions: [{apiGroups: [''], resources: [pods], verbs: [get, list], namespaces: ['*']}]
  frontend: {remoteEntry: remoteEntry.js}
"
    }

    fn web_files(&self) -> WebFiles {
        WebFiles::embedded::<Web>().and("empty.txt", "text/plain", "").and(
            "large.bin",
            "application/octet-stream",
            vec![7; 2 * MAX_CHUNK + 1],
        )
    }
}

/// A file, and the lengths of the pieces in which it came.
async fn fetched(client: &mut PluginClient<Channel>, path: &str) -> Result<(Vec<u8>, Vec<usize>), Status> {
    let request = GetFileRequest {
        context: Some(CallContext::default()),
        path: path.to_owned(),
    };
    let fetching = async {
        let mut stream = client.get_file(request).await?.into_inner();
        let (mut data, mut lengths) = (Vec::new(), Vec::new());
        while let Some(piece) = stream.message().await? {
            lengths.push(piece.data.len());
            data.extend(piece.data);
        }
        Ok((data, lengths))
    };
    within("the file", fetching).await
}

#[tokio::test]
async fn files_are_what_the_definitions_say() {
    let world = World::serve(Pages).await;
    let mut client = world.client().await;
    let described = client.describe(DescribeRequest::default()).await.unwrap().into_inner();
    let definitions: Definitions = prost::Message::decode(described.definitions).unwrap();
    let listed: Vec<(&str, &str)> = definitions
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.media_type.as_str()))
        .collect();
    assert_eq!(
        listed,
        [
            ("assets/style.css", "text/css; charset=utf-8"),
            ("empty.txt", "text/plain"),
            ("large.bin", "application/octet-stream"),
            ("remoteEntry.js", "text/javascript; charset=utf-8"),
        ]
    );
    for File { path, sha256, size, .. } in &definitions.files {
        let (data, lengths) = fetched(&mut client, path).await.unwrap();
        assert_eq!(data.len() as u64, *size, "{path}");
        assert_eq!(Sha256::digest(&data)[..], sha256[..], "{path}");
        assert!(
            lengths.iter().all(|length| (1..=MAX_CHUNK).contains(length)),
            "{lengths:?}"
        );
    }
    let (_, lengths) = fetched(&mut client, "large.bin").await.unwrap();
    assert_eq!(lengths, [MAX_CHUNK, MAX_CHUNK, 1]);
    let pods = Permission {
        api_groups: vec![String::new()],
        resources: vec!["pods".into()],
        verbs: vec!["get".into(), "list".into()],
        resource_names: Vec::new(),
        namespaces: vec!["*".into()],
    };
    assert_eq!(definitions.permissions, [pods]);
}

#[tokio::test]
async fn no_path_leads_to_anything_but_a_listed_file() {
    let world = World::serve(Pages).await;
    let mut client = world.client().await;
    for path in [
        "",
        "/remoteEntry.js",
        "./remoteEntry.js",
        "assets/../remoteEntry.js",
        "assets%2fstyle.css",
        "assets\\style.css",
        "assets",
        "remoteEntry.js\0",
        "REMOTEENTRY.JS",
        "../main.rs",
        "/etc/passwd",
    ] {
        let status = fetched(&mut client, path).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{path}");
    }
}
