//! An adapter as meant: what a document says once it has been checked.

use std::{collections::BTreeMap, time::Duration};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::Phase;

/// The name under which the expressions and templates of a document are asked, in
/// [`Adapter::plugins`] and in [`Adapter::phases`].
pub const DECLARATIVE: &str = "declarative";

/// One adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adapter {
    /// Its name; unique within a host.
    pub name: String,
    /// Kinds of subjects that it takes care of.
    pub subjects: Vec<String>,
    /// Subscriptions of its own, by source: `rabbitmq`, `pubsub`, `nats`. Where it has none, it
    /// shares that of the host.
    pub events: BTreeMap<String, Subscription>,
    /// Adapters that must have succeeded before.
    pub depends_on: Vec<Dependency>,
    /// The namespace of its objects and of its service account.
    pub namespace: String,
    /// The service account that writes and granted reads are made as. Never the host's own rights.
    pub service_account: String,
    /// What it may create. Never empty: the document's default is filled in.
    pub permits: Vec<Permit>,
    /// Its plugins by name, [`DECLARATIVE`] among them where the document has expressions.
    pub plugins: IndexMap<String, Plugin>,
    /// Which plugins are asked in which phase, in order. No phase is missing.
    pub phases: BTreeMap<Phase, Vec<Step>>,
    /// How resources are treated, by their name in the plan, or by the name of the plugin that
    /// plans them.
    pub resources: BTreeMap<String, ResourceSettings>,
    /// What is done with workloads that succeeded.
    pub cleanup: Option<Cleanup>,
    /// How long infrastructure trouble is borne before it is reported.
    pub grace: Duration,
    /// What is reported when a subject is not this adapter's.
    pub not_applicable: NotApplicable,
}

impl Adapter {
    /// The plugins that are asked in `phase`, in order.
    #[must_use]
    pub fn steps(&self, phase: Phase) -> &[Step] {
        self.phases.get(&phase).map_or(&[], Vec::as_slice)
    }

    /// Whether any phase asks for the owner's document or statuses.
    #[must_use]
    pub fn needs_owner_statuses(&self) -> bool {
        self.depends_on.iter().any(|dependency| dependency.of == Of::Owner)
    }
}

/// A subscription that a document names; what it leaves out is the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The topic; of NATS the stream.
    pub topic: Option<String>,
    /// The subscription; of NATS the consumer.
    pub subscription: Option<String>,
}

/// A plugin that is asked in a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name in [`Adapter::plugins`].
    pub plugin: String,
    /// In the resources phase: whether it is asked while the subject lives, while it is
    /// being deleted, or both. Other phases are asked always.
    pub during: During,
}

/// When something is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum During {
    /// While the subject lives.
    #[default]
    Life,
    /// While it is being deleted.
    Deletion,
    /// Both.
    Both,
}

impl During {
    /// Whether it is wanted now.
    #[must_use]
    pub fn includes(self, deleting: bool) -> bool {
        match self {
            Self::Life => !deleting,
            Self::Deletion => deleting,
            Self::Both => true,
        }
    }
}

/// Another adapter that must be Available=True at the current generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub adapter: String,
    /// Of which resource.
    pub of: Of,
}

/// Of which resource a dependency is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Of {
    /// The subject itself.
    #[default]
    Subject,
    /// Its owner.
    Owner,
}

/// What an adapter may create, change and delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Group and version.
    pub api_version: String,
    /// The kind; `*` for any.
    pub kind: String,
    /// The namespace; none for the adapter's own. `*` for any. Ignored for cluster-scoped kinds.
    /// May contain the same placeholders as the name.
    pub namespace: Option<String>,
    /// The name; none for any. Required for a cluster-scoped kind: of a custom kind, a permit with
    /// a name and without a namespace means just that. May contain
    /// `{{ .subject.id }}`, `{{ .subject.kind }}` and `{{ .owner.id }}`.
    pub name: Option<String>,
}

/// One plugin of an adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// Where its bytes come from.
    pub source: Source,
    /// Secrets with credentials for its registry, by name, in the adapter's namespace. Read as the adapter's service
    /// account.
    pub pull_secrets: Vec<String>,
    /// Its configuration.
    pub config: Value,
    /// What it may use.
    pub limits: Limits,
    /// What it may ask for.
    pub grants: Grants,
}

/// Where a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The component that berth itself contains.
    Embedded,
    /// A file.
    File(std::path::PathBuf),
    /// A reference to an OCI registry, without `oci://`.
    Oci(String),
}

/// What one call of a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Units of fuel, about one per instruction.
    pub fuel: u64,
    /// Bytes over all memories and tables.
    pub memory: usize,
    /// Guest time.
    pub deadline: Duration,
    /// Time in granted imports.
    pub host_time: Duration,
    /// Bytes that cross the boundary in one direction per import call, and in an answer.
    pub output: usize,
    /// Log lines.
    pub log_lines: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 50_000_000,
            memory: 64 << 20,
            deadline: Duration::from_millis(250),
            host_time: Duration::from_secs(5),
            output: 1 << 20,
            log_lines: 100,
        }
    }
}

/// What a plugin may ask for; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Paths of the HyperFleet API that may be read.
    pub fleet: Vec<PathGrant>,
    /// Kinds of Kubernetes objects that may be read.
    pub cluster: Vec<KindGrant>,
    /// HTTP servers that may be called.
    pub http: Vec<HostGrant>,
    /// Calls of the HyperFleet API, or of other hosts, that the status phase may ask for.
    pub actions: Vec<ActionGrant>,
    /// Environment variables of the host that are shown to it.
    pub variables: Vec<String>,
}

/// Paths that may be read. A pattern's `*` stands for one segment, a final `**` for the rest;
/// `{{ .subject.id }}`, `{{ .subject.href }}` and `{{ .owner.id }}` are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathGrant {
    /// `GET` or `POST`.
    pub methods: Vec<String>,
    /// The pattern.
    pub path: String,
}

/// A kind that may be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindGrant {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for the adapter's own, `*` for any, ignored for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// The name; none for any.
    pub name: Option<String>,
}

/// A server that may be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostGrant {
    /// `host` or `host:port`; `https` is required unless `insecure`.
    pub host: String,
    /// Methods; empty for `GET` only.
    pub methods: Vec<String>,
    /// Whether plain `http` is allowed.
    pub insecure: bool,
}

/// An action that may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionGrant {
    /// Methods.
    pub methods: Vec<String>,
    /// A path pattern as in [`PathGrant`], or an absolute URL pattern of the same form.
    pub url: String,
}

/// How one resource is treated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceSettings {
    /// What is done when its manifest changed while it runs.
    pub on_update: OnUpdate,
    /// Whether fields that another manager owns are taken over.
    pub force: bool,
    /// When it is wanted.
    pub during: During,
}

/// What is done with a running workload of an earlier generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnUpdate {
    /// It is deleted, then replaced.
    #[default]
    Replace,
    /// It may finish first.
    WaitForCompletion,
}

/// What is done with workloads that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleanup {
    /// How long after success they are deleted.
    pub after: Duration,
}

/// What Available is when a subject is not the adapter's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotApplicable {
    /// False.
    #[default]
    NotAvailable,
    /// True, so that a required adapter does not block.
    Available,
}
