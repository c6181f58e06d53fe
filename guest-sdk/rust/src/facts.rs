//! What a phase is told.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};

use crate::{Condition, Failure, Json};

/// All that a phase may see, the same for every phase of one reconcile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The adapter's name.
    pub adapter: String,
    /// Why this reconcile runs. A decision should rarely depend on it.
    pub trigger: Trigger,
    /// What it is about.
    pub subject: Subject,
    /// What all adapters last reported about the subject.
    pub statuses: Vec<AdapterStatus>,
    /// The plugin's configuration from the adapter document, an object.
    pub config: Json,
    /// What `setup` returned when the plugin was loaded; else empty. See [`Facts::prepared`].
    pub prepared: Vec<u8>,
    /// What earlier phases of this reconcile returned; `null` before the first.
    pub carry: Json,
    /// Variables granted to the plugin.
    pub variables: BTreeMap<String, String>,
    /// When this reconcile began, RFC 3339 in UTC with microseconds.
    pub now: String,
    /// The same for the same facts and plugin; for choices that must be repeatable.
    pub seed: u64,
    /// Documents by name that later versions of berth add. Ignore names that you do not know.
    pub extras: BTreeMap<String, Json>,
}

impl Facts {
    /// What [`Setup::prepare`](crate::Setup::prepare) returned.
    ///
    /// # Errors
    /// `PreparedInvalid` where nothing was prepared, or something of another type.
    pub fn prepared<P: DeserializeOwned>(&self) -> Result<P, Failure> {
        serde_json::from_slice(&self.prepared)
            .map_err(|error| Failure::new("PreparedInvalid", format!("cannot read what `setup` prepared: {error}")))
    }

    /// What one adapter last reported about the subject.
    #[must_use]
    pub fn status_of(&self, adapter: &str) -> Option<&AdapterStatus> {
        self.statuses.iter().find(|status| status.adapter == adapter)
    }
}

/// Why a reconcile runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Trigger {
    /// A CloudEvent; the whole event in its JSON format.
    Event(Json),
    /// An object of the adapter changed.
    Change(Reference),
    /// A time that an earlier answer asked for, or a retry.
    #[default]
    Timer,
}

/// The HyperFleet resource that a reconcile is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Subject {
    /// The kind: `Cluster`, `NodePool`.
    pub kind: String,
    /// Its identifier.
    pub id: String,
    /// Its path in the HyperFleet API: `/api/hyperfleet/v1/clusters/<id>`.
    pub href: String,
    /// Its generation, from 1; raised by every change of the resource.
    pub generation: u32,
    /// Whether its deletion has been asked for.
    pub deleting: bool,
    /// Its owner, if it has one.
    pub owner: Option<Owner>,
    /// The whole resource as the API returned it.
    pub document: Json,
}

impl Subject {
    /// The resource's `spec`.
    ///
    /// # Errors
    /// `SpecInvalid` where there is none, or it is not an `S`.
    pub fn spec<S: DeserializeOwned>(&self) -> Result<S, Failure> {
        #[derive(Deserialize)]
        struct Resource<S> {
            spec: S,
        }
        serde_json::from_str::<Resource<S>>(self.document.text())
            .map(|resource| resource.spec)
            .map_err(|error| Failure::new("SpecInvalid", format!("cannot read the spec of {}: {error}", self.kind)))
    }
}

/// The resource that owns the subject: the cluster of a nodepool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Owner {
    /// The kind: `Cluster`.
    pub kind: String,
    /// Its identifier.
    pub id: String,
    /// Its path in the HyperFleet API.
    pub href: String,
    /// The whole resource as the API returned it; `null` where nothing asked for it.
    pub document: Json,
    /// What adapters reported about it; empty where nothing asked for them.
    pub statuses: Vec<AdapterStatus>,
}

/// What an adapter last reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdapterStatus {
    /// The adapter's name.
    pub adapter: String,
    /// The generation that it reported about.
    pub observed_generation: u32,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Its data, an object.
    pub data: Json,
}

impl AdapterStatus {
    /// The condition of this type, such as `Available`.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

/// Which Kubernetes object is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Group and version, as in a manifest: `v1`, `batch/v1`.
    pub api_version: String,
    /// The kind, as in a manifest: `Job`.
    pub kind: String,
    /// The namespace; none for a cluster-scoped kind.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
}

/// An object as it exists in Kubernetes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    /// The name given to it in the plan. What a query found has the query's name, which is
    /// therefore not unique.
    pub name: String,
    /// The generation of the subject that it was last applied for; 0 if it is not ours.
    pub generation: u32,
    /// The object, without `managedFields`. Of the adapter's own Secrets and ConfigMaps
    /// only the metadata.
    pub document: Json,
    /// What berth found out about it, from pods and events.
    pub diagnosis: Option<Diagnosis>,
}

/// What berth found out about an object beyond its own document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// Stable and PascalCase: `ImagePullFailed`, `QuotaExceeded`, `WorkloadFailed`.
    pub reason: String,
    /// In words.
    pub message: String,
    /// The exit code that decided, if a container ended.
    pub exit_code: Option<i32>,
    /// The termination message that goes with it.
    pub termination_message: Option<String>,
    /// Which attempt of the workload this is, from 1.
    pub attempt: Option<u32>,
    /// How the containers of the latest pod ended.
    pub exits: Vec<ContainerExit>,
}

/// How one container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerExit {
    /// The container's name.
    pub container: String,
    /// Its exit code; 0 is success.
    pub exit_code: i32,
    /// Kubernetes' reason: `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
    /// What it wrote to its termination message file; may be empty.
    pub message: String,
}
