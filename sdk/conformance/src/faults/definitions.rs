//! What the plugin offers.

use bytes::Bytes;
use kite_proto::{
    Definitions, DescribeResponse, File, PROTOCOL, Permission, ResourceType, ResourceVerb, Supports, Tool,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::{Core, Fault, NAME};

/// Bytes of the larger file: more than a piece may have.
const LARGE: usize = 100_000;
const SCHEMA: &str = r#"{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}"#;
const OUTPUT: &str = r#"{"type": "object", "properties": {"greeting": {"type": "string"}}}"#;
const TEXT: &str = r#"{"type": "object", "properties": {"text": {"type": "string"}}}"#;

/// The files by their paths.
pub(super) fn files(fault: Option<Fault>) -> Vec<(String, Bytes)> {
    let last = if fault == Some(Fault::PathUpwards) {
        "z/../style.css"
    } else {
        "style.css"
    };
    vec![
        (String::from("remoteEntry.js"), Bytes::from(vec![b' '; LARGE])),
        (last.to_owned(), Bytes::from("a{}")),
    ]
}

fn offered(fault: Option<Fault>) -> Definitions {
    use ResourceVerb::{Create, Delete, Get, List, Patch, Update};
    let tool = |name: &str, schema: &str| Tool {
        name: name.to_owned(),
        description: String::from("Does what a test wants."),
        input_schema: schema.as_bytes().to_vec().into(),
        ..Tool::default()
    };
    let greet = Tool {
        output_schema: OUTPUT.into(),
        has_authorizer: true,
        ..tool("greet", SCHEMA)
    };
    let kind = |name: &str, verbs: &[ResourceVerb]| ResourceType {
        name: name.to_owned(),
        namespaced: true,
        description: String::from("Things of a test."),
        schema: TEXT.into(),
        verbs: verbs.iter().map(|verb| i32::from(*verb)).collect(),
    };
    let file = |(path, data): (String, Bytes)| File {
        path,
        sha256: Sha256::digest(&data).to_vec().into(),
        size: u64::try_from(data.len()).unwrap_or(u64::MAX),
        media_type: String::from("text/plain"),
    };
    Definitions {
        tools: vec![greet, tool("wave", r#"{"type": "object"}"#)],
        resource_types: vec![
            kind("notes", &[List, Get, Create, Update, Patch, Delete]),
            kind("tasks", &[List]),
        ],
        files: files(fault).into_iter().map(file).collect(),
        permissions: vec![Permission {
            api_groups: vec![String::new()],
            resources: vec![String::from("pods")],
            verbs: vec![String::from("get")],
            ..Permission::default()
        }],
        supports: Some(Supports {
            exchange: true,
            intercept: true,
            cluster_events: true,
            settings: true,
            shutdown: true,
        }),
    }
}

/// Does to what is offered what the fault is.
fn spoil(fault: Fault, offered: &mut Definitions) {
    let Definitions {
        tools,
        resource_types: types,
        files,
        permissions,
        ..
    } = offered;
    match fault {
        Fault::ToolsOutOfOrder => tools.reverse(),
        Fault::TypesOutOfOrder => types.reverse(),
        Fault::FilesOutOfOrder => files.reverse(),
        _ => {}
    }
    if let Some(tool) = tools.last_mut() {
        match fault {
            Fault::BadToolName => tool.name = String::from("waveHand"),
            Fault::LongDescription => tool.description = "a".repeat(5000),
            Fault::RemoteSchema => tool.input_schema = r#"{"type": "object", "$ref": "https://example.com/"}"#.into(),
            Fault::KeyTwice => tool.input_schema = r#"{"type": "object", "type": "object"}"#.into(),
            _ => {}
        }
    }
    if let Some(kind) = types.last_mut() {
        match fault {
            Fault::BadTypeName => kind.name = String::from("tasksOfMine"),
            Fault::HiddenTypeText => kind.description = String::from("a\u{7}b"),
            Fault::BadTypeSchema => kind.schema = r#"{"type": "things"}"#.into(),
            Fault::VerbTwice => kind.verbs = vec![1, 1],
            _ => {}
        }
    }
    if let Some(file) = files.last_mut() {
        match fault {
            Fault::ShortDigest => file.sha256.truncate(31),
            Fault::LargeFile => file.size = 17 * 1024 * 1024,
            Fault::BadMediaType => file.media_type = String::from("text"),
            _ => {}
        }
    }
    if fault == Fault::EmptyPermission {
        for permission in permissions {
            permission.verbs.clear();
        }
    }
}

/// What the plugin says that it is.
pub(super) fn describe(core: &Core) -> DescribeResponse {
    let mut offered = offered(core.fault);
    if let Some(fault) = core.fault {
        spoil(fault, &mut offered);
    }
    if core.has(Fault::DefinitionsChange) && Core::is_second(&core.described) {
        offered.permissions.clear();
    }
    let mut definitions = Bytes::from(offered.encode_to_vec());
    if core.has(Fault::BadDefinitions) {
        definitions = "definitions".into();
    }
    let or = |fault, other: &str, own: &str| if core.has(fault) { other } else { own }.to_owned();
    DescribeResponse {
        name: or(Fault::SaysOtherName, "other", NAME),
        version: or(Fault::BadVersion, "v1", "1.0.0"),
        protocol: if core.has(Fault::OtherProtocol) {
            PROTOCOL + 1
        } else {
            PROTOCOL
        },
        definitions,
    }
}
