//! What should be at the end, told from what was ordered alone.

use anyhow::Result;
use berth::{
    simulate::{cluster::Kubernetes, fleet::InMemory},
    world::{Cluster as _, Fleet as _},
};
use berth_engine::{
    contract::{AdapterStatus, Truth},
    effect::{FleetFault, KindScope, Observed, Ownership},
    reason::Reason,
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
    /// It is not this adapter's.
    NotApplicable,
    /// Something must happen first.
    Waiting,
}

/// The right end of one adapter for a subject that lives.
pub(super) fn end(all: &[Subject], subject: &Subject, adapter: &str) -> End {
    let on_gcp = subject.spec["provider"] == "gcp";
    let fails = subject.spec["outcome"] == "fail";
    match adapter {
        VALIDATION | DNS if !on_gcp => End::NotApplicable,
        VALIDATION if fails => End::Failed,
        DNS if fails => End::Waiting,
        VALIDATION | DNS => End::Done,
        _ => {
            let owner = subject.owner.and_then(|place| all.get(place));
            let has_dns = owner.is_some_and(|owner| end(all, owner, DNS) == End::Done);
            if has_dns && subject.spec["nodes"] != 0 {
                End::Done
            } else {
                End::Waiting
            }
        }
    }
}

/// Whether a spec orders objects of an adapter, once what it depends on is there.
fn orders(spec: &Value, adapter: &str) -> bool {
    match adapter {
        VALIDATION => spec["provider"] == "gcp",
        DNS => spec["provider"] == "gcp" && spec["outcome"] != "fail",
        _ => spec["nodes"].as_u64().is_some_and(|nodes| nodes > 0),
    }
}

impl End {
    /// Applied, Available, Health, and why.
    fn conditions(self) -> [(&'static str, Truth, Reason); 3] {
        let exists = (Truth::True, Reason::ResourcesCreated);
        let (applied, available) = match self {
            Self::Done => (exists, (Truth::True, Reason::PostconditionsMet)),
            Self::Failed => (exists, (Truth::False, Reason::WorkloadFailed)),
            Self::NotApplicable => {
                let nothing = (Truth::False, Reason::NotApplicable);
                (nothing, nothing)
            }
            Self::Waiting => {
                let nothing = (Truth::False, Reason::PreconditionsNotMet);
                (nothing, nothing)
            }
        };
        [
            ("Applied", applied.0, applied.1),
            ("Available", available.0, available.1),
            ("Health", Truth::True, Reason::NoErrors),
        ]
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
    let differs = |(kind, status, reason): (&str, Truth, Reason)| {
        row.condition(kind)
            .is_none_or(|one| one.status != status || one.reason != reason.name())
    };
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
    if let Some(problem) = objects
        .iter()
        .find_map(|one| wrong_object(subject, adapter, one, kubernetes))
    {
        return Some(problem);
    }
    let jobs = objects.iter().filter(|one| one.reference.kind == "Job").count();
    let is_outdated = |one: &&Observed| one.generation != subject.generation;
    match (adapter, wanted) {
        // What earlier generations ordered stays until there is something in its place.
        (_, End::NotApplicable | End::Waiting) => None,
        (_, End::Done | End::Failed) if objects.iter().any(|one| is_outdated(&one)) => {
            let outdated = objects.iter().find(is_outdated).map(|one| one.reference.to_string());
            Some(format!(
                "{} is not of generation {}",
                outdated.unwrap_or_default(),
                subject.generation
            ))
        }
        (VALIDATION, End::Failed) if jobs != 1 => Some(format!("there are {jobs} Jobs")),
        // A Job that ended well may have been deleted by hand, and is not made again.
        (VALIDATION | SIZING, _) if objects.len() > 1 => Some(format!("there are {} objects", objects.len())),
        (DNS, _) if objects.len() != 2 => Some(format!("there are {} objects, not two", objects.len())),
        (_, _) => None,
    }
}

/// What is wrong with an object, whatever else there is: it must be what its generation ordered.
fn wrong_object(subject: &Subject, adapter: &str, object: &Observed, kubernetes: &Kubernetes) -> Option<String> {
    let (reference, generation) = (&object.reference, object.generation);
    let spec = subject.spec_of(generation);
    if object.deleting {
        return Some(format!("{reference} is still being deleted"));
    }
    if !orders(spec, adapter) {
        return Some(format!(
            "{reference} is of generation {generation}, which did not order it: {spec}"
        ));
    }
    let id = &subject.id;
    let named: &[(&str, String)] = match adapter {
        VALIDATION => &[("Job", format!("check-{id}"))],
        DNS => &[
            ("Deployment", format!("server-{id}")),
            ("ConfigMap", format!("zone-{id}")),
        ],
        _ => &[("Job", format!("size-{id}-{generation}"))],
    };
    let is_named = |(kind, name): &(&str, String)| *kind == reference.kind && *name == reference.name;
    if !named.iter().any(is_named) {
        return Some(format!("{reference} was never ordered"));
    }
    if reference.kind != "ConfigMap" {
        return None;
    }
    let version = kubernetes.object(reference).unwrap_or(Value::Null)["data"]["version"].clone();
    let right = version.as_str() == Some(spec["version"].to_string().as_str());
    (!right).then(|| format!("{reference} has version {version}, and {spec} was ordered"))
}
