//! Every cause of trouble is told in the journeys that its reason names, wherever it shows; and those journeys are all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{HREF, World, apply, fault, job, plan};
use crate::{
    adapter::During,
    contract::{Operation, Phase, Query, Selector},
    effect::{Answer, ClusterCause, Effect, FleetFault},
    reason::{Case, Reason},
    reconcile::{Memory, Outcome},
    report::Journey,
};

/// One row a variant: all of them, and what is told of each. A variant without a row does not compile.
macro_rules! rows {
    ($all:ident, $told:ident, $kind:ident: $($name:ident $({ $($field:ident: $value:expr),+ })? => $reason:expr;)+) => {
        fn $all() -> Vec<$kind> { vec![$( $kind::$name $({ $($field: $value),+ })?, )+] }

        fn $told(one: &$kind) -> Option<Reason> { match one { $( $kind::$name { .. } => $reason, )+ } }
    };
}

rows! { causes, reason_of, ClusterCause:
    Unreachable => Some(Reason::KubernetesApiUnreachable);
    Quota => Some(Reason::QuotaExceeded);
    LimitRange => Some(Reason::OutsideLimitRange);
    Forbidden => Some(Reason::Forbidden);
    Admission => Some(Reason::AdmissionRefused);
    WebhookUnavailable => Some(Reason::AdmissionUnavailable);
    ConversionUnavailable => Some(Reason::ConversionUnavailable);
    FieldConflict { manager: "kubectl".to_owned() } => Some(Reason::FieldConflict);
    // It is observed and decided again, until that has been tried often enough.
    Stale => Some(Reason::CreationFailed);
    Immutable => Some(Reason::FieldImmutable);
    Invalid => Some(Reason::ManifestInvalid);
    NamespaceMissing { namespace: "work".to_owned() } => Some(Reason::NamespaceMissing);
    NamespaceTerminating { namespace: "work".to_owned() } => Some(Reason::NamespaceTerminating);
    UnknownKind => Some(Reason::UnknownKind);
    Throttled => Some(Reason::KubernetesApiThrottled);
    TooLarge => Some(Reason::PlanInvalid);
    Other => Some(Reason::CreationFailed);
}

rows! { faults, reason_while_reading, FleetFault:
    // The subject is gone: there is nobody to tell.
    Gone => None;
    Unreachable { message: "GET: 503".to_owned(), retry_after: None } => Some(Reason::FleetApiUnreachable);
    Misconfigured { message: "GET: 401".to_owned() } => Some(Reason::FleetApiMisconfigured);
    Rejected { status: 400, message: "no such path".to_owned() } => Some(Reason::SubjectRejected);
}

/// What a user sees, and why. None while a deletion goes on as it should.
fn told(journey: &Journey) -> (Option<Case>, Reason) {
    let name = journey.reason();
    let reason = Reason::named(&name).unwrap_or_else(|| panic!("`{name}` is no reason of ours"));
    let case = match journey {
        Journey::InProgress { .. } => Case::A1,
        Journey::Achieved { .. } => Case::A2,
        Journey::Waiting { .. } => Case::A3,
        Journey::CreationFailed { .. } => Case::A4,
        Journey::WorkFailed { .. } => Case::A5,
        Journey::Unreachable { .. } | Journey::PluginFailed { .. } => Case::A6,
        Journey::NotApplicable { .. } => Case::NotApplicable,
        // What keeps a deletion from going on has the reason that it has in life.
        Journey::DeletionFailed { outage: true, .. } => Case::A6,
        Journey::DeletionFailed { outage: false, .. } => Case::A4,
        Journey::Deleting { .. } | Journey::Finalized => return (None, reason),
    };
    (Some(case), reason)
}

/// In which journeys each reason is told.
#[derive(Default)]
struct Seen(BTreeMap<Reason, BTreeSet<Case>>);

impl Seen {
    /// Notes how a reconcile ended; answers with its reason, if a journey tells it.
    fn note(&mut self, outcome: &Outcome) -> Option<Reason> {
        let Outcome::Reported(reported) = outcome else {
            return None;
        };
        let (Some(case), reason) = told(&reported.journey) else {
            return None;
        };
        self.0.entry(reason).or_default().insert(case);
        Some(reason)
    }

    /// Each reason was told in all journeys that it names, and in no other.
    fn agree(&self) {
        for (reason, seen) in &self.0 {
            assert!(
                seen.iter().copied().eq(reason.cases().iter().copied()),
                "{reason} says that it is told in {:?}, and is told in {seen:?}",
                reason.cases()
            );
        }
    }
}

/// What Kubernetes is asked for when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Listing,
    LookingUp,
    Applying,
    /// An earlier Job goes before the one of this generation.
    Replacing,
    /// The subject is being deleted.
    Removing,
}

const PLACES: [Place; 5] = [
    Place::Listing,
    Place::LookingUp,
    Place::Applying,
    Place::Replacing,
    Place::Removing,
];

/// A world in which this place is what comes next, and fails.
fn failing(place: Place, cause: &ClusterCause) -> World {
    let mut world = World::new();
    if place == Place::LookingUp {
        world = world.phase(Phase::Resources, During::Life).says(Phase::Resources, |_| {
            let query = Query {
                name: "peer".to_owned(),
                api_version: "v1".to_owned(),
                kind: "ConfigMap".to_owned(),
                namespace: Some("work".to_owned()),
                selector: Selector::Name("peer".to_owned()),
            };
            plan(vec![Operation::Discover(query), apply("validate", job("validate-c-1"))])
        });
    }
    if matches!(place, Place::Replacing | Place::Removing) {
        world.reconcile();
    }
    match place {
        Place::Replacing => world.generation(2),
        Place::Removing => world.delete_subject(2),
        Place::Listing | Place::LookingUp | Place::Applying => {}
    }
    let cause = cause.clone();
    world.hook = Box::new(move |effect| {
        let refused = || fault(cause.clone(), "no");
        match (place, effect) {
            (Place::Listing, Effect::Observe(_)) => Some(Answer::Observed(Err(refused()))),
            (Place::LookingUp, Effect::Find(_)) => Some(Answer::Found(Err(refused()))),
            (Place::Applying, Effect::Apply(_)) => Some(Answer::Applied(Err(refused()))),
            (Place::Replacing | Place::Removing, Effect::Delete(_)) => Some(Answer::Deleted(Err(refused()))),
            _ => None,
        }
    });
    world
}

#[test]
fn every_cause_of_kubernetes_is_told_in_the_journeys_that_its_reason_names() {
    let mut seen = Seen::default();
    for cause in causes() {
        for place in PLACES {
            let expected = match (place, &cause) {
                // That one is berth's own right, and no adapter's.
                (Place::Listing, ClusterCause::Forbidden) => Some(Reason::ReadForbidden),
                _ => reason_of(&cause),
            };
            let mut world = failing(place, &cause);
            // Some things may last for a while before they are trouble.
            for seconds in [0, 121] {
                world.later(seconds);
                let outcome = world.reconcile();
                let at = format!("{cause:?} while {place:?}: {outcome:?}");
                match &outcome {
                    Outcome::Retry { reason, .. } => {
                        let expected = match place {
                            Place::Replacing | Place::Removing => Reason::CleanupFailed,
                            Place::Listing | Place::LookingUp | Place::Applying => Reason::CreationFailed,
                        };
                        assert_eq!((&cause, *reason), (&ClusterCause::Stale, expected), "{at}");
                    }
                    _ => {
                        if let Some(reason) = seen.note(&outcome) {
                            assert_eq!(Some(reason), expected, "{at}");
                        } else {
                            let waits = matches!(cause, ClusterCause::NamespaceMissing { .. });
                            assert!(place == Place::Removing && waits, "{at}");
                        }
                    }
                }
            }
        }
    }
    seen.agree();
    let mut expected: BTreeSet<Reason> = causes().iter().filter_map(reason_of).collect();
    expected.insert(Reason::ReadForbidden);
    assert!(seen.0.keys().eq(&expected), "{:?}", seen.0);
}

#[test]
fn every_fault_of_hyperfleet_is_told_in_the_journeys_that_its_reason_names() {
    let mut seen = Seen::default();
    for fault in faults() {
        let expected = reason_while_reading(&fault);
        for reads_statuses in [false, true] {
            let mut world = World::new();
            world.reconcile();
            let answer = fault.clone();
            world.hook = Box::new(move |effect| match effect {
                Effect::Fetch { .. } if !reads_statuses => Some(Answer::Fetched(Err(answer.clone()))),
                Effect::Statuses { .. } if reads_statuses => Some(Answer::Statuses(Err(answer.clone()))),
                _ => None,
            });
            let outcome = world.reconcile();
            assert_eq!(seen.note(&outcome), expected, "{fault:?}: {outcome:?}");
            // Without a row there is no report that could tell it: the log does, by the same reason.
            world.statuses.remove(HREF);
            world.memory = Memory::default();
            if reads_statuses {
                assert_eq!(untold(&world.reconcile()), expected, "{fault:?}");
            }
        }
    }
    seen.agree();
    let expected: BTreeSet<Reason> = faults().iter().filter_map(reason_while_reading).collect();
    assert!(seen.0.keys().eq(&expected), "{:?}", seen.0);
}

#[test]
fn every_fault_of_a_report_is_told_by_the_log_alone() {
    for fault in faults() {
        let expected = match &fault {
            // The one fault that differs from those of reading: the report is what is refused.
            FleetFault::Rejected { .. } => Some(Reason::ReportRejected),
            FleetFault::Gone | FleetFault::Unreachable { .. } | FleetFault::Misconfigured { .. } => {
                reason_while_reading(&fault)
            }
        };
        let mut world = World::new();
        let answer = fault.clone();
        world.hook = Box::new(move |effect| match effect {
            Effect::Report { .. } => Some(Answer::Reported(Err(answer.clone()))),
            _ => None,
        });
        let outcome = world.reconcile();
        assert_eq!(untold(&outcome), expected, "{fault:?}: {outcome:?}");
        assert!(world.reports.is_empty());
    }
    assert!(Reason::ReportRejected.cases().is_empty());
}

/// The reason of what no report could tell.
fn untold(outcome: &Outcome) -> Option<Reason> {
    match outcome {
        Outcome::Retry { reason, .. } | Outcome::Refused { reason, .. } => Some(*reason),
        Outcome::Reported(_) | Outcome::Gone => None,
    }
}

#[test]
fn every_fault_of_a_plugin_is_told_in_a6_whatever_it_was_asked() {
    let reasons = || {
        let of_plugins =
            |reason: &Reason| reason.name().starts_with("Plugin") && *reason != Reason::PluginReportedUnknown;
        Reason::ALL.iter().copied().filter(of_plugins)
    };
    let mut seen = Seen::default();
    for reason in reasons() {
        for phase in Phase::ALL {
            let mut world = World::new().phase(phase, During::Life).refuses(phase, reason.name());
            if phase == Phase::Postconditions {
                world.reconcile();
                world.complete("validate-c-1", "2026-11-23T10:02:03Z");
            }
            let outcome = world.reconcile();
            assert_eq!(seen.note(&outcome), Some(reason), "{phase:?}: {outcome:?}");
        }
    }
    seen.agree();
    assert!(seen.0.keys().copied().eq(reasons().collect::<BTreeSet<_>>()));
}
