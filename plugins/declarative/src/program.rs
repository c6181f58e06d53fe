//! The checked configuration: what `setup` hands to the phases.
//!
//! Guarantees that whatever a phase evaluates has passed every check. Nothing but the texts of templates is parsed
//! again per event.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    config::{During, Otherwise},
    expression::Expression,
    template::Template,
};

/// The checked configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    pub(crate) preconditions: Vec<Precondition>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) postconditions: Vec<Postcondition>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) data: Vec<(String, Node)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Precondition {
    pub(crate) name: String,
    pub(crate) expression: Expression,
    pub(crate) otherwise: Otherwise,
    pub(crate) message: Option<Template>,
    pub(crate) recheck_after_ms: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
    pub(crate) when: Option<Expression>,
    pub(crate) recreate: bool,
    pub(crate) after: Vec<String>,
    pub(crate) during: During,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Manifest {
    /// An object whose texts are templates.
    Document(Node),
    /// A template that gives YAML.
    Yaml(Template),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Postcondition {
    pub(crate) name: String,
    pub(crate) expression: Expression,
    pub(crate) message: Option<Template>,
    pub(crate) failed: Option<Failed>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) expression: Expression,
    pub(crate) reason: String,
    pub(crate) message: Option<Template>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Condition {
    pub(crate) type_name: String,
    pub(crate) expression: Expression,
    pub(crate) reason: Option<Template>,
    pub(crate) message: Option<Template>,
}

/// A document with templates and expressions in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Template),
    /// Written as a map with the single key `expression`.
    Expression(Expression),
    List(Vec<Node>),
    Map(Vec<(Template, Node)>),
}

/// The facts that a part of a program reads.
#[derive(Debug, Default)]
pub(crate) struct Reads<'p>(BTreeSet<&'p str>);

impl<'p> Reads<'p> {
    /// Whether this one is among them.
    pub(crate) fn has(&self, root: &str) -> bool {
        self.0.contains(root)
    }

    pub(crate) fn expression(&mut self, expression: &'p Expression) -> &mut Self {
        self.0.extend(expression.roots().iter().map(String::as_str));
        self
    }

    pub(crate) fn template(&mut self, template: &'p Template) -> &mut Self {
        self.0.extend(template.roots().iter().map(String::as_str));
        self
    }

    pub(crate) fn message(&mut self, message: Option<&'p Template>) -> &mut Self {
        if let Some(template) = message {
            self.template(template);
        }
        self
    }

    pub(crate) fn node(&mut self, node: &'p Node) -> &mut Self {
        match node {
            Node::Null | Node::Bool(_) | Node::Int(_) | Node::UInt(_) | Node::Float(_) => {}
            Node::Text(template) => {
                self.template(template);
            }
            Node::Expression(expression) => {
                self.expression(expression);
            }
            Node::List(items) => {
                for item in items {
                    self.node(item);
                }
            }
            Node::Map(entries) => {
                for (key, value) in entries {
                    self.template(key).node(value);
                }
            }
        }
        self
    }
}

/// The stored form cannot be read: it is not of this version of the plugin.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Program {
    /// The stored form.
    ///
    /// # Errors
    /// Never in practice: there is nothing in it that cannot be stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_allocvec(self).map_err(|error| error.to_string())
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the bytes are not what [`Self::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        postcard::from_bytes(bytes).map_err(|_| Unreadable)
    }
}
