//! What a phase may see, and how expressions and templates see it.
//!
//! Roots: `subject`, `owner`, `statuses`, `event`, `variables`, `adapter`, `now`; `objects` once there can be any;
//! `draft` for the status. A root that has nothing to show is null or an empty map, so that reading a field of it is
//! "not yet", never a mistake.

use berth_sdk::Trigger;
use berth_sdk::{AdapterStatus, Condition, Draft, Effect, Facts, Failure, Object, Owner, Subject, Truth};
use serde_json::{Map, Value as Json, json};

use crate::program::Reads;

/// Roots that every phase has.
pub const ROOTS: &[&str] = &["adapter", "event", "now", "owner", "statuses", "subject", "variables"];
/// Roots of the phases that see objects.
pub const ROOTS_WITH_OBJECTS: &[&str] = &[
    "adapter",
    "event",
    "now",
    "objects",
    "owner",
    "statuses",
    "subject",
    "variables",
];
/// Roots of the status phase.
pub const ROOTS_WITH_DRAFT: &[&str] = &[
    "adapter",
    "draft",
    "event",
    "now",
    "objects",
    "owner",
    "statuses",
    "subject",
    "variables",
];

/// The facts by root: those that are read, and the small ones.
///
/// # Errors
/// When a document that the host hands over is not JSON.
pub(crate) fn roots(
    reads: &Reads<'_>,
    facts: &Facts,
    objects: &[Object],
    draft: Option<&Draft>,
) -> Result<Map<String, Json>, Failure> {
    let variables: Map<_, _> = facts
        .variables
        .iter()
        .map(|(name, value)| (name.clone(), Json::String(value.clone())))
        .collect();
    let mut roots = Map::from_iter([
        ("adapter".to_owned(), json!({"name": facts.adapter})),
        ("now".to_owned(), Json::String(facts.now.clone())),
        ("variables".to_owned(), Json::Object(variables)),
    ]);
    if reads.has("event") {
        let event = match &facts.trigger {
            Trigger::Event(event) => event.read()?,
            Trigger::Change(_) | Trigger::Timer => Json::Null,
        };
        roots.insert("event".to_owned(), event);
    }
    if reads.has("subject") {
        roots.insert("subject".to_owned(), show_subject(&facts.subject)?);
    }
    if reads.has("owner") {
        let owner = facts.subject.owner.as_ref().map(show_owner).transpose()?;
        roots.insert("owner".to_owned(), owner.unwrap_or_default());
    }
    if reads.has("statuses") {
        let statuses = show_statuses(&facts.statuses, Some(facts.subject.generation))?;
        roots.insert("statuses".to_owned(), statuses);
    }
    if reads.has("objects") {
        let mut shown = Map::new();
        // Names are not unique: what a query found comes after our own objects.
        for object in objects.iter().rev() {
            shown.insert(object.name.clone(), show_object(object)?);
        }
        roots.insert("objects".to_owned(), Json::Object(shown));
    }
    if reads.has("draft") {
        roots.insert("draft".to_owned(), draft.map(show_draft).unwrap_or_default());
    }
    Ok(roots)
}

/// A document with what the host knows for certain on top.
fn show_subject(subject: &Subject) -> Result<Json, Failure> {
    let mut shown = object_or_empty(subject.document.read()?);
    shown.insert("kind".to_owned(), subject.kind.clone().into());
    shown.insert("id".to_owned(), subject.id.clone().into());
    shown.insert("href".to_owned(), subject.href.clone().into());
    shown.insert("generation".to_owned(), subject.generation.into());
    shown.insert("deleting".to_owned(), subject.deleting.into());
    Ok(Json::Object(shown))
}

fn show_owner(owner: &Owner) -> Result<Json, Failure> {
    let mut shown = object_or_empty(owner.document.read()?);
    let generation = shown
        .get("generation")
        .and_then(Json::as_u64)
        .and_then(|value| u32::try_from(value).ok());
    shown.insert("kind".to_owned(), owner.kind.clone().into());
    shown.insert("id".to_owned(), owner.id.clone().into());
    shown.insert("href".to_owned(), owner.href.clone().into());
    shown.insert("statuses".to_owned(), show_statuses(&owner.statuses, generation)?);
    Ok(Json::Object(shown))
}

/// `available` means: at the current generation, as far as that is known.
fn show_statuses(statuses: &[AdapterStatus], generation: Option<u32>) -> Result<Json, Failure> {
    let mut shown = Map::new();
    for status in statuses {
        let available = Some(status.observed_generation) == generation
            && status
                .condition("Available")
                .is_some_and(|condition| condition.status == Truth::True);
        let one = json!({
            "observed_generation": status.observed_generation,
            "conditions": show_conditions(&status.conditions),
            "data": status.data.read::<Json>()?,
            "available": available,
        });
        shown.insert(status.adapter.clone(), one);
    }
    Ok(Json::Object(shown))
}

fn show_conditions(conditions: &[Condition]) -> Json {
    let shown = conditions.iter().map(|condition| {
        let Condition {
            kind,
            status,
            reason,
            message,
        } = condition;
        (
            kind.clone(),
            json!({"status": status, "reason": reason, "message": message}),
        )
    });
    Json::Object(shown.collect())
}

fn show_object(object: &Object) -> Result<Json, Failure> {
    let mut shown = object_or_empty(object.document.read()?);
    if let Some(diagnosis) = &object.diagnosis {
        shown.insert("reason".to_owned(), diagnosis.reason.clone().into());
        if let Some(code) = diagnosis.exit_code {
            shown.insert("exitCode".to_owned(), code.into());
        }
        if let Some(message) = &diagnosis.termination_message {
            shown.insert("termination".to_owned(), message.clone().into());
        }
        if let Some(attempt) = diagnosis.attempt {
            shown.insert("attempt".to_owned(), attempt.into());
        }
    }
    Ok(Json::Object(shown))
}

fn show_draft(draft: &Draft) -> Json {
    let operations = draft.operations.iter().map(|result| {
        let (effect, reason, message) = match &result.effect {
            Effect::Created => ("created", None, None),
            Effect::Updated => ("updated", None, None),
            Effect::Recreated => ("recreated", None, None),
            Effect::Unchanged => ("unchanged", None, None),
            Effect::Deleted => ("deleted", None, None),
            Effect::Absent => ("absent", None, None),
            Effect::Found => ("found", None, None),
            Effect::Skipped(why) => ("skipped", None, Some(why)),
            Effect::Failed(failure) => ("failed", Some(&failure.reason), Some(&failure.message)),
        };
        let mut shown = Map::from_iter([("effect".to_owned(), effect.into())]);
        shown.extend(reason.map(|reason| ("reason".to_owned(), reason.clone().into())));
        shown.extend(message.map(|message| ("message".to_owned(), message.clone().into())));
        (result.name.clone(), Json::Object(shown))
    });
    json!({
        "journey": draft.journey,
        "conditions": show_conditions(&draft.conditions),
        "operations": Json::Object(operations.collect()),
    })
}

fn object_or_empty(document: Json) -> Map<String, Json> {
    match document {
        Json::Object(document) => document,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => Map::new(),
    }
}
