//! Facts as values of templates, and how values are spelled.

use std::{collections::BTreeMap, sync::Arc};

use gotmpl::Value;
use serde_json::Value as Json;

use crate::{fault::Fault, numbers};

/// A fact as a value. Whole numbers stay whole.
pub(super) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::Uint(uint),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::from(text.as_str())),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect::<Vec<_>>().into()),
        Json::Object(entries) => {
            let entries: BTreeMap<Arc<str>, Value> = entries
                .iter()
                .map(|(key, value)| (Arc::from(key.as_str()), from_json(value)))
                .collect();
            Value::Map(Arc::new(entries))
        }
    }
}

/// A value as JSON; what JSON cannot say is null.
pub(super) fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(int) => (*int).into(),
        Value::Uint(uint) => (*uint).into(),
        Value::Float(float) => numbers::to_json(*float).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::String(text.to_string()),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.to_string(), to_json(value)))
            .collect(),
    }
}

/// How a value is printed: `[a b]`, `map[k:v]`, null inside of them as `<nil>`.
pub(super) fn spell(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Uint(uint) => uint.to_string(),
        Value::Float(float) => numbers::spell(*float),
        Value::String(text) => text.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(spell).collect::<Vec<_>>().join(" ")),
        Value::Map(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{key}:{}", spell(value)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        Value::Function(_) => "<function>".to_owned(),
    }
}

/// What is read of `path` has no fields, and so not this one.
pub(super) fn no_field(path: &str, value: &Value, field: &str) -> Fault {
    Fault::broken(format!("`{path}`: a {} has no field `{field}`", value.type_name()))
}
