//! The scheduler: on which node a pod runs.

use serde_json::{Value, json};

use super::{access::pod_total, document, index::Entry, model::Model, store::Key};

impl Model {
    /// Gives a pod a node; tells why where there is none for it.
    pub(super) fn schedule(&mut self, key: &Key, pod: &Value) {
        let nodes: Vec<(String, Value)> = self
            .store
            .of_kind("", "Node", None)
            .map(|(key, stored)| (key.name.clone(), stored.document.clone()))
            .collect();
        let mut problems: Vec<&'static str> = Vec::new();
        for (name, node) in &nodes {
            match self.misfit(pod, name, node) {
                None => {
                    let now = self.time();
                    self.store.change(key, |pod| {
                        document::set(pod, &["spec", "nodeName"], json!(name));
                        document::set_condition(pod, "PodScheduled", true, "", "", &now);
                    });
                    let message = format!("Successfully assigned {}/{} to {name}", key.namespace, key.name);
                    self.event(key, "Normal", "Scheduled", &message);
                    return;
                }
                Some(problem) => problems.push(problem),
            }
        }
        let mut counted: Vec<String> = Vec::new();
        let mut kinds = problems.clone();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            counted.push(format!(
                "{} {kind}",
                problems.iter().filter(|problem| **problem == kind).count()
            ));
        }
        let message = if nodes.is_empty() {
            "no nodes available to schedule pods".to_owned()
        } else {
            format!("0/{} nodes are available: {}.", nodes.len(), counted.join(", "))
        };
        let now = self.time();
        let known =
            document::condition(pod, "PodScheduled").is_some_and(|condition| condition["message"] == message.as_str());
        self.store.change(key, |pod| {
            document::set_condition(pod, "PodScheduled", false, "Unschedulable", &message, &now);
        });
        if !known {
            self.event(key, "Warning", "FailedScheduling", &message);
        }
    }

    /// Why a pod cannot run on a node.
    fn misfit(&self, pod: &Value, name: &str, node: &Value) -> Option<&'static str> {
        if node["spec"]["unschedulable"] == true {
            return Some("node(s) were unschedulable");
        }
        let wanted = document::at(pod, &["spec", "nodeSelector"]).and_then(Value::as_object);
        let labels = &node["metadata"]["labels"];
        if wanted
            .into_iter()
            .flatten()
            .any(|(label, value)| labels.get(label) != Some(value))
        {
            return Some("node(s) didn't match Pod's node affinity/selector");
        }
        let here: Vec<&Value> = self
            .store
            .indexed(&Entry::OnNode(Some(name.to_owned())))
            .map(|(_, stored)| &stored.document)
            .collect();
        let capacity =
            |amount: &str| document::at(node, &["status", "allocatable", amount]).and_then(document::quantity);
        for (amount, problem) in [("cpu", "Insufficient cpu"), ("memory", "Insufficient memory")] {
            let asks = |pod: &Value| pod_total(pod, "requests", amount).unwrap_or(0);
            let used: i128 = here.iter().map(|other| asks(other)).sum();
            if capacity(amount).is_some_and(|capacity| used + asks(pod) > capacity) {
                return Some(problem);
            }
        }
        let count = i128::try_from(here.len()).unwrap_or(i128::MAX);
        capacity("pods")
            .is_some_and(|capacity| (count + 1) * 1000 > capacity)
            .then_some("Too many pods")
    }
}
