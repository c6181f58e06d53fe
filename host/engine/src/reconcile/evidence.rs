//! What observed objects prove: built-in rules per kind, attempts, times.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    contract::{Diagnosis, Failure, Nature, Object},
    diagnose::find_condition,
    effect::Observed,
    job::Failed,
    reason::Reason,
    report::Metadata,
};

/// How far an object's work is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is done, or there is nothing to wait for.
    Done,
    /// It goes on.
    Running(String),
    /// It ran and failed for good.
    Failed(Failure),
}

/// The built-in rule for the object's kind.
pub(super) fn progress(observed: &Observed) -> Progress {
    if let Some(diagnosis) = &observed.diagnosis
        && diagnosis.nature == Nature::Failure
    {
        return Progress::Failed(Failure {
            reason: diagnosis.reason.clone(),
            message: diagnosis.message.clone(),
        });
    }
    if is_crashing(observed) {
        return Progress::Running(running(observed));
    }
    let object = &observed.reference;
    if observed.statusless && observed.document.outline().get("status").is_none() {
        return Progress::Done;
    }
    let kind = (group(&object.api_version), object.kind.as_str());
    if kind == ("batch", "Job") {
        return run(observed);
    }
    let document = observed.document.outline();
    match kind {
        ("apps", "Deployment") => {
            if !is_observed(document) {
                Progress::Running(format!("{object} is being rolled out"))
            } else if is_held_up(observed) {
                Progress::Running(running(observed))
            } else if is_rolling_out(document) {
                Progress::Running(format!("{object} is being rolled out"))
            } else if condition(document, "Available") == Some("True") {
                Progress::Done
            } else {
                Progress::Running(format!("{object} is not available yet"))
            }
        }
        ("apps", "StatefulSet") => replicas(
            observed,
            &document["spec"]["replicas"],
            &document["status"]["readyReplicas"],
        ),
        ("apps", "DaemonSet") => replicas(
            observed,
            &document["status"]["desiredNumberScheduled"],
            &document["status"]["numberReady"],
        ),
        ("", "Pod") => match document["status"]["phase"].as_str() {
            Some("Succeeded") => Progress::Done,
            Some("Running") if condition(document, "Ready") == Some("True") => Progress::Done,
            Some(_) | None => Progress::Running(running(observed)),
        },
        ("", "PersistentVolumeClaim") | ("", _) | ("rbac.authorization.k8s.io" | "networking.k8s.io", _) => {
            Progress::Done
        }
        ("batch" | "policy" | "autoscaling" | "scheduling.k8s.io" | "apiextensions.k8s.io", _) => Progress::Done,
        (_, _) => {
            if condition(document, "Ready") == Some("True") && is_observed(document) {
                Progress::Done
            } else {
                let ready = find_condition(document, "Ready");
                let said = ready.and_then(|ready| ready.get("message")?.as_str());
                Progress::Running(match said {
                    Some(message) if !message.is_empty() => format!("{object} is not ready: {message}"),
                    Some(_) | None if ready.is_none() && document.get("status").is_some() => {
                        format!(
                            "{object} has no condition Ready yet; a postcondition can say otherwise when it is done"
                        )
                    }
                    Some(_) | None => format!("{object} is not ready yet"),
                })
            }
        }
    }
}

/// The rule for a Job.
fn run(observed: &Observed) -> Progress {
    let job = observed.document.job();
    match &job.failed {
        _ if job.is_complete => Progress::Done,
        Some(Failed { reason, message }) => Progress::Failed(Failure {
            reason: Reason::WorkloadFailed.name().to_owned(),
            message: format!("{} failed ({reason}): {message}", observed.reference),
        }),
        None => Progress::Running(running(observed)),
    }
}

/// Whether containers are started again and again.
pub(super) fn is_crash(diagnosis: &Diagnosis) -> bool {
    diagnosis.reason == Reason::CrashLoop.name() || diagnosis.reason == Reason::OutOfMemory.name()
}

/// Whether a workload is meant to run for ever and its containers do not, which is borne for now: although all of
/// them may run at this moment.
pub(super) fn is_crashing(observed: &Observed) -> bool {
    let diagnosis = observed.diagnosis.as_ref();
    diagnosis.is_some_and(|diagnosis| diagnosis.nature == Nature::Progress && is_crash(diagnosis))
}

/// Whether something outside of the workload keeps its pods from starting.
fn is_held_up(observed: &Observed) -> bool {
    let diagnosis = observed.diagnosis.as_ref();
    diagnosis.is_some_and(|diagnosis| diagnosis.nature == Nature::Infrastructure)
}

/// Whether pods of an earlier template are still in the place of new ones. An object that counts
/// none is judged by its conditions alone.
fn is_rolling_out(document: &Value) -> bool {
    let status = &document["status"];
    let Some(all) = status["replicas"].as_u64() else {
        return false;
    };
    let updated = status["updatedReplicas"].as_u64().unwrap_or(0);
    updated < all.max(document["spec"]["replicas"].as_u64().unwrap_or(1))
}

fn replicas(observed: &Observed, wanted: &Value, ready: &Value) -> Progress {
    let (wanted, ready) = (wanted.as_u64().unwrap_or(1), ready.as_u64().unwrap_or(0));
    let (spec, status) = (
        &observed.document.outline()["spec"],
        &observed.document.outline()["status"],
    );
    // Pods that an update has not reached yet; a partition leaves the first ones out.
    let kept = spec["updateStrategy"]["rollingUpdate"]["partition"]
        .as_u64()
        .unwrap_or(0);
    let updated = status["updatedReplicas"]
        .as_u64()
        .or_else(|| status["updatedNumberScheduled"].as_u64());
    let is_updated = updated.is_none_or(|updated| updated.saturating_add(kept) >= wanted);
    if is_held_up(observed) {
        Progress::Running(running(observed))
    } else if is_observed(observed.document.outline()) && ready >= wanted && is_updated {
        Progress::Done
    } else {
        Progress::Running(format!(
            "{}: {ready} of {wanted} replicas are ready",
            observed.reference
        ))
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Whether the controller has seen the latest change of the object.
fn is_observed(document: &Value) -> bool {
    let generation = document["metadata"]["generation"].as_i64();
    match (generation, document["status"]["observedGeneration"].as_i64()) {
        (Some(wanted), Some(observed)) => observed >= wanted,
        (_, None) => document.get("status").is_some(),
        (None, Some(_)) => true,
    }
}

fn condition<'a>(document: &'a Value, kind: &str) -> Option<&'a str> {
    find_condition(document, kind)?.get("status")?.as_str()
}

/// `Job ns/name is running (attempt 2 of 7)`.
pub(super) fn running(observed: &Observed) -> String {
    let object = &observed.reference;
    match &observed.diagnosis {
        Some(diagnosis) => {
            let attempt = match (diagnosis.attempt, diagnosis.attempts) {
                (Some(attempt), Some(attempts)) => format!(" (attempt {attempt} of {attempts})"),
                (Some(attempt), None) => format!(" (attempt {attempt})"),
                (None, _) => String::new(),
            };
            match diagnosis.nature {
                Nature::Infrastructure => format!("{object} cannot start yet{attempt}: {}", diagnosis.message),
                Nature::Progress if is_crashing(observed) => format!("{object} is {}", diagnosis.message),
                Nature::Progress | Nature::Failure => format!("{object} is running{attempt}"),
            }
        }
        None => format!("{object} is running"),
    }
}

/// Whether a Job has pods that failed but may still succeed.
pub(super) fn is_retrying(observed: &Observed) -> bool {
    group(&observed.reference.api_version) == "batch"
        && observed.reference.kind == "Job"
        && !observed.document.job().is_over()
}

/// Whether a run has ended, well or not.
pub(super) fn has_ended(observed: &Observed) -> bool {
    match progress(observed) {
        Progress::Done | Progress::Failed(_) => true,
        Progress::Running(_) => false,
    }
}

/// When the work of a Job ended, if it has.
pub(super) fn completed_at(observed: &Observed) -> Option<Timestamp> {
    observed.document.job().completed.as_ref()?.parse().ok()
}

/// How much of `span` from `since` is left at `now`; none once it is over.
pub(super) fn remaining(since: Timestamp, now: Timestamp, span: Duration) -> Option<Duration> {
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    span.checked_sub(passed).filter(|rest| !rest.is_zero())
}

/// An object as a phase sees it.
pub(super) fn object(observed: &Observed) -> Object {
    Object {
        name: observed.name.clone(),
        generation: observed.generation,
        document: observed.document.clone(),
        diagnosis: observed.diagnosis.clone(),
    }
}

/// What HyperFleet stores of a workload, from the first Job among the objects.
pub(super) fn metadata<'o>(mut observed: impl Iterator<Item = &'o Observed>) -> Metadata {
    let Some(job) = observed.find(|one| one.reference.kind == "Job") else {
        return Metadata::default();
    };
    let run = job.document.job();
    let (started, completed) = (run.started.as_deref(), run.completed.as_deref());
    let duration = match (started, completed) {
        (Some(started), Some(completed)) => match (started.parse::<Timestamp>(), completed.parse::<Timestamp>()) {
            (Ok(started), Ok(completed)) => Some(spoken(completed.duration_since(started).as_secs())),
            (_, _) => None,
        },
        (_, _) => None,
    };
    Metadata {
        job_name: Some(job.reference.name.clone()),
        job_namespace: job.reference.namespace.clone(),
        attempt: job.diagnosis.as_ref().and_then(|diagnosis| diagnosis.attempt),
        started_time: started.map(str::to_owned),
        completed_time: completed.map(str::to_owned),
        duration,
    }
}

fn spoken(seconds: i64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}
