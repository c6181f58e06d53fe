//! Rules that only show when several things happen in a row.

use super::world::{HREF, World, apply, diagnosis, fault, job, plan};
use crate::{
    adapter::During,
    contract::{Condition, Nature, Phase, Question, Said, StatusAnswer, StatusReport, Truth},
    effect::{Answer, ClusterCause, Effect, FleetFault},
    reconcile::{Memory, Outcome, Recheck},
};
use serde_json::json;
use std::time::Duration;

fn cm(name: &str) -> serde_json::Value {
    json!({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":name},"data":{}})
}
fn deploy(name: &str) -> serde_json::Value {
    json!({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":name},"spec":{"template":{"spec":{}}}})
}
fn recheck(o: &Outcome) -> Recheck {
    match o {
        Outcome::Reported(r) => r.recheck,
        o => panic!("{o:?}"),
    }
}

#[test]
fn what_a_deletion_applies_is_not_applied_again_once_it_is_taken_away() {
    let mut world = World::new()
        .phase(Phase::Resources, During::Both)
        .says(Phase::Resources, |q| {
            if q.facts().subject.deleting {
                plan(vec![apply("conf", cm("conf"))])
            } else {
                plan(vec![])
            }
        });
    world.delete_subject(2);
    world.lingers = true;
    for _ in 0..12 {
        world.reconcile();
        world.objects.retain(|one| !one.deleting); // the garbage collector
    }
    assert!(world.told().contains("Finalized=True"), "{}", world.told());
}

#[test]
fn an_outage_after_finalized_does_not_run_the_destroy_job_again() {
    let mut world = World::new()
        .phase(Phase::Resources, During::Deletion)
        .says(Phase::Resources, |_| plan(vec![apply("destroy", job("destroy-c-1"))]));
    world.delete_subject(2);
    world.reconcile();
    world.complete("destroy-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    world.reconcile();
    assert!(world.told().contains("Finalized=True"));
    world.hook = Box::new(|e| match e {
        Effect::Observe(_) => Some(Answer::Observed(Err(fault(ClusterCause::Unreachable, "refused")))),
        _ => None,
    });
    world.reconcile();
    world.hook = Box::new(|_| None);
    world.reconcile();
    assert!(!world.transcript().contains("apply"));
}

#[test]
fn a_cleanup_that_cannot_happen_is_not_looked_at_again_at_once() {
    let mut world = World::new()
        .phase(Phase::Status, During::Life)
        .cleanup(Duration::from_secs(600))
        .says(Phase::Status, |_| {
            Said::Status(StatusAnswer {
                report: Some(StatusReport {
                    conditions: vec![Condition {
                        kind: "Available".into(),
                        status: Truth::False,
                        reason: "NetworkNotReady".into(),
                        message: "no".into(),
                    }],
                    data: json!({}),
                }),
                ..StatusAnswer::default()
            })
        });
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:00:00Z");
    world.later(700);
    for _ in 0..4 {
        world.reconcile();
    }
    let outcome = world.reconcile();
    assert_ne!(recheck(&outcome), Recheck::In(Duration::from_millis(1)));
}

#[test]
fn an_outage_in_which_the_row_cannot_be_read_does_not_overwrite_it() {
    let mut world = World::new().cleanup(Duration::from_secs(0));
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:00:00Z");
    world.later(10);
    world.reconcile();
    world.reconcile();
    assert!(world.objects.is_empty());
    assert!(world.told().contains("Available=True"));
    world.memory = Memory::default();
    world.hook = Box::new(|e| match e {
        Effect::Statuses { .. } => Some(Answer::Statuses(Err(FleetFault::Unreachable {
            message: "500".into(),
            retry_after: None,
        }))),
        _ => None,
    });
    world.reconcile();
    world.hook = Box::new(|_| None);
    world.reconcile();
    assert!(!world.transcript().contains("apply"));
}

#[test]
fn a_workload_that_fails_is_told_although_finished_work_was_cleaned_up() {
    let mut world = World::new()
        .cleanup(Duration::from_secs(0))
        .says(Phase::Resources, |_| {
            plan(vec![
                apply("validate", job("validate-c-1")),
                apply("agent", deploy("agent")),
            ])
        });
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:00:00Z");
    world.set_status("agent", json!({"conditions":[{"type":"Available","status":"True"}]}));
    world.later(10);
    world.reconcile();
    world.reconcile();
    assert_eq!(world.objects.len(), 1);
    world.set_status("agent", json!({"conditions":[{"type":"Available","status":"False"}]}));
    world.diagnose(
        "agent",
        diagnosis(Nature::Failure, "CrashLoop", "container agent ended with exit code 1"),
    );
    world.later(600);
    world.reconcile();
    assert!(!world.told().contains("Available=True"));
}

#[test]
fn a_kind_that_would_not_be_found_again_is_not_applied() {
    let mut world = World::new().says(Phase::Resources, |_| {
        plan(vec![apply(
            "np",
            json!({"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"np"},"spec":{}}),
        )])
    });
    world.adapter.permits = vec![crate::adapter::Permit {
        api_version: "*".into(),
        kind: "*".into(),
        namespace: None,
        name: None,
    }];
    let kinds = crate::manifest::kinds(&world.adapter);
    world.reconcile();
    let hidden: Vec<_> = world
        .objects
        .iter()
        .filter(|o| !kinds.iter().any(|k| k.kind == o.reference.kind))
        .collect();
    assert!(hidden.is_empty());
}

#[test]
fn a_plan_of_an_earlier_generation_deletes_nothing_of_a_newer_one() {
    let mut world = World::new();
    world.generation(2);
    world.reconcile();
    let mut world = world.says(Phase::Resources, |q| {
        let Question::Resources { objects, .. } = q else {
            panic!()
        };
        let _ = objects;
        plan(vec![crate::contract::Operation::Delete {
            name: "x".into(),
            target: crate::contract::Reference {
                api_version: "batch/v1".into(),
                kind: "Job".into(),
                namespace: Some("work".into()),
                name: "validate-c-1".into(),
            },
            propagation: crate::contract::Propagation::Foreground,
        }])
    });
    world.generation(1);
    world.reconcile();
    assert_eq!(world.objects.len(), 1);
}

#[test]
fn a_path_that_is_not_the_subjects_removes_nothing() {
    let mut world = World::new();
    world.reconcile();
    let mut forged = world.objects[0].clone();
    let input = crate::reconcile::Input {
        adapter: std::sync::Arc::new(world.adapter.clone()),
        subject: crate::subject::SubjectRef {
            key: crate::subject::SubjectKey {
                kind: "Cluster".into(),
                id: "c-1".into(),
            },
            href: "/api/hyperfleet/v1/clusters/nobody".into(),
            generation: 1,
            owner: None,
        },
        trigger: crate::contract::Trigger::Timer,
        by_hand: false,
        now: world.now,
        cluster_now: None,
        memory: Memory::default(),
    };
    forged.deleting = false;
    let mut reconcile = crate::reconcile::Reconcile::new(input);
    let mut answer = None;
    let outcome = loop {
        match reconcile.next(answer.take()) {
            crate::reconcile::Step::Done(outcome) => break outcome,
            crate::reconcile::Step::Do(Effect::Fetch { .. }) => answer = Some(Answer::Fetched(Err(FleetFault::Gone))),
            crate::reconcile::Step::Do(Effect::Observe(_)) => answer = Some(Answer::Observed(Ok(vec![forged.clone()]))),
            crate::reconcile::Step::Do(effect) => panic!("{effect:?}"),
        }
    };
    assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    let _ = HREF;
}

#[test]
fn a_retry_by_hand_makes_a_failed_job_again() {
    let mut world = World::new().phase(Phase::Resources, During::Both);
    world.delete_subject(2);
    world.reconcile();
    world.diagnose(
        "validate-c-1",
        diagnosis(Nature::Failure, "WorkloadFailed", "exit code 1"),
    );
    world.reconcile();
    world.by_hand = true;
    world.reconcile();
    assert!(world.transcript().contains("delete   Job") && world.transcript().contains("apply    Job"));
}

/// A Job and a ConfigMap in one namespace.
fn with_parameters() -> World {
    World::new().says(Phase::Resources, |_| {
        plan(vec![
            apply("validate", job("validate-c-1")),
            apply("parameters", cm("parameters")),
        ])
    })
}

/// What happens to whatever is applied while a namespace goes away, or is gone.
fn writes_end_in(world: &mut World, cause: Option<ClusterCause>) {
    world.hook = Box::new(move |effect| match effect {
        Effect::Apply(_) => {
            let cause = cause.clone()?;
            Some(Answer::Applied(Err(fault(cause, "the namespace `work` is not there"))))
        }
        _ => None,
    });
}

fn terminating() -> Option<ClusterCause> {
    let namespace = "work".to_owned();
    Some(ClusterCause::NamespaceTerminating { namespace })
}

fn missing() -> Option<ClusterCause> {
    let namespace = "work".to_owned();
    Some(ClusterCause::NamespaceMissing { namespace })
}

fn first_line(world: &World) -> String {
    world.told().lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_namespace_removed_by_hand_under_work_in_progress_is_told_and_the_work_begins_anew() {
    let mut world = with_parameters();
    world.reconcile();
    world.objects.clear();
    writes_end_in(&mut world, terminating());
    let outcome = world.reconcile();
    assert_eq!(
        first_line(&world),
        "Applied=False(NamespaceTerminating) Available=False(NamespaceTerminating) Health=False(NamespaceTerminating) @1"
    );
    assert_eq!(recheck(&outcome), Recheck::Trouble { at_least: None });

    writes_end_in(&mut world, missing());
    world.reconcile();
    assert_eq!(
        first_line(&world),
        "Applied=False(NamespaceMissing) Available=False(NamespaceMissing) Health=True(NoErrors) @1"
    );

    writes_end_in(&mut world, None);
    world.reconcile();
    assert_eq!(
        first_line(&world),
        "Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @1"
    );
    assert_eq!(world.objects.len(), 2);
}

#[test]
fn a_namespace_removed_by_hand_after_success_comes_back_without_the_finished_job() {
    let mut world = with_parameters();
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    assert!(world.told().contains("Available=True"), "{}", world.told());
    world.objects.clear();
    for (cause, reason) in [(terminating(), "NamespaceTerminating"), (missing(), "NamespaceMissing")] {
        writes_end_in(&mut world, cause);
        world.reconcile();
        assert!(
            world.told().contains(&format!("Available=False({reason})")),
            "{}",
            world.told()
        );
        let applied = world.transcript();
        assert!(
            !applied.contains("apply    Job"),
            "a finished Job is not made again:\n{applied}"
        );
    }
    writes_end_in(&mut world, None);
    world.reconcile();
    assert_eq!(
        first_line(&world),
        "Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=True(NoErrors) @1"
    );
    let kinds: Vec<_> = world.objects.iter().map(|one| one.reference.kind.as_str()).collect();
    assert_eq!(kinds, ["ConfigMap"]);
}

#[test]
fn rapid_updates_run_the_last_generation_only_and_no_two_runs_overlap() {
    let mut world = World::new();
    world.reconcile();
    world.lingers = true;
    for generation in 2..=5 {
        world.generation(generation);
        world.reconcile();
        let told = world.told();
        assert!(told.contains(&format!("@{generation}")), "{told}");
        assert!(
            told.contains("Job work/validate-c-1") && told.contains("must be gone first"),
            "{told}"
        );
        assert!(!world.transcript().contains("apply"), "{}", world.transcript());
    }
    assert_eq!(world.objects.len(), 1);
    world.objects.clear();
    // The events of the generations between come late.
    for told in [5, 3, 4, 2] {
        world.told_generation = told;
        world.reconcile();
    }
    let generations: Vec<u32> = world.objects.iter().map(|one| one.generation).collect();
    assert_eq!(generations, [5]);
    assert!(world.told().contains("@5"), "{}", world.told());
}
