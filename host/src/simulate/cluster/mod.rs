//! Kubernetes in memory.
//!
//! Owns a small API server with the controllers, the scheduler and the kubelets that berth's
//! adapters meet: server-side apply with field managers, conditional writes, RBAC, quotas,
//! admission, namespaces, Jobs, Deployments, garbage collection, Events, outages. Knows nothing
//! of adapters' journeys or of berth's decisions; it implements [`Cluster`] like the real one.
//!
//! # Time
//! Everything happens on the time of a [`Clock`]. [`Kubernetes::run`] follows a clock that moves
//! by itself; with a [`VirtualClock`], [`Kubernetes::advance`] moves it and everything that falls due happens
//! at its time and in order, so that the same calls give the same cluster.
//!
//! # Limits
//! No StatefulSets, DaemonSets, CronJobs (they are stored, nothing runs), init containers or
//! volumes. Nothing is checked against the schemas of OpenAPI.

mod access;
mod api;
mod clock;
mod deployments;
mod document;
mod faults;
mod fields;
mod garbage;
mod index;
mod jobs;
mod kinds;
mod kubelet;
mod model;
mod notices;
mod scheduler;
mod store;
#[cfg(test)]
mod tests;
mod validation;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use berth_engine::{
    adapter::Adapter,
    contract::{Propagation, Query, Reference},
    effect::{Apply, ClusterFault, Delete, Deleted, KindScope, Observed, Ownership},
    subject::{SubjectKey, SubjectRef},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

pub use self::{
    access::Rule,
    clock::{Clock, SystemClock, VirtualClock},
    kinds::Kind,
    kubelet::ImageBehaviour,
    model::Pace,
};
use self::{access::Webhook, model::Model, store::Key};
use crate::world::{Change, Cluster, Identity};

/// How many changes wait for the receiver before the rest wait here.
const CHANGES: usize = 1024;
/// How long a full receiver is left alone.
const RECEIVER_PAUSE: Duration = Duration::from_millis(20);

/// A simulated Kubernetes. Its clones are the same cluster.
///
/// It begins with the namespaces `default` and `kube-system` and one node, `node-1`.
#[derive(Clone)]
pub struct Kubernetes {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Box<dyn Clock>,
    model: Mutex<Model>,
    sender: mpsc::Sender<Change>,
    receiver: Mutex<Option<mpsc::Receiver<Change>>>,
    /// Rung when something new may be due.
    bell: Notify,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").finish_non_exhaustive()
    }
}

/// Time.
impl Kubernetes {
    /// An empty cluster on this clock, at the default pace.
    #[must_use]
    pub fn new(clock: impl Clock) -> Self {
        Self::with_pace(clock, Pace::default())
    }

    /// An empty cluster on this clock.
    #[must_use]
    pub fn with_pace(clock: impl Clock, pace: Pace) -> Self {
        let (sender, receiver) = mpsc::channel(CHANGES);
        let model = Model::new(clock.now(), pace);
        let shared = Shared {
            clock: Box::new(clock),
            model: Mutex::new(model),
            sender,
            receiver: Mutex::new(Some(receiver)),
            bell: Notify::new(),
        };
        let kubernetes = Self {
            shared: Arc::new(shared),
        };
        kubernetes.namespace("default");
        kubernetes.namespace("kube-system");
        kubernetes.node("node-1", "64", "256Gi", 500);
        kubernetes
    }

    /// Lets everything happen that is due by the clock's time, in the order of its times. Answers
    /// when something is due next.
    pub fn step(&self) -> Option<Timestamp> {
        self.with(|model| model.next_due())
    }

    /// When something happens next by itself; nothing does without [`Kubernetes::step`],
    /// [`Kubernetes::advance`] or [`Kubernetes::run`].
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lock().next_due()
    }

    /// Moves a virtual clock, which must be this cluster's, and lets everything happen that is
    /// due meanwhile. Answers when something is due next.
    pub fn advance(&self, clock: &VirtualClock, by: Duration) -> Option<Timestamp> {
        clock.advance(by);
        self.step()
    }

    /// Follows the clock for ever. To be spawned where the clock is the machine's.
    pub async fn run(&self) {
        loop {
            let due = self.step();
            let pause = if self.lock().notices.untold.is_empty() {
                due.map(|due| Duration::try_from(self.shared.clock.now().duration_until(due)).unwrap_or_default())
            } else {
                Some(RECEIVER_PAUSE)
            };
            let timer = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                () = self.shared.bell.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        self.shared.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something at the clock's time, after what was due before it, and tells what changed.
    fn with<T>(&self, act: impl FnOnce(&mut Model) -> T) -> T {
        let mut model = self.lock();
        model.run_until(self.shared.clock.now());
        let result = act(&mut model);
        model.settle();
        while let Some(change) = model.notices.untold.front() {
            match self.shared.sender.try_send(change.clone()) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => model.notices.untold.pop_front(),
                Err(mpsc::error::TrySendError::Full(_)) => break,
            };
        }
        result
    }

    /// As [`Kubernetes::with`], where something may be due earlier than before.
    fn arrange<T>(&self, act: impl FnOnce(&mut Model) -> T) -> T {
        let result = self.with(act);
        self.shared.bell.notify_one();
        result
    }

    /// A call to the API: only while it answers.
    fn call<T>(&self, act: impl FnOnce(&mut Model) -> Result<T, ClusterFault>) -> Result<T, ClusterFault> {
        self.arrange(|model| {
            model.answering()?;
            act(model)
        })
    }
}

/// Arranging the cluster, with all rights and also while the API does not answer.
impl Kubernetes {
    /// Creates a namespace with its service account `default`. One that exists is left alone.
    pub fn namespace(&self, name: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.arrange(|model| {
            if model.store.get(&Key::new("v1", "Namespace", "", name)).is_none() {
                // A name that is none leaves the namespace missing, which every use of it says.
                let _ = model.create("kubectl", namespace);
            }
        });
    }

    /// Adds a node, or replaces one, with quantities of CPU and memory and a number of pods.
    pub fn node(&self, name: &str, cpu: &str, memory: &str, pods: u32) {
        let allocatable = json!({"cpu": cpu, "memory": memory, "pods": pods});
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": {}, "status": {"allocatable": allocatable, "capacity": allocatable},
        });
        self.arrange(|model| {
            model.store.remove(&Key::new("v1", "Node", "", name));
            let _ = model.create("kubelet", node);
        });
    }

    /// Grants rights to a service account, in addition to those it has, and creates the account
    /// where its namespace exists.
    pub fn grant(&self, namespace: &str, service_account: &str, rules: Vec<Rule>) {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": service_account, "namespace": namespace},
        });
        self.arrange(|model| {
            model.access.grant(namespace, service_account, rules);
            // It may exist, and rights do not need it.
            let _ = model.create("kubectl", account);
        });
    }

    /// Takes all rights from a service account.
    pub fn revoke(&self, namespace: &str, service_account: &str) {
        self.arrange(|model| model.access.revoke(namespace, service_account));
    }

    /// Sets a ResourceQuota: `count/jobs.batch`, `pods`, `requests.cpu` and so on, with quantities.
    ///
    /// # Errors
    /// When the namespace does not exist.
    pub fn quota(&self, namespace: &str, name: &str, hard: &[(&str, &str)]) -> Result<(), ClusterFault> {
        let hard: serde_json::Map<String, Value> = hard
            .iter()
            .map(|&(resource, amount)| (resource.to_owned(), json!(amount)))
            .collect();
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name, "namespace": namespace},
            "spec": {"hard": hard}, "status": {"hard": hard},
        });
        self.arrange(|model| {
            model.store.remove(&Key::new("v1", "ResourceQuota", namespace, name));
            model.create("kubectl", quota).map(|_| ())
        })
    }

    /// Makes a kind known.
    pub fn register(&self, kind: Kind) {
        self.arrange(|model| model.kinds.register(kind));
    }

    /// Says how containers of an image behave. Without it they run for a while and end well; in
    /// pods that are restarted always, they run on.
    pub fn image(&self, image: &str, behaviour: ImageBehaviour) {
        self.arrange(|model| model.images.insert(image.to_owned(), behaviour));
    }

    /// Adds an admission webhook that refuses objects with a message. It replaces one of the same name.
    pub fn webhook(&self, name: &str, judge: impl Fn(&Value) -> Result<(), String> + Send + Sync + 'static) {
        self.arrange(|model| {
            model
                .admission
                .webhooks
                .insert(name.to_owned(), Webhook::Judges(Arc::new(judge)))
        });
    }

    /// Makes an admission webhook fail: nothing can be written any more.
    pub fn break_webhook(&self, name: &str) {
        self.arrange(|model| model.admission.webhooks.insert(name.to_owned(), Webhook::Down));
    }

    /// Removes an admission webhook.
    pub fn remove_webhook(&self, name: &str) {
        self.arrange(|model| model.admission.webhooks.remove(name));
    }

    /// Creates an object as another field manager, such as `kubectl`.
    ///
    /// # Errors
    /// When it exists, or for the reasons for which the API server refuses objects.
    pub fn create(&self, manager: &str, object: Value) -> Result<Value, ClusterFault> {
        self.arrange(|model| model.create(manager, object))
    }

    /// Changes an object as another field manager, its status included.
    ///
    /// # Errors
    /// When there is no such object, or for the reasons for which the API server refuses objects.
    pub fn edit(
        &self,
        reference: &Reference,
        manager: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Value, ClusterFault> {
        self.arrange(|model| model.edit(reference, manager, change))
    }

    /// Deletes an object by hand.
    ///
    /// # Errors
    /// When its kind is not known.
    pub fn remove(&self, reference: &Reference, propagation: Propagation) -> Result<Deleted, ClusterFault> {
        self.arrange(|model| model.remove(reference, propagation))
    }

    /// The API stops answering: every call fails as unreachable and no change is told. What runs
    /// in the cluster runs on.
    pub fn go_away(&self) {
        self.arrange(|model| model.notices.go_away());
    }

    /// The API answers again; every watched object is told once more.
    pub fn come_back(&self) {
        self.arrange(|model| model.notices.come_back(&model.store));
    }

    /// Makes the API refuse the next calls with 429 and ask to wait.
    pub fn throttle(&self, calls: u32, retry_after: Duration) {
        self.arrange(|model| model.throttled = Some((calls, retry_after)));
    }
}

/// Looking at the cluster, also while the API does not answer.
impl Kubernetes {
    /// One object, whole.
    #[must_use]
    pub fn object(&self, reference: &Reference) -> Option<Value> {
        self.with(|model| {
            let kind = model.kinds.get(&reference.api_version, &reference.kind)?;
            model.store.document(&Key::of(kind, reference)).cloned()
        })
    }

    /// The objects of a kind, in one namespace or in all, by namespace and name.
    #[must_use]
    pub fn objects(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> Vec<Value> {
        let objects = |model: &mut Model| {
            let objects = model.store.of_kind(kinds::group(api_version), kind, namespace);
            objects.map(|(_, stored)| stored.document.clone()).collect()
        };
        self.with(objects)
    }

    /// The Events of a namespace, as `core/v1` objects.
    #[must_use]
    pub fn events(&self, namespace: &str) -> Vec<Value> {
        self.objects("v1", "Event", Some(namespace))
    }
}

#[async_trait]
impl Cluster for Kubernetes {
    async fn observe(&self, ownership: &Ownership) -> Result<Vec<Observed>, ClusterFault> {
        self.call(|model| Ok(model.observe(ownership)))
    }

    async fn find(&self, identity: &Identity, query: &Query) -> Result<Vec<Value>, ClusterFault> {
        self.call(|model| model.find(identity, query))
    }

    async fn apply(&self, identity: &Identity, apply: &Apply) -> Result<Observed, ClusterFault> {
        self.call(|model| model.apply(identity, apply))
    }

    async fn delete(&self, identity: &Identity, delete: &Delete) -> Result<Deleted, ClusterFault> {
        self.call(|model| model.delete(identity, delete))
    }

    async fn watch(&self, kinds: &[KindScope]) {
        self.arrange(|model| model.notices.watch(&model.store, kinds));
    }

    fn now(&self) -> Option<Timestamp> {
        Some(self.shared.clock.now())
    }

    async fn owned(&self, adapter: &str, kinds: &[KindScope]) -> Result<Vec<Observed>, ClusterFault> {
        self.call(|model| Ok(model.owned(adapter, kinds)))
    }

    fn await_namespace(&self, namespace: &str, adapter: &str, subject: &SubjectRef) {
        self.arrange(|model| {
            model.notices.forget(adapter, Some(&subject.key));
            model.notices.wait_for(&model.store, namespace, adapter, subject);
        });
    }

    fn await_nothing(&self, adapter: &str, subject: Option<&SubjectKey>) {
        self.arrange(|model| model.notices.forget(adapter, subject));
    }

    fn changes(&self) -> Option<mpsc::Receiver<Change>> {
        self.shared
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn announce(&self, adapter: &Adapter, subject: &SubjectKey, reason: &str, message: &str) {
        // Best effort: an Event that cannot be published is not missed by the reconcile.
        let _ = self.call(|model| {
            let about = Key::new("v1", "Namespace", "", &adapter.namespace);
            let message = format!("{} {subject}: {message}", adapter.name);
            model.event(&about, "Warning", reason, &message);
            Ok(())
        });
    }

    async fn reachable(&self) -> bool {
        self.with(|model| model.notices.reachable())
    }
}
