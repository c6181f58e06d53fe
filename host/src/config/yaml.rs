//! YAML text -> a tree that knows where each value stands.
//!
//! A tree is read first and understood afterwards, because a typed parser stops at the
//! first problem and people want to see all of them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

/// A line and a column, both from 1; 0 if unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) content: Content,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a mapping. A key may come twice: the reader complains.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) at: Position,
    pub(crate) message: String,
}

impl Content {
    /// What it is, with its article.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The value of a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::List(_) => None,
        }
    }

    /// The same without positions.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Content::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

/// Deeper nesting is refused: nobody writes it, and reading is recursive.
const MAX_DEPTH: usize = 64;

/// What reading [`MAX_DEPTH`] levels needs, several times over.
const STACK: usize = 32 << 20;

/// Reads all documents of a text. Empty documents are left out.
///
/// The parser needs some 40 KiB of stack a level in a debug build, and threads of an async
/// runtime have little: so it gets a thread of its own.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, Malformed> {
    let unread = |message: &str| Malformed {
        at: Position::default(),
        message: message.to_owned(),
    };
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("yaml".to_owned()).stack_size(STACK);
        match reader.spawn_scoped(scope, || read(text)) {
            Ok(reading) => reading.join().unwrap_or_else(|_| Err(unread("the parser gave up"))),
            Err(error) => Err(unread(&format!("the parser cannot be started: {error}"))),
        }
    })
}

fn read(text: &str) -> Result<Vec<Node>, Malformed> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
        // Aliases are bounded by the parser's own defaults.
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_nodes: 50_000 },
    };
    serde_saphyr::from_multiple_with_options::<Spanned<Content>>(text, options)
        .map(|documents| documents.into_iter().map(Node::from).collect::<Vec<_>>())
        .map(|documents| {
            documents
                .into_iter()
                .filter(|node| node.content != Content::Null)
                .collect()
        })
        .map_err(|error| Malformed {
            at: error.location().map(Position::from).unwrap_or_default(),
            message: sentence(&error.without_snippet().to_string()),
        })
}

/// The parser repeats the position at the end of its message; we print it in front.
fn sentence(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    if line.contains("budget breached") || line.contains("recursion limit") {
        return "it is nested too deeply, or too large".to_owned();
    }
    let line = line.strip_prefix("error: ").unwrap_or(line);
    match line.find(" at line ") {
        Some(end) => line[..end].to_owned(),
        None => line.to_owned(),
    }
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        Self {
            at: spanned.referenced.into(),
            content: spanned.value,
        }
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

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
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
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Text(value))
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Content>>()? {
            list.push(item.into());
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let value = entries.next_value::<Spanned<Content>>()?;
            map.push(Entry {
                key: key.value,
                at: key.referenced.into(),
                value: value.into(),
            });
        }
        Ok(Content::Map(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn outline(node: &Node, indent: usize, out: &mut String) {
        use std::fmt::Write;
        let pad = " ".repeat(indent);
        match &node.content {
            Content::List(items) => {
                for item in items {
                    writeln!(out, "{pad}- {}:{}", item.at.line, item.at.column).unwrap();
                    outline(item, indent + 2, out);
                }
            }
            Content::Map(entries) => {
                for entry in entries {
                    writeln!(
                        out,
                        "{pad}{} {}:{} -> {}:{}",
                        entry.key, entry.at.line, entry.at.column, entry.value.at.line, entry.value.at.column
                    )
                    .unwrap();
                    outline(&entry.value, indent + 2, out);
                }
            }
            other => writeln!(out, "{pad}{other:?}").unwrap(),
        }
    }

    #[test]
    fn every_key_and_value_knows_where_it_stands() {
        let nodes = parse("a: 1\nb:\n  - x: yes\n    y: {z: 1.5}\n  - 'text'\nc: |\n  two\n  lines\n").unwrap();
        let mut out = String::new();
        outline(&nodes[0], 0, &mut out);
        insta::assert_snapshot!(out, @r#"
        a 1:1 -> 1:4
          Number(Number(1))
        b 2:1 -> 3:3
          - 3:5
            x 3:5 -> 3:8
              Text("yes")
            y 4:5 -> 4:8
              z 4:9 -> 4:12
                Number(Number(1.5))
          - 5:5
            Text("text")
        c 6:1 -> 7:3
          Text("two\nlines\n")
        "#);
    }

    #[test]
    fn several_documents_are_read_and_empty_ones_left_out() {
        let nodes = parse("---\na: 1\n---\n---\nb: 2\n").unwrap();
        let all: Vec<Value> = nodes.iter().map(Node::to_json).collect();
        assert_eq!(all, [serde_json::json!({"a": 1}), serde_json::json!({"b": 2})]);
        assert_eq!(nodes[1].at, Position { line: 5, column: 1 });
    }

    #[test]
    fn a_broken_text_says_where() {
        let malformed = parse("a: [1\nb: 2\n").unwrap_err();
        insta::assert_snapshot!(format!("{malformed:?}"), @r#"
        Malformed { at: Position { line: 2, column: 2 }, message: "illegal placement of ':' indicator" }
        "#);
    }

    #[test]
    fn the_words_of_older_yaml_are_texts() {
        assert_eq!(
            parse("[yes, no, on, off, true]").unwrap()[0].to_json(),
            serde_json::json!(["yes", "no", "on", "off", true])
        );
    }
}
