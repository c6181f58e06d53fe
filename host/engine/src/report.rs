//! What is reported, and how far a plugin may change it.
//!
//! The host drafts the conditions of every [`Journey`]. A plugin may lower them, add its
//! own and add data ([`merge`]); it never raises them, and `Finalized` is the host's.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    contract::{Condition, StatusReport, Truth},
    reason::Reason,
    subject::Generation,
};

/// A status report. It counts from when its facts began to be read: one of another host that looked later is not
/// replaced by it, whichever is sent first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When its facts began to be read, by the host's clock.
    pub as_of: Timestamp,
    /// The time of the row that was among them, by the API's clock: what was read after that row replaces it.
    pub replaces: Option<Timestamp>,
    /// The adapter.
    pub adapter: String,
    /// The generation that was read from the API.
    pub observed_generation: Generation,
    /// The conditions: `Available`, `Applied`, `Health` among them.
    pub conditions: Vec<Condition>,
    /// An object.
    pub data: Value,
    /// What is known of the workload.
    pub metadata: Metadata,
}

/// What is known of the workload; the only keys that HyperFleet stores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The Job's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_namespace: Option<String>,
    /// Which attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_time: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_time: Option<String>,
    /// Such as `2m3s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}

/// The largest `data` that is sent, in bytes of JSON.
pub const DATA_LIMIT: usize = 64 << 10;

/// Which case a reconcile ended in: what a user sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Journey {
    /// A1: objects exist, the work is under way.
    InProgress {
        /// `WorkloadInProgress`, or why it stopped being available.
        reason: String,
        /// What is running.
        message: String,
    },
    /// A2: the work is done.
    Achieved {
        /// What was achieved.
        message: String,
    },
    /// A3: something must happen first.
    Waiting {
        /// `PreconditionsNotMet` or a finer one.
        reason: String,
        /// What is waited for, without the leading phrase.
        specifics: String,
    },
    /// A4: objects cannot be made, or their workload cannot start.
    CreationFailed {
        /// Why.
        reason: String,
        /// What happened, without the leading phrase.
        message: String,
    },
    /// A5: the workload ran and failed.
    WorkFailed {
        /// Why.
        reason: String,
        /// What went wrong, with a leading phrase.
        message: String,
    },
    /// A6: one of the two APIs cannot be reached.
    Unreachable {
        /// Which.
        reason: Reason,
        /// The error.
        message: String,
        /// Whether this generation has already succeeded.
        after_success: bool,
    },
    /// The subject is not this adapter's.
    NotApplicable {
        /// Why.
        why: String,
        /// Whether the document wants Available=True then.
        available: bool,
    },
    /// A plugin gave no answer.
    PluginFailed {
        /// Why.
        reason: String,
        /// The error.
        message: String,
        /// Whether our objects exist, as last proven.
        applied: bool,
        /// Whether this generation has already succeeded.
        after_success: bool,
    },
    /// Deletion is under way.
    Deleting {
        /// What is left.
        message: String,
    },
    /// Deletion cannot go on.
    DeletionFailed {
        /// Why.
        reason: String,
        /// The error.
        message: String,
        /// Whether an API cannot be reached or a plugin fails, as in A6; else the objects cannot be removed, as in A4.
        outage: bool,
    },
    /// Everything is gone.
    Finalized,
}

/// The phrase that begins every A3.
const WAITING: &str = "Waiting for dependencies to be met: ";
/// The phrase that begins every A4.
const FAILED_TO_CREATE: &str = "Failed to create workload: ";

impl Journey {
    /// The name in `draft.journey` of the contract, in logs and in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::InProgress { .. } => "in-progress",
            Self::Achieved { .. } => "achieved",
            Self::Waiting { .. } => "waiting",
            Self::CreationFailed { .. } => "creation-failed",
            Self::WorkFailed { .. } => "work-failed",
            Self::Unreachable { .. } => "unreachable",
            Self::NotApplicable { .. } => "not-applicable",
            Self::PluginFailed { .. } => "plugin-failed",
            Self::Deleting { .. } | Self::DeletionFailed { .. } => "deleting",
            Self::Finalized => "finalized",
        }
    }

    /// The reason that stands on Available, for logs and metrics.
    #[must_use]
    pub fn reason(&self) -> String {
        let (own, ours) = match self {
            Self::InProgress { reason, .. } => (reason.as_str(), Reason::WorkloadInProgress),
            Self::Waiting { reason, .. } => (reason.as_str(), Reason::PreconditionsNotMet),
            Self::CreationFailed { reason, .. } => (reason.as_str(), Reason::CreationFailed),
            Self::WorkFailed { reason, .. } => (reason.as_str(), Reason::WorkloadFailed),
            Self::PluginFailed { reason, .. } => (reason.as_str(), Reason::PluginFailed),
            Self::DeletionFailed { reason, .. } => (reason.as_str(), Reason::CleanupFailed),
            Self::Achieved { .. } => ("", Reason::PostconditionsMet),
            Self::Unreachable { reason, .. } => ("", *reason),
            Self::NotApplicable { .. } => ("", Reason::NotApplicable),
            Self::Deleting { .. } => ("", Reason::CleanupInProgress),
            Self::Finalized => ("", Reason::CleanupConfirmed),
        };
        if own.is_empty() { ours.name() } else { own }.to_owned()
    }

    /// Whether the platform team must hear of it.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::CreationFailed { .. }
            | Self::Unreachable { .. }
            | Self::PluginFailed { .. }
            | Self::DeletionFailed { .. } => true,
            Self::InProgress { .. }
            | Self::Achieved { .. }
            | Self::Waiting { .. }
            | Self::WorkFailed { .. }
            | Self::NotApplicable { .. }
            | Self::Deleting { .. }
            | Self::Finalized => false,
        }
    }

    /// The text that a user reads first: the message of Available, or of Health where only
    /// Health changed. Never empty: where nobody said anything, it is what the reason means. Where somebody has to act, it
    /// ends with what to do ([`Reason::remediation`]).
    #[must_use]
    pub fn message(&self) -> String {
        let text = self.text();
        if !text.trim().is_empty() {
            return text;
        }
        let reason = self.reason();
        let known = Reason::ALL.iter().find(|known| known.name() == reason);
        known.map_or(reason, |known| known.meaning().trim().trim_end_matches('.').to_owned())
    }

    fn text(&self) -> String {
        match self {
            Self::InProgress { message, .. }
            | Self::Achieved { message }
            | Self::Deleting { message }
            | Self::DeletionFailed { message, .. } => message.clone(),
            Self::WorkFailed { reason, message } | Self::PluginFailed { reason, message, .. } => {
                advised(reason, message)
            }
            Self::Unreachable { reason, message, .. } => advised(reason.name(), message),
            Self::Waiting { specifics, .. } => format!("{WAITING}{specifics}"),
            Self::CreationFailed { reason, message } => advised(reason, &format!("{FAILED_TO_CREATE}{message}")),
            Self::NotApplicable { why, .. } => format!("NotApplicable: {why}"),
            Self::Finalized => "All objects are gone".to_owned(),
        }
    }

    /// The conditions of this case: Applied, Available, Health, and Finalized in deletion.
    #[must_use]
    pub fn conditions(&self) -> Vec<Condition> {
        let text = self.message();
        let reason = self.reason();
        let exist = "The adapter's objects exist";
        let stays = (Reason::PostconditionsMet.name(), "The work was done before");
        let plain = (Reason::NoErrors.name(), "Nothing unexpected happened");
        let journey = (reason.as_str(), text.as_str());
        let created = (Reason::ResourcesCreated.name(), exist);
        let row = |kind: &str, status: bool, (reason, message): (&str, &str)| Condition {
            kind: kind.to_owned(),
            status: Truth::from(status),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let three = |applied, available, health| {
            let (applied, applied_text) = applied;
            let (available, available_text) = available;
            let (health, health_text) = health;
            vec![
                row("Applied", applied, applied_text),
                row("Available", available, available_text),
                row("Health", health, health_text),
            ]
        };
        match self {
            Self::InProgress { .. } | Self::WorkFailed { .. } => {
                three((true, created), (false, journey), (true, plain))
            }
            Self::Achieved { .. } => three((true, created), (true, journey), (true, plain)),
            Self::Waiting { .. } => three((false, journey), (false, journey), (true, plain)),
            Self::CreationFailed { .. } => three((false, journey), (false, journey), (false, journey)),
            Self::Unreachable {
                after_success: false, ..
            } => three((false, journey), (false, journey), (false, journey)),
            Self::Unreachable {
                after_success: true, ..
            } => three((true, created), (true, stays), (false, journey)),
            Self::NotApplicable { available, .. } => three((false, journey), (*available, journey), (true, plain)),
            Self::PluginFailed {
                applied, after_success, ..
            } => three(
                (*applied, if *applied { created } else { journey }),
                (*after_success, if *after_success { stays } else { journey }),
                (false, journey),
            ),
            Self::Deleting { .. } => {
                let mut conditions = three((true, created), (false, journey), (true, plain));
                conditions.push(row("Finalized", false, journey));
                conditions
            }
            Self::DeletionFailed { .. } => {
                let mut conditions = three((true, created), (false, journey), (false, journey));
                conditions.push(row("Finalized", false, (Reason::CleanupInProgress.name(), &text)));
                conditions
            }
            Self::Finalized => {
                let mut conditions = three((false, journey), (false, journey), (true, plain));
                conditions.push(row("Finalized", true, journey));
                conditions
            }
        }
    }
}

/// The message with what to do about its reason, unless it is a reason of the adapter's own.
pub(crate) fn advised(reason: &str, message: &str) -> String {
    let remediation = Reason::named(reason).map_or("", Reason::remediation);
    if remediation.is_empty() {
        return message.to_owned();
    }
    let message = message.trim_end_matches(['.', ' ', '\n']);
    let dot = if message.ends_with(['!', '?']) { "" } else { "." };
    format!("{message}{dot} {remediation}")
}

/// Lays a plugin's report over the draft.
///
/// # Errors
/// A sentence that says why the plugin's report cannot be used: a type that is empty, not
/// PascalCase or there twice, data that is not an object or too large.
pub fn merge(
    conditions: &mut Vec<Condition>,
    data: &mut Map<String, Value>,
    report: StatusReport,
) -> Result<(), String> {
    let mut seen: Vec<&str> = Vec::new();
    for condition in &report.conditions {
        if !condition.kind.starts_with(|first: char| first.is_ascii_uppercase())
            || !condition.kind.chars().all(|letter| letter.is_ascii_alphanumeric())
        {
            return Err(format!("the condition type `{}` is not PascalCase", condition.kind));
        }
        if seen.contains(&condition.kind.as_str()) {
            return Err(format!("the condition `{}` is there twice", condition.kind));
        }
        seen.push(&condition.kind);
    }
    match &report.data {
        Value::Object(_) | Value::Null => {}
        other => return Err(format!("data is {}, not an object", kind_of(other))),
    }
    let size = report.data.to_string().len();
    if size > DATA_LIMIT {
        return Err(format!("data has {size} bytes, more than {DATA_LIMIT}"));
    }

    for condition in report.conditions {
        if condition.kind == "Finalized" {
            continue;
        }
        let required = matches!(condition.kind.as_str(), "Applied" | "Available" | "Health");
        match conditions.iter_mut().find(|drafted| drafted.kind == condition.kind) {
            Some(drafted) if required => lower(drafted, condition),
            Some(existing) => *existing = condition,
            None => conditions.push(condition),
        }
    }
    if let Value::Object(added) = report.data {
        // `berth` is the host's own memory.
        data.extend(added.into_iter().filter(|(key, _)| key != "berth"));
    }
    Ok(())
}

fn lower(drafted: &mut Condition, wanted: Condition) {
    match (drafted.status, wanted.status) {
        (Truth::True, Truth::False) => *drafted = wanted,
        (Truth::True, Truth::Unknown) => {
            let message = format!("The plugin reported {}=Unknown: {}", wanted.kind, wanted.message);
            drafted.status = Truth::False;
            drafted.reason = Reason::PluginReportedUnknown.name().to_owned();
            drafted.message = message;
        }
        (Truth::True, Truth::True) | (Truth::False | Truth::Unknown, _) => {}
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
