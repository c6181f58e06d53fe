//! Whether there is room for one more landing zone.
//!
//! The ConfigMap's `data` has a number per region, or under `total` for all: how many more
//! landing zones may be made. A region's own number goes before `total`.

use std::collections::BTreeMap;

use berth_sdk::{Facts, Failure, Reference, cluster};
use serde::Deserialize;

use crate::config::Config;

#[derive(Deserialize)]
struct ConfigMap {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

/// What is waited for, or nothing if there is room.
pub(crate) fn check(facts: &Facts, config: &Config, region: &str) -> Result<Option<String>, Failure> {
    let Some(quota) = &config.quota else { return Ok(None) };
    // A zone that exists has been counted already, so it never waits for room again; neither does one in deletion.
    let counted = facts.status_of(&facts.adapter).and_then(|own| own.condition("Applied"));
    if facts.subject.deleting || counted.is_some_and(|applied| applied.status == berth_sdk::Truth::True) {
        return Ok(None);
    }
    let target = Reference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some(quota.namespace.clone()),
        name: quota.name.clone(),
    };
    let place = format!("ConfigMap {}/{}", quota.namespace, quota.name);
    let document = match cluster::get(&target) {
        Ok(document) => document,
        Err(cluster::Error::NotFound) => return Ok(Some(format!("{place}, which states the quota, does not exist"))),
        Err(error @ (cluster::Error::Denied(_) | cluster::Error::Unavailable(_) | cluster::Error::Rejected(_))) => {
            return Err(error.into());
        }
    };
    let data = document.read::<ConfigMap>()?.data;
    let Some((key, text)) = [region, "total"]
        .into_iter()
        .find_map(|key| data.get(key).map(|text| (key, text)))
    else {
        return Ok(Some(format!("{place} states no quota for {region}")));
    };
    let free: u32 = text.trim().parse().map_err(|_| {
        Failure::new(
            "QuotaUnreadable",
            format!("`{key}` of {place} is `{text}`; write a whole number"),
        )
    })?;
    Ok((free < quota.needed).then(|| {
        format!(
            "the quota of {key} has room for {free} landing zones, and {} is needed",
            quota.needed
        )
    }))
}
