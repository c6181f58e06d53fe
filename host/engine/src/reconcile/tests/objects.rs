//! Conditional writes, generations, replacing, pruning, cleanup.

use std::time::Duration;

use insta::assert_snapshot;
use serde_json::json;

use super::world::{World, apply, job, plan};
use crate::{
    adapter::{OnUpdate, ResourceSettings},
    contract::{Operation, Phase, Plan, Query, Said, Selector},
    reconcile::{Outcome, Recheck},
};

#[test]
fn nothing_is_written_when_nothing_changed_and_it_is_reported_all_the_same() {
    let mut world = World::new();
    world.reconcile();
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    report   clusters/c-1 @1 Applied=True Available=False Health=True
    ");
    assert_eq!(world.reports.len(), 2);
}

#[test]
fn generation_2_replaces_the_running_job_of_generation_1_and_waits_until_it_is_gone() {
    let mut world = World::new();
    world.reconcile();
    world.lingers = true;
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
    report   clusters/c-1 @2 Applied=False Available=False Health=True
    ");
    assert_snapshot!(world.told(), @"
    Applied=False(WaitingForEarlierGeneration) Available=False(WaitingForEarlierGeneration) Health=True(NoErrors) @2
    Waiting for dependencies to be met: Job work/validate-c-1 of generation 1 must be gone first
    ");
    world.objects.clear();
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    apply    Job work/validate-c-1 if absent
    report   clusters/c-1 @2 Applied=True Available=False Health=True
    ");
}

#[test]
fn generation_2_waits_for_the_job_of_generation_1_where_the_document_says_so() {
    let mut world = World::new();
    let settings = ResourceSettings {
        on_update: OnUpdate::WaitForCompletion,
        ..ResourceSettings::default()
    };
    world.adapter.resources.insert("validate".into(), settings);
    world.reconcile();
    world.generation(2);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(WaitingForEarlierGeneration) Available=False(WaitingForEarlierGeneration) Health=True(NoErrors) @2
    Waiting for dependencies to be met: Job work/validate-c-1 of generation 1 must end first
    ");
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
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
}

#[test]
fn what_the_document_says_of_a_plugins_step_holds_for_its_objects() {
    let mut world = World::new();
    let settings = ResourceSettings {
        on_update: OnUpdate::WaitForCompletion,
        ..ResourceSettings::default()
    };
    world.adapter.resources.insert("lz".into(), settings);
    world.reconcile();
    world.generation(2);
    world.reconcile();
    assert_eq!(world.object("validate-c-1").generation, 1);
}

#[test]
fn a_run_named_after_its_generation_does_not_overlap_with_the_one_before() {
    let mut world = World::new().says(Phase::Resources, |question| {
        plan(vec![apply(
            "validate",
            job(&format!("validate-{}", question.facts().subject.generation)),
        )])
    });
    world.reconcile();
    world.lingers = true;
    world.generation(2);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    delete   Job work/validate-1 foreground
    observe
    report   clusters/c-1 @2 Applied=False Available=False Health=True
    ");
}

#[test]
fn an_object_of_a_newer_generation_is_never_touched() {
    let mut world = World::new();
    world.reconcile();
    world.object("validate-c-1").generation = 7;
    assert!(matches!(world.reconcile(), Outcome::Retry { .. }));
    assert_eq!(world.object("validate-c-1").generation, 7);
}

#[test]
fn a_labels_only_update_runs_the_job_again() {
    let mut world = World::new();
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    world.generation(2);
    world.reconcile();
    assert_eq!(world.object("validate-c-1").generation, 2);
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) @2
    Job work/validate-c-1 is running
    ");
}

#[test]
fn a_finished_job_that_was_removed_is_not_made_again() {
    let mut world = World::new();
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    world.objects.clear();
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    report   clusters/c-1 @1 Applied=True Available=True Health=True
    ");
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=True(NoErrors) @1
    Done before: Job work/validate-c-1
    ");
}

#[test]
fn a_running_job_that_was_removed_by_hand_is_made_again() {
    let mut world = World::new();
    world.reconcile();
    world.objects.clear();
    world.reconcile();
    assert_eq!(world.objects.len(), 1);
}

#[test]
fn a_missing_long_running_object_is_restored_after_success() {
    let config = || json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" } });
    let mut world = World::new().says(Phase::Resources, move |_| {
        plan(vec![
            apply("validate", job("validate-c-1")),
            apply("settings", config()),
        ])
    });
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    world.objects.clear();
    world.reconcile();
    let names: Vec<_> = world.objects.iter().map(|one| one.reference.name.as_str()).collect();
    assert_eq!(names, ["settings"]);
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=True(NoErrors) @1
    Done before: Job work/validate-c-1
    ");
}

#[test]
fn cleanup_deletes_a_finished_job_only_after_a_report_named_it_and_only_once() {
    let mut world = World::new().cleanup(Duration::from_secs(600));
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:00:00Z");
    world.later(900);
    let outcome = world.reconcile();
    assert_eq!(world.objects.len(), 1, "the report comes first");
    match outcome {
        Outcome::Reported(reported) => assert_eq!(reported.recheck, Recheck::In(Duration::from_millis(1))),
        other => panic!("{other:?}"),
    }
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    delete   Job work/validate-c-1 background
    report   clusters/c-1 @1 Applied=True Available=True Health=True
    ");
    assert!(world.objects.is_empty());
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    report   clusters/c-1 @1 Applied=True Available=True Health=True
    ");
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=True(NoErrors) @1
    Done before: Job work/validate-c-1
    ");
}

#[test]
fn an_object_that_the_plan_dropped_is_pruned_after_the_plan_is_applied() {
    let mut world = World::new().says(Phase::Resources, |question| {
        let old = question.facts().subject.generation == 1;
        plan(vec![apply("validate", job(if old { "old" } else { "new" }))])
    });
    world.reconcile();
    world.complete("old", "2026-11-23T10:02:03Z");
    world.generation(2);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    apply    Job work/new if absent
    delete   Job work/old foreground
    report   clusters/c-1 @2 Applied=True Available=False Health=True
    ");
}

#[test]
fn what_a_plan_skips_is_kept() {
    let mut world = World::new().says(Phase::Resources, |question| {
        if question.facts().subject.generation == 1 {
            plan(vec![apply("validate", job("validate-c-1"))])
        } else {
            plan(vec![Operation::Skip {
                name: "validate".into(),
                reason: "not now".into(),
            }])
        }
    });
    world.reconcile();
    world.generation(2);
    world.reconcile();
    assert_eq!(world.objects.len(), 1);
}

#[test]
fn a_manifest_that_is_not_permitted_is_refused_before_anything_is_written() {
    let secret = || json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "stolen" } });
    let mut world = World::new().says(Phase::Resources, move |_| {
        plan(vec![apply("validate", job("validate-c-1")), apply("secret", secret())])
    });
    let outcome = world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    report   clusters/c-1 @1 Applied=False Available=False Health=False
    ");
    assert_snapshot!(world.told(), @"
    Applied=False(ManifestNotPermitted) Available=False(ManifestNotPermitted) Health=False(ManifestNotPermitted) @1
    Failed to create workload: manifest `secret`: `permits` of adapter `lz` do not cover Secret work/stolen. Extend `permits` in the adapter document, or change the manifest.
    Health: Failed to create workload: manifest `secret`: `permits` of adapter `lz` do not cover Secret work/stolen. Extend `permits` in the adapter document, or change the manifest.
    ");
    assert!(matches!(outcome, Outcome::Reported(reported) if reported.recheck == Recheck::Never));
}

#[test]
fn manifests_that_nobody_may_write_are_refused_with_the_field() {
    let mut messages = String::new();
    for (path, value) in [
        ("/metadata/ownerReferences", json!([])),
        ("/metadata/finalizers", json!(["x"])),
        ("/metadata/generateName", json!("x-")),
        ("/metadata/managedFields", json!([])),
        ("/metadata/namespace", json!("kube-system")),
        ("/metadata/labels", json!({ "berth.hyperfleet.io/adapter": "other" })),
        ("/status", json!({})),
    ] {
        let (parent, key) = path.rsplit_once('/').unwrap();
        let mut document = job("validate-c-1");
        document.pointer_mut(parent).unwrap()[key] = value;
        let mut world = World::new().says(Phase::Resources, move |_| {
            plan(vec![apply("validate", document.clone())])
        });
        world.reconcile();
        assert!(world.objects.is_empty());
        messages.push_str(world.told().lines().nth(1).unwrap());
        messages.push('\n');
    }
    assert_snapshot!(messages, @"
    Failed to create workload: manifest `validate`: `metadata.ownerReferences` is refused: berth tracks objects by label. Correct the manifest.
    Failed to create workload: manifest `validate`: `metadata.finalizers` is refused: berth tracks objects by label. Correct the manifest.
    Failed to create workload: manifest `validate`: `metadata.generateName` is refused: an object is found again by its name. Correct the manifest.
    Failed to create workload: manifest `validate`: `metadata.managedFields` is refused: berth tracks objects by label. Correct the manifest.
    Failed to create workload: manifest `validate`: `permits` of adapter `lz` do not cover Job kube-system/validate-c-1. Extend `permits` in the adapter document, or change the manifest.
    Failed to create workload: manifest `validate`: the label `berth.hyperfleet.io/adapter` is berth's own. Correct the manifest.
    Failed to create workload: manifest `validate`: `status` is refused: it is Kubernetes' to write. Correct the manifest.
    ");
}

#[test]
fn a_plan_that_says_more_is_executed_and_asked_again_with_what_was_found() {
    let query = || {
        Operation::Discover(Query {
            name: "jobs".into(),
            api_version: "batch/v1".into(),
            kind: "Job".into(),
            namespace: None,
            selector: Selector::Name("x".into()),
        })
    };
    let rounds = std::cell::Cell::new(0);
    let mut world = World::new().says(Phase::Resources, move |_| {
        rounds.set(rounds.get() + 1);
        if rounds.get() == 1 {
            Said::Resources(Plan {
                operations: vec![query()],
                more: true,
            })
        } else {
            plan(vec![apply("validate", job("validate-c-1"))])
        }
    });
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    find     Job jobs
    ask      lz resources
    apply    Job work/validate-c-1 if absent
    report   clusters/c-1 @1 Applied=True Available=False Health=True
    ");
}

#[test]
fn a_plan_without_end_is_refused_after_32_rounds() {
    let mut world = World::new().says(Phase::Resources, |_| {
        Said::Resources(Plan {
            operations: Vec::new(),
            more: true,
        })
    });
    world.reconcile();
    assert_eq!(world.transcript().matches("ask      lz resources").count(), 32);
    assert_snapshot!(world.told(), @"
    Applied=False(PlanInvalid) Available=False(PlanInvalid) Health=False(PlanInvalid) @1
    Failed to create workload: plugin `lz` still says `more` after 32 rounds. Correct the plugin's plan.
    Health: Failed to create workload: plugin `lz` still says `more` after 32 rounds. Correct the plugin's plan.
    ");
}

#[test]
fn an_object_that_belongs_to_somebody_else_is_left_alone() {
    let mut world = World::new();
    world.hook = Box::new(|effect| match effect {
        crate::effect::Effect::Apply(_) => Some(crate::effect::Answer::Applied(Err(super::world::fault(
            crate::effect::ClusterCause::Stale,
            "already exists",
        )))),
        crate::effect::Effect::Find(_) => Some(crate::effect::Answer::Found(Ok(vec![job("validate-c-1")]))),
        _ => None,
    });
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(ObjectNotOurs) Available=False(ObjectNotOurs) Health=False(ObjectNotOurs) @1
    Failed to create workload: Job work/validate-c-1 exists and is not this adapter's for this subject. Rename the object in the manifest, or remove the one that exists.
    Health: Failed to create workload: Job work/validate-c-1 exists and is not this adapter's for this subject. Rename the object in the manifest, or remove the one that exists.
    ");
}

#[test]
fn a_custom_kind_that_a_permit_names_without_a_namespace_is_cluster_scoped() {
    let zone = || json!({ "apiVersion": "example.com/v1", "kind": "Zone", "metadata": { "name": "zone-c-1" } });
    let mut world = World::new().says(Phase::Resources, move |_| plan(vec![apply("zone", zone())]));
    world.adapter.permits.push(crate::adapter::Permit {
        api_version: "example.com/v1".into(),
        kind: "Zone".into(),
        namespace: None,
        name: Some("zone-{{ .subject.id }}".into()),
    });
    world.reconcile();
    assert_eq!(world.objects[0].reference.namespace, None);
    assert_eq!(world.objects[0].document["metadata"].get("namespace"), None);
}
