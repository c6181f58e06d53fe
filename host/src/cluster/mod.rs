//! Kubernetes: applies, deletes, finds, watches and diagnoses objects.
//!
//! Owns every call to the Kubernetes API. Knows nothing of plugins, events or reports: it
//! is handed what the engine asks for and answers with what it saw.
//!
//! # Guarantees
//! - Every write is conditional, and made as the adapter's service account (impersonation):
//!   the host's own rights are to read, to impersonate and to publish Events.
//! - An outage is told within a few seconds, also to those who only read what is watched.
//! - What was written is read, although the watch has not told it yet.
//! - Of Secrets and ConfigMaps of ours, nothing but metadata is fetched or kept; no error repeats a value of a Secret.
//! - No answer of the API server takes more memory than its bound.

mod backoff;
mod changes;
mod client;
mod discreet;
mod ended;
mod explain;
mod fault;
mod found;
mod kinds;
mod lists;
mod namespaces;
mod objects;
mod packed;
mod refusals;
mod store;
mod watch;
mod wire;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use berth_engine::{
    adapter::Adapter,
    contract::{Propagation, Query, Reference},
    effect::{Apply, ClusterCause, ClusterFault, Delete, Deleted, Expect, KindScope, Observed, Ownership},
    manifest::LABEL_ADAPTER,
    subject::{SubjectKey, SubjectRef},
};
use http::Method;
use jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};

use self::{
    changes::Changes,
    ended::Ended,
    fault::Refusal,
    found::{Found, Held},
    kinds::{Doubt, Kind, Kinds},
    namespaces::Namespaces,
    objects::{Holder, change, has_pods, is_ours, observed, prune, workloads},
    store::{Budget, Kept, key},
    watch::{News, Scope},
    wire::{APPLY, Call, JSON, Wire, lock, reference},
};
use crate::world::{Change, Cluster, Identity};

/// How many changes may wait in the channel; more wait, merged, before it.
const CHANGES: usize = 256;
/// How often the same trouble is announced at most.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(600);

/// How to reach Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file that tells how to connect. None: as a pod of the cluster, else by the files
    /// that `KUBECONFIG` names, else by `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context in that file; none for its current one.
    pub context: Option<String>,
    /// Bytes that watched objects may take; beyond, only their metadata is kept and the rest
    /// is fetched when it is needed.
    pub byte_budget: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            byte_budget: 64 << 20,
        }
    }
}

/// Why there is no way to reach Kubernetes. Whether an API server answers is not part of it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be read, or lacks something.
    #[error("the kubeconfig{} cannot be used", path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    Kubeconfig {
        /// The file; none for that of the environment.
        path: Option<PathBuf>,
        /// What is wrong with it.
        #[source]
        source: kube::config::KubeconfigError,
    },
    /// What the kubeconfig says of certificates or credentials cannot be used.
    #[error("no client for the Kubernetes API can be made from the configuration")]
    Client(#[source] kube::Error),
}

/// The Kubernetes API behind [`Cluster`].
pub struct Kubernetes {
    shared: Arc<Shared>,
    budget: Arc<Budget>,
    changes: Changes,
    receiver: Mutex<Option<mpsc::Receiver<Change>>>,
    namespaces: Arc<Namespaces>,
    announced: Mutex<HashMap<(String, SubjectKey, String), Instant>>,
    /// The namespaces in which refusals of pods are watched; none for all.
    refusals: Mutex<Vec<Option<String>>>,
    /// Ended when this value is dropped.
    tasks: Mutex<JoinSet<()>>,
}

/// What watches share with calls.
struct Shared {
    wire: Arc<Wire>,
    kinds: Arc<Kinds>,
    scopes: RwLock<Vec<Arc<Scope>>>,
    /// What was found out about Jobs that have ended.
    ended: Ended,
}

impl Kubernetes {
    /// How many objects the watches hold, by kind, and about how many bytes they take together.
    #[must_use]
    pub fn held(&self) -> (BTreeMap<String, usize>, usize) {
        let mut objects = BTreeMap::new();
        for scope in read(&self.shared.scopes).iter() {
            let count = wire::lock(&scope.store).all().count();
            *objects.entry(scope.kind.clone()).or_default() += count;
        }
        (objects, self.budget.used())
    }
}

impl Kubernetes {
    /// Prepares the connection and starts the tasks that watch. The API server need not
    /// answer yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When no usable configuration is found.
    pub async fn connect(settings: Settings) -> Result<Arc<Self>, ConnectError> {
        // Another provider may be there already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = configuration(&settings).await?;
        let client = client::client(config).map_err(ConnectError::Client)?;
        Ok(Self::over(client, settings.byte_budget))
    }

    fn over(client: kube::Client, byte_budget: usize) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(CHANGES);
        let kubernetes = Self {
            shared: Arc::new(Shared {
                wire: Arc::new(Wire::new(client)),
                kinds: Arc::default(),
                scopes: RwLock::default(),
                ended: Ended::new(),
            }),
            budget: Arc::new(Budget::new(byte_budget)),
            changes: Changes::default(),
            receiver: Mutex::new(Some(receiver)),
            namespaces: Arc::default(),
            announced: Mutex::default(),
            refusals: Mutex::default(),
            tasks: Mutex::default(),
        };
        kubernetes.spawn(kubernetes.changes.clone().forward(sender));
        let namespaces = Arc::clone(&kubernetes.namespaces);
        kubernetes.spawn(namespaces.run(Arc::clone(&kubernetes.shared.wire), kubernetes.changes.clone()));
        Arc::new(kubernetes)
    }

    /// The host's own client.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.shared.wire.host_client()
    }

    /// Tells of all objects that are held, as if each had just changed.
    pub fn recall(&self) {
        for scope in read(&self.shared.scopes).iter() {
            scope.each(|document| {
                change(&document)
                    .into_iter()
                    .for_each(|change| self.changes.send(change))
            });
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.tasks).spawn(task);
    }

    /// Starts a watch unless one covers it.
    fn watch_scope(&self, api_version: &str, kind: &str, namespace: Option<&str>) {
        let mut scopes = write(&self.shared.scopes);
        if scopes.iter().any(|scope| scope.covers(api_version, kind, namespace)) {
            return;
        }
        let scope = Arc::new(Scope::new(api_version, kind, namespace, Arc::clone(&self.budget)));
        scopes.push(Arc::clone(&scope));
        drop(scopes);
        let shared = Arc::clone(&self.shared);
        let changes = self.changes.clone();
        let tell = move |news: News| {
            let (News::Present(document) | News::Vanished(document)) = news;
            for change in change(&document).into_iter().chain(shared.change_by_pod(&document)) {
                changes.send(change);
            }
        };
        self.spawn(scope.run(Arc::clone(&self.shared.wire), Arc::clone(&self.shared.kinds), tell));
    }

    /// Starts a watch of the Events that tell of refused pods, unless one covers the namespace.
    fn watch_refusals(&self, namespace: Option<&str>) {
        let mut watched = lock(&self.refusals);
        if watched.iter().any(|one| one.is_none() || one.as_deref() == namespace) {
            return;
        }
        watched.push(namespace.map(str::to_owned));
        drop(watched);
        let shared = Arc::clone(&self.shared);
        let changes = self.changes.clone();
        let tell = move |workload: &Reference| {
            if let Some(change) = shared.change_of(workload, |_| true) {
                changes.send(change);
            }
        };
        let wire = Arc::clone(&self.shared.wire);
        self.spawn(refusals::run(wire, namespace.map(str::to_owned), tell));
    }
}

#[async_trait]
impl Cluster for Kubernetes {
    async fn observe(&self, ownership: &Ownership) -> Result<Vec<Observed>, ClusterFault> {
        let holder = Holder::from(ownership);
        let mut found: Vec<Found> = Vec::new();
        for scope in &ownership.kinds {
            let held = self.shared.held(scope, &holder).await?;
            for one in held.into_iter().filter_map(|held| self.shared.found(held)) {
                // Kinds of two groups may be the same objects.
                if !found.iter().any(|known| known.object.uid == one.object.uid) {
                    found.push(one);
                }
            }
        }
        self.shared.explain(&holder, &mut found).await?;
        Ok(found.into_iter().map(|found| found.object).collect())
    }

    async fn find(&self, identity: &Identity, query: &Query) -> Result<Vec<Value>, ClusterFault> {
        let shared = &self.shared;
        let found = shared
            .kinds
            .find(&shared.wire, &query.api_version, &query.kind, Doubt::Ask)
            .await;
        let kind = found.map_err(|refusal| refusal.about_kind(&query.kind))?;
        let kind = kind.ok_or_else(|| unknown_kind(&query.api_version, &query.kind))?;
        lists::find(&shared.wire, &kind, identity, query).await
    }

    async fn apply(&self, identity: &Identity, apply: &Apply) -> Result<Observed, ClusterFault> {
        let object = &apply.reference;
        let mut document = apply.document.clone();
        let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Err(misplaced(object, "has no metadata"));
        };
        match &apply.expect {
            // No object ever has this version, so it conflicts with any that is there; and an
            // object that is not there is created whatever version is asked for.
            Expect::Absent => {
                metadata.insert("resourceVersion".to_owned(), json!("1"));
            }
            Expect::Unchanged { uid, resource_version } => {
                metadata.insert("uid".to_owned(), json!(uid));
                metadata.insert("resourceVersion".to_owned(), json!(resource_version));
            }
        }
        let shared = &self.shared;
        let kind = shared.kind_of(object).await?;
        let call = Call::new(Method::PATCH, kind.object(object.namespace.as_deref(), &object.name))
            .query("fieldManager", apply.field_manager.clone())
            .query("force", apply.force.to_string())
            .body(APPLY, document)
            .by(identity);
        let document = match shared.wire.call(call).await {
            Ok(document) => prune(&kind, document),
            Err(refusal) => {
                let mut fault = discreet::told(refusal.about(object), &apply.document);
                // Fields of an object that should not be there conflict before its version does.
                if apply.expect == Expect::Absent && matches!(fault.cause, ClusterCause::FieldConflict { .. }) {
                    fault.cause = ClusterCause::Stale;
                }
                shared.after_fault(&kind, object, &fault).await;
                return Err(fault);
            }
        };
        shared.answered(&kind, &document);
        let mut found = Found::from(observed(document.into()));
        if let Some(holder) = Holder::of(&found.object.document) {
            // The write has succeeded, whatever can be found out about its pods.
            let _ = shared.explain(&holder, std::slice::from_mut(&mut found)).await;
        }
        Ok(found.object)
    }

    async fn delete(&self, identity: &Identity, delete: &Delete) -> Result<Deleted, ClusterFault> {
        let object = &delete.reference;
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": delete.uid, "resourceVersion": delete.resource_version},
            "propagationPolicy": match delete.propagation {
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
                Propagation::Orphan => "Orphan",
            },
        });
        let namespace = object.namespace.as_deref();
        let kind = self.shared.kind_of(object).await?;
        let call = Call::new(Method::DELETE, kind.object(namespace, &object.name))
            .body(JSON, options)
            .by(identity);
        match self.shared.wire.call(call).await {
            Ok(document) if lingers(&document) => {
                self.shared.answered(&kind, &prune(&kind, document));
                Ok(Deleted::Begun)
            }
            Ok(_) => {
                self.shared.gone(&kind, object, &delete.uid);
                Ok(Deleted::Begun)
            }
            Err(refusal) if refusal.code() == Some(404) => {
                self.shared.gone(&kind, object, &delete.uid);
                Ok(Deleted::Absent)
            }
            Err(refusal) => {
                let fault = refusal.about(object);
                self.shared.after_fault(&kind, object, &fault).await;
                Err(fault)
            }
        }
    }

    async fn watch(&self, kinds: &[KindScope]) {
        for scope in kinds {
            let namespace = scope.namespace.as_deref();
            self.watch_scope(&scope.api_version, &scope.kind, namespace);
            if has_pods(&scope.api_version, &scope.kind) {
                self.watch_scope("v1", "Pod", namespace);
                self.watch_refusals(namespace);
            }
        }
    }

    async fn owned(&self, adapter: &str, kinds: &[KindScope]) -> Result<Vec<Observed>, ClusterFault> {
        let shared = &self.shared;
        let selector = format!("{LABEL_ADAPTER}={adapter}");
        let mut found: Vec<Observed> = Vec::new();
        for scope in kinds {
            let refused = |refusal: Refusal| refusal.about_kind(&scope.kind);
            let kind = shared
                .kinds
                .find(&shared.wire, &scope.api_version, &scope.kind, Doubt::Ask)
                .await
                .map_err(refused)?;
            let Some(kind) = kind else { continue };
            let (items, _) = lists::list(&shared.wire, &kind, scope.namespace.as_deref(), &selector, None)
                .await
                .map_err(refused)?;
            found.extend(items.into_iter().filter(is_ours).map(|item| observed(item.into())));
        }
        let mut seen = std::collections::HashSet::new();
        found.retain(|one| seen.insert(one.uid.clone()));
        Ok(found)
    }

    fn await_namespace(&self, namespace: &str, adapter: &str, subject: &SubjectRef) {
        self.namespaces.wait(namespace, adapter, subject);
    }

    fn await_nothing(&self, adapter: &str, subject: Option<&SubjectKey>) {
        self.namespaces.forget(adapter, subject);
    }

    fn changes(&self) -> Option<mpsc::Receiver<Change>> {
        lock(&self.receiver).take()
    }

    async fn announce(&self, adapter: &Adapter, subject: &SubjectKey, reason: &str, message: &str) {
        let trouble = (adapter.name.clone(), subject.clone(), reason.to_owned());
        {
            let mut announced = lock(&self.announced);
            announced.retain(|_, when| when.elapsed() < ANNOUNCE_AGAIN);
            if announced.insert(trouble.clone(), Instant::now()).is_some() {
                return;
            }
        }
        let event = event(adapter, subject, reason, message, &Timestamp::now());
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", adapter.namespace);
        if let Err(refusal) = self
            .shared
            .wire
            .call(Call::new(Method::POST, path).body(JSON, event))
            .await
        {
            // Nobody has heard of it.
            lock(&self.announced).remove(&trouble);
            tracing::warn!(adapter = adapter.name, %subject, reason, cause = ?refusal, "cannot publish an Event");
        }
    }

    async fn reachable(&self) -> bool {
        self.shared.wire.in_contact().await.is_ok()
    }

    fn now(&self) -> Option<Timestamp> {
        self.shared.wire.now()
    }
}

impl Shared {
    /// The kind of an object that is written. Its place must fit: what a cluster-scoped kind
    /// would make of a namespace is not what was permitted.
    async fn kind_of(&self, object: &Reference) -> Result<Arc<Kind>, ClusterFault> {
        let found = self
            .kinds
            .find(&self.wire, &object.api_version, &object.kind, Doubt::Ask)
            .await;
        let kind = found.map_err(|refusal| refusal.about(object))?;
        let kind = kind.ok_or_else(|| unknown_kind(&object.api_version, &object.kind))?;
        match (kind.namespaced, &object.namespace) {
            (true, None) => Err(misplaced(object, "needs a namespace")),
            (false, Some(_)) => Err(misplaced(object, "is cluster-scoped and cannot be in a namespace")),
            (true, Some(_)) | (false, None) => Ok(kind),
        }
    }

    fn covering(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Vec<Arc<Scope>> {
        let scopes = read(&self.scopes);
        scopes
            .iter()
            .filter(|scope| scope.covers(api_version, kind, namespace))
            .map(Arc::clone)
            .collect()
    }

    /// A live watch that covers a kind in a place.
    fn live(&self, scope: &KindScope) -> Option<Arc<Scope>> {
        let KindScope {
            api_version,
            kind,
            namespace,
        } = scope;
        read(&self.scopes)
            .iter()
            .find(|one| one.covers(api_version, kind, namespace.as_deref()) && one.is_live())
            .map(Arc::clone)
    }

    /// An object of ours, as far as it is known without reading it.
    fn found(&self, held: Held) -> Option<Found> {
        match held {
            Held::Kept(place, packed) => self.ended.recall(&place, &packed).or_else(|| {
                let document = packed.document();
                is_ours(document.outline()).then(|| Found {
                    object: observed(document),
                    kept: Some((place, packed)),
                    known: None,
                })
            }),
            Held::Read(document) => is_ours(&document).then(|| observed(document.into()).into()),
        }
    }

    /// The documents of one kind that carry a holder's labels, pruned.
    async fn held(&self, scope: &KindScope, holder: &Holder) -> Result<Vec<Held>, ClusterFault> {
        let namespace = scope.namespace.as_deref();
        let refused = |refusal: Refusal| refusal.about_kind(&scope.kind);
        let Some(live) = self.live(scope) else {
            let found = self
                .kinds
                .find(&self.wire, &scope.api_version, &scope.kind, Doubt::Believe)
                .await;
            let Some(kind) = found.map_err(refused)? else {
                return Ok(Vec::new());
            };
            let (items, _) = lists::list(&self.wire, &kind, namespace, &holder.selector(), None)
                .await
                .map_err(refused)?;
            return Ok(items.into_iter().map(Held::Read).collect());
        };
        self.wire.in_contact().await.map_err(refused)?;
        let kept = lock(&live.store).held_by(holder, namespace);
        let mut held = Vec::with_capacity(kept.len());
        for (place, one) in kept {
            match one {
                Kept::Whole(packed) => held.push(Held::Kept(place, packed)),
                Kept::Metadata(packed) => {
                    held.extend(self.fetch(packed.document().outline()).await?.map(Held::Read));
                }
            }
        }
        Ok(held)
    }

    /// GETs what is known by its metadata only; none if it is gone.
    async fn fetch(&self, known: &Value) -> Result<Option<Value>, ClusterFault> {
        let object = objects::reference_of(known);
        let kind = self.kind_of(&object).await?;
        match self
            .wire
            .call(Call::get(kind.object(object.namespace.as_deref(), &object.name)))
            .await
        {
            Ok(document) => Ok(Some(prune(&kind, document))),
            Err(refusal) if refusal.code() == Some(404) => Ok(None),
            Err(refusal) => Err(refusal.about(&object)),
        }
    }

    /// Notes the answer to a call in the stores.
    fn answered(&self, kind: &Kind, document: &Value) {
        let (namespace, _) = key(document);
        for scope in self.covering(&kind.api_version, &kind.kind, namespace.as_deref()) {
            lock(&scope.store).answered(document);
        }
    }

    /// Notes that an object is gone in the stores.
    fn gone(&self, kind: &Kind, object: &Reference, uid: &str) {
        let key = (object.namespace.clone(), object.name.clone());
        for scope in self.covering(&kind.api_version, &kind.kind, object.namespace.as_deref()) {
            lock(&scope.store).deleted(&key, uid);
        }
    }

    /// A write was refused: what was known may be wrong, and must not be believed again.
    async fn after_fault(&self, kind: &Kind, object: &Reference, fault: &ClusterFault) {
        if fault.cause == ClusterCause::Stale {
            self.refresh(kind, object).await;
        } else if fault.cause == ClusterCause::UnknownKind {
            self.kinds.forget(&object.api_version);
        }
    }

    /// Brings the stores up to date about one object.
    async fn refresh(&self, kind: &Kind, object: &Reference) {
        let namespace = object.namespace.as_deref();
        let scopes = self.covering(&kind.api_version, &kind.kind, namespace);
        if scopes.is_empty() {
            return;
        }
        match self.wire.call(Call::get(kind.object(namespace, &object.name))).await {
            Ok(document) => {
                let document = prune(kind, document);
                if Holder::of(&document).is_some() {
                    self.answered(kind, &document);
                }
            }
            Err(refusal) if refusal.code() == Some(404) => {
                let key = (object.namespace.clone(), object.name.clone());
                for scope in scopes {
                    let mut store = lock(&scope.store);
                    let uid = store
                        .get(&key)
                        .map(|kept| kept.document().outline()["metadata"]["uid"].clone());
                    if let Some(uid) = uid.as_ref().and_then(Value::as_str) {
                        store.deleted(&key, uid);
                    }
                }
            }
            Err(refusal) => tracing::debug!(%object, cause = ?refusal, "cannot refresh"),
        }
    }

    /// The news about the workload whose pod this is.
    fn change_by_pod(&self, pod: &Value) -> Option<Change> {
        if pod["kind"] != "Pod" {
            return None;
        }
        let (namespace, _) = key(pod);
        workloads(pod).into_iter().find_map(|workload| {
            let object = reference(
                workload.api_version,
                workload.kind,
                namespace.as_deref(),
                &workload.name,
            );
            self.change_of(&object, |document| workload.is(document))
        })
    }

    /// The news about an object of ours that a store holds, if it is the one that is meant.
    fn change_of(&self, object: &Reference, is_meant: impl Fn(&Value) -> bool) -> Option<Change> {
        let key = (object.namespace.clone(), object.name.clone());
        self.covering(&object.api_version, &object.kind, object.namespace.as_deref())
            .into_iter()
            .find_map(|scope| {
                let kept = lock(&scope.store).get(&key).cloned();
                let document = kept?.document();
                Some(document.outline())
                    .filter(|outline| is_meant(outline))
                    .and_then(change)
            })
    }
}

async fn configuration(settings: &Settings) -> Result<kube::Config, ConnectError> {
    let options = KubeConfigOptions {
        context: settings.context.clone(),
        ..KubeConfigOptions::default()
    };
    let broken = |source| ConnectError::Kubeconfig {
        path: settings.kubeconfig.clone(),
        source,
    };
    if let Some(path) = &settings.kubeconfig {
        let file = Kubeconfig::read_from(path).map_err(broken)?;
        return kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .map_err(broken);
    }
    if settings.context.is_none()
        && let Ok(config) = kube::Config::incluster()
    {
        return Ok(config);
    }
    kube::Config::from_kubeconfig(&options).await.map_err(broken)
}

fn unknown_kind(api_version: &str, kind: &str) -> ClusterFault {
    ClusterFault {
        cause: ClusterCause::UnknownKind,
        message: format!("the API server knows no kind {kind} in {api_version}"),
        retry_after: None,
    }
}

/// Whether the answer to a deletion is an object that is still there: some kinds are
/// answered by what they were.
fn lingers(document: &Value) -> bool {
    let metadata = &document["metadata"];
    metadata["deletionTimestamp"].is_string()
        && (metadata["finalizers"].as_array().is_some_and(|all| !all.is_empty())
            || metadata["deletionGracePeriodSeconds"]
                .as_u64()
                .is_some_and(|seconds| seconds > 0))
}

fn misplaced(object: &Reference, problem: &str) -> ClusterFault {
    ClusterFault {
        cause: ClusterCause::Invalid,
        message: format!("{object} {problem}"),
        retry_after: None,
    }
}

/// A Kubernetes Event about an adapter, in its namespace.
fn event(adapter: &Adapter, subject: &SubjectKey, reason: &str, message: &str, now: &Timestamp) -> Value {
    let note: String = format!("{}: {subject}: {message}", adapter.name)
        .chars()
        .take(1000)
        .collect();
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "berth-", "namespace": adapter.namespace},
        // Microseconds are what the API reads.
        "eventTime": format!("{now:.6}"),
        "reportingController": "berth.hyperfleet.io/berth",
        "reportingInstance": "berth",
        "action": "Reconcile",
        "reason": reason,
        "type": "Warning",
        "note": note,
        "regarding": {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "namespace": adapter.namespace,
            "name": adapter.service_account,
        },
    })
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
