//! Which kinds the API server knows, and where.
//!
//! Asked once for all of them (aggregated discovery), remembered, and asked again when
//! somebody needs a kind that is not among them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    fault::{Refusal, Status},
    wire::{Call, Wire, lock},
};

/// How long it is believed that a kind does not exist.
const BELIEVED_ABSENT: Duration = Duration::from_secs(5);

/// Asks for the kinds of all groups in one document.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// A kind that the API server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) api_version: String,
    pub(super) kind: String,
    /// The name in paths.
    pub(super) plural: String,
    pub(super) namespaced: bool,
    /// Whether somebody else says in a status how it is.
    pub(super) has_status: bool,
}

impl Kind {
    /// A kind of Kubernetes' first group, which every API server knows.
    pub(super) fn core(kind: &str, plural: &str, namespaced: bool) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced,
            has_status: true,
        }
    }

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

    /// Whether it is that of pods.
    pub(super) fn is_pod(&self) -> bool {
        is_pod(&self.api_version, &self.kind)
    }

    /// Whether its documents may hold secrets, so that only metadata is kept.
    pub(super) fn is_confidential(&self) -> bool {
        is_confidential(&self.api_version, &self.kind)
    }
}

/// Whether a kind is that of pods.
pub(super) fn is_pod(api_version: &str, kind: &str) -> bool {
    api_version == "v1" && kind == "Pod"
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
    known: Mutex<Known>,
    /// When the last request began. Held while asking, so that one answer serves all who wait.
    asking: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Known {
    kinds: HashMap<String, HashMap<String, Arc<Kind>>>,
    /// Groups and versions whose own server does not answer: what they have may be more.
    stale: HashSet<String>,
    /// When this was learnt.
    when: Option<Instant>,
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
        {
            let known = lock(&self.known);
            if let Some(found) = known.find(api_version, kind) {
                return Ok(Some(found));
            }
            if doubt == Doubt::Believe && known.when.is_some_and(|when| when.elapsed() < BELIEVED_ABSENT) {
                return Ok(None);
            }
        }
        self.learn(wire, Instant::now()).await?;
        let known = lock(&self.known);
        match known.find(api_version, kind) {
            Some(found) => Ok(Some(found)),
            None if known.stale.contains(api_version) => Err(behind(api_version)),
            None => Ok(None),
        }
    }

    /// Whether a kind is known to have no status.
    pub(super) fn is_statusless(&self, api_version: &str, kind: &str) -> bool {
        lock(&self.known)
            .find(api_version, kind)
            .is_some_and(|kind| !kind.has_status)
    }

    /// Forgets a group and version: the API server no longer answers as it said.
    pub(super) fn forget(&self, api_version: &str) {
        let mut known = lock(&self.known);
        known.kinds.remove(api_version);
        known.when = None;
    }

    /// Learns all kinds, unless somebody has begun to since `needed`.
    async fn learn(&self, wire: &Wire, needed: Instant) -> Result<(), Refusal> {
        let mut asking = self.asking.lock().await;
        if asking.is_some_and(|began| began >= needed) {
            return Ok(());
        }
        let began = Instant::now();
        let mut learnt = Known::default();
        for path in ["/api", "/apis"] {
            let document = wire.call(Call::get(path.to_owned()).accept(AGGREGATED)).await?;
            learnt.read(&document)?;
        }
        learnt.when = Some(began);
        *lock(&self.known) = learnt;
        *asking = Some(began);
        Ok(())
    }
}

impl Known {
    fn find(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        self.kinds.get(api_version)?.get(kind).map(Arc::clone)
    }

    /// Takes in one aggregated document.
    fn read(&mut self, document: &Value) -> Result<(), Refusal> {
        if document["kind"] != "APIGroupDiscoveryList" {
            return Err(Refusal::Status(Box::new(Status {
                code: 406,
                message: "the API server does not tell its kinds in one document; Kubernetes 1.27 and later do"
                    .to_owned(),
                ..Status::default()
            })));
        }
        for group in list(document, "items") {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in list(group, "versions") {
                let Some(number) = version["version"].as_str() else {
                    continue;
                };
                let api_version = if name.is_empty() {
                    number.to_owned()
                } else {
                    format!("{name}/{number}")
                };
                let kinds = list(version, "resources").filter_map(|resource| {
                    let kind = resource["responseKind"]["kind"]
                        .as_str()
                        .filter(|kind| !kind.is_empty())?;
                    let entry = Kind {
                        api_version: api_version.clone(),
                        kind: kind.to_owned(),
                        plural: resource["resource"].as_str()?.to_owned(),
                        namespaced: resource["scope"] == "Namespaced",
                        has_status: list(resource, "subresources").any(|one| one["subresource"] == "status"),
                    };
                    Some((kind.to_owned(), Arc::new(entry)))
                });
                let kinds = kinds.collect();
                if version["freshness"] == "Stale" {
                    self.stale.insert(api_version.clone());
                }
                self.kinds.insert(api_version, kinds);
            }
        }
        Ok(())
    }
}

fn list<'a>(document: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    document[field].as_array().into_iter().flatten()
}

fn behind(api_version: &str) -> Refusal {
    Refusal::Status(Box::new(Status {
        code: 503,
        reason: "ServiceUnavailable".to_owned(),
        message: format!("the server that the API server asks for {api_version} does not answer"),
        ..Status::default()
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(freshness: &str, resources: &Value) -> Value {
        json!({"kind": "APIGroupDiscoveryList", "items": [{
            "metadata": {"name": "batch"},
            "versions": [{"version": "v1", "freshness": freshness, "resources": resources}],
        }]})
    }

    fn jobs() -> Value {
        json!([{
            "resource": "jobs", "scope": "Namespaced", "responseKind": {"group": "batch", "version": "v1", "kind": "Job"},
            "subresources": [{"subresource": "status", "responseKind": {"kind": "Job"}}],
        }])
    }

    #[test]
    fn kinds_are_read_from_the_aggregated_document() {
        let mut known = Known::default();
        assert!(known.read(&document("Current", &jobs())).is_ok());
        let job = Kind {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            plural: "jobs".to_owned(),
            namespaced: true,
            has_status: true,
        };
        assert_eq!(
            known.kinds,
            HashMap::from([(
                "batch/v1".to_owned(),
                HashMap::from([("Job".to_owned(), Arc::new(job))])
            )])
        );
        assert!(known.stale.is_empty());
    }

    #[test]
    fn a_group_whose_server_does_not_answer_is_remembered_as_such() {
        let mut known = Known::default();
        assert!(known.read(&document("Stale", &json!([]))).is_ok());
        assert!(known.find("batch/v1", "Job").is_none());
        assert!(known.stale.contains("batch/v1"));
    }

    #[test]
    fn an_api_server_without_aggregated_discovery_is_told_apart() {
        let refused = Known::default().read(&json!({"kind": "APIGroupList", "groups": []}));
        assert_eq!(refused.err().and_then(|refusal| refusal.code()), Some(406));
    }

    #[test]
    fn a_name_stays_within_its_segment() {
        let kind = Kind::core("ConfigMap", "configmaps", true);
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
