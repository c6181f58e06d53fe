//! The controllers of Deployments and of their replica sets.

use std::{collections::BTreeMap, time::Duration};

use berth_engine::contract::Propagation;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{clock::later, document, model::Model, store::Key};

const HASH: &str = "pod-template-hash";

impl Model {
    /// One step of a Deployment: the replica set of its template grows, then older ones shrink.
    pub(super) fn deployment(&mut self, key: &Key, deployment: &Value) {
        if document::is_deleting(deployment) {
            return;
        }
        let wanted = document::number(deployment, &["spec", "replicas"]).unwrap_or(1);
        let template = &deployment["spec"]["template"];
        let hash: String = hex::encode(Sha256::digest(template.to_string()))
            .chars()
            .take(10)
            .collect();
        let current = Key::new("apps/v1", "ReplicaSet", &key.namespace, &format!("{}-{hash}", key.name));
        if self.store.get(&current).is_none() {
            let now = self.time();
            self.store.create(
                current.clone(),
                replica_set(key, deployment, &current.name, &hash),
                BTreeMap::new(),
                &now,
            );
            let message = format!("Scaled up replica set {} from 0 to {wanted}", current.name);
            self.event(key, "Normal", "ScalingReplicaSet", &message);
        }
        self.store
            .change(&current, |set| document::set(set, &["spec", "replicas"], json!(wanted)));

        let uid = document::uid(deployment).to_owned();
        let sets: Vec<(Key, Value)> = self
            .store
            .dependents(&uid)
            .map(|(key, stored)| (key.clone(), stored.document.clone()))
            .collect();
        let count = |set: &Value, what: &str| document::number(set, &["status", what]).unwrap_or(0);
        let updated = sets
            .iter()
            .find(|(key, _)| *key == current)
            .map(|(_, set)| set.clone())
            .unwrap_or_default();
        let updated_available = count(&updated, "availableReplicas");
        if updated_available >= wanted {
            for (old, _) in sets.iter().filter(|(key, _)| *key != current) {
                self.store
                    .change(old, |set| document::set(set, &["spec", "replicas"], json!(0)));
            }
        }
        let stalled = updated_available < wanted && self.has_stalled(&current, updated_available, deployment);
        let total = |what: &str| sets.iter().map(|(_, set)| count(set, what)).sum::<i64>();
        let available = total("availableReplicas");
        let now = self.time();
        self.store.change(key, |deployment| {
            let generation = deployment["metadata"]["generation"].clone();
            document::set(deployment, &["status", "observedGeneration"], generation);
            let counts = [
                ("replicas", total("replicas")),
                ("updatedReplicas", count(&updated, "replicas")),
                ("readyReplicas", total("readyReplicas")),
                ("availableReplicas", available),
                ("unavailableReplicas", (wanted - available).max(0)),
            ];
            for (name, count) in counts {
                if count == 0 {
                    document::remove(deployment, &["status", name]);
                } else {
                    document::set(deployment, &["status", name], json!(count));
                }
            }
            let (reason, message) = if available >= wanted {
                ("MinimumReplicasAvailable", "Deployment has minimum availability.")
            } else {
                (
                    "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.",
                )
            };
            document::set_condition(deployment, "Available", available >= wanted, reason, message, &now);
            let (reason, message) = if updated_available >= wanted {
                (
                    "NewReplicaSetAvailable",
                    format!("ReplicaSet \"{}\" has successfully progressed.", current.name),
                )
            } else if stalled {
                (
                    "ProgressDeadlineExceeded",
                    format!("ReplicaSet \"{}\" has timed out progressing.", current.name),
                )
            } else {
                (
                    "ReplicaSetUpdated",
                    format!("ReplicaSet \"{}\" is progressing.", current.name),
                )
            };
            document::set_condition(deployment, "Progressing", !stalled, reason, &message, &now);
            let refused =
                document::condition(&updated, "ReplicaFailure").filter(|condition| condition["status"] == "True");
            match refused {
                Some(refused) => {
                    let text = |field: &str| refused[field].as_str().unwrap_or_default().to_owned();
                    document::set_condition(
                        deployment,
                        "ReplicaFailure",
                        true,
                        &text("reason"),
                        &text("message"),
                        &now,
                    );
                }
                None => forget_condition(deployment, "ReplicaFailure"),
            }
        });
    }

    /// Whether a replica set has had no more pods for longer than its Deployment allows.
    fn has_stalled(&mut self, set: &Key, available: i64, deployment: &Value) -> bool {
        let seconds = document::number(deployment, &["spec", "progressDeadlineSeconds"]).unwrap_or(600);
        let deadline = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        // The last progress was when the pods that it has became available, or when it began.
        let pods = self
            .store
            .document(set)
            .map(|set| self.pods_of(set))
            .unwrap_or_default();
        let began = self.store.mark(set, "began", self.now);
        let running = pods
            .iter()
            .filter(|_| available > 0)
            .filter_map(|(pod, _)| self.store.marked(pod, "running"));
        let end = later(running.max().unwrap_or(began).max(began), deadline);
        if end > self.now
            && let Some(owner) = self.store.key_of(document::uid(deployment)).cloned()
        {
            self.again_at(&owner, end);
        }
        end <= self.now
    }

    /// One step of a replica set: as many pods as wanted.
    pub(super) fn replica_set(&mut self, key: &Key, set: &Value) {
        if document::is_deleting(set) {
            return;
        }
        let wanted = document::number(set, &["spec", "replicas"]).unwrap_or(1);
        let ended = |pod: &Value| matches!(document::text(pod, &["status", "phase"]), Some("Succeeded" | "Failed"));
        let mut pods: Vec<(Key, Value)> = self
            .pods_of(set)
            .into_iter()
            .filter(|(_, pod)| !document::is_deleting(pod) && !ended(pod))
            .collect();
        let wanted = usize::try_from(wanted).unwrap_or(0);
        while pods.len() > wanted {
            let (pod, _) = pods.remove(0);
            self.begin_deletion(&pod, Propagation::Background);
        }
        let mut refused = false;
        while pods.len() < wanted {
            match self.create_pod(key, set, &[]) {
                Some(pod) => pods.push(pod),
                None => {
                    refused = true;
                    break;
                }
            }
        }
        let problem = refused.then(|| self.last_refusal(set)).flatten();
        let ready = pods.iter().filter(|(_, pod)| document::holds(pod, "Ready")).count();
        let now = self.time();
        self.store.change(key, |set| {
            let generation = set["metadata"]["generation"].clone();
            document::set(set, &["status", "observedGeneration"], generation);
            document::set(set, &["status", "replicas"], json!(pods.len()));
            document::set(set, &["status", "readyReplicas"], json!(ready));
            document::set(set, &["status", "availableReplicas"], json!(ready));
            match problem {
                Some(problem) => document::set_condition(set, "ReplicaFailure", true, "FailedCreate", &problem, &now),
                None => forget_condition(set, "ReplicaFailure"),
            }
        });
    }

    fn last_refusal(&self, set: &Value) -> Option<String> {
        let events = self.events_about(&[document::uid(set)]);
        let refusal = events.iter().rev().find(|event| event["reason"] == "FailedCreate")?;
        let message = refusal["message"].as_str()?;
        Some(message.strip_prefix("Error creating: ").unwrap_or(message).to_owned())
    }
}

fn forget_condition(object: &mut Value, kind: &str) {
    if document::condition(object, kind).is_some() {
        let mut conditions = document::items(object, &["status", "conditions"]).to_vec();
        conditions.retain(|condition| condition["type"] != kind);
        document::set(object, &["status", "conditions"], json!(conditions));
    }
}

fn replica_set(key: &Key, deployment: &Value, name: &str, hash: &str) -> Value {
    let mut template = deployment["spec"]["template"].clone();
    document::set(&mut template, &["metadata", "labels", HASH], json!(hash));
    let mut selector = deployment["spec"]["selector"].clone();
    document::set(&mut selector, &["matchLabels", HASH], json!(hash));
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": key.namespace, "labels": template["metadata"]["labels"],
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": key.name,
                "uid": deployment["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    })
}
