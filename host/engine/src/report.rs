//! What is reported, and how far a plugin may change it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{contract::Condition, subject::Generation};

/// A status report, but for its time, which is stamped when it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The adapter.
    pub adapter: String,
    /// The generation that was read from the API.
    pub observed_generation: Generation,
    /// The conditions: `Available`, `Applied`, `Health` among them.
    pub conditions: Vec<Condition>,
    /// An object.
    pub data: Value,
    /// What is known of the workload.
    pub metadata: Metadata,
}

/// What is known of the workload; the only keys that HyperFleet stores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The Job's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_namespace: Option<String>,
    /// Which attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_time: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_time: Option<String>,
    /// Such as `2m3s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}
