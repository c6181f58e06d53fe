//! The configuration as the host's document loader writes it.
//!
//! Owns the shape only. What the texts in it mean is checked in [`crate::program`].

use serde::Deserialize;
use serde_json::{Map, Value};

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// When the adapter may act.
    pub preconditions: Vec<Precondition>,
    /// What should exist.
    pub resources: Vec<Resource>,
    /// When the work is done.
    pub postconditions: Vec<Postcondition>,
    /// What is reported beyond the host's draft.
    pub status: Status,
}

/// A step that must hold before anything is created.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Precondition {
    /// Unique among the preconditions.
    pub name: String,
    /// Gives true when it is met.
    pub expression: String,
    /// What it means that it is false.
    #[serde(default)]
    pub otherwise: Otherwise,
    /// What is said when it is not met; a template.
    pub message: Option<String>,
    /// When to ask again without an event.
    pub recheck_after_ms: Option<u32>,
}

/// What it means that a precondition is false.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
pub enum Otherwise {
    /// Not yet.
    #[default]
    Wait,
    /// The subject is not this adapter's concern.
    NotApplicable,
}

/// An object that should exist.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// Unique among the resources; names the object in `objects`.
    pub name: String,
    /// An object whose texts are templates, or one template that gives YAML.
    pub manifest: Value,
    /// Gives true when the object is wanted.
    pub when: Option<String>,
    /// Whether it is deleted and made again when it changed.
    #[serde(default)]
    pub recreate: bool,
    /// Names of resources that must be applied first.
    #[serde(default)]
    pub after: Vec<String>,
    /// In which part of the subject's life it exists.
    #[serde(default)]
    pub during: During,
}

/// In which part of the subject's life an object exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
pub enum During {
    /// Until the subject is being deleted.
    #[default]
    Life,
    /// Only while the subject is being deleted.
    Deletion,
    /// Always.
    Both,
}

impl During {
    /// Whether the object is planned now.
    #[must_use]
    pub fn includes(self, deleting: bool) -> bool {
        match self {
            Self::Life => !deleting,
            Self::Deletion => deleting,
            Self::Both => true,
        }
    }
}

/// A step that must hold for the work to be done.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Postcondition {
    /// Unique among the postconditions.
    pub name: String,
    /// Gives true when it is done.
    pub expression: String,
    /// What is said while it is not; a template.
    pub message: Option<String>,
    /// When the work has failed for good.
    pub failed: Option<Failed>,
}

/// When the work has failed for good.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failed {
    /// Gives true when it has.
    pub expression: String,
    /// The condition's reason: PascalCase.
    pub reason: String,
    /// What is said; a template.
    pub message: Option<String>,
}

/// What is reported beyond the host's draft.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Status {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Data: texts are templates, `{expression: …}` is a typed value.
    pub data: Map<String, Value>,
}

/// A condition of the report.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// Its type: PascalCase, unique.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Gives true or false, or one of the texts `True`, `False`, `Unknown`.
    pub expression: String,
    /// Its reason; a template that gives PascalCase. By default `ExpressionTrue`, `ExpressionFalse` or
    /// `ExpressionUnknown`.
    pub reason: Option<String>,
    /// What it says; a template.
    pub message: Option<String>,
}
