//! How one host reaches the two APIs: slowly, through partitions, with answers that are lost,
//! with lists that are late, and not at all once it is dead.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use berth::{
    simulate::{cluster::Kubernetes, fleet::InMemory},
    world::{Change, Cluster, Fleet, Identity},
};
use berth_engine::{
    adapter::Adapter,
    contract::{AdapterStatus, HttpAction, Query, Reference},
    document::Document,
    effect::{
        Apply, ClusterCause, ClusterFault, Delete, Deleted, FleetFault, KindScope, Observed, Ownership, Reported,
    },
    manifest::{LABEL_ADAPTER, LABEL_SUBJECT_ID},
    report::Report,
    subject::{SubjectKey, SubjectRef},
};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use super::{
    Stage,
    ledger::{HostNumber, Ledger},
    time::Time,
};

/// The ways of one host to the APIs.
pub(super) struct Link {
    pub(super) host: HostNumber,
    pub(super) time: Time,
    pub(super) ledger: Ledger,
    pub(super) fleet: InMemory,
    pub(super) kubernetes: Kubernetes,
    /// Rung when something in the cluster may be due earlier than before.
    pub(super) bell: Arc<Notify>,
    /// Where a host is told that a list was late.
    pub(super) late: mpsc::UnboundedSender<(HostNumber, Ownership)>,
    state: Mutex<State>,
    dead: AtomicBool,
    /// Wakes whoever waits for the death, in the order of waiting; `watch` would wake by chance.
    death: Notify,
}

#[derive(Default)]
struct State {
    /// Whether faults happen by chance.
    troubled: bool,
    without_fleet: bool,
    without_cluster: bool,
    /// What could not be told during a partition.
    untold: Vec<Change>,
    /// The last list of each adapter and subject, unless we wrote since.
    lists: HashMap<(String, String), Vec<Observed>>,
    /// Who owns what, for deletions, which name only the object.
    owners: HashMap<Reference, (String, String)>,
}

impl Link {
    pub(super) fn new(host: HostNumber, stage: &Stage, fleet: InMemory, troubled: bool) -> Arc<Self> {
        let state = State {
            troubled,
            ..State::default()
        };
        Arc::new(Self {
            host,
            time: stage.time.clone(),
            ledger: stage.ledger.clone(),
            fleet,
            kubernetes: stage.kubernetes.clone(),
            bell: Arc::clone(&stage.bell),
            late: stage.late.clone(),
            state: Mutex::new(state),
            dead: AtomicBool::new(false),
            death: Notify::new(),
        })
    }

    /// From now on no call of this host returns, and none that it begins is made.
    pub(super) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.death.notify_waiters();
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Returns when the host is dead.
    pub(super) async fn death(&self) {
        // Nothing happens between the look and the wait: there is one thread.
        if !self.is_dead() {
            self.death.notified().await;
        }
    }

    /// No more faults by chance.
    pub(super) fn calm(&self) {
        self.lock().troubled = false;
        self.part_from_fleet(false);
    }

    pub(super) fn part_from_fleet(&self, parted: bool) {
        self.lock().without_fleet = parted;
    }

    /// Begins or ends a partition; answers with the changes that were not told meanwhile.
    pub(super) fn part_from_cluster(&self, parted: bool) -> Vec<Change> {
        let mut state = self.lock();
        state.without_cluster = parted;
        if parted {
            Vec::new()
        } else {
            std::mem::take(&mut state.untold)
        }
    }

    /// Whether the host hears of a change now; if not, it is kept for later.
    pub(super) fn hears(&self, change: &Change) -> bool {
        let mut state = self.lock();
        if state.without_cluster {
            state.untold.push(change.clone());
        }
        !state.without_cluster
    }

    async fn gate(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    fn happens(&self, in_thousand: u32) -> bool {
        let troubled = self.lock().troubled;
        troubled && self.time.happens(in_thousand)
    }

    async fn dawdle(&self) {
        let pause = if self.happens(20) {
            self.ledger.count("slow calls of the cluster");
            self.time.between(0.1, 4.0)
        } else {
            self.time.between(0.001, 0.008)
        };
        self.time.sleep(pause).await;
    }

    /// Makes a call to the HyperFleet API.
    async fn ask<T>(&self, call: impl Future<Output = Result<T, FleetFault>>) -> Result<T, FleetFault> {
        self.gate().await;
        self.time.sleep(self.time.between(0.001, 0.006)).await;
        if self.lock().without_fleet {
            self.time.sleep(self.time.between(1.0, 3.0)).await;
            self.gate().await;
            return Err(FleetFault::Unreachable {
                message: "no route to host".to_owned(),
                retry_after: None,
            });
        }
        let answer = call.await;
        self.gate().await;
        answer
    }

    /// Makes a call to Kubernetes.
    async fn call<T>(&self, call: impl Future<Output = Result<T, ClusterFault>>) -> Result<T, ClusterFault> {
        let unreachable = |message: &str| ClusterFault {
            cause: ClusterCause::Unreachable,
            message: message.to_owned(),
            retry_after: None,
        };
        self.gate().await;
        self.dawdle().await;
        self.gate().await;
        if self.lock().without_cluster {
            self.time.sleep(self.time.between(0.5, 2.0)).await;
            self.gate().await;
            return Err(unreachable("no route to host"));
        }
        if self.happens(5) {
            self.ledger.count("errors of the cluster");
            return Err(ClusterFault {
                cause: ClusterCause::Other,
                message: "etcdserver: leader changed".to_owned(),
                retry_after: None,
            });
        }
        let answer = call.await;
        self.bell.notify_one();
        self.gate().await;
        if self.happens(5) {
            self.ledger.count("answers of the cluster lost");
            return Err(unreachable("connection reset by peer"));
        }
        answer
    }

    fn wrote(&self, holder: &(String, String)) {
        self.lock().lists.remove(holder);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[async_trait]
impl Fleet for Link {
    async fn get(&self, path: &str) -> Result<Document, FleetFault> {
        let answer = self.ask(self.fleet.get(path)).await;
        if answer == Err(FleetFault::Gone) {
            self.ledger.gone(self.host, id(path));
        }
        answer
    }

    async fn statuses(&self, path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        let answer = self.ask(self.fleet.statuses(path)).await;
        if answer == Err(FleetFault::Gone) {
            self.ledger.gone(self.host, id(path));
        }
        answer
    }

    async fn report(&self, path: &str, report: &Report) -> Result<Reported, FleetFault> {
        let answer = self.ask(self.fleet.report(path, report)).await;
        match &answer {
            Ok(Reported::Stored) => self.ledger.stored(self.host, id(path), report),
            Err(FleetFault::Gone) => self.ledger.gone(self.host, id(path)),
            Ok(Reported::Discarded) | Err(_) => {}
        }
        answer
    }

    async fn send(&self, action: &HttpAction) -> Result<(u16, Value), FleetFault> {
        self.ask(self.fleet.send(action)).await
    }
}

#[async_trait]
impl Cluster for Link {
    async fn observe(&self, ownership: &Ownership) -> Result<Vec<Observed>, ClusterFault> {
        let holder = (ownership.adapter.clone(), ownership.subject.id.clone());
        let earlier = self.lock().lists.get(&holder).cloned();
        if let Some(earlier) = earlier
            && self.happens(15)
        {
            // The watch that fills the host's store is late; when it catches up, it tells.
            self.gate().await;
            self.ledger.count("late lists");
            // Whoever hears of it ends with the run.
            let _ = self.late.send((self.host, ownership.clone()));
            return Ok(earlier);
        }
        let observed = self.call(self.kubernetes.observe(ownership)).await?;
        let mut state = self.lock();
        for one in &observed {
            state.owners.insert(one.reference.clone(), holder.clone());
        }
        state.lists.insert(holder, observed.clone());
        drop(state);
        Ok(observed)
    }

    async fn find(&self, identity: &Identity, query: &Query) -> Result<Vec<Value>, ClusterFault> {
        self.call(self.kubernetes.find(identity, query)).await
    }

    async fn apply(&self, identity: &Identity, apply: &Apply) -> Result<Observed, ClusterFault> {
        let labels = &apply.document["metadata"]["labels"];
        let label = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
        self.wrote(&(label(LABEL_ADAPTER), label(LABEL_SUBJECT_ID)));
        self.ledger.count("applies");
        self.call(self.kubernetes.apply(identity, apply)).await
    }

    async fn delete(&self, identity: &Identity, delete: &Delete) -> Result<Deleted, ClusterFault> {
        let holder = self.lock().owners.get(&delete.reference).cloned();
        if let Some(holder) = holder {
            self.wrote(&holder);
        }
        self.ledger.count("deletes");
        self.call(self.kubernetes.delete(identity, delete)).await
    }

    async fn owned(&self, adapter: &str, kinds: &[KindScope]) -> Result<Vec<Observed>, ClusterFault> {
        self.call(self.kubernetes.owned(adapter, kinds)).await
    }

    async fn watch(&self, kinds: &[KindScope]) {
        self.kubernetes.watch(kinds).await;
    }

    fn await_namespace(&self, namespace: &str, adapter: &str, subject: &SubjectRef) {
        self.kubernetes.await_namespace(namespace, adapter, subject);
    }

    fn await_nothing(&self, adapter: &str, subject: Option<&SubjectKey>) {
        self.kubernetes.await_nothing(adapter, subject);
    }

    fn changes(&self) -> Option<mpsc::Receiver<Change>> {
        None
    }

    async fn announce(&self, adapter: &Adapter, subject: &SubjectKey, reason: &str, message: &str) {
        self.gate().await;
        self.kubernetes.announce(adapter, subject, reason, message).await;
        self.bell.notify_one();
    }

    async fn reachable(&self) -> bool {
        self.kubernetes.reachable().await
    }
}
