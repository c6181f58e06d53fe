//! Templates in the syntax of Go's `text/template`: checked once, rendered over facts.
//!
//! Guarantees that what is rendered never contains a placeholder for something missing: a missing or null field is a
//! [`Fault`], unless the template gives a `default`. Differs from the reference implementation in that, in whole
//! numbers (printed as JSON has them, `1000000`, not `1e+06`), and in times, which are texts in RFC 3339.
//!
//! Parsing a template takes a few microseconds, about as long as reading a stored tree would: so the text is stored.

mod blocks;
mod check;
mod functions;
mod rewrite;
mod time;
mod value;

use gotmpl::{
    MissingKey, TemplateError, Value,
    parse::{DefineNode, ListNode, Parser},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{fault::Fault, problem::Flaw};

/// More iterations of all `range` together are refused.
const MAX_ITERATIONS: u64 = 100_000;
/// The name under which the template itself is known.
const MAIN: &str = "template";

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    source: String,
    /// The facts that it reads.
    roots: Vec<String>,
}

impl Template {
    /// Parses and checks.
    ///
    /// # Errors
    /// Syntax errors, blocks that do not balance, and every root, function and template that does not exist.
    pub fn compile(source: &str, roots: &[&str]) -> Result<Self, Vec<Flaw>> {
        let mut reads = Vec::new();
        if source.contains("{{") {
            blocks::check(source).map_err(|flaw| vec![flaw])?;
            let (main, defines) = parse(source).map_err(|error| vec![syntax(&error)])?;
            reads = check::names(source, &main, &defines, roots)?;
        }
        Ok(Self {
            source: source.to_owned(),
            roots: reads,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The facts that it reads; others need not be there when it is rendered.
    #[must_use]
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// The text itself, if there is nothing to render in it.
    #[must_use]
    pub fn plain(&self) -> Option<&str> {
        (!self.source.contains("{{")).then_some(&self.source)
    }
}

/// Renders templates over facts.
pub struct Renderer {
    facts: Value,
    /// With the functions, which take longer to gather than a template to render.
    engine: gotmpl::Template,
    cause: functions::Cause,
}

impl Renderer {
    /// Over these roots.
    #[must_use]
    pub fn new(roots: &Map<String, Json>) -> Self {
        let cause = functions::Cause::default();
        let now = roots.get("now").and_then(Json::as_str).unwrap_or_default();
        Self {
            facts: functions::root(roots),
            engine: gotmpl::Template::new(MAIN)
                .missing_key(MissingKey::Error)
                .max_range_iters(MAX_ITERATIONS)
                .funcs(functions::ours(now, &cause)),
            cause,
        }
    }

    /// Renders.
    ///
    /// # Errors
    /// [`Fault::Missing`] when it reads a field that does not exist or prints one that is null, [`Fault::Broken`] for
    /// all else.
    pub fn render(&self, template: &Template) -> Result<String, Fault> {
        if let Some(text) = template.plain() {
            return Ok(text.to_owned());
        }
        let source = template.source();
        blocks::check(source).map_err(|flaw| Fault::broken(flaw.message))?;
        let (main, defines) = parse(source).map_err(|error| Fault::broken(syntax(&error).message))?;
        let mut engine = self.engine.clone();
        for define in defines {
            engine = engine.add_parse_tree(&define.name, rewrite::rewrite(define.body, false));
        }
        engine = engine.add_parse_tree(MAIN, rewrite::rewrite(main, true));
        self.cause.lock().map_or_else(|_| None, |mut cause| cause.take());
        engine.execute_template_to_string(MAIN, &self.facts).map_err(|error| {
            let cause = self.cause.lock().map_or_else(|_| None, |mut cause| cause.take());
            cause.unwrap_or_else(|| match error {
                TemplateError::MissingKey { key } => Fault::missing(key),
                other => Fault::broken(other.to_string()),
            })
        })
    }
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renderer")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

fn parse(source: &str) -> Result<(ListNode, Vec<DefineNode>), TemplateError> {
    Parser::new(source, "{{", "}}")?.parse()
}

fn syntax(error: &TemplateError) -> Flaw {
    match error {
        TemplateError::Parse { line, col, message, .. } | TemplateError::Lex { line, col, message, .. } => {
            Flaw::new(format!("{line}:{col}: {message}"))
        }
        other => Flaw::new(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
