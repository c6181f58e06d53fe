//! What phases are told and what they answer: the values of `wit/`, as plain data.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    document::Document,
    subject::{Generation, OwnerRef, Subject},
};

/// One of the four questions that a plugin can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// May the adapter act?
    Preconditions,
    /// What should exist?
    Resources,
    /// Is it done?
    Postconditions,
    /// What to say?
    Status,
}

impl Phase {
    /// All phases in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Preconditions, Self::Resources, Self::Postconditions, Self::Status];

    /// The name of the interface in `wit/`, also used in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Preconditions => "preconditions",
            Self::Resources => "resources",
            Self::Postconditions => "postconditions",
            Self::Status => "status",
        }
    }
}

/// A reason and a message, as in a Kubernetes condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// PascalCase and stable.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// The status of a condition.
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

/// One condition of a report or of a stored status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// PascalCase, unique within a report.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: Truth,
    /// PascalCase and stable.
    #[serde(default)]
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// What an adapter last reported about a subject: a row of `…/statuses`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterStatus {
    /// The adapter.
    pub adapter: String,
    /// The generation that it reported about.
    pub observed_generation: Generation,
    /// Its conditions.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Its data, an object.
    #[serde(default)]
    pub data: Value,
    /// When the API stored it, RFC 3339; empty if unknown.
    #[serde(default)]
    pub last_report_time: String,
}

impl AdapterStatus {
    /// The status of one condition, if it is there.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// When the API stored it, if that is known.
    #[must_use]
    pub fn reported_at(&self) -> Option<Timestamp> {
        self.last_report_time.parse().ok()
    }
}

/// Which Kubernetes object is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// Group and version, as in a manifest.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for a cluster-scoped kind.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Why a reconcile runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A CloudEvent, in its JSON format.
    Event(Document),
    /// An object of ours changed.
    Change(Reference),
    /// A time came.
    Timer,
}

/// All that a phase may see, but for what belongs to the plugin itself (its configuration,
/// its variables and its seed), which the runtime adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The adapter's name.
    pub adapter: String,
    /// Why this reconcile runs.
    pub trigger: Trigger,
    /// What it is about.
    pub subject: Subject,
    /// The owner, where it was asked for.
    pub owner: Option<Owner>,
    /// What all adapters last reported about the subject.
    pub statuses: Vec<AdapterStatus>,
    /// What this plugin returned in earlier phases of this reconcile.
    pub carry: Value,
    /// When this reconcile began, RFC 3339 in UTC with microseconds.
    pub now: String,
}

/// The resource that owns the subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Owner {
    /// Which one.
    pub reference: OwnerRef,
    /// The whole resource; null where nothing asked for it.
    pub document: Document,
    /// What adapters reported about it.
    pub statuses: Vec<AdapterStatus>,
}

/// How one container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerExit {
    /// The container.
    pub container: String,
    /// Its exit code.
    pub exit_code: i32,
    /// Kubernetes' reason.
    pub reason: String,
    /// Its termination message.
    pub message: String,
}

/// What kind of news a [`Diagnosis`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nature {
    /// It is under way.
    Progress,
    /// It cannot start or go on for a cause outside of it: quota, image, scheduling.
    Infrastructure,
    /// It ran and failed for good.
    Failure,
}

/// What was found out about an object beyond its own document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// What kind of news.
    pub nature: Nature,
    /// PascalCase and stable.
    pub reason: String,
    /// In words.
    pub message: String,
    /// Since when, RFC 3339, if Kubernetes says so.
    pub since: Option<String>,
    /// The exit code that decided.
    pub exit_code: Option<i32>,
    /// The termination message that goes with it.
    pub termination_message: Option<String>,
    /// Which attempt this is, from 1.
    pub attempt: Option<u32>,
    /// How many attempts there may be.
    pub attempts: Option<u32>,
    /// How the containers of the latest pod ended.
    pub exits: Vec<ContainerExit>,
}

/// An object, as a phase sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Its name in the plan.
    pub name: String,
    /// The generation it was last applied for; 0 if it is not ours.
    pub generation: Generation,
    /// The object.
    pub document: Document,
    /// What was found out about it.
    pub diagnosis: Option<Diagnosis>,
}

/// One thing that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// The step.
    pub name: String,
    /// What is waited for.
    pub message: String,
}

/// The answer of the preconditions phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The adapter may act.
    Proceed,
    /// Not yet.
    Wait {
        /// What is waited for.
        unmet: Vec<Unmet>,
        /// When to ask again, in milliseconds.
        recheck_after_ms: Option<u32>,
    },
    /// The subject is not this adapter's concern.
    NotApplicable(String),
}

/// An object that should exist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name in the plan.
    pub name: String,
    /// The manifest.
    pub document: Document,
    /// Delete and create again when it changed.
    pub recreate: bool,
    /// Names that must be applied first.
    pub after: Vec<String>,
}

/// Which objects a query means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// By name.
    Name(String),
    /// By labels.
    Labels(Vec<(String, String)>),
}

/// A question about objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// The name under which hits appear.
    pub name: String,
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: Option<String>,
    /// Which.
    pub selector: Selector,
}

/// What becomes of the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Deleted later.
    Background,
    /// Deleted first.
    Foreground,
    /// Kept.
    Orphan,
}

/// One operation of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Make it exist.
    Apply(Manifest),
    /// Make it not exist.
    Delete {
        /// The name under which the result is told.
        name: String,
        /// Which object.
        target: Reference,
        /// What becomes of its dependents.
        propagation: Propagation,
    },
    /// Look it up for the next round.
    Discover(Query),
    /// Leave it.
    Skip {
        /// The name under which it is told.
        name: String,
        /// Why.
        reason: String,
    },
}

/// The answer of the resources phase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// What to do, in order.
    pub operations: Vec<Operation>,
    /// Execute and ask again.
    pub more: bool,
}

/// The answer of the postconditions phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Achievement {
    /// Not yet.
    Pending {
        /// What is going on.
        message: String,
        /// When to ask again, in milliseconds.
        recheck_after_ms: Option<u32>,
    },
    /// Done.
    Achieved,
    /// It ran and failed.
    Failed(Failure),
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationEffect {
    /// Made.
    Created,
    /// Changed.
    Updated,
    /// Deleted and made again.
    Recreated,
    /// As it should be already.
    Unchanged,
    /// Deleted, or on its way.
    Deleted,
    /// Nothing there.
    Absent,
    /// The query found something.
    Found,
    /// Left out.
    Skipped(String),
    /// It failed.
    Failed(Failure),
}

/// One operation and its effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationResult {
    /// The name in the plan.
    pub name: String,
    /// What became of it.
    pub effect: OperationEffect,
}

/// What the host would report by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// Which case this is; see [`crate::report::Journey::name`].
    pub journey: String,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// The operations of this reconcile.
    pub operations: Vec<OperationResult>,
}

/// A call of the HyperFleet API that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAction {
    /// For logs.
    pub name: String,
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// A path of the HyperFleet API, or an absolute URL.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<String>,
}

/// What a plugin wants reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// An object.
    pub data: Value,
}

/// The answer of the status phase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// What to report; none for the draft as it is.
    pub report: Option<StatusReport>,
    /// Calls to make.
    pub actions: Vec<HttpAction>,
}

/// A question to one plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// May the adapter act?
    Preconditions {
        /// The facts.
        #[serde(with = "shared")]
        facts: Arc<Facts>,
    },
    /// What should exist?
    Resources {
        /// The facts.
        #[serde(with = "shared")]
        facts: Arc<Facts>,
        /// What the adapter owns, and what queries found.
        objects: Vec<Object>,
    },
    /// Is it done?
    Postconditions {
        /// The facts.
        #[serde(with = "shared")]
        facts: Arc<Facts>,
        /// What was observed.
        objects: Vec<Object>,
    },
    /// What to say?
    Status {
        /// The facts.
        #[serde(with = "shared")]
        facts: Arc<Facts>,
        /// What was observed.
        objects: Vec<Object>,
        /// What the host would say.
        draft: Draft,
    },
}

impl Question {
    /// Which phase this is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Self::Preconditions { .. } => Phase::Preconditions,
            Self::Resources { .. } => Phase::Resources,
            Self::Postconditions { .. } => Phase::Postconditions,
            Self::Status { .. } => Phase::Status,
        }
    }

    /// The facts.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        match self {
            Self::Preconditions { facts }
            | Self::Resources { facts, .. }
            | Self::Postconditions { facts, .. }
            | Self::Status { facts, .. } => facts,
        }
    }
}

/// A plugin's answer and what it carries on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseAnswer {
    /// The answer; its case is that of the question.
    pub said: Said,
    /// For later phases of the same plugin; null for nothing.
    pub carry: Value,
}

/// What a plugin said, by phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// To preconditions.
    Preconditions(Verdict),
    /// To resources.
    Resources(Plan),
    /// To postconditions.
    Postconditions(Achievement),
    /// To status.
    Status(StatusAnswer),
}

/// Why a plugin gave no answer: its own failure, a trap, a limit, bad output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginFault {
    /// The plugin's name in the document.
    pub plugin: String,
    /// The phase.
    pub phase: Phase,
    /// PascalCase and stable: `PluginTrapped`, or the plugin's own.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// What phases share is stored as what it is.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Arc<T>, D::Error> {
        T::deserialize(from).map(Arc::new)
    }
}
