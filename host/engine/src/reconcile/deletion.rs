//! A subject that is being deleted, or is gone: what is created for it, what is removed.

use std::time::Duration;

use crate::{
    adapter::During,
    contract::{OperationEffect, Phase, Propagation},
    effect::{ClusterCause, Delete, Deleted, Observed, Ownership},
    manifest,
    reason::Reason,
    report::{Journey, advised},
};

use super::{
    Input, Outcome, Recheck,
    evidence::{self, Progress},
    io::Io,
    places::Places,
    plan,
    run::{Ending, Run, Stop},
};

/// How soon deletion is looked at again when no watch tells.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Stands among what finished: the deletion's own work is over, and is not begun again.
const OWN_WORK: &str = "deletion";

/// Runs what the adapter declares for deletion, then removes everything.
pub(super) async fn run(run: &mut Run) -> Result<Ending, Stop> {
    if let Err(stop) = run.refresh().await {
        return Err(in_deletion(stop));
    }
    let finalized = run.row().and_then(|row| row.condition("Finalized"));
    let was_finalized = finalized.is_some_and(|one| one.status == crate::contract::Truth::True);
    let has_own_work = run
        .adapter
        .steps(Phase::Resources)
        .iter()
        .any(|step| step.during != During::Life);
    let mut kept = Vec::new();
    let is_over = was_finalized || run.finished().iter().any(|one| one == OWN_WORK);
    if has_own_work && !is_over {
        let executed = match plan::execute(run).await {
            Ok(executed) => executed,
            Err(stop) => return Err(in_deletion(stop)),
        };
        if let Some(what) = executed.waiting.first() {
            return Ok(deleting(what.clone()));
        }
        let generation = run.facts.subject.generation;
        let own: Vec<Observed> = run
            .observed
            .iter()
            .filter(|one| one.generation == generation && !one.deleting && executed.names.contains(&one.name))
            .filter(|one| !manifest::is_retained(one))
            .cloned()
            .collect();
        for one in &own {
            match evidence::progress(one) {
                Progress::Done => {}
                Progress::Running(message) => return Ok(deleting(message)),
                Progress::Failed(failure) => {
                    let journey = Journey::DeletionFailed {
                        reason: failure.reason,
                        message: failure.message,
                        outage: false,
                    };
                    return Ok(Ending::new(journey, Recheck::Never));
                }
            }
        }
        // Before the evidence of a finished run goes, the row must say that it finished.
        let named = run.finished();
        let fresh: Vec<String> = own
            .iter()
            .filter(|one| executed.kept.is_empty() || manifest::runs_once(&one.reference))
            .map(|one| one.reference.to_string())
            .filter(|name| !named.contains(name))
            .collect();
        if !fresh.is_empty() {
            let message = format!("Done: {}; the other objects are next", fresh.join(", "));
            let mut ending = deleting(message);
            ending.finished = fresh;
            if executed.kept.is_empty() {
                ending.finished.push(OWN_WORK.to_owned());
            }
            ending.recheck = Recheck::In(Duration::from_millis(1));
            return Ok(ending);
        }
        kept = executed.kept;
        if !kept.is_empty() {
            // The work goes on: what it applied stays for now too.
            kept.extend(executed.names);
        }
    }
    remove(run, &kept).await
}

/// Deletes all that is left, of every generation, and says how far it is. What the plan keeps
/// for now holds `Finalized` back; what is retained does not.
async fn remove(run: &mut Run, kept: &[String]) -> Result<Ending, Stop> {
    let mut refused: Option<Stop> = None;
    let mut begun = false;
    for one in run.observed.clone() {
        if manifest::is_retained(&one) || kept.contains(&one.name) {
            continue;
        }
        match plan::delete(run, &one, Propagation::Foreground).await {
            Ok(OperationEffect::Deleted) => begun |= !one.deleting,
            Ok(_) => {}
            // The rest is deleted all the same.
            Err(stop) => refused = Some(stop),
        }
    }
    if let Some(stop) = refused {
        return Err(in_deletion(stop));
    }
    if begun {
        run.refresh().await.map_err(in_deletion)?;
    }
    let left = not_retained(run.observed.clone());
    if left.is_empty() {
        return Ok(Ending::new(Journey::Finalized, Recheck::Never));
    }
    Ok(deleting(format!("Waiting for the deletion of {}", plan::names(&left))))
}

fn not_retained(mut observed: Vec<Observed>) -> Vec<Observed> {
    observed.retain(|one| !manifest::is_retained(one));
    observed
}

fn deleting(message: String) -> Ending {
    Ending::new(Journey::Deleting { message }, Recheck::In(LOOK_AGAIN))
}

/// A failure while deleting: Health=False, and never Finalized.
fn in_deletion(stop: Stop) -> Stop {
    match stop {
        Stop::Ends(mut ending) => {
            if ending.journey.is_trouble() {
                let message = match &ending.journey {
                    Journey::CreationFailed { reason, message } => {
                        advised(reason, &format!("Failed to remove objects: {message}"))
                    }
                    other => other.message(),
                };
                ending.journey = Journey::DeletionFailed {
                    outage: !matches!(ending.journey, Journey::CreationFailed { .. }),
                    reason: ending.journey.reason(),
                    message,
                };
                ending.keeps_row = false;
            } else if let Journey::Waiting { specifics, .. } = &ending.journey {
                ending.journey = Journey::Deleting {
                    message: specifics.clone(),
                };
            }
            Stop::Ends(ending)
        }
        retry @ Stop::Retry { .. } => retry,
    }
}

/// The subject does not exist any more: its objects go too. There is nobody to tell.
pub(super) async fn vanished(io: Io, input: &Input, places: &Places) -> Outcome {
    if input.subject.href.rsplit('/').next() != Some(input.subject.key.id.as_str()) {
        return Outcome::Retry {
            reason: Reason::FleetApiMisconfigured,
            message: format!("{} is not the path of {}", input.subject.href, input.subject.key),
            after: None,
        };
    }
    let ownership = Ownership {
        adapter: input.adapter.name.clone(),
        subject: input.subject.key.clone(),
        kinds: places.beside(manifest::kinds(&input.adapter)),
    };
    let retry = |reason, message: String, after| Outcome::Retry { reason, message, after };
    let observed = match io.observe(ownership.clone()).await {
        Ok(observed) => not_retained(observed),
        Err(fault) => return retry(Reason::KubernetesApiUnreachable, fault.message, fault.retry_after),
    };
    if observed.is_empty() {
        return Outcome::Gone;
    }
    for one in observed.iter().filter(|one| !one.deleting) {
        let delete = Delete {
            reference: one.reference.clone(),
            uid: one.uid.clone(),
            resource_version: one.resource_version.clone(),
            propagation: Propagation::Foreground,
        };
        match io.delete(delete).await {
            Ok(Deleted::Begun | Deleted::Absent) => {}
            Err(fault) if fault.cause == ClusterCause::Stale => {}
            Err(fault) => return retry(Reason::CleanupFailed, fault.message, fault.retry_after),
        }
    }
    match io.observe(ownership).await {
        Ok(left) => {
            let left = not_retained(left);
            if left.is_empty() {
                return Outcome::Gone;
            }
            let message = format!("waiting for the deletion of {}", plan::names(&left));
            retry(Reason::CleanupInProgress, message, Some(Duration::from_secs(1)))
        }
        Err(fault) => retry(Reason::KubernetesApiUnreachable, fault.message, fault.retry_after),
    }
}
