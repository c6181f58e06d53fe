//! Expressions in CEL: checked and parsed once, evaluated over facts.
//!
//! Guarantees that an expression that passed [`Expression::compile`] reads known facts only and calls known functions
//! only. What differs from the reference implementation is said in `values` and `rewrite`.

mod check;
mod expand;
mod functions;
mod missing;
mod reads;
mod rewrite;
mod tree;
mod values;

use std::sync::{Arc, OnceLock};

use cel::{Context, DeclarationError, Env, ExecutionError, Value, common::ast::IdedExpr, parser::PrattParser};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use self::tree::Tree;
use crate::{fault::Fault, problem::Flaw, reads::Reads};

/// Longer expressions are refused: nobody can read them.
const MAX_LENGTH: usize = 4 * 1024;
/// Deeper expressions are refused: parsing and evaluating them would exhaust the stack.
const MAX_NESTING: u16 = 32;
/// The same for chains of operators and fields, which the parser does not count.
const MAX_DEPTH: usize = 64;
/// Expressions with more parts are refused.
const MAX_NODES: usize = 1000;

/// A checked expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expression {
    source: String,
    roots: Vec<String>,
    tree: Tree,
}

impl Expression {
    /// Parses and checks.
    ///
    /// # Errors
    /// Every syntax error, and every name that is neither one of `roots` nor a function of ours.
    pub fn compile(source: &str, roots: &[&str]) -> Result<Self, Vec<Flaw>> {
        if source.trim().is_empty() {
            return Err(vec![
                Flaw::new("the expression is empty").hint("write `true` for what always holds"),
            ]);
        }
        if source.len() > MAX_LENGTH {
            return Err(vec![Flaw::new(format!(
                "the expression is longer than {MAX_LENGTH} bytes"
            ))]);
        }
        let parser = PrattParser::new()
            .max_recursion_depth(MAX_NESTING)
            .max_expression_node_count(MAX_NODES)
            .enable_optional_syntax(true)
            .enable_ident_escape_syntax(true);
        let mut parsed = parser.parse(source).map_err(|errors| check::syntax(&errors))?;
        if !tree::is_at_most(&parsed, MAX_DEPTH) {
            return Err(vec![Flaw::new("the expression is nested too deeply").hint("split it")]);
        }
        rewrite::rewrite(&mut parsed);
        let tree = Tree::from_parsed(parsed).map_err(|literal| {
            vec![Flaw::new(format!(
                "there are no message literals here: `{}{{…}}`",
                literal.0
            ))]
        })?;
        let roots = check::names(&tree, roots)?;
        Ok(Self {
            source: source.to_owned(),
            roots,
            tree,
        })
    }

    /// Adds what it reads of the facts.
    pub(crate) fn find_reads(&self, reads: &mut Reads) {
        reads::find(&self.tree, &self.roots, reads);
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates; none if it gives `optional.none()`.
    ///
    /// # Errors
    /// [`Fault::Missing`] when it reads a field that does not exist, [`Fault::Broken`] for all else.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Result<Option<Json>, Fault> {
        let env = environment(&self.tree).map_err(Fault::broken)?;
        let mut context = Context::with_env(env);
        for root in &self.roots {
            if let Some(value) = facts.value(root) {
                context.add_variable_as_val(root.clone(), value);
            }
        }
        context.add_variable_as_val(
            rewrite::NOW,
            values::from_json(facts.roots.get("now").unwrap_or(&Json::Null)),
        );
        let parsed: IdedExpr = self.tree.to_parsed();
        let value = Value::resolve_val(&parsed, &context).map_err(|error| self.fault(&error, facts))?;
        values::to_json(value.as_ref()).map_err(Fault::broken)
    }

    /// Evaluates to true or false. `optional.none()` is a field that does not exist.
    ///
    /// # Errors
    /// As [`Self::evaluate`], and [`Fault::Broken`] for what is neither true nor false.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, Fault> {
        match self.evaluate(facts)? {
            Some(Json::Bool(holds)) => Ok(holds),
            Some(other) => Err(Fault::broken(format!(
                "it gives {}, not true or false",
                describe(&other)
            ))),
            None => Err(Fault::missing(self.source.clone())),
        }
    }

    fn fault(&self, error: &ExecutionError, facts: &Facts<'_>) -> Fault {
        let nothing = |overload: &cel::OverloadError| {
            matches!(overload.function(), "_._" | "_[_]")
                && overload
                    .argument_types()
                    .first()
                    .is_some_and(|first| first == "null_type")
        };
        match error {
            ExecutionError::NoSuchKey(key) => Fault::missing(missing::path(&self.tree, Some(key), facts.roots)),
            ExecutionError::IndexOutOfBounds(Value::Int(index)) => {
                Fault::missing(missing::path(&self.tree, Some(&index.to_string()), facts.roots))
            }
            ExecutionError::NoSuchOverload(overload) if nothing(overload) => {
                Fault::missing(missing::path(&self.tree, None, facts.roots))
            }
            ExecutionError::FunctionError { function, message } => Fault::broken(format!("{function}: {message}")),
            other => Fault::broken(other.to_string()),
        }
    }
}

/// What expressions are evaluated over. Values are made when the first expression reads them.
#[derive(Debug)]
pub struct Facts<'f> {
    roots: &'f Map<String, Json>,
    values: std::cell::RefCell<std::collections::BTreeMap<String, Box<dyn cel::common::value::Val>>>,
}

impl<'f> Facts<'f> {
    /// Over these roots.
    #[must_use]
    pub fn new(roots: &'f Map<String, Json>) -> Self {
        Self {
            roots,
            values: std::cell::RefCell::default(),
        }
    }

    fn value(&self, root: &str) -> Option<Box<dyn cel::common::value::Val>> {
        if let Some(value) = self.values.borrow().get(root) {
            return Some(value.clone_as_boxed());
        }
        let value = values::from_json(self.roots.get(root)?);
        self.values.borrow_mut().insert(root.to_owned(), value.clone_as_boxed());
        Some(value)
    }
}

/// The environment of an expression. That with all functions takes most of what a fresh instance does, so it is built,
/// once, only for an expression that calls the language's functions or names its types.
fn environment(tree: &Tree) -> Result<Arc<Env>, String> {
    static ALL: OnceLock<Result<Arc<Env>, String>> = OnceLock::new();
    let shared = |env: Result<Env, DeclarationError>| env.map(Arc::new).map_err(|error| error.to_string());
    let mut called = Vec::new();
    let mut needs_all = false;
    tree.walk(&mut Vec::new(), &mut |node, _| {
        match node {
            Tree::Call { name, .. } if functions::is_single(name) => called.push(name.as_str()),
            Tree::Call { .. } => needs_all = true,
            Tree::Name(name) => needs_all |= check::is_known(name),
            Tree::Fold(_) | Tree::List { .. } | Tree::Literal(_) | Tree::Map(_) | Tree::Select { .. } => {}
        }
        true
    });
    if needs_all {
        return ALL.get_or_init(|| shared(functions::environment())).clone();
    }
    shared(functions::environment_of(&|name| called.contains(&name)))
}

/// What a value is, in words.
fn describe(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => format!("the number {number}"),
        Json::String(text) if text.chars().count() <= 40 => format!("the text \"{text}\""),
        Json::String(_) => "a text".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "a map".to_owned(),
    }
}

#[cfg(test)]
mod tests;
