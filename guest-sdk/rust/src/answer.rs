//! What a phase answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Json, Reference};

/// A phase's answer, and what it hands on to later phases of the same reconcile.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// The answer.
    pub value: T,
    /// For later phases, which see it as [`Facts::carry`](crate::Facts::carry); `null` for nothing.
    pub carry: Json,
}

impl<T> Answer<T> {
    /// Hands `carry` on to later phases.
    ///
    /// # Errors
    /// `DocumentInvalid` where it has no form in JSON.
    pub fn carrying(self, carry: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self {
            carry: Json::write(carry)?,
            ..self
        })
    }
}

impl<T> From<T> for Answer<T> {
    fn from(value: T) -> Self {
        Self {
            value,
            carry: Json::default(),
        }
    }
}

/// Why something did not succeed, in words for a status condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable and PascalCase, as in a Kubernetes condition: `ValidationFailed`.
    pub reason: String,
    /// One or two sentences that say what to do.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Failure {}

/// Something wrong in a plugin's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: keys joined by dots, indexes in brackets: `steps[2].expression`; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            hint: None,
        }
    }

    /// The same problem with a hint: what to write instead.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

/// May the adapter act? "No" is an answer, not a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Proceed,
    /// Not yet.
    Wait {
        /// What is waited for; at least one.
        unmet: Vec<Unmet>,
        /// Milliseconds after which to ask again without an event; none leaves it to the host.
        recheck_after_ms: Option<u32>,
    },
    /// The subject is not this adapter's concern; why.
    NotApplicable(String),
}

impl Verdict {
    /// Waits for one thing and leaves it to the host when to look again.
    pub fn wait(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Wait {
            unmet: vec![Unmet {
                name: name.into(),
                message: message.into(),
            }],
            recheck_after_ms: None,
        }
    }
}

/// One thing that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The step's name, unique within the adapter.
    pub name: String,
    /// What is waited for, in words.
    pub message: String,
}

/// What to do, in order.
///
/// The plans of all rounds together are what the adapter wants: an object of an earlier plan
/// that no round mentions is removed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What to do now.
    pub operations: Vec<Operation>,
    /// Execute this and ask again with what was observed; 32 rounds at most.
    pub more: bool,
}

impl Plan {
    /// The whole plan.
    #[must_use]
    pub fn last(operations: Vec<Operation>) -> Self {
        Self {
            operations,
            more: false,
        }
    }

    /// A round after which the plugin is asked again.
    #[must_use]
    pub fn round(operations: Vec<Operation>) -> Self {
        Self { operations, more: true }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Make it exist.
    Apply(Manifest),
    /// Make it not exist.
    Delete(Deletion),
    /// Look it up for the next round and the later phases.
    Discover(Query),
    /// Leave it, and keep it if it exists.
    Skip {
        /// The name under which it is told.
        name: String,
        /// Why.
        reason: String,
    },
}

impl From<Manifest> for Operation {
    fn from(manifest: Manifest) -> Self {
        Self::Apply(manifest)
    }
}

impl From<Deletion> for Operation {
    fn from(deletion: Deletion) -> Self {
        Self::Delete(deletion)
    }
}

impl From<Query> for Operation {
    fn from(query: Query) -> Self {
        Self::Discover(query)
    }
}

/// An object that should exist.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Unique within the adapter; names the object in later phases.
    pub name: String,
    /// `apiVersion`, `kind`, `metadata.name` and the rest. Labels, annotations and the
    /// namespace that berth needs are added by the host.
    pub document: Json,
    /// Delete and create again when the manifest changed, for kinds that cannot be updated
    /// in place. Jobs are always treated so.
    pub recreate: bool,
    /// Names of manifests of this plan that must be applied first.
    pub after: Vec<String>,
}

impl Manifest {
    /// An object that is updated in place and waits for no other.
    pub fn new(name: impl Into<String>, document: impl Into<Json>) -> Self {
        Self {
            name: name.into(),
            document: document.into(),
            recreate: false,
            after: Vec::new(),
        }
    }

    /// The same object, to be applied after the one named `name`.
    #[must_use]
    pub fn after(mut self, name: impl Into<String>) -> Self {
        self.after.push(name.into());
        self
    }

    /// The same object, to be deleted and created again when its manifest changed.
    #[must_use]
    pub fn recreated(self) -> Self {
        Self { recreate: true, ..self }
    }
}

/// An object that should not exist. Only the adapter's own objects are deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The name under which the result is told.
    pub name: String,
    /// Which object.
    pub target: Reference,
    /// What becomes of its dependents.
    pub propagation: Propagation,
}

/// What becomes of the objects that depend on a deleted one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Deleted later.
    #[default]
    Background,
    /// Deleted first.
    Foreground,
    /// Kept.
    Orphan,
}

/// A question about objects, asked with the rights of the adapter's service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The name under which hits appear among the objects.
    pub name: String,
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for all, or for a cluster-scoped kind.
    pub namespace: Option<String>,
    /// Which objects.
    pub selector: Selector,
}

/// How objects are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By name: one or none.
    Name(String),
    /// By labels, all of which must be equal.
    Labels(BTreeMap<String, String>),
}

/// Is the work done?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Not yet.
    Pending {
        /// What is going on, in words.
        message: String,
        /// Milliseconds after which to ask again although nothing changed.
        recheck_after_ms: Option<u32>,
    },
    /// Yes.
    Achieved,
    /// It ran and failed; a new generation tries again.
    Failed(Failure),
}

impl Outcome {
    /// Work in progress; the next change of an object is waited for.
    pub fn pending(message: impl Into<String>) -> Self {
        Self::Pending {
            message: message.into(),
            recheck_after_ms: None,
        }
    }
}

/// The status of a condition, as in Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// One condition of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// PascalCase and unique within a report: `Available`, `NetworkReady`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: Truth,
    /// Stable and PascalCase.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Condition {
    /// A condition.
    pub fn new(
        kind: impl Into<String>,
        status: impl Into<Truth>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// What the host would report without the plugin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// Which case this is: `in-progress`, `achieved`, `waiting`, `not-applicable`,
    /// `creation-failed`, `work-failed`, `plugin-failed`, `unreachable`, `deleting`, `finalized`.
    pub journey: String,
    /// The conditions, `Applied`, `Available` and `Health` among them.
    pub conditions: Vec<Condition>,
    /// The operations of this reconcile, in order.
    pub operations: Vec<OperationResult>,
}

impl Draft {
    /// The condition of this type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

/// One operation of the plan and its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationResult {
    /// The name in the plan.
    pub name: String,
    /// What became of it.
    pub effect: Effect,
}

/// What became of one operation of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The object was made.
    Created,
    /// The object was changed.
    Updated,
    /// The object was deleted and made again.
    Recreated,
    /// Nothing had to be done.
    Unchanged,
    /// The object was deleted, or its deletion has begun.
    Deleted,
    /// There was nothing to delete or to find.
    Absent,
    /// The query found something.
    Found,
    /// The plan left it, or something before it failed; why.
    Skipped(String),
    /// It failed.
    Failed(Failure),
}

/// A report.
///
/// What it raises above the evidence is lowered again by the host, and `Finalized` is the host's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatusReport {
    /// The conditions; those of the draft that are missing are added by the host.
    pub conditions: Vec<Condition>,
    /// An object; merged over what the document adds.
    pub data: Json,
}

/// The answer of the status phase. The default reports the draft as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatusAnswer {
    /// What to report; none for the draft as it is.
    pub report: Option<StatusReport>,
    /// Calls to make, in order; the first that fails ends them.
    pub actions: Vec<HttpAction>,
}

impl From<StatusReport> for StatusAnswer {
    fn from(report: StatusReport) -> Self {
        Self {
            report: Some(report),
            actions: Vec::new(),
        }
    }
}

/// A call of the HyperFleet API, made by the host after the report if it is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAction {
    /// For logs and metrics.
    pub name: String,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// A path of the HyperFleet API, or an absolute URL of a granted host.
    pub url: String,
    /// Headers; the host adds its own credentials.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Json>,
}
