//! What the schema cannot see: settings, and what no grant may name.

use super::{
    complaint::Desk,
    node::{Content, Node},
    yaml::below,
};
use kite_api::{
    KitePlugin,
    boundary::{self, Places, Refusal},
    rights::{self, Statement},
    schema_rules::MAX_DEPTH,
    settings::{self, FromSecret, SettingsError},
};

/// Checks what the operator would refuse of an object that the schema admits.
pub(super) fn check(document: &Node, plugin: &KitePlugin, desk: &mut Desk) {
    let Some(spec) = document.get("spec") else { return };
    let mut is_shallow = true;
    for field in ["settings", "settingsSchema"] {
        if let Some(node) = spec.get(field) {
            is_shallow &= depth(desk, &format!("spec.{field}"), node, 1);
        }
    }
    if is_shallow {
        check_settings(spec, plugin, desk);
    }
}

/// Refuses the first value that is nested deeper than whoever reads the object can follow.
fn depth(desk: &mut Desk, path: &str, node: &Node, level: usize) -> bool {
    if matches!(node.content, Content::List(_) | Content::Map(_)) && level > MAX_DEPTH {
        let advice = Some(String::from("nest it less deep"));
        desk.error(
            path,
            &node.mark(),
            format!("this is deeper than {MAX_DEPTH} levels"),
            advice,
        );
        return false;
    }
    match &node.content {
        Content::Map(entries) => entries
            .iter()
            .all(|(key, value)| depth(desk, &below(path, &key.name), value, level + 1)),
        Content::List(items) => items
            .iter()
            .enumerate()
            .all(|(index, item)| depth(desk, &format!("{path}[{index}]"), item, level + 1)),
        _ => true,
    }
}

fn check_settings(spec: &Node, plugin: &KitePlugin, desk: &mut Desk) {
    let (schema, given) = (&plugin.spec.settings_schema, &plugin.spec.settings);
    let secret = match plugin.spec.settings_secret_ref {
        Some(_) => FromSecret::Unknown,
        None => FromSecret::Nothing,
    };
    let Err(error) = settings::effective(schema.as_ref(), given.as_ref(), secret) else {
        return;
    };
    let key = |field: &str| spec.entry(field).map(|(key, _)| key.span.clone());
    let text = error.to_string();
    let text = ["spec.settings ", "spec.settingsSchema "]
        .iter()
        .find_map(|field| text.strip_prefix(field))
        .unwrap_or(&text)
        .to_owned();
    let of_schema = key("settingsSchema").unwrap_or_default();
    match error {
        SettingsError::Violation(violations) => {
            for violation in violations {
                violated(spec, &violation, desk);
            }
        }
        SettingsError::Long(_) | SettingsError::Whole | SettingsError::Secret(_) | SettingsError::Json(_) => {
            let advice = Some(String::from("keep large texts elsewhere"));
            desk.error("spec.settings", &key("settings").unwrap_or(of_schema), text, advice);
        }
        SettingsError::Bounds(_) | SettingsError::Schema(_) => {
            let advice = Some(String::from(
                "write a JSON Schema (2020-12), such as {type: object, properties: {…}}",
            ));
            desk.error("spec.settingsSchema", &of_schema, text, advice);
        }
    }
}

/// Tells a violation, which begins with a JSON pointer to its place in the settings.
fn violated(spec: &Node, violation: &str, desk: &mut Desk) {
    let (pointer, message) = violation.split_once(": ").unwrap_or(("", violation));
    let start = spec.entry("settings").or_else(|| spec.entry("settingsSchema"));
    let Some((key, value)) = start else { return };
    let (mut path, mut mark, mut node) = (String::from("spec.settings"), key.span.clone(), value);
    if key.name == "settings" {
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            if let Some((_, value)) = node.entry(&token) {
                path = below(&path, &token);
                (mark, node) = (value.mark(), value);
            } else if let Some(item) = token.parse().ok().and_then(|index: usize| node.items().get(index)) {
                path = format!("{path}[{token}]");
                (mark, node) = (item.mark(), item);
            }
        }
    }
    let advice = Some(String::from("write what spec.settingsSchema says, or change that"));
    desk.error(&path, &mark, message.to_owned(), advice);
}

/// Checks what the policies refuse to everybody.
pub(super) fn check_boundary(document: &Node, plugin: &KitePlugin, places: Places<'_>, desk: &mut Desk) {
    let permissions = document.get("spec").and_then(|spec| spec.get("permissions"));
    let items = permissions.map_or(&[][..], Node::items);
    for (index, (permission, item)) in plugin.spec.permissions.iter().zip(items).enumerate() {
        let Some(refusal) = boundary::refusal(permission, places) else {
            continue;
        };
        let path = format!("spec.permissions[{index}]");
        let advice = match &refusal {
            Refusal::System(_) => "grant nothing there",
            Refusal::Opens(_) | Refusal::Writes(_) => {
                "name in `namespaces` those that are meant; without them it is the plugins' own namespace"
            }
            _ => "write another permission",
        };
        desk.error(
            &path,
            &item.mark(),
            format!("nobody may grant this: {refusal}"),
            Some(advice.to_owned()),
        );
    }
}

/// What of a permission is dangerous, in words.
pub(super) fn dangers(plugin: &KitePlugin, index: usize, plugins_namespace: &str) -> Vec<Statement> {
    let mut spec = kite_api::KitePluginSpec::default();
    spec.permissions.extend(plugin.spec.permissions.get(index).cloned());
    let rights = rights::summary(&spec, plugins_namespace).rights;
    rights.into_iter().filter(|right| right.dangerous.is_some()).collect()
}
