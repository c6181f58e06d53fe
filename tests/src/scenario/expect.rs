//! What should be at the end, told from what was ordered alone.

use anyhow::Result;
use berth::{
    simulate::{cluster::Kubernetes, fleet::InMemory},
    world::{Cluster as _, Fleet as _},
};
use berth_engine::{
    contract::{AdapterStatus, Reference, Truth},
    effect::{FleetFault, KindScope, Observed, Ownership},
};
use serde_json::Value;

use super::{
    KINDS,
    adapters::{self, DNS, NAMESPACE, SIZING, VALIDATION},
    lives::Subject,
};

/// What an adapter should have said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The work was done.
    Done,
    /// The work exists, and failed.
    Failed,
    /// Nothing is done, and nothing is wrong.
    Idle,
}

/// The right end of one adapter for a subject that lives.
pub(super) fn end(all: &[Subject], subject: &Subject, adapter: &str) -> End {
    let on_gcp = subject.spec["provider"] == "gcp";
    let fails = subject.spec["outcome"] == "fail";
    match adapter {
        VALIDATION if !on_gcp => End::Idle,
        VALIDATION if fails => End::Failed,
        VALIDATION => End::Done,
        DNS if !on_gcp || fails => End::Idle,
        DNS => End::Done,
        _ => {
            let owner = subject.owner.and_then(|place| all.get(place));
            let has_dns = owner.is_some_and(|owner| end(all, owner, DNS) == End::Done);
            if has_dns && subject.spec["nodes"] != 0 {
                End::Done
            } else {
                End::Idle
            }
        }
    }
}

impl End {
    /// Applied, Available, Health.
    fn conditions(self) -> [(&'static str, Truth); 3] {
        let (applied, available) = match self {
            Self::Done => (Truth::True, Truth::True),
            Self::Failed => (Truth::True, Truth::False),
            Self::Idle => (Truth::False, Truth::False),
        };
        [("Applied", applied), ("Available", available), ("Health", Truth::True)]
    }
}

/// What is wrong with a subject now; none if all is as it should be.
pub(super) async fn wrong(
    all: &[Subject],
    subject: &Subject,
    fleet: &InMemory,
    kubernetes: &Kubernetes,
) -> Result<Option<String>> {
    let told = match fleet.get(&subject.path).await {
        Err(FleetFault::Gone) if subject.deleted => None,
        Ok(_) if subject.deleted => return Ok(Some("it was deleted and still exists".to_owned())),
        Ok(document) => Some(document),
        Err(fault) => return Ok(Some(fault.to_string())),
    };
    let rows = match &told {
        Some(document) if document["generation"] != subject.generation => {
            return Ok(Some(format!(
                "the API has generation {}, not {}",
                document["generation"], subject.generation
            )));
        }
        Some(_) => fleet.statuses(&subject.path).await?,
        None => Vec::new(),
    };
    for adapter in adapters::of_kind(subject.kind.name()) {
        let objects = objects(subject, adapter, kubernetes).await?;
        let problem = match &told {
            None => (!objects.is_empty()).then(|| format!("{} objects are left", objects.len())),
            Some(_) => {
                let wanted = end(all, subject, adapter);
                wrong_row(subject, adapter, wanted, &rows)
                    .or_else(|| wrong_objects(subject, adapter, wanted, &objects, kubernetes))
            }
        };
        if let Some(problem) = problem {
            return Ok(Some(format!("{adapter}: {problem}")));
        }
    }
    Ok(None)
}

async fn objects(subject: &Subject, adapter: &str, kubernetes: &Kubernetes) -> Result<Vec<Observed>> {
    let scope = |(api_version, kind): (&str, &str)| KindScope {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
    };
    let ownership = Ownership {
        adapter: adapter.to_owned(),
        subject: subject.key(),
        kinds: KINDS.map(scope).into(),
    };
    Ok(kubernetes.observe(&ownership).await?)
}

fn wrong_row(subject: &Subject, adapter: &str, wanted: End, rows: &[AdapterStatus]) -> Option<String> {
    let Some(row) = rows.iter().find(|row| row.adapter == adapter) else {
        return Some("it never reported".to_owned());
    };
    if row.observed_generation != subject.generation {
        return Some(format!("it reported generation {}", row.observed_generation));
    }
    let differs = |(kind, status): (&str, Truth)| row.condition(kind).is_none_or(|one| one.status != status);
    wanted
        .conditions()
        .into_iter()
        .any(differs)
        .then(|| format!("it should be {wanted:?}, and said {:?}", row.conditions))
}

fn wrong_objects(
    subject: &Subject,
    adapter: &str,
    wanted: End,
    objects: &[Observed],
    kubernetes: &Kubernetes,
) -> Option<String> {
    let counted = |kind: &str| objects.iter().filter(|one| one.reference.kind == kind).count();
    let current = |one: &Observed| one.generation == subject.generation && !one.deleting;
    let outdated = objects.iter().find(|one| !current(one));
    match (adapter, wanted) {
        (_, End::Idle) => None,
        (_, End::Done | End::Failed) if outdated.is_some() => Some(format!(
            "{} is not of generation {}",
            outdated.map(|one| one.reference.to_string()).unwrap_or_default(),
            subject.generation
        )),
        (VALIDATION, End::Failed) if counted("Job") != 1 => Some(format!("there are {} Jobs", counted("Job"))),
        // A Job that ended well may have been deleted by hand, and is not made again.
        (VALIDATION | SIZING, _) if objects.len() > 1 => Some(format!("there are {} Jobs", objects.len())),
        (DNS, _) if (counted("Deployment"), counted("ConfigMap")) != (1, 1) => {
            Some(format!("there are {} objects, not two", objects.len()))
        }
        (DNS, _) => {
            let zone = Reference {
                api_version: "v1".to_owned(),
                kind: "ConfigMap".to_owned(),
                namespace: Some(NAMESPACE.to_owned()),
                name: format!("zone-{}", subject.id),
            };
            let version = kubernetes.object(&zone).unwrap_or(Value::Null)["data"]["version"].clone();
            let wanted = subject.spec["version"].to_string();
            let right = version.as_str() == Some(wanted.as_str());
            (!right).then(|| format!("the ConfigMap has version {version}"))
        }
        (_, _) => None,
    }
}
