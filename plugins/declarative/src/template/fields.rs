//! Templates that only put fields between texts: most of all templates.
//!
//! They are rendered without the evaluator, whose functions take longer to gather than such a template to render.
//! Guarantees the answers of the evaluator, errors included.

use gotmpl::parse::{Expr, ListNode, Node};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::value;
use crate::fault::Fault;

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    Text(String),
    /// The names from a root to a field: one at least.
    Field(Vec<String>),
}

/// The parts of a template; none if there is anything else in it.
pub(super) fn parts(template: &ListNode) -> Option<Vec<Part>> {
    template.nodes.iter().map(part).collect()
}

fn part(node: &Node) -> Option<Part> {
    match node {
        Node::Text(text) => Some(Part::Text(text.text.to_string())),
        Node::Action(action) if action.pipe.decl.is_empty() => match action.pipe.commands.as_slice() {
            [command] => match command.args.as_slice() {
                [Expr::Field(_, fields)] if !fields.is_empty() => {
                    Some(Part::Field(fields.iter().map(ToString::to_string).collect()))
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// Renders.
///
/// # Errors
/// As the evaluator: a field that does not exist or is null is missing, and what is no map has no fields.
pub(super) fn render(parts: &[Part], roots: &Map<String, Json>) -> Result<String, Fault> {
    let mut rendered = String::new();
    for part in parts {
        match part {
            Part::Text(text) => rendered.push_str(text),
            Part::Field(path) => match read(path, roots)? {
                Json::String(text) => rendered.push_str(text),
                other => rendered.push_str(&value::spell(&value::from_json(other))),
            },
        }
    }
    Ok(rendered)
}

fn read<'r>(path: &[String], roots: &'r Map<String, Json>) -> Result<&'r Json, Fault> {
    let missing = || Fault::missing(path.join("."));
    let (root, fields) = path.split_first().ok_or_else(missing)?;
    let mut found = roots.get(root).ok_or_else(missing)?;
    for field in fields {
        found = match found {
            Json::Object(map) => map.get(field).ok_or_else(missing)?,
            Json::Null => return Err(missing()),
            other => return Err(value::no_field(&path.join("."), &value::from_json(other), field)),
        };
    }
    if found.is_null() { Err(missing()) } else { Ok(found) }
}
