//! The world as the driver sees it: three services that execute effects.
//!
//! Rooms implement these traits and know nothing of each other: `fleet` and
//! `cluster` on the real APIs, `simulate` in memory, the runtime's adapter for plugins.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_engine::{
    adapter::Adapter,
    contract::{AdapterStatus, HttpAction, PhaseAnswer, PluginFault, Query, Question, Reference},
    document::Document,
    effect::{Apply, ClusterFault, Delete, Deleted, FleetFault, KindScope, Observed, Ownership, Reported},
    report::Report,
    subject::{SubjectKey, SubjectRef},
};
use berth_runtime::{
    Kept,
    hosts::{HttpAnswer, HttpQuestion, HttpRefusal},
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

/// The HyperFleet API.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// GETs a resource. `path` begins with `/`.
    async fn get(&self, path: &str) -> Result<Document, FleetFault>;

    /// All status rows of the resource at `path`, over all pages.
    async fn statuses(&self, path: &str) -> Result<Vec<AdapterStatus>, FleetFault>;

    /// PUTs a report to `{path}/statuses` with a fresh, strictly increasing `observed_time`.
    async fn report(&self, path: &str, report: &Report) -> Result<Reported, FleetFault>;

    /// Makes any other call to a path of the API; answers with status and body.
    ///
    /// Fails only where there is no answer: a 404 or 422 is an answer.
    async fn send(&self, action: &HttpAction) -> Result<(u16, Value), FleetFault>;
}

/// As whom a call is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The namespace of the service account.
    pub namespace: String,
    /// The service account. What the host reads for itself is read as nobody, so no adapter can have its rights.
    pub service_account: String,
}

/// An object of ours changed, appeared or vanished, or a namespace that a manifest needs appeared.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The adapter, from the object's label.
    pub adapter: String,
    /// The subject, from the object's labels and annotations.
    pub subject: SubjectRef,
    /// The object.
    pub object: Reference,
}

/// How many objects [`Cluster::find`] answers with at most.
pub const FOUND_AT_MOST: usize = 500;
/// How many bytes of JSON the objects of one [`Cluster::find`] may have together, as the API server sends them.
pub const FOUND_BYTES: usize = 8 << 20;

/// Kubernetes.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Lists the objects that carry our labels for this adapter and subject, of these
    /// kinds, with what pods and events say about them. Unknown kinds have no objects.
    /// Made with the host's own rights.
    async fn observe(&self, ownership: &Ownership) -> Result<Vec<Observed>, ClusterFault>;

    /// Lists objects by name or labels, as `identity`. At most [`FOUND_AT_MOST`]; more than [`FOUND_BYTES`] of them
    /// are refused as [`TooLarge`](berth_engine::effect::ClusterCause::TooLarge).
    async fn find(&self, identity: &Identity, query: &Query) -> Result<Vec<Value>, ClusterFault>;

    /// Applies, as `identity`, under the condition in `apply.expect`.
    async fn apply(&self, identity: &Identity, apply: &Apply) -> Result<Observed, ClusterFault>;

    /// Deletes, as `identity`, if uid and resourceVersion still match.
    async fn delete(&self, identity: &Identity, delete: &Delete) -> Result<Deleted, ClusterFault>;

    /// Watches these kinds for objects that carry our labels, in addition to those watched
    /// already. Changes go to the receiver of [`Cluster::changes`], the objects that exist
    /// now among them.
    async fn watch(&self, kinds: &[KindScope]);

    /// Tells when `namespace` appears: a change for this adapter and subject is sent then, once. What they awaited
    /// before is forgotten.
    fn await_namespace(&self, namespace: &str, adapter: &str, subject: &SubjectRef);

    /// This adapter awaits no namespace any more for `subject`; none for all of its subjects.
    fn await_nothing(&self, adapter: &str, subject: Option<&SubjectKey>);

    /// The receiver of changes. The first call gets it.
    fn changes(&self) -> Option<mpsc::Receiver<Change>>;

    /// Lists all objects of these kinds that carry our label for this adapter, of whatever
    /// subject, without any diagnosis. Unknown kinds have no objects. Made with the host's
    /// own rights.
    async fn owned(&self, adapter: &str, kinds: &[KindScope]) -> Result<Vec<Observed>, ClusterFault>;

    /// Publishes a Kubernetes Event about an adapter's trouble, for the platform team. Best effort.
    async fn announce(&self, adapter: &Adapter, subject: &SubjectKey, reason: &str, message: &str);

    /// Whether the API server answered lately; for readiness.
    async fn reachable(&self) -> bool;

    /// The API server's time, as far as its answers told it: what Kubernetes writes into objects is by this clock.
    fn now(&self) -> Option<Timestamp> {
        None
    }
}

/// Servers other than the two APIs.
#[async_trait]
pub trait Web: Send + Sync {
    /// Sends a request that a grant has allowed. Redirects are not followed.
    async fn send(&self, question: &HttpQuestion) -> Result<HttpAnswer, HttpRefusal>;
}

/// All that a reconcile acts on.
#[derive(Clone)]
pub struct World {
    /// The HyperFleet API.
    pub fleet: Arc<dyn Fleet>,
    /// Kubernetes.
    pub cluster: Arc<dyn Cluster>,
    /// Other servers.
    pub web: Arc<dyn Web>,
}

/// Plugins in registries. Whoever implements it trusts nothing that a registry says: what it
/// answers with has been verified.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Fetches the component that `reference` names: what follows `oci://` in a document.
    /// Takes as long as it takes, within its own time limits; never blocks.
    async fn fetch(&self, reference: &str, refresh: Refresh) -> Result<Artifact, ArtifactFault>;

    /// What is known of a reference from before, without reading the component: for this recipient, or for all that
    /// are not judged apart. None: it must be fetched.
    async fn known(&self, _recipient: Option<&Recipient>, _reference: &str) -> Option<KnownArtifact> {
        None
    }

    /// What `reference` stood for is live: `digest` is what is known of it from before when it is asked next. Until
    /// then, that is what took over before.
    async fn took_over(&self, _reference: &str, _digest: &str) {}

    /// Whether what this recipient gets may differ from what others get for the same reference: it needs other
    /// signatures, or has credentials of its own.
    fn judges_apart(&self, recipient: &Recipient) -> bool {
        !recipient.pull_secrets.is_empty()
    }

    /// The same as [`Artifacts::fetch`], by what this recipient needs and may have.
    async fn fetch_for(
        &self,
        _recipient: &Recipient,
        reference: &str,
        refresh: Refresh,
    ) -> Result<Artifact, ArtifactFault> {
        self.fetch(reference, refresh).await
    }
}

/// For whom a plugin is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The adapter.
    pub adapter: String,
    /// As whom its pull secrets are read.
    pub identity: Identity,
    /// Secrets with credentials, by name, in the namespace of the identity.
    pub pull_secrets: Vec<String>,
}

/// What is expected of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// What was verified before is good enough, so that a host starts without its registry.
    Known,
    /// The registry is asked which digest the tag has now.
    Resolve,
}

/// A component from a registry, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The component.
    pub bytes: Arc<[u8]>,
    /// The digest of its manifest, with its algorithm: `sha256:…`.
    pub digest: String,
    /// The names of the keys or identities whose signatures were verified.
    pub signed_by: Vec<String>,
    /// Whether the registry was asked for it; else it is what is known from before.
    pub asked: bool,
    /// Why this is what was verified before and not what the registry has now, where it could not be asked, or does not
    /// let us in.
    pub stale: Option<ArtifactFault>,
}

/// An [`Artifact`] whose bytes are not needed by whoever has its compiled code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownArtifact {
    /// The SHA-256 of the component, 64 hex digits.
    pub component: String,
    /// As in [`Artifact`].
    pub digest: String,
    /// As in [`Artifact`].
    pub signed_by: Vec<String>,
}

/// Why there is no [`Artifact`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ArtifactFault {
    /// PascalCase and stable.
    pub reason: String,
    /// What happened and what to do, without any credential.
    pub message: String,
    /// Whether another attempt may succeed without anybody doing anything.
    pub retryable: bool,
    /// How long to wait for that at least, if the registry says so.
    pub retry_after: Option<Duration>,
}

/// The plugins of one adapter.
#[async_trait]
pub trait Plugins: Send + Sync {
    /// Asks the plugin of this name in the adapter's document. `kept` is for the calls of one reconcile that follow
    /// each other; whoever asks drops it before the host acts.
    async fn ask(&self, plugin: &str, question: &Question, kept: &mut Kept) -> Result<PhaseAnswer, PluginFault>;
}

/// A text that may hold a credential. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it from being shown.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whoever uses it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}
