//! Where a reconcile begins: the subject, its statuses, its owner, and what is told where the
//! HyperFleet API does not answer.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use crate::{
    contract::{AdapterStatus, Facts, Owner},
    document::Document,
    effect::FleetFault,
    reason::Reason,
    report::{Journey, Report},
    subject::{Generation, Subject},
};

use super::{
    Input, Memory, Outcome, Recheck, Reported, Row, deletion,
    io::Io,
    live::live,
    places::Places,
    run::{Run, Stop, microseconds, own_row, refusal, succeeded},
};

/// Runs one reconcile to its end.
pub(super) async fn reconcile(io: Io, input: Input) -> Outcome {
    let path = input.subject.href.clone();
    let subject = match io.fetch(&path).await {
        Ok(document) => match Subject::from_document(document, &path) {
            Ok(subject) if subject.key != input.subject.key => {
                return Outcome::Retry {
                    reason: Reason::FleetApiMisconfigured,
                    message: format!("GET {path} gave {}, not {}", subject.key, input.subject.key),
                    after: None,
                };
            }
            Ok(subject) => subject,
            Err(problem) => {
                return Outcome::Retry {
                    reason: Reason::FleetApiMisconfigured,
                    message: format!("GET {path}: {problem}"),
                    after: None,
                };
            }
        },
        Err(FleetFault::Gone) => return vanished(io, &input).await,
        Err(fault) => {
            let row = io
                .statuses(&path)
                .await
                .ok()
                .map(|rows| own_row(&rows, &input.adapter.name).cloned());
            let generation = input.subject.generation.max(input.memory.generation);
            return fleet_unreachable(io, &input, &path, generation, row, &fault).await;
        }
    };
    let statuses = match io.statuses(&subject.href).await {
        Ok(statuses) => statuses,
        Err(FleetFault::Gone) => return vanished(io, &input).await,
        Err(fault) => return fleet_unreachable(io, &input, &path, subject.generation, None, &fault).await,
    };
    let owner = match owner(&io, &subject).await {
        Ok(owner) => owner,
        Err(fault) => {
            let row = Some(own_row(&statuses, &input.adapter.name).cloned());
            return fleet_unreachable(io, &input, &path, subject.generation, row, &fault).await;
        }
    };
    let row = own_row(&statuses, &input.adapter.name);
    let places = Places::of_row(row);
    let since = row
        .filter(|row| row.observed_generation == subject.generation)
        .and_then(|row| row.data["berth"]["since"].as_object())
        .map(|since| {
            since
                .iter()
                .filter_map(|(key, time)| Some((key.clone(), time.as_str()?.to_owned())))
                .collect()
        })
        .unwrap_or_default();
    let deleting = subject.deleting;
    let mut run = Run {
        facts: Arc::new(Facts {
            adapter: input.adapter.name.clone(),
            trigger: input.trigger.clone(),
            subject,
            owner,
            statuses,
            carry: Value::Null,
            now: microseconds(input.now),
        }),
        io,
        adapter: Arc::clone(&input.adapter),
        cluster_now: input.cluster_now.unwrap_or(input.now),
        by_hand: input.by_hand,
        observed: Vec::new(),
        found: Vec::new(),
        operations: Vec::new(),
        carries: BTreeMap::new(),
        since,
        places,
        grace_ends: None,
    };
    let ending = if deleting {
        deletion::run(&mut run).await
    } else {
        live(&mut run).await
    };
    match ending {
        Ok(ending) => run.tell(ending, &input).await,
        Err(Stop::Ends(ending)) => run.tell(*ending, &input).await,
        Err(Stop::Retry { reason, message, after }) => Outcome::Retry { reason, message, after },
    }
}

/// The subject is gone, and its rows with it: where it had objects is known by what this process
/// remembers, and by the document.
async fn vanished(io: Io, input: &Input) -> Outcome {
    let row = input.memory.row.as_ref().and_then(Row::read);
    let places = Places::of_row(row.as_ref());
    deletion::vanished(io, input, &places).await
}

async fn owner(io: &Io, subject: &Subject) -> Result<Option<Owner>, FleetFault> {
    let Some(reference) = subject.owner.clone() else {
        return Ok(None);
    };
    if reference.href.is_empty() {
        return Ok(Some(Owner {
            reference,
            document: Document::default(),
            statuses: Vec::new(),
        }));
    }
    let document = match io.fetch(&reference.href).await {
        Ok(document) => document,
        Err(FleetFault::Gone) => {
            return Ok(Some(Owner {
                reference,
                document: Document::default(),
                statuses: Vec::new(),
            }));
        }
        Err(fault) => return Err(fault),
    };
    let statuses = match io.statuses(&reference.href).await {
        Ok(statuses) => statuses,
        Err(FleetFault::Gone) => Vec::new(),
        Err(fault) => return Err(fault),
    };
    Ok(Some(Owner {
        reference,
        document,
        statuses,
    }))
}

/// A6 of the HyperFleet API: told if a PUT still works, else kept.
async fn fleet_unreachable(
    io: Io,
    input: &Input,
    path: &str,
    generation: Generation,
    row: Option<Option<AdapterStatus>>,
    fault: &FleetFault,
) -> Outcome {
    let untold = refusal(fault, Reason::SubjectRejected);
    let (reason, message, recheck) = match &untold {
        Outcome::Retry { reason, message, after } => (*reason, message, Recheck::Trouble { at_least: *after }),
        Outcome::Refused { reason, message } => (*reason, message, Recheck::Never),
        Outcome::Reported(_) | Outcome::Gone => return untold,
    };
    // A report replaces the row. Where the row is not known, what it remembers would be lost.
    let row = row.or_else(|| input.memory.row.as_ref().and_then(Row::read).map(Some));
    let (false, Some(row)) = (generation == 0, row) else {
        return untold;
    };
    let places = Places::of_row(row.as_ref());
    let row = row.filter(|row| row.observed_generation == generation);
    let after_success = succeeded(row.as_ref());
    let journey = Journey::Unreachable {
        reason,
        message: message.clone(),
        after_success,
    };
    let mut conditions = journey.conditions();
    let mut data = match places.told() {
        Some(kinds) => json!({ "berth": { "kinds": kinds } }),
        None => Value::Object(Map::new()),
    };
    let replaces = row.as_ref().and_then(AdapterStatus::reported_at);
    if let Some(row) = row {
        conditions.extend(
            row.conditions
                .into_iter()
                .filter(|kept| !matches!(kept.kind.as_str(), "Applied" | "Available" | "Health" | "Finalized")),
        );
        data = if row.data.is_object() { row.data } else { json!({}) };
    }
    let report = Report {
        as_of: input.now,
        replaces,
        adapter: input.adapter.name.clone(),
        observed_generation: generation,
        conditions,
        data,
        metadata: crate::report::Metadata::default(),
    };
    match io.report(path, report).await {
        Ok(crate::effect::Reported::Stored) => Outcome::Reported(Reported {
            journey,
            recheck,
            await_namespace: None,
            memory: Memory {
                generation,
                ..input.memory.clone()
            },
        }),
        Ok(crate::effect::Reported::Discarded) | Err(_) => untold,
    }
}
