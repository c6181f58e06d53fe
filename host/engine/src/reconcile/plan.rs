//! Plans made real: rounds of a plugin's plan, conditional writes, replacing and pruning.

use std::time::Duration;

use crate::{
    adapter::OnUpdate,
    contract::{
        Failure, Object, Operation, OperationEffect, OperationResult, Phase, Propagation, Query, Question, Reference,
        Said, Selector,
    },
    effect::{ClusterCause, ClusterFault, Delete, Deleted, Expect, Observed},
    manifest::{self, Checked},
    reason::Reason,
};

use super::{
    Recheck, evidence,
    run::{Ending, Run, Stop, creation_failed},
};

/// How often a plugin may say `more`.
const ROUNDS: usize = 32;
/// How often a write is decided again after somebody else changed the object.
const ATTEMPTS: usize = 4;

/// What a plan left.
#[derive(Debug, Default)]
pub(super) struct Executed {
    /// Names of manifests that the plan has.
    pub(super) names: Vec<String>,
    /// Objects that were done at this generation and whose evidence is gone.
    pub(super) remembered: Vec<String>,
    /// What must end before the plan can go on.
    pub(super) waiting: Vec<String>,
    /// When to look again.
    pub(super) recheck: Recheck,
    /// Objects that the plan mentions, so that pruning leaves them.
    mentioned: Vec<Reference>,
    /// Names that the plan leaves as they are.
    pub(super) kept: Vec<String>,
}

/// What became of one manifest.
enum Applied {
    Is(OperationEffect),
    /// It was done before and its evidence is gone.
    Remembered,
    /// Something must end first.
    Waits(String),
}

/// Asks for the plan, applies it and prunes what it dropped.
pub(super) async fn execute(run: &mut Run) -> Result<Executed, Stop> {
    let deleting = run.facts.subject.deleting;
    let mut executed = Executed::default();
    let mut last_round = Vec::new();
    for step in run.adapter.steps(Phase::Resources).to_vec() {
        if !step.during.includes(deleting) {
            continue;
        }
        let mut rounds = 0;
        loop {
            let objects: Vec<Object> = run
                .observed
                .iter()
                .map(evidence::object)
                .chain(run.found.iter().cloned())
                .collect();
            let facts = run.facts_for(&step.plugin);
            let plan = match run.ask(&step.plugin, Question::Resources { facts, objects }).await? {
                Said::Resources(plan) => plan,
                Said::Preconditions(_) | Said::Postconditions(_) | Said::Status(_) => {
                    let problem = "it answers another phase";
                    return Err(run.invalid_output(&step.plugin, Phase::Resources, problem).into());
                }
            };
            if !plan.more {
                last_round.extend(plan.operations.into_iter().map(|one| (step.plugin.clone(), one)));
                break;
            }
            rounds += 1;
            if rounds == ROUNDS {
                let message = format!("plugin `{}` still says `more` after {ROUNDS} rounds", step.plugin);
                return Err(Ending::new(creation_failed(Reason::PlanInvalid.name(), message), Recheck::Never).into());
            }
            let operations = plan
                .operations
                .into_iter()
                .map(|one| (step.plugin.clone(), one))
                .collect();
            operate(run, &mut executed, operations).await?;
            if !executed.waiting.is_empty() {
                return Ok(executed);
            }
        }
    }
    operate(run, &mut executed, last_round).await?;
    if executed.waiting.is_empty() && !deleting {
        prune(run, &mut executed).await?;
    }
    Ok(executed)
}

/// Executes operations. Every manifest is checked before anything is written.
async fn operate(run: &mut Run, executed: &mut Executed, operations: Vec<(String, Operation)>) -> Result<(), Stop> {
    let mut manifests = Vec::new();
    for (plugin, operation) in &operations {
        if let Operation::Apply(manifest) = operation {
            match manifest::check(manifest, plugin, &run.adapter, &run.facts.subject) {
                Ok(checked) => manifests.push(checked),
                Err(failure) => return Err(refused(run, &manifest.name, failure).into()),
            }
        }
    }
    let repeated = manifests
        .iter()
        .find(|one| executed.names.contains(&one.name))
        .map(|one| one.name.clone());
    if let Some(name) = repeated {
        let message = format!("the plan has two manifests named `{name}`");
        let failure = Failure {
            reason: Reason::PlanInvalid.name().to_owned(),
            message,
        };
        return Err(refused(run, &name, failure).into());
    }
    let known: Vec<String> = executed.names.iter().chain(&executed.kept).cloned().collect();
    let mut ordered = match manifest::order(manifests, &known) {
        Ok(ordered) => ordered.into_iter(),
        Err(failure) => return Err(refused(run, "plan", failure).into()),
    };
    for (_, operation) in operations {
        let (name, effect) = match operation {
            Operation::Apply(_) => {
                let Some(checked) = ordered.next() else { continue };
                executed.names.push(checked.name.clone());
                executed.mentioned.push(checked.reference.clone());
                match apply(run, &checked).await? {
                    Applied::Is(effect) => (checked.name, effect),
                    Applied::Remembered => {
                        executed.remembered.push(checked.reference.to_string());
                        (checked.name, OperationEffect::Unchanged)
                    }
                    Applied::Waits(what) => {
                        let effect = OperationEffect::Skipped(what.clone());
                        run.operations.push(OperationResult {
                            name: checked.name,
                            effect,
                        });
                        executed.waiting.push(what);
                        return Ok(());
                    }
                }
            }
            Operation::Delete {
                name,
                target,
                propagation,
            } => {
                let target = Reference {
                    namespace: target.namespace,
                    ..target
                };
                executed.mentioned.push(target.clone());
                let generation = run.facts.subject.generation;
                let effect = match run.observed.iter().find(|one| manifest::is_same(one, &target)).cloned() {
                    Some(newer) if newer.generation > generation => {
                        OperationEffect::Skipped("a newer generation owns it".to_owned())
                    }
                    Some(observed) => delete(run, &observed, propagation).await?,
                    None => OperationEffect::Absent,
                };
                (name, effect)
            }
            Operation::Discover(query) => {
                let name = query.name.clone();
                let effect = discover(run, query).await?;
                (name, effect)
            }
            Operation::Skip { name, reason } => {
                executed.kept.push(name.clone());
                (name, OperationEffect::Skipped(reason))
            }
        };
        run.operations.push(OperationResult { name, effect });
    }
    Ok(())
}

/// A manifest or a plan that cannot be executed, whatever the API server would say.
fn refused(run: &mut Run, name: &str, failure: Failure) -> Ending {
    let journey = creation_failed(&failure.reason, failure.message.clone());
    run.operations.push(OperationResult {
        name: name.to_owned(),
        effect: OperationEffect::Failed(failure),
    });
    Ending::new(journey, Recheck::Never)
}

/// Records the failure of an operation and says how the reconcile ends.
fn failed(run: &mut Run, name: &str, fault: &ClusterFault, doing: &str) -> Stop {
    let ending = run.stopped_by(fault, doing);
    let failure = Failure {
        reason: ending.journey.reason(),
        message: fault.message.clone(),
    };
    run.operations.push(OperationResult {
        name: name.to_owned(),
        effect: OperationEffect::Failed(failure),
    });
    ending.into()
}

async fn apply(run: &mut Run, checked: &Checked) -> Result<Applied, Stop> {
    let generation = run.facts.subject.generation;
    let mut recreated = false;
    for attempt in 0..ATTEMPTS {
        // An earlier run under another object name ends first, so that two never overlap.
        if checked.runs_once()
            && let Some(earlier) = run
                .observed
                .iter()
                .find(|one| {
                    one.name == checked.name
                        && one.generation < generation
                        && manifest::runs_once(&one.reference)
                        && !manifest::is_same(one, &checked.reference)
                        && !evidence::has_ended(one)
                })
                .cloned()
        {
            match retire(run, checked, &earlier).await? {
                Some(what) => return Ok(Applied::Waits(what)),
                None => continue,
            }
        }
        let existing = run
            .observed
            .iter()
            .find(|one| manifest::is_same(one, &checked.reference));
        let expect = match existing {
            None if checked.runs_once() && is_done_before(run, &checked.reference) => return Ok(Applied::Remembered),
            None => Expect::Absent,
            Some(one) if one.generation > generation => {
                return Err(Stop::Retry {
                    reason: Reason::WaitingForEarlierGeneration,
                    message: format!(
                        "{} is of generation {}, ours is {generation}",
                        one.reference, one.generation
                    ),
                    after: Some(Duration::from_secs(1)),
                });
            }
            Some(one) if one.deleting => return Ok(Applied::Waits(format!("{} must be gone first", one.reference))),
            Some(one)
                if one.generation == generation && one.manifest_hash == checked.hash && !is_made_again(run, one) =>
            {
                return Ok(Applied::Is(if recreated {
                    OperationEffect::Recreated
                } else {
                    OperationEffect::Unchanged
                }));
            }
            // A run that ended well at this generation stays: a changed document is for the next one.
            Some(one)
                if checked.runs_once()
                    && one.generation == generation
                    && evidence::progress(one) == evidence::Progress::Done =>
            {
                return Ok(Applied::Is(OperationEffect::Unchanged));
            }
            Some(one) if checked.runs_once() || (checked.recreate && one.manifest_hash != checked.hash) => {
                recreated = true;
                let one = one.clone();
                match retire(run, checked, &one).await? {
                    Some(what) => return Ok(Applied::Waits(what)),
                    None => continue,
                }
            }
            Some(one) => Expect::Unchanged {
                uid: one.uid.clone(),
                resource_version: one.resource_version.clone(),
            },
        };
        let creates = expect == Expect::Absent;
        // A write whose answer is lost may have been made all the same.
        run.places.add(&checked.reference);
        match run
            .io
            .apply(checked.apply(&run.adapter.name, &run.facts.subject, expect))
            .await
        {
            Ok(mut observed) => {
                run.bear_crashes(&mut observed);
                run.observed.retain(|one| !manifest::is_same(one, &checked.reference));
                run.observed.push(observed);
                return Ok(Applied::Is(match (creates, recreated) {
                    (true, true) => OperationEffect::Recreated,
                    (true, false) => OperationEffect::Created,
                    (false, _) => OperationEffect::Updated,
                }));
            }
            Err(fault) if fault.cause == ClusterCause::Stale => {
                run.refresh().await?;
                let ours = run
                    .observed
                    .iter()
                    .any(|one| manifest::is_same(one, &checked.reference));
                if creates && !ours && is_foreign(run, checked, attempt).await? {
                    let failure = Failure {
                        reason: Reason::ObjectNotOurs.name().to_owned(),
                        message: format!(
                            "{} exists and is not this adapter's for this subject",
                            checked.reference
                        ),
                    };
                    let mut ending = refused(run, &checked.name, failure);
                    ending.recheck = Recheck::Trouble { at_least: None };
                    return Err(ending.into());
                }
            }
            Err(fault) => {
                return Err(failed(
                    run,
                    &checked.name,
                    &fault,
                    &format!("applying {}", checked.reference),
                ));
            }
        }
    }
    Err(Stop::Retry {
        reason: Reason::CreationFailed,
        message: format!("{} keeps changing while it is applied", checked.reference),
        after: Some(Duration::from_secs(1)),
    })
}

/// Whether a run failed that somebody wants again by hand.
fn is_made_again(run: &Run, observed: &Observed) -> bool {
    run.by_hand
        && manifest::runs_once(&observed.reference)
        && matches!(evidence::progress(observed), evidence::Progress::Failed(_))
}

/// Whether a run that is missing was done at this generation: never again then.
fn is_done_before(run: &Run, reference: &Reference) -> bool {
    run.has_succeeded() || run.finished().contains(&reference.to_string())
}

/// Whether an object of that name exists that is not ours. Where the adapter may not look, a
/// create that is refused twice says so.
async fn is_foreign(run: &mut Run, checked: &Checked, attempt: usize) -> Result<bool, Stop> {
    let query = Query {
        name: checked.name.clone(),
        api_version: checked.reference.api_version.clone(),
        kind: checked.reference.kind.clone(),
        namespace: checked.reference.namespace.clone(),
        selector: Selector::Name(checked.reference.name.clone()),
    };
    match run.io.find(query).await {
        Ok(found) => Ok(found.first().is_some_and(|document| {
            let ours = manifest::read(document);
            !ours.is_some_and(|(adapter, subject, ..)| {
                adapter == run.adapter.name && subject.key == run.facts.subject.key
            })
        })),
        Err(fault) if fault.cause == ClusterCause::Unreachable => {
            Err(run.stopped_by(&fault, "looking an object up").into())
        }
        Err(_) => Ok(attempt > 0),
    }
}

/// Takes an earlier object away. None when it is gone already; else what is waited for.
async fn retire(run: &mut Run, checked: &Checked, earlier: &Observed) -> Result<Option<String>, Stop> {
    let of_generation = format!("{} of generation {}", earlier.reference, earlier.generation);
    if earlier.deleting {
        return Ok(Some(format!("{of_generation} must be gone first")));
    }
    if checked.on_update == OnUpdate::WaitForCompletion
        && manifest::runs_once(&earlier.reference)
        && earlier.generation < run.facts.subject.generation
        && !evidence::has_ended(earlier)
    {
        return Ok(Some(format!("{of_generation} must end first")));
    }
    match delete(run, earlier, Propagation::Foreground).await? {
        OperationEffect::Absent => {}
        _ => run.refresh().await?,
    }
    match run.observed.iter().find(|one| one.uid == earlier.uid) {
        Some(_) => Ok(Some(format!("{of_generation} must be gone first"))),
        None => Ok(None),
    }
}

/// Deletes one of our objects if it is as observed.
pub(super) async fn delete(
    run: &mut Run,
    observed: &Observed,
    propagation: Propagation,
) -> Result<OperationEffect, Stop> {
    if observed.deleting {
        return Ok(OperationEffect::Deleted);
    }
    let mut observed = observed.clone();
    for _ in 0..ATTEMPTS {
        let delete = Delete {
            reference: observed.reference.clone(),
            uid: observed.uid.clone(),
            resource_version: observed.resource_version.clone(),
            propagation,
        };
        match run.io.delete(delete).await {
            Ok(Deleted::Begun) => {
                if let Some(known) = run.observed.iter_mut().find(|one| one.uid == observed.uid) {
                    known.deleting = true;
                }
                return Ok(OperationEffect::Deleted);
            }
            Ok(Deleted::Absent) => {
                run.observed.retain(|one| one.uid != observed.uid);
                return Ok(OperationEffect::Absent);
            }
            Err(fault) if fault.cause == ClusterCause::Stale => {
                run.refresh().await?;
                match run.observed.iter().find(|one| one.uid == observed.uid) {
                    Some(one) if one.deleting => return Ok(OperationEffect::Deleted),
                    // A newer generation took it over: no longer ours to delete.
                    Some(one) if one.generation > run.facts.subject.generation => {
                        return Ok(OperationEffect::Skipped("a newer generation owns it".to_owned()));
                    }
                    Some(one) => observed = one.clone(),
                    None => return Ok(OperationEffect::Absent),
                }
            }
            Err(fault) => {
                let doing = format!("deleting {}", observed.reference);
                return Err(failed(run, &observed.name, &fault, &doing));
            }
        }
    }
    Err(Stop::Retry {
        reason: Reason::CleanupFailed,
        message: format!("{} keeps changing while it is deleted", observed.reference),
        after: Some(Duration::from_secs(1)),
    })
}

async fn discover(run: &mut Run, query: Query) -> Result<OperationEffect, Stop> {
    let name = query.name.clone();
    match run.io.find(query).await {
        Ok(documents) => {
            run.found.retain(|object| object.name != name);
            let effect = if documents.is_empty() {
                OperationEffect::Absent
            } else {
                OperationEffect::Found
            };
            let subject = &run.facts.subject.key;
            let found = documents.into_iter().map(|document| {
                let ours = manifest::read(&document).filter(|(_, of, ..)| of.key == *subject);
                let generation = ours.map_or(0, |(_, _, _, generation, _)| generation);
                Object {
                    name: name.clone(),
                    generation,
                    document: document.into(),
                    diagnosis: None,
                }
            });
            run.found.extend(found.collect::<Vec<_>>());
            Ok(effect)
        }
        Err(fault) => Err(failed(run, &name, &fault, "looking objects up")),
    }
}

/// Removes what an earlier plan had and this one does not mention.
async fn prune(run: &mut Run, executed: &mut Executed) -> Result<(), Stop> {
    let generation = run.facts.subject.generation;
    let dropped: Vec<Observed> = run
        .observed
        .iter()
        .filter(|one| {
            one.generation <= generation
                && !one.deleting
                && !executed.kept.contains(&one.name)
                && !executed
                    .mentioned
                    .iter()
                    .any(|mentioned| manifest::is_same(one, mentioned))
        })
        .cloned()
        .collect();
    for one in dropped {
        let effect = delete(run, &one, Propagation::Foreground).await?;
        run.operations.push(OperationResult {
            name: one.name.clone(),
            effect,
        });
    }
    cleanup(run, executed).await
}

/// Deletes workloads that ended well, once a report that names them was accepted.
async fn cleanup(run: &mut Run, executed: &mut Executed) -> Result<(), Stop> {
    let Some(cleanup) = run.adapter.cleanup else {
        return Ok(());
    };
    if !run.has_succeeded() {
        return Ok(());
    }
    let finished = run.finished();
    let generation = run.facts.subject.generation;
    let due: Vec<Observed> = run
        .observed
        .iter()
        .filter(|one| {
            one.generation == generation
                && !one.deleting
                && finished.contains(&one.reference.to_string())
                && evidence::progress(one) == evidence::Progress::Done
                && evidence::completed_at(one)
                    .is_some_and(|end| evidence::remaining(end, run.cluster_now, cleanup.after).is_none())
        })
        .cloned()
        .collect();
    for one in due {
        delete(run, &one, Propagation::Background).await?;
        executed.remembered.push(one.reference.to_string());
        // Its evidence goes with it; the rest of this reconcile treats it as gone.
        run.observed.retain(|other| other.uid != one.uid);
    }
    Ok(())
}

/// The documents of objects, for messages about what is left.
pub(super) fn names(observed: &[Observed]) -> String {
    let names: Vec<String> = observed.iter().map(|one| one.reference.to_string()).collect();
    names.join(", ")
}
