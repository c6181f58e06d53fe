//! What pods and events say about an object.
//!
//! Kubernetes tells why a workload does not get on in many places: conditions of the
//! workload, states of containers, conditions of pods, events. This module reads them all
//! and answers with the one cause that decides.
//!
//! # Guarantees
//! - A failure is final: a pod that failed while its Job may still try again is progress.
//! - Of a failed pull it is not said since when it is trouble; of one that is tried again and again it is. So the
//!   first one is never trouble that has lasted.
//! - A container that was started again has not recovered because it runs: it must run on for a while.
//! - What made a pod fail is told by the container that failed, in its own words where it
//!   wrote a termination message.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    contract::{ContainerExit, Diagnosis, Nature},
    reason::Reason,
};

mod pods;
#[cfg(test)]
mod tests;

use pods::{Stuck, crash, deciding, exits, failures, is_active, restarts, stuck};

/// Reads an object with its pods (newest first) and the events about it and them, at `now` of the clock that wrote
/// the times in them. None for kinds without pods, and for workloads that are as they should be.
#[must_use]
pub fn diagnose(object: &Value, pods: &[Value], events: &[Value], now: Timestamp) -> Option<Diagnosis> {
    match object["kind"].as_str()? {
        "Job" => Some(job(object, pods, events)),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => lasting(object, pods, events, now),
        "Pod" => pod(object, now),
        _ => None,
    }
}

/// Leaves of a pod that belongs to a workload what [`diagnose`] reads of it beside its metadata.
pub fn prune_pod(pod: &mut Value) {
    if let Some(fields) = pod.as_object_mut() {
        fields.remove("spec");
    }
    if let Some(status) = pod.get_mut("status") {
        pods::prune(status);
    }
}

fn job(object: &Value, pods: &[Value], events: &[Value]) -> Diagnosis {
    let attempts = number(&object["spec"]["backoffLimit"]).unwrap_or(6).saturating_add(1);
    let failed = number(&object["status"]["failed"]).unwrap_or(0);
    let failed = failed.max(count(pods.iter().filter(|pod| pod["status"]["phase"] == "Failed")));
    // With restartPolicy OnFailure the same pod tries again.
    let tried = failed.saturating_add(pods.iter().filter(is_active).map(restarts).sum());
    let latest = pods.first().map(exits).unwrap_or_default();

    if let Some(condition) = condition(object, "Failed") {
        let mut verdict = failure(condition, pods);
        verdict.attempt = Some(tried.clamp(1, attempts));
        verdict.attempts = Some(attempts);
        return verdict;
    }
    let attempt = tried.saturating_add(1).min(attempts);
    let counted = |diagnosis: Diagnosis, attempt: u32| Diagnosis {
        attempt: Some(attempt),
        attempts: Some(attempts),
        exits: latest.clone(),
        ..diagnosis
    };
    if let Some(condition) = condition(object, "Complete") {
        let message = format!("attempt {attempt} of {attempts} succeeded");
        return counted(
            progress(
                Reason::PostconditionsMet,
                message,
                text(&condition["lastTransitionTime"]),
            ),
            attempt,
        );
    }
    if let Some(trouble) = pods.iter().filter(is_active).find_map(stuck) {
        return counted(infrastructure(trouble), attempt);
    }
    let nothing_runs = !pods.iter().any(|pod| is_active(&pod));
    if nothing_runs && let Some(trouble) = not_created(object, events) {
        return counted(infrastructure(trouble), attempt);
    }
    let since = pods
        .iter()
        .find(is_active)
        .and_then(|pod| text(&pod["status"]["startTime"]));
    let since = since.or_else(|| text(&object["status"]["startTime"]));
    let mut message = match object["spec"]["suspend"].as_bool() {
        Some(true) => "suspended".to_owned(),
        Some(false) | None => format!("attempt {attempt} of {attempts}"),
    };
    let last = pods.iter().find_map(deciding);
    if let Some(last) = &last {
        message = format!("{message}; before, {}", ended(last));
    }
    let mut diagnosis = counted(progress(Reason::WorkloadInProgress, message, since), attempt);
    if let Some(last) = last {
        diagnosis.exit_code = Some(last.exit_code);
        diagnosis.termination_message = Some(last.message).filter(|message| !message.is_empty());
    }
    diagnosis
}

/// A Job that has failed for good.
fn failure(condition: &Value, pods: &[Value]) -> Diagnosis {
    let failed_ones = pods.iter().map(failures).find(|ones| !ones.is_empty());
    let last = failed_ones.as_ref().and_then(|ones| ones.first()).cloned();
    let reason = if condition["reason"] == "DeadlineExceeded" {
        Reason::DeadlineExceeded
    } else if last.as_ref().is_some_and(|exit| exit.reason == "OOMKilled") {
        Reason::OutOfMemory
    } else {
        Reason::WorkloadFailed
    };
    let said = condition["message"].as_str().unwrap_or("the Job failed");
    let message = match &last {
        Some(exit) if reason == Reason::DeadlineExceeded => format!("{said}; {}", ended(exit)),
        Some(exit) if exit.message.is_empty() => format!("{}; {said}", told(&failed_ones.unwrap_or_default())),
        Some(_) => told(&failed_ones.unwrap_or_default()),
        None => said.to_owned(),
    };
    let since = text(&condition["lastTransitionTime"]);
    let exits = pods
        .iter()
        .map(exits)
        .find(|exits| !exits.is_empty())
        .unwrap_or_default();
    failed(reason, message, since, last, exits)
}

/// A workload that is meant to run for ever.
fn lasting(object: &Value, pods: &[Value], events: &[Value], now: Timestamp) -> Option<Diagnosis> {
    let active = || pods.iter().filter(is_active);
    // Without a readiness probe all are ready between two crashes.
    if let Some((reason, exit, since)) = active().find_map(|pod| crash(pod, now)) {
        let message = format!("started again and again: {}", ended(&exit));
        return Some(failed(reason, message, since, Some(exit.clone()), vec![exit]));
    }
    let (wanted, ready) = replicas(object);
    let settled = number(&object["status"]["observedGeneration"]) >= number(&object["metadata"]["generation"]);
    if settled && ready >= wanted {
        return None;
    }
    if let Some(trouble) = active().find_map(stuck) {
        return Some(infrastructure(trouble));
    }
    if let Some(refused) = condition(object, "ReplicaFailure") {
        let message = refused["message"].as_str().unwrap_or_default();
        return Some(infrastructure(refusal(message, text(&refused["lastTransitionTime"]))));
    }
    if count(active()) < wanted
        && let Some(trouble) = not_created(object, events)
    {
        return Some(infrastructure(trouble));
    }
    let progressing = find_condition(object, "Progressing");
    if let Some(stalled) = progressing.filter(|one| one["reason"] == "ProgressDeadlineExceeded") {
        let message = stalled["message"]
            .as_str()
            .unwrap_or("the rollout does not progress")
            .to_owned();
        let since = text(&stalled["lastUpdateTime"]).or_else(|| text(&stalled["lastTransitionTime"]));
        return Some(failed(Reason::DeadlineExceeded, message, since, None, Vec::new()));
    }
    let message = format!("{ready} of {wanted} replicas are ready");
    let since = progressing.and_then(|one| text(&one["lastTransitionTime"]));
    Some(progress(Reason::WorkloadInProgress, message, since))
}

/// A pod of its own.
fn pod(object: &Value, now: Timestamp) -> Option<Diagnosis> {
    let status = &object["status"];
    if status["phase"] == "Failed" {
        let exit = deciding(object);
        let reason = match (&exit, status["reason"].as_str()) {
            (_, Some("DeadlineExceeded")) => Reason::DeadlineExceeded,
            (Some(exit), _) if exit.reason == "OOMKilled" => Reason::OutOfMemory,
            (_, _) => Reason::WorkloadFailed,
        };
        let message = match &exit {
            Some(_) => told(&failures(object)),
            None => status["message"].as_str().unwrap_or("the pod failed").to_owned(),
        };
        let since = exits_at(object);
        return Some(failed(reason, message, since, exit, exits(object)));
    }
    if status["phase"] == "Succeeded" {
        let mut done = progress(Reason::PostconditionsMet, "succeeded".to_owned(), exits_at(object));
        done.exits = exits(object);
        return Some(done);
    }
    if let Some((reason, exit, since)) = crash(object, now) {
        let message = format!("started again and again: {}", ended(&exit));
        return Some(failed(reason, message, since, Some(exit.clone()), vec![exit]));
    }
    if let Some(trouble) = stuck(object) {
        return Some(infrastructure(trouble));
    }
    if condition(object, "Ready").is_some() {
        return None;
    }
    let message = status["phase"].as_str().unwrap_or("Pending").to_lowercase();
    Some(progress(
        Reason::WorkloadInProgress,
        message,
        text(&status["startTime"]),
    ))
}

/// When the last container of a pod ended.
fn exits_at(pod: &Value) -> Option<String> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    statuses
        .iter()
        .filter_map(|status| text(&status["state"]["terminated"]["finishedAt"]))
        .max()
}

/// Replicas that are wanted and that are ready and up to date.
fn replicas(object: &Value) -> (u32, u32) {
    let status = &object["status"];
    let of = |field: &str| number(&status[field]).unwrap_or(0);
    if object["kind"] == "DaemonSet" {
        return (
            of("desiredNumberScheduled"),
            of("numberAvailable").min(of("updatedNumberScheduled")),
        );
    }
    let wanted = number(&object["spec"]["replicas"]).unwrap_or(1);
    // Pods of an earlier template that are still there are available in the place of new ones.
    let earlier = of("replicas").saturating_sub(of("updatedReplicas"));
    let available = match object["kind"].as_str() {
        Some("Deployment") => of("availableReplicas").saturating_sub(earlier),
        Some(_) | None => of("availableReplicas"),
    };
    match object["kind"].as_str() {
        Some("ReplicaSet") => (wanted, available),
        Some(_) | None => (wanted, available.min(of("updatedReplicas"))),
    }
}

/// The last refusal to create a pod, unless one was created after it.
fn not_created(object: &Value, events: &[Value]) -> Option<Stuck> {
    let uid = object["metadata"]["uid"].as_str();
    let last = |reason: &str| {
        events
            .iter()
            .filter(|event| event["reason"] == reason)
            // A Deployment's are told of its replica sets, which the caller chose.
            .filter(|event| object["kind"] == "Deployment" || event["involvedObject"]["uid"].as_str() == uid)
            .max_by_key(|event| last_seen(event))
    };
    let refused = last("FailedCreate")?;
    if last("SuccessfulCreate").is_some_and(|created| last_seen(created) > last_seen(refused)) {
        return None;
    }
    let since = text(&refused["firstTimestamp"]).or_else(|| text(&refused["eventTime"]));
    Some(refusal(refused["message"].as_str().unwrap_or_default(), since))
}

fn last_seen(event: &Value) -> Option<String> {
    let series = text(&event["series"]["lastObservedTime"]);
    series
        .or_else(|| text(&event["lastTimestamp"]))
        .or_else(|| text(&event["eventTime"]))
}

/// Why pods are not created, without the name of the pod, which is another each time.
fn refusal(message: &str, since: Option<String>) -> Stuck {
    let said = message.strip_prefix("Error creating: ").unwrap_or(message);
    let said = said.split_once(" is forbidden: ").map_or(said, |(_, said)| said);
    let says = |words: &str| said.contains(words);
    let ranges = ["maximum ", "minimum ", " limit to request ratio"];
    let of_what = [" per Container is ", " per Pod is "];
    let reason = if says("failed calling webhook") || says("failed to call webhook") {
        Reason::AdmissionUnavailable
    } else if says("denied the request") || says("denied request") || says("violates PodSecurity") {
        Reason::AdmissionRefused
    } else if says("exceeded quota") || says("failed quota") {
        Reason::QuotaExceeded
    } else if of_what.iter().any(|words| says(words)) && ranges.iter().any(|words| says(words)) {
        Reason::OutsideLimitRange
    } else if says("error looking up service account ") {
        Reason::ServiceAccountMissing
    } else {
        Reason::PodCreationFailed
    };
    Stuck {
        reason,
        message: said.to_owned(),
        since,
    }
}

/// Why a pod failed: in the words of its container, or of each where several failed.
fn told(failures: &[ContainerExit]) -> String {
    match failures {
        [one] if !one.message.is_empty() => one.message.clone(),
        several => several.iter().map(ended).collect::<Vec<_>>().join("; "),
    }
}

/// How a container ended, in words.
fn ended(exit: &ContainerExit) -> String {
    let ContainerExit {
        container,
        exit_code,
        reason,
        message,
    } = exit;
    let mut words = format!("container {container} ended with exit code {exit_code}");
    if !matches!(reason.as_str(), "" | "Error" | "Completed") {
        words = format!("{words} ({reason})");
    }
    if message.is_empty() {
        words
    } else {
        format!("{words}: {message}")
    }
}

fn progress(reason: Reason, message: String, since: Option<String>) -> Diagnosis {
    plain(Nature::Progress, reason, message, since)
}

fn infrastructure(Stuck { reason, message, since }: Stuck) -> Diagnosis {
    plain(Nature::Infrastructure, reason, message, since)
}

fn failed(
    reason: Reason,
    message: String,
    since: Option<String>,
    exit: Option<ContainerExit>,
    exits: Vec<ContainerExit>,
) -> Diagnosis {
    Diagnosis {
        exit_code: exit.as_ref().map(|exit| exit.exit_code),
        termination_message: exit.map(|exit| exit.message).filter(|message| !message.is_empty()),
        exits,
        ..plain(Nature::Failure, reason, message, since)
    }
}

fn plain(nature: Nature, reason: Reason, message: String, since: Option<String>) -> Diagnosis {
    Diagnosis {
        nature,
        reason: reason.name().to_owned(),
        message,
        since,
        exit_code: None,
        termination_message: None,
        attempt: None,
        attempts: None,
        exits: Vec::new(),
    }
}

pub(crate) fn find_condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// The condition, if it holds.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    find_condition(object, kind).filter(|condition| condition["status"] == "True")
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

fn count<'a>(pods: impl Iterator<Item = &'a Value>) -> u32 {
    u32::try_from(pods.count()).unwrap_or(u32::MAX)
}
