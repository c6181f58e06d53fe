//! A status report: how it is checked, and what becomes of it, in the API's order.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{
    problem::{Problem, Trouble},
    resource::{Reported, Resource, Row, Truth},
};

/// How far ahead a report's time may be.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// How far back it may be.
const BEHIND: SignedDuration = SignedDuration::from_mins(30);
/// Conditions without which no report is taken.
const MANDATORY: [&str; 3] = ["Available", "Applied", "Health"];
/// The only keys of `metadata` that are stored, with whether they are numbers.
const METADATA: [(&str, bool); 6] = [
    ("job_name", false),
    ("job_namespace", false),
    ("attempt", true),
    ("started_time", false),
    ("completed_time", false),
    ("duration", false),
];

/// A report that is well formed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Incoming {
    adapter: String,
    generation: u32,
    time: Timestamp,
    conditions: Vec<(String, Truth, Option<String>, Option<String>)>,
    data: Value,
    metadata: Option<Map<String, Value>>,
}

/// What becomes of a report.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Taken {
    /// 204.
    Discarded,
    /// 201 with the row that was there before, which stays.
    Kept(Row),
    /// 201 with the new row.
    Stored {
        /// The row.
        row: Row,
        /// Whether the resource's conditions change with it.
        aggregate: bool,
        /// Whether it says that the adapter has finished deleting.
        finalized: bool,
    },
}

impl Incoming {
    /// The first step: the body alone.
    pub(super) fn parse(body: &[u8], now: Timestamp) -> Result<Self, Problem> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Trouble::Malformed.because(format!("the body is not valid JSON: {error}")))?;
        let invalid = |detail: String| Trouble::Invalid.because(detail);
        let Value::Object(body) = body else {
            return Err(invalid("the body must be an object".to_owned()));
        };
        let time = match text(&body, "observed_time")? {
            Some(time) => time
                .parse::<Timestamp>()
                .map_err(|error| Trouble::Malformed.because(format!("observed_time is no time: {error}")))?,
            None => now,
        };
        let adapter = text(&body, "adapter")?.unwrap_or_default();
        if adapter.is_empty() {
            return Err(invalid("adapter is required".to_owned()));
        }
        let generation = match body.get("observed_generation") {
            None | Some(Value::Null) => 0,
            Some(value) => value
                .as_i64()
                .and_then(|number| i32::try_from(number).ok())
                .ok_or_else(|| invalid("observed_generation must be an integer".to_owned()))?,
        };
        let generation = u32::try_from(generation)
            .ok()
            .filter(|generation| *generation >= 1)
            .ok_or_else(|| invalid("observed_generation must be at least 1".to_owned()))?;
        let conditions = conditions(&body)?;
        if time.duration_since(now) > AHEAD {
            return Err(invalid("observed_time is more than 5 minutes in the future".to_owned()));
        }
        if now.duration_since(time) > BEHIND {
            return Err(invalid("observed_time is more than 30 minutes in the past".to_owned()));
        }
        let data = match body.get("data") {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(data @ Value::Object(_)) => data.clone(),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                return Err(invalid("data must be an object".to_owned()));
            }
        };
        // The database stores microseconds.
        let time = Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time);
        Ok(Self {
            adapter,
            generation,
            time,
            conditions,
            data,
            metadata: metadata(&body)?,
        })
    }

    /// The adapter that reports.
    pub(super) fn adapter(&self) -> &str {
        &self.adapter
    }

    /// The further steps: against the resource and the adapter's row.
    pub(super) fn take(self, resource: &Resource) -> Result<Taken, Problem> {
        let stored = resource.row(&self.adapter);
        if self.generation > resource.generation
            || stored.is_some_and(|row| {
                self.generation < row.generation || (self.generation == row.generation && self.time < row.reported)
            })
        {
            return Ok(Taken::Discarded);
        }
        for mandatory in MANDATORY {
            if !self.conditions.iter().any(|(kind, ..)| kind == mandatory) {
                return Err(Trouble::Invalid.because(format!(
                    "missing mandatory condition '{mandatory}': all adapters must report Available, Applied, and Health"
                )));
            }
        }
        let says = |kind: &str, truth| {
            self.conditions
                .iter()
                .any(|(name, status, ..)| name == kind && *status == truth)
        };
        let unknown = says("Available", Truth::Unknown);
        if unknown && stored.is_some() {
            return Ok(Taken::Discarded);
        }
        if let Some(row) = stored
            && row.generation == self.generation
            && row.reported == self.time
        {
            return Ok(Taken::Kept(row.clone()));
        }
        let finalized = says("Finalized", Truth::True);
        let conditions = self
            .conditions
            .into_iter()
            .map(|(kind, status, reason, message)| {
                let before = stored
                    .and_then(|row| row.condition(&kind))
                    .filter(|before| before.status == status);
                let last_transition = before.map_or(self.time, |before| before.last_transition);
                Reported {
                    kind,
                    status,
                    reason,
                    message,
                    last_transition,
                }
            })
            .collect();
        let row = Row {
            adapter: self.adapter,
            generation: self.generation,
            conditions,
            data: self.data,
            metadata: self.metadata,
            created: stored.map_or(self.time, |row| row.created),
            reported: self.time,
        };
        Ok(Taken::Stored {
            row,
            aggregate: !unknown,
            finalized,
        })
    }
}

type ParsedCondition = (String, Truth, Option<String>, Option<String>);

fn conditions(body: &Map<String, Value>) -> Result<Vec<ParsedCondition>, Problem> {
    let invalid = |detail: String| Trouble::Invalid.because(detail);
    let list = match body.get("conditions") {
        Some(Value::Array(list)) => list,
        None | Some(Value::Null) => return Err(invalid("conditions is required".to_owned())),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            return Err(invalid("conditions must be a list".to_owned()));
        }
    };
    let mut conditions: Vec<ParsedCondition> = Vec::new();
    for (index, condition) in list.iter().enumerate() {
        let Value::Object(condition) = condition else {
            return Err(invalid(format!("conditions[{index}] must be an object")));
        };
        let kind = text(condition, "type")?.unwrap_or_default();
        if kind.is_empty() {
            return Err(invalid(format!("conditions[{index}].type is required")));
        }
        if conditions.iter().any(|(known, ..)| *known == kind) {
            return Err(invalid(format!("conditions[{index}].type '{kind}' is there twice")));
        }
        let status = text(condition, "status")?.unwrap_or_default();
        let status = Truth::parse(&status)
            .ok_or_else(|| invalid(format!("conditions[{index}].status must be True, False or Unknown")))?;
        conditions.push((kind, status, text(condition, "reason")?, text(condition, "message")?));
    }
    Ok(conditions)
}

fn metadata(body: &Map<String, Value>) -> Result<Option<Map<String, Value>>, Problem> {
    let metadata = match body.get("metadata") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(metadata)) => metadata,
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err(Trouble::Invalid.because("metadata must be an object"));
        }
    };
    let mut stored = Map::new();
    for (key, numeric) in METADATA {
        let Some(value) = metadata.get(key).filter(|value| !value.is_null()) else {
            continue;
        };
        let fits = if numeric { value.is_i64() } else { value.is_string() };
        if !fits {
            return Err(Trouble::Invalid.because(format!("metadata.{key} has the wrong type")));
        }
        if key.ends_with("_time") && value.as_str().is_none_or(|time| time.parse::<Timestamp>().is_err()) {
            return Err(Trouble::Malformed.because(format!("metadata.{key} is no time")));
        }
        stored.insert(key.to_owned(), value.clone());
    }
    Ok(Some(stored))
}

fn text(object: &Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Trouble::Invalid.because(format!("{key} must be a string")))
        }
    }
}
