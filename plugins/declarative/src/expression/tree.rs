//! The syntax tree of an expression in a form that can be stored.
//!
//! Parsing costs a fresh instance more than everything else it does, so the tree is made once at load and handed to
//! every phase. Guarantees that what is read back evaluates as what was parsed.

use cel::common::{
    ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue, MapEntryExpr,
        MapExpr, SelectExpr,
    },
    types::{CelBool, CelBytes, CelDouble, CelInt, CelString, CelUInt},
};
use serde::{Deserialize, Serialize};

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Tree {
    Call {
        name: String,
        target: Option<Box<Tree>>,
        args: Vec<Tree>,
    },
    Fold(Box<Fold>),
    Name(String),
    List {
        elements: Vec<Tree>,
        optional: Vec<usize>,
    },
    Literal(Literal),
    Map(Vec<Entry>),
    Select {
        operand: Box<Tree>,
        field: String,
        test: bool,
    },
}

/// A comprehension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fold {
    range: Tree,
    variable: String,
    second: Option<String>,
    accumulator: String,
    initial: Tree,
    condition: Tree,
    step: Tree,
    result: Tree,
}

/// A constant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// An entry of a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    key: Tree,
    value: Tree,
    optional: bool,
}

/// The expression has a node that cannot be stored: a message literal, of which there are none here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MessageLiteral(pub(crate) String);

impl Tree {
    /// Takes over a parsed expression.
    pub(crate) fn from_parsed(parsed: IdedExpr) -> Result<Self, MessageLiteral> {
        let all = |nodes: Vec<IdedExpr>| nodes.into_iter().map(Self::from_parsed).collect::<Result<Vec<_>, _>>();
        Ok(match parsed.expr {
            Expr::Unspecified => return Err(MessageLiteral(String::new())),
            Expr::Struct(message) => return Err(MessageLiteral(message.type_name)),
            Expr::Call(call) => Self::Call {
                name: call.func_name,
                target: call
                    .target
                    .map(|target| Self::from_parsed(*target).map(Box::new))
                    .transpose()?,
                args: all(call.args)?,
            },
            Expr::Comprehension(fold) => Self::Fold(Box::new(Fold {
                range: Self::from_parsed(fold.iter_range)?,
                variable: fold.iter_var,
                second: fold.iter_var2,
                accumulator: fold.accu_var,
                initial: Self::from_parsed(fold.accu_init)?,
                condition: Self::from_parsed(fold.loop_cond)?,
                step: Self::from_parsed(fold.loop_step)?,
                result: Self::from_parsed(fold.result)?,
            })),
            Expr::Ident(name) => Self::Name(name),
            Expr::List(list) => Self::List {
                elements: all(list.elements)?,
                optional: list.optional_indices,
            },
            Expr::Literal(literal) => Self::Literal(match literal {
                LiteralValue::Null => Literal::Null,
                LiteralValue::Boolean(value) => Literal::Bool(*value.inner()),
                LiteralValue::Int(value) => Literal::Int(*value.inner()),
                LiteralValue::UInt(value) => Literal::UInt(*value.inner()),
                LiteralValue::Double(value) => Literal::Double(*value.inner()),
                LiteralValue::String(value) => Literal::Text(value.inner().to_owned()),
                LiteralValue::Bytes(value) => Literal::Bytes(value.inner().to_vec()),
            }),
            Expr::Map(map) => Self::Map(
                map.entries
                    .into_iter()
                    .map(|entry| match entry.expr {
                        EntryExpr::StructField(field) => Err(MessageLiteral(field.field)),
                        EntryExpr::MapEntry(entry) => Ok(Entry {
                            key: Self::from_parsed(entry.key)?,
                            value: Self::from_parsed(entry.value)?,
                            optional: entry.optional,
                        }),
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Expr::Select(select) => Self::Select {
                operand: Box::new(Self::from_parsed(*select.operand)?),
                field: select.field,
                test: select.test,
            },
        })
    }

    /// Gives it back to the evaluator.
    pub(crate) fn to_parsed(&self) -> IdedExpr {
        let all = |nodes: &[Self]| nodes.iter().map(Self::to_parsed).collect();
        node(match self {
            Self::Call { name, target, args } => Expr::Call(CallExpr {
                func_name: name.clone(),
                target: target.as_ref().map(|target| Box::new(target.to_parsed())),
                args: all(args),
            }),
            Self::Fold(fold) => Expr::Comprehension(Box::new(ComprehensionExpr {
                iter_range: fold.range.to_parsed(),
                iter_var: fold.variable.clone(),
                iter_var2: fold.second.clone(),
                accu_var: fold.accumulator.clone(),
                accu_init: fold.initial.to_parsed(),
                loop_cond: fold.condition.to_parsed(),
                loop_step: fold.step.to_parsed(),
                result: fold.result.to_parsed(),
            })),
            Self::Name(name) => Expr::Ident(name.clone()),
            Self::List { elements, optional } => {
                Expr::List(ListExpr::new_with_optionals(all(elements), optional.clone()))
            }
            Self::Literal(literal) => Expr::Literal(match literal {
                Literal::Null => LiteralValue::Null,
                Literal::Bool(value) => LiteralValue::Boolean(CelBool::from(*value)),
                Literal::Int(value) => LiteralValue::Int(CelInt::from(*value)),
                Literal::UInt(value) => LiteralValue::UInt(CelUInt::from(*value)),
                Literal::Double(value) => LiteralValue::Double(CelDouble::from(*value)),
                Literal::Text(value) => LiteralValue::String(CelString::from(value.clone())),
                Literal::Bytes(value) => LiteralValue::Bytes(CelBytes::from(value.clone())),
            }),
            Self::Map(entries) => Expr::Map(MapExpr {
                entries: entries
                    .iter()
                    .map(|entry| IdedEntryExpr {
                        id: 0,
                        expr: EntryExpr::MapEntry(MapEntryExpr {
                            key: entry.key.to_parsed(),
                            value: entry.value.to_parsed(),
                            optional: entry.optional,
                        }),
                    })
                    .collect(),
            }),
            Self::Select { operand, field, test } => Expr::Select(SelectExpr {
                operand: Box::new(operand.to_parsed()),
                field: field.clone(),
                test: *test,
            }),
        })
    }

    /// Calls `visit` with every node and with the names that comprehensions bind around it; it answers whether to go
    /// on below.
    pub(crate) fn walk<'t>(&'t self, bound: &mut Vec<&'t str>, visit: &mut dyn FnMut(&'t Self, &[&'t str]) -> bool) {
        if !visit(self, bound) {
            return;
        }
        match self {
            Self::Call { target, args, .. } => {
                for node in target.as_deref().into_iter().chain(args) {
                    node.walk(bound, visit);
                }
            }
            Self::Fold(fold) => {
                fold.range.walk(bound, visit);
                fold.initial.walk(bound, visit);
                let depth = bound.len();
                bound.push(&fold.accumulator);
                fold.result.walk(bound, visit);
                bound.push(&fold.variable);
                bound.extend(fold.second.as_deref());
                fold.condition.walk(bound, visit);
                fold.step.walk(bound, visit);
                bound.truncate(depth);
            }
            Self::Name(_) | Self::Literal(_) => {}
            Self::List { elements, .. } => {
                for node in elements {
                    node.walk(bound, visit);
                }
            }
            Self::Map(entries) => {
                for entry in entries {
                    entry.key.walk(bound, visit);
                    entry.value.walk(bound, visit);
                }
            }
            Self::Select { operand, .. } => operand.walk(bound, visit),
        }
    }
}

/// Whether no node of a parsed expression has more than `depth` nodes above it.
pub(crate) fn is_at_most(parsed: &IdedExpr, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let all = |nodes: &[IdedExpr]| nodes.iter().all(|node| is_at_most(node, depth));
    match &parsed.expr {
        Expr::Call(call) => call.target.iter().all(|target| is_at_most(target, depth)) && all(&call.args),
        Expr::Comprehension(fold) => [
            &fold.iter_range,
            &fold.accu_init,
            &fold.loop_cond,
            &fold.loop_step,
            &fold.result,
        ]
        .into_iter()
        .all(|node| is_at_most(node, depth)),
        Expr::List(list) => all(&list.elements),
        Expr::Map(map) => map.entries.iter().all(|entry| entry_is_at_most(entry, depth)),
        Expr::Struct(message) => message.entries.iter().all(|entry| entry_is_at_most(entry, depth)),
        Expr::Select(select) => is_at_most(&select.operand, depth),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => true,
    }
}

fn entry_is_at_most(entry: &IdedEntryExpr, depth: usize) -> bool {
    match &entry.expr {
        EntryExpr::StructField(field) => is_at_most(&field.value, depth),
        EntryExpr::MapEntry(entry) => is_at_most(&entry.key, depth) && is_at_most(&entry.value, depth),
    }
}

/// A node without an identity: nothing asks for it after parsing.
pub(crate) fn node(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}
