//! Reading and changing objects as JSON.

use serde_json::{Map, Value, json};

/// `metadata.name`, or an empty text.
pub(super) fn name(document: &Value) -> &str {
    text(document, &["metadata", "name"]).unwrap_or_default()
}

/// `metadata.uid`, or an empty text.
pub(super) fn uid(document: &Value) -> &str {
    text(document, &["metadata", "uid"]).unwrap_or_default()
}

/// A value at a path of fields.
pub(super) fn at<'a>(document: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(document, |value, field| value.get(field))
        .filter(|value| !value.is_null())
}

/// A text at a path of fields.
pub(super) fn text<'a>(document: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(document, path).and_then(Value::as_str)
}

/// A whole number at a path of fields.
pub(super) fn number(document: &Value, path: &[&str]) -> Option<i64> {
    at(document, path).and_then(Value::as_i64)
}

/// The items of a list at a path of fields; none if there is no list.
pub(super) fn items<'a>(document: &'a Value, path: &[&str]) -> &'a [Value] {
    at(document, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Sets the value at a path, with the maps on the way.
pub(super) fn set(document: &mut Value, path: &[&str], value: Value) {
    let Some((field, rest)) = path.split_first() else {
        *document = value;
        return;
    };
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    if let Value::Object(map) = document {
        set(map.entry(*field).or_insert(Value::Null), rest, value);
    }
}

/// Sets the value at a path where there is none.
pub(super) fn default(document: &mut Value, path: &[&str], value: Value) {
    if at(document, path).is_none() {
        set(document, path, value);
    }
}

/// Removes the field at a path.
pub(super) fn remove(document: &mut Value, path: &[&str]) {
    let Some((last, way)) = path.split_last() else { return };
    let parent = way.iter().try_fold(document, |value, field| value.get_mut(*field));
    if let Some(Value::Object(map)) = parent {
        map.remove(*last);
    }
}

/// Whether its deletion has begun.
pub(super) fn is_deleting(document: &Value) -> bool {
    at(document, &["metadata", "deletionTimestamp"]).is_some()
}

/// Whether it has this finalizer.
pub(super) fn has_finalizer(document: &Value, finalizer: &str) -> bool {
    items(document, &["metadata", "finalizers"])
        .iter()
        .any(|item| item == finalizer)
}

/// Adds a finalizer, if it is not there.
pub(super) fn add_finalizer(document: &mut Value, finalizer: &str) {
    if !has_finalizer(document, finalizer) {
        let mut finalizers = items(document, &["metadata", "finalizers"]).to_vec();
        finalizers.push(json!(finalizer));
        set(document, &["metadata", "finalizers"], Value::Array(finalizers));
    }
}

/// Removes a finalizer.
pub(super) fn remove_finalizer(document: &mut Value, finalizer: &str) {
    let mut finalizers = items(document, &["metadata", "finalizers"]).to_vec();
    finalizers.retain(|item| item != finalizer);
    if finalizers.is_empty() {
        remove(document, &["metadata", "finalizers"]);
    } else {
        set(document, &["metadata", "finalizers"], Value::Array(finalizers));
    }
}

/// Whether a controller made it. Such objects may carry their maker's labels and are still not
/// what somebody applied.
pub(super) fn is_controlled(document: &Value) -> bool {
    items(document, &["metadata", "ownerReferences"])
        .iter()
        .any(|owner| owner["controller"] == true)
}

/// A condition, if it is there.
pub(super) fn condition<'a>(document: &'a Value, kind: &str) -> Option<&'a Value> {
    items(document, &["status", "conditions"])
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// Whether a condition is true.
pub(super) fn holds(document: &Value, kind: &str) -> bool {
    condition(document, kind).is_some_and(|condition| condition["status"] == "True")
}

/// Sets a condition. Its transition time changes only with its status.
pub(super) fn set_condition(document: &mut Value, kind: &str, status: bool, reason: &str, message: &str, now: &str) {
    let status = if status { "True" } else { "False" };
    let since = condition(document, kind)
        .filter(|condition| condition["status"] == status)
        .and_then(|condition| condition["lastTransitionTime"].as_str())
        .unwrap_or(now)
        .to_owned();
    let mut wanted = json!({"type": kind, "status": status, "lastTransitionTime": since});
    if !reason.is_empty() {
        wanted["reason"] = json!(reason);
    }
    if !message.is_empty() {
        wanted["message"] = json!(message);
    }
    let mut conditions = items(document, &["status", "conditions"]).to_vec();
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(condition) => *condition = wanted,
        None => conditions.push(wanted),
    }
    set(document, &["status", "conditions"], Value::Array(conditions));
}

/// The amount that a Kubernetes quantity says, in thousandths; none if it is not one.
pub(super) fn quantity(value: &Value) -> Option<i128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let split = text
        .find(|character: char| character.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit: i128 = match unit {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let whole = whole.parse::<i128>().ok()?.checked_mul(scale)?;
    let part = if part.is_empty() { 0 } else { part.parse::<i128>().ok()? };
    (whole + part).checked_mul(unit).map(|amount| amount / scale)
}

/// An amount in thousandths as Kubernetes writes it.
pub(super) fn written_quantity(thousandths: i128) -> String {
    if thousandths % 1000 == 0 {
        (thousandths / 1000).to_string()
    } else {
        format!("{thousandths}m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_all_their_units() {
        let read = |text: &str| quantity(&json!(text));
        assert_eq!(
            [
                read("250m"),
                read("2"),
                read("1.5"),
                read("1Ki"),
                read("1.5Gi"),
                read("many"),
                read("")
            ],
            [
                Some(250),
                Some(2000),
                Some(1500),
                Some(1_024_000),
                Some(1_610_612_736_000),
                None,
                None
            ]
        );
        assert_eq!([written_quantity(1500), written_quantity(2000)], ["1500m", "2"]);
    }

    #[test]
    fn a_condition_keeps_its_transition_time_while_its_status_stays() {
        let mut object = json!({});
        set_condition(&mut object, "Ready", false, "Starting", "", "1");
        set_condition(&mut object, "Ready", false, "Waiting", "for b", "2");
        assert_eq!(
            object["status"]["conditions"],
            json!([{"type": "Ready", "status": "False", "reason": "Waiting", "message": "for b",
                    "lastTransitionTime": "1"}])
        );
    }
}
