//! What is wrong with an expression before it is evaluated.

use cel::parser::ParseErrors;

use super::{
    functions::{GLOBAL, MACROS, MEMBER},
    tree::Tree,
};
use crate::problem::{Flaw, did_you_mean};

/// Names that are types, not facts.
const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "google",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "string",
    "type",
    "uint",
];
/// First halves of functions that have a dot in their name.
const NAMESPACES: &[&str] = &["lists", "optional", "strings"];
/// Fields of the subject that are often written without it.
const OF_SUBJECT: &[&str] = &[
    "spec",
    "status",
    "metadata",
    "labels",
    "id",
    "kind",
    "href",
    "generation",
    "name",
];

/// What the parser found wrong, with line and column.
pub(super) fn syntax(errors: &ParseErrors) -> Vec<Flaw> {
    let mut flaws: Vec<Flaw> = Vec::new();
    for error in &errors.errors {
        let (line, column) = error.pos;
        let text = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
        let flaw = Flaw::new(format!("{line}:{column}: {text}"));
        let flaw = match hint(text) {
            Some(hint) => flaw.hint(hint),
            None => flaw,
        };
        if !flaws.contains(&flaw) {
            flaws.push(flaw);
        }
    }
    if flaws.is_empty() {
        flaws.push(Flaw::new("the expression is not valid"));
    }
    // Errors that follow from the first one say nothing new.
    flaws.truncate(3);
    flaws
}

/// What people mean who write that.
fn hint(message: &str) -> Option<&'static str> {
    if message.contains("'='") {
        Some("compare with `==`")
    } else if message.contains("<EOF>") {
        Some("it ends too early: look for a missing bracket, quote or operand")
    } else if message.contains("'&'") || message.contains("'|'") {
        Some("write `&&` for and, `||` for or")
    } else if message.contains("recursion") {
        Some("it is nested too deeply: split it")
    } else {
        None
    }
}

/// Whether a name is of the language: a type, or the first half of a function's.
pub(super) fn is_known(name: &str) -> bool {
    let name = name.trim_start_matches('.');
    TYPES.contains(&name) || NAMESPACES.contains(&name)
}

/// The roots that it reads, or every name that means nothing.
pub(super) fn names(tree: &Tree, roots: &[&str]) -> Result<Vec<String>, Vec<Flaw>> {
    let mut used: Vec<String> = Vec::new();
    let mut flaws: Vec<Flaw> = Vec::new();
    tree.walk(&mut Vec::new(), &mut |node, bound| {
        let flaw = match node {
            Tree::Name(name) => {
                let name = name.trim_start_matches('.');
                if bound.contains(&name) || name.starts_with(['@', '#']) {
                    None
                } else if roots.contains(&name) {
                    if !used.iter().any(|used| used == name) {
                        used.push(name.to_owned());
                    }
                    None
                } else if is_known(name) {
                    None
                } else if OF_SUBJECT.contains(&name) {
                    Some(Flaw::new(format!("unknown name `{name}`")).hint(format!("did you mean `subject.{name}`?")))
                } else {
                    Some(Flaw::new(format!("unknown name `{name}`")).hint(did_you_mean(name, roots.iter().copied())))
                }
            }
            Tree::Call { name, target, .. } => call(name, target.as_deref(), bound, roots),
            Tree::Fold(_) | Tree::List { .. } | Tree::Literal(_) | Tree::Map(_) | Tree::Select { .. } => None,
        };
        flaws.extend(flaw.filter(|flaw| !flaws.contains(flaw)));
        true
    });
    if flaws.is_empty() { Ok(used) } else { Err(flaws) }
}

fn call(name: &str, target: Option<&Tree>, bound: &[&str], roots: &[&str]) -> Option<Flaw> {
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None; // Operators, and what the rewriting put there.
    }
    let (name, known) = match target {
        None => (name.to_owned(), GLOBAL),
        Some(Tree::Name(space))
            if NAMESPACES.contains(&space.as_str())
                && !bound.contains(&space.as_str())
                && !roots.contains(&space.as_str()) =>
        {
            (format!("{space}.{name}"), GLOBAL)
        }
        Some(_) => (name.to_owned(), MEMBER),
    };
    if known.contains(&name.as_str()) {
        return None;
    }
    if MACROS.contains(&name.as_str()) {
        let how = match name.as_str() {
            "has" => "has(a.b)",
            "map" => "list.map(x, expression)",
            "optMap" | "optFlatMap" => "optional.optMap(x, expression)",
            "sortBy" => "list.sortBy(x, expression)",
            _ => "list.filter(x, condition)",
        };
        return Some(Flaw::new(format!("`{name}` is called wrongly")).hint(format!("write it as in `{how}`")));
    }
    let distant = |name: &str| did_you_mean(name, GLOBAL.iter().chain(MEMBER).chain(MACROS).copied());
    let elsewhere = if target.is_some() { GLOBAL } else { MEMBER };
    let hint = if elsewhere.contains(&name.as_str()) {
        if target.is_some() {
            format!("write `{name}(x)`")
        } else {
            format!("write `x.{name}(…)`")
        }
    } else {
        Some(distant(&name))
            .filter(|hint| hint.starts_with("did"))
            .unwrap_or_else(|| did_you_mean(&name, known.iter().copied()))
    };
    Some(Flaw::new(format!("unknown function `{name}`")).hint(hint))
}
