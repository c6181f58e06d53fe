//! Documents without what only plugins read.

use std::fmt;

use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::{Map, Value};

/// What an outline leaves out below some fields.
struct Skipped(&'static [(&'static str, Skipped)]);

/// The templates of pods, which are the larger part of a workload.
const OUTLINE: Skipped = Skipped(&[(
    "spec",
    Skipped(&[("template", Skipped(&[])), ("jobTemplate", Skipped(&[]))]),
)]);

/// What is read of a text.
#[derive(Default)]
pub(super) struct Outline {
    pub(super) value: Value,
    /// Whether nothing is left out.
    pub(super) is_whole: bool,
}

impl Outline {
    pub(super) fn of(text: &str) -> serde_json::Result<Self> {
        let mut is_whole = true;
        let mut parser = serde_json::Deserializer::from_str(text);
        let reader = Reader {
            below: &OUTLINE,
            is_whole: &mut is_whole,
        };
        let value = reader.deserialize(&mut parser)?;
        parser.end()?;
        Ok(Self { value, is_whole })
    }
}

/// Reads an outline.
struct Reader<'o> {
    below: &'static Skipped,
    is_whole: &'o mut bool,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let Reader { below, is_whole } = self;
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = match below.0.iter().find(|(known, _)| *known == name) {
                None => entries.next_value()?,
                Some((_, Skipped([]))) => {
                    entries.next_value::<IgnoredAny>()?;
                    *is_whole = false;
                    continue;
                }
                Some((_, below)) => entries.next_value_seed(Reader { below, is_whole })?,
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
