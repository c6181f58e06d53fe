//! Documents as they were received, of which little is read.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use sha2::{Digest as _, Sha256};

use super::DocumentHash;

/// The text of an object.
pub(super) struct Received {
    text: Box<str>,
    /// Where the name and the value of each field are in the text.
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Received {
    /// None where it is not an object, or where a name is written otherwise than it is.
    pub(super) fn of(text: &str) -> Option<Self> {
        let fields: Fields<'_> = serde_json::from_str(text).ok()?;
        let begin = text.as_ptr().addr();
        let place = |part: &str| {
            let start = part.as_ptr().addr().checked_sub(begin)?;
            Some(start..start.checked_add(part.len())?)
        };
        let fields = fields
            .0
            .into_iter()
            .map(|(name, value)| Some((place(name)?, place(value.get())?)));
        Some(Self {
            fields: fields.collect::<Option<_>>()?,
            text: text.into(),
        })
    }

    /// Names with the texts of their values.
    fn fields(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        let part = |place: &Range<usize>| self.text.get(place.clone());
        self.fields
            .iter()
            .filter_map(move |(name, value)| Some((part(name)?, part(value)?)))
    }

    /// Of fields of one name the last counts.
    pub(super) fn field(&self, name: &str) -> Option<Value> {
        let (_, text) = self.fields().rev().find(|(known, _)| *known == name)?;
        serde_json::from_str(text).ok()
    }

    pub(super) fn whole(&self) -> Value {
        // It was found to be sound.
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Over the fields whose names count.
    pub(super) fn hash(&self, counts: impl Fn(&str) -> bool) -> DocumentHash {
        let mut hash = Sha256::new();
        for (name, value) in self.fields().filter(|(name, _)| counts(name)) {
            // Names and values are told apart by their lengths.
            for part in [name, value] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
        }
        hash.finalize().into()
    }
}

/// A value of which is known only that it is one.
pub(super) struct Sound;

impl<'t> Deserialize<'t> for Sound {
    fn deserialize<D: Deserializer<'t>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Self)
    }
}

impl<'t> Visitor<'t> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}

/// The fields of an object, in their order.
struct Fields<'t>(Vec<(&'t str, &'t RawValue)>);

impl<'t> Deserialize<'t> for Fields<'t> {
    fn deserialize<D: Deserializer<'t>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(FieldsReader)
    }
}

struct FieldsReader;

impl<'t> Visitor<'t> for FieldsReader {
    type Value = Fields<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut entries: A) -> Result<Fields<'t>, A::Error> {
        let mut fields = Vec::with_capacity(16);
        while let Some(entry) = entries.next_entry()? {
            fields.push(entry);
        }
        Ok(Fields(fields))
    }
}
