//! What a reconcile asks of the world, and what the world answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    contract::{
        AdapterStatus, Diagnosis, HttpAction, PhaseAnswer, PluginFault, Propagation, Query, Question, Reference,
    },
    document::Document,
    report::Report,
    subject::{Generation, SubjectKey},
};

/// One request to the world. The driver executes it and hands the answer to
/// [`crate::reconcile::Reconcile::next`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// GET a resource of the HyperFleet API. Answered by [`Answer::Fetched`].
    Fetch {
        /// Its path.
        path: String,
    },
    /// GET all statuses of a resource. Answered by [`Answer::Statuses`].
    Statuses {
        /// The resource's path, without `/statuses`.
        path: String,
    },
    /// Ask a plugin. Answered by [`Answer::Said`].
    Ask {
        /// The plugin's name in the document.
        plugin: String,
        /// The question.
        question: Box<Question>,
    },
    /// List what the adapter owns for the subject, of the given kinds. Answered by
    /// [`Answer::Observed`].
    Observe(Ownership),
    /// Look objects up with the adapter's own rights. Answered by [`Answer::Found`].
    Find(Query),
    /// Apply a manifest. Answered by [`Answer::Applied`].
    Apply(Box<Apply>),
    /// Delete an object. Answered by [`Answer::Deleted`].
    Delete(Delete),
    /// Send a report. Answered by [`Answer::Reported`].
    Report {
        /// The resource's path, without `/statuses`.
        path: String,
        /// The report.
        report: Box<Report>,
    },
    /// Make a call that the status phase asked for. Answered by [`Answer::Acted`].
    Act {
        /// The plugin that asked for it, and whose grants count.
        plugin: String,
        /// The call.
        action: HttpAction,
    },
}

/// The answer to an [`Effect`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// To [`Effect::Fetch`].
    Fetched(Result<Document, FleetFault>),
    /// To [`Effect::Statuses`].
    Statuses(Result<Vec<AdapterStatus>, FleetFault>),
    /// To [`Effect::Ask`].
    Said(Result<Box<PhaseAnswer>, PluginFault>),
    /// To [`Effect::Observe`].
    Observed(Result<Vec<Observed>, ClusterFault>),
    /// To [`Effect::Find`]: whole objects.
    Found(Result<Vec<Value>, ClusterFault>),
    /// To [`Effect::Apply`]: the object as it is now.
    Applied(Result<Box<Observed>, ClusterFault>),
    /// To [`Effect::Delete`].
    Deleted(Result<Deleted, ClusterFault>),
    /// To [`Effect::Report`].
    Reported(Result<Reported, FleetFault>),
    /// To [`Effect::Act`].
    Acted(Result<(), FleetFault>),
}

/// Whose objects, and of which kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The adapter.
    pub adapter: String,
    /// The subject.
    pub subject: SubjectKey,
    /// Kinds to look at.
    pub kinds: Vec<KindScope>,
}

/// A kind, and where to look for its objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KindScope {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for all, or for a cluster-scoped kind.
    pub namespace: Option<String>,
}

/// An object of ours as it exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Which object.
    pub reference: Reference,
    /// Its name in the plan, from its annotation.
    pub name: String,
    /// The subject's generation that it was applied for, from its annotation.
    pub generation: Generation,
    /// The hash of the manifest that it was applied from, from its annotation.
    pub manifest_hash: String,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// Whether its deletion has begun (`deletionTimestamp`).
    pub deleting: bool,
    /// The object without managedFields; metadata only for Secrets and ConfigMaps.
    pub document: Document,
    /// Whether its kind has no status: then there is nothing to wait for, unless the object has one all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub statusless: bool,
    /// What pods and events say about it; see [`crate::diagnose`].
    pub diagnosis: Option<Diagnosis>,
}

/// A conditional server-side apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Apply {
    /// Which object.
    pub reference: Reference,
    /// The manifest with our labels and annotations, ready to be sent.
    pub document: Value,
    /// The field manager, `berth/<adapter>`.
    pub field_manager: String,
    /// Whether fields of other managers are taken over.
    pub force: bool,
    /// What must be so for the write to happen.
    pub expect: Expect,
}

/// The condition of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// There is no such object.
    Absent,
    /// The object is this one, unchanged.
    Unchanged {
        /// Its uid.
        uid: String,
        /// Its resourceVersion.
        resource_version: String,
    },
}

/// A conditional delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    /// Which object.
    pub reference: Reference,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// What becomes of its dependents.
    pub propagation: Propagation,
}

/// What became of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deleted {
    /// Its deletion has begun; it may still be there for a while.
    Begun,
    /// There is no such object (any more).
    Absent,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reported {
    /// Stored (201).
    Stored,
    /// Discarded (204): the resource, or our row, is at a newer generation.
    Discarded,
}

/// Why the HyperFleet API gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum FleetFault {
    /// 404 `HYPERFLEET-NTF-001`: the resource is gone.
    #[error("the resource does not exist")]
    Gone,
    /// No connection, no answer in time, or 5xx, 408, 429 after all retries.
    #[error("HyperFleet API unreachable: {message}")]
    Unreachable {
        /// What happened, with the address and without credentials.
        message: String,
        /// How long the API asked to wait.
        retry_after: Option<Duration>,
    },
    /// The API refuses us: 401, 403, or 404 `HYPERFLEET-NTF-000` (a wrong URL).
    #[error("HyperFleet API misconfigured: {message}")]
    Misconfigured {
        /// What happened and what to do.
        message: String,
    },
    /// The request was wrong: any other 4xx.
    #[error("HyperFleet API rejected the request with {status}: {message}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The problem's detail.
        message: String,
    },
}

/// Why Kubernetes did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ClusterFault {
    /// What kind of trouble.
    pub cause: ClusterCause,
    /// In Kubernetes' words, with the object's name.
    pub message: String,
    /// How long the API server asked to wait.
    pub retry_after: Option<Duration>,
}

/// Kinds of trouble with Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterCause {
    /// No connection, no answer in time, or 5xx after the retries.
    Unreachable,
    /// A ResourceQuota is exceeded (403).
    Quota,
    /// A LimitRange does not allow it (403).
    LimitRange,
    /// RBAC, or impersonation, refuses (401, 403).
    Forbidden,
    /// An admission webhook or policy refuses.
    Admission,
    /// An admission webhook does not answer.
    WebhookUnavailable,
    /// The conversion webhook of a CustomResourceDefinition fails (500).
    ConversionUnavailable,
    /// Server-side apply conflicts with another field manager.
    FieldConflict {
        /// Who owns the fields.
        manager: String,
    },
    /// The object changed, appeared or vanished since it was observed (409): observe and decide again.
    Stale,
    /// The manifest changes a field that cannot be changed (422).
    Immutable,
    /// The manifest is not valid (422, 400).
    Invalid,
    /// Its namespace does not exist.
    NamespaceMissing {
        /// The namespace.
        namespace: String,
    },
    /// Its namespace is being deleted.
    NamespaceTerminating {
        /// The namespace.
        namespace: String,
    },
    /// The API server knows no such kind.
    UnknownKind,
    /// Too many requests (429).
    Throttled,
    /// What was looked up has more bytes than may be looked at.
    TooLarge,
    /// Anything else.
    Other,
}
