//! The shapes of texts, numbers and lists in the CRD's schema: each with its bound, its rule and the sentence that says what to
//! write instead.
//!
//! The rules are in CEL and not in the schema's own `pattern`, which the API server tells whoever applies an object as a regular
//! expression of hundreds of characters.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::requirement::{MAX_REQUIREMENT, REQUIREMENT_PATTERN};

/// Semantic Versioning 2.0.0's own expression (<https://semver.org>), without its capture groups, and with numbers of at
/// most 19 digits, which fit into 64 bits.
const VERSION: &str = r"^(0|[1-9]\d{0,18})\.(0|[1-9]\d{0,18})\.(0|[1-9]\d{0,18})(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$";
/// An image by tag or digest, as the grammar of the distribution project's `reference` package has it.
const IMAGE: &str = r"^((([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(:[0-9]+)?/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-fA-F]{32,})?$";
const LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const GROUP: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$";
pub(crate) const GROUP_OR_ALL: &str = r"^(\*|([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?)$";
const RESOURCE: &str = r"^[a-z0-9][-a-z0-9.]*(/[a-z0-9][-a-z0-9]*)?$";
pub(crate) const RESOURCE_OR_ALL: &str = r"^(\*|[a-z0-9][-a-z0-9.]*(/[a-z0-9][-a-z0-9]*)?)$";
/// Most names of objects. What it leaves out (spaces, `/`, `%`, `|`, `,`) no object of a built-in kind has.
pub(crate) const OBJECT: &str = r"^[A-Za-z0-9][A-Za-z0-9.:_@-]*$";
pub(crate) const NAMESPACE_OR_ALL: &str = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$";
/// As the API server writes it into the CRDs of its own types, without the sign.
const QUANTITY: &str =
    r"^(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";
const BYTES: &str = r"^[1-9][0-9]{0,11}(Ki|Mi|Gi)?$";
const TOOL: &str = r"^[a-z][a-z0-9_]*$";
/// A segment has no `%`, and is neither `.` nor `..`; the last may be `**`.
const ROUTE: &str = r"^/$|^(/(\.?[A-Za-z0-9_~-][A-Za-z0-9._~-]*|\{[a-z][a-z0-9_]*\}|\*))*(/\*\*)?$";
const MIDDLEWARE: &str = r"^/api/v1/plugins((/(\.?[A-Za-z0-9_~-][A-Za-z0-9._~-]*|\*))+(/\*\*)?|/\*\*)$";
const PAGE: &str = r"^/$|^(/(\.?[A-Za-z0-9_~-][A-Za-z0-9._~-]*|:[A-Za-z][A-Za-z0-9_]*))+$";
const FILE: &str = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$";
const MODULE: &str = r"^\./[A-Za-z_][A-Za-z0-9_-]*$";
const KEBAB: &str = r"^[a-z0-9]+(-[a-z0-9]+)*$";
const ORIGIN: &str =
    r"^(https|wss)://(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[1-9][0-9]{0,4})?$";
/// JSON Pointer, RFC 6901, to something inside the document.
const POINTER: &str = r"^(/([^/~[:cntrl:]]|~[01])*)+$";
const PARAMETER: &str = r"^[a-z][a-z0-9_]*$";
const QUERY_KEY: &str = r"^[A-Za-z0-9._~-]+$";
const VARIABLE: &str = r"^[A-Za-z_][A-Za-z0-9_]*$";
const KEY: &str = r"^[-._a-zA-Z0-9]+$";
const MOUNT: &str = r"^(/\.?[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$";
const LABEL_KEY: &str =
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
const LABEL_VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// Most permissions of a grant.
pub(crate) const MOST_PERMISSIONS: usize = 32;
/// Most entries of each list in a permission, but [`MOST_NAMESPACES`].
pub(crate) const MOST_IN_LIST: usize = 16;
/// Most namespaces in a permission.
pub(crate) const MOST_NAMESPACES: usize = 32;

/// One rule of the Common Expression Language.
pub(crate) fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// No two items of a list have paths that match the same: `segment` is CEL that gives, for a segment `s` of a path, one mark in
/// place of every parameter.
pub(super) fn no_two_paths_alike(segment: &str, message: &str) -> Value {
    rule(
        &format!(
            "[self.map(r, r.path.split('/').map(s, {segment}))].all(shapes, shapes.all(a, shapes.exists_one(b, b == a)))"
        ),
        message,
    )
}

/// A text of at most `max` bytes that `pattern` matches; `message` says what to write.
fn text(max: usize, pattern: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": max,
        "x-kubernetes-validations": [rule(&format!("self.matches(r'{pattern}')"), message)],
    })
}

/// `schema` with one more rule.
fn also(mut schema: Schema, expression: &str, message: &str) -> Schema {
    if let Some(Value::Array(rules)) = schema.get_mut("x-kubernetes-validations") {
        rules.push(rule(expression, message));
    }
    schema
}

fn list(kind: &str, min: usize, max: usize, items: &Schema) -> Schema {
    let mut schema = json_schema!({
        "type": "array", "maxItems": max, "items": items, "x-kubernetes-list-type": kind,
    });
    if min > 0 {
        schema.insert(String::from("minItems"), json!(min));
    }
    schema
}

/// Declares a function that gives a schema.
macro_rules! shapes {
    ($($(#[$meta:meta])* $name:ident = $schema:expr;)*) => {
        $($(#[$meta])* pub(super) fn $name(_: &mut SchemaGenerator) -> Schema { $schema })*
    };
}

shapes! {
    version = text(64, VERSION, "write a version by Semantic Versioning 2.0.0, such as 1.2.0 or 2.0.0-rc.1: three numbers, no \"v\" before them");
    image = text(512, IMAGE, "write an image by tag or digest, such as registry.example/team/plugin:1.2.0 or registry.example/team/plugin@sha256:…; repository names are in lower case");
    requirement = text(MAX_REQUIREMENT, REQUIREMENT_PATTERN, "write a requirement such as ^1.2, ~1.2.3, 1.x, \">=2, <4\" or \"^1.0 || ^2.0\"; a version alone, such as 1.2.3, is exactly that one");
    plugin_name = reserved(text(40, LABEL, "write the name of a plugin: lower-case letters, digits and '-', no dots, at most 40 characters"));
    plugin_names = list("set", 0, 64, &plugin_name_item());
    /// The name of a Secret or a `ConfigMap`.
    object_name = text(253, SUBDOMAIN, "write the name of an object in the plugins' namespace: lower-case letters, digits, '-' and '.'");
    tool_name = text(55, TOOL, "write a tool's own name: a lower-case letter, then lower-case letters, digits and '_', without plugin_… before it");
    type_name = text(40, LABEL, "write the name of a resource type: lower-case letters, digits and '-', at most 40 characters");
    group = text(253, GROUP, "write one API group, such as apps or metrics.k8s.io; \"\" is the core group");
    resource = text(127, RESOURCE, "write one resource in the plural and in lower case, such as pods, or a subresource, such as pods/log");
    groups = list("atomic", 1, MOST_IN_LIST, &text(253, GROUP_OR_ALL, "write API groups, such as apps or metrics.k8s.io; \"\" is the core group, \"*\" is all"));
    resources = list("atomic", 1, MOST_IN_LIST, &text(127, RESOURCE_OR_ALL, "write resources in the plural and in lower case, such as pods or pods/log; \"*\" alone is all; pods/* and */scale are not accepted: name the subresources"));
    object_names = list("atomic", 1, MOST_IN_LIST, &text(253, OBJECT, "write names of objects; leave resourceNames out to mean all"));
    namespaces = list("atomic", 1, MOST_NAMESPACES, &text(63, NAMESPACE_OR_ALL, "write names of namespaces, or \"*\" alone for the whole cluster"));
    route_path = also(
        also(
            also(
        text(200, ROUTE, "write a path that begins with / and does not end with it, such as /costs, /costs/** or /namespaces/{namespace}/pods: no \"..\", no \"//\", nothing encoded with %"),
        "!(self.startsWith('/static/') || self.startsWith('/resources/') || self in ['/static', '/resources'])",
        "the paths /static and /resources are the gateway's own: choose another first segment",
    ),
            "self.split('{').size() <= 4",
            "a path has at most 3 parameters",
        ),
        "[self.split('{').map(s, s.split('}'))].all(n, (n.size() < 3 || [n[1][0]] != [n[2][0]]) && (n.size() < 4 || ([n[1][0]] != [n[3][0]] && [n[2][0]] != [n[3][0]])))",
        "a path names each of its parameters differently: rename one",
    );
    path_parameter = text(63, PARAMETER, "write the name of a parameter of the route's path, without its braces");
    query_key = text(128, QUERY_KEY, "write the key of the query parameter");
    pointer = text(256, POINTER, "write a JSON pointer (RFC 6901), such as /namespace or /metadata/namespace");
    middleware_paths = list("set", 1, 16, &text(512, MIDDLEWARE, "write paths below /api/v1/plugins/, such as /api/v1/plugins/cost-analyzer/** or /api/v1/plugins/**: no other route can have middleware"));
    file = text(256, FILE, "write the path of a file among the plugin's web files, such as remoteEntry.js: relative, no \"..\"");
    module = text(128, MODULE, "write a module that the plugin's remote exposes, in the form ./Name");
    page_path = text(256, PAGE, "write a path that begins with /, such as /, /cost or /detail/:id (no \"..\", nothing encoded with %)");
    kebab = text(64, KEBAB, "write a name in kebab case, such as currency-dollar or pod-detail");
    origins = list("set", 0, 16, &text(256, ORIGIN, "write an origin: https:// or wss://, a host in lower case, and no path"));
    variable = also(
        text(128, VARIABLE, "write the name of an environment variable: letters, digits and '_', no digit first"),
        "!self.startsWith('KITE_') && !self.startsWith('KUBERNETES_')",
        "variables that begin with KITE_ or KUBERNETES_ are set by the operator and the kubelet: choose another name",
    );
    variable_value = json_schema!({"type": "string", "maxLength": 4096});
    key = text(253, KEY, "write a key of the Secret or ConfigMap: letters, digits, '-', '_' and '.'");
    volume_name = also(
        text(63, LABEL, "write the name of a volume: lower-case letters, digits and '-'"),
        "self != 'kite'",
        "the volume kite is the operator's own: choose another name",
    );
    mount_path = also(
        text(256, MOUNT, "write the path of a folder that begins with /, such as /data: no \"..\", no ':'"),
        "self != '/run' && self != '/run/kite' && !self.startsWith('/run/kite/')",
        "/run/kite holds the plugin's certificate: mount the volume elsewhere",
    );
    taint_key = text(317, LABEL_KEY, "write the key of a taint, such as node-role.kubernetes.io/control-plane");
    label_value = text(63, LABEL_VALUE, "write a label's value: at most 63 letters, digits, '-', '_' and '.', a letter or digit first and last");
    node_labels = json_schema!({
        "type": "object", "maxProperties": 16,
        "additionalProperties": label_value(&mut SchemaGenerator::default()),
    });
    bytes = json_schema!({
        "x-kubernetes-int-or-string": true, "maxLength": 16,
        "x-kubernetes-validations": [rule(
            &format!("type(self) == int ? self > 0 : string(self).matches(r'{BYTES}')"),
            "write a number of bytes above 0, such as 65536, 512Ki or 10Mi",
        )],
    });
    quantities = json_schema!({"type": "object", "maxProperties": 8, "additionalProperties": quantity()});
    size = quantity();
    /// Any JSON object. Its content is the plugin's affair.
    object = json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    requests_per_second = number(1, 1_000_000);
    priority = number(0, 10_000);
    replicas = number(1, 100);
    in_flight = number(1, 10_000);
    seconds_of_a_request = number(1, 3_600);
    seconds_of_middleware = number(1, 30);
    seconds_of_a_drain = number(0, 86_400);
    revisions = number(0, 100);
}

/// A whole number within bounds.
fn number(min: i32, max: i32) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": min, "maximum": max})
}

/// A quantity of Kubernetes' that is not negative.
fn quantity() -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true, "maxLength": 32,
        "x-kubernetes-validations": [rule(
            &format!("type(self) == int ? self >= 0 : string(self).matches(r'{QUANTITY}')"),
            "write a quantity that is not negative, such as 128Mi, 100m or 2",
        )],
    })
}

fn reserved(schema: Schema) -> Schema {
    also(
        schema,
        &not_reserved("self"),
        "this name is reserved, because a route of the gateway has it: no plugin can have it",
    )
}

/// The expression that `name` is none of the gateway's own.
pub(super) fn not_reserved(name: &str) -> String {
    let reserved = crate::name::RESERVED.map(|name| format!("'{name}'")).join(", ");
    format!("!({name} in [{reserved}])")
}

fn plugin_name_item() -> Schema {
    plugin_name(&mut SchemaGenerator::default())
}
