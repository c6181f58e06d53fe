//! What one pod says.

use serde_json::Value;

use super::{find_condition, number, text};
use crate::{contract::ContainerExit, reason::Reason};

/// Why a pod cannot start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// Since when, if it is said.
    pub(super) since: Option<String>,
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
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "SignatureValidationFailed" => Reason::ImagePullFailed,
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                Reason::ContainerConfigInvalid
            }
            // Among them ErrImagePull, the first failure, and ContainerCreating.
            _ => return None,
        };
        let container = status["name"].as_str().unwrap_or_default();
        let said = text(&waiting["message"])
            .or_else(|| text(&waiting["reason"]))
            .unwrap_or_default();
        Some(Stuck {
            reason,
            message: format!("container {container}: {said}"),
            since: text(&pod["status"]["startTime"]),
        })
    });
    waiting.or_else(|| {
        let scheduled = find_condition(pod, "PodScheduled")?;
        let refused = scheduled["status"] == "False" && scheduled["reason"] == "Unschedulable";
        refused.then(|| Stuck {
            reason: Reason::Unschedulable,
            message: text(&scheduled["message"]).unwrap_or_else(|| "no node fits".to_owned()),
            since: text(&scheduled["lastTransitionTime"]),
        })
    })
}

/// A container that fails again and again: why, how it ended last, and since when it is not ready.
pub(super) fn crash(pod: &Value) -> Option<(Reason, ContainerExit, Option<String>)> {
    let status = statuses(pod).find(|status| status["state"]["waiting"]["reason"] == "CrashLoopBackOff")?;
    let exit = exit(status, &status["lastState"]["terminated"]).unwrap_or_else(|| ContainerExit {
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
    let ready = find_condition(pod, "ContainersReady").filter(|ready| ready["status"] == "False");
    let since = ready.and_then(|ready| text(&ready["lastTransitionTime"]));
    Some((reason, exit, since.or_else(|| text(&pod["status"]["startTime"]))))
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
