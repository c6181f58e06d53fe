//! The rows of the journeys table.

use std::time::Duration;

use insta::{allow_duplicates, assert_snapshot};
use serde_json::json;

use super::world::{HREF, World, diagnosis, fault, job, row};
use crate::{
    adapter::{During, NotApplicable, Of},
    contract::{Achievement, Failure, Nature, Phase, Said, Unmet, Verdict},
    effect::{Answer, ClusterCause, Effect, FleetFault},
    reason::Reason,
    reconcile::{Memory, Outcome, Recheck},
};

fn recheck(outcome: &Outcome) -> Recheck {
    match outcome {
        Outcome::Reported(reported) => reported.recheck,
        other => panic!("not reported: {other:?}"),
    }
}

#[test]
fn a1_objects_are_created_and_the_work_is_in_progress() {
    let mut world = World::new();
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    apply    Job work/validate-c-1 if absent
    report   clusters/c-1 @1 Applied=True Available=False Health=True
    ");
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @1
    Job work/validate-c-1 is running
    ");
}

#[test]
fn a1_tells_the_attempt() {
    let mut world = World::new();
    world.reconcile();
    let mut second = diagnosis(Nature::Progress, "Running", "");
    (second.attempt, second.attempts) = (Some(2), Some(7));
    world.diagnose("validate-c-1", second);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @1
    Job work/validate-c-1 is running (attempt 2 of 7)
    ");
    assert_eq!(world.reports.last().unwrap().metadata.attempt, Some(2));
}

#[test]
fn a2_the_work_is_done() {
    let mut world = World::new();
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=True(NoErrors) @1
    Done: Job work/validate-c-1
    ");
    let report = world.reports.last().unwrap();
    assert_eq!(report.metadata.duration.as_deref(), Some("2m3s"));
    assert_eq!(report.data["berth"]["finished"], json!(["Job work/validate-c-1"]));
}

#[test]
fn a3_names_every_unmet_step_and_creates_nothing() {
    let mut world = World::new()
        .depends_on("validation", Of::Subject)
        .says(Phase::Preconditions, |_| {
            let unmet = vec![Unmet {
                name: "quota".into(),
                message: "3 of 3 clusters are in use.".into(),
            }];
            Said::Preconditions(Verdict::Wait {
                unmet,
                recheck_after_ms: None,
            })
        });
    let outcome = world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    report   clusters/c-1 @1 Applied=False Available=False Health=True
    ");
    assert_snapshot!(world.told(), @"
    Applied=False(PreconditionsNotMet) Available=False(PreconditionsNotMet) Health=True(NoErrors) @1
    Waiting for dependencies to be met: validation: not reported yet; quota: 3 of 3 clusters are in use
    ");
    assert_eq!(recheck(&outcome), Recheck::Dependencies);
}

#[test]
fn a3_asks_a_dependency_for_the_current_generation() {
    let mut world = World::new().depends_on("validation", Of::Subject);
    world.generation(3);
    world.statuses.insert(HREF.into(), vec![row("validation", 2, true)]);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(PreconditionsNotMet) Available=False(PreconditionsNotMet) Health=True(NoErrors) @3
    Waiting for dependencies to be met: validation: at generation 2, not yet at 3
    ");
    world.statuses.insert(HREF.into(), vec![row("validation", 3, true)]);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @3
    Job work/validate-c-1 is running
    ");
}

#[test]
fn a3_tells_what_still_runs_from_an_earlier_generation() {
    let mut world = World::new();
    world.reconcile();
    world.generation(2);
    let mut world = world.depends_on("validation", Of::Subject);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(PreconditionsNotMet) Available=False(PreconditionsNotMet) Health=True(NoErrors) @2
    Waiting for dependencies to be met: validation: not reported yet; Job work/validate-c-1 of generation 1 still runs
    ");
    // What has ended does not run.
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(PreconditionsNotMet) Available=False(PreconditionsNotMet) Health=True(NoErrors) @2
    Waiting for dependencies to be met: validation: not reported yet
    ");
}

#[test]
fn a3_asks_the_owner_for_a_dependency_of_the_owner() {
    const OWNER: &str = "/api/hyperfleet/v1/clusters/owner";
    let mut world = World::new().depends_on("validation", Of::Owner);
    world.documents.get_mut(HREF).unwrap()["owner_references"] =
        json!({ "id": "owner", "kind": "Cluster", "href": OWNER });
    world.documents.insert(
        OWNER.into(),
        json!({ "id": "owner", "kind": "Cluster", "generation": 4 }),
    );
    world.statuses.insert(OWNER.into(), vec![row("validation", 4, false)]);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(PreconditionsNotMet) Available=False(PreconditionsNotMet) Health=True(NoErrors) @1
    Waiting for dependencies to be met: validation: not available (Said)
    ");
    world.statuses.insert(OWNER.into(), vec![row("validation", 4, true)]);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @1
    Job work/validate-c-1 is running
    ");
}

#[test]
fn a3_a_missing_namespace_waits_for_it_by_name_and_is_a4_beyond_grace() {
    let missing = ClusterCause::NamespaceMissing {
        namespace: "work".into(),
    };
    let mut world = World::new().cluster_refuses(missing, "namespaces \"work\" not found");
    let outcome = world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(NamespaceMissing) Available=False(NamespaceMissing) Health=True(NoErrors) @1
    Waiting for dependencies to be met: namespace `work` does not exist
    ");
    match outcome {
        Outcome::Reported(reported) => {
            assert_eq!(reported.await_namespace.as_deref(), Some("work"));
            assert_eq!(reported.recheck, Recheck::In(Duration::from_secs(120)));
        }
        other => panic!("{other:?}"),
    }
    world.later(121);
    world.reconcile();
    assert_snapshot!(world.told(), @r#"
    Applied=False(NamespaceMissing) Available=False(NamespaceMissing) Health=False(NamespaceMissing) @1
    Failed to create workload: namespaces "work" not found. Create the namespace, or let the adapter that owns it finish.
    Health: Failed to create workload: namespaces "work" not found. Create the namespace, or let the adapter that owns it finish.
    "#);
}

#[test]
fn a4_quota_is_told_with_what_to_do_and_tried_again() {
    let mut world = World::new().cluster_refuses(ClusterCause::Quota, "jobs \"x\" is forbidden: exceeded quota: jobs.");
    let outcome = world.reconcile();
    assert_snapshot!(world.told(), @r#"
    Applied=False(QuotaExceeded) Available=False(QuotaExceeded) Health=False(QuotaExceeded) @1
    Failed to create workload: jobs "x" is forbidden: exceeded quota: jobs. Raise the quota of the namespace or free what is in use.
    Health: Failed to create workload: jobs "x" is forbidden: exceeded quota: jobs. Raise the quota of the namespace or free what is in use.
    "#);
    assert_eq!(recheck(&outcome), Recheck::Trouble { at_least: None });
}

#[test]
fn a4_every_cause_has_its_reason_and_what_cannot_mend_is_not_repeated() {
    let mut lines = String::new();
    for cause in [
        ClusterCause::Forbidden,
        ClusterCause::Admission,
        ClusterCause::WebhookUnavailable,
        ClusterCause::LimitRange,
        ClusterCause::FieldConflict {
            manager: "kubectl".into(),
        },
        ClusterCause::Invalid,
        ClusterCause::Immutable,
        ClusterCause::NamespaceTerminating {
            namespace: "work".into(),
        },
        ClusterCause::UnknownKind,
        ClusterCause::Throttled,
        ClusterCause::Other,
    ] {
        let mut world = World::new().cluster_refuses(cause, "no");
        let outcome = world.reconcile();
        let told = world.told();
        lines.push_str(&format!("{:?} {}\n", recheck(&outcome), told.lines().nth(1).unwrap()));
    }
    assert_snapshot!(lines, @"
    Trouble { at_least: None } Failed to create workload: no. Grant the adapter's service account the missing rights.
    Trouble { at_least: None } Failed to create workload: no. Make the manifest comply with the policy, or ask for an exemption.
    Trouble { at_least: None } Failed to create workload: no. Restore the webhook's service.
    Trouble { at_least: None } Failed to create workload: no. Bring the requests and limits into the namespace's limit range, or change the range.
    Trouble { at_least: None } Failed to create workload: no (field manager `kubectl`). Let one manager own the field, or set `force` in the adapter document.
    Never Failed to create workload: no. Correct the manifest.
    Never Failed to create workload: no. Leave the field as it was, or set `recreate` so that the object is made anew.
    Trouble { at_least: None } Failed to create workload: no. Wait for the namespace's deletion, or find out which finalizer holds it.
    Trouble { at_least: None } Failed to create workload: no. Install the custom resource definition.
    Trouble { at_least: None } Kubernetes API refuses too many requests while applying Job work/validate-c-1: no. Give berth a priority level with more seats, or find out who else loads the API server.
    Trouble { at_least: None } Failed to create workload: no. Read the message and the API server's log.
    ");
}

#[test]
fn a4_an_image_that_cannot_be_pulled_counts_after_grace_and_a_started_pod_restores_a1() {
    let mut world = World::new();
    world.reconcile();
    let mut pull = diagnosis(Nature::Infrastructure, "ImagePullFailed", "image `x` cannot be pulled");
    pull.since = Some("2026-11-23T10:00:00Z".into());
    world.diagnose("validate-c-1", pull);
    world.later(30);
    let outcome = world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @1
    Job work/validate-c-1 cannot start yet: image `x` cannot be pulled
    ");
    assert_eq!(recheck(&outcome), Recheck::In(Duration::from_secs(90)));
    world.later(90);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(ImagePullFailed) Available=False(ImagePullFailed) Health=False(ImagePullFailed) @1
    Failed to create workload: Job work/validate-c-1: image `x` cannot be pulled. Check the image's name and tag, the pull secret and the registry.
    Health: Failed to create workload: Job work/validate-c-1: image `x` cannot be pulled. Check the image's name and tag, the pull secret and the registry.
    ");
    world.diagnose("validate-c-1", diagnosis(Nature::Progress, "Running", ""));
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @1
    Job work/validate-c-1 is running
    ");
}

#[test]
fn a5_a_failed_job_is_told_with_its_reason_and_a_new_generation_tries_again() {
    let mut world = World::new();
    world.reconcile();
    world.diagnose(
        "validate-c-1",
        diagnosis(Nature::Failure, "WorkloadFailed", "exit code 10: credentials rejected"),
    );
    let outcome = world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadFailed) Health=True(NoErrors) WorkloadSucceeded=False(WorkloadFailed) @1
    exit code 10: credentials rejected. Correct what the message says and change the resource to try again.
    ");
    assert_eq!(recheck(&outcome), Recheck::Never);
    world.generation(2);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    delete   Job work/validate-c-1 foreground
    observe
    apply    Job work/validate-c-1 if absent
    report   clusters/c-1 @2 Applied=True Available=False Health=True
    ");
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @2
    Job work/validate-c-1 is running
    ");
}

#[test]
fn a5_needs_the_end_of_all_attempts() {
    let mut world = World::new()
        .phase(Phase::Postconditions, During::Life)
        .says(Phase::Postconditions, |_| {
            let (reason, message) = ("ValidationFailed".to_owned(), "no".to_owned());
            Said::Postconditions(Achievement::Failed(Failure { reason, message }))
        });
    world.reconcile();
    world.set_status("validate-c-1", json!({ "failed": 1, "active": 1 }));
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @1
    Job work/validate-c-1 is running
    ");
    world.set_status("validate-c-1", json!({ "failed": 2, "conditions": [{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded" }] }));
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(ValidationFailed) Health=True(NoErrors) WorkloadSucceeded=False(ValidationFailed) @1
    Validation failed: no
    ");
}

#[test]
fn a6_kubernetes_unreachable_and_back() {
    let mut world = World::new();
    world.hook = Box::new(|effect| match effect {
        Effect::Observe(_) => Some(Answer::Observed(Err(fault(
            ClusterCause::Unreachable,
            "connection refused",
        )))),
        _ => None,
    });
    let outcome = world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe -> connection refused
    report   clusters/c-1 @1 Applied=False Available=False Health=False
    ");
    assert_snapshot!(world.told(), @"
    Applied=False(KubernetesApiUnreachable) Available=False(KubernetesApiUnreachable) Health=False(KubernetesApiUnreachable) @1
    Kubernetes API unreachable while listing objects: connection refused. Restore the API server or the network to it.
    Health: Kubernetes API unreachable while listing objects: connection refused. Restore the API server or the network to it.
    ");
    assert_eq!(recheck(&outcome), Recheck::Trouble { at_least: None });
    world.hook = Box::new(|_| None);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @1
    Job work/validate-c-1 is running
    ");
}

#[test]
fn a6_after_success_changes_only_health() {
    let mut world = World::new();
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    let before = world.reports.last().unwrap().data.clone();
    world.hook = Box::new(|effect| match effect {
        Effect::Observe(_) => Some(Answer::Observed(Err(fault(
            ClusterCause::Unreachable,
            "connection refused",
        )))),
        _ => None,
    });
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=False(KubernetesApiUnreachable) @1
    The work was done before
    Health: Kubernetes API unreachable while listing objects: connection refused. Restore the API server or the network to it.
    ");
    assert_eq!(world.reports.last().unwrap().data, before);
    world.hook = Box::new(|_| None);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=True(NoErrors) @1
    Done: Job work/validate-c-1
    ");
}

#[test]
fn a_report_tells_when_the_look_began_and_which_row_it_replaces() {
    let mut world = World::new();
    let first = world.now;
    world.reconcile();
    world.later(7);
    let second = world.now;
    world.reconcile();
    let told: Vec<_> = world
        .reports
        .iter()
        .map(|report| (report.as_of, report.replaces))
        .collect();
    assert_eq!(told, [(first, None), (second, Some(first))]);
}

#[test]
fn a6_hyperfleet_get_fails_but_put_works() {
    let mut world = World::new();
    let down = || FleetFault::Unreachable {
        message: "GET: 500".into(),
        retry_after: None,
    };
    world.hook = Box::new(move |effect| match effect {
        Effect::Fetch { .. } => Some(Answer::Fetched(Err(down()))),
        _ => None,
    });
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1 -> HyperFleet API unreachable: GET: 500
    statuses clusters/c-1
    report   clusters/c-1 @1 Applied=False Available=False Health=False
    ");
    assert_snapshot!(world.told(), @"
    Applied=False(FleetApiUnreachable) Available=False(FleetApiUnreachable) Health=False(FleetApiUnreachable) @1
    HyperFleet API unreachable: GET: 500. Restore the HyperFleet API or the network to it.
    Health: HyperFleet API unreachable: GET: 500. Restore the HyperFleet API or the network to it.
    ");
}

#[test]
fn a6_is_told_at_the_larger_of_the_events_and_the_last_known_generation() {
    let mut world = World::new();
    world.generation(4);
    world.reconcile();
    let known = world.memory.clone();
    assert_eq!(known.generation, 4);
    world.hook = Box::new(|effect| match effect {
        Effect::Fetch { .. } => Some(Answer::Fetched(Err(FleetFault::Unreachable {
            message: "GET: 500".into(),
            retry_after: None,
        }))),
        _ => None,
    });
    for (told, memory, generation) in [(1, known.clone(), 4), (7, known, 7), (7, Memory::default(), 7)] {
        world.told_generation = told;
        world.memory = memory;
        let outcome = world.reconcile();
        assert!(matches!(outcome, Outcome::Reported(_)), "{outcome:?}");
        let report = world.reports.last().unwrap();
        assert_eq!(report.observed_generation, generation, "an event at {told}");
    }
    // Nobody knows any: nothing can be reported about.
    let reports = world.reports.len();
    (world.told_generation, world.memory) = (0, Memory::default());
    let outcome = world.reconcile();
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    assert_eq!(world.reports.len(), reports);
}

#[test]
fn a6_hyperfleet_down_altogether_keeps_the_event() {
    let mut world = World::new();
    world.hook = Box::new(|effect| {
        let down = || FleetFault::Unreachable {
            message: "connection refused".into(),
            retry_after: None,
        };
        match effect {
            Effect::Fetch { .. } => Some(Answer::Fetched(Err(down()))),
            Effect::Statuses { .. } => Some(Answer::Statuses(Err(down()))),
            Effect::Report { .. } => Some(Answer::Reported(Err(down()))),
            _ => None,
        }
    });
    assert!(matches!(world.reconcile(), Outcome::Retry { .. }));
    assert!(world.reports.is_empty());
}

#[test]
fn a_report_that_the_api_refuses_is_not_tried_again_and_one_that_operators_can_mend_is() {
    let end = |fault: FleetFault| {
        let mut world = World::new();
        world.hook = Box::new(move |effect| match effect {
            Effect::Report { .. } => Some(Answer::Reported(Err(fault.clone()))),
            _ => None,
        });
        match world.reconcile() {
            Outcome::Retry { reason, .. } => format!("retry {reason}"),
            Outcome::Refused { reason, message } => format!("refused {reason}: {message}"),
            other => format!("{other:?}"),
        }
    };
    for status in [400, 409, 413, 422] {
        let message = "no such condition".to_owned();
        let expected =
            format!("refused ReportRejected: HyperFleet API rejected the request with {status}: no such condition");
        assert_eq!(end(FleetFault::Rejected { status, message }), expected);
    }
    // A token that expired, or a wrong address.
    let message = "answered 401".to_owned();
    assert_eq!(
        end(FleetFault::Misconfigured { message }),
        "retry FleetApiMisconfigured"
    );
    let message = "answered 503".to_owned();
    let retry_after = None;
    assert_eq!(
        end(FleetFault::Unreachable { message, retry_after }),
        "retry FleetApiUnreachable"
    );
}

#[test]
fn a_subject_that_the_api_refuses_to_tell_of_is_told_once_or_refused() {
    let rejected = || FleetFault::Rejected {
        status: 400,
        message: "no such path".into(),
    };
    let mut world = World::new();
    world.hook = Box::new(move |effect| match effect {
        Effect::Fetch { .. } => Some(Answer::Fetched(Err(rejected()))),
        _ => None,
    });
    let outcome = world.reconcile();
    assert!(
        world.told().contains("Health=False(SubjectRejected)"),
        "{}",
        world.told()
    );
    assert_eq!(recheck(&outcome), Recheck::Never);

    let mut world = World::new();
    world.hook = Box::new(move |effect| match effect {
        Effect::Fetch { .. } => Some(Answer::Fetched(Err(rejected()))),
        Effect::Statuses { .. } => Some(Answer::Statuses(Err(rejected()))),
        _ => None,
    });
    let outcome = world.reconcile();
    assert!(
        matches!(
            outcome,
            Outcome::Refused {
                reason: Reason::SubjectRejected,
                ..
            }
        ),
        "{outcome:?}"
    );
}

#[test]
fn not_applicable_is_told_and_need_not_block() {
    let mut world = World::new().says(Phase::Preconditions, |_| {
        Said::Preconditions(Verdict::NotApplicable("only GCP clusters".into()))
    });
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(NotApplicable) Available=False(NotApplicable) Health=True(NoErrors) @1
    NotApplicable: only GCP clusters
    ");
    world.adapter.not_applicable = NotApplicable::Available;
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(NotApplicable) Available=True(NotApplicable) Health=True(NoErrors) @1
    NotApplicable: only GCP clusters
    ");
}

#[test]
fn a_degraded_deployment_returns_to_a1() {
    let deployment = || {
        let mut document = job("web");
        document["apiVersion"] = json!("apps/v1");
        document["kind"] = json!("Deployment");
        document
    };
    let mut world = World::new().says(Phase::Resources, move |_| {
        super::world::plan(vec![super::world::apply("web", deployment())])
    });
    world.reconcile();
    let status = |available: &str| json!({ "observedGeneration": 1, "conditions": [{ "type": "Available", "status": available }] });
    world.set_status("web", status("True"));
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=True(NoErrors) @1
    Done: Deployment work/web
    ");
    world.set_status("web", status("False"));
    // It stays degraded, however often it is looked at.
    for _ in 0..2 {
        world.reconcile();
        allow_duplicates!(assert_snapshot!(world.told(), @"
        Applied=True(ResourcesCreated) Available=False(WorkloadDegraded) Health=True(NoErrors) @1
        Deployment work/web is not available yet
        "));
    }
}

#[test]
fn a_crash_loop_counts_beyond_grace() {
    let mut world = World::new();
    world.reconcile();
    let mut crash = diagnosis(Nature::Failure, "CrashLoop", "container `x` crashes again and again");
    crash.since = Some("2026-11-23T10:00:00Z".into());
    world.diagnose("validate-c-1", crash);
    world.later(20);
    let outcome = world.reconcile();
    assert!(
        world.told().contains("Available=False(WorkloadInProgress)"),
        "{}",
        world.told()
    );
    assert_eq!(recheck(&outcome), Recheck::In(Duration::from_secs(100)));
    world.later(100);
    world.reconcile();
    assert!(world.told().contains("Available=False(CrashLoop)"), "{}", world.told());
}

#[test]
fn a_workload_without_pods_is_looked_at_again_since_no_watch_tells() {
    let mut world = World::new();
    let outcome = world.reconcile();
    assert_eq!(recheck(&outcome), Recheck::In(Duration::from_secs(10)));
}
