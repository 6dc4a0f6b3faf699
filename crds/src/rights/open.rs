//! What of a plugin lends its rights: routes, tools and resource types that ask of their callers no rights of their own.

use std::collections::BTreeSet;

use super::{rule, words};
use crate::{
    path_pattern,
    plugin::{
        KitePluginSpec, Verb,
        access::{ResourceType, Route, RouteRequirement, Tool, ToolRequirement, TypeRequirement},
    },
};

const WHO: &str = "any caller who may use the plugin";

/// An entry of one of the lists by which an object asks rights of callers.
trait Door: Sized + 'static {
    type Requirement: PartialEq + 'static;
    const NOUN: &'static str;

    fn all(spec: &KitePluginSpec) -> &[Self];
    fn name(&self) -> &str;
    fn requires(&self) -> &[Self::Requirement];
    /// The right that a requirement is about. No verb: that of the request.
    fn right(requirement: &Self::Requirement) -> (Option<&String>, &str, Option<Verb>);

    /// The entry that counts for what has this name.
    fn counting<'a>(spec: &'a KitePluginSpec, name: &str) -> Option<&'a Self> {
        Self::all(spec).iter().find(|door| door.name() == name)
    }
}

/// What any caller can use of the plugin with rights that need not be the caller's. Of a plugin that has none, nothing.
pub(super) fn all(spec: &KitePluginSpec) -> Vec<String> {
    if !has_rights(spec) {
        return Vec::new();
    }
    let named = [
        lent::<Route>("can", &unguarded::<Route>(spec)),
        lent::<Tool>("can", &unguarded::<Tool>(spec)),
        lent::<ResourceType>("can", &unguarded::<ResourceType>(spec)),
    ];
    named.into_iter().flatten().chain([unnamed(spec)]).collect()
}

/// What of that is new.
pub(super) fn opened(old: &KitePluginSpec, new: &KitePluginSpec) -> Vec<String> {
    if !has_rights(new) {
        return Vec::new();
    }
    if !has_rights(old) {
        return all(new);
    }
    [
        weakened::<Route>(old, new),
        weakened::<Tool>(old, new),
        weakened::<ResourceType>(old, new),
    ]
    .concat()
}

fn has_rights(spec: &KitePluginSpec) -> bool {
    !rule::of(spec, "").is_empty()
}

fn unguarded<D: Door>(spec: &KitePluginSpec) -> Vec<&str> {
    let doors = D::all(spec).iter().filter(|door| door.requires().is_empty());
    doors.map(D::name).collect()
}

/// Those that now require nothing, and those that require less.
fn weakened<D: Door>(old: &KitePluginSpec, new: &KitePluginSpec) -> Vec<String> {
    let is_in = |spec: &KitePluginSpec, name: &str| D::all(spec).iter().any(|door| door.name() == name);
    let names: BTreeSet<&str> = D::all(old).iter().chain(D::all(new)).map(D::name).collect();
    let (mut free, mut weaker) = (Vec::new(), Vec::new());
    for name in names {
        let before = D::counting(old, name).map_or(&[][..], D::requires);
        let after = D::counting(new, name).map_or(&[][..], D::requires);
        let lost: Vec<&D::Requirement> = before
            .iter()
            .filter(|requirement| !after.contains(requirement))
            .collect();
        if after.is_empty() && (!before.is_empty() || (is_in(new, name) && !is_in(old, name))) {
            free.push(name);
        } else if !lost.is_empty() {
            let rights = lost.iter().map(|requirement| right_words::<D>(requirement));
            let rights = words::list(rights, lost.len() as u64);
            weaker.push(format!(
                "the {} {} no longer asks of its callers, as it did, to be allowed to {rights}",
                D::NOUN,
                words::plain(name),
            ));
        }
    }
    lent::<D>("can now", &free).into_iter().chain(weaker).collect()
}

fn lent<D: Door>(can: &str, names: &[&str]) -> Option<String> {
    let nouns = words::noun(D::NOUN, names.len());
    let list = words::list(names.iter().map(|name| words::plain(name)), names.len() as u64);
    (!names.is_empty()).then(|| format!("{WHO} {can} use the {nouns} {list} with the plugin's rights"))
}

/// What the lists do not name: a plugin may serve more than they do.
fn unnamed(spec: &KitePluginSpec) -> String {
    let is_whole = spec.routes.iter().any(|route| path_pattern::covers(&route.path, "/**"));
    let kinds = if is_whole {
        "tool and resource type"
    } else {
        "path, tool and resource type"
    };
    format!("{WHO} can use every {kinds} that the object asks no rights for, with the plugin's rights")
}

fn right_words<D: Door>(requirement: &D::Requirement) -> String {
    let (group, resource, verb) = D::right(requirement);
    let kind = words::kind(group.map_or("", String::as_str), resource);
    match verb {
        Some(verb) => format!("{} {kind}", verb.as_str()),
        None => format!("do the same with {kind}"),
    }
}

impl Door for Route {
    type Requirement = RouteRequirement;
    const NOUN: &'static str = "route";

    fn all(spec: &KitePluginSpec) -> &[Self] {
        &spec.routes
    }

    fn name(&self) -> &str {
        &self.path
    }

    fn requires(&self) -> &[RouteRequirement] {
        &self.requires
    }

    fn right(requirement: &RouteRequirement) -> (Option<&String>, &str, Option<Verb>) {
        (requirement.group.as_ref(), &requirement.resource, requirement.verb)
    }

    fn counting<'a>(spec: &'a KitePluginSpec, path: &str) -> Option<&'a Self> {
        path_pattern::most_specific(&spec.routes, |route| &route.path, path)
    }
}

impl Door for Tool {
    type Requirement = ToolRequirement;
    const NOUN: &'static str = "tool";

    fn all(spec: &KitePluginSpec) -> &[Self] {
        &spec.tools
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn requires(&self) -> &[ToolRequirement] {
        &self.requires
    }

    fn right(requirement: &ToolRequirement) -> (Option<&String>, &str, Option<Verb>) {
        (
            requirement.group.as_ref(),
            &requirement.resource,
            Some(requirement.verb),
        )
    }
}

impl Door for ResourceType {
    type Requirement = TypeRequirement;
    const NOUN: &'static str = "resource type";

    fn all(spec: &KitePluginSpec) -> &[Self] {
        &spec.resource_types
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn requires(&self) -> &[TypeRequirement] {
        &self.requires
    }

    fn right(requirement: &TypeRequirement) -> (Option<&String>, &str, Option<Verb>) {
        (requirement.group.as_ref(), &requirement.resource, requirement.verb)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures, *};

    /// A plugin with a right to lend.
    fn plugin() -> KitePluginSpec {
        fixtures::plugin().may(&["list"], &["pods"])
    }

    const UNNAMED: &str = "any caller who may use the plugin can use every path, tool and resource type that the object asks no rights for, with the plugin's rights";

    #[test]
    fn what_requires_nothing_is_open() {
        let spec = plugin()
            .with_route("/costs/**", &[])
            .with_route("/a", &[])
            .with_route("/guarded", &["pods"])
            .with_tool("get_cost", &[])
            .with_type("reports", &[])
            .with_type("guarded", &["pods"]);
        assert_eq!(
            all(&spec),
            [
                "any caller who may use the plugin can use the routes /costs/** and /a with the plugin's rights",
                "any caller who may use the plugin can use the tool get_cost with the plugin's rights",
                "any caller who may use the plugin can use the resource type reports with the plugin's rights",
                UNNAMED,
            ]
        );
    }

    #[test]
    fn a_route_for_all_paths_leaves_no_path_unnamed() {
        assert_eq!(
            all(&plugin().with_route("/**", &["pods"])),
            [
                "any caller who may use the plugin can use every tool and resource type that the object asks no rights for, with the plugin's rights"
            ]
        );
    }

    #[test]
    fn a_plugin_without_rights_lends_none() {
        let spec = fixtures::plugin().with_route("/a", &[]);
        assert_eq!(all(&spec), [""; 0]);
        assert_eq!(opened(&plugin(), &spec), [""; 0]);
    }

    #[test]
    fn with_its_first_right_all_that_is_open_is_news() {
        let old = fixtures::plugin().with_route("/a", &[]);
        let new = plugin().with_route("/a", &[]);
        assert_eq!(opened(&old, &new), all(&new));
        assert_eq!(opened(&new, &new), [""; 0]);
    }

    #[test]
    fn requirements_that_are_dropped_are_told() {
        let old = plugin()
            .with_route("/a", &["pods"])
            .with_tool("get_cost", &["pods", "nodes"])
            .with_type("reports", &["pods"]);
        let new = plugin().with_route("/a", &[]).with_type("reports", &[]);
        assert_eq!(
            opened(&old, &new),
            [
                "any caller who may use the plugin can now use the route /a with the plugin's rights",
                "any caller who may use the plugin can now use the tool get_cost with the plugin's rights",
                "any caller who may use the plugin can now use the resource type reports with the plugin's rights",
            ]
        );
        assert_eq!(opened(&new, &old), [""; 0]);
    }

    #[test]
    fn requirements_that_are_weaker_are_told() {
        let old = plugin()
            .with_route("/a", &["pods"])
            .with_tool("get_cost", &["pods", "nodes"]);
        let new = plugin()
            .with_route("/a", &["configmaps"])
            .with_tool("get_cost", &["pods"]);
        assert_eq!(
            opened(&old, &new),
            [
                "the route /a no longer asks of its callers, as it did, to be allowed to do the same with pods",
                "the tool get_cost no longer asks of its callers, as it did, to be allowed to list nodes",
            ]
        );
        let stricter = plugin()
            .with_route("/a", &["pods"])
            .with_tool("get_cost", &["pods", "nodes", "secrets"]);
        assert_eq!(opened(&old, &stricter), [""; 0]);
    }

    #[test]
    fn a_requirement_that_looks_elsewhere_for_the_namespace_is_weaker() {
        let old = plugin().with_tool("get_cost", &["pods"]);
        let mut new = old.clone();
        new.tools[0].requires[0].namespace = None;
        assert_eq!(
            opened(&old, &new),
            ["the tool get_cost no longer asks of its callers, as it did, to be allowed to list pods"]
        );
    }

    #[test]
    fn a_new_entry_that_requires_nothing_is_told() {
        assert_eq!(
            opened(&plugin(), &plugin().with_tool("delete_all", &[])),
            ["any caller who may use the plugin can now use the tool delete_all with the plugin's rights"]
        );
        assert_eq!(opened(&plugin(), &plugin().with_tool("delete_all", &["pods"])), [""; 0]);
    }

    #[test]
    fn a_route_is_compared_with_the_one_that_counted_for_its_path() {
        let old = plugin()
            .with_route("/**", &["nodes"])
            .with_route("/costs/**", &["pods"]);
        let with = |path, requires| old.clone().with_route(path, requires);
        assert_eq!(
            opened(&old, &with("/costs/public", &[])),
            ["any caller who may use the plugin can now use the route /costs/public with the plugin's rights"]
        );
        assert_eq!(
            opened(&old, &with("/costs/other", &["nodes"])),
            ["the route /costs/other no longer asks of its callers, as it did, to be allowed to do the same with pods"]
        );
        assert_eq!(opened(&old, &with("/costs/same", &["pods"])), [""; 0]);
        assert_eq!(
            opened(&with("/costs/strict", &["pods", "secrets"]), &old),
            [
                "the route /costs/strict no longer asks of its callers, as it did, to be allowed to do the same with secrets"
            ]
        );
    }
}
