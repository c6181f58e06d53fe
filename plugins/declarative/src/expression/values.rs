//! Facts as values of expressions, and results as JSON.
//!
//! Facts are shared, not copied: an expression that takes a list out of a large document takes a reference.
//! Whole numbers stay whole: `3` in JSON is an int, `3.0` a double. Maps are iterated by key.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use base64::Engine as _;
use cel::{
    ExecutionError, Value as Simple,
    common::{
        traits::{self, Adder, Container, Indexer, Iterable, Sizer, Zeroer},
        types::{
            CelBool, CelDouble, CelInt, CelList, CelNull, CelOptional, CelString, CelType, CelUInt, LIST_TYPE,
            MAP_TYPE, Type,
        },
        value::{CowVal, StaticVal, Val},
    },
};
use serde_json::{Map as JsonMap, Value as Json};

use crate::numbers;

/// An object of the facts.
#[derive(Clone, Debug)]
pub(crate) struct FactMap(Arc<Entries>);

/// Entries by key; the key again as a value, for iteration.
type Entries = BTreeMap<String, (CelString<'static>, Box<dyn Val>)>;

/// A list of the facts.
#[derive(Clone, Debug)]
pub(crate) struct FactList(Arc<Vec<Box<dyn Val>>>);

/// A fact as a value.
pub(crate) fn from_json(json: &Json) -> Box<dyn Val> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(value) => Box::new(CelBool::from(*value)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Box::new(CelInt::from(int)),
            (None, Some(uint)) => Box::new(CelUInt::from(uint)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => Box::new(CelString::from(text.clone())),
        Json::Array(items) => Box::new(FactList(Arc::new(items.iter().map(from_json).collect()))),
        Json::Object(entries) => Box::new(FactMap(Arc::new(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), (CelString::from(key.clone()), from_json(value))))
                .collect(),
        ))),
    }
}

/// A result as JSON; none for `optional.none()`. Optional entries of maps and lists that are none are left out,
/// whole doubles are integers, timestamps are RFC 3339, durations are texts such as `90s`, bytes are base64.
pub(crate) fn to_json(value: &dyn Val) -> Result<Option<Json>, String> {
    if let Some(optional) = value.downcast_ref::<CelOptional>() {
        return optional.option().map_or(Ok(None), to_json);
    }
    if let Some(named) = value.downcast_ref::<CelType>() {
        return Ok(Some(Json::String(named.name().to_owned())));
    }
    if is_list(value) {
        let mut list = Vec::new();
        each(value, |item| {
            list.extend(to_json(item)?);
            Ok(())
        })?;
        return Ok(Some(Json::Array(list)));
    }
    if is_map(value) {
        let indexer = value.as_indexer().ok_or("a map without keys")?;
        let mut map = BTreeMap::new();
        each(value, |key| {
            let name = match key.downcast_ref::<CelString>() {
                Some(text) => text.inner().to_owned(),
                None => match to_json(key)? {
                    Some(Json::Null) | None => return Err("null cannot be a key".to_owned()),
                    Some(other) => other.to_string(),
                },
            };
            if let Some(json) = to_json(indexer.get(key).map_err(|error| error.to_string())?.as_ref())? {
                map.insert(name, json);
            }
            Ok(())
        })?;
        return Ok(Some(Json::Object(map.into_iter().collect::<JsonMap<_, _>>())));
    }
    let simple = Simple::try_from(value).map_err(|error| error.to_string())?;
    Ok(Some(match simple {
        Simple::Null => Json::Null,
        Simple::Bool(value) => Json::Bool(value),
        Simple::String(text) => Json::String(text.to_string()),
        Simple::Int(value) => value.into(),
        Simple::UInt(value) => value.into(),
        Simple::Float(value) => numbers::to_json(value)
            .map(Json::Number)
            .ok_or_else(|| format!("{value} has no form in JSON"))?,
        Simple::Bytes(bytes) => Json::String(base64::engine::general_purpose::STANDARD.encode(bytes.as_slice())),
        Simple::Timestamp(time) => Json::String(
            time.with_timezone(&chrono::Utc)
                .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        ),
        Simple::Duration(duration) => Json::String(spell_duration(duration)),
        _ => return Err(format!("a {} has no form in JSON", value.get_type().name())),
    }))
}

/// Seconds with as many decimals as there are: `90s`, `0.25s`.
fn spell_duration(duration: chrono::Duration) -> String {
    let nanos = i128::from(duration.num_seconds()) * 1_000_000_000 + i128::from(duration.subsec_nanos());
    let (sign, nanos) = if nanos < 0 { ("-", -nanos) } else { ("", nanos) };
    let fraction = format!(".{:09}", nanos % 1_000_000_000);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{}{fraction}s", nanos / 1_000_000_000)
}

/// Calls `visit` with every item of a list, or every key of a map.
fn each(value: &dyn Val, mut visit: impl FnMut(&dyn Val) -> Result<(), String>) -> Result<(), String> {
    if let Some(iterable) = value.as_iterable() {
        let mut iterator = iterable.iter();
        while let Some(item) = iterator.next() {
            visit(item)?;
        }
    }
    Ok(())
}

/// Whether it is a map, of the facts or made by an expression.
pub(crate) fn is_map(value: &dyn Val) -> bool {
    value.get_type() == &MAP_TYPE
}

/// Whether it is a list, of the facts or made by an expression.
pub(crate) fn is_list(value: &dyn Val) -> bool {
    value.get_type() == &LIST_TYPE
}

/// The number of items or entries; 0 for what has none.
pub(crate) fn length(value: &dyn Val) -> i64 {
    value.as_sizer().map_or(0, |sizer| *sizer.size().inner())
}

/// Iterates over borrowed values.
struct Iter<I>(I);

impl<'b, 'v, I: Iterator<Item = &'b (dyn Val + 'static)>> traits::Iterator<'b, 'v> for Iter<I> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        match self.0.next() {
            Some(item) => {
                let item: &'b (dyn Val + 'v) = item;
                Some(item)
            }
            None => None,
        }
    }
}

impl StaticVal for FactMap {}

impl Val for FactMap {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }
    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }
    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }
    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }
    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        Some(self)
    }
    fn equals(&self, other: &dyn Val) -> bool {
        is_map(other)
            && length(other) == length(self)
            && other.as_indexer().is_some_and(|other| {
                self.0
                    .values()
                    .all(|(key, value)| other.get(key).is_ok_and(|found| value.equals(found.as_ref())))
            })
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl Container for FactMap {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(key
            .downcast_ref::<CelString>()
            .is_some_and(|key| self.0.contains_key(key.inner())))
    }
}

impl Sizer for FactMap {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.len()).unwrap_or(i64::MAX))
    }
}

impl Zeroer for FactMap {
    fn is_zero_value(&self) -> bool {
        self.0.is_empty()
    }
}

impl Iterable for FactMap {
    fn iter<'b, 'v>(&'b self) -> Box<dyn traits::Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Iter(self.0.values().map(|(key, _)| key as &(dyn Val + 'static))))
    }
}

impl Indexer for FactMap {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let Some(key) = key.downcast_ref::<CelString>() else {
            return Err(ExecutionError::UnexpectedType {
                got: key.get_type().name().to_owned(),
                want: "string".to_owned(),
            });
        };
        match self.0.get(key.inner()) {
            Some((_, value)) => Ok(CowVal::Borrowed(value.as_ref())),
            None => Err(ExecutionError::no_such_key(key.inner())),
        }
    }
    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(self.get(key)?.as_ref().clone_as_boxed())
    }
}

impl StaticVal for FactList {}

impl Val for FactList {
    fn get_type(&self) -> &Type {
        &LIST_TYPE
    }
    fn cel_type() -> &'static Type {
        &LIST_TYPE
    }
    fn as_adder<'b, 'v>(&'b self) -> Option<&'b (dyn Adder + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }
    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }
    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        Some(self)
    }
    fn equals(&self, other: &dyn Val) -> bool {
        if !is_list(other) || length(other) != length(self) {
            return false;
        }
        let Some(iterable) = other.as_iterable() else {
            return false;
        };
        let mut others = iterable.iter();
        self.0
            .iter()
            .all(|mine| others.next().is_some_and(|other| mine.equals(other)))
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl Adder for FactList {
    fn add<'b, 'v>(&'b self, other: &(dyn Val + 'v)) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let (true, Some(iterable)) = (is_list(other), other.as_iterable()) else {
            let types = vec!["list".to_owned(), other.get_type().name().to_owned()];
            return Err(ExecutionError::no_such_overload("_+_", types));
        };
        let mut all: Vec<Box<dyn Val + 'v>> = self.0.iter().map(|item| item.as_ref().clone_as_boxed()).collect();
        let mut others = iterable.iter();
        while let Some(item) = others.next() {
            all.push(item.clone_as_boxed());
        }
        Ok(CowVal::owned(CelList::from(all)))
    }
}

impl Container for FactList {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.0.iter().any(|item| item.equals(value)))
    }
}

impl Sizer for FactList {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.0.len()).unwrap_or(i64::MAX))
    }
}

impl Zeroer for FactList {
    fn is_zero_value(&self) -> bool {
        self.0.is_empty()
    }
}

impl Iterable for FactList {
    fn iter<'b, 'v>(&'b self) -> Box<dyn traits::Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Iter(self.0.iter().map(AsRef::as_ref)))
    }
}

impl Indexer for FactList {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let index = position(index)?;
        match usize::try_from(index).ok().and_then(|index| self.0.get(index)) {
            Some(value) => Ok(CowVal::Borrowed(value.as_ref())),
            None => Err(ExecutionError::IndexOutOfBounds(Simple::Int(index))),
        }
    }
    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(self.get(index)?.as_ref().clone_as_boxed())
    }
}

/// An index: any number that is whole.
fn position(index: &dyn Val) -> Result<i64, ExecutionError> {
    let whole = |number: f64| {
        // Beyond 2^53 a double is no exact position, and no list is that long.
        (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
    };
    index
        .downcast_ref::<CelInt>()
        .map(|int| *int.inner())
        .or_else(|| {
            index
                .downcast_ref::<CelUInt>()
                .and_then(|uint| i64::try_from(*uint.inner()).ok())
        })
        .or_else(|| {
            index
                .downcast_ref::<CelDouble>()
                .and_then(|double| whole(*double.inner()))
        })
        .ok_or_else(|| ExecutionError::UnexpectedType {
            got: index.get_type().name().to_owned(),
            want: "int".to_owned(),
        })
}
