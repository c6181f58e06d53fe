//! What is reported beyond the host's draft.
//!
//! An expression that reads a field that does not exist makes its condition False with the reason `Pending`: the
//! report is made in every case, also before anything exists. Data that reads such a field is left out.

use berth_sdk::{Condition, Draft, Facts, Failure, Object, StatusReport, Truth};
use serde_json::{Map, Value as Json};

use super::{Missing, render};
use crate::{
    facts,
    fault::Fault,
    names::is_pascal_case,
    program::{self, Part, Status},
    scene::{Scene, expression_failed},
};

/// The reason of a condition whose expression reads a field that does not exist.
const PENDING: &str = "Pending";

/// Reports; none if the document adds nothing to the draft.
///
/// # Errors
/// When an expression or a template cannot be evaluated.
pub fn report(
    part: &Part<Status>,
    facts: &Facts,
    objects: &[Object],
    draft: &Draft,
) -> Result<Option<StatusReport>, Failure> {
    if part.steps.conditions.is_empty() && part.steps.data.is_empty() {
        return Ok(None);
    }
    let roots = facts::roots(&part.reads, facts, objects, Some(draft))?;
    let scene = Scene::new(&roots);
    let conditions = part
        .steps
        .conditions
        .iter()
        .map(|condition| evaluate(condition, &scene))
        .collect::<Result<_, _>>()?;
    let mut data = Map::new();
    for (key, node) in &part.steps.data {
        let value =
            render(node, &scene, &format!("data.{key}"), Missing::LeaveOut).map_err(|(path, fault)| Failure {
                reason: "ExpressionFailed".to_owned(),
                message: format!("status: {path}: {fault}. Correct it."),
            })?;
        data.extend(value.map(|value| (key.clone(), value)));
    }
    Ok(Some(StatusReport {
        conditions,
        data: Json::Object(data).into(),
    }))
}

fn evaluate(condition: &program::Condition, scene: &Scene<'_>) -> Result<Condition, Failure> {
    let kind = condition.type_name.clone();
    let source = condition.expression.source();
    let status = match condition.expression.evaluate(&scene.facts) {
        Ok(Some(Json::Bool(true))) => Ok(Truth::True),
        Ok(Some(Json::Bool(false))) => Ok(Truth::False),
        Ok(Some(Json::String(text))) => match text.as_str() {
            "True" => Ok(Truth::True),
            "False" => Ok(Truth::False),
            "Unknown" => Ok(Truth::Unknown),
            other => Err(Fault::broken(format!(
                "it gives the text \"{other}\", not True, False or Unknown"
            ))),
        },
        Ok(Some(other)) => Err(Fault::broken(format!("it gives {other}, not true or false"))),
        Ok(None) => Err(Fault::missing(source)),
        Err(fault) => Err(fault),
    };
    let status = match status {
        Ok(status) => status,
        Err(fault @ Fault::Missing { .. }) => {
            let (reason, message) = (PENDING.to_owned(), fault.to_string());
            return Ok(Condition {
                kind,
                status: Truth::False,
                reason,
                message,
            });
        }
        Err(fault @ Fault::Broken { .. }) => return Err(expression_failed(&kind, source, &fault)),
    };
    let reason = match &condition.reason {
        Some(template) => scene
            .render(template)
            .map_err(|fault| reason_failure(&kind, &fault.to_string()))?,
        None => format!("Expression{}", status_name(status)),
    };
    if !is_pascal_case(&reason) {
        return Err(reason_failure(&kind, &format!("`{reason}` is not in PascalCase")));
    }
    let fallback = format!("{source} is {}", status_name(status).to_lowercase());
    let message = scene.message(condition.message.as_ref(), fallback);
    Ok(Condition {
        kind,
        status,
        reason,
        message,
    })
}

fn reason_failure(kind: &str, problem: &str) -> Failure {
    Failure::new(
        "ExpressionFailed",
        format!("{kind}: its reason cannot be used: {problem}. Correct it."),
    )
}

fn status_name(status: Truth) -> &'static str {
    match status {
        Truth::True => "True",
        Truth::False => "False",
        Truth::Unknown => "Unknown",
    }
}
