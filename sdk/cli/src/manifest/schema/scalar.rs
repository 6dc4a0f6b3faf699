//! Texts, numbers and truth values against the schema, and values of another kind than is wanted.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSON, JSONSchemaProps};

use super::{At, Walk};
use crate::manifest::{
    complaint::{nearest, shown},
    node::Content,
};

impl Walk<'_> {
    /// Checks a value that is neither a list nor a map.
    pub(super) fn scalar(&mut self, at: At<'_>, schema: &JSONSchemaProps) -> bool {
        let is_either = schema.x_kubernetes_int_or_string == Some(true);
        let fits = match (&at.node.content, schema.type_.as_deref()) {
            (Content::Text(_), kind) => is_either || kind == Some("string"),
            (Content::Number(number), kind) => {
                (number.is_i64() && is_either) || (kind == Some("integer") && number.is_i64())
            }
            (Content::Bool(_), kind) => kind == Some("boolean"),
            _ => false,
        };
        if !fits {
            self.wrong_type(at, schema);
            return false;
        }
        match &at.node.content {
            Content::Text(text) => self.text(at, text, schema),
            Content::Number(number) => self.number(at, number.as_i64().unwrap_or_default(), schema),
            _ => true,
        }
    }

    /// Texts that are too long, or none of those there are, are what the API server evaluates no rule about.
    fn text(&mut self, at: At<'_>, text: &str, schema: &JSONSchemaProps) -> bool {
        let length = text.chars().count();
        let number = |bound: Option<i64>| bound.and_then(|bound| usize::try_from(bound).ok());
        let mark = at.node.mark();
        if let Some(most) = number(schema.max_length).filter(|most| length > *most) {
            let message = format!("it has {length} characters");
            self.desk
                .error(at.path, &mark, message, Some(format!("write {most} at most")));
            return false;
        }
        if let Some(least) = number(schema.min_length).filter(|least| length < *least) {
            let message = format!("it has {length} characters");
            self.desk
                .error(at.path, &mark, message, Some(format!("write {least} at least")));
        }
        if let Some(values) = &schema.enum_
            && !values.iter().any(|JSON(value)| value.as_str() == Some(text))
        {
            let known: Vec<&str> = values.iter().filter_map(|JSON(value)| value.as_str()).collect();
            let near = nearest(text, known.iter().copied());
            let near = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
            let message = format!("`{}` is none of the values that there are", shown(text));
            let advice = format!("{near}write one of {}", known.join(", "));
            self.desk.error(at.path, &mark, message, Some(advice));
            return false;
        }
        true
    }

    fn number(&mut self, at: At<'_>, number: i64, schema: &JSONSchemaProps) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "bounds are far below what a float holds exactly"
        )]
        let value = number as f64;
        let is_below = schema.minimum.is_some_and(|least| value < least);
        let is_above = schema.maximum.is_some_and(|most| value > most);
        if is_below || is_above {
            self.desk.error(
                at.path,
                &at.node.mark(),
                format!("{number} is out of range"),
                Some(format!("write {}", wanted(schema))),
            );
        }
        true
    }

    /// Complains about a value of another kind than is wanted.
    pub(super) fn wrong_type(&mut self, at: At<'_>, schema: &JSONSchemaProps) {
        let mark = at.node.mark();
        if self.desk.has_error_at(&mark) {
            // What YAML makes of it was told already.
            return;
        }
        let raw = shown(self.source.raw(&mark));
        let found = match &at.node.content {
            Content::Null => String::from("nothing"),
            Content::Bool(_) => format!("`{raw}`, which is true or false in YAML,"),
            Content::Number(_) => format!("`{raw}`, which is a number in YAML,"),
            Content::Text(_) => format!("the text `{raw}`"),
            Content::List(_) => String::from("a list"),
            Content::Map(_) => String::from("a map"),
        };
        let message = format!("{found} stands here, and {} is wanted", wanted(schema));
        let advice = self.instead(at, &raw, schema);
        self.desk.error(at.path, &mark, message, Some(advice));
    }

    /// What to write in the place of a value of the wrong kind.
    fn instead(&mut self, at: At<'_>, raw: &str, schema: &JSONSchemaProps) -> String {
        let is_list = schema.type_.as_deref() == Some("array");
        match (&at.node.content, schema.type_.as_deref()) {
            (Content::Bool(_) | Content::Number(_), Some("string")) => self.quoted(raw, schema),
            (Content::Text(text), Some("integer")) if text.parse::<i64>().is_ok() => {
                format!("write it without quotes: {}", shown(text))
            }
            (Content::Text(text), Some("boolean")) if matches!(text.as_str(), "true" | "false") => {
                format!("write it without quotes: {text}")
            }
            (Content::Text(_) | Content::Number(_) | Content::Bool(_), _) if is_list => {
                format!("write it as a list: [{raw}]")
            }
            (Content::Map(_), _) if is_list => String::from("write `- ` before each entry"),
            (Content::List(_), Some("object")) => String::from("write its fields without `- ` before them"),
            (_, Some("object")) => match &schema.properties {
                Some(properties) => {
                    let fields: Vec<&str> = properties.keys().map(String::as_str).collect();
                    format!("write its fields below it: {}", fields.join(", "))
                }
                None => String::from("write its fields below it, as `key: value`"),
            },
            _ => format!("write {}", wanted(schema)),
        }
    }

    /// A text in quotes, if that is all it takes; else what the rules about the text say.
    fn quoted(&mut self, raw: &str, schema: &JSONSchemaProps) -> String {
        let rules = schema.x_kubernetes_validations.as_deref().unwrap_or_default();
        let node = crate::manifest::node::Node::text_node(raw);
        let broken = self.rules.broken(rules, &node).into_iter().next();
        broken.map_or_else(|| format!("put it into quotes: \"{raw}\""), |broken| broken.message)
    }
}

/// What a schema wants, in words.
fn wanted(schema: &JSONSchemaProps) -> String {
    let word = match schema.type_.as_deref() {
        Some("object") => "a map (`key: value`)",
        Some("array") => "a list",
        Some("string") => "a text",
        Some("boolean") => "true or false",
        Some("integer") => {
            return match (schema.minimum, schema.maximum) {
                (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                _ => String::from("a whole number"),
            };
        }
        _ => "a whole number or a text",
    };
    word.to_owned()
}
