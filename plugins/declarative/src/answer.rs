//! What the phases answer, in terms of the contract.

use std::cell::OnceCell;

use serde_json::{Map, Value as Json};

use crate::{
    expression,
    facts::Condition,
    fault::Fault,
    template::{Renderer, Template},
};

/// Why a phase cannot answer: a defect of the document, or facts that it does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// PascalCase and stable: `ExpressionFailed`, `ManifestFailed`; a postcondition's own.
    pub reason: String,
    /// What to do.
    pub message: String,
}

/// Whether the adapter may act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Proceed,
    /// Not yet.
    Wait(Waiting),
    /// The subject is not this adapter's concern; why.
    NotApplicable(String),
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The steps that are not met.
    pub unmet: Vec<Unmet>,
    /// When to ask again: the shortest time that one of them asks for.
    pub recheck_after_ms: Option<u32>,
}

/// A step that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Its name.
    pub name: String,
    /// What is waited for.
    pub message: String,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Make it exist.
    Apply {
        /// Its name in the plan.
        name: String,
        /// The manifest.
        document: Json,
        /// Whether to delete it and make it again when it changed.
        recreate: bool,
        /// What must be applied first.
        after: Vec<String>,
    },
    /// Leave it.
    Skip {
        /// Its name in the plan.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Whether the work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Not yet; what is going on.
    Pending(String),
    /// Yes.
    Achieved,
    /// It ran and failed.
    Failed(Failure),
}

/// What is reported beyond the draft.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The conditions of the document.
    pub conditions: Vec<Condition>,
    /// The data of the document.
    pub data: Map<String, Json>,
}

impl Failure {
    /// An expression that cannot be evaluated.
    pub(crate) fn expression(name: &str, source: &str, fault: &Fault) -> Self {
        Self {
            reason: "ExpressionFailed".to_owned(),
            message: format!("{name}: `{source}` cannot be evaluated: {fault}. Correct the expression."),
        }
    }
}

/// The facts in the forms that evaluation needs.
pub(crate) struct Scene<'r> {
    pub(crate) facts: expression::Facts<'r>,
    roots: &'r Map<String, Json>,
    renderer: OnceCell<Renderer>,
}

impl<'r> Scene<'r> {
    /// Over roots from [`crate::facts::Facts::roots`].
    pub(crate) fn new(roots: &'r Map<String, Json>) -> Self {
        Self {
            facts: expression::Facts::new(roots),
            roots,
            renderer: OnceCell::new(),
        }
    }

    /// Renders a template.
    pub(crate) fn render(&self, template: &Template) -> Result<String, Fault> {
        self.renderer.get_or_init(|| Renderer::new(self.roots)).render(template)
    }

    /// Renders a message. One that cannot be rendered is replaced: a message never decides what happens.
    pub(crate) fn message(&self, template: Option<&Template>, fallback: String) -> String {
        match template.map(|template| self.render(template)) {
            None => fallback,
            Some(Ok(message)) if message.trim().is_empty() => fallback,
            Some(Ok(message)) => message,
            Some(Err(fault)) => format!("{fallback} (its message cannot be written: {fault})"),
        }
    }
}
