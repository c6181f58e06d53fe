//! What goes wrong, by chance, and how all of it ends.

use std::time::Duration;

use berth::simulate::{cluster::Rule, fleet::Fault};
use berth_engine::contract::{Propagation, Reference};

use super::{
    Stage,
    adapters::{DNS, NAMESPACE, SIZING, VALIDATION},
};

const ACCOUNTS: [&str; 3] = [VALIDATION, DNS, SIZING];
/// How many kinds of gusts there are. After Kubernetes was down every host looks at everything,
/// so that it is down in every second deck only.
const KINDS: usize = 18;
const DECK: usize = 2 * KINDS;

/// Lets things go wrong again and again until `end` of the run, in any order, and all of them.
pub(super) async fn blow(stage: &Stage, end: Duration) {
    let mut deck: Vec<usize> = Vec::new();
    while stage.time.elapsed() < end {
        stage.time.sleep(stage.time.between(1.0, 9.0)).await;
        if deck.is_empty() {
            deck = (0..DECK).collect();
        }
        let card = deck.swap_remove(stage.time.below(deck.len()));
        let begun = stage.clone();
        tokio::spawn(async move { gust(&begun, card).await });
    }
}

/// Lets everything be well again.
pub(super) fn settle(stage: &Stage) {
    stage.hyperfleet.set_down(false);
    stage.kubernetes.come_back();
    stage.kubernetes.remove_webhook("policy");
    for account in ACCOUNTS {
        grant(stage, account);
    }
    lift_quota(stage);
}

/// Gives an adapter's service account all that it needs.
pub(super) fn grant(stage: &Stage, account: &str) {
    let kubernetes = &stage.kubernetes;
    kubernetes.revoke(NAMESPACE, account);
    let rules = vec![
        Rule::all_of("batch", &["jobs"], NAMESPACE),
        Rule::all_of("apps", &["deployments"], NAMESPACE),
        Rule::all_of("", &["configmaps"], NAMESPACE),
    ];
    kubernetes.grant(NAMESPACE, account, rules);
}

fn lift_quota(stage: &Stage) {
    let quota = reference("v1", "ResourceQuota", "tight".to_owned());
    // There may be none.
    let _ = stage.kubernetes.remove(&quota, Propagation::Background);
}

fn reference(api_version: &str, kind: &str, name: String) -> Reference {
    Reference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
        name,
    }
}

/// One thing that goes wrong, and its end where it has one.
async fn gust(stage: &Stage, card: usize) {
    let Stage {
        time,
        ledger,
        hyperfleet,
        kubernetes,
        ..
    } = stage;
    let inject = |fault: Fault, most: usize| hyperfleet.inject(&fault, 1 + time.below(most));
    let seconds = |most: usize| Duration::from_secs(1 + u64::try_from(time.below(most)).unwrap_or(0));
    let what = match card % KINDS {
        0 => {
            hyperfleet.set_down(true);
            time.sleep(seconds(40)).await;
            hyperfleet.set_down(false);
            "HyperFleet down"
        }
        1 => {
            let status = [500, 502, 503, 504][time.below(4)];
            let fault = Fault::Status {
                status,
                retry_after: None,
            };
            inject(fault, 40);
            "HyperFleet errors"
        }
        2 => {
            let fault = Fault::Status {
                status: 429,
                retry_after: Some(seconds(12)),
            };
            inject(fault, 12);
            "HyperFleet throttled"
        }
        3 => {
            inject(Fault::Slow(time.between(0.5, 8.0)), 20);
            "HyperFleet slow"
        }
        4 => {
            inject(Fault::AnswerLost, 10);
            "HyperFleet answers lost"
        }
        5 => {
            inject(Fault::Dropped, 20);
            "HyperFleet connections dropped"
        }
        6 | 7 => {
            inject(Fault::Swallowed, 5);
            "HyperFleet reports swallowed"
        }
        8 if card < KINDS => {
            kubernetes.go_away();
            time.sleep(seconds(45)).await;
            kubernetes.come_back();
            "Kubernetes down"
        }
        8 | 9 => {
            kubernetes.throttle(20, seconds(5));
            "Kubernetes throttled"
        }
        10 => {
            kubernetes.break_webhook("policy");
            time.sleep(seconds(40)).await;
            kubernetes.remove_webhook("policy");
            "webhook down"
        }
        11 => {
            kubernetes.webhook("policy", |_| Err("frozen".to_owned()));
            time.sleep(seconds(40)).await;
            kubernetes.remove_webhook("policy");
            "webhook refuses"
        }
        12 => {
            let account = ACCOUNTS[time.below(ACCOUNTS.len())];
            kubernetes.revoke(NAMESPACE, account);
            time.sleep(seconds(40)).await;
            grant(stage, account);
            "rights taken"
        }
        13 => {
            let hard = [("count/jobs.batch", "0"), ("count/deployments.apps", "0")];
            // The namespace exists.
            let _ = kubernetes.quota(NAMESPACE, "tight", &hard);
            time.sleep(seconds(30)).await;
            lift_quota(stage);
            "quota exhausted"
        }
        14 => {
            delete_by_hand(stage);
            "objects deleted by hand"
        }
        15 => {
            stage.kill_and_restart(seconds(45)).await;
            "hosts killed"
        }
        16 => {
            if let Some(host) = stage.some_host() {
                host.link.part_from_fleet(true);
                time.sleep(seconds(60)).await;
                host.link.part_from_fleet(false);
            }
            "partitions from HyperFleet"
        }
        _ => {
            if let Some(host) = stage.some_host() {
                host.link.part_from_cluster(true);
                time.sleep(seconds(60)).await;
                host.hear_all(host.link.part_from_cluster(false));
            }
            "partitions from Kubernetes"
        }
    };
    stage.bell.notify_one();
    ledger.count(what);
}

/// Somebody tidies up.
fn delete_by_hand(stage: &Stage) {
    for _ in 0..20 {
        let Some(subject) = stage.lives.any() else { return };
        let id = &subject.id;
        let target = match stage.time.below(4) {
            0 => reference("batch/v1", "Job", format!("check-{id}")),
            1 => reference("apps/v1", "Deployment", format!("server-{id}")),
            2 => reference("v1", "ConfigMap", format!("zone-{id}")),
            _ => reference("batch/v1", "Job", format!("size-{id}-{}", subject.generation)),
        };
        let propagation = if stage.time.happens(500) {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        // It may not exist.
        let _ = stage.kubernetes.remove(&target, propagation);
    }
}
