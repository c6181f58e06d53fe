//! The events that Sentinel publishes.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{resource::Resource, state::FleetState};

/// How old a resource's conditions may grow until it is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// While it is reconciled.
    pub reconciled: SignedDuration,
    /// While it is not.
    pub unreconciled: SignedDuration,
}

impl Default for Cadence {
    /// Sentinel's defaults: 30 minutes, and 10 seconds.
    fn default() -> Self {
        Self {
            reconciled: SignedDuration::from_mins(30),
            unreconciled: SignedDuration::from_secs(10),
        }
    }
}

impl FleetState {
    /// The CloudEvents, in their JSON format, that a poll at `now` publishes by the default rule.
    pub fn sentinel(&mut self, now: Timestamp) -> Vec<Value> {
        self.sentinel_at(now, Cadence::default())
    }

    /// The same with other ages.
    pub fn sentinel_at(&mut self, now: Timestamp, cadence: Cadence) -> Vec<Value> {
        let due: Vec<Value> = self
            .resources
            .values()
            .filter(|resource| is_due(resource, now, cadence))
            .map(data)
            .collect();
        due.into_iter().map(|data| self.event(now, &data)).collect()
    }

    fn event(&mut self, now: Timestamp, data: &Value) -> Value {
        let kind = data["kind"].as_str().unwrap_or_default().to_lowercase();
        json!({
            "specversion": "1.0",
            "id": self.identifier(now),
            "source": "hyperfleet-sentinel",
            "type": format!("com.redhat.hyperfleet.{kind}.reconcile"),
            "datacontenttype": "application/json",
            "data": data,
        })
    }
}

fn is_due(resource: &Resource, now: Timestamp, cadence: Cadence) -> bool {
    let Some(reconciled) = resource.condition("Reconciled") else {
        return true;
    };
    let age = now.duration_since(reconciled.updated);
    let limit = if reconciled.status {
        cadence.reconciled
    } else {
        cadence.unreconciled
    };
    resource.generation > reconciled.generation || age > limit
}

fn data(resource: &Resource) -> Value {
    let mut data = json!({
        "id": resource.id,
        "kind": resource.kind.name(),
        "href": resource.href(),
        "generation": resource.generation,
    });
    if let Some(owner) = resource.owner_json() {
        data["owner_references"] = owner;
    }
    data
}
