//! Which fields of the facts a phase reads.
//!
//! Found out once, when the configuration is checked, so that a phase parses of its facts what it needs and nothing
//! else. Guarantees that what reads a field finds it as if everything had been parsed: where that cannot be told of a
//! field, it counts as read with all that is below it.

use std::{collections::BTreeMap, fmt};

use berth_sdk::Failure;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::{Map, Value as Json};

/// What is read of a value: all, or some fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reads {
    all: bool,
    fields: BTreeMap<String, Reads>,
}

const ALL: &Reads = &Reads {
    all: true,
    fields: BTreeMap::new(),
};

impl Reads {
    /// Everything.
    pub(crate) fn all() -> Self {
        ALL.clone()
    }

    /// Adds the field at the end of a path, with all that is below it.
    pub(crate) fn add<'p>(&mut self, path: impl IntoIterator<Item = &'p str>) {
        let mut at = self;
        for field in path {
            if at.all {
                return;
            }
            at = at.fields.entry(field.to_owned()).or_default();
        }
        *at = Self::all();
    }

    /// Adds what something else reads.
    pub(crate) fn merge(&mut self, others: Self) {
        if others.all {
            *self = others;
        } else if !self.all {
            for (name, field) in others.fields {
                self.fields.entry(name).or_default().merge(field);
            }
        }
    }

    /// What is read of a field; none if nothing is.
    pub(crate) fn of(&self, field: &str) -> Option<&Self> {
        if self.all { Some(ALL) } else { self.fields.get(field) }
    }

    /// Whether a field that is none of these is read.
    pub(crate) fn has_others_than(&self, known: &[&str]) -> bool {
        self.all || self.fields.keys().any(|field| !known.contains(&field.as_str()))
    }

    /// Reads that much of a document.
    ///
    /// # Errors
    /// `DocumentInvalid` with what is wrong and where.
    pub(crate) fn document(&self, document: &berth_sdk::Json) -> Result<Json, Failure> {
        let mut text = serde_json::Deserializer::from_str(document.text());
        self.deserialize(&mut text)
            .and_then(|read| text.end().map(|()| read))
            .map_err(|error| Failure::new("DocumentInvalid", format!("cannot read a document: {error}")))
    }
}

impl<'de> DeserializeSeed<'de> for &Reads {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        if self.all {
            Json::deserialize(from)
        } else {
            from.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for &Reads {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut read = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            match self.fields.get(&name) {
                Some(field) => drop(read.insert(name, entries.next_value_seed(field)?)),
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Json::Object(read))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Json, A::Error> {
        Json::deserialize(SeqAccessDeserializer::new(items))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop here")]

    use serde_json::json;

    use super::*;

    fn reads(paths: &[&str]) -> Reads {
        let mut reads = Reads::default();
        for path in paths {
            reads.add(path.split('.'));
        }
        reads
    }

    #[test]
    fn what_is_read_is_as_in_the_document_and_nothing_else_is_there() {
        let document = json!({
            "spec": {"zones": ["a", {"b": 1}], "size": 2.5, "deep": {"x": null, "y": -1}},
            "labels": {"a": "b"}, "name": "n",
        });
        let read = |paths: &[&str]| reads(paths).document(&document.clone().into()).unwrap();
        assert_eq!(read(&[]), json!({}));
        assert_eq!(read(&["name"]), json!({"name": "n"}));
        assert_eq!(read(&["spec.deep.x"]), json!({"spec": {"deep": {"x": null}}}));
        assert_eq!(
            read(&["spec.deep.x", "spec.deep"])["spec"]["deep"],
            document["spec"]["deep"]
        );
        assert_eq!(read(&["spec", "spec.deep.x"])["spec"], document["spec"]);
        // What has no fields is there as it is, whatever is looked for below it.
        assert_eq!(
            read(&["name.x", "spec.zones.x.y", "spec.size.z", "missing.x"]),
            json!({
                "name": "n", "spec": {"zones": ["a", {"b": 1}], "size": 2.5},
            })
        );
    }

    #[test]
    fn what_is_no_document_is_refused_with_its_place() {
        let refused = reads(&["a"]).document(&berth_sdk::Json::from_text("{\"b\": 1} x"));
        assert!(refused.unwrap_err().message.contains("column 10"));
        assert!(
            reads(&["a"])
                .document(&berth_sdk::Json::from_text("{\"b\": tru}"))
                .is_err()
        );
    }

    #[test]
    fn fields_beyond_those_that_are_known_are_told() {
        assert!(!reads(&["id", "kind"]).has_others_than(&["id", "kind"]));
        assert!(reads(&["id", "spec.x"]).has_others_than(&["id"]));
        assert!(ALL.has_others_than(&["id"]));
        assert!(!Reads::default().has_others_than(&[]));
        assert_eq!(ALL.of("x"), Some(ALL));
    }
}
