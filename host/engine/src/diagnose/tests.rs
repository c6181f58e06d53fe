#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{diagnose, prune_pod};

const T1: &str = "2026-03-01T10:00:01Z";
const T2: &str = "2026-03-01T10:00:02Z";
const NOW: &str = "2026-03-01T10:30:00Z";

/// All that a diagnosis says, in one line.
fn says(object: &Value, pods: &[Value], events: &[Value]) -> String {
    let mut pruned = pods.to_vec();
    pruned.iter_mut().for_each(prune_pod);
    let it = diagnose(object, pods, events, NOW.parse().unwrap());
    assert_eq!(
        diagnose(object, &pruned, events, NOW.parse().unwrap()),
        it,
        "what is left of a pod says the same"
    );
    let Some(it) = it else {
        return "nothing".to_owned();
    };
    let mut line = format!("{:?} {}: {}", it.nature, it.reason, it.message);
    if let Some(since) = it.since {
        line += &format!(" | since {since}");
    }
    if let (Some(attempt), Some(attempts)) = (it.attempt, it.attempts) {
        line += &format!(" | attempt {attempt}/{attempts}");
    }
    if let Some(code) = it.exit_code {
        line += &format!(" | code {code}");
    }
    if let Some(message) = it.termination_message {
        line += &format!(" | said {message}");
    }
    for exit in it.exits {
        line += &format!(" | {}={}", exit.container, exit.exit_code);
    }
    line
}

fn job(status: Value) -> Value {
    json!({"kind": "Job", "metadata": {"name": "j", "uid": "u"}, "spec": {"backoffLimit": 6}, "status": status})
}

fn ended_job(kind: &str, reason: &str, message: &str, failed: u32) -> Value {
    job(json!({"failed": failed, "startTime": T1, "conditions": [
        {"type": "FailureTarget", "status": "True"},
        {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": T2},
    ]}))
}

fn pod(phase: &str, containers: Value) -> Value {
    json!({"kind": "Pod", "metadata": {"name": "p"},
        "status": {"phase": phase, "startTime": T1, "containerStatuses": containers}})
}

fn terminated(name: &str, code: i32, reason: &str, message: &str) -> Value {
    json!({"name": name, "restartCount": 0, "state": {"terminated": {
        "exitCode": code, "reason": reason, "message": message, "finishedAt": T2,
    }}})
}

fn waiting(reason: &str, message: &str) -> Value {
    json!([{"name": "main", "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}])
}

fn running() -> Value {
    pod(
        "Running",
        json!([{"name": "main", "restartCount": 0, "state": {"running": {"startedAt": T1}}}]),
    )
}

fn unschedulable() -> Value {
    let mut pod = pod("Pending", json!([]));
    pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient cpu.", "lastTransitionTime": T2}]);
    pod
}

fn crashing(reason: &str, code: i32) -> Value {
    let mut pod = pod(
        "Running",
        json!([{"name": "main", "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": code, "reason": reason, "message": "no database\n"}}}]),
    );
    pod["status"]["conditions"] = json!([{"type": "ContainersReady", "status": "False", "lastTransitionTime": T2}]);
    pod
}

fn refused(message: &str) -> Value {
    json!({"reason": "FailedCreate", "message": message, "involvedObject": {"uid": "u"},
        "firstTimestamp": T1, "lastTimestamp": T2})
}

const QUOTA: &str = r#"Error creating: pods "j-x7k2p" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"#;

fn deployment(status: Value) -> Value {
    json!({"kind": "Deployment", "metadata": {"name": "d", "uid": "u", "generation": 2}, "spec": {"replicas": 3}, "status": status})
}

#[test]
fn jobs() {
    let failed = || {
        pod(
            "Failed",
            json!([terminated("main", 3, "Error", "provider credentials rejected")]),
        )
    };
    let cases = [
        ("just created", job(json!({})), vec![], vec![]),
        (
            "running",
            job(json!({"active": 1, "startTime": T1})),
            vec![running()],
            vec![],
        ),
        (
            "retrying",
            job(json!({"active": 1, "failed": 1, "startTime": T1})),
            vec![running(), failed()],
            vec![],
        ),
        (
            "between two attempts",
            job(json!({"failed": 2, "startTime": T1})),
            vec![failed(), failed()],
            vec![],
        ),
        (
            "restarts in place",
            job(json!({"active": 1})),
            vec![crashing("Error", 1)],
            vec![],
        ),
        (
            "complete",
            ended_job("Complete", "CompletionsReached", "", 0),
            vec![pod("Succeeded", json!([terminated("main", 0, "Completed", "")]))],
            vec![],
        ),
        (
            "failed with a message",
            ended_job(
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
                7,
            ),
            vec![failed()],
            vec![],
        ),
        (
            "failed without a message",
            ended_job(
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
                7,
            ),
            vec![pod("Failed", json!([terminated("main", 1, "Error", "")]))],
            vec![],
        ),
        (
            "failed, its pods are gone",
            ended_job(
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
                1,
            ),
            vec![],
            vec![],
        ),
        (
            "out of memory",
            ended_job(
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
                7,
            ),
            vec![pod("Failed", json!([terminated("main", 137, "OOMKilled", "")]))],
            vec![],
        ),
        (
            "too slow",
            ended_job(
                "Failed",
                "DeadlineExceeded",
                "Job was active longer than specified deadline",
                0,
            ),
            vec![],
            vec![],
        ),
        (
            "the sidecar succeeded",
            ended_job("Failed", "BackoffLimitExceeded", "limit", 1),
            vec![pod(
                "Failed",
                json!([
                    terminated("log", 0, "Completed", ""),
                    terminated("main", 2, "Error", "no quota")
                ]),
            )],
            vec![],
        ),
        (
            "a pull fails, whichever it is",
            job(json!({"active": 1, "startTime": T1})),
            vec![pod("Pending", waiting("ErrImagePull", "not found"))],
            vec![],
        ),
        (
            "pulling again and again",
            job(json!({"active": 1})),
            vec![pod(
                "Pending",
                waiting("ImagePullBackOff", "Back-off pulling image \"x\""),
            )],
            vec![],
        ),
        (
            "image name invalid",
            job(json!({"active": 1})),
            vec![pod("Pending", waiting("InvalidImageName", ""))],
            vec![],
        ),
        (
            "secret missing",
            job(json!({"active": 1})),
            vec![pod(
                "Pending",
                waiting("CreateContainerConfigError", "secret \"s\" not found"),
            )],
            vec![],
        ),
        ("no node", job(json!({"active": 1})), vec![unschedulable()], vec![]),
        ("quota", job(json!({"startTime": T1})), vec![], vec![refused(QUOTA)]),
        (
            "limit range",
            job(json!({"startTime": T1})),
            vec![],
            vec![refused(
                "Error creating: pods \"j-a\" is forbidden: maximum cpu usage per Container is 1, but limit is 2",
            )],
        ),
        (
            "a webhook refuses the pod",
            job(json!({"startTime": T1})),
            vec![],
            vec![refused(
                "Error creating: admission webhook \"w\" denied the request: not signed",
            )],
        ),
        (
            "a webhook for pods is down",
            job(json!({"startTime": T1})),
            vec![],
            vec![refused(
                "Error creating: Internal error occurred: failed calling webhook \"w\": failed to call webhook: Post \"https://w.svc\": dial tcp: connection refused",
            )],
        ),
        (
            "the namespace's security level refuses the pod",
            job(json!({"startTime": T1})),
            vec![],
            vec![refused(
                "Error creating: pods \"j-a\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
            )],
        ),
        (
            "no service account",
            job(json!({"startTime": T1})),
            vec![],
            vec![refused(
                "Error creating: pods \"j-a\" is forbidden: error looking up service account n/s: serviceaccount \"s\" not found",
            )],
        ),
        (
            "refused once, runs now",
            job(json!({"active": 1, "startTime": T1})),
            vec![running()],
            vec![refused(QUOTA)],
        ),
        (
            "suspended",
            json!({"kind": "Job", "spec": {"suspend": true}, "status": {}}),
            vec![],
            vec![],
        ),
    ];
    let lines: Vec<_> = cases
        .iter()
        .map(|(name, job, pods, events)| format!("{name}: {}", says(job, pods, events)))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    just created: Progress WorkloadInProgress: attempt 1 of 7 | attempt 1/7
    running: Progress WorkloadInProgress: attempt 1 of 7 | since 2026-03-01T10:00:01Z | attempt 1/7
    retrying: Progress WorkloadInProgress: attempt 2 of 7; before, container main ended with exit code 3: provider credentials rejected | since 2026-03-01T10:00:01Z | attempt 2/7 | code 3 | said provider credentials rejected
    between two attempts: Progress WorkloadInProgress: attempt 3 of 7; before, container main ended with exit code 3: provider credentials rejected | since 2026-03-01T10:00:01Z | attempt 3/7 | code 3 | said provider credentials rejected | main=3
    restarts in place: Progress WorkloadInProgress: attempt 5 of 7; before, container main ended with exit code 1: no database | since 2026-03-01T10:00:01Z | attempt 5/7 | code 1 | said no database | main=1
    complete: Progress PostconditionsMet: attempt 1 of 7 succeeded | since 2026-03-01T10:00:02Z | attempt 1/7 | main=0
    failed with a message: Failure WorkloadFailed: provider credentials rejected | since 2026-03-01T10:00:02Z | attempt 7/7 | code 3 | said provider credentials rejected | main=3
    failed without a message: Failure WorkloadFailed: container main ended with exit code 1; Job has reached the specified backoff limit | since 2026-03-01T10:00:02Z | attempt 7/7 | code 1 | main=1
    failed, its pods are gone: Failure WorkloadFailed: Job has reached the specified backoff limit | since 2026-03-01T10:00:02Z | attempt 1/7
    out of memory: Failure OutOfMemory: container main ended with exit code 137 (OOMKilled); Job has reached the specified backoff limit | since 2026-03-01T10:00:02Z | attempt 7/7 | code 137 | main=137
    too slow: Failure DeadlineExceeded: Job was active longer than specified deadline | since 2026-03-01T10:00:02Z | attempt 1/7
    the sidecar succeeded: Failure WorkloadFailed: no quota | since 2026-03-01T10:00:02Z | attempt 1/7 | code 2 | said no quota | log=0 | main=2
    a pull fails, whichever it is: Infrastructure ImagePullFailed: container main: not found | attempt 1/7
    pulling again and again: Infrastructure ImagePullFailed: container main: Back-off pulling image "x" | since 2026-03-01T10:00:01Z | attempt 1/7
    image name invalid: Infrastructure ImagePullFailed: container main: InvalidImageName | since 2026-03-01T10:00:01Z | attempt 1/7
    secret missing: Infrastructure ContainerConfigInvalid: container main: secret "s" not found | since 2026-03-01T10:00:01Z | attempt 1/7
    no node: Infrastructure Unschedulable: 0/3 nodes are available: 3 Insufficient cpu. | since 2026-03-01T10:00:02Z | attempt 1/7
    quota: Infrastructure QuotaExceeded: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2 | since 2026-03-01T10:00:01Z | attempt 1/7
    limit range: Infrastructure OutsideLimitRange: maximum cpu usage per Container is 1, but limit is 2 | since 2026-03-01T10:00:01Z | attempt 1/7
    a webhook refuses the pod: Infrastructure AdmissionRefused: admission webhook "w" denied the request: not signed | since 2026-03-01T10:00:01Z | attempt 1/7
    a webhook for pods is down: Infrastructure AdmissionUnavailable: Internal error occurred: failed calling webhook "w": failed to call webhook: Post "https://w.svc": dial tcp: connection refused | since 2026-03-01T10:00:01Z | attempt 1/7
    the namespace's security level refuses the pod: Infrastructure AdmissionRefused: violates PodSecurity "restricted:latest": runAsNonRoot != true | since 2026-03-01T10:00:01Z | attempt 1/7
    no service account: Infrastructure ServiceAccountMissing: error looking up service account n/s: serviceaccount "s" not found | since 2026-03-01T10:00:01Z | attempt 1/7
    refused once, runs now: Progress WorkloadInProgress: attempt 1 of 7 | since 2026-03-01T10:00:01Z | attempt 1/7
    suspended: Progress WorkloadInProgress: suspended | attempt 1/7
    "#);
}

#[test]
fn workloads_that_last() {
    let unready = || deployment(json!({"observedGeneration": 2, "updatedReplicas": 3, "availableReplicas": 1}));
    let conditions = |condition: Value| {
        deployment(
            json!({"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1, "conditions": [condition]}),
        )
    };
    let set = |kind: &str, status: Value| json!({"kind": kind, "metadata": {"uid": "u", "generation": 1}, "spec": {"replicas": 2}, "status": status});
    let cases = [
        (
            "available",
            deployment(json!({"observedGeneration": 2, "updatedReplicas": 3, "availableReplicas": 3})),
            vec![running()],
            vec![],
        ),
        (
            "not yet seen by its controller",
            deployment(json!({"observedGeneration": 1, "updatedReplicas": 3, "availableReplicas": 3})),
            vec![],
            vec![],
        ),
        ("coming up", unready(), vec![running(), running(), running()], vec![]),
        ("crash loop", unready(), vec![running(), crashing("Error", 1)], vec![]),
        (
            "out of memory again and again",
            unready(),
            vec![crashing("OOMKilled", 137)],
            vec![],
        ),
        (
            "crash loop of a pod that goes",
            unready(),
            vec![{
                let mut gone = crashing("Error", 1);
                gone["metadata"]["deletionTimestamp"] = json!(T2);
                gone
            }],
            vec![],
        ),
        (
            "image",
            unready(),
            vec![pod("Pending", waiting("ImagePullBackOff", "Back-off"))],
            vec![],
        ),
        ("no node", unready(), vec![unschedulable()], vec![]),
        (
            "quota",
            conditions(
                json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "pods \"d-5d8f-x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2", "lastTransitionTime": T2}),
            ),
            vec![],
            vec![],
        ),
        (
            "refused",
            conditions(
                json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "admission webhook \"w\" denied the request: no", "lastTransitionTime": T2}),
            ),
            vec![],
            vec![],
        ),
        (
            "stalled",
            conditions(
                json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet \"d-5d8f\" has timed out progressing.", "lastUpdateTime": T2}),
            ),
            vec![running()],
            vec![],
        ),
        (
            "stateful set without quota",
            set("StatefulSet", json!({"observedGeneration": 1})),
            vec![],
            vec![refused(QUOTA)],
        ),
        (
            "stateful set, created after all",
            set("StatefulSet", json!({"observedGeneration": 1})),
            vec![],
            vec![
                refused(QUOTA),
                json!({"reason": "SuccessfulCreate", "involvedObject": {"uid": "u"}, "lastTimestamp": "2026-03-01T10:00:03Z"}),
            ],
        ),
        (
            "daemon set ready",
            set(
                "DaemonSet",
                json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}),
            ),
            vec![],
            vec![],
        ),
        (
            "daemon set coming up",
            set(
                "DaemonSet",
                json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}),
            ),
            vec![],
            vec![],
        ),
        ("other kinds", json!({"kind": "ConfigMap"}), vec![], vec![]),
    ];
    let lines: Vec<_> = cases
        .iter()
        .map(|(name, object, pods, events)| format!("{name}: {}", says(object, pods, events)))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    available: nothing
    not yet seen by its controller: Progress WorkloadInProgress: 3 of 3 replicas are ready
    coming up: Progress WorkloadInProgress: 1 of 3 replicas are ready
    crash loop: Failure CrashLoop: started again and again: container main ended with exit code 1: no database | since 2026-03-01T10:00:02Z | code 1 | said no database | main=1
    out of memory again and again: Failure OutOfMemory: started again and again: container main ended with exit code 137 (OOMKilled): no database | since 2026-03-01T10:00:02Z | code 137 | said no database | main=137
    crash loop of a pod that goes: Progress WorkloadInProgress: 1 of 3 replicas are ready
    image: Infrastructure ImagePullFailed: container main: Back-off | since 2026-03-01T10:00:01Z
    no node: Infrastructure Unschedulable: 0/3 nodes are available: 3 Insufficient cpu. | since 2026-03-01T10:00:02Z
    quota: Infrastructure QuotaExceeded: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2 | since 2026-03-01T10:00:02Z
    refused: Infrastructure AdmissionRefused: admission webhook "w" denied the request: no | since 2026-03-01T10:00:02Z
    stalled: Failure DeadlineExceeded: ReplicaSet "d-5d8f" has timed out progressing. | since 2026-03-01T10:00:02Z
    stateful set without quota: Infrastructure QuotaExceeded: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2 | since 2026-03-01T10:00:01Z
    stateful set, created after all: Progress WorkloadInProgress: 0 of 2 replicas are ready
    daemon set ready: nothing
    daemon set coming up: Progress WorkloadInProgress: 1 of 2 replicas are ready
    other kinds: nothing
    "#);
}

#[test]
fn pods_of_their_own() {
    let mut ready = running();
    ready["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    let mut evicted = pod("Failed", json!([]));
    evicted["status"]["reason"] = json!("Evicted");
    evicted["status"]["message"] = json!("The node was low on resource: memory.");
    let cases = [
        ("pending", pod("Pending", json!([]))),
        ("ready", ready),
        ("no node", unschedulable()),
        ("crash loop", crashing("Error", 1)),
        (
            "succeeded",
            pod("Succeeded", json!([terminated("main", 0, "Completed", "")])),
        ),
        (
            "failed",
            pod("Failed", json!([terminated("main", 2, "Error", "no quota")])),
        ),
        ("evicted", evicted),
    ];
    let lines: Vec<_> = cases
        .iter()
        .map(|(name, pod)| format!("{name}: {}", says(pod, &[], &[])))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    pending: Progress WorkloadInProgress: pending | since 2026-03-01T10:00:01Z
    ready: nothing
    no node: Infrastructure Unschedulable: 0/3 nodes are available: 3 Insufficient cpu. | since 2026-03-01T10:00:02Z
    crash loop: Failure CrashLoop: started again and again: container main ended with exit code 1: no database | since 2026-03-01T10:00:02Z | code 1 | said no database | main=1
    succeeded: Progress PostconditionsMet: succeeded | since 2026-03-01T10:00:02Z | main=0
    failed: Failure WorkloadFailed: no quota | since 2026-03-01T10:00:02Z | code 2 | said no quota | main=2
    evicted: Failure WorkloadFailed: The node was low on resource: memory.
    "#);
}

#[test]
fn a_container_that_was_started_again_is_believed_when_it_has_run_for_a_while() {
    let deployment = deployment(json!({"observedGeneration": 2, "updatedReplicas": 3, "availableReplicas": 3}));
    // How often it was started again, how many seconds it ran before, and since how many it runs.
    let restarted = |restarts: u32, ran: i64, runs: i64| {
        let at = |seconds: i64| {
            let now: Timestamp = NOW.parse().unwrap();
            now.checked_sub(SignedDuration::from_secs(seconds)).unwrap().to_string()
        };
        let before = json!({
            "exitCode": 1, "reason": "Error", "startedAt": at(runs + 1 + ran), "finishedAt": at(runs + 1),
        });
        let mut pod = pod(
            "Running",
            json!([{
                "name": "main", "restartCount": restarts, "ready": true,
                "state": {"running": {"startedAt": at(runs)}}, "lastState": {"terminated": before},
            }]),
        );
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        pod
    };
    let is_believed = |restarts, ran, runs| says(&deployment, &[restarted(restarts, ran, runs)], &[]) == "nothing";
    for (restarts, ran, doubted, believed) in [
        (1, 0, 9, 10),
        (1, 300, 9, 10),
        (2, 1, 9, 10),
        (2, 30, 59, 60),
        (9, 300, 599, 600),
        (9, 599, 599, 600),
    ] {
        assert!(!is_believed(restarts, ran, doubted), "{restarts} {ran} {doubted}");
        assert!(is_believed(restarts, ran, believed), "{restarts} {ran} {believed}");
    }
    // What ran as long as that was no loop, and what was never started again ran from the beginning.
    assert!(is_believed(9, 600, 0) && is_believed(0, 1, 0));
    insta::assert_snapshot!(
        says(&deployment, &[restarted(2, 5, 3)], &[]),
        @"Failure CrashLoop: started again and again: container main ended with exit code 1 | since 2026-03-01T10:29:56Z | code 1 | main=1"
    );
    let alone = says(&restarted(2, 5, 3), &[], &[]);
    assert!(alone.starts_with("Failure CrashLoop"), "a pod of its own: {alone}");
}

#[test]
fn a_crash_is_a_loop_from_the_moment_it_ends_again() {
    let unready = deployment(json!({"observedGeneration": 2, "updatedReplicas": 3, "availableReplicas": 1}));
    let ended = |restarts: u32, code: i32| {
        let mut container = terminated("main", code, "Error", "");
        container["restartCount"] = json!(restarts);
        says(&unready, &[pod("Running", json!([container]))], &[])
    };
    assert_eq!(ended(0, 1), "Progress WorkloadInProgress: 1 of 3 replicas are ready");
    assert!(ended(1, 1).starts_with("Failure CrashLoop: "), "{}", ended(1, 1));
    // Such as an init container that has succeeded at last.
    assert_eq!(ended(1, 0), "Progress WorkloadInProgress: 1 of 3 replicas are ready");
}
