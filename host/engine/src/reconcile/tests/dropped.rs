//! What an earlier document made of a kind, or in a namespace, that the document does not name any more.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::world::{HREF, World, apply, fault, job, plan};
use crate::{
    adapter::{DECLARATIVE, During, Permit, Step as Asked},
    contract::{Operation, Phase},
    effect::{Answer, ClusterCause, Effect, FleetFault},
    reconcile::Outcome,
};

fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } })
}

/// A world whose plan is these.
fn planning(world: World, objects: &[Value]) -> World {
    let operations: Vec<Operation> = objects
        .iter()
        .map(|object| apply(object["metadata"]["name"].as_str().unwrap(), object.clone()))
        .collect();
    world.says(Phase::Resources, move |_| plan(operations.clone()))
}

/// A Job and a ConfigMap, made by a document that permits both.
fn made() -> World {
    let mut world = planning(World::new(), &[job("work"), config_map("notes")]);
    world.reconcile();
    assert_eq!(world.objects.len(), 2);
    world
}

/// The document after that neither plans nor permits ConfigMaps.
fn dropped(world: World) -> World {
    let mut world = planning(world, &[job("work")]);
    world.adapter.permits.retain(|permit| permit.kind == "Job");
    world
}

fn remembered(world: &World) -> Value {
    world.reports.last().unwrap().data["berth"]["kinds"].clone()
}

fn names(world: &World) -> Vec<&str> {
    world.objects.iter().map(|one| one.reference.name.as_str()).collect()
}

#[test]
fn what_a_document_drops_together_with_its_permit_is_removed_and_then_forgotten() {
    let world = made();
    assert_eq!(remembered(&world), json!(["batch/v1 Job work", "v1 ConfigMap work"]));
    let mut world = dropped(world);
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    delete   ConfigMap work/notes foreground
    report   clusters/c-1 @1 Applied=True Available=False Health=True
    ");
    assert_eq!(names(&world), ["work"]);
    world.reconcile();
    assert_eq!(remembered(&world), json!(["batch/v1 Job work"]));
}

#[test]
fn what_default_permits_no_longer_cover_is_removed_too() {
    // By default a document permits the kinds that its own manifests spell out.
    let declare = |mut world: World, kinds: Value| {
        let mut plugin = world.adapter.plugins["lz"].clone();
        plugin.config = json!({ "resources": kinds });
        world.adapter.plugins.insert(DECLARATIVE.to_owned(), plugin);
        world
    };
    let mut world = planning(World::new(), &[job("work"), config_map("notes")]);
    let asked = Asked {
        plugin: DECLARATIVE.to_owned(),
        during: During::Life,
    };
    world.adapter.phases.insert(Phase::Resources, vec![asked]);
    world.adapter.permits = vec![Permit {
        api_version: "*".to_owned(),
        kind: "*".to_owned(),
        namespace: None,
        name: None,
    }];
    let (job_resource, map_resource) = (
        json!({ "name": "work", "manifest": job("work") }),
        json!({ "name": "notes", "manifest": config_map("notes") }),
    );
    let mut world = declare(world, json!([job_resource, map_resource]));
    world.reconcile();
    assert_eq!(names(&world), ["work", "notes"]);

    let mut world = declare(planning(world, &[job("work")]), json!([job_resource]));
    world.reconcile();
    assert_eq!(names(&world), ["work"]);
}

#[test]
fn what_lies_in_the_namespace_of_before_is_removed() {
    let mut world = made();
    world.adapter.namespace = "elsewhere".to_owned();
    world.reconcile();
    let places: Vec<String> = world.objects.iter().map(|one| one.reference.to_string()).collect();
    assert_eq!(places, ["Job elsewhere/work", "ConfigMap elsewhere/notes"]);
    world.reconcile();
    assert_eq!(
        remembered(&world),
        json!(["batch/v1 Job elsewhere", "v1 ConfigMap elsewhere"])
    );
}

#[test]
fn a_deletion_waits_for_what_an_earlier_document_made() {
    let mut world = dropped(made());
    world.lingers = true;
    world.delete_subject(2);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(CleanupInProgress) Health=True(NoErrors) Finalized=False(CleanupInProgress) @2
    Waiting for the deletion of Job work/work, ConfigMap work/notes
    ");
    world.objects.retain(|one| one.reference.kind == "ConfigMap");
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(CleanupInProgress) Health=True(NoErrors) Finalized=False(CleanupInProgress) @2
    Waiting for the deletion of ConfigMap work/notes
    ");
    world.objects.clear();
    world.reconcile();
    assert!(world.told().contains("Finalized=True"), "{}", world.told());
    assert_eq!(remembered(&world), Value::Null);
}

#[test]
fn what_may_not_be_seen_any_more_is_told_and_never_taken_for_gone() {
    let mut world = dropped(made());
    world.delete_subject(2);
    world.hook = Box::new(|effect| match effect {
        Effect::Observe(ownership) if ownership.kinds.iter().any(|one| one.kind == "ConfigMap") => Some(
            Answer::Observed(Err(fault(ClusterCause::Forbidden, "cannot list configmaps"))),
        ),
        _ => None,
    });
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(ReadForbidden) Health=False(ReadForbidden) Finalized=False(CleanupInProgress) @2
    Objects cannot be seen: cannot list configmaps. Grant berth's own service account the right to get, list and watch this kind.
    Health: Objects cannot be seen: cannot list configmaps. Grant berth's own service account the right to get, list and watch this kind.
    ");
    assert_eq!(remembered(&world), json!(["batch/v1 Job work", "v1 ConfigMap work"]));
}

#[test]
fn a_subject_that_vanished_takes_along_what_an_earlier_document_made() {
    let mut world = dropped(made());
    world.documents.remove(HREF);
    assert_eq!(world.reconcile(), Outcome::Gone);
    assert_eq!(names(&world), [""; 0]);
}

#[test]
fn a_subject_that_vanishes_before_the_report_takes_along_what_was_made() {
    let mut world = made();
    world.hook = Box::new(|effect| match effect {
        Effect::Report { .. } => Some(Answer::Reported(Err(FleetFault::Gone))),
        _ => None,
    });
    let mut world = dropped(world);
    // The plan cannot be had, so that nothing is pruned before.
    world.memory = Default::default();
    world = world.refuses(Phase::Preconditions, "PluginTrapped");
    assert_eq!(world.reconcile(), Outcome::Gone);
    assert_eq!(names(&world), [""; 0]);
}

#[test]
fn neither_an_outage_nor_a_new_generation_makes_berth_forget() {
    let mut world = dropped(made());
    // What the API of HyperFleet says of the subject cannot be read; its statuses can.
    world.memory.generation = 2;
    world.hook = Box::new(|effect| match effect {
        Effect::Fetch { .. } => Some(Answer::Fetched(Err(FleetFault::Unreachable {
            message: "connection refused".into(),
            retry_after: None,
        }))),
        _ => None,
    });
    world.reconcile();
    assert!(world.told().contains("FleetApiUnreachable"), "{}", world.told());
    assert_eq!(world.reports.last().unwrap().observed_generation, 2);
    assert_eq!(remembered(&world), json!(["batch/v1 Job work", "v1 ConfigMap work"]));

    world.hook = Box::new(|_| None);
    world.memory = Default::default();
    world.generation(3);
    world.reconcile();
    assert!(!names(&world).contains(&"notes"), "{:?}", names(&world));
}

/// The ConfigMap is there, and the row as it was before.
fn made_at_last(mut world: World) -> World {
    let (rows, memory) = (world.statuses.clone(), world.memory.clone());
    world.reconcile();
    assert_eq!(names(&world), ["notes"]);
    (world.statuses, world.memory) = (rows, memory);
    world
}

#[test]
fn a_write_whose_answer_was_lost_is_looked_for_although_the_document_has_changed() {
    let mut world = planning(World::new(), &[config_map("notes")]);
    world.hook = Box::new(|effect| match effect {
        Effect::Apply(_) => Some(Answer::Applied(Err(fault(ClusterCause::Unreachable, "it broke")))),
        _ => None,
    });
    world.reconcile();
    assert_eq!(remembered(&world), json!(["v1 ConfigMap work"]));
    // It was made all the same.
    world.hook = Box::new(|_| None);
    let mut world = dropped(made_at_last(world));
    world.reconcile();
    assert_eq!(names(&world), ["work"]);
}
