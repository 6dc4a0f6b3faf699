//! What the plugin says that it offers, by the same rules by which operator and SDK judge it.

use kite_api::{
    ToolName, ToolReference,
    file_rules::{self, MAX_FILES, MAX_FILES_TOTAL},
    json_rules,
    name::{MAX_RESOURCE_TYPE, is_label},
    tool_rules::{self, MAX_RESOURCE_TYPES, MAX_TOOLS, ToolRuleError},
    validator::{Validator, ValidatorError},
};
use kite_proto::{File, Permission, ResourceType, ResourceVerb, Supports, Tool};
use serde_json::Value;

use super::describe::offered;
use crate::{
    verdict::{Checked, broken, ensure, not_applicable},
    wire::Answer,
    world::World,
};

/// Most permissions.
const MAX_PERMISSIONS: usize = 32;
/// A media type and a path that are good, where the other is judged.
const GOOD: (&str, &str) = ("a", "text/css");

pub(crate) async fn tools(world: &World) -> Checked<&[Tool]> {
    some(&offered(world).await?.tools, "tools")
}

pub(crate) async fn types(world: &World) -> Checked<&[ResourceType]> {
    some(&offered(world).await?.resource_types, "resource types")
}

pub(crate) async fn files(world: &World) -> Checked<&[File]> {
    some(&offered(world).await?.files, "web files")
}

pub(crate) async fn supports(world: &World) -> Checked<Supports> {
    Ok(offered(world).await?.supports.unwrap_or_default())
}

fn some<'a, T>(all: &'a [T], what: &str) -> Checked<&'a [T]> {
    if all.is_empty() {
        return not_applicable(format!("the plugin offers no {what}"));
    }
    Ok(all)
}

fn in_order<'a>(names: impl Iterator<Item = &'a str>, most: usize) -> Checked {
    let names: Vec<_> = names.collect();
    ensure(
        names.len() <= most,
        || format!("there are {}", names.len()),
        format!("at most {most}"),
    )?;
    let pair = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one >= next);
    match pair {
        Some((one, next)) => broken(format!("{one:?} stands before {next:?}"), "each once, in order"),
        None => Ok(()),
    }
}

/// That none of them is wrong, each by its name.
fn each<'a, T, E: std::fmt::Display>(
    all: &'a [T],
    name: impl Fn(&'a T) -> &'a str,
    judge: impl Fn(&'a T) -> Result<(), E>,
    expected: &str,
) -> Checked {
    for one in all {
        if let Err(reason) = judge(one) {
            return broken(format!("{:?}: {reason}", name(one)), expected);
        }
    }
    Ok(())
}

fn tool_name(tool: &Tool) -> &str {
    &tool.name
}

fn type_name(kind: &ResourceType) -> &str {
    &kind.name
}

fn file_path(file: &File) -> &str {
    &file.path
}

pub(crate) async fn tools_in_order(world: &World) -> Checked {
    in_order(tools(world).await?.iter().map(tool_name), MAX_TOOLS)
}

pub(crate) async fn tool_names(world: &World) -> Checked {
    let judge = |tool: &Tool| {
        let name = ToolName::parse(&tool.name)?;
        ToolReference::new(world.target.name.clone(), name).map(drop)
    };
    each(tools(world).await?, tool_name, judge, "a tool's name")
}

pub(crate) async fn tool_texts(world: &World) -> Checked {
    let judge = |tool: &Tool| {
        tool_rules::check_description(&tool.description)?;
        tool_rules::check_title(&tool.title)
    };
    each(tools(world).await?, tool_name, judge, "texts within their limits")
}

pub(crate) async fn tool_schemas(world: &World) -> Checked {
    let judge = |tool: &Tool| {
        let input = schema(&tool.input_schema)?;
        if input.get("type") != Some(&Value::from("object")) {
            return Err(String::from("its arguments are not of the type object"));
        }
        if tool.output_schema.is_empty() {
            return Ok(());
        }
        schema(&tool.output_schema).map(drop)
    };
    each(tools(world).await?, tool_name, judge, "a bounded JSON Schema")
}

/// A schema within its limits, which are those of the protocol: what a host makes of one that costs much is its own matter.
fn schema(bytes: &[u8]) -> Result<Value, String> {
    tool_rules::check_schema(bytes).map_err(|error: ToolRuleError| error.to_string())?;
    let schema = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match Validator::new(&schema) {
        Ok(_) | Err(ValidatorError::Bounds(_)) => Ok(schema),
        Err(error @ ValidatorError::Schema(_)) => Err(error.to_string()),
    }
}

pub(crate) async fn types_in_order(world: &World) -> Checked {
    in_order(types(world).await?.iter().map(type_name), MAX_RESOURCE_TYPES)
}

pub(crate) async fn type_names(world: &World) -> Checked {
    let judge = |kind: &ResourceType| {
        let is_name = is_label(&kind.name) && kind.name.len() <= MAX_RESOURCE_TYPE;
        if is_name { Ok(()) } else { Err("no name of a type") }
    };
    each(
        types(world).await?,
        type_name,
        judge,
        "an RFC 1123 label of at most 40 characters",
    )
}

pub(crate) async fn type_texts(world: &World) -> Checked {
    let judge = |kind: &ResourceType| tool_rules::check_description(&kind.description);
    each(types(world).await?, type_name, judge, "a description within its limits")
}

pub(crate) async fn type_schemas(world: &World) -> Checked {
    let judge = |kind: &ResourceType| {
        if kind.schema.is_empty() {
            return Ok(());
        }
        schema(&kind.schema).map(drop)
    };
    each(types(world).await?, type_name, judge, "a bounded JSON Schema, or none")
}

pub(crate) async fn type_verbs(world: &World) -> Checked {
    let judge = |kind: &ResourceType| {
        let known = |verb: &i32| ResourceVerb::try_from(*verb).is_ok_and(|verb| verb != ResourceVerb::Unspecified);
        let ordered = kind
            .verbs
            .iter()
            .zip(kind.verbs.iter().skip(1))
            .all(|(one, next)| one < next);
        if !kind.verbs.is_empty() && ordered && kind.verbs.iter().all(known) {
            Ok(())
        } else {
            Err(format!("the verbs {:?}", kind.verbs))
        }
    };
    each(types(world).await?, type_name, judge, "verbs, each once, in order")
}

pub(crate) async fn files_in_order(world: &World) -> Checked {
    in_order(files(world).await?.iter().map(file_path), MAX_FILES)
}

pub(crate) async fn file_paths(world: &World) -> Checked {
    let judge = |file: &File| file_rules::check(&file.path, 0, GOOD.1);
    each(files(world).await?, file_path, judge, "a relative path")
}

pub(crate) async fn file_digests(world: &World) -> Checked {
    let judge = |file: &File| match file.sha256.len() {
        32 => Ok(()),
        length => Err(format!("a digest of {length} bytes")),
    };
    each(files(world).await?, file_path, judge, "32 bytes")
}

pub(crate) async fn file_sizes(world: &World) -> Checked {
    let files = files(world).await?;
    each(
        files,
        file_path,
        |file| file_rules::check(GOOD.0, file.size, GOOD.1),
        "a size within its limit",
    )?;
    let all = files.iter().fold(0_u64, |all, file| all.saturating_add(file.size));
    ensure(
        all <= MAX_FILES_TOTAL,
        || format!("{all} bytes in all"),
        format!("at most {MAX_FILES_TOTAL}"),
    )
}

pub(crate) async fn file_media_types(world: &World) -> Checked {
    let judge = |file: &File| file_rules::check(GOOD.0, 0, &file.media_type);
    each(files(world).await?, file_path, judge, "a media type")
}

pub(crate) async fn permissions(world: &World) -> Checked {
    let all = some(&offered(world).await?.permissions, "permissions to be granted")?;
    ensure(
        all.len() <= MAX_PERMISSIONS,
        || format!("there are {}", all.len()),
        format!("at most {MAX_PERMISSIONS}"),
    )?;
    let says = |permission: &&Permission| {
        permission.api_groups.is_empty() || permission.resources.is_empty() || permission.verbs.is_empty()
    };
    match all.iter().find(says) {
        Some(permission) => broken(format!("{permission:?}"), "groups, resources and verbs"),
        None => Ok(()),
    }
}

pub(crate) async fn json_bounds(world: &World) -> Checked {
    let offered = offered(world).await?;
    let of_tools = offered.tools.iter().flat_map(|tool| {
        let schemas = [&tool.input_schema, &tool.output_schema];
        schemas.map(|schema| (tool.name.as_str(), schema))
    });
    let of_types = offered
        .resource_types
        .iter()
        .map(|kind| (kind.name.as_str(), &kind.schema));
    let all: Vec<_> = of_tools
        .chain(of_types)
        .filter(|(_, schema)| !schema.is_empty())
        .collect();
    if all.is_empty() {
        return not_applicable("the plugin offers nothing with JSON in it");
    }
    for (name, schema) in all {
        // Whether it is JSON at all is for the schemas' own rules.
        if let Some(error) = json_rules::check(schema).err().filter(serde_json::Error::is_data) {
            return broken(format!("a schema of {name:?}: {error}"), "bounded JSON");
        }
    }
    Ok(())
}

pub(crate) async fn absent_methods(world: &World) -> Checked {
    let supports = supports(world).await?;
    let absent = [
        ("Intercept", supports.intercept),
        ("OnClusterEvent", supports.cluster_events),
        ("ApplySettings", supports.settings),
        ("Shutdown", supports.shutdown),
        ("Exchange", supports.exchange),
        // A method of no version of the protocol.
        ("Conformance", false),
    ];
    for (method, _) in absent.into_iter().filter(|(_, has)| !has) {
        // Each of these requests begins with its context, and may have nothing else; Exchange's has no first message at all.
        let request = kite_proto::ShutdownRequest {
            context: Some(world.host_context()),
        };
        let answer: Answer<kite_proto::ShutdownResponse> = world.ask(method, &request).await?;
        answer.refused(tonic::Code::Unimplemented, method)?;
    }
    Ok(())
}
