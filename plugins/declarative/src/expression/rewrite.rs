//! Changes a parsed expression so that the evaluator gives the answers of the reference implementation of CEL.
//!
//! - `has(x.f)` is false, not an error, when `x` is not a map.
//! - `x.orValue(y)` and `x.or(y)` evaluate `y` only when they need it.
//! - `string(1e21)` spells doubles as the reference does.
//! - `timestamp(text)` gives UTC and accepts RFC 3339 only as it is written there.
//! - `now()`, `conditionAge(…)` and `stableFor(…)` get the time of the reconcile, for functions cannot keep any.

use cel::common::{
    ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue},
    types::CelString,
};

use super::{
    expand::{bind, call as call_of, conditional, expand, member, name},
    tree::node,
};

/// The variable that holds the time of the reconcile, RFC 3339. No expression can spell it.
pub(crate) const NOW: &str = "@now";
/// The function that stands for `has`.
pub(crate) const HAS: &str = "@has";
/// The function that spells doubles.
pub(crate) const SPELL: &str = "@spell";
/// The function that checks the text of a timestamp.
pub(crate) const STRICT: &str = "@strict";
/// The function that brings a timestamp to UTC.
pub(crate) const UTC: &str = "@utc";
/// The variable that holds an optional value while it is looked at.
const OPTIONAL: &str = "@optional";

/// Rewrites in place.
pub(crate) fn rewrite(expression: &mut IdedExpr) {
    rewrite_children(expression);
    expression.expr = match std::mem::take(&mut expression.expr) {
        Expr::Select(select) if select.test => {
            let field = node(Expr::Literal(LiteralValue::String(CelString::from(select.field))));
            call_of(HAS, vec![*select.operand, field]).expr
        }
        Expr::Call(mut call) => match (call.func_name.as_str(), call.target.take(), call.args.as_slice()) {
            ("orValue" | "or", Some(target), [default]) if !is_cheap(&default.expr) => lazily(*target, call),
            ("string", None, [_]) => {
                call.args = vec![call_of(SPELL, call.args)];
                Expr::Call(call)
            }
            ("timestamp", None, [_]) => {
                call.args = vec![call_of(STRICT, call.args)];
                call_of(UTC, vec![node(Expr::Call(call))]).expr
            }
            ("now", None, []) => Expr::Ident(NOW.to_owned()),
            ("conditionAge" | "stableFor", target, _) => {
                call.target = target;
                call.args.push(node(Expr::Ident(NOW.to_owned())));
                Expr::Call(call)
            }
            (_, target, _) => {
                call.target = target;
                expand(call)
            }
        },
        other => other,
    };
}

fn rewrite_children(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| rewrite(target));
            call.args.iter_mut().for_each(rewrite);
        }
        Expr::Comprehension(fold) => {
            for part in [
                &mut fold.iter_range,
                &mut fold.accu_init,
                &mut fold.loop_cond,
                &mut fold.loop_step,
                &mut fold.result,
            ] {
                rewrite(part);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(rewrite),
        Expr::Select(select) => rewrite(&mut select.operand),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    rewrite(&mut entry.key);
                    rewrite(&mut entry.value);
                }
            }
        }
        Expr::Struct(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

/// Whether evaluating it can neither fail nor cost anything.
fn is_cheap(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(_) => true,
        Expr::List(list) => list.elements.is_empty(),
        Expr::Map(map) => map.entries.is_empty(),
        Expr::Unspecified
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::Ident(_)
        | Expr::Select(_)
        | Expr::Struct(_) => false,
    }
}

/// `target.orValue(y)` as `bind(t, target, t.hasValue() ? t.value() : y)`.
fn lazily(target: IdedExpr, of: CallExpr) -> Expr {
    let held = || name(OPTIONAL);
    let found = if of.func_name == "or" {
        held()
    } else {
        member(held(), "value", Vec::new())
    };
    let Some(default) = of.args.into_iter().next() else {
        return target.expr;
    };
    bind(
        OPTIONAL,
        target,
        conditional(member(held(), "hasValue", Vec::new()), found, default),
    )
    .expr
}
