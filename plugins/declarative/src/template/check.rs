//! What is wrong with a template that parses: names that mean nothing.

use gotmpl::parse::{BranchNode, DefineNode, Expr, ListNode, Node, PipeNode, Pos, SmolStr};

use super::functions;
use crate::{
    problem::{Flaw, did_you_mean, did_you_mean_after},
    reads::Reads,
};

/// What a template reads, or unknown roots, functions and templates.
pub(super) fn names(source: &str, main: &ListNode, defines: &[DefineNode], roots: &[&str]) -> Result<Reads, Vec<Flaw>> {
    let mut check = Check {
        source,
        roots,
        defines,
        reads: Reads::default(),
        flaws: Vec::new(),
    };
    check.list(main, true);
    for define in defines {
        check.list(&define.body, false);
    }
    if check.flaws.is_empty() {
        Ok(check.reads)
    } else {
        Err(check.flaws)
    }
}

struct Check<'a> {
    source: &'a str,
    roots: &'a [&'a str],
    defines: &'a [DefineNode],
    reads: Reads,
    flaws: Vec<Flaw>,
}

impl Check<'_> {
    /// `facts` says whether the dot is the root of the facts.
    fn list(&mut self, list: &ListNode, facts: bool) {
        for node in &list.nodes {
            match node {
                Node::List(list) => self.list(list, facts),
                Node::Action(action) => self.pipe(&action.pipe, facts),
                Node::If(branch) => self.branch(branch, facts, facts),
                Node::Range(branch) | Node::With(branch) => self.branch(branch, facts, false),
                Node::Template(call) => {
                    if let Some(pipe) = &call.pipe {
                        self.pipe(pipe, facts);
                    }
                    if !self.defines.iter().any(|define| define.name == call.name) {
                        self.add(call.pos, format!("no template is called `{}`", call.name), None);
                    }
                }
                Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
    }

    fn branch(&mut self, branch: &BranchNode, facts: bool, inside: bool) {
        self.pipe(&branch.pipe, facts);
        self.list(&branch.body, inside);
        if let Some(list) = &branch.else_body {
            self.list(list, facts);
        }
    }

    fn pipe(&mut self, pipe: &PipeNode, facts: bool) {
        for command in &pipe.commands {
            for arg in &command.args {
                self.expression(arg, facts);
            }
        }
    }

    fn expression(&mut self, expression: &Expr, facts: bool) {
        match expression {
            Expr::Field(pos, fields) if facts => self.field(*pos, fields),
            Expr::Identifier(pos, name) if !functions::is_known(name) => {
                let hint = if self.roots.contains(&name.as_str()) {
                    format!("did you mean `.{name}`?")
                } else {
                    did_you_mean(name, functions::KNOWN.iter().copied())
                };
                self.add(*pos, format!("unknown function `{name}`"), Some(hint));
            }
            Expr::Identifier(_, name) if name == functions::NOW => self.reads.add([functions::NOW]),
            Expr::Pipe(_, pipe) => self.pipe(pipe, facts),
            Expr::Chain(_, inner, _) => self.expression(inner, facts),
            Expr::Dot(_) if facts => self.reads_all(),
            Expr::Variable(_, name, fields) if name == "$" => match fields.first() {
                Some(root) if self.roots.contains(&root.as_str()) => self.reads.add(fields.iter().map(SmolStr::as_str)),
                Some(_) | None => self.reads_all(),
            },
            // In a `define`, `$` is what was handed over.
            Expr::Field(..)
            | Expr::Identifier(..)
            | Expr::Variable(..)
            | Expr::Dot(_)
            | Expr::String(..)
            | Expr::Number(..)
            | Expr::Bool(..)
            | Expr::Nil(_) => {}
        }
    }

    fn reads_all(&mut self) {
        for root in self.roots {
            self.reads.add([*root]);
        }
    }

    fn field(&mut self, pos: Pos, fields: &[SmolStr]) {
        let Some(root) = fields.first().map(SmolStr::as_str) else {
            return;
        };
        if self.roots.contains(&root) {
            self.reads.add(fields.iter().map(SmolStr::as_str));
        } else {
            self.add(
                pos,
                format!("unknown name `.{root}`"),
                Some(did_you_mean_after(".", root, self.roots.iter().copied())),
            );
        }
    }

    fn add(&mut self, pos: Pos, message: String, hint: Option<String>) {
        let before = self.source.get(..pos.offset).unwrap_or_default();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let flaw = Flaw {
            message: format!("{}:{column}: {message}", pos.line),
            hint,
        };
        if !self.flaws.contains(&flaw) {
            self.flaws.push(flaw);
        }
    }
}
