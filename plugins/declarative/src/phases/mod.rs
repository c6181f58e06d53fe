//! The four phases over a checked configuration.

mod postconditions;
mod preconditions;
mod resources;
mod status;

pub use postconditions::evaluate as postconditions;
pub use preconditions::evaluate as preconditions;
pub use resources::plan as resources;
pub use status::report as status;

use serde_json::Value as Json;

use crate::{fault::Fault, program::Node, scene::Scene};

/// What a document became, or where in it something went wrong.
fn render(node: &Node, scene: &Scene<'_>, path: &str, missing: Missing) -> Result<Option<Json>, (String, Fault)> {
    render_below(node, scene, missing).map_err(|(below, fault)| (format!("{path}{below}"), fault))
}

/// The same; the place is told from this node on.
fn render_below(node: &Node, scene: &Scene<'_>, missing: Missing) -> Result<Option<Json>, (String, Fault)> {
    let tolerate = |result: Result<Option<Json>, Fault>| match (result, missing) {
        (Err(Fault::Missing { .. }), Missing::LeaveOut) => Ok(None),
        (result, Missing::LeaveOut | Missing::Fail) => result.map_err(|fault| (String::new(), fault)),
    };
    Ok(Some(match node {
        Node::Null => Json::Null,
        Node::Bool(value) => Json::Bool(*value),
        Node::Int(int) => (*int).into(),
        Node::UInt(uint) => (*uint).into(),
        Node::Float(float) => (*float).into(),
        Node::Text(template) => return tolerate(scene.render(template).map(|text| Some(Json::String(text)))),
        Node::Expression(expression) => return tolerate(expression.evaluate(&scene.facts)),
        Node::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let item = render_below(item, scene, missing);
                list.extend(item.map_err(|(below, fault)| (format!("[{index}]{below}"), fault))?);
            }
            Json::Array(list)
        }
        Node::Map(entries) => {
            let mut map = serde_json::Map::new();
            for (key, value) in entries {
                let at = |below: &str| format!(".{}{below}", key.source());
                let name = scene.render(key).map_err(|fault| (at(""), fault))?;
                let value = render_below(value, scene, missing);
                if let Some(value) = value.map_err(|(below, fault)| (at(&below), fault))? {
                    map.insert(name, value);
                }
            }
            Json::Object(map)
        }
    }))
}

/// What becomes of a value that reads a missing field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The value is left out.
    LeaveOut,
    /// The document cannot be made.
    Fail,
}

#[cfg(test)]
mod tests;
