//! Is the work done?
//!
//! The first step whose `failed` expression is true decides. Otherwise the work is done when every expression is
//! true. A field that does not exist is "not yet", for both kinds of expression.

use berth_sdk::{Facts, Failure, Object, Outcome};

use crate::{
    facts,
    fault::Fault,
    program::{Part, Postcondition},
    scene::{Scene, expression_failed},
};

/// Decides.
///
/// # Errors
/// When an expression cannot be evaluated and no step has failed.
pub fn evaluate(part: &Part<Vec<Postcondition>>, facts: &Facts, objects: &[Object]) -> Result<Outcome, Failure> {
    let roots = facts::roots(&part.reads, facts, objects, None)?;
    let scene = Scene::new(&roots);
    let mut failure = None;
    for step in &part.steps {
        let Some(failed) = &step.failed else { continue };
        let source = failed.expression.source();
        match failed.expression.holds(&scene.facts) {
            Ok(true) => {
                let message = scene.message(failed.message.as_ref(), format!("{}: {source} is true", step.name));
                return Ok(Outcome::Failed(Failure {
                    reason: failed.reason.clone(),
                    message,
                }));
            }
            Ok(false) | Err(Fault::Missing { .. }) => {}
            Err(fault @ Fault::Broken { .. }) => {
                failure.get_or_insert_with(|| expression_failed(&step.name, source, &fault));
            }
        }
    }
    let mut pending = Vec::new();
    for step in &part.steps {
        let (name, source) = (&step.name, step.expression.source());
        match step.expression.holds(&scene.facts) {
            Ok(true) => {}
            Ok(false) => pending.push(scene.message(step.message.as_ref(), format!("{name}: {source} is false"))),
            Err(fault @ Fault::Missing { .. }) => {
                pending.push(scene.message(step.message.as_ref(), format!("{name}: {fault}")));
            }
            Err(fault @ Fault::Broken { .. }) => {
                failure.get_or_insert_with(|| expression_failed(name, source, &fault));
            }
        }
    }
    match (failure, pending.is_empty()) {
        (Some(failure), _) => Err(failure),
        (None, true) => Ok(Outcome::Achieved),
        (None, false) => Ok(Outcome::pending(pending.join("; "))),
    }
}
