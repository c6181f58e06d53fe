//! Twenty swaps under steady events.

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

use super::{
    guest::{guest, with_guest},
    stage::Stage,
};

/// Which versions of the document and of the plugin answered in each reconcile.
#[derive(Default)]
struct Witness {
    under_way: Mutex<HashMap<SubjectKey, BTreeMap<&'static str, BTreeSet<String>>>>,
    ended: Mutex<Vec<BTreeMap<&'static str, BTreeSet<String>>>>,
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
            Said::Preconditions(_) | Said::Postconditions(_) => {}
        }
    }

    fn ended(&self, _adapter: &Adapter, subject: &SubjectRef, outcome: &Outcome, _took: Duration) {
        assert!(matches!(outcome, Outcome::Reported(_)), "{outcome:?}");
        let seen = self.under_way.lock().unwrap().remove(&subject.key);
        self.ended.lock().unwrap().extend(seen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_swaps_under_steady_events_lose_nothing_and_mix_nothing() {
    let plugins = [guest("firsta"), guest("second")];
    let witness = Arc::new(Witness::default());
    let text = with_guest("swapped", "v0", "file:guest.wasm");
    let documents = [("swapped.yaml", text.as_str())];
    let files = [("guest.wasm", plugins[0].as_slice())];
    let listener = Arc::clone(&witness) as Arc<dyn Listener>;
    let stage = Arc::new(Stage::set_with(&documents, &files, listener, None).await);
    let state = stage.state("swapped").unwrap();
    assert_eq!(state.problems, Vec::<String>::new());

    let (stop, failed, settled) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(Mutex::new(Vec::new())),
        Arc::new(AtomicUsize::new(0)),
    );
    let senders: Vec<_> = (0..4)
        .map(|number| {
            let stage = Arc::clone(&stage);
            let (stop, failed, settled) = (Arc::clone(&stop), Arc::clone(&failed), Arc::clone(&settled));
            tokio::spawn(async move {
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
            })
        })
        .collect();

    let mut last = state;
    for swap in 1..=20_usize {
        // Documents and plugins in turn, each between two versions.
        let version = (swap / 2) % 2;
        if swap % 2 == 0 {
            let text = with_guest("swapped", &format!("v{version}"), "file:guest.wasm");
            stage.write("swapped.yaml", text);
        } else {
            stage.write("guest.wasm", &plugins[(version + 1) % 2]);
        }
        let events = settled.load(Ordering::Relaxed);
        let before = last.clone();
        last = stage
            .stands("swapped", "swapped", |state| {
                let changed = |live: &berth::telemetry::admin::AdapterState| {
                    (
                        live.live.clone(),
                        live.plugins.iter().map(|one| one.live.clone()).collect::<Vec<_>>(),
                    )
                };
                changed(state) != changed(&before)
            })
            .await;
        assert_eq!(last.problems, Vec::<String>::new(), "swap {swap}");
        // Events go on with what is new.
        stage
            .stands("swapped", "asked", |_| settled.load(Ordering::Relaxed) >= events + 4)
            .await;
    }
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }

    assert_eq!(
        *failed.lock().unwrap(),
        Vec::<u16>::new(),
        "events that were not settled"
    );
    let ended = witness.ended.lock().unwrap();
    assert!(ended.len() >= 80, "{}", ended.len());
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    for versions in ended.iter() {
        let one = |of: &str| {
            let found: Vec<&String> = versions[of].iter().collect();
            assert_eq!(found.len(), 1, "a reconcile was handled half by each: {versions:?}");
            found[0].clone()
        };
        seen.insert((one("document"), one("plugin")));
    }
    assert_eq!(seen.len(), 4, "every pair of versions has worked: {seen:?}");
}
