//! Templates in the syntax of Go's `text/template`: checked once, rendered over facts.
//!
//! Guarantees that what is rendered never contains a placeholder for something missing: a missing or null field is a
//! [`Fault`], unless the template gives a `default`. Differs from the reference implementation in that, in whole
//! numbers (printed as JSON has them, `1000000`, not `1e+06`), and in times, which are texts in RFC 3339.
//!
//! Parsing a template takes a few microseconds, about as long as reading a stored tree would: so the text is stored.

mod blocks;
mod check;
mod fields;
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

use crate::{fault::Fault, problem::Flaw, reads::Reads};

/// More iterations of all `range` together are refused.
const MAX_ITERATIONS: u64 = 100_000;
/// The name under which the template itself is known.
const MAIN: &str = "template";

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    source: String,
    form: Form,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Form {
    /// Nothing: the text stays as it is.
    Plain,
    /// Fields are put between texts.
    Fields(Vec<fields::Part>),
    /// Something that only the evaluator does.
    Actions,
}

impl Template {
    /// Parses and checks.
    ///
    /// # Errors
    /// Syntax errors, blocks that do not balance, and every root, function and template that does not exist.
    pub fn compile(source: &str, roots: &[&str]) -> Result<Self, Vec<Flaw>> {
        let form = if source.contains("{{") {
            blocks::check(source).map_err(|flaw| vec![flaw])?;
            let (main, defines) = parse(source).map_err(|error| vec![syntax(&error)])?;
            check::names(source, &main, &defines, roots)?;
            fields::parts(&main).map_or(Form::Actions, Form::Fields)
        } else {
            Form::Plain
        };
        Ok(Self {
            source: source.to_owned(),
            form,
        })
    }

    /// Adds what it reads of the facts.
    pub(crate) fn find_reads(&self, roots: &[&str], reads: &mut Reads) {
        if self.form == Form::Plain {
            return;
        }
        let read = parse(&self.source).map(|(main, defines)| check::names(&self.source, &main, &defines, roots));
        match read {
            Ok(Ok(read)) => reads.merge(read),
            // It passed the check, so this is never reached.
            Ok(Err(_)) | Err(_) => roots.iter().for_each(|root| reads.add([*root])),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders what needs no evaluator; none for what does.
    pub(crate) fn render_fields(&self, roots: &Map<String, Json>) -> Option<Result<String, Fault>> {
        match &self.form {
            Form::Plain => Some(Ok(self.source.clone())),
            Form::Fields(parts) => Some(fields::render(parts, roots)),
            Form::Actions => None,
        }
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
