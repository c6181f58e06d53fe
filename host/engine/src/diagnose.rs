//! What pods and events say about an object.

use serde_json::Value;

use crate::contract::Diagnosis;

/// Reads an object with its pods (newest first) and the events about it and them.
#[must_use]
pub fn diagnose(_object: &Value, _pods: &[Value], _events: &[Value]) -> Option<Diagnosis> {
    None
}
