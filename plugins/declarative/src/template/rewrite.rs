//! Changes the tree of a template so that what it cannot print is an error, never a placeholder.
//!
//! - Every field is read by our own function, which names the whole path of what is missing and refuses fields of
//!   null.
//! - Every action is printed by our own function, which refuses null and spells numbers as [`crate::numbers`] says.
//! - Before `default`, a missing field is null, so that the default is used.

use gotmpl::parse::{ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, PipeNode, Pos, TemplateNode};

/// Reads fields: what is spelled before them, a value, the fields.
pub(super) const FIELD: &str = "berth_field";
/// The same, where a missing field is null.
pub(super) const MAYBE: &str = "berth_maybe";
/// Prints: what is printed, its value.
pub(super) const PRINT: &str = "berth_print";

/// Whether the dot is the root of the facts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dot {
    Facts,
    Other,
}

/// Rewrites a whole template. `main` says whether its dot is the root of the facts.
pub(super) fn rewrite(list: ListNode, main: bool) -> ListNode {
    nodes(list, if main { Dot::Facts } else { Dot::Other })
}

fn nodes(list: ListNode, dot: Dot) -> ListNode {
    ListNode {
        pos: list.pos,
        nodes: list.nodes.into_iter().map(|node| one(node, dot)).collect(),
    }
}

fn one(node: Node, dot: Dot) -> Node {
    match node {
        Node::List(list) => Node::List(nodes(list, dot)),
        Node::Action(action) => Node::Action(printed(action, dot)),
        Node::If(branch) => Node::If(self::branch(branch, dot, dot)),
        Node::Range(branch) => Node::Range(self::branch(branch, dot, Dot::Other)),
        Node::With(branch) => Node::With(self::branch(branch, dot, Dot::Other)),
        Node::Template(call) => Node::Template(TemplateNode {
            pipe: call.pipe.map(|pipe| self::pipe(pipe, dot)),
            ..call
        }),
        node @ (Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_)) => node,
    }
}

fn branch(branch: BranchNode, dot: Dot, inside: Dot) -> BranchNode {
    BranchNode {
        pos: branch.pos,
        pipe: pipe(branch.pipe, dot),
        body: nodes(branch.body, inside),
        else_body: branch.else_body.map(|list| nodes(list, dot)),
    }
}

fn printed(action: ActionNode, dot: Dot) -> ActionNode {
    let pos = action.pos;
    let label = match action.pipe.commands.as_slice() {
        [command] => match command.args.as_slice() {
            [Expr::Field(_, fields)] => spell(dot, fields.iter().map(|field| field.as_str())),
            [Expr::Variable(_, name, fields)] => std::iter::once(name.as_str())
                .chain(fields.iter().map(|field| field.as_str()))
                .collect::<Vec<_>>()
                .join("."),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let mut pipe = pipe(action.pipe, dot);
    if pipe.decl.is_empty() {
        pipe.commands
            .push(command(pos, PRINT, vec![Expr::String(pos, label.into())]));
    }
    ActionNode { pos, pipe }
}

fn spell<'a>(dot: Dot, fields: impl Iterator<Item = &'a str>) -> String {
    let path = fields.collect::<Vec<_>>().join(".");
    if dot == Dot::Facts { path } else { format!(".{path}") }
}

fn command(pos: Pos, name: &str, args: Vec<Expr>) -> CommandNode {
    let mut all = vec![Expr::Identifier(pos, name.into())];
    all.extend(args);
    CommandNode { pos, args: all }
}

fn is_default(command: Option<&CommandNode>) -> bool {
    matches!(command.and_then(|command| command.args.first()), Some(Expr::Identifier(_, name)) if name == "default")
}

fn pipe(pipe: PipeNode, dot: Dot) -> PipeNode {
    let before_default: Vec<bool> = (1..=pipe.commands.len())
        .map(|next| is_default(pipe.commands.get(next)))
        .collect();
    let commands = pipe
        .commands
        .into_iter()
        .zip(before_default)
        .map(|(command, before_default)| {
            let reader = if before_default || is_default(Some(&command)) {
                MAYBE
            } else {
                FIELD
            };
            CommandNode {
                pos: command.pos,
                args: command
                    .args
                    .into_iter()
                    .map(|arg| expression(arg, dot, reader))
                    .collect(),
            }
        })
        .collect();
    PipeNode { commands, ..pipe }
}

fn expression(expression: Expr, dot: Dot, reader: &str) -> Expr {
    match expression {
        Expr::Field(pos, fields) => {
            let prefix = if dot == Dot::Facts { "" } else { "." };
            read(pos, reader, prefix.to_owned(), Expr::Dot(pos), &fields)
        }
        Expr::Variable(pos, name, fields) if !fields.is_empty() => {
            let prefix = if name == "$" {
                "$.".to_owned()
            } else {
                format!("{name}.")
            };
            read(pos, reader, prefix, Expr::Variable(pos, name, Vec::new()), &fields)
        }
        Expr::Pipe(pos, inner) => Expr::Pipe(pos, pipe(inner, dot)),
        Expr::Chain(pos, inner, fields) => match *inner {
            // A call whose arguments follow: only the evaluator knows where it ends.
            inner @ Expr::Identifier(..) => Expr::Chain(pos, Box::new(inner), fields),
            inner => read(
                pos,
                reader,
                "(…).".to_owned(),
                self::expression(inner, dot, reader),
                &fields,
            ),
        },
        other @ (Expr::Dot(_)
        | Expr::Variable(..)
        | Expr::Identifier(..)
        | Expr::String(..)
        | Expr::Number(..)
        | Expr::Bool(..)
        | Expr::Nil(_)) => other,
    }
}

fn read(pos: Pos, reader: &str, prefix: String, base: Expr, fields: &[gotmpl::parse::SmolStr]) -> Expr {
    let mut args = vec![Expr::String(pos, prefix.into()), base];
    args.extend(fields.iter().map(|field| Expr::String(pos, field.as_str().into())));
    let commands = vec![command(pos, reader, args)];
    Expr::Pipe(
        pos,
        PipeNode {
            pos,
            decl: Vec::new(),
            commands,
            is_assign: false,
        },
    )
}
