//! Kinds that are judged by more than their conditions, and their troubles.

use std::time::Duration;

use insta::assert_snapshot;
use serde_json::json;

use super::world::{World, apply, diagnosis, fault, plan};
use crate::{
    adapter::{During, Permit},
    contract::{Nature, Phase},
    effect::{Answer, ClusterCause, Effect},
};

fn deployment() -> World {
    World::new().phase(Phase::Resources, During::Life).says(Phase::Resources, |_| {
        plan(vec![apply(
            "web",
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 2}}),
        )])
    })
}

#[test]
fn a_conversion_that_fails_is_told_as_that_and_changes_only_health_after_success() {
    let mut world = World::new();
    world.reconcile();
    let hook = |effect: &Effect| match effect {
        Effect::Observe(_) => Some(Answer::Observed(Err(fault(
            ClusterCause::ConversionUnavailable,
            "conversion webhook for Widget failed",
        )))),
        _ => None,
    };
    world.hook = Box::new(hook);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(ConversionUnavailable) Available=False(ConversionUnavailable) Health=False(ConversionUnavailable) @1
    A custom resource cannot be converted while listing objects: conversion webhook for Widget failed. Restore the conversion webhook of the custom resource definition.
    Health: A custom resource cannot be converted while listing objects: conversion webhook for Widget failed. Restore the conversion webhook of the custom resource definition.
    ");
    world.hook = Box::new(|_| None);
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    world.hook = Box::new(hook);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=False(ConversionUnavailable) @1
    The work was done before
    Health: A custom resource cannot be converted while listing objects: conversion webhook for Widget failed. Restore the conversion webhook of the custom resource definition.
    ");
}

#[test]
fn what_keeps_objects_from_being_seen_changes_only_health_after_success() {
    let mut told = String::new();
    for (cause, message) in [
        (ClusterCause::Throttled, "storage is (re)initializing"),
        (ClusterCause::Forbidden, "User \"berth\" cannot list resource \"jobs\""),
    ] {
        let mut world = World::new();
        world.reconcile();
        world.complete("validate-c-1", "2026-11-23T10:02:03Z");
        world.reconcile();
        world.hook = Box::new(move |effect| match effect {
            Effect::Observe(_) => Some(Answer::Observed(Err(fault(cause.clone(), message)))),
            _ => None,
        });
        world.reconcile();
        told.push_str(&world.told());
        told.push('\n');
    }
    assert_snapshot!(told, @r#"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=False(KubernetesApiThrottled) @1
    The work was done before
    Health: Kubernetes API refuses too many requests while listing objects: storage is (re)initializing. Give berth a priority level with more seats, or find out who else loads the API server.
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=False(ReadForbidden) @1
    The work was done before
    Health: Objects cannot be seen: User "berth" cannot list resource "jobs". Grant berth's own service account the right to get, list and watch this kind.
    "#);
}

#[test]
fn a_deployment_is_done_when_no_pod_of_the_earlier_template_is_left() {
    let mut world = deployment();
    world.reconcile();
    let status = |updated: u64, all: u64| {
        let available = json!({"type": "Available", "status": "True"});
        json!({"observedGeneration": 1, "replicas": all, "updatedReplicas": updated, "conditions": [available]})
    };
    let mut told = String::new();
    for (updated, all) in [(0, 2), (1, 3), (2, 3), (1, 1), (2, 2)] {
        world.set_status("web", status(updated, all));
        world.reconcile();
        told.push_str(&format!(
            "{updated} of {all}: {}\n",
            world.told().lines().nth(1).unwrap_or_default()
        ));
    }
    assert_snapshot!(told, @"
    0 of 2: Deployment work/web is being rolled out
    1 of 3: Deployment work/web is being rolled out
    2 of 3: Deployment work/web is being rolled out
    1 of 1: Deployment work/web is being rolled out
    2 of 2: Done: Deployment work/web
    ");
}

#[test]
fn a_workload_that_runs_for_ever_may_recover_within_grace_from_anything() {
    let mut world = deployment();
    world.reconcile();
    let mut memory = diagnosis(Nature::Failure, "OutOfMemory", "container `x` ended with exit code 137");
    memory.since = Some("2026-11-23T10:00:00Z".into());
    world.diagnose("web", memory);
    world.later(20);
    world.reconcile();
    assert!(
        world.told().contains("Available=False(WorkloadInProgress)"),
        "{}",
        world.told()
    );
    world.later(Duration::from_secs(100).as_secs().cast_signed());
    world.reconcile();
    assert!(
        world.told().contains("Available=False(OutOfMemory)"),
        "{}",
        world.told()
    );
}

#[test]
fn a_kind_without_a_status_is_done_when_it_exists_unless_it_has_one_all_the_same() {
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}});
    let mut world = World::new()
        .phase(Phase::Resources, During::Life)
        .says(Phase::Resources, move |_| plan(vec![apply("w", widget.clone())]));
    world.adapter.permits.push(Permit {
        api_version: "example.com/v1".into(),
        kind: "Widget".into(),
        namespace: None,
        name: None,
    });
    world.reconcile();
    assert!(world.told().contains("Available=False"), "{}", world.told());
    world.object("w").statusless = true;
    world.reconcile();
    assert!(world.told().contains("Available=True"), "{}", world.told());
    world.set_status("w", json!({"phase": "Pending"}));
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadDegraded) Health=True(NoErrors) @1
    Widget work/w has no condition Ready yet; a postcondition can say otherwise when it is done
    ");
}
