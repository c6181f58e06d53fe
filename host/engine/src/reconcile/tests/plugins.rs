//! What plugins may say, and what happens when they fail.

use insta::assert_snapshot;
use serde_json::json;

use super::world::World;
use crate::{
    adapter::During,
    contract::{Condition, HttpAction, Phase, Said, StatusAnswer, StatusReport, Truth, Verdict},
    effect::{Answer, Effect, Reported},
    reconcile::Outcome,
};

fn condition(kind: &str, status: Truth) -> Condition {
    Condition {
        kind: kind.into(),
        status,
        reason: "PluginSays".into(),
        message: "so".into(),
    }
}

fn reporting(conditions: Vec<Condition>) -> World {
    World::new()
        .phase(Phase::Status, During::Life)
        .says(Phase::Status, move |_| {
            let report = Some(StatusReport {
                conditions: conditions.clone(),
                data: json!({ "zone": "a", "berth": "mine" }),
            });
            Said::Status(StatusAnswer {
                report,
                actions: Vec::new(),
            })
        })
}

#[test]
fn a_plugin_adds_conditions_and_data() {
    let mut world = reporting(vec![condition("NetworkReady", Truth::Unknown)]);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(WorkloadInProgress) Health=True(NoErrors) NetworkReady=Unknown(PluginSays) @1
    Job work/validate-c-1 is running
    ");
    let memory = json!({ "kinds": ["batch/v1 Job work"] });
    assert_eq!(world.reports[0].data, json!({ "zone": "a", "berth": memory }));
}

#[test]
fn a_plugin_lowers_but_never_raises_and_never_finalizes() {
    let mut world = reporting(vec![
        condition("Applied", Truth::False),
        condition("Available", Truth::True),
        condition("Finalized", Truth::True),
    ]);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(PluginSays) Available=False(WorkloadInProgress) Health=True(NoErrors) @1
    Job work/validate-c-1 is running
    ");
}

#[test]
fn available_unknown_becomes_false() {
    let mut world = reporting(vec![condition("Available", Truth::Unknown)]);
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(PluginReportedUnknown) Health=True(NoErrors) @1
    The plugin reported Available=Unknown: so
    ");
}

#[test]
fn a_report_that_says_a_type_twice_cannot_be_used() {
    let mut world = reporting(vec![condition("Ready", Truth::True), condition("Ready", Truth::False)]);
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=False(PluginOutputInvalid) Health=False(PluginOutputInvalid) @1
    plugin `lz` failed in status: the condition `Ready` is there twice. Correct the plugin's answer.
    Health: plugin `lz` failed in status: the condition `Ready` is there twice. Correct the plugin's answer.
    ");
}

#[test]
fn a_plugin_that_traps_leaves_what_was_proven() {
    for phase in [Phase::Preconditions, Phase::Resources, Phase::Status] {
        let mut world = World::new()
            .phase(Phase::Status, During::Life)
            .refuses(phase, "PluginTrapped");
        world.reconcile();
        let told = world.told();
        let applied = if phase == Phase::Status { "True" } else { "False" };
        assert!(told.starts_with(&format!("Applied={applied}")), "{told}");
        assert!(
            told.contains("Available=False(PluginTrapped) Health=False(PluginTrapped)"),
            "{told}"
        );
    }
}

#[test]
fn a_plugin_that_traps_after_success_does_not_take_it_back() {
    let mut world = World::new();
    world.reconcile();
    world.complete("validate-c-1", "2026-11-23T10:02:03Z");
    world.reconcile();
    let mut world = world.refuses(Phase::Preconditions, "PluginTrapped");
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=True(ResourcesCreated) Available=True(PostconditionsMet) Health=False(PluginTrapped) @1
    The work was done before
    Health: plugin `lz` failed in preconditions: it is broken. Report this to the plugin's author with the event.
    ");
}

#[test]
fn an_answer_to_another_phase_is_bad_output() {
    let mut world = World::new().says(Phase::Resources, |_| Said::Preconditions(Verdict::Proceed));
    world.reconcile();
    assert_snapshot!(world.told(), @"
    Applied=False(PluginOutputInvalid) Available=False(PluginOutputInvalid) Health=False(PluginOutputInvalid) @1
    plugin `lz` failed in resources: it answers another phase. Correct the plugin's answer.
    Health: plugin `lz` failed in resources: it answers another phase. Correct the plugin's answer.
    ");
}

#[test]
fn actions_come_after_the_report_and_end_with_the_first_that_fails() {
    let action = |name: &str| HttpAction {
        name: name.into(),
        method: "DELETE".into(),
        url: format!("/seats/{name}"),
        headers: Vec::new(),
        body: None,
    };
    let mut world = World::new()
        .phase(Phase::Status, During::Life)
        .says(Phase::Status, move |_| {
            Said::Status(StatusAnswer {
                report: None,
                actions: vec![action("a"), action("b")],
            })
        });
    world.hook = Box::new(|effect| match effect {
        Effect::Act { .. } => {
            let message = "no".to_owned();
            Some(Answer::Acted(Err(crate::effect::FleetFault::Rejected {
                status: 500,
                message,
            })))
        }
        _ => None,
    });
    world.reconcile();
    assert_snapshot!(world.transcript(), @"
    fetch    clusters/c-1
    statuses clusters/c-1
    observe
    ask      lz preconditions
    ask      lz resources
    apply    Job work/validate-c-1 if absent
    ask      lz status
    report   clusters/c-1 @1 Applied=True Available=False Health=True
    act      DELETE /seats/a -> HyperFleet API rejected the request with 500: no
    ");
}

#[test]
fn a_report_that_is_discarded_is_no_report() {
    let mut world = World::new();
    world.hook = Box::new(|effect| match effect {
        Effect::Report { .. } => Some(Answer::Reported(Ok(Reported::Discarded))),
        _ => None,
    });
    assert!(matches!(world.reconcile(), Outcome::Retry { .. }));
}
