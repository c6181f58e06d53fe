//! Expands the macros that the parser does not know: `sortBy`, `optMap` and `optFlatMap`.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators};

use super::tree::node;

/// The variable that holds what a macro works on, so that it is evaluated once.
const HELD: &str = "@held";
/// The list that `map` builds.
const BUILT: &str = "@built";

/// Expands a call if it is one of those macros; gives it back otherwise.
pub(super) fn expand(mut of: CallExpr) -> Expr {
    let [
        IdedExpr {
            expr: Expr::Ident(variable),
            ..
        },
        _,
    ] = of.args.as_slice()
    else {
        return Expr::Call(of);
    };
    let variable = variable.clone();
    if !matches!(of.func_name.as_str(), "sortBy" | "optMap" | "optFlatMap") {
        return Expr::Call(of);
    }
    let (Some(target), Some(body)) = (of.target.take(), of.args.pop()) else {
        return Expr::Call(of);
    };
    match of.func_name.as_str() {
        "sortBy" => {
            let sorted = member(held(), "@sortByAssociatedKeys", vec![map(held(), variable, body)]);
            bind(HELD, *target, sorted).expr
        }
        function => {
            let body = bind(&variable, member(held(), "value", Vec::new()), body);
            let some = if function == "optMap" {
                member(name("optional"), "of", vec![body])
            } else {
                body
            };
            let none = member(name("optional"), "none", Vec::new());
            bind(
                HELD,
                *target,
                conditional(member(held(), "hasValue", Vec::new()), some, none),
            )
            .expr
        }
    }
}

/// `result`, in which `variable` stands for `value`.
pub(super) fn bind(variable: &str, value: IdedExpr, result: IdedExpr) -> IdedExpr {
    node(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: node(Expr::List(ListExpr::new(Vec::new()))),
        iter_var: "#unused".to_owned(),
        iter_var2: None,
        accu_var: variable.to_owned(),
        accu_init: value,
        loop_cond: node(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: name(variable),
        result,
    })))
}

/// `condition ? yes : no`.
pub(super) fn conditional(condition: IdedExpr, yes: IdedExpr, no: IdedExpr) -> IdedExpr {
    call(operators::CONDITIONAL, vec![condition, yes, no])
}

/// `function(args)`.
pub(super) fn call(function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    node(Expr::Call(CallExpr {
        func_name: function.to_owned(),
        target: None,
        args,
    }))
}

/// `target.function(args)`.
pub(super) fn member(target: IdedExpr, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    node(Expr::Call(CallExpr {
        func_name: function.to_owned(),
        target: Some(Box::new(target)),
        args,
    }))
}

/// A name.
pub(super) fn name(name: &str) -> IdedExpr {
    node(Expr::Ident(name.to_owned()))
}

fn held() -> IdedExpr {
    name(HELD)
}

/// `list.map(variable, body)`.
fn map(list: IdedExpr, variable: String, body: IdedExpr) -> IdedExpr {
    let item = node(Expr::List(ListExpr::new(vec![body])));
    node(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: list,
        iter_var: variable,
        iter_var2: None,
        accu_var: BUILT.to_owned(),
        accu_init: node(Expr::List(ListExpr::new(Vec::new()))),
        loop_cond: node(Expr::Literal(LiteralValue::Boolean(true.into()))),
        loop_step: call(operators::ADD, vec![name(BUILT), item]),
        result: name(BUILT),
    })))
}
