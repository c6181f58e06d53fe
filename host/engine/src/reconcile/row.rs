//! What a process remembers of the adapter's own row.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::{
    contract::{AdapterStatus, Condition},
    report::Report,
    subject::Generation,
};

/// The adapter's row as it was last stored.
///
/// There is one for every pair, and it is read only where the HyperFleet API is not: so it is kept as text, in a fraction
/// of the room that it takes when it is parsed. Copies share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Arc<str>);

/// What of a report its row has.
#[derive(Serialize)]
struct Stored<'r> {
    adapter: &'r str,
    observed_generation: Generation,
    conditions: &'r [Condition],
    data: &'r Value,
}

impl Row {
    /// The row that a report becomes.
    pub(super) fn of(report: &Report) -> Option<Self> {
        let stored = Stored {
            adapter: &report.adapter,
            observed_generation: report.observed_generation,
            conditions: &report.conditions,
            data: &report.data,
        };
        let text = serde_json::to_string(&stored).ok()?;
        Some(Self(text.into()))
    }

    /// The row; when it was stored is not known.
    pub(super) fn read(&self) -> Option<AdapterStatus> {
        serde_json::from_str(&self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{contract::Truth, report::Metadata};

    #[test]
    fn a_row_has_what_was_reported() {
        let report = Report {
            as_of: Timestamp::UNIX_EPOCH,
            replaces: Some(Timestamp::UNIX_EPOCH),
            adapter: "lz".to_owned(),
            observed_generation: 3,
            conditions: vec![Condition {
                kind: "Available".to_owned(),
                status: Truth::True,
                reason: "Done".to_owned(),
                message: "ü \"quoted\"".to_owned(),
            }],
            data: json!({"berth": {"finished": ["batch/v1 Job work/a"]}}),
            metadata: Metadata::default(),
        };
        let expected = AdapterStatus {
            adapter: report.adapter.clone(),
            observed_generation: report.observed_generation,
            conditions: report.conditions.clone(),
            data: report.data.clone(),
            last_report_time: String::new(),
        };
        assert_eq!(Row::of(&report).unwrap().read(), Some(expected));
    }
}
