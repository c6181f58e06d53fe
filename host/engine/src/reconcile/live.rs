//! A subject that lives: dependencies, preconditions, plan, evidence.

use std::time::Duration;

use serde_json::Value;

use crate::{
    adapter::{NotApplicable, Of},
    contract::{Achievement, AdapterStatus, Failure, Nature, Object, Phase, Question, Said, Truth, Unmet, Verdict},
    effect::Observed,
    manifest,
    reason::Reason,
    report::Journey,
    subject::Generation,
};

use super::{
    Recheck,
    evidence::{self, Progress},
    plan,
    run::{Ending, Run, Stop, creation_failed},
};

/// How soon a workload's pods are expected.
const PODS_EXPECTED: Duration = Duration::from_secs(10);

/// How soon containers that were started again are looked at.
const STEADY: Duration = Duration::from_secs(10);

/// How soon a plugin may have itself asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// From preconditions to evidence.
pub(super) async fn live(run: &mut Run) -> Result<Ending, Stop> {
    run.refresh().await?;
    if let Some(ending) = preconditions(run).await? {
        return Ok(ending);
    }
    let plan = plan::execute(run).await?;
    judge(run, plan).await
}

/// Asks everything that must hold before; none where all of it does.
async fn preconditions(run: &mut Run) -> Result<Option<Ending>, Stop> {
    let mut unmet: Vec<Unmet> = run
        .adapter
        .depends_on
        .iter()
        .filter_map(|dependency| {
            let (rows, generation) = match dependency.of {
                Of::Subject => (run.facts.statuses.as_slice(), run.facts.subject.generation),
                Of::Owner => match &run.facts.owner {
                    Some(owner) => {
                        let generation = owner.document.get("generation").and_then(Value::as_u64).unwrap_or(0);
                        (owner.statuses.as_slice(), Generation::try_from(generation).unwrap_or(0))
                    }
                    None => (&[][..], 0),
                },
            };
            let message = dependency_state(rows, &dependency.adapter, generation)?;
            Some(Unmet {
                name: dependency.adapter.clone(),
                message,
            })
        })
        .collect();
    let mut recheck = if unmet.is_empty() {
        Recheck::Never
    } else {
        Recheck::Dependencies
    };
    for step in run.adapter.steps(Phase::Preconditions).to_vec() {
        let facts = run.facts_for(&step.plugin);
        let said = run.ask(&step.plugin, Question::Preconditions { facts }).await?;
        match said {
            Said::Preconditions(Verdict::Proceed) => {}
            Said::Preconditions(Verdict::Wait {
                unmet: more,
                recheck_after_ms,
            }) => {
                let time = recheck_after_ms.map(|ms| Duration::from_millis(ms.into()).max(ASKED_AGAIN));
                recheck = match recheck {
                    Recheck::Never => Recheck::Dependencies,
                    other => other,
                }
                .or_in(time);
                if more.is_empty() {
                    return Err(run
                        .invalid_output(&step.plugin, Phase::Preconditions, "it waits for nothing")
                        .into());
                }
                unmet.extend(more);
            }
            Said::Preconditions(Verdict::NotApplicable(why)) => {
                let available = run.adapter.not_applicable == NotApplicable::Available;
                let journey = Journey::NotApplicable { why, available };
                return Ok(Some(Ending::new(journey, Recheck::Never)));
            }
            Said::Resources(_) | Said::Postconditions(_) | Said::Status(_) => {
                return Err(run
                    .invalid_output(&step.plugin, Phase::Preconditions, "it answers another phase")
                    .into());
            }
        }
    }
    if unmet.is_empty() {
        return Ok(None);
    }
    let mut specifics: Vec<String> = unmet
        .iter()
        .map(|unmet| format!("{}: {}", unmet.name, unmet.message.trim_end_matches('.')))
        .collect();
    let earlier = run
        .observed
        .iter()
        .filter(|one| one.generation < run.facts.subject.generation);
    specifics.extend(
        earlier
            .filter(|one| !evidence::has_ended(one))
            .map(|one| format!("{} of generation {} still runs", one.reference, one.generation)),
    );
    let reason = Reason::PreconditionsNotMet.name().to_owned();
    Ok(Some(Ending::new(
        Journey::Waiting {
            reason,
            specifics: specifics.join("; "),
        },
        recheck,
    )))
}

/// Why a dependency is not met; none if it is.
fn dependency_state(rows: &[AdapterStatus], adapter: &str, generation: Generation) -> Option<String> {
    let Some(row) = rows.iter().find(|row| row.adapter == adapter) else {
        return Some("not reported yet".to_owned());
    };
    let available = row.condition("Available");
    match available {
        Some(condition) if condition.status == Truth::True && row.observed_generation == generation => None,
        Some(condition) if condition.status == Truth::True => Some(format!(
            "at generation {}, not yet at {generation}",
            row.observed_generation
        )),
        Some(condition) if condition.message.is_empty() => Some(format!("not available ({})", condition.reason)),
        Some(condition) => Some(format!("not available ({}: {})", condition.reason, condition.message)),
        None => Some("not available".to_owned()),
    }
}

/// Decides over the objects that the plan left.
async fn judge(run: &mut Run, plan: plan::Executed) -> Result<Ending, Stop> {
    let generation = run.facts.subject.generation;
    if !plan.waiting.is_empty() {
        let reason = Reason::WaitingForEarlierGeneration.name().to_owned();
        let journey = Journey::Waiting {
            reason,
            specifics: plan.waiting.join("; "),
        };
        return Ok(Ending::new(journey, Recheck::In(Duration::from_secs(30))));
    }
    let current: Vec<Observed> = run
        .observed
        .iter()
        .filter(|one| one.generation == generation && !one.deleting && plan.names.contains(&one.name))
        .cloned()
        .collect();

    // Work whose evidence is gone was done: our own row says so.
    if !plan.remembered.is_empty() && current.iter().all(|one| evidence::progress(one) == Progress::Done) {
        let message = format!("Done before: {}", plan.remembered.join(", "));
        let mut ending = Ending::new(Journey::Achieved { message }, plan.recheck);
        // What the row says of a failure, or of a time out of order, is not true any more.
        ending.keeps_row = run.has_succeeded();
        return Ok(ending);
    }

    run.forget_past_trouble();
    for one in &current {
        let trouble = one.diagnosis.as_ref();
        let Some(diagnosis) = trouble.filter(|diagnosis| diagnosis.nature == Nature::Infrastructure) else {
            continue;
        };
        let begun = run.begun(&one.reference, diagnosis);
        match evidence::remaining(begun, run.cluster_now, run.adapter.grace) {
            Some(rest) => run.grace_ends = Some(run.grace_ends.map_or(rest, |earlier| earlier.min(rest))),
            None => {
                let message = format!("{}: {}", one.reference, diagnosis.message);
                let journey = creation_failed(&diagnosis.reason, message);
                return Ok(Ending::new(journey, Recheck::Trouble { at_least: None }));
            }
        }
    }

    let objects: Vec<Object> = current
        .iter()
        .map(evidence::object)
        .chain(run.found.iter().cloned())
        .collect();
    let (outcome, recheck) = postconditions(run, &current, objects).await?;
    let steady = unsteady(&current);
    let recheck = recheck
        .or_in(run.grace_ends)
        .or_in(without_pods(&current))
        .or_in(steady);
    // What the built-in rules see as failed for good is failed, whatever waits for it.
    let failure = current.iter().find_map(|one| match evidence::progress(one) {
        Progress::Failed(failure) => Some(failure),
        Progress::Done | Progress::Running(_) => None,
    });
    Ok(match (outcome, failure) {
        (Achievement::Achieved, _) => achieved(run, &current, &plan),
        (Achievement::Failed(failure), _) => match current
            .iter()
            .find(|one| evidence::is_retrying(one) && one.document.outline()["status"]["failed"].as_u64() > Some(0))
        {
            Some(retrying) => in_progress(run, evidence::running(retrying), recheck),
            None => Ending::new(work_failed(failure), Recheck::Never.or_in(steady)),
        },
        (Achievement::Pending { .. }, Some(failure)) => Ending::new(work_failed(failure), Recheck::Never.or_in(steady)),
        (Achievement::Pending { message, .. }, None) => {
            let mut parts: Vec<String> = current
                .iter()
                .filter(|one| {
                    matches!(evidence::progress(one), Progress::Running(_)) && manifest::runs_once(&one.reference)
                })
                .map(evidence::running)
                .collect();
            if !message.is_empty() && !parts.contains(&message) {
                parts.insert(0, message);
            }
            in_progress(run, parts.join("; "), recheck)
        }
    })
}

/// When to look again at containers that were started again: that they run on is told by nothing but time.
fn unsteady(current: &[Observed]) -> Option<Duration> {
    let may_run_on = |one: &Observed| {
        let is_crash = one.diagnosis.as_ref().is_some_and(evidence::is_crash);
        is_crash && !manifest::runs_once(&one.reference)
    };
    current.iter().any(may_run_on).then_some(STEADY)
}

/// When to look again at a workload that has no pods yet: what keeps them away is told by events
/// alone, which may be out of reach.
fn without_pods(current: &[Observed]) -> Option<Duration> {
    let has_none = |one: &Observed| {
        let status = &one.document.outline()["status"];
        let is_job = manifest::runs_once(&one.reference);
        let nothing_runs = is_job && !status["startTime"].is_null() && status["active"].as_u64().unwrap_or(0) == 0;
        nothing_runs || (one.diagnosis.is_none() && (is_job || manifest::runs_for_ever(&one.reference)))
    };
    current
        .iter()
        .filter(|one| !evidence::has_ended(one))
        .any(has_none)
        .then_some(PODS_EXPECTED)
}

fn in_progress(run: &Run, message: String, recheck: Recheck) -> Ending {
    let reason = if run.has_succeeded_before() {
        Reason::WorkloadDegraded
    } else {
        Reason::WorkloadInProgress
    };
    Ending::new(
        Journey::InProgress {
            reason: reason.name().to_owned(),
            message,
        },
        recheck,
    )
}

fn work_failed(failure: Failure) -> Journey {
    let Failure { reason, message } = failure;
    let has_lead = message.split_once(": ").is_some_and(|(lead, _)| lead.len() <= 80);
    let message = if has_lead {
        message
    } else {
        format!("{}: {message}", words(&reason))
    };
    Journey::WorkFailed { reason, message }
}

/// `ValidationFailed` as `Validation failed`.
fn words(reason: &str) -> String {
    let mut words = String::with_capacity(reason.len() + 8);
    for (index, letter) in reason.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            words.push(' ');
            words.push(letter.to_ascii_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

fn achieved(run: &mut Run, current: &[Observed], plan: &plan::Executed) -> Ending {
    let ended_well = current
        .iter()
        .filter(|one| manifest::runs_once(&one.reference) && evidence::progress(one) == Progress::Done);
    let finished = ended_well.map(|one| one.reference.to_string()).collect();
    run.since.clear();
    let done: Vec<String> = current.iter().map(|one| one.reference.to_string()).collect();
    let message = if done.is_empty() {
        "There is nothing to do".to_owned()
    } else {
        format!("Done: {}", done.join(", "))
    };
    let mut ending = Ending::new(Journey::Achieved { message }, plan.recheck);
    if let Some(cleanup) = run.adapter.cleanup {
        let named = run.finished();
        let due = current
            .iter()
            .filter(|one| manifest::runs_once(&one.reference) && evidence::progress(one) == Progress::Done)
            .filter_map(|one| {
                match evidence::remaining(evidence::completed_at(one)?, run.cluster_now, cleanup.after) {
                    // This reconcile could have deleted it and did not: looking again at once changes nothing.
                    None if named.contains(&one.reference.to_string()) => None,
                    rest => Some(rest.unwrap_or(Duration::from_millis(1))),
                }
            });
        ending.recheck = ending.recheck.or_in(due.min());
    }
    ending.finished = finished;
    ending
}

/// Asks the adapter's postconditions, or the built-in rules where it has none.
async fn postconditions(
    run: &mut Run,
    current: &[Observed],
    objects: Vec<Object>,
) -> Result<(Achievement, Recheck), Stop> {
    let steps = run.adapter.steps(Phase::Postconditions).to_vec();
    if steps.is_empty() {
        let waiting: Vec<String> = current
            .iter()
            .filter_map(|one| match evidence::progress(one) {
                Progress::Running(message) => Some(message),
                Progress::Done | Progress::Failed(_) => None,
            })
            .collect();
        let failed = current
            .iter()
            .any(|one| matches!(evidence::progress(one), Progress::Failed(_)));
        return Ok(if waiting.is_empty() && !failed {
            (Achievement::Achieved, Recheck::Never)
        } else {
            (
                Achievement::Pending {
                    message: waiting.join("; "),
                    recheck_after_ms: None,
                },
                Recheck::Never,
            )
        });
    }
    let mut pending = Vec::new();
    let mut recheck = Recheck::Never;
    for step in steps {
        let facts = run.facts_for(&step.plugin);
        match run
            .ask(
                &step.plugin,
                Question::Postconditions {
                    facts,
                    objects: objects.clone(),
                },
            )
            .await?
        {
            Said::Postconditions(Achievement::Achieved) => {}
            Said::Postconditions(Achievement::Failed(failure)) => {
                return Ok((Achievement::Failed(failure), Recheck::Never));
            }
            Said::Postconditions(Achievement::Pending {
                message,
                recheck_after_ms,
            }) => {
                recheck = recheck.or_in(recheck_after_ms.map(|ms| Duration::from_millis(ms.into()).max(ASKED_AGAIN)));
                pending.push(message);
            }
            Said::Preconditions(_) | Said::Resources(_) | Said::Status(_) => {
                return Err(run
                    .invalid_output(&step.plugin, Phase::Postconditions, "it answers another phase")
                    .into());
            }
        }
    }
    Ok(if pending.is_empty() {
        (Achievement::Achieved, recheck)
    } else {
        (
            Achievement::Pending {
                message: pending.join("; "),
                recheck_after_ms: None,
            },
            recheck,
        )
    })
}
