//! What a guest answers. JSON is read here, and nowhere later.

use berth_engine::contract as engine;
use serde_json::Value;

use crate::{
    bindings::{
        exported::{postconditions, preconditions, resources, status},
        imported::types as guest,
    },
    error::{Cause, Problem},
};

pub(crate) fn failure(failure: guest::Failure) -> engine::Failure {
    engine::Failure {
        reason: failure.reason,
        message: failure.message,
    }
}

pub(crate) fn problem(problem: guest::Problem) -> Problem {
    Problem {
        path: problem.path,
        message: problem.message,
        hint: problem.hint,
    }
}

pub(crate) fn reference(reference: guest::Reference) -> engine::Reference {
    engine::Reference {
        api_version: reference.api_version,
        kind: reference.kind,
        namespace: reference.namespace,
        name: reference.name,
    }
}

pub(crate) fn pairs(pairs: Vec<guest::Pair>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

/// Reads a document; `field` names it in the error.
pub(crate) fn json(field: &str, text: &str) -> Result<Value, Cause> {
    serde_json::from_str(text).map_err(|error| {
        let problem = if text.is_empty() {
            "is an empty text; an absent document is `null`".to_owned()
        } else {
            format!("is not JSON: {error}")
        };
        Cause::OutputInvalid {
            field: field.to_owned(),
            problem,
        }
    })
}

fn object(field: &str, text: &str) -> Result<Value, Cause> {
    let value = json(field, text)?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Cause::OutputInvalid {
            field: field.to_owned(),
            problem: "is not an object".to_owned(),
        })
    }
}

pub(crate) fn preconditions(answer: preconditions::Answer) -> Result<engine::PhaseAnswer, Cause> {
    let verdict = match answer.verdict {
        preconditions::Verdict::Proceed => engine::Verdict::Proceed,
        preconditions::Verdict::Wait(waiting) => engine::Verdict::Wait {
            unmet: waiting
                .unmet
                .into_iter()
                .map(|unmet| engine::Unmet {
                    name: unmet.name,
                    message: unmet.message,
                })
                .collect(),
            recheck_after_ms: waiting.recheck_after_ms,
        },
        preconditions::Verdict::NotApplicable(why) => engine::Verdict::NotApplicable(why),
    };
    if matches!(&verdict, engine::Verdict::Wait { unmet, .. } if unmet.is_empty()) {
        return Err(Cause::OutputInvalid {
            field: "verdict.wait.unmet".to_owned(),
            problem: "is empty; it must say what is waited for".to_owned(),
        });
    }
    Ok(engine::PhaseAnswer {
        said: engine::Said::Preconditions(verdict),
        carry: json("carry", &answer.carry)?,
    })
}

pub(crate) fn resources(plan: resources::Plan) -> Result<engine::PhaseAnswer, Cause> {
    let carry = json("carry", &plan.carry)?;
    let operations = plan
        .operations
        .into_iter()
        .enumerate()
        .map(operation)
        .collect::<Result<_, _>>()?;
    let plan = engine::Plan {
        operations,
        more: plan.more,
    };
    Ok(engine::PhaseAnswer {
        said: engine::Said::Resources(plan),
        carry,
    })
}

fn operation((index, operation): (usize, resources::Operation)) -> Result<engine::Operation, Cause> {
    Ok(match operation {
        resources::Operation::Apply(manifest) => engine::Operation::Apply(engine::Manifest {
            document: object(&format!("operations[{index}].document"), &manifest.document)?.into(),
            name: manifest.name,
            recreate: manifest.recreate,
            after: manifest.after,
        }),
        resources::Operation::Delete(deletion) => engine::Operation::Delete {
            name: deletion.name,
            target: reference(deletion.target),
            propagation: match deletion.propagation {
                resources::Propagation::Background => engine::Propagation::Background,
                resources::Propagation::Foreground => engine::Propagation::Foreground,
                resources::Propagation::Orphan => engine::Propagation::Orphan,
            },
        },
        resources::Operation::Discover(query) => engine::Operation::Discover(engine::Query {
            name: query.name,
            api_version: query.api_version,
            kind: query.kind,
            namespace: query.namespace,
            selector: match query.selector {
                resources::Selector::Name(name) => engine::Selector::Name(name),
                resources::Selector::Labels(labels) => engine::Selector::Labels(pairs(labels)),
            },
        }),
        resources::Operation::Skip(skipped) => engine::Operation::Skip {
            name: skipped.name,
            reason: skipped.reason,
        },
    })
}

pub(crate) fn postconditions(answer: postconditions::Answer) -> Result<engine::PhaseAnswer, Cause> {
    let achievement = match answer.outcome {
        postconditions::Outcome::Pending(progress) => engine::Achievement::Pending {
            message: progress.message,
            recheck_after_ms: progress.recheck_after_ms,
        },
        postconditions::Outcome::Achieved => engine::Achievement::Achieved,
        postconditions::Outcome::Failed(because) => engine::Achievement::Failed(failure(because)),
    };
    Ok(engine::PhaseAnswer {
        said: engine::Said::Postconditions(achievement),
        carry: json("carry", &answer.carry)?,
    })
}

pub(crate) fn status(answer: status::Answer) -> Result<engine::PhaseAnswer, Cause> {
    let report = match answer.report {
        None => None,
        Some(report) => Some(engine::StatusReport {
            conditions: report.conditions.into_iter().map(condition).collect(),
            data: object("report.data", &report.data)?,
        }),
    };
    let actions = answer
        .actions
        .into_iter()
        .enumerate()
        .map(action)
        .collect::<Result<_, _>>()?;
    let answer = engine::StatusAnswer { report, actions };
    Ok(engine::PhaseAnswer {
        said: engine::Said::Status(answer),
        carry: Value::Null,
    })
}

fn condition(condition: guest::Condition) -> engine::Condition {
    engine::Condition {
        kind: condition.type_name,
        status: match condition.status {
            guest::Truth::True => engine::Truth::True,
            guest::Truth::False => engine::Truth::False,
            guest::Truth::Unknown => engine::Truth::Unknown,
        },
        reason: condition.reason,
        message: condition.message,
    }
}

fn action((index, action): (usize, status::HttpAction)) -> Result<engine::HttpAction, Cause> {
    if let Some(body) = &action.body {
        json(&format!("actions[{index}].body"), body)?;
    }
    Ok(engine::HttpAction {
        name: action.name,
        method: action.method,
        url: action.url,
        headers: pairs(action.headers),
        body: action.body,
    })
}
