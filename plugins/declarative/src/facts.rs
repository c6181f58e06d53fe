//! What a phase may see, and how expressions and templates see it.
//!
//! Roots: `subject`, `owner`, `statuses`, `event`, `variables`, `adapter`, `now`; `objects` once there can be any;
//! `draft` for the status. A root that has nothing to show is null or an empty map, so that reading a field of it is
//! "not yet", never a mistake.

use serde_json::{Map, Value as Json, json};

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

/// All that a phase may see.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The adapter's name.
    pub adapter: String,
    /// The CloudEvent that caused this, if one did.
    pub event: Option<Json>,
    /// What it is about.
    pub subject: Subject,
    /// What all adapters last reported about the subject.
    pub statuses: Vec<AdapterStatus>,
    /// Variables, by name.
    pub variables: Vec<(String, String)>,
    /// When this reconcile began, RFC 3339.
    pub now: String,
    /// What the adapter owns, where the phase sees it.
    pub objects: Vec<Object>,
    /// What the host would report, where the phase sees it.
    pub draft: Option<Draft>,
}

/// A HyperFleet resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Subject {
    /// Its kind.
    pub kind: String,
    /// Its identifier.
    pub id: String,
    /// Its path in the API.
    pub href: String,
    /// Its generation.
    pub generation: u32,
    /// Whether its deletion has been asked for.
    pub deleting: bool,
    /// Its owner.
    pub owner: Option<Owner>,
    /// The whole resource.
    pub document: Json,
}

/// The resource that owns the subject.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Owner {
    /// Its kind.
    pub kind: String,
    /// Its identifier.
    pub id: String,
    /// Its path in the API.
    pub href: String,
    /// The whole resource, or null.
    pub document: Json,
    /// What adapters reported about it.
    pub statuses: Vec<AdapterStatus>,
}

/// What an adapter last reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdapterStatus {
    /// The adapter.
    pub adapter: String,
    /// The generation that it reported about.
    pub observed_generation: u32,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Its data.
    pub data: Json,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// Its type.
    pub type_name: String,
    /// Whether it holds.
    pub status: Truth,
    /// Its reason.
    pub reason: String,
    /// What it says.
    pub message: String,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// That is not known.
    Unknown,
}

impl Truth {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// An object that exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    /// Its name in the plan.
    pub name: String,
    /// The object.
    pub document: Json,
    /// What the host found out about it.
    pub diagnosis: Option<Diagnosis>,
}

/// What the host found out about an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Diagnosis {
    /// PascalCase.
    pub reason: String,
    /// The exit code that decided.
    pub exit_code: Option<i32>,
    /// The termination message that goes with it.
    pub termination: Option<String>,
    /// Which attempt this is.
    pub attempt: Option<u32>,
}

/// What the host would report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// Which case this is.
    pub journey: String,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// The operations with their effects and what they say.
    pub operations: Vec<OperationResult>,
}

/// What became of an operation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperationResult {
    /// Its name in the plan.
    pub name: String,
    /// `created`, `failed` and so on.
    pub effect: String,
    /// The reason of a failure.
    pub reason: Option<String>,
    /// Why it was skipped or failed.
    pub message: Option<String>,
}

impl Facts {
    /// The facts by root.
    #[must_use]
    pub fn roots(&self) -> Map<String, Json> {
        let variables: Map<_, _> = self
            .variables
            .iter()
            .map(|(name, value)| (name.clone(), Json::String(value.clone())))
            .collect();
        let objects: Map<_, _> = self
            .objects
            .iter()
            .map(|object| (object.name.clone(), show_object(object)))
            .collect();
        let roots = [
            ("adapter", json!({"name": self.adapter})),
            ("event", self.event.clone().unwrap_or_default()),
            ("now", Json::String(self.now.clone())),
            ("subject", show_subject(&self.subject)),
            ("owner", self.subject.owner.as_ref().map(show_owner).unwrap_or_default()),
            ("statuses", show_statuses(&self.statuses, Some(self.subject.generation))),
            ("variables", Json::Object(variables)),
            ("objects", Json::Object(objects)),
            ("draft", self.draft.as_ref().map(show_draft).unwrap_or_default()),
        ];
        roots
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// A document with what the host knows for certain on top.
fn show_subject(subject: &Subject) -> Json {
    let mut shown = object_or_empty(&subject.document);
    shown.insert("kind".to_owned(), subject.kind.clone().into());
    shown.insert("id".to_owned(), subject.id.clone().into());
    shown.insert("href".to_owned(), subject.href.clone().into());
    shown.insert("generation".to_owned(), subject.generation.into());
    shown.insert("deleting".to_owned(), subject.deleting.into());
    Json::Object(shown)
}

fn show_owner(owner: &Owner) -> Json {
    let generation = owner
        .document
        .get("generation")
        .and_then(Json::as_u64)
        .and_then(|generation| u32::try_from(generation).ok());
    let mut shown = object_or_empty(&owner.document);
    shown.insert("kind".to_owned(), owner.kind.clone().into());
    shown.insert("id".to_owned(), owner.id.clone().into());
    shown.insert("href".to_owned(), owner.href.clone().into());
    shown.insert("statuses".to_owned(), show_statuses(&owner.statuses, generation));
    Json::Object(shown)
}

/// `available` means: at the current generation, as far as that is known.
fn show_statuses(statuses: &[AdapterStatus], generation: Option<u32>) -> Json {
    let shown = statuses.iter().map(|status| {
        let available = Some(status.observed_generation) == generation
            && status
                .conditions
                .iter()
                .any(|condition| condition.type_name == "Available" && condition.status == Truth::True);
        let shown = json!({
            "observed_generation": status.observed_generation,
            "conditions": show_conditions(&status.conditions),
            "data": status.data,
            "available": available,
        });
        (status.adapter.clone(), shown)
    });
    Json::Object(shown.collect())
}

fn show_conditions(conditions: &[Condition]) -> Json {
    let shown = conditions.iter().map(|condition| {
        let Condition {
            type_name,
            status,
            reason,
            message,
        } = condition;
        (
            type_name.clone(),
            json!({"status": status.name(), "reason": reason, "message": message}),
        )
    });
    Json::Object(shown.collect())
}

fn show_object(object: &Object) -> Json {
    let mut shown = object_or_empty(&object.document);
    if let Some(diagnosis) = &object.diagnosis {
        shown.insert("reason".to_owned(), diagnosis.reason.clone().into());
        if let Some(code) = diagnosis.exit_code {
            shown.insert("exitCode".to_owned(), code.into());
        }
        if let Some(message) = &diagnosis.termination {
            shown.insert("termination".to_owned(), message.clone().into());
        }
        if let Some(attempt) = diagnosis.attempt {
            shown.insert("attempt".to_owned(), attempt.into());
        }
    }
    Json::Object(shown)
}

fn show_draft(draft: &Draft) -> Json {
    let operations = draft.operations.iter().map(|result| {
        let mut shown = Map::from_iter([("effect".to_owned(), result.effect.clone().into())]);
        shown.extend(
            result
                .reason
                .iter()
                .map(|reason| ("reason".to_owned(), reason.clone().into())),
        );
        shown.extend(
            result
                .message
                .iter()
                .map(|message| ("message".to_owned(), message.clone().into())),
        );
        (result.name.clone(), Json::Object(shown))
    });
    json!({
        "journey": draft.journey,
        "conditions": show_conditions(&draft.conditions),
        "operations": Json::Object(operations.collect()),
    })
}

fn object_or_empty(document: &Json) -> Map<String, Json> {
    document.as_object().cloned().unwrap_or_default()
}
