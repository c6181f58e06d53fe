//! Functions of templates.
//!
//! The built-in ones of the language are the evaluator's. Ours take what they work on first, as the functions of
//! existing adapters do: `{{ trimPrefix .name "v" }}`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use chrono::DateTime;
use gotmpl::{FuncMap, TemplateError, Value};

use super::{rewrite, time, value};
use crate::fault::Fault;

/// All functions that a template may call.
pub(super) const KNOWN: &[&str] = &[
    "and",
    "break",
    "call",
    "contains",
    "continue",
    "date",
    "dateFormat",
    "default",
    "eq",
    "float",
    "float64",
    "ge",
    "gt",
    "hasPrefix",
    "hasSuffix",
    "html",
    "index",
    "int",
    "int64",
    "js",
    "le",
    "len",
    "lower",
    "lt",
    "ne",
    "not",
    "now",
    "or",
    "print",
    "printf",
    "println",
    "quote",
    "replace",
    "slice",
    "string",
    "title",
    "toJson",
    "trim",
    "trimPrefix",
    "trimSuffix",
    "upper",
    "urlquery",
];

/// Whether there is such a function.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// Where a function leaves the cause of its failure, for the evaluator can hand on text only.
pub(super) type Cause = Arc<Mutex<Option<Fault>>>;

type Answer = Result<Value, TemplateError>;

/// The function that gives the time of the reconcile: the fact of the same name.
pub(super) const NOW: &str = "now";

/// Our functions. `now` is RFC 3339.
pub(super) fn ours(now: &str, cause: &Cause) -> FuncMap {
    let mut map = FuncMap::new();
    let mut add = |name: &str, function: fn(&[Value]) -> Answer| {
        map.insert(name.to_owned(), Arc::new(function));
    };
    add("date", date);
    add("dateFormat", date);
    add("lower", |args| {
        texts("lower", args).map(|[text]| string(text.to_lowercase()))
    });
    add("upper", |args| {
        texts("upper", args).map(|[text]| string(text.to_uppercase()))
    });
    add("title", |args| texts("title", args).map(|[text]| string(title(text))));
    add("trim", |args| texts("trim", args).map(|[text]| string(text.trim())));
    add("trimPrefix", |args| {
        texts("trimPrefix", args).map(|[text, prefix]| string(text.strip_prefix(prefix).unwrap_or(text)))
    });
    add("trimSuffix", |args| {
        texts("trimSuffix", args).map(|[text, suffix]| string(text.strip_suffix(suffix).unwrap_or(text)))
    });
    add("replace", |args| {
        texts("replace", args).map(|[text, old, new]| string(text.replace(old, new)))
    });
    add("contains", |args| {
        texts("contains", args).map(|[text, part]| Value::Bool(text.contains(part)))
    });
    add("hasPrefix", |args| {
        texts("hasPrefix", args).map(|[text, part]| Value::Bool(text.starts_with(part)))
    });
    add("hasSuffix", |args| {
        texts("hasSuffix", args).map(|[text, part]| Value::Bool(text.ends_with(part)))
    });
    add("quote", |args| texts("quote", args).map(|[text]| string(quote(text))));
    add("default", |args| match args {
        [fallback, Value::Nil] => Ok(fallback.clone()),
        [fallback, Value::String(text)] if text.is_empty() => Ok(fallback.clone()),
        [_, value] => Ok(value.clone()),
        _ => Err(count("default", 2, args)),
    });
    add("int", |args| {
        single("int", args).map(|value| Value::Int(whole(value, false)))
    });
    add("int64", |args| {
        single("int64", args).map(|value| Value::Int(whole(value, true)))
    });
    add("float", |args| {
        single("float", args).map(|value| Value::Float(float(value)))
    });
    add("float64", |args| {
        single("float64", args).map(|value| Value::Float(float(value)))
    });
    add("string", |args| {
        single("string", args).map(|value| string(value::spell(value)))
    });
    add("toJson", |args| {
        single("toJson", args).map(|value| string(value::to_json(value).to_string()))
    });
    let now = string(now);
    map.insert(NOW.to_owned(), Arc::new(move |_: &[Value]| Ok(now.clone())));
    for (name, lenient) in [(rewrite::FIELD, false), (rewrite::MAYBE, true)] {
        let cause = Arc::clone(cause);
        map.insert(
            name.to_owned(),
            Arc::new(move |args: &[Value]| match field(args) {
                Err(Fault::Missing { .. }) if lenient => Ok(Value::Nil),
                answer => answer.map_err(|fault| raise(&cause, fault)),
            }),
        );
    }
    let cause = Arc::clone(cause);
    map.insert(
        rewrite::PRINT.to_owned(),
        Arc::new(move |args: &[Value]| match args {
            [Value::String(label), Value::Nil] if label.is_empty() => {
                Err(raise(&cause, Fault::broken("the value is null; give it a `default`")))
            }
            [Value::String(label), Value::Nil] => Err(raise(&cause, Fault::missing(label.as_ref()))),
            [_, value] => Ok(string(value::spell(value))),
            _ => Err(count("print", 2, args)),
        }),
    );
    map
}

/// Leaves the cause where the renderer finds it.
fn raise(cause: &Cause, fault: Fault) -> TemplateError {
    let message = fault.to_string();
    if let Ok(mut cause) = cause.lock() {
        *cause = Some(fault);
    }
    TemplateError::Exec(message)
}

/// Reads fields one after the other.
fn field(args: &[Value]) -> Result<Value, Fault> {
    let [Value::String(prefix), base, fields @ ..] = args else {
        return Err(Fault::broken("no field is given"));
    };
    let fields: Vec<&str> = fields.iter().filter_map(Value::as_str).collect();
    let path = || format!("{prefix}{}", fields.join("."));
    let mut value = base;
    for field in &fields {
        value = match value {
            Value::Map(map) => map.get(*field).ok_or_else(|| Fault::missing(path()))?,
            Value::Nil => return Err(Fault::missing(path())),
            other => return Err(value::no_field(&path(), other, field)),
        };
    }
    Ok(value.clone())
}

fn string(text: impl AsRef<str>) -> Value {
    Value::String(Arc::from(text.as_ref()))
}

fn count(name: &str, expected: usize, args: &[Value]) -> TemplateError {
    TemplateError::ArgCount {
        name: name.to_owned(),
        expected,
        got: args.len(),
    }
}

fn single<'a>(name: &str, args: &'a [Value]) -> Result<&'a Value, TemplateError> {
    match args {
        [value] => Ok(value),
        _ => Err(count(name, 1, args)),
    }
}

/// That many texts, and nothing else.
fn texts<'a, const N: usize>(name: &str, args: &'a [Value]) -> Result<[&'a str; N], TemplateError> {
    let all: Vec<&str> = args
        .iter()
        .map(|value| {
            value.as_str().ok_or_else(|| {
                TemplateError::Exec(format!(
                    "{name}: expected a text, got {}; use `string` first",
                    value.type_name()
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    <[&str; N]>::try_from(all).map_err(|_| count(name, N, args))
}

/// `date "2006-01-02" now`: a time in RFC 3339 by an example layout.
fn date(args: &[Value]) -> Answer {
    let [layout, text] = texts("date", args)?;
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| TemplateError::Exec(format!("date: `{text}` is not a time in RFC 3339")))?;
    Ok(string(time::format(layout, &time)))
}

/// Texts that are no number are 0. `saturate` says what becomes of numbers that are too large.
fn whole(value: &Value, saturate: bool) -> i64 {
    match value {
        Value::Int(int) => *int,
        // `as` saturates, which is what the reference does on the platforms that matter.
        Value::Float(float) => *float as i64,
        Value::String(text) => match text.parse::<i64>() {
            Ok(int) => int,
            Err(error) => match error.kind() {
                std::num::IntErrorKind::PosOverflow if saturate => i64::MAX,
                std::num::IntErrorKind::NegOverflow if saturate => i64::MIN,
                _ => 0,
            },
        },
        Value::Nil | Value::Bool(_) | Value::Uint(_) | Value::List(_) | Value::Map(_) | Value::Function(_) => 0,
    }
}

fn float(value: &Value) -> f64 {
    match value {
        Value::Int(int) => *int as f64,
        Value::Float(float) => *float,
        Value::String(text) => text.parse().unwrap_or_default(),
        Value::Nil | Value::Bool(_) | Value::Uint(_) | Value::List(_) | Value::Map(_) | Value::Function(_) => 0.0,
    }
}

/// A text in double quotes, escaped so that YAML and JSON read the same text.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            char if u32::from(char) < 0x20 || char == '\u{7f}' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(char)));
            }
            '\u{2028}' | '\u{2029}' | '\u{a0}' | '\u{ad}' | '\u{feff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// The first letter of every word in upper case, the others in lower case.
fn title(text: &str) -> String {
    let mut titled = String::new();
    let mut inside = false;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char.is_alphanumeric() {
            if inside {
                titled.extend(char.to_lowercase());
            } else {
                titled.extend(char.to_uppercase());
            }
            inside = true;
        } else {
            titled.push(char);
            let joins = matches!(char, '\'' | '’' | '.') && chars.peek().is_some_and(|next| next.is_alphabetic());
            inside = inside && joins;
        }
    }
    titled
}

/// The facts as the evaluator wants them.
pub(super) fn root(roots: &serde_json::Map<String, serde_json::Value>) -> Value {
    let entries: BTreeMap<Arc<str>, Value> = roots
        .iter()
        .map(|(name, json)| (Arc::from(name.as_str()), value::from_json(json)))
        .collect();
    Value::Map(Arc::new(entries))
}
