//! The simulated Kubernetes keeps the contract that the real one keeps.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use berth::{
    simulate::cluster::{Kubernetes, Rule, VirtualClock},
    world::Cluster,
};
use berth_engine::contract::{Propagation, Reference};
use berth_tests::cluster_contract::Fixture;
use jiff::Timestamp;
use serde_json::Value;

/// A simulation whose clock jumps from one event to the next.
struct Simulated {
    kubernetes: Kubernetes,
    clock: VirtualClock,
    end: Timestamp,
}

impl Simulated {
    fn new() -> Self {
        let start = Timestamp::UNIX_EPOCH;
        let clock = VirtualClock::new(start);
        Self {
            kubernetes: Kubernetes::new(clock.clone()),
            clock,
            end: start + Duration::from_secs(3600),
        }
    }
}

#[async_trait]
impl Fixture for Simulated {
    fn cluster(&self) -> Arc<dyn Cluster> {
        Arc::new(self.kubernetes.clone())
    }

    async fn create_namespace(&self, name: &str) {
        self.kubernetes.namespace(name);
    }

    async fn delete_namespace(&self, name: &str) {
        let namespace = Reference {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: name.to_owned(),
        };
        self.kubernetes.remove(&namespace, Propagation::Background).unwrap();
    }

    async fn grant(&self, namespace: &str, service_account: &str, rules: Vec<Rule>) {
        self.kubernetes.grant(namespace, service_account, rules);
    }

    async fn set_quota(&self, namespace: &str, hard: &[(&str, &str)]) {
        self.kubernetes.quota(namespace, "quota", hard).unwrap();
    }

    async fn delete_by_hand(&self, reference: &Reference) {
        self.kubernetes.remove(reference, Propagation::Background).unwrap();
    }

    async fn create_as_other_manager(&self, manager: &str, object: Value) {
        self.kubernetes.create(manager, object).unwrap();
    }

    async fn go_away(&self) {
        self.kubernetes.go_away();
    }

    async fn come_back(&self) {
        self.kubernetes.come_back();
    }

    async fn wait(&self) -> bool {
        match self.kubernetes.next_due() {
            Some(due) if due < self.end => {
                self.clock.advance_to(due);
                self.kubernetes.step();
                true
            }
            Some(_) | None => false,
        }
    }
}

berth_tests::cluster_contract_cases!(Simulated::new());
