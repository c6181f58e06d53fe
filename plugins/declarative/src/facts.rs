//! What a phase may see, and how expressions and templates see it.
//!
//! Roots: `subject`, `owner`, `statuses`, `event`, `variables`, `adapter`, `now`; `objects` once there can be any;
//! `draft` for the status. A root that has nothing to show is null or an empty map, so that reading a field of it is
//! "not yet", never a mistake.

use berth_sdk::{AdapterStatus, Condition, Draft, Effect, Facts, Failure, Object, Owner, Subject, Trigger, Truth};
use serde_json::{Map, Value as Json, json};

use crate::reads::Reads;

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

/// The facts by root: what is read of them.
///
/// # Errors
/// When a document that the host hands over is not JSON.
pub(crate) fn roots(
    reads: &Reads,
    facts: &Facts,
    objects: &[Object],
    draft: Option<&Draft>,
) -> Result<Map<String, Json>, Failure> {
    let mut roots = Map::new();
    let mut add = |name: &str, show: &dyn Fn(&Reads) -> Result<Json, Failure>| {
        if let Some(reads) = reads.of(name) {
            roots.insert(name.to_owned(), show(reads)?);
        }
        Ok::<_, Failure>(())
    };
    add("now", &|_| Ok(facts.now.clone().into()))?;
    add("adapter", &|_| Ok(json!({"name": facts.adapter})))?;
    add("variables", &|_| {
        let variables = facts.variables.iter();
        Ok(variables
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect::<Map<_, _>>()
            .into())
    })?;
    add("event", &|reads| match &facts.trigger {
        Trigger::Event(event) => reads.document(event),
        Trigger::Change(_) | Trigger::Timer => Ok(Json::Null),
    })?;
    add("subject", &|reads| show_subject(&facts.subject, reads))?;
    add("owner", &|reads| {
        let owner = facts.subject.owner.as_ref();
        Ok(owner
            .map(|owner| show_owner(owner, reads))
            .transpose()?
            .unwrap_or_default())
    })?;
    add("statuses", &|reads| {
        show_statuses(&facts.statuses, Some(facts.subject.generation), reads)
    })?;
    add("objects", &|reads| {
        let mut shown = Map::new();
        // Names are not unique: what a query found comes after our own objects.
        for object in objects.iter().rev() {
            if let Some(reads) = reads.of(&object.name) {
                shown.insert(object.name.clone(), show_object(object, reads)?);
            }
        }
        Ok(shown.into())
    })?;
    add("draft", &|_| Ok(draft.map(show_draft).unwrap_or_default()))?;
    Ok(roots)
}

/// The fields of a document that are read, and those that the host says itself, which count.
fn with_document(document: &berth_sdk::Json, reads: &Reads, said: Vec<(&str, Json)>) -> Result<Json, Failure> {
    let known: Vec<&str> = said.iter().map(|(name, _)| *name).collect();
    let mut shown = if reads.has_others_than(&known) {
        object_or_empty(reads.document(document)?)
    } else {
        Map::new()
    };
    for (name, value) in said {
        if reads.of(name).is_some() {
            shown.insert(name.to_owned(), value);
        }
    }
    Ok(shown.into())
}

/// A document with what the host knows for certain on top.
fn show_subject(subject: &Subject, reads: &Reads) -> Result<Json, Failure> {
    let said = vec![
        ("kind", subject.kind.clone().into()),
        ("id", subject.id.clone().into()),
        ("href", subject.href.clone().into()),
        ("generation", subject.generation.into()),
        ("deleting", subject.deleting.into()),
    ];
    with_document(&subject.document, reads, said)
}

fn show_owner(owner: &Owner, reads: &Reads) -> Result<Json, Failure> {
    let mut said = vec![
        ("kind", owner.kind.clone().into()),
        ("id", owner.id.clone().into()),
        ("href", owner.href.clone().into()),
    ];
    if let Some(reads) = reads.of("statuses") {
        let mut generation = Reads::default();
        generation.add(["generation"]);
        let generation = generation.document(&owner.document)?["generation"].as_u64();
        let generation = generation.and_then(|generation| u32::try_from(generation).ok());
        said.push(("statuses", show_statuses(&owner.statuses, generation, reads)?));
    }
    with_document(&owner.document, reads, said)
}

/// `available` means: at the current generation, as far as that is known.
fn show_statuses(statuses: &[AdapterStatus], generation: Option<u32>, reads: &Reads) -> Result<Json, Failure> {
    let mut shown = Map::new();
    for status in statuses {
        let Some(reads) = reads.of(&status.adapter) else {
            continue;
        };
        let available = Some(status.observed_generation) == generation
            && status
                .condition("Available")
                .is_some_and(|condition| condition.status == Truth::True);
        let data = reads.of("data").map(|reads| reads.document(&status.data)).transpose()?;
        let one = json!({
            "observed_generation": status.observed_generation,
            "conditions": show_conditions(&status.conditions),
            "data": data.unwrap_or_default(),
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

fn show_object(object: &Object, reads: &Reads) -> Result<Json, Failure> {
    let mut said = Vec::new();
    if let Some(diagnosis) = &object.diagnosis {
        said.push(("reason", diagnosis.reason.clone().into()));
        said.extend(diagnosis.exit_code.map(|code| ("exitCode", code.into())));
        let message = diagnosis.termination_message.clone();
        said.extend(message.map(|message| ("termination", message.into())));
        said.extend(diagnosis.attempt.map(|attempt| ("attempt", attempt.into())));
    }
    with_document(&object.document, reads, said)
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
