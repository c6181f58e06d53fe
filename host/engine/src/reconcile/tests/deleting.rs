//! Deletion, and subjects that are gone.

use insta::assert_snapshot;

use super::world::{HREF, World, apply, diagnosis, fault, job, plan};
use crate::{
    adapter::During,
    contract::{Nature, Operation, Phase, Question},
    effect::{Answer, ClusterCause, Effect},
    reconcile::Outcome,
    report::Journey,
};

#[test]
fn deletion_removes_the_objects_waits_for_them_and_then_is_finalized_again_and_again() {
    let mut world = World::new();
    world.reconcile();
    world.lingers = true;
    world.delete_subject(2);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    delete   Job work/validate-c-1 foreground
    observe
    report   clusters/c-1 @2 Applied=True Available=False Health=True Finalized=False
    ");
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(CleanupInProgress) Health=True(NoErrors) Finalized=False(CleanupInProgress) @2
    Waiting for the deletion of Job work/validate-c-1
    ");
    world.objects.clear();
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(CleanupConfirmed) Available=False(CleanupConfirmed) Health=True(NoErrors) Finalized=True(CleanupConfirmed) @2
    All objects are gone
    ");
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(CleanupConfirmed) Available=False(CleanupConfirmed) Health=True(NoErrors) Finalized=True(CleanupConfirmed) @2
    All objects are gone
    ");
}

#[test]
fn delete_right_after_post_creates_nothing() {
    let mut world = World::new();
    world.delete_subject(2);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    report   clusters/c-1 @2 Applied=False Available=False Health=True Finalized=True
    ");
}

#[test]
fn the_objects_of_all_generations_go_before_finalized() {
    let mut world = World::new();
    world.reconcile();
    let mut old = world.objects[0].clone();
    (old.uid, old.reference.name, old.generation) = ("77".into(), "older".into(), 0);
    world.objects.push(old);
    world.delete_subject(3);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    delete   Job work/validate-c-1 foreground
    delete   Job work/older foreground
    observe
    report   clusters/c-1 @3 Applied=False Available=False Health=True Finalized=True
    ");
}

#[test]
fn a_destroy_job_runs_first_and_once() {
    let mut world = World::new()
        .phase(Phase::Resources, During::Both)
        .says(Phase::Resources, |question| {
            if question.facts().subject.deleting {
                plan(vec![apply("destroy", job("destroy-c-1"))])
            } else {
                plan(vec![apply("validate", job("validate-c-1"))])
            }
        });
    world.reconcile();
    world.delete_subject(2);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz resources
    apply    Job work/destroy-c-1 if absent
    report   clusters/c-1 @2 Applied=True Available=False Health=True Finalized=False
    ");
    world.complete("destroy-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz resources
    report   clusters/c-1 @2 Applied=True Available=False Health=True Finalized=False
    ");
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    delete   Job work/validate-c-1 foreground
    delete   Job work/destroy-c-1 foreground
    observe
    report   clusters/c-1 @2 Applied=False Available=False Health=True Finalized=True
    ");
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    report   clusters/c-1 @2 Applied=False Available=False Health=True Finalized=True
    ");
}

#[test]
fn a_destroy_job_that_failed_is_unhealthy_and_never_finalized() {
    let mut world = World::new().phase(Phase::Resources, During::Deletion);
    world.delete_subject(2);
    world.reconcile();
    world.diagnose(
        "validate-c-1",
        diagnosis(Nature::Failure, "WorkloadFailed", "exit code 1"),
    );
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadFailed) Health=False(WorkloadFailed) Finalized=False(CleanupInProgress) @2
    exit code 1
    Health: exit code 1
    ");
}

#[test]
fn an_error_while_deleting_is_unhealthy_and_never_finalized() {
    let mut world = World::new();
    world.reconcile();
    world.delete_subject(2);
    world.hook = Box::new(|effect| match effect {
        Effect::Delete(_) => Some(Answer::Deleted(Err(fault(
            ClusterCause::Forbidden,
            "may not delete jobs",
        )))),
        _ => None,
    });
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(Forbidden) Health=False(Forbidden) Finalized=False(CleanupInProgress) @2
    Failed to remove objects: may not delete jobs. Grant the adapter's service account the missing rights.
    Health: Failed to remove objects: may not delete jobs. Grant the adapter's service account the missing rights.
    ");
}

#[test]
fn a_subject_that_vanished_takes_its_objects_along_and_nothing_is_reported() {
    let mut world = World::new();
    world.reconcile();
    world.reports.clear();
    world.documents.remove(HREF);
    assert_eq!(world.reconcile(), Outcome::Gone);
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1 -> the resource does not exist
    observe
    delete   Job work/validate-c-1 foreground
    observe
    ");
    assert!(world.objects.is_empty() && world.reports.is_empty());
}

#[test]
fn a_subject_that_vanished_is_not_done_before_its_objects_are_gone() {
    let mut world = World::new();
    world.reconcile();
    world.lingers = true;
    world.documents.remove(HREF);
    assert!(matches!(world.reconcile(), Outcome::Retry { .. }));
    world.objects.clear();
    assert_eq!(world.reconcile(), Outcome::Gone);
}

#[test]
fn what_a_plan_skips_is_deleted_only_when_it_is_no_longer_skipped() {
    let mut world = World::new()
        .phase(Phase::Resources, During::Both)
        .says(Phase::Resources, |question| {
            let Question::Resources { facts, objects } = question else {
                panic!("{question:?}");
            };
            let first_is_there = objects.iter().any(|object| object.name == "first");
            match (facts.subject.deleting, first_is_there) {
                (false, _) => plan(vec![apply("first", job("first")), apply("second", job("second"))]),
                (true, true) => plan(vec![Operation::Skip {
                    name: "second".to_owned(),
                    reason: "first goes before".to_owned(),
                }]),
                (true, false) => plan(Vec::new()),
            }
        });
    world.reconcile();
    world.delete_subject(2);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz resources
    delete   Job work/first foreground
    observe
    report   clusters/c-1 @2 Applied=True Available=False Health=True Finalized=False
    ");
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz resources
    delete   Job work/second foreground
    observe
    report   clusters/c-1 @2 Applied=False Available=False Health=True Finalized=True
    ");
}

#[test]
fn a_retained_object_outlives_its_subject() {
    let mut world = World::new().says(Phase::Resources, |_| {
        let mut trail = job("trail");
        trail["metadata"]["annotations"] = serde_json::json!({"berth.hyperfleet.io/retain": "true"});
        plan(vec![apply("trail", trail), apply("work", job("work"))])
    });
    world.reconcile();
    world.delete_subject(2);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    delete   Job work/work foreground
    observe
    report   clusters/c-1 @2 Applied=False Available=False Health=True Finalized=True
    ");
    assert_eq!(world.objects.len(), 1);
}

#[test]
fn delete_right_after_patch_creates_nothing_of_the_patch() {
    let mut world = World::new();
    world.reconcile();
    // The event of the PATCH is read when the DELETE has come already.
    world.told_generation = 2;
    world.delete_subject(3);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    delete   Job work/validate-c-1 foreground
    observe
    report   clusters/c-1 @3 Applied=False Available=False Health=True Finalized=True
    ");
}

#[test]
fn delete_while_a_patch_is_replacing_a_job_does_not_make_the_new_one() {
    let mut world = World::new();
    world.reconcile();
    world.lingers = true;
    world.generation(2);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(WaitingForEarlierGeneration) Available=False(WaitingForEarlierGeneration) Health=True(NoErrors) @2
    Waiting for dependencies to be met: Job work/validate-c-1 of generation 1 must be gone first
    ");
    world.delete_subject(3);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    report   clusters/c-1 @3 Applied=True Available=False Health=True Finalized=False
    ");
    world.objects.clear();
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    report   clusters/c-1 @3 Applied=False Available=False Health=True Finalized=True
    ");
}

#[test]
fn an_outage_while_deleting_is_told_apart_from_an_object_that_cannot_be_removed() {
    let journey_after = |cause: ClusterCause| {
        let mut world = World::new();
        world.reconcile();
        world.delete_subject(2);
        world.hook = Box::new(move |effect| match effect {
            Effect::Delete(_) => Some(Answer::Deleted(Err(fault(cause.clone(), "refused")))),
            _ => None,
        });
        match world.reconcile() {
            Outcome::Reported(reported) => reported.journey,
            other => panic!("not reported: {other:?}"),
        }
    };
    for (cause, expected) in [
        (ClusterCause::Unreachable, true),
        (ClusterCause::Throttled, true),
        (ClusterCause::Forbidden, false),
        (ClusterCause::Admission, false),
    ] {
        match journey_after(cause.clone()) {
            Journey::DeletionFailed { outage, .. } => assert_eq!(outage, expected, "{cause:?}"),
            other => panic!("{other:?}"),
        }
    }
}
