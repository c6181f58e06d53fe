//! The facts in the forms that evaluation needs, and what becomes of faults.

use std::cell::OnceCell;

use berth_sdk::Failure;
use serde_json::{Map, Value as Json};

use crate::{
    expression,
    fault::Fault,
    template::{Renderer, Template},
};

/// An expression that cannot be evaluated.
pub(crate) fn expression_failed(name: &str, source: &str, fault: &Fault) -> Failure {
    let message = format!("{name}: `{source}` cannot be evaluated: {fault}. Correct the expression.");
    Failure::new("ExpressionFailed", message)
}

/// The facts in the forms that evaluation needs.
pub(crate) struct Scene<'r> {
    pub(crate) facts: expression::Facts<'r>,
    roots: &'r Map<String, Json>,
    renderer: OnceCell<Renderer>,
}

impl<'r> Scene<'r> {
    /// Over roots from [`crate::facts::roots`].
    pub(crate) fn new(roots: &'r Map<String, Json>) -> Self {
        Self {
            facts: expression::Facts::new(roots),
            roots,
            renderer: OnceCell::new(),
        }
    }

    /// Renders a template.
    pub(crate) fn render(&self, template: &Template) -> Result<String, Fault> {
        template
            .render_fields(self.roots)
            .unwrap_or_else(|| self.renderer.get_or_init(|| Renderer::new(self.roots)).render(template))
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
