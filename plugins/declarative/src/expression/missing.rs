//! Finds out which field an expression missed.
//!
//! The evaluator tells only the last key. The tree tells which chains of fields the expression reads, and the facts
//! tell where such a chain ends. Never fails: what cannot be found out is told as the key alone.

use serde_json::{Map, Value as Json};

use super::tree::{Literal, Tree};

/// The path of the missing field, as the expression spells it. `key` is what the evaluator did not find, none if it
/// met null.
pub(super) fn path(tree: &Tree, key: Option<&str>, roots: &Map<String, Json>) -> String {
    let mut found: Option<String> = None;
    tree.walk(&mut Vec::new(), &mut |node, bound| {
        if found.is_some() || !matches!(node, Tree::Select { .. } | Tree::Call { .. }) {
            return true;
        }
        let Some(chain) = chain(node) else { return true };
        let Some((root, steps)) = chain.split_first() else {
            return true;
        };
        if bound.contains(&root.as_str()) {
            return true;
        }
        let mut value = roots.get(root.as_str());
        for step in steps {
            let Some(parent) = value else { return true };
            value = match parent {
                Json::Object(map) => map.get(step),
                Json::Array(list) => step.parse::<usize>().ok().and_then(|index| list.get(index)),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
            };
            let missed = match key {
                Some(key) => value.is_none() && step == key && !parent.is_null(),
                None => parent.is_null(),
            };
            if missed {
                found = Some(spell(&chain));
                break;
            }
        }
        true
    });
    found.unwrap_or_else(|| key.unwrap_or("a field of null").to_owned())
}

/// The root and the constant fields and indexes of `a.b["c"][0]`; none for anything else.
pub(super) fn chain(node: &Tree) -> Option<Vec<String>> {
    match node {
        Tree::Name(name) => Some(vec![name.clone()]),
        Tree::Select {
            operand,
            field,
            test: false,
        } => {
            let mut chain = chain(operand)?;
            chain.push(field.clone());
            Some(chain)
        }
        Tree::Call {
            name,
            target: None,
            args,
        } if name == "_[_]" => {
            let [operand, Tree::Literal(index)] = args.as_slice() else {
                return None;
            };
            let mut chain = chain(operand)?;
            chain.push(match index {
                Literal::Text(text) => text.clone(),
                Literal::Int(int) => int.to_string(),
                Literal::Null | Literal::Bool(_) | Literal::UInt(_) | Literal::Double(_) | Literal::Bytes(_) => {
                    return None;
                }
            });
            Some(chain)
        }
        Tree::Select { .. }
        | Tree::Call { .. }
        | Tree::Fold(_)
        | Tree::List { .. }
        | Tree::Literal(_)
        | Tree::Map(_) => None,
    }
}

/// `a.b["c-d"][0]`.
fn spell(chain: &[String]) -> String {
    let mut spelled = String::new();
    for step in chain {
        if step.parse::<i64>().is_ok() {
            spelled.push_str(&format!("[{step}]"));
        } else if crate::names::is_identifier(step) {
            if !spelled.is_empty() {
                spelled.push('.');
            }
            spelled.push_str(step);
        } else {
            spelled.push_str(&format!("[\"{step}\"]"));
        }
    }
    spelled
}
