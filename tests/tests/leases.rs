//! Hosts share work by Leases of a real Kubernetes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a panic fails them"
)]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use berth::lease::{self, Settings, Shards, TAKEN_OVER_WITHIN};
use berth_engine::subject::SubjectKey;
use berth_tests::control_plane::{ControlPlane, Gate, NetworkPath, User};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a host may take to find its place, or to find out that it lost it.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

struct Host {
    gate: Gate,
    shards: Arc<Shards>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Host {
    async fn start(namespace: &str, name: &str) -> Self {
        let gate = ControlPlane::shared().await.gate(User::Admin).unwrap();
        let file = Kubeconfig::read_from(gate.kubeconfig()).unwrap();
        let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .unwrap();
        config.default_retry = false;
        let settings = Settings {
            namespace: namespace.to_owned(),
            group: "main".to_owned(),
            host: name.to_owned(),
        };
        let stop = CancellationToken::new();
        let (shards, task) = lease::share(kube::Client::try_from(config).unwrap(), settings, stop.clone());
        Self {
            gate,
            shards,
            stop,
            task,
        }
    }
}

/// Enough subjects to find every shard.
fn subjects() -> Vec<SubjectKey> {
    (0..200)
        .map(|number| SubjectKey {
            kind: "Cluster".to_owned(),
            id: format!("c-{number}"),
        })
        .collect()
}

/// Looks at every moment whether a subject has two owners, until it is dropped.
struct Watchman {
    seen: Arc<Mutex<Vec<Arc<Shards>>>>,
    doubled: Arc<Mutex<Option<SubjectKey>>>,
    task: JoinHandle<()>,
}

impl Watchman {
    fn new() -> Self {
        let seen: Arc<Mutex<Vec<Arc<Shards>>>> = Arc::default();
        let doubled = Arc::new(Mutex::new(None));
        let (hosts, found) = (Arc::clone(&seen), Arc::clone(&doubled));
        let task = tokio::spawn(async move {
            let all = subjects();
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                let hosts = hosts.lock().unwrap().clone();
                for subject in &all {
                    let owners: Vec<_> = hosts.iter().filter(|host| host.owns(subject)).collect();
                    // Whoever was asked first may have let go before the other was asked, and is asked again.
                    if owners.iter().filter(|host| host.owns(subject)).count() > 1 {
                        *found.lock().unwrap() = Some(subject.clone());
                    }
                }
            }
        });
        Self { seen, doubled, task }
    }

    fn watch(&self, host: &Host) {
        self.seen.lock().unwrap().push(Arc::clone(&host.shards));
    }

    fn expect_nothing_doubled(self) {
        self.task.abort();
        assert_eq!(*self.doubled.lock().unwrap(), None, "a subject had two owners");
    }
}

async fn until(what: &str, limit: Duration, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn every_subject_is_owned(hosts: &[&Host]) -> bool {
    let owned = |subject: &SubjectKey| hosts.iter().any(|host| host.shards.owns(subject));
    subjects().iter().all(owned)
}

fn counts(hosts: &[&Host]) -> Vec<usize> {
    hosts.iter().map(|host| host.shards.count()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_fair_taken_over_from_the_dead_and_never_held_twice() {
    let plane = ControlPlane::shared().await;
    plane.namespace("leases").await.unwrap();
    let watchman = Watchman::new();
    let first = Host::start("leases", "berth-0").await;
    watchman.watch(&first);
    until("one host holds all", SETTLED_WITHIN, || {
        every_subject_is_owned(&[&first])
    })
    .await;

    let second = Host::start("leases", "berth-1").await;
    let third = Host::start("leases", "berth-2").await;
    watchman.watch(&second);
    watchman.watch(&third);
    let all = [&first, &second, &third];
    until("three hosts share all", SETTLED_WITHIN, || {
        counts(&all) == [4, 4, 4] && every_subject_is_owned(&all)
    })
    .await;

    // A host dies: it gives nothing back.
    third.task.abort();
    let rest = [&first, &second];
    until("the dead host's share is taken over", TAKEN_OVER_WITHIN, || {
        every_subject_is_owned(&rest)
    })
    .await;
    // A lease that was lost to a busy machine comes back.
    until("the two share it", SETTLED_WITHIN, || counts(&rest) == [6, 6]).await;

    // A host loses its network: it lets go by itself, and the other takes over.
    second.gate.set(NetworkPath::Silent);
    until("a host that is cut off lets go", TAKEN_OVER_WITHIN, || {
        second.shards.count() == 0
    })
    .await;
    until("its share is taken over", TAKEN_OVER_WITHIN, || {
        every_subject_is_owned(&[&first])
    })
    .await;
    second.gate.set(NetworkPath::Open);
    until("it gets its share again", SETTLED_WITHIN, || counts(&rest) == [6, 6]).await;

    // A host says goodbye: what it held is free at once.
    let mut taken = first.shards.taken();
    taken.mark_unchanged();
    second.stop.cancel();
    second.task.await.unwrap();
    until("the last one holds all", SETTLED_WITHIN, || {
        every_subject_is_owned(&[&first])
    })
    .await;
    assert!(taken.has_changed().unwrap(), "whoever works on subjects is told");
    watchman.expect_nothing_doubled();
}
