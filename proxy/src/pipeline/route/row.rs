//! What the table of routes says of one: where it is, which methods it takes, what is asked of whoever comes, and what it is for.

use http::Method;
use kite_api::{Verb, name::RESERVED};
use schemars::{Schema, SchemaGenerator};

use super::{Route, table::OPEN};
use crate::pipeline::authorize::Part;

/// First segments below a plugin's root that the gateway keeps for itself.
const RESERVED_BELOW_PLUGIN: [&str; 2] = ["static", "resources"];

/// One route. Its callers are asked who they are, but for what [`OPEN`] lists.
#[derive(Debug)]
pub struct Row {
    /// Where it is: first the path to use, then those that older clients know.
    pub paths: &'static [Path],
    /// The route, of the names in the path: of a tool, or of a plugin and the path below its root.
    pub(super) make: for<'a> fn(&'a str, &'a str) -> Route<'a>,
    /// The right that a caller must have.
    pub right: Needed,
    /// All of its methods, as the field `Allow` has them.
    pub allow: &'static str,
    pub operations: &'static [Operation],
}

/// What a caller is asked for beside who they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Needed {
    /// Nothing: the answer shows what the caller may see.
    Nothing,
    /// A right on the plugin that the path names, with the verb of the method.
    OfPlugin(Part),
    /// The verb `get` on the URL itself.
    OfUrl,
}

/// A path: what stands there, and what follows.
#[derive(Debug)]
pub struct Path {
    pub literal: &'static str,
    pub tail: Tail,
}

/// What follows the literal part of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tail {
    Nothing,
    /// A tool's whole name: one segment.
    Tool,
    /// A plugin's name, and any path below its root.
    Plugin,
}

/// Methods that are answered alike.
#[derive(Debug)]
pub struct Operation {
    /// Each with the verb that a caller must have.
    pub methods: &'static [(Method, Verb)],
    pub about: About,
}

/// What an operation is for.
#[derive(Debug)]
pub struct About {
    /// Its name in programs; the method stands before it where there are several.
    pub id: &'static str,
    pub summary: &'static str,
    pub description: &'static str,
    pub query: &'static [Query],
    /// What a request must have as its body.
    pub body: Content,
    /// What is answered when all is well.
    pub answers: &'static [Answer],
    /// Last parts of the types of problems that are answered, beside those that every operation of its kind has.
    pub problems: &'static [&'static str],
}

/// A parameter of the query, which may be left out.
#[derive(Debug)]
pub struct Query {
    pub name: &'static str,
    pub description: &'static str,
    /// What its values look like, as a regular expression.
    pub pattern: &'static str,
    pub example: &'static str,
}

/// One way in which all is well.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub description: &'static str,
    pub content: Content,
}

/// The schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a body is.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    Nothing,
    /// JSON of this schema, and an example of it.
    Json(SchemaOf, &'static str),
    /// JSON of this schema; a stream of server-sent events for those who accept it.
    JsonOrEvents(SchemaOf),
    /// Text of this media type.
    Text(&'static str),
    /// Whatever a plugin makes of it.
    Any,
}

impl Row {
    /// The route that `path` is, if it is this one.
    pub(super) fn route<'a>(&self, path: &'a str) -> Option<Route<'a>> {
        let (first, rest) = self.paths.iter().find_map(|of| of.names(path))?;
        Some((self.make)(first, rest))
    }

    /// What of the plugin that its path names a caller must have a right on, if it names one.
    pub fn part(&self) -> Option<Part> {
        match self.right {
            Needed::OfPlugin(part) => Some(part),
            Needed::Nothing | Needed::OfUrl => None,
        }
    }

    /// The methods, each with the verb that a caller must have.
    pub fn methods(&self) -> impl Iterator<Item = &'static (Method, Verb)> + Clone {
        self.operations.iter().flat_map(|operation| operation.methods)
    }

    /// The verb that the method needs, or the methods that the route takes.
    pub fn verb(&self, method: &Method) -> Result<Verb, &'static str> {
        let mut methods = self.methods();
        let verb = methods.find_map(|(taken, verb)| (taken == method).then_some(*verb));
        verb.ok_or(self.allow)
    }

    /// Whether nobody is asked who they are. A method that the route does not take is open where all others are, so that it is
    /// told which those are.
    pub fn is_open(&self, method: &Method) -> bool {
        let is_here = |path: &str| {
            self.paths
                .iter()
                .any(|here| here.literal == path && here.tail == Tail::Nothing)
        };
        let Some((_, open)) = OPEN.iter().find(|(path, _)| is_here(path)) else {
            return false;
        };
        open.contains(method) || (self.verb(method).is_err() && self.methods().all(|(taken, _)| open.contains(taken)))
    }
}

impl Path {
    /// The names in `path`, if it is one of these.
    fn names<'a>(&self, path: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = path.strip_prefix(self.literal)?;
        match self.tail {
            Tail::Nothing => rest.is_empty().then_some(("", "")),
            Tail::Tool => (!rest.is_empty() && !rest.contains('/')).then_some((rest, "")),
            Tail::Plugin => {
                let (name, below) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
                let first = below.split('/').nth(1).unwrap_or_default();
                let is_kept = RESERVED.contains(&name) || RESERVED_BELOW_PLUGIN.contains(&first);
                (!name.is_empty() && !is_kept).then_some((name, below))
            }
        }
    }

    /// The path with names for what follows: of a tool, or of a plugin with a path below its root.
    pub fn filled(&self, tool: &str, plugin: &str, below: &str) -> String {
        let literal = self.literal;
        match self.tail {
            Tail::Nothing => literal.to_owned(),
            Tail::Tool => format!("{literal}{tool}"),
            Tail::Plugin => format!("{literal}{plugin}/{below}"),
        }
    }
}
