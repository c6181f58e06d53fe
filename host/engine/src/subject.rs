//! What a reconcile is about.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::Document;

/// A subject's generation, from 1. HyperFleet raises it with every change.
pub type Generation = u32;

/// Which subject: unique across kinds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubjectKey {
    /// The kind as HyperFleet spells it: `Cluster`, `NodePool`.
    pub kind: String,
    /// The identifier.
    pub id: String,
}

impl fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

/// Where a subject is found: what an event, or the annotations of an object, say of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectRef {
    /// Which one.
    pub key: SubjectKey,
    /// Its path in the HyperFleet API, beginning with `/`.
    pub href: String,
    /// The generation that the event spoke of; 0 if unknown.
    pub generation: Generation,
    /// Its owner, if it has one.
    pub owner: Option<OwnerRef>,
}

/// The resource that owns a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRef {
    /// Which one.
    pub key: SubjectKey,
    /// Its path in the HyperFleet API.
    pub href: String,
}

/// A subject as the HyperFleet API returned it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// Which one.
    pub key: SubjectKey,
    /// Its path in the HyperFleet API.
    pub href: String,
    /// Its generation.
    pub generation: Generation,
    /// Whether its deletion has been asked for (`deleted_time` is set).
    pub deleting: bool,
    /// Its owner, if it has one.
    pub owner: Option<OwnerRef>,
    /// The whole resource.
    pub document: Document,
}

/// What an event is, once it has been decoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The CloudEvent's `id`.
    pub id: String,
    /// The CloudEvent's `type`.
    pub kind: String,
    /// What it is about.
    pub subject: SubjectRef,
    /// The whole event in its JSON format.
    pub document: Document,
}

/// Why a resource of the HyperFleet API cannot be read as a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the resource has no usable `{field}`: {problem}")]
pub struct NotASubject {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Subject {
    /// Reads a resource of the API. `href` is the path that it was fetched from; the
    /// resource's own is preferred if it has one.
    ///
    /// # Errors
    /// When `id`, `kind` or `generation` is missing or has another type.
    pub fn from_document(document: Document, href: &str) -> Result<Self, NotASubject> {
        let text = |field: &'static str| match document.field(field).map(Cow::into_owned) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            Some(other) => Err(NotASubject {
                field,
                problem: format!("{other} is not a text"),
            }),
            None => Err(NotASubject {
                field,
                problem: "missing".to_owned(),
            }),
        };
        let generation = document
            .field("generation")
            .and_then(|generation| Generation::try_from(generation.as_u64()?).ok())
            .filter(|generation| *generation > 0)
            .ok_or_else(|| NotASubject {
                field: "generation",
                problem: "not a whole number from 1".to_owned(),
            })?;
        let owner = document.field("owner_references");
        let owner = owner.and_then(|owner| OwnerRef::from_document(&owner));
        Ok(Self {
            key: SubjectKey {
                kind: text("kind")?,
                id: text("id")?,
            },
            href: text("href").unwrap_or_else(|_| href.to_owned()),
            generation,
            deleting: document.field("deleted_time").is_some_and(|time| !time.is_null()),
            owner,
            document,
        })
    }
}

impl OwnerRef {
    /// Reads `owner_references`, an object or the first of a list.
    #[must_use]
    pub fn from_document(document: &Value) -> Option<Self> {
        let one = match document {
            Value::Array(list) => list.first()?,
            one => one,
        };
        let text = |field: &str| one.get(field)?.as_str().map(str::to_owned);
        Some(Self {
            key: SubjectKey {
                kind: text("kind")?,
                id: text("id")?,
            },
            href: text("href").unwrap_or_default(),
        })
    }
}
