//! Which kinds the API server knows, and where.
//!
//! Asked per group and version, when it is first needed, and remembered. That is one small
//! request for each group that adapters use; the aggregated document of all groups is
//! larger and fails as a whole when one aggregated API is down.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    fault::Refusal,
    wire::{Call, Wire, lock},
};

/// How long it is believed that a kind does not exist.
const BELIEVED_ABSENT: Duration = Duration::from_secs(5);

/// A kind that the API server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) api_version: String,
    pub(super) kind: String,
    /// The name in paths.
    pub(super) plural: String,
    pub(super) namespaced: bool,
}

impl Kind {
    /// The path of its objects.
    pub(super) fn collection(&self, namespace: Option<&str>) -> String {
        let base = group_path(&self.api_version);
        match namespace {
            Some(namespace) if self.namespaced => {
                format!("{base}/namespaces/{}/{}", segment(namespace), self.plural)
            }
            Some(_) | None => format!("{base}/{}", self.plural),
        }
    }

    /// The path of one object.
    pub(super) fn object(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.collection(namespace), segment(name))
    }

    /// Whether its documents may hold secrets, so that only metadata is kept.
    pub(super) fn is_confidential(&self) -> bool {
        is_confidential(&self.api_version, &self.kind)
    }
}

/// Whether documents of a kind may hold secrets.
pub(super) fn is_confidential(api_version: &str, kind: &str) -> bool {
    api_version == "v1" && matches!(kind, "Secret" | "ConfigMap")
}

/// A name as one segment of a path: names come from manifests, and must not leave their place.
fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b':' => out.push(char::from(byte)),
            b'.' if name != "." && name != ".." => out.push('.'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn group_path(api_version: &str) -> String {
    match api_version.split_once('/') {
        Some((group, version)) => format!("/apis/{}/{}", segment(group), segment(version)),
        None => format!("/api/{}", segment(api_version)),
    }
}

/// Kinds by group and version.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    known: Mutex<HashMap<String, HashMap<String, Arc<Kind>>>>,
    asked: Mutex<HashMap<String, Instant>>,
    /// By group and version, the kinds that have a status.
    with_status: Mutex<HashMap<String, HashSet<String>>>,
}

/// What to do about a kind that was not there when it was last asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Believe it for a moment.
    Believe,
    /// Ask again.
    Ask,
}

impl Kinds {
    /// Finds a kind; none if the API server does not know it.
    pub(super) async fn find(
        &self,
        wire: &Wire,
        api_version: &str,
        kind: &str,
        doubt: Doubt,
    ) -> Result<Option<Arc<Kind>>, Refusal> {
        if let Some(found) = lock(&self.known).get(api_version).and_then(|kinds| kinds.get(kind)) {
            return Ok(Some(Arc::clone(found)));
        }
        let asked = lock(&self.asked).get(api_version).copied();
        if doubt == Doubt::Believe && asked.is_some_and(|when| when.elapsed() < BELIEVED_ABSENT) {
            return Ok(None);
        }
        let listed = match wire.call(Call::get(group_path(api_version))).await {
            Ok(list) => {
                lock(&self.with_status).insert(api_version.to_owned(), with_status(&list));
                read(api_version, &list)
            }
            Err(refusal) if refusal.code() == Some(404) => HashMap::new(),
            Err(refusal) => return Err(refusal),
        };
        let found = listed.get(kind).map(Arc::clone);
        lock(&self.known).insert(api_version.to_owned(), listed);
        lock(&self.asked).insert(api_version.to_owned(), Instant::now());
        Ok(found)
    }

    /// Whether a kind is known to have no status.
    pub(super) fn is_statusless(&self, api_version: &str, kind: &str) -> bool {
        let with_status = lock(&self.with_status);
        with_status.get(api_version).is_some_and(|kinds| !kinds.contains(kind))
    }

    /// Forgets a group and version: the API server no longer answers as it said.
    pub(super) fn forget(&self, api_version: &str) {
        lock(&self.known).remove(api_version);
    }
}

/// The kinds of which `PLURAL/status` is a resource.
fn with_status(list: &serde_json::Value) -> HashSet<String> {
    let resources = list["resources"].as_array().into_iter().flatten();
    resources
        .filter(|resource| resource["name"].as_str().is_some_and(|name| name.ends_with("/status")))
        .filter_map(|resource| resource["kind"].as_str().map(str::to_owned))
        .collect()
}

fn read(api_version: &str, list: &serde_json::Value) -> HashMap<String, Arc<Kind>> {
    let mut kinds = HashMap::new();
    for resource in list["resources"].as_array().into_iter().flatten() {
        let (Some(plural), Some(kind)) = (resource["name"].as_str(), resource["kind"].as_str()) else {
            continue;
        };
        // A slash is a subresource, such as `jobs/status`.
        if plural.contains('/') {
            continue;
        }
        let namespaced = resource["namespaced"].as_bool().unwrap_or(false);
        let entry = Kind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced,
        };
        kinds.insert(kind.to_owned(), Arc::new(entry));
    }
    kinds
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn subresources_are_not_kinds() {
        let list = json!({"resources": [
            {"name": "jobs", "kind": "Job", "namespaced": true},
            {"name": "jobs/status", "kind": "Job", "namespaced": true},
        ]});
        let job = Kind {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            plural: "jobs".to_owned(),
            namespaced: true,
        };
        assert_eq!(with_status(&list), HashSet::from(["Job".to_owned()]));
        assert_eq!(
            read("batch/v1", &list),
            HashMap::from([("Job".to_owned(), Arc::new(job))])
        );
    }

    #[test]
    fn a_name_stays_within_its_segment() {
        let kind = Kind {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            plural: "configmaps".to_owned(),
            namespaced: true,
        };
        assert_eq!(
            kind.object(Some("a"), "../secrets/x?y"),
            "/api/v1/namespaces/a/configmaps/..%2Fsecrets%2Fx%3Fy"
        );
        assert_eq!(
            kind.object(Some(".."), "a.b"),
            "/api/v1/namespaces/%2E%2E/configmaps/a.b"
        );
    }
}
