//! What the API stores.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The kinds of resources that the simulation knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A cluster.
    Cluster,
    /// A node pool, owned by a cluster.
    NodePool,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cluster, Self::NodePool];

    /// As in `kind`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::NodePool => "NodePool",
        }
    }

    /// As in paths.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Cluster => "clusters",
            Self::NodePool => "nodepools",
        }
    }

    /// The kind of its owner.
    #[must_use]
    pub fn owner(self) -> Option<Self> {
        match self {
            Self::Cluster => None,
            Self::NodePool => Some(Self::Cluster),
        }
    }

    /// The longest name; the shortest has 3 characters.
    pub(super) fn longest_name(self) -> usize {
        match self {
            Self::Cluster => 53,
            Self::NodePool => 15,
        }
    }
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "True" => Some(Self::True),
            "False" => Some(Self::False),
            "Unknown" => Some(Self::Unknown),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reported {
    pub(super) kind: String,
    pub(super) status: Truth,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) last_transition: Timestamp,
}

/// What one adapter last reported.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) adapter: String,
    pub(super) generation: u32,
    pub(super) conditions: Vec<Reported>,
    pub(super) data: Value,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) created: Timestamp,
    pub(super) reported: Timestamp,
}

impl Row {
    pub(super) fn condition(&self, kind: &str) -> Option<&Reported> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    pub(super) fn says(&self, kind: &str, status: Truth) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == status)
    }

    pub(super) fn json(&self) -> Value {
        let conditions: Vec<Value> = self
            .conditions
            .iter()
            .map(|condition| {
                let mut json = json!({
                    "type": condition.kind,
                    "status": condition.status.name(),
                    "last_transition_time": condition.last_transition.to_string(),
                });
                if let Some(reason) = &condition.reason {
                    json["reason"] = reason.as_str().into();
                }
                if let Some(message) = &condition.message {
                    json["message"] = message.as_str().into();
                }
                json
            })
            .collect();
        let mut json = json!({
            "adapter": self.adapter,
            "observed_generation": self.generation,
            "conditions": conditions,
            "data": self.data,
            "created_time": self.created.to_string(),
            "last_report_time": self.reported.to_string(),
        });
        if let Some(metadata) = &self.metadata {
            json["metadata"] = Value::Object(metadata.clone());
        }
        json
    }
}

/// An aggregated condition of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aggregated {
    pub(super) kind: String,
    pub(super) status: bool,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) generation: u32,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) transition: Timestamp,
}

impl Aggregated {
    fn json(&self) -> Value {
        json!({
            "type": self.kind,
            "status": if self.status { "True" } else { "False" },
            "reason": self.reason,
            "message": self.message,
            "observed_generation": self.generation,
            "created_time": self.created.to_string(),
            "last_updated_time": self.updated.to_string(),
            "last_transition_time": self.transition.to_string(),
        })
    }
}

/// A cluster or a node pool.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resource {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) owner: Option<String>,
    pub(super) spec: Value,
    pub(super) labels: Map<String, Value>,
    pub(super) references: Value,
    pub(super) generation: u32,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) deleted: Option<Timestamp>,
    pub(super) rows: Vec<Row>,
    pub(super) conditions: Vec<Aggregated>,
}

/// The path of a resource.
pub(super) fn href(kind: Kind, id: &str, owner: Option<&str>) -> String {
    match owner.zip(kind.owner()) {
        Some((owner, of)) => format!("{}/{}/{id}", href(of, owner, None), kind.plural()),
        None => format!("/api/hyperfleet/v1/{}/{id}", kind.plural()),
    }
}

impl Resource {
    pub(super) fn href(&self) -> String {
        href(self.kind, &self.id, self.owner.as_deref())
    }

    pub(super) fn row(&self, adapter: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.adapter == adapter)
    }

    pub(super) fn condition(&self, kind: &str) -> Option<&Aggregated> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// The owner as children refer to it.
    pub(super) fn owner_json(&self) -> Option<Value> {
        let owner = self.owner.as_deref()?;
        let of = self.kind.owner()?;
        Some(json!({"id": owner, "kind": of.name(), "href": href(of, owner, None)}))
    }

    pub(super) fn json(&self) -> Value {
        let conditions: Vec<Value> = self.conditions.iter().map(Aggregated::json).collect();
        let mut json = json!({
            "id": self.id,
            "kind": self.kind.name(),
            "name": self.name,
            "href": self.href(),
            "spec": self.spec,
            "generation": self.generation,
            "created_time": self.created.to_string(),
            "updated_time": self.updated.to_string(),
            "created_by": "simulation",
            "updated_by": "simulation",
            "status": {"conditions": conditions},
        });
        if !self.labels.is_empty() {
            json["labels"] = Value::Object(self.labels.clone());
        }
        if !self.references.is_null() {
            json["references"] = self.references.clone();
        }
        if let Some(owner) = self.owner_json() {
            json["owner_references"] = owner;
        }
        if let Some(deleted) = self.deleted {
            json["deleted_time"] = deleted.to_string().into();
            json["deleted_by"] = "simulation".into();
        }
        json
    }
}
