//! What a Job's document says of its run.

use serde_json::Value;

use crate::diagnose::condition;

/// How a Job's run is, by its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// Whether it ended well.
    pub is_complete: bool,
    /// Why it failed for good, if it did.
    pub failed: Option<Failed>,
    /// When it began, as the Job says it.
    pub started: Option<Box<str>>,
    /// When it ended well, as the Job says it.
    pub completed: Option<Box<str>>,
}

/// Why a Job failed for good, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Such as `BackoffLimitExceeded`.
    pub reason: Box<str>,
    /// For people.
    pub message: Box<str>,
}

impl Job {
    /// Reads a Job's document. Anything else has no run.
    #[must_use]
    pub fn of(document: &Value) -> Self {
        let status = &document["status"];
        let text = |value: &Value| value.as_str().map(Box::from);
        Self {
            is_complete: condition(document, "Complete").is_some(),
            failed: condition(document, "Failed").map(|failed| Failed {
                reason: text(&failed["reason"]).unwrap_or_default(),
                message: text(&failed["message"]).unwrap_or_default(),
            }),
            started: text(&status["startTime"]),
            completed: text(&status["completionTime"]),
        }
    }

    /// Whether it has ended, well or not.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_complete || self.failed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_as_its_conditions_say() {
        let of = |conditions: Value| {
            Job::of(&json!({"status": {"conditions": conditions, "startTime": "a", "completionTime": "b"}}))
        };
        let complete =
            of(json!([{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]));
        assert_eq!(
            (complete.is_complete, complete.is_over(), &complete.failed),
            (true, true, &None)
        );
        assert_eq!(
            (complete.started.as_deref(), complete.completed.as_deref()),
            (Some("a"), Some("b"))
        );
        let failed = of(json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "late"}]));
        let why = Failed {
            reason: "DeadlineExceeded".into(),
            message: "late".into(),
        };
        assert_eq!((failed.is_over(), failed.failed), (true, Some(why)));
        for conditions in [
            json!([{"type": "Suspended", "status": "True"}]),
            json!([{"type": "Complete", "status": "False"}, {"type": "Failed", "status": "Unknown"}]),
            json!("text"),
        ] {
            assert!(!of(conditions.clone()).is_over(), "{conditions}");
        }
        assert_eq!(Job::of(&Value::Null), Job::default());
    }
}
