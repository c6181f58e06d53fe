//! The exports: each phase's question to the plugin's trait, and its answer back.

use std::{marker::PhantomData, sync::Once};

use super::{
    convert::{self, failure_out},
    postconditions::exports::hyperfleet::adapter::postconditions,
    preconditions::exports::hyperfleet::adapter::preconditions,
    resources::exports::hyperfleet::adapter::resources,
    setup::exports::hyperfleet::adapter::setup,
    status::exports::hyperfleet::adapter::status,
    vary::exports::hyperfleet::adapter::vary,
    wit::types,
};
use crate::{
    Draft, Effect, Json, Operation, OperationResult, Outcome, Phase, Postconditions, Preconditions, Propagation,
    RawSetup, Resources, Selector, Status, Vary, VaryBy, Verdict, log,
};

/// Exports the phases that `T` implements.
#[derive(Debug)]
pub struct Exports<T>(PhantomData<T>);

/// Makes panics visible: on this target their message is lost otherwise.
fn enter() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|panic| log::error(panic.to_string()))));
}

impl<T: RawSetup> setup::Guest for Exports<T> {
    fn prepare(config: String) -> Result<Vec<u8>, Vec<types::Problem>> {
        enter();
        T::prepare_raw(&Json::from_text(config)).map_err(|problems| {
            problems
                .into_iter()
                .map(|problem| types::Problem {
                    path: problem.path,
                    message: problem.message,
                    hint: problem.hint,
                })
                .collect()
        })
    }
}

impl<T: Vary> vary::Guest for Exports<T> {
    fn by(prepared: Vec<u8>) -> vary::ByPhase {
        enter();
        let [preconditions, resources, postconditions, status] = [
            Phase::Preconditions,
            Phase::Resources,
            Phase::Postconditions,
            Phase::Status,
        ]
        .map(|phase| {
            let VaryBy {
                trigger,
                subject_status,
                statuses,
                owner,
                now,
                seed,
            } = T::vary(&prepared, phase);
            let named = [
                (trigger, vary::Part::TRIGGER),
                (subject_status, vary::Part::SUBJECT_STATUS),
                (statuses, vary::Part::STATUSES),
                (owner, vary::Part::OWNER),
                (now, vary::Part::NOW),
                (seed, vary::Part::SEED),
            ];
            let named = named.into_iter().filter(|(is, _)| *is);
            named.fold(vary::Part::empty(), |all, (_, one)| all | one)
        });
        vary::ByPhase {
            preconditions,
            resources,
            postconditions,
            status,
        }
    }
}

impl<T: Preconditions> preconditions::Guest for Exports<T> {
    fn evaluate(facts: types::Facts) -> Result<preconditions::Answer, types::Failure> {
        enter();
        let answer = T::preconditions(&convert::facts(facts)).map_err(failure_out)?;
        let verdict = match answer.value {
            Verdict::Proceed => preconditions::Verdict::Proceed,
            Verdict::Wait {
                unmet,
                recheck_after_ms,
            } => preconditions::Verdict::Wait(preconditions::Waiting {
                unmet: unmet
                    .into_iter()
                    .map(|unmet| preconditions::Unmet {
                        name: unmet.name,
                        message: unmet.message,
                    })
                    .collect(),
                recheck_after_ms,
            }),
            Verdict::NotApplicable(why) => preconditions::Verdict::NotApplicable(why),
        };
        Ok(preconditions::Answer {
            verdict,
            carry: answer.carry.into_text(),
        })
    }
}

impl<T: Resources> resources::Guest for Exports<T> {
    fn plan_objects(facts: types::Facts, objects: Vec<types::Object>) -> Result<resources::Plan, types::Failure> {
        enter();
        let answer = T::resources(&convert::facts(facts), &convert::objects(objects)).map_err(failure_out)?;
        Ok(resources::Plan {
            operations: answer.value.operations.into_iter().map(operation).collect(),
            more: answer.value.more,
            carry: answer.carry.into_text(),
        })
    }
}

fn operation(operation: Operation) -> resources::Operation {
    match operation {
        Operation::Apply(manifest) => resources::Operation::Apply(resources::Manifest {
            name: manifest.name,
            document: manifest.document.into_text(),
            recreate: manifest.recreate,
            after: manifest.after,
        }),
        Operation::Delete(deletion) => resources::Operation::Delete(resources::Deletion {
            name: deletion.name,
            target: convert::reference_out(deletion.target),
            propagation: match deletion.propagation {
                Propagation::Background => resources::Propagation::Background,
                Propagation::Foreground => resources::Propagation::Foreground,
                Propagation::Orphan => resources::Propagation::Orphan,
            },
        }),
        Operation::Discover(query) => resources::Operation::Discover(resources::Query {
            name: query.name,
            api_version: query.api_version,
            kind: query.kind,
            namespace: query.namespace,
            selector: match query.selector {
                Selector::Name(name) => resources::Selector::Name(name),
                Selector::Labels(labels) => resources::Selector::Labels(convert::pairs(labels)),
            },
        }),
        Operation::Skip { name, reason } => resources::Operation::Skip(resources::Skipped { name, reason }),
    }
}

impl<T: Postconditions> postconditions::Guest for Exports<T> {
    fn evaluate(facts: types::Facts, objects: Vec<types::Object>) -> Result<postconditions::Answer, types::Failure> {
        enter();
        let answer = T::postconditions(&convert::facts(facts), &convert::objects(objects)).map_err(failure_out)?;
        let outcome = match answer.value {
            Outcome::Pending {
                message,
                recheck_after_ms,
            } => postconditions::Outcome::Pending(postconditions::Progress {
                message,
                recheck_after_ms,
            }),
            Outcome::Achieved => postconditions::Outcome::Achieved,
            Outcome::Failed(failure) => postconditions::Outcome::Failed(failure_out(failure)),
        };
        Ok(postconditions::Answer {
            outcome,
            carry: answer.carry.into_text(),
        })
    }
}

impl<T: Status> status::Guest for Exports<T> {
    fn report(
        facts: types::Facts,
        objects: Vec<types::Object>,
        draft: status::Draft,
    ) -> Result<status::Answer, types::Failure> {
        enter();
        let draft = Draft {
            journey: draft.journey,
            conditions: convert::conditions_in(draft.conditions),
            operations: draft
                .operations
                .into_iter()
                .map(|result| OperationResult {
                    name: result.name,
                    effect: effect(result.effect),
                })
                .collect(),
        };
        let answer = T::status(&convert::facts(facts), &convert::objects(objects), &draft).map_err(failure_out)?;
        Ok(status::Answer {
            report: answer.report.map(|report| status::StatusReport {
                conditions: convert::conditions_out(report.conditions),
                // An absent document stands for "nothing to add", which the contract writes as an empty object.
                data: if report.data.is_null() {
                    "{}".to_owned()
                } else {
                    report.data.into_text()
                },
            }),
            actions: answer
                .actions
                .into_iter()
                .map(|action| status::HttpAction {
                    name: action.name,
                    method: action.method,
                    url: action.url,
                    headers: convert::pairs(action.headers),
                    body: action.body.map(Json::into_text),
                })
                .collect(),
        })
    }
}

fn effect(effect: status::Effect) -> Effect {
    match effect {
        status::Effect::Created => Effect::Created,
        status::Effect::Updated => Effect::Updated,
        status::Effect::Recreated => Effect::Recreated,
        status::Effect::Unchanged => Effect::Unchanged,
        status::Effect::Deleted => Effect::Deleted,
        status::Effect::Absent => Effect::Absent,
        status::Effect::Found => Effect::Found,
        status::Effect::Skipped(why) => Effect::Skipped(why),
        status::Effect::Failed(failure) => Effect::Failed(convert::failure_in(failure)),
    }
}
