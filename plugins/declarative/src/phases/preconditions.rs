//! May the adapter act?
//!
//! A step whose expression is true is met. False is "not yet", or "not applicable" where the step says so. A field
//! that does not exist is always "not yet": what is not known decides nothing. "Not applicable" wins over everything,
//! also over a step that cannot be evaluated: a subject that is not ours need not fit our expressions.

use berth_sdk::{Facts, Failure, Unmet, Verdict};

use crate::{
    config::Otherwise,
    facts,
    fault::Fault,
    program::{Part, Precondition},
    scene::{Scene, expression_failed},
};

/// Decides.
///
/// # Errors
/// When a step cannot be evaluated and none says that the subject is not ours.
pub fn evaluate(part: &Part<Vec<Precondition>>, facts: &Facts) -> Result<Verdict, Failure> {
    let roots = facts::roots(&part.reads, facts, &[], None)?;
    let scene = Scene::new(&roots);
    let mut failure = None;
    let mut unmet = Vec::new();
    let mut recheck: Option<u32> = None;
    for step in &part.steps {
        let name = &step.name;
        let source = step.expression.source();
        let message = match (step.expression.holds(&scene.facts), step.otherwise) {
            (Ok(true), _) => continue,
            (Ok(false), Otherwise::NotApplicable) => {
                let fallback = format!("{name}: {source} is false");
                return Ok(Verdict::NotApplicable(scene.message(step.message.as_ref(), fallback)));
            }
            (Ok(false), Otherwise::Wait) => scene.message(step.message.as_ref(), format!("{name}: {source} is false")),
            (Err(fault @ Fault::Missing { .. }), Otherwise::Wait | Otherwise::NotApplicable) => {
                format!("{name}: {fault}")
            }
            (Err(fault @ Fault::Broken { .. }), Otherwise::Wait | Otherwise::NotApplicable) => {
                failure.get_or_insert_with(|| expression_failed(name, source, &fault));
                continue;
            }
        };
        unmet.push(Unmet {
            name: name.clone(),
            message,
        });
        recheck = [recheck, step.recheck_after_ms].into_iter().flatten().min();
    }
    match (failure, unmet.is_empty()) {
        (Some(failure), _) => Err(failure),
        (None, true) => Ok(Verdict::Proceed),
        (None, false) => Ok(Verdict::Wait {
            unmet,
            recheck_after_ms: recheck,
        }),
    }
}
