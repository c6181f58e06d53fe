//! Documents that many look at.
//!
//! The phases of a reconcile are asked about the same documents, each time as text. Guarantees that copies share the
//! document, that its text and its hash are made once, and that of a kept text no more is parsed than is read.

mod outline;
mod received;

use std::{
    borrow::Cow,
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::{
    outline::Outline,
    received::{Received, Sound},
};
use crate::{canonical, job::Job};

/// What the HyperFleet API writes into a resource when adapters report about it.
const WRITTEN_BY_THE_API: [&str; 2] = ["status", "updated_time"];

/// A SHA-256.
pub type DocumentHash = [u8; 32];

/// A JSON document that does not change.
#[derive(Clone)]
pub struct Document(Arc<Written>);

struct Written {
    origin: Origin,
    text: OnceLock<Box<str>>,
    outline: OnceLock<Outline>,
    /// The whole, where the outline is less.
    whole: OnceLock<Value>,
    job: OnceLock<Job>,
    hash: OnceLock<DocumentHash>,
    hash_without_status: OnceLock<DocumentHash>,
}

/// Where a document comes from.
enum Origin {
    Value(Value),
    /// Gives its canonical text, which is kept in less room.
    Text(Box<dyn Fn() -> String + Send + Sync>),
    /// An object as it was received.
    Received(Received),
}

impl Document {
    /// A document whose canonical text is given by `text` when it is needed. What is no JSON is null.
    #[must_use]
    pub fn kept(text: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Written::of(Origin::Text(Box::new(text))).into()
    }

    /// The same, of which its hash, and what it says of a Job's run, are known and need no text.
    #[must_use]
    pub fn known(hash: DocumentHash, job: Option<Job>, text: impl Fn() -> String + Send + Sync + 'static) -> Self {
        let written = Written {
            hash: OnceLock::from(hash),
            job: job.map(OnceLock::from).unwrap_or_default(),
            ..Written::of(Origin::Text(Box::new(text)))
        };
        written.into()
    }

    /// Reads what was received. All of it is checked, and of an object no more is kept parsed than is read.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn received(body: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice::<Sound>(body)?;
        let fields = std::str::from_utf8(body).ok().and_then(Received::of);
        match fields {
            Some(received) => Ok(Written::of(Origin::Received(received)).into()),
            None => serde_json::from_slice::<Value>(body).map(Self::from),
        }
    }

    /// A field, if it is an object that has it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Cow<'_, Value>> {
        match &self.0.origin {
            Origin::Received(received) => received.field(name).map(Cow::Owned),
            Origin::Value(_) | Origin::Text(_) => self.outline().get(name).map(Cow::Borrowed),
        }
    }

    /// The document without what only plugins read: the templates of a workload's pods may be left out.
    #[must_use]
    pub fn outline(&self) -> &Value {
        match &self.0.origin {
            Origin::Value(value) => value,
            Origin::Text(_) => &self.read().value,
            Origin::Received(_) => self,
        }
    }

    /// Of a text: its outline.
    fn read(&self) -> &Outline {
        self.0
            .outline
            .get_or_init(|| Outline::of(self.text()).unwrap_or_default())
    }

    /// Its canonical text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| match &self.0.origin {
            Origin::Value(value) => canonical::text(value).into(),
            Origin::Text(text) => text().into(),
            Origin::Received(_) => canonical::text(self).into(),
        })
    }

    /// What it says of a Job's run.
    #[must_use]
    pub fn job(&self) -> &Job {
        self.0.job.get_or_init(|| Job::of(self.outline()))
    }

    /// The SHA-256 of its canonical text.
    #[must_use]
    pub fn hash(&self) -> &DocumentHash {
        self.0.hash.get_or_init(|| Sha256::digest(self.text()).into())
    }

    /// A SHA-256 of a HyperFleet resource without what the API itself writes when adapters report. Of what was received
    /// it is that of another writing if the API writes it another way.
    #[must_use]
    pub fn hash_without_status(&self) -> &DocumentHash {
        let counts = |name: &str| !WRITTEN_BY_THE_API.contains(&name);
        let hash = || match &self.0.origin {
            Origin::Received(received) => received.hash(counts),
            Origin::Value(_) | Origin::Text(_) => {
                let entries = self.as_object().into_iter().flatten();
                let counting = entries.filter(|(name, _)| counts(name));
                Sha256::digest(canonical::some(counting)).into()
            }
        };
        self.0.hash_without_status.get_or_init(hash)
    }

    /// The document alone; a copy, if others have it too.
    #[must_use]
    pub fn into_value(self) -> Value {
        match Arc::try_unwrap(self.0) {
            Err(shared) => Self(shared).deref().clone(),
            Ok(Written {
                origin: Origin::Value(value),
                ..
            }) => value,
            Ok(Written {
                origin: Origin::Text(read),
                text,
                ..
            }) => {
                let text = text.into_inner().unwrap_or_else(|| read().into());
                serde_json::from_str(&text).unwrap_or_default()
            }
            Ok(Written {
                origin: Origin::Received(received),
                whole,
                ..
            }) => whole.into_inner().unwrap_or_else(|| received.whole()),
        }
    }
}

impl Written {
    fn of(origin: Origin) -> Self {
        Self {
            origin,
            text: OnceLock::new(),
            outline: OnceLock::new(),
            whole: OnceLock::new(),
            job: OnceLock::new(),
            hash: OnceLock::new(),
            hash_without_status: OnceLock::new(),
        }
    }
}

impl From<Written> for Document {
    fn from(written: Written) -> Self {
        Self(Arc::new(written))
    }
}

impl Default for Document {
    fn default() -> Self {
        Self::from(Value::Null)
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Written::of(Origin::Value(value)).into()
    }
}

impl Deref for Document {
    type Target = Value;

    fn deref(&self) -> &Value {
        match &self.0.origin {
            Origin::Value(value) => value,
            Origin::Received(received) => self.0.whole.get_or_init(|| received.whole()),
            Origin::Text(_) => {
                let outline = self.read();
                if outline.is_whole {
                    return &outline.value;
                }
                // The text was parsed before, but for what was skipped.
                let parse = || serde_json::from_str(self.text()).unwrap_or_default();
                self.0.whole.get_or_init(parse)
            }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        let text = canonical::text(&whole);
        let read = || {
            let text = text.clone();
            Document::kept(move || text.clone())
        };
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
            let text = canonical::text(&other);
            let read = Document::kept(move || text.clone());
            assert_eq!((read.outline(), &*read), (&other, &other));
            assert_eq!(read.into_value(), other);
        }
        assert_eq!(*Document::from(whole.clone()).outline(), whole);
        for bad in ["", "{} {}", r#"{"spec":{"template":{"a"}}}"#] {
            let read = Document::kept(|| bad.to_owned());
            assert_eq!((read.outline(), &*read), (&Value::Null, &Value::Null), "{bad}");
        }
    }

    #[test]
    fn what_was_received_is_the_same_document() {
        let plain = r#" {"id": "a", "name": "b\n", "spec": {"x": [1.0, "\u00fc"]}, "id": "c", "deleted_time": null} "#;
        // A name may be written in many ways.
        let escaped = plain.replace("name", r"na\u006de");
        for body in [plain, &escaped] {
            let received = || Document::received(body.as_bytes()).unwrap();
            let whole: Value = serde_json::from_str(body).unwrap();
            assert_eq!(matches!(received().0.origin, Origin::Received(_)), body == plain);
            assert_eq!(*received(), whole);
            assert_eq!(received(), Document::from(whole.clone()));
            assert_eq!(received().outline(), &whole);
            assert_eq!(received().text(), canonical::text(&whole));
            assert_eq!(received().hash(), Document::from(whole.clone()).hash());
            assert_eq!(received().into_value(), whole);
            let kept = received();
            let kept = Document::kept(move || kept.text().to_owned());
            for document in [received(), Document::from(whole.clone()), kept] {
                for name in ["id", "name", "spec", "deleted_time", "x"] {
                    assert_eq!(document.field(name).as_deref(), whole.get(name), "{name}");
                }
            }
        }
        for other in ["[1]", "\"text\"", "null", "{}"] {
            let received = Document::received(other.as_bytes()).unwrap();
            assert_eq!(received.text(), other);
            assert_eq!(received.field("id"), None);
        }
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(200), "]".repeat(200));
        for bad in [
            "",
            "{",
            "{} {}",
            r#"{"a": }"#,
            r#"{"a": [1e999]}"#,
            r#"{"a": "\ud800"}"#,
            &deep,
        ] {
            assert!(Document::received(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Document::received(b"{\"a\": \"\xff\"}").is_err());
    }

    #[test]
    fn what_is_known_of_a_document_is_told_without_its_text() {
        let document = Document::from(json!({
            "kind": "Job", "status": {"conditions": [{"type": "Complete", "status": "True"}]},
        }));
        let reads = Arc::new(AtomicUsize::new(0));
        let (text, count) = (document.text().to_owned(), Arc::clone(&reads));
        let known = Document::known(*document.hash(), Some(document.job().clone()), move || {
            count.fetch_add(1, Ordering::Relaxed);
            text.clone()
        });
        assert_eq!((known.hash(), known.job()), (document.hash(), document.job()));
        assert!(known.job().is_complete);
        assert_eq!(reads.load(Ordering::Relaxed), 0);
        assert_eq!(known, document);
        assert_eq!(known.text(), document.text());
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        let text = document.text().to_owned();
        let other = Document::known(*document.hash(), None, move || text.clone());
        assert_eq!(other.job(), document.job());
    }

    #[test]
    fn what_adapters_reported_makes_no_other_hash_without_it() {
        let made = |document: Value| *Document::from(document).hash_without_status();
        let received = |document: Value| {
            let body = document.to_string();
            *Document::received(body.as_bytes()).unwrap().hash_without_status()
        };
        for hash in [&made as &dyn Fn(Value) -> DocumentHash, &received] {
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
