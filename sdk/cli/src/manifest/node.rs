//! A YAML document as its author wrote it: keys in their order, each value with its place in the file.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::{Number, Value};
use serde_saphyr::{Location, Spanned};

/// A value of the document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) content: Content,
    /// Its bytes in the file. Of lists and maps, the bracket that opens them, or nothing where they have none.
    span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// A key that stands there twice is here twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Range<usize>,
}

impl Node {
    pub(super) fn text_node(text: &str) -> Self {
        Self {
            content: Content::Text(text.to_owned()),
            span: 0..0,
        }
    }

    pub(super) fn entries(&self) -> &[(Key, Node)] {
        if let Content::Map(entries) = &self.content {
            entries
        } else {
            &[]
        }
    }

    /// The key and the value, if this is a map that has it.
    pub(super) fn entry(&self, key: &str) -> Option<(&Key, &Node)> {
        let entry = self.entries().iter().find(|(name, _)| name.name == key);
        entry.map(|(key, value)| (key, value))
    }

    /// The value of `key`, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    pub(super) fn items(&self) -> &[Node] {
        if let Content::List(items) = &self.content {
            items
        } else {
            &[]
        }
    }

    /// The text that this is, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Content::Text(text) = &self.content {
            Some(text)
        } else {
            None
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.content == Content::Null
    }

    /// The bytes to point at. A list or map without brackets begins where its first entry does.
    pub(super) fn mark(&self) -> Range<usize> {
        if !self.span.is_empty() {
            return self.span.clone();
        }
        match &self.content {
            Content::Map(entries) => entries.first().map_or(self.span.clone(), |(key, _)| key.span.clone()),
            Content::List(items) => items.first().map_or(self.span.clone(), Node::mark),
            _ => self.span.clone(),
        }
    }

    /// Puts `value` in the place of what `path` leads to; a path that leads nowhere changes nothing.
    pub(super) fn replace(&mut self, path: &[&str], value: Node) {
        let Some((key, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        if let Content::Map(entries) = &mut self.content
            && let Some((_, inner)) = entries.iter_mut().find(|(name, _)| name.name == *key)
        {
            inner.replace(rest, value);
        }
    }
}

fn bytes(location: Location) -> Range<usize> {
    let span = location.span();
    let number = |number: Option<u64>| usize::try_from(number.unwrap_or_default()).unwrap_or_default();
    let start = number(span.byte_offset());
    start..start + number(span.byte_len())
}

impl From<&Node> for Value {
    fn from(node: &Node) -> Self {
        match &node.content {
            Content::Null => Self::Null,
            Content::Bool(value) => Self::Bool(*value),
            Content::Number(value) => Self::Number(value.clone()),
            Content::Text(value) => Self::String(value.clone()),
            Content::List(values) => values.iter().map(Self::from).collect(),
            Content::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.name.clone(), Self::from(value)));
                Self::Object(entries.collect())
            }
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.content {
            Content::Null => serializer.serialize_unit(),
            Content::Bool(value) => serializer.serialize_bool(*value),
            Content::Number(value) => value.serialize(serializer),
            Content::Text(value) => serializer.serialize_str(value),
            Content::List(values) => values.serialize(serializer),
            Content::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(&key.name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self {
            content: value,
            span: bytes(referenced),
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self {
            name: value,
            span: bytes(referenced),
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Content, E> {
        Number::from_f64(value)
            .map(Content::Number)
            .ok_or_else(|| E::custom("a number that JSON cannot hold"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Content::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Map(entries))
    }
}
