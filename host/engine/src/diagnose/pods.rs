//! What one pod says.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{find_condition, number, text};
use crate::{contract::ContainerExit, reason::Reason};

/// How long a container must run after its first restart.
const MOMENT: SignedDuration = SignedDuration::from_secs(10);
/// After this time the kubelet takes a container for recovered, and backs off from the beginning again.
const RECOVERED: SignedDuration = SignedDuration::from_mins(10);

/// The condition that says whether a node was found.
const SCHEDULED: &str = "PodScheduled";
/// The condition that says whether all containers are ready.
const READY: &str = "ContainersReady";

/// Why a pod cannot start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// Since when, if it is said.
    pub(super) since: Option<String>,
}

/// Leaves of the status of a pod that belongs to a workload what is read of it here.
pub(super) fn prune(status: &mut Value) {
    keep(
        status,
        &[
            "phase",
            "reason",
            "message",
            "startTime",
            "conditions",
            "initContainerStatuses",
            "containerStatuses",
        ],
    );
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| condition["type"] == SCHEDULED || condition["type"] == READY);
    }
    for field in ["initContainerStatuses", "containerStatuses"] {
        let containers = status.get_mut(field).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            keep(container, &["name", "restartCount", "state", "lastState"]);
        }
    }
}

fn keep(of: &mut Value, fields: &[&str]) {
    if let Some(map) = of.as_object_mut() {
        map.retain(|field, _| fields.contains(&field.as_str()));
    }
}

/// Whether it may still do something.
pub(super) fn is_active(pod: &&Value) -> bool {
    let ended = pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed";
    !ended && pod["metadata"]["deletionTimestamp"].is_null()
}

/// How often its containers were started again.
pub(super) fn restarts(pod: &Value) -> u32 {
    statuses(pod)
        .filter_map(|status| number(&status["restartCount"]))
        .fold(0, u32::saturating_add)
}

/// What keeps a pod from starting, if that does not pass by itself.
pub(super) fn stuck(pod: &Value) -> Option<Stuck> {
    let waiting = statuses(pod).find_map(|status| {
        let waiting = &status["state"]["waiting"];
        let reason = match waiting["reason"].as_str()? {
            "ImagePullBackOff"
            | "ErrImagePull"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "SignatureValidationFailed" => Reason::ImagePullFailed,
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                Reason::ContainerConfigInvalid
            }
            // Among them ContainerCreating.
            _ => return None,
        };
        // The kubelet says so of the first try and of every one between two pauses. Which it is cannot be seen.
        let is_one_try = waiting["reason"] == "ErrImagePull";
        let container = status["name"].as_str().unwrap_or_default();
        let said = text(&waiting["message"])
            .or_else(|| text(&waiting["reason"]))
            .unwrap_or_default();
        Some(Stuck {
            reason,
            message: format!("container {container}: {said}"),
            since: text(&pod["status"]["startTime"]).filter(|_| !is_one_try),
        })
    });
    waiting.or_else(|| {
        let scheduled = find_condition(pod, SCHEDULED)?;
        let refused = scheduled["status"] == "False" && scheduled["reason"] == "Unschedulable";
        refused.then(|| Stuck {
            reason: Reason::Unschedulable,
            message: text(&scheduled["message"]).unwrap_or_else(|| "no node fits".to_owned()),
            since: text(&scheduled["lastTransitionTime"]),
        })
    })
}

/// A container that fails again and again: why, how it ended last, and since when it is not ready.
pub(super) fn crash(pod: &Value, now: Timestamp) -> Option<(Reason, ContainerExit, Option<String>)> {
    statuses(pod).find_map(|status| {
        let (last, since) = ended_last(pod, status, now)?;
        let exit = exit(status, last).unwrap_or_else(|| ContainerExit {
            container: status["name"].as_str().unwrap_or_default().to_owned(),
            exit_code: 1,
            reason: String::new(),
            message: String::new(),
        });
        let reason = if exit.reason == "OOMKilled" {
            Reason::OutOfMemory
        } else {
            Reason::CrashLoop
        };
        Some((reason, exit, since))
    })
}

/// How a container ended that does not keep running, and since when that is known to be so.
fn ended_last<'a>(pod: &Value, status: &'a Value, now: Timestamp) -> Option<(&'a Value, Option<String>)> {
    let (state, before) = (&status["state"], &status["lastState"]["terminated"]);
    if state["waiting"]["reason"] == "CrashLoopBackOff" {
        let ready = find_condition(pod, READY).filter(|ready| ready["status"] == "False");
        let since = ready.and_then(|ready| text(&ready["lastTransitionTime"]));
        return Some((before, since.or_else(|| text(&pod["status"]["startTime"]))));
    }
    let restarts = number(&status["restartCount"]).unwrap_or(0);
    let ended = &state["terminated"];
    let last = if restarts > 0 && ended["exitCode"].as_i64().is_some_and(|code| code != 0) {
        ended
    } else if is_unsteady(state, before, restarts, now) {
        before
    } else {
        return None;
    };
    Some((last, text(&last["finishedAt"])))
}

/// Whether a container that was started again has not run for long enough to be believed: after its first restart
/// a moment, after more of them twice as long as the time before. One that had run for as long as the kubelet takes
/// for recovery was no loop.
fn is_unsteady(state: &Value, before: &Value, restarts: u32, now: Timestamp) -> bool {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let (Some(started), true) = (time(&state["running"]["startedAt"]), before.is_object()) else {
        return false;
    };
    let ran = match (time(&before["startedAt"]), time(&before["finishedAt"])) {
        (Some(started), Some(finished)) => finished.duration_since(started),
        (_, _) => SignedDuration::ZERO,
    };
    if restarts == 0 || ran >= RECOVERED {
        return false;
    }
    let believed = if restarts == 1 {
        MOMENT
    } else {
        (ran * 2).clamp(MOMENT, RECOVERED)
    };
    now.duration_since(started) < believed
}

/// How its containers ended: now, or the last time.
pub(super) fn exits(pod: &Value) -> Vec<ContainerExit> {
    let ended = |status: &Value| {
        exit(status, &status["state"]["terminated"]).or_else(|| exit(status, &status["lastState"]["terminated"]))
    };
    statuses(pod).filter_map(ended).collect()
}

/// The container that made the pod fail: one that says why, else the first that failed.
pub(super) fn deciding(pod: &Value) -> Option<ContainerExit> {
    failures(pod).into_iter().next()
}

/// The containers that failed: those that say why, else all of them.
pub(super) fn failures(pod: &Value) -> Vec<ContainerExit> {
    let failed: Vec<_> = exits(pod).into_iter().filter(|exit| exit.exit_code != 0).collect();
    if failed.iter().all(|exit| exit.message.is_empty()) {
        return failed;
    }
    failed.into_iter().filter(|exit| !exit.message.is_empty()).collect()
}

/// Init containers first, as they run.
fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |field: &str| pod["status"][field].as_array().into_iter().flatten();
    of("initContainerStatuses").chain(of("containerStatuses"))
}

fn exit(status: &Value, terminated: &Value) -> Option<ContainerExit> {
    Some(ContainerExit {
        container: status["name"].as_str().unwrap_or_default().to_owned(),
        exit_code: i32::try_from(terminated["exitCode"].as_i64()?).unwrap_or(i32::MAX),
        reason: text(&terminated["reason"]).unwrap_or_default(),
        message: text(&terminated["message"])
            .map(|message| message.trim().to_owned())
            .unwrap_or_default(),
    })
}
