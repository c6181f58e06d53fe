//! Documents that many look at.
//!
//! The phases of a reconcile are asked about the same documents, each time as text. Guarantees that copies share the
//! document, and that its text and its hash are made once.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::canonical;

/// What the HyperFleet API writes into a resource when adapters report about it.
const WRITTEN_BY_THE_API: [&str; 2] = ["status", "updated_time"];

/// A JSON document that does not change.
#[derive(Clone, Default)]
pub struct Document(Arc<Written>);

#[derive(Default)]
struct Written {
    value: Value,
    text: OnceLock<Box<str>>,
    hash: OnceLock<[u8; 32]>,
    hash_without_status: OnceLock<[u8; 32]>,
}

impl Document {
    /// Reads a canonical text, and keeps it.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn from_canonical(text: String) -> serde_json::Result<Self> {
        Ok(Self(Arc::new(Written {
            value: serde_json::from_str(&text)?,
            text: OnceLock::from(text.into_boxed_str()),
            hash: OnceLock::new(),
            hash_without_status: OnceLock::new(),
        })))
    }

    /// Its canonical text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| canonical::text(&self.0.value).into())
    }

    /// The SHA-256 of its canonical text.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        self.0.hash.get_or_init(|| Sha256::digest(self.text()).into())
    }

    /// The SHA-256 of a HyperFleet resource without what the API itself writes when adapters report.
    #[must_use]
    pub fn hash_without_status(&self) -> &[u8; 32] {
        self.0.hash_without_status.get_or_init(|| {
            let mut hash = Sha256::new();
            let entries = self.0.value.as_object().into_iter().flatten();
            for (name, value) in entries.filter(|(name, _)| !WRITTEN_BY_THE_API.contains(&name.as_str())) {
                // A name ends where its text does, and so does a value.
                hash.update(canonical::text(&Value::from(name.as_str())));
                hash.update(canonical::text(value));
            }
            hash.finalize().into()
        })
    }

    /// The document alone; a copy, if others have it too.
    #[must_use]
    pub fn into_value(self) -> Value {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.value.clone(), |written| written.value)
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self(Arc::new(Written {
            value,
            text: OnceLock::new(),
            hash: OnceLock::new(),
            hash_without_status: OnceLock::new(),
        }))
    }
}

impl Deref for Document {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0.value
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.value == other.0.value
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.value.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Value::deserialize(from).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_its_value_wherever_it_came_from() {
        let document = Document::from(json!({"b": 1, "a": [null]}));
        assert_eq!(document.text(), r#"{"a":[null],"b":1}"#);
        assert_eq!(document["b"], 1);
        let read: Document = serde_json::from_str(document.text()).unwrap();
        assert_eq!(read, document);
        assert_ne!(read, Document::from(json!({"b": 2})));
        assert_eq!(serde_json::to_string(&document).unwrap(), document.text());
    }

    #[test]
    fn what_adapters_reported_makes_no_other_hash_without_it() {
        let hash = |document: Value| *Document::from(document).hash_without_status();
        let first = hash(json!({"id": "a", "spec": {"b": 1}, "status": {"c": 1}, "updated_time": "d"}));
        assert_eq!(first, hash(json!({"id": "a", "spec": {"b": 1}, "status": {"c": 2}})));
        for other in [
            json!({"id": "a", "spec": {"b": 2}}),
            json!({"id": "a", "spec": {"b": 1, "status": 1}}),
            json!({"id": "a", "spec": {"b": 1}, "more": null}),
            json!({"spec": {"b": 1}}),
            json!(null),
        ] {
            assert_ne!(first, hash(other));
        }
    }

    #[test]
    fn a_copy_shares_and_is_taken_out_as_its_own() {
        let document = Document::from(json!({"a": 1}));
        let copy = document.clone();
        assert!(std::ptr::eq(copy.text(), document.text()));
        assert_eq!(copy.into_value(), *document);
        assert_eq!(document.into_value(), json!({"a": 1}));
    }
}
