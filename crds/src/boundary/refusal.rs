//! What the API server refuses of a grant, without asking it: an object may be older than the schema and the policies, or made
//! while they were gone, and nobody may gain by that.

use std::sync::LazyLock;

use regex::Regex;

use super::{
    Places,
    grants::{OPENS, READ_ONLY, READ_ONLY_GROUPS},
};
use crate::{
    dangerous,
    plugin::{
        KitePluginSpec, Permission, Verb,
        shapes::{
            GROUP_OR_ALL, MOST_IN_LIST, MOST_NAMESPACES, MOST_PERMISSIONS, NAMESPACE_OR_ALL, OBJECT, RESOURCE_OR_ALL,
        },
    },
};

/// Most characters of a text that a message repeats.
const SHOWN: usize = 80;

/// Why a permission is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("a grant has at most {MOST_PERMISSIONS} permissions")]
    TooMany,
    #[error("{0} has no entry")]
    Empty(&'static str),
    #[error("{field} has more than {most} entries")]
    Long { field: &'static str, most: usize },
    #[error("{field} has {text:?}, which cannot stand there")]
    Text { field: &'static str, text: String },
    #[error("in {0} \"*\" stands beside others")]
    WildcardBeside(&'static str),
    #[error("it has \"*\" without allowWildcards: true")]
    Wildcard,
    #[error("it opens {0}, without acknowledgeDangerous: true")]
    Dangerous(&'static str),
    #[error("it names the namespace {0}, where the system keeps its own keys")]
    System(String),
    #[error("in {0} it opens Secrets or pods of other plugins")]
    Opens(String),
    #[error("in {0} it writes what runs there, which gives the rights of other plugins")]
    Writes(String),
}

/// A permission that is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("spec.permissions[{index}]: {why}")]
pub struct Refused {
    /// Its place in the list.
    pub index: usize,
    pub why: Refusal,
}

/// A list of texts in a permission.
struct List<'a> {
    field: &'static str,
    texts: &'a [String],
    most: usize,
    /// Most characters of a text.
    length: usize,
    shape: &'a Regex,
}

/// The shapes of texts in a permission, as the schema has them.
struct Shapes {
    group: Regex,
    resource: Regex,
    object: Regex,
    namespace: Regex,
}

#[expect(clippy::expect_used, reason = "these are constants, and a test uses each of them")]
static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    let shape = |text| Regex::new(text).expect("a regular expression");
    Shapes {
        group: shape(GROUP_OR_ALL),
        resource: shape(RESOURCE_OR_ALL),
        object: shape(OBJECT),
        namespace: shape(NAMESPACE_OR_ALL),
    }
});

/// The object with those of its permissions that the rules accept, and the others.
pub fn accepted(spec: &KitePluginSpec, places: Places<'_>) -> (KitePluginSpec, Vec<Refused>) {
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for (index, permission) in spec.permissions.iter().enumerate() {
        let why = if index < MOST_PERMISSIONS {
            refusal(permission, places)
        } else {
            Some(Refusal::TooMany)
        };
        match why {
            Some(why) => refused.push(Refused { index, why }),
            None => accepted.push(permission.clone()),
        }
    }
    let spec = KitePluginSpec {
        permissions: accepted,
        ..spec.clone()
    };
    (spec, refused)
}

/// The first reason for which the API server refuses the permission, if there is one.
pub fn refusal(permission: &Permission, places: Places<'_>) -> Option<Refusal> {
    let lists = lists(permission);
    // Bounds first, so that the rest is bounded too.
    bounds(permission, &lists)
        .or_else(|| lists.iter().find_map(texts))
        .or_else(|| wildcards(permission, &lists))
        .or_else(|| danger(permission))
        .or_else(|| of_the_systems(permission, places))
}

fn lists(permission: &Permission) -> Vec<List<'_>> {
    let list = |field, texts, most, length, shape| List {
        field,
        texts,
        most,
        length,
        shape,
    };
    let mut lists = vec![
        list(
            "apiGroups",
            permission.api_groups.as_slice(),
            MOST_IN_LIST,
            253,
            &SHAPES.group,
        ),
        list("resources", &permission.resources, MOST_IN_LIST, 127, &SHAPES.resource),
    ];
    if let Some(names) = &permission.resource_names {
        lists.push(list("resourceNames", names, MOST_IN_LIST, 253, &SHAPES.object));
    }
    if let Some(namespaces) = &permission.namespaces {
        lists.push(list("namespaces", namespaces, MOST_NAMESPACES, 63, &SHAPES.namespace));
    }
    lists
}

fn bounds(permission: &Permission, lists: &[List<'_>]) -> Option<Refusal> {
    let verbs = ("verbs", permission.verbs.len(), MOST_IN_LIST);
    let lengths = lists.iter().map(|list| (list.field, list.texts.len(), list.most));
    lengths.chain([verbs]).find_map(|(field, length, most)| match length {
        0 => Some(Refusal::Empty(field)),
        length if length > most => Some(Refusal::Long { field, most }),
        _ => None,
    })
}

fn texts(list: &List<'_>) -> Option<Refusal> {
    let is_wrong = |text: &&String| text.len() > list.length || !list.shape.is_match(text);
    list.texts.iter().find(is_wrong).map(|text| Refusal::Text {
        field: list.field,
        text: text.chars().take(SHOWN).collect(),
    })
}

fn wildcards(permission: &Permission, lists: &[List<'_>]) -> Option<Refusal> {
    let is_beside = |list: &&List<'_>| list.texts.len() > 1 && list.texts.iter().any(|text| text == "*");
    if let Some(list) = lists.iter().find(is_beside) {
        return Some(Refusal::WildcardBeside(list.field));
    }
    if permission.verbs.len() > 1 && permission.verbs.contains(&Verb::All) {
        return Some(Refusal::WildcardBeside("verbs"));
    }
    let is_wild = has(&permission.api_groups, &["*"])
        || has(&permission.resources, &["*"])
        || permission.verbs.contains(&Verb::All);
    (is_wild && permission.allow_wildcards != Some(true)).then_some(Refusal::Wildcard)
}

fn danger(permission: &Permission) -> Option<Refusal> {
    if permission.acknowledge_dangerous == Some(true) {
        return None;
    }
    let kinds = permission
        .api_groups
        .iter()
        .flat_map(|group| permission.resources.iter().map(move |resource| (group, resource)));
    kinds
        .flat_map(|kind| permission.verbs.iter().map(move |verb| (kind, *verb)))
        .find_map(|((group, resource), verb)| dangerous::opens(group, resource, verb))
        .map(Refusal::Dangerous)
}

/// What `kite-grants` refuses.
fn of_the_systems(permission: &Permission, places: Places<'_>) -> Option<Refusal> {
    let names = |place: &str| permission.namespaces.iter().flatten().any(|name| name == place);
    if names(places.system) {
        return Some(Refusal::System(places.system.to_owned()));
    }
    if permission.namespaces.is_some() && !names(places.plugins) {
        return None;
    }
    let reads = |verb: &Verb| matches!(verb, Verb::Get | Verb::List | Verb::Watch);
    if has(&permission.resources, &OPENS) && has(&permission.api_groups, &["", "*"]) {
        return Some(Refusal::Opens(places.plugins.to_owned()));
    }
    let runs = has(&permission.resources, &READ_ONLY) && has(&permission.api_groups, &READ_ONLY_GROUPS);
    (runs && !permission.verbs.iter().all(reads)).then(|| Refusal::Writes(places.plugins.to_owned()))
}

fn has(texts: &[String], some: &[&str]) -> bool {
    texts.iter().any(|text| some.contains(&text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places<'_> = Places {
        plugins: "kite-plugins",
        system: "kite-system",
    };

    fn permission(change: impl FnOnce(&mut Permission)) -> Permission {
        let texts = |text: &str| vec![text.to_owned()];
        let mut permission = Permission {
            api_groups: texts(""),
            resources: texts("pods"),
            verbs: vec![Verb::Get],
            ..Permission::default()
        };
        change(&mut permission);
        permission
    }

    fn texts(some: &[&str]) -> Vec<String> {
        some.iter().map(|text| (*text).to_owned()).collect()
    }

    macro_rules! refused {
        ($($spoil:expr => $why:pat,)*) => {$(
            let why = refusal(&permission($spoil), PLACES);
            assert!(matches!(why, Some($why)), "{why:?}");
        )*};
    }

    #[test]
    fn what_the_schema_refuses_is_refused() {
        refused! {
            |p| p.verbs.clear() => Refusal::Empty("verbs"),
            |p| p.resource_names = Some(Vec::new()) => Refusal::Empty("resourceNames"),
            |p| p.namespaces = Some(Vec::new()) => Refusal::Empty("namespaces"),
            |p| p.resources = vec![String::from("a"); 17] => Refusal::Long { field: "resources", most: 16 },
            |p| p.namespaces = Some(vec![String::from("a"); 33]) => Refusal::Long { field: "namespaces", .. },
            |p| p.api_groups = texts(&["Apps"]) => Refusal::Text { field: "apiGroups", .. },
            |p| p.resources = texts(&["pods/*"]) => Refusal::Text { field: "resources", .. },
            |p| p.resources = texts(&["*/scale"]) => Refusal::Text { field: "resources", .. },
            |p| p.resource_names = Some(texts(&["a,b"])) => Refusal::Text { field: "resourceNames", .. },
            |p| p.namespaces = Some(texts(&["../a"])) => Refusal::Text { field: "namespaces", .. },
            |p| p.namespaces = Some(texts(&["a", "*"])) => Refusal::WildcardBeside("namespaces"),
            |p| p.verbs = vec![Verb::All, Verb::Get] => Refusal::WildcardBeside("verbs"),
            |p| p.api_groups = texts(&["*"]) => Refusal::Wildcard,
        }
    }

    #[test]
    fn what_opens_other_rights_is_refused() {
        refused! {
            |p| { p.verbs = vec![Verb::All]; p.allow_wildcards = Some(true); } => Refusal::Dangerous(_),
            |p| p.resources = texts(&["secrets"]) => Refusal::Dangerous("credentials"),
            |p| p.namespaces = Some(texts(&["shop", "kite-system"])) => Refusal::System(_),
            |p| { p.resources = texts(&["pods", "secrets"]); p.acknowledge_dangerous = Some(true); } => Refusal::Opens(_),
            |p| {
                p.resources = texts(&["services"]);
                p.verbs = vec![Verb::Get, Verb::Patch];
                p.namespaces = Some(texts(&["shop", "kite-plugins"]));
            } => Refusal::Writes(_),
        }
    }

    #[test]
    fn its_honest_neighbours_are_accepted() {
        let accepted: [fn(&mut Permission); 6] = [
            |_| {},
            |p| p.namespaces = Some(texts(&["*"])),
            |p| {
                p.resources = texts(&["services"]);
                p.verbs = vec![Verb::Patch];
                p.namespaces = Some(texts(&["shop"]));
            },
            |p| {
                p.resources = texts(&["secrets"]);
                p.namespaces = Some(texts(&["shop"]));
                p.acknowledge_dangerous = Some(true);
            },
            |p| {
                p.resources = texts(&["configmaps"]);
                p.verbs = vec![Verb::Create];
                p.resource_names = Some(texts(&["system:a"]));
            },
            |p| {
                p.api_groups = texts(&["example.com"]);
                p.resources = texts(&["secrets"]);
            },
        ];
        for change in accepted {
            let permission = permission(change);
            assert_eq!(refusal(&permission, PLACES), None, "{permission:?}");
        }
    }

    #[test]
    fn what_is_refused_is_taken_out_and_named_by_its_place() {
        let many = KitePluginSpec {
            permissions: (0..34)
                .map(|index| {
                    permission(|p| p.namespaces = Some(texts(&[if index == 1 { "kite-system" } else { "shop" }])))
                })
                .collect(),
            ..KitePluginSpec::default()
        };
        let (spec, refused) = accepted(&many, PLACES);
        assert_eq!(spec.permissions.len(), 31);
        let said: Vec<String> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "spec.permissions[1]: it names the namespace kite-system, where the system keeps its own keys",
                "spec.permissions[32]: a grant has at most 32 permissions",
                "spec.permissions[33]: a grant has at most 32 permissions",
            ]
        );
    }
}
