//! Documents that many look at.
//!
//! The phases of a reconcile are asked about the same documents, each time as text. Guarantees that copies share the
//! document, that its text and its hash are made once, and that of a kept text no more is parsed than is read.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::canonical;

/// What the HyperFleet API writes into a resource when adapters report about it.
const WRITTEN_BY_THE_API: [&str; 2] = ["status", "updated_time"];

/// A JSON document that does not change.
#[derive(Clone, Default)]
pub struct Document(Arc<Written>);

#[derive(Default)]
struct Written {
    outline: Value,
    /// The whole, where the outline is less.
    whole: Option<OnceLock<Value>>,
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
        let mut is_whole = true;
        let mut parser = serde_json::Deserializer::from_str(&text);
        let outline = Outline {
            below: &OUTLINE,
            is_whole: &mut is_whole,
        };
        let outline = outline.deserialize(&mut parser)?;
        parser.end()?;
        Ok(Self(Arc::new(Written {
            outline,
            whole: (!is_whole).then(OnceLock::new),
            text: OnceLock::from(text.into_boxed_str()),
            hash: OnceLock::new(),
            hash_without_status: OnceLock::new(),
        })))
    }

    /// The document without what only plugins read: the templates of a workload's pods may be left out.
    #[must_use]
    pub fn outline(&self) -> &Value {
        &self.0.outline
    }

    /// Its canonical text.
    #[must_use]
    pub fn text(&self) -> &str {
        // What has less of an outline was made of its text.
        self.0.text.get_or_init(|| canonical::text(&self.0.outline).into())
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
            let entries = self.as_object().into_iter().flatten();
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
        match Arc::try_unwrap(self.0) {
            Err(shared) => Self(shared).deref().clone(),
            Ok(Written {
                outline, whole: None, ..
            }) => outline,
            Ok(written) => Self(Arc::new(written)).deref().clone(),
        }
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self(Arc::new(Written {
            outline: value,
            whole: None,
            text: OnceLock::new(),
            hash: OnceLock::new(),
            hash_without_status: OnceLock::new(),
        }))
    }
}

impl Deref for Document {
    type Target = Value;

    fn deref(&self) -> &Value {
        match &self.0.whole {
            None => &self.0.outline,
            // The text was parsed before, but for what was skipped.
            Some(whole) => whole.get_or_init(|| serde_json::from_str(self.text()).unwrap_or_default()),
        }
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.deref().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Value::deserialize(from).map(Self::from)
    }
}

/// What an outline leaves out below some fields.
struct Skipped(&'static [(&'static str, Skipped)]);

/// The templates of pods, which are the larger part of a workload.
const OUTLINE: Skipped = Skipped(&[(
    "spec",
    Skipped(&[("template", Skipped(&[])), ("jobTemplate", Skipped(&[]))]),
)]);

/// Reads an outline.
struct Outline<'o> {
    below: &'static Skipped,
    is_whole: &'o mut bool,
}

impl<'de> DeserializeSeed<'de> for Outline<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Outline<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Outline { below, is_whole } = self;
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = match below.0.iter().find(|(known, _)| *known == name) {
                None => entries.next_value()?,
                Some((_, Skipped([]))) => {
                    entries.next_value::<IgnoredAny>()?;
                    *is_whole = false;
                    continue;
                }
                Some((_, below)) => entries.next_value_seed(Outline { below, is_whole })?,
            };
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(items))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
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
    fn an_outline_is_the_document_but_for_templates() {
        let whole = json!({
            "kind": "Job", "metadata": {"name": "a", "template": 1}, "template": [1.5, -2, null, true],
            "spec": {"suspend": false, "template": {"spec": {"containers": [1]}}, "jobTemplate": {}},
        });
        let read = || Document::from_canonical(canonical::text(&whole)).unwrap();
        let mut outline = whole.clone();
        let spec = outline["spec"].as_object_mut().unwrap();
        spec.remove("template");
        spec.remove("jobTemplate");
        assert_eq!(*read().outline(), outline);
        assert_eq!(*read(), whole);
        assert_eq!(read(), Document::from(whole.clone()));
        assert_eq!(read().text(), canonical::text(&whole));
        assert_eq!(read().hash(), Document::from(whole.clone()).hash());
        assert_eq!(read().into_value(), whole);
        let shared = read();
        assert_eq!(shared.clone().into_value(), whole);
        assert_eq!(serde_json::to_value(&shared).unwrap(), whole);

        for other in [
            json!(null),
            json!([{"spec": 1}]),
            json!("a"),
            json!({"spec": 1}),
            json!({"spec": {"replicas": 2}}),
        ] {
            let read = Document::from_canonical(canonical::text(&other)).unwrap();
            assert_eq!((read.outline(), &*read), (&other, &other));
        }
        assert_eq!(*Document::from(whole.clone()).outline(), whole);
        for bad in ["", "{} {}", r#"{"spec":{"template":{"a"}}}"#] {
            assert!(Document::from_canonical(bad.to_owned()).is_err(), "{bad}");
        }
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
