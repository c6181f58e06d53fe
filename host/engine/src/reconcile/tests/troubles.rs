//! Since when trouble lasts: through tries and crashes that come and go, and by whose clock.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;

use super::world::{World, apply, diagnosis, plan};
use crate::{
    adapter::During,
    contract::{Diagnosis, Nature, Phase},
    reconcile::{Outcome, Recheck},
};

/// A failed pull: one try, of which nobody knows which it is, or the pause after several.
fn pull(since: Option<&str>) -> Diagnosis {
    let mut pull = diagnosis(Nature::Infrastructure, "ImagePullFailed", "image `x` cannot be pulled");
    pull.since = since.map(str::to_owned);
    pull
}

fn crash(since: &str) -> Diagnosis {
    let mut crash = diagnosis(Nature::Failure, "CrashLoop", "started again and again: exit code 1");
    crash.since = Some(since.to_owned());
    crash
}

fn recheck(outcome: &Outcome) -> Recheck {
    match outcome {
        Outcome::Reported(reported) => reported.recheck,
        other => panic!("{other:?}"),
    }
}

/// The reason on Available.
fn reason(world: &World) -> String {
    let told = world.told();
    let (_, rest) = told.split_once("Available=False(").unwrap_or(("", "available)"));
    rest.split(')').next().unwrap().to_owned()
}

#[test]
fn a_try_between_two_pauses_does_not_take_the_trouble_back() {
    let mut world = World::new();
    world.reconcile();
    let start = "2026-11-23T10:00:00Z";
    let mut reasons = Vec::new();
    // Tries and pauses, at these times after the pod's start; the pause begins with the pod, the try says nothing.
    for (at, since) in [
        (8, None),
        (18, Some(start)),
        (119, Some(start)),
        (120, Some(start)),
        (121, None),
        (130, Some(start)),
        (131, None),
    ] {
        world.now = start.parse().unwrap();
        world.later(at);
        world.diagnose("validate-c-1", pull(since));
        world.reconcile();
        reasons.push(format!("{at} {}", reason(&world)));
    }
    assert_eq!(
        reasons,
        [
            "8 WorkloadInProgress",
            "18 WorkloadInProgress",
            "119 WorkloadInProgress",
            "120 ImagePullFailed",
            "121 ImagePullFailed",
            "130 ImagePullFailed",
            "131 ImagePullFailed",
        ]
    );
}

#[test]
fn the_first_failed_try_is_never_trouble_that_has_lasted_however_long_the_pull_took() {
    let mut world = World::new();
    world.reconcile();
    world.later(3600);
    world.diagnose("validate-c-1", pull(None));
    let outcome = world.reconcile();
    assert_eq!(reason(&world), "WorkloadInProgress");
    assert_eq!(recheck(&outcome), Recheck::In(Duration::from_secs(120)));
    world.later(120);
    world.reconcile();
    assert_eq!(reason(&world), "ImagePullFailed");
}

#[test]
fn trouble_that_was_over_begins_anew() {
    let mut world = World::new();
    world.reconcile();
    world.diagnose("validate-c-1", pull(None));
    world.reconcile();
    assert!(world.reports.last().unwrap().data["berth"]["since"].is_object());
    world.diagnose("validate-c-1", diagnosis(Nature::Progress, "WorkloadInProgress", ""));
    world.later(100);
    world.reconcile();
    assert!(world.reports.last().unwrap().data["berth"]["since"].is_null());
    world.diagnose("validate-c-1", pull(None));
    world.later(100);
    let outcome = world.reconcile();
    assert_eq!(reason(&world), "WorkloadInProgress");
    assert_eq!(recheck(&outcome), Recheck::In(Duration::from_secs(120)));
}

/// A Deployment that is available, as one without a readiness probe is between two crashes.
fn deployment() -> World {
    let mut world = World::new()
        .phase(Phase::Resources, During::Life)
        .says(Phase::Resources, |_| {
            plan(vec![apply(
                "web",
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {}}),
            )])
        });
    world.reconcile();
    world.set_status(
        "web",
        json!({
            "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
            "conditions": [{"type": "Available", "status": "True"}],
        }),
    );
    world
}

#[test]
fn a_workload_that_crashes_again_and_again_is_never_done_between_two_crashes() {
    let mut world = deployment();
    // Each crash makes the pod unready anew, sooner than grace.
    for (after, crashed) in [
        (0, "2026-11-23T10:00:00Z"),
        (50, "2026-11-23T10:00:45Z"),
        (50, "2026-11-23T10:01:35Z"),
    ] {
        world.later(after);
        world.diagnose("web", crash(crashed));
        let outcome = world.reconcile();
        assert_eq!(reason(&world), "WorkloadInProgress", "{crashed}");
        assert!(
            world.told().contains("is started again and again: exit code 1"),
            "{}",
            world.told()
        );
        assert_eq!(recheck(&outcome), Recheck::In(Duration::from_secs(10)));
    }
    world.later(20);
    let outcome = world.reconcile();
    assert_eq!(reason(&world), "CrashLoop");
    // That it runs on is told by nothing but time.
    assert_eq!(recheck(&outcome), Recheck::In(Duration::from_secs(10)));
    world.object("web").diagnosis = None;
    world.later(10);
    let outcome = world.reconcile();
    assert_eq!(reason(&world), "available");
    assert_eq!(recheck(&outcome), Recheck::Never);
}

#[test]
fn a_crash_that_the_answer_to_a_write_shows_is_borne_as_any_other() {
    let mut world = deployment();
    world.diagnose("web", crash("2026-11-23T10:00:00Z"));
    world.reconcile();
    world.applied_diagnosis = Some(crash("2026-11-23T10:00:00Z"));
    world.generation(2);
    world.reconcile();
    assert!(
        world.transcript().contains("apply    Deployment work/web"),
        "{}",
        world.transcript()
    );
    assert_eq!(reason(&world), "WorkloadInProgress");
}

#[test]
fn grace_ends_by_the_clock_of_kubernetes_however_wrong_the_hosts_is() {
    for wrong in [6, -6] {
        let mut world = World::new();
        world.cluster_now = Some(world.now);
        world.now = world.now.checked_add(SignedDuration::from_hours(wrong)).unwrap();
        world.reconcile();
        world.diagnose("validate-c-1", pull(Some("2026-11-23T10:00:00Z")));
        world.later(119);
        let outcome = world.reconcile();
        assert_eq!(reason(&world), "WorkloadInProgress", "{wrong} h");
        assert_eq!(recheck(&outcome), Recheck::In(Duration::from_secs(1)), "{wrong} h");
        world.later(1);
        world.reconcile();
        assert_eq!(reason(&world), "ImagePullFailed", "{wrong} h");
    }
}

#[test]
fn trouble_of_the_future_begins_when_it_is_seen() {
    let mut world = World::new();
    world.reconcile();
    for since in ["2026-11-23T16:00:00Z", "2026-11-23T17:00:00Z"] {
        world.diagnose("validate-c-1", pull(Some(since)));
        world.reconcile();
        assert_eq!(reason(&world), "WorkloadInProgress");
        world.later(60);
    }
    world.reconcile();
    assert_eq!(reason(&world), "ImagePullFailed");
}

#[test]
fn a_finished_workload_is_cleaned_up_by_the_clock_of_kubernetes() {
    for wrong in [6, -6] {
        let mut world = World::new().cleanup(Duration::from_secs(600));
        world.cluster_now = Some(world.now);
        world.now = world.now.checked_add(SignedDuration::from_hours(wrong)).unwrap();
        world.reconcile();
        world.complete("validate-c-1", "2026-11-23T10:00:00Z");
        let outcome = world.reconcile();
        assert_eq!(recheck(&outcome), Recheck::In(Duration::from_secs(600)), "{wrong} h");
        world.later(599);
        world.reconcile();
        assert_eq!(world.objects.len(), 1, "{wrong} h");
        world.later(1);
        world.reconcile();
        assert!(world.objects.is_empty(), "{wrong} h");
    }
}
