//! The plugin's configuration and the part of a cluster's spec that it reads.

use std::collections::BTreeMap;

use berth_sdk::Problem;
use serde::{Deserialize, Serialize};

/// What the adapter document says under `config`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// The provider that landing zones are made for.
    pub provider: String,
    /// The regions that are served.
    pub regions: Vec<String>,
    /// The image of the Job.
    pub image: String,
    /// The ConfigMap that states the quota; none for no quota.
    pub quota: Option<Quota>,
    /// How often the Job is tried again.
    #[serde(default = "two")]
    pub retries: u32,
    /// Annotations of the Job.
    #[serde(default)]
    pub job_annotations: BTreeMap<String, String>,
}

/// Where the quota stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Quota {
    /// The namespace of the ConfigMap.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How many landing zones the quota must have room for.
    #[serde(default = "one")]
    pub needed: u32,
}

/// What is read of a cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    /// Its provider.
    pub provider: String,
    /// Its region.
    pub region: String,
    /// Its network range; the Job's default if absent.
    pub network_cidr: Option<String>,
    /// Annotations of this cluster's Job, over those of the configuration.
    #[serde(default)]
    pub job_annotations: BTreeMap<String, String>,
}

impl Config {
    /// Answers the configuration, or all that is wrong in it.
    pub(crate) fn check(self) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if self.provider.is_empty() {
            problems.push(Problem::new("provider", "is empty").hint("gcp"));
        }
        if self.regions.is_empty() {
            problems.push(Problem::new("regions", "names no region").hint("[europe-west1]"));
        }
        for (index, region) in self.regions.iter().enumerate() {
            if region.trim().is_empty() {
                problems.push(Problem::new(format!("regions[{index}]"), "is empty"));
            }
        }
        if self.image.is_empty() {
            problems.push(Problem::new("image", "is empty"));
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}
