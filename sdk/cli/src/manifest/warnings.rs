//! What a document may have, and what may not do what its author means.

use std::ops::Range;

use kite_api::{
    KitePlugin, KitePluginSpec,
    effect::{self, WithoutEffect},
};

use super::{
    beyond,
    complaint::{Desk, shown},
    node::Node,
};

/// Adds the warnings about a document that is accepted.
pub(super) fn check(document: &Node, plugin: &KitePlugin, plugins_namespace: &str, desk: &mut Desk) {
    let Some(spec) = document.get("spec") else { return };
    image(spec, &plugin.spec, desk);
    without_effect(spec, &plugin.spec, desk);
    dangerous(spec, plugin, plugins_namespace, desk);
    for (field, noun) in [
        ("routes", "route"),
        ("tools", "tool"),
        ("resourceTypes", "resource type"),
    ] {
        doors(spec, &plugin.spec, field, noun, desk);
    }
}

/// An image that is not the same tomorrow.
fn image(spec: &Node, of: &KitePluginSpec, desk: &mut Desk) {
    let Some(node) = spec.get("image") else { return };
    let last = of.image.rsplit('/').next().unwrap_or_default();
    if of.image.contains('@') {
        return;
    }
    let message = match last.split_once(':') {
        None => "the image has neither a tag nor a digest, so that it is `latest`, whatever that is when it is pulled",
        Some((_, "latest")) => "`latest` is whatever it is when the image is pulled",
        Some(_) => return,
    };
    let advice = "name the version's tag, or let `kite-plugin package` write the digest";
    desk.warning("spec.image", &node.mark(), message.to_owned(), Some(advice.to_owned()));
}

fn without_effect(spec: &Node, of: &KitePluginSpec, desk: &mut Desk) {
    let WithoutEffect {
        not_yet_built,
        unknown_slots,
    } = effect::without_effect(of);
    for field in not_yet_built {
        let Some((key, _)) = spec.entry(field) else { continue };
        desk.warning(
            &format!("spec.{field}"),
            &key.span,
            String::from("this version of Kite Plugins does not act on it yet"),
            Some(String::from(
                "leave it if the plugin does without, and do not rely on it",
            )),
        );
    }
    let injections = spec.get("frontend").and_then(|frontend| frontend.get("injections"));
    for (index, injection) in injections.map_or(&[][..], Node::items).iter().enumerate() {
        let Some(slot) = injection.get("slot") else { continue };
        let name = slot.text().unwrap_or_default();
        if unknown_slots.iter().any(|unknown| unknown == name) {
            desk.warning(
                &format!("spec.frontend.injections[{index}].slot"),
                &slot.mark(),
                format!("the dashboard has no slot `{}`", shown(name)),
                Some(format!("write one of {}", kite_api::plugin::frontend::SLOTS.join(", "))),
            );
        }
    }
}

fn dangerous(spec: &Node, plugin: &KitePlugin, plugins_namespace: &str, desk: &mut Desk) {
    let permissions = spec.get("permissions").map_or(&[][..], Node::items);
    for (index, permission) in permissions.iter().enumerate() {
        for danger in beyond::dangers(plugin, index, plugins_namespace) {
            let opens = danger.dangerous.unwrap_or_default();
            desk.warning(
                &format!("spec.permissions[{index}]"),
                &permission.mark(),
                format!("to {} opens {opens}", danger.text),
                Some(String::from("grant less, if the plugin can do with less")),
            );
        }
    }
}

/// Routes, tools or types that ask nothing of their callers, or what the plugin itself may not do.
fn doors(spec: &Node, of: &KitePluginSpec, field: &str, noun: &str, desk: &mut Desk) {
    let has_rights = !of.permissions.is_empty() || !of.calls.is_empty();
    for (index, door) in spec.get(field).map_or(&[][..], Node::items).iter().enumerate() {
        let path = format!("spec.{field}[{index}]");
        let requires = door.get("requires").map_or(&[][..], Node::items);
        if requires.is_empty() && has_rights {
            let name = door.get("path").or_else(|| door.get("name"));
            let mark: Range<usize> = name.map_or(door.mark(), Node::mark);
            desk.warning(
                &path,
                &mark,
                format!("any caller who may use the plugin can use this {noun} with the plugin's rights"),
                Some(String::from(
                    "say what a caller must hold: requires: [{resource: pods, verb: list}]",
                )),
            );
        }
        for (number, requirement) in requires.iter().enumerate() {
            if !is_granted(of, requirement) {
                desk.warning(
                    &format!("{path}.requires[{number}]"),
                    &requirement.mark(),
                    format!("the plugin itself is not granted this, so that nobody can use the {noun}"),
                    Some(String::from("grant it in spec.permissions")),
                );
            }
        }
    }
}

/// Whether some permission has what a requirement is about; where the verb is the request's own, with any verb.
fn is_granted(spec: &KitePluginSpec, requirement: &Node) -> bool {
    let text = |field: &str| requirement.get(field).and_then(Node::text);
    let (group, resource) = (text("group").unwrap_or_default(), text("resource").unwrap_or_default());
    let has = |list: &[String], one: &str| list.iter().any(|it| it == "*" || it == one);
    spec.permissions.iter().any(|permission| {
        let has_verb =
            text("verb").is_none_or(|verb| permission.verbs.iter().any(|it| ["*", verb].contains(&it.as_str())));
        has(&permission.api_groups, group) && has(&permission.resources, resource) && has_verb
    })
}
