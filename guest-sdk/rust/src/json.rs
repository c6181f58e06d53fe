//! Documents as text.
//!
//! Owns the way from a document to a type and back. Nothing is parsed before somebody reads
//! it, and then straight into the type that is wanted.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::Failure;

/// A JSON document. Absent is `null`, which is also the default.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Takes a text as it is. What is not JSON is found out by whoever reads it.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Writes a value.
    ///
    /// # Errors
    /// `DocumentInvalid` where `value` has no form in JSON, such as a map whose keys are
    /// not text.
    pub fn write(value: &impl Serialize) -> Result<Self, Failure> {
        serde_json::to_string(value)
            .map(Self)
            .map_err(|error| Failure::new("DocumentInvalid", format!("cannot write a document: {error}")))
    }

    /// Reads the document as a `T`.
    ///
    /// # Errors
    /// `DocumentInvalid` with what is wrong and where.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.0)
            .map_err(|error| Failure::new("DocumentInvalid", format!("cannot read a document: {error}")))
    }

    /// The document as it is.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0.trim() == "null"
    }

    /// The text of the document.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl Default for Json {
    fn default() -> Self {
        Self("null".to_owned())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
