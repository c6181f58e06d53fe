//! Steady events, and who sees which versions of a document and of its plugin answer in each reconcile.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use berth::dispatch::Listener;
use berth_engine::{
    adapter::Adapter,
    contract::{Operation, Said},
    effect::{Answer, Effect},
    queue::Pair,
    reconcile::Outcome,
    subject::{SubjectKey, SubjectRef},
};
use tokio::task::JoinHandle;

use super::stage::Stage;

/// Which versions of the document and of the plugin answered in each reconcile.
#[derive(Default)]
pub(crate) struct Witness {
    under_way: Mutex<HashMap<SubjectKey, BTreeMap<&'static str, BTreeSet<String>>>>,
    pub(crate) ended: Mutex<Vec<BTreeMap<&'static str, BTreeSet<String>>>>,
}

impl Witness {
    fn note(&self, pair: &Pair, of: &'static str, version: &str) {
        let mut under_way = self.under_way.lock().unwrap();
        let seen = under_way.entry(pair.subject.clone()).or_default();
        seen.entry(of).or_default().insert(version.to_owned());
    }
}

impl Listener for Witness {
    fn executed(&self, pair: &Pair, effect: &Effect, answer: &Answer) {
        let (Effect::Ask { plugin, .. }, Answer::Said(said)) = (effect, answer) else {
            return;
        };
        let said = said.as_ref().unwrap_or_else(|fault| panic!("{fault:?}"));
        match &said.said {
            Said::Resources(plan) => {
                for operation in &plan.operations {
                    match operation {
                        Operation::Apply(manifest) => {
                            self.note(pair, "document", manifest.document["data"]["version"].as_str().unwrap());
                        }
                        Operation::Skip { reason, .. } => self.note(pair, "plugin", reason),
                        Operation::Delete { .. } | Operation::Discover(_) => panic!("{operation:?}"),
                    }
                }
            }
            Said::Status(status) => {
                let report = status.report.as_ref().unwrap();
                if plugin == "guest" {
                    let ready = report.conditions.iter().find(|one| one.kind == "Ready").unwrap();
                    self.note(pair, "plugin", &ready.message);
                } else {
                    self.note(pair, "document", report.data["version"].as_str().unwrap());
                }
            }
            // It carries the beginning of its word, which its own `setup` prepared.
            Said::Preconditions(_) => {
                if plugin == "guest" {
                    self.note(pair, "prepared", said.carry.as_str().unwrap());
                }
            }
            Said::Postconditions(_) => {}
        }
    }

    fn ended(&self, _adapter: &Adapter, subject: &SubjectRef, outcome: &Outcome, _took: Duration) {
        assert!(matches!(outcome, Outcome::Reported(_)), "{outcome:?}");
        let seen = self.under_way.lock().unwrap().remove(&subject.key);
        self.ended.lock().unwrap().extend(seen);
    }
}

impl Witness {
    /// Every pair of versions, of the document and of the plugin, that handled a reconcile. All reconciles must have
    /// been handled by one such pair.
    pub(crate) fn pairs(&self) -> BTreeSet<(String, String)> {
        let mut pairs = BTreeSet::new();
        for versions in self.ended.lock().unwrap().iter() {
            let one = |of: &str| {
                let found: Vec<&String> = versions[of].iter().collect();
                assert_eq!(found.len(), 1, "a reconcile was handled half by each: {versions:?}");
                found[0].clone()
            };
            let (document, plugin, prepared) = (one("document"), one("plugin"), one("prepared"));
            assert!(
                plugin.starts_with(&prepared),
                "what one prepared another one used: {versions:?}"
            );
            pairs.insert((document, plugin));
        }
        pairs
    }
}

/// Four senders of events, each with clusters of its own, one event at a time.
pub(crate) struct Senders {
    stop: Arc<AtomicBool>,
    failed: Arc<Mutex<Vec<u16>>>,
    settled: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Senders {
    pub(crate) fn start(stage: &Arc<Stage>) -> Self {
        let mut senders = Self {
            stop: Arc::default(),
            failed: Arc::default(),
            settled: Arc::default(),
            tasks: Vec::new(),
        };
        for number in 0..4 {
            let stage = Arc::clone(stage);
            let (stop, failed, settled) = (
                Arc::clone(&senders.stop),
                Arc::clone(&senders.failed),
                Arc::clone(&senders.settled),
            );
            senders.tasks.push(tokio::spawn(async move {
                let clusters: Vec<String> = (0..3).map(|one| stage.cluster(&format!("c-{number}-{one}"))).collect();
                for cluster in clusters.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    match stage.publish(cluster).await {
                        204 => drop(settled.fetch_add(1, Ordering::Relaxed)),
                        other => failed.lock().unwrap().push(other),
                    }
                }
            }));
        }
        senders
    }

    /// How many events were settled.
    pub(crate) fn settled(&self) -> usize {
        self.settled.load(Ordering::Relaxed)
    }

    /// Lets the last events end; every event must have been settled.
    pub(crate) async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let failed = self.failed.lock().unwrap();
        assert_eq!(*failed, Vec::<u16>::new(), "events that were not settled");
    }
}
