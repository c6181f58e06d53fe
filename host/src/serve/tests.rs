//! What is counted and logged of reconciles.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use berth_engine::{
    reason::Reason,
    reconcile::{Memory, Recheck, Reported},
};

use super::*;
use crate::config::{document, host::HostLimits};

const DOCUMENT: &str = "
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: lz}
spec: {subjects: [Cluster], namespace: work}
";

/// The lines of `berth_trouble_total` after a reconcile ended so.
fn counted(outcome: Outcome) -> Vec<String> {
    let metrics = Arc::new(Metrics::new("test", "test"));
    let told = Told {
        metrics: Arc::clone(&metrics),
        clock: Arc::new(Timestamp::now),
        also: Arc::new(dispatch::Deaf),
    };
    let loaded = document::parse("lz.yaml".as_ref(), DOCUMENT, &HostLimits::default_caps());
    let adapter = &loaded.strict().unwrap()[0].adapter;
    let subject = SubjectRef {
        key: SubjectKey {
            kind: "Cluster".to_owned(),
            id: "c-1".to_owned(),
        },
        href: "/api/hyperfleet/v1/clusters/c-1".to_owned(),
        generation: 1,
        owner: None,
    };
    told.ended(adapter, &subject, &outcome, Duration::ZERO);
    let text = metrics.encode().unwrap();
    let lines = text.lines().filter(|line| line.starts_with("berth_trouble_total{"));
    lines.map(str::to_owned).collect()
}

fn reported(journey: Journey) -> Outcome {
    Outcome::Reported(Reported {
        journey,
        recheck: Recheck::Never,
        await_namespace: None,
        memory: Memory::default(),
    })
}

fn line(journey: &str, reason: &str) -> Vec<String> {
    vec![format!(
        "berth_trouble_total{{adapter=\"lz\",journey=\"{journey}\",reason=\"{reason}\"}} 1"
    )]
}

#[test]
fn an_outage_during_a_deletion_is_counted_as_a6_and_an_object_that_stays_as_the_deletions_own() {
    let failed = |reason: Reason, outage| {
        reported(Journey::DeletionFailed {
            reason: reason.name().to_owned(),
            message: "it is so".to_owned(),
            outage,
        })
    };
    assert_eq!(
        counted(failed(Reason::KubernetesApiUnreachable, true)),
        line("A6", "KubernetesApiUnreachable")
    );
    assert_eq!(counted(failed(Reason::Forbidden, false)), line("deletion", "Forbidden"));
}

#[test]
fn what_could_not_be_reported_is_counted_as_a6_and_what_comes_by_itself_is_not() {
    let retry = |reason| Outcome::Retry {
        reason,
        message: "it is so".to_owned(),
        after: None,
    };
    assert_eq!(
        counted(retry(Reason::FleetApiUnreachable)),
        line("A6", "FleetApiUnreachable")
    );
    assert_eq!(counted(retry(Reason::CleanupInProgress)), [""; 0]);
    assert_eq!(counted(retry(Reason::WaitingForEarlierGeneration)), [""; 0]);
    assert_eq!(counted(Outcome::Gone), [""; 0]);
}

#[test]
fn a_deletion_that_cannot_go_on_is_no_creation_that_fails() {
    let deletion = |reason: &str| {
        trouble(&Journey::DeletionFailed {
            reason: reason.to_owned(),
            message: String::new(),
            outage: false,
        })
    };
    assert_eq!(deletion("Forbidden"), Trouble::Deletion);
    assert_eq!(deletion("WorkloadFailed"), Trouble::Deletion);
    assert_eq!(deletion("InventedByAnAdapter"), Trouble::Deletion);
    assert_eq!(deletion("KubernetesApiUnreachable"), Trouble::A6);
    assert_eq!(deletion("PluginTrapped"), Trouble::A6);
}

#[test]
fn a_reconcile_without_a_report_is_the_trouble_of_its_reason() {
    assert_eq!(trouble_of(Reason::FleetApiUnreachable), Trouble::A6);
    assert_eq!(trouble_of(Reason::CreationFailed), Trouble::A4);
    assert_eq!(trouble_of(Reason::CleanupFailed), Trouble::Deletion);
}
