//! What the platform team hears of, and subjects that vanish while events wait for them.

use berth_engine::{
    contract::{Manifest, Operation, Plan, Query, Said, Verdict},
    effect::{Apply, ClusterFault, Delete, Deleted, KindScope, Observed, Ownership},
};
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::world::{Cluster, Identity};

/// A simulated cluster that tells what is announced.
struct Announcing {
    cluster: simulate::cluster::Kubernetes,
    told: mpsc::UnboundedSender<(String, String)>,
}

#[async_trait]
impl Cluster for Announcing {
    async fn observe(&self, ownership: &Ownership) -> Result<Vec<Observed>, ClusterFault> {
        self.cluster.observe(ownership).await
    }

    async fn find(&self, identity: &Identity, query: &Query) -> Result<Vec<Value>, ClusterFault> {
        self.cluster.find(identity, query).await
    }

    async fn apply(&self, identity: &Identity, apply: &Apply) -> Result<Observed, ClusterFault> {
        self.cluster.apply(identity, apply).await
    }

    async fn delete(&self, identity: &Identity, delete: &Delete) -> Result<Deleted, ClusterFault> {
        self.cluster.delete(identity, delete).await
    }

    async fn watch(&self, kinds: &[KindScope]) {
        self.cluster.watch(kinds).await;
    }

    fn await_namespace(&self, namespace: &str, adapter: &str, subject: &SubjectRef) {
        self.cluster.await_namespace(namespace, adapter, subject);
    }

    fn await_nothing(&self, adapter: &str, subject: Option<&SubjectKey>) {
        self.cluster.await_nothing(adapter, subject);
    }

    fn changes(&self) -> Option<mpsc::Receiver<Change>> {
        self.cluster.changes()
    }

    async fn owned(&self, adapter: &str, kinds: &[KindScope]) -> Result<Vec<Observed>, ClusterFault> {
        self.cluster.owned(adapter, kinds).await
    }

    async fn announce(&self, adapter: &Adapter, subject: &SubjectKey, reason: &str, _message: &str) {
        let about = format!("{} {subject}", adapter.name);
        drop(self.told.send((about, reason.to_owned())));
    }

    async fn reachable(&self) -> bool {
        self.cluster.reachable().await
    }
}

/// Knows every cluster and takes every report.
struct Knowing;

#[async_trait]
impl Fleet for Knowing {
    async fn get(&self, path: &str) -> Result<Document, FleetFault> {
        let id = path.rsplit('/').next().unwrap_or_default();
        Ok(json!({"id": id, "kind": "Cluster", "href": path, "generation": 1, "spec": {}}).into())
    }

    async fn statuses(&self, _path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        Ok(Vec::new())
    }

    async fn report(&self, _path: &str, _report: &Report) -> Result<Reported, FleetFault> {
        Ok(Reported::Stored)
    }

    async fn send(&self, _action: &HttpAction) -> Result<(u16, Value), FleetFault> {
        Ok((200, Value::Null))
    }
}

/// Knows no cluster, and says so only when it may.
struct Slow(Arc<Semaphore>);

#[async_trait]
impl Fleet for Slow {
    async fn get(&self, _path: &str) -> Result<Document, FleetFault> {
        drop(self.0.acquire().await);
        Err(FleetFault::Gone)
    }

    async fn statuses(&self, _path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        Err(FleetFault::Gone)
    }

    async fn report(&self, _path: &str, _report: &Report) -> Result<Reported, FleetFault> {
        Err(FleetFault::Gone)
    }

    async fn send(&self, _action: &HttpAction) -> Result<(u16, Value), FleetFault> {
        Err(FleetFault::Gone)
    }
}

/// Wants one ConfigMap.
struct Wanting;

#[async_trait]
impl Plugins for Wanting {
    async fn ask(&self, _plugin: &str, question: &Question, _: &mut Kept) -> Result<PhaseAnswer, PluginFault> {
        let said = match question {
            Question::Resources { .. } => Said::Resources(Plan {
                operations: vec![Operation::Apply(Manifest {
                    name: "one".to_owned(),
                    document: json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}).into(),
                    recreate: false,
                    after: Vec::new(),
                })],
                more: false,
            }),
            _ => Said::Preconditions(Verdict::Proceed),
        };
        Ok(PhaseAnswer {
            said,
            carry: Value::Null,
        })
    }
}

struct Stage {
    dispatcher: Dispatcher,
    cluster: simulate::cluster::Kubernetes,
    announced: mpsc::UnboundedReceiver<(String, String)>,
}

fn stage(fleet: impl Fleet + 'static) -> Stage {
    let document = DOCUMENT.replace("preconditions", "resources");
    let caps = HostLimits::default_caps();
    let loaded = document::parse(Path::new("one.yaml"), &document, &caps)
        .strict()
        .unwrap();
    let cluster = simulate::cluster::Kubernetes::new(simulate::cluster::SystemClock);
    cluster.namespace("work");
    let (told, announced) = mpsc::unbounded_channel();
    let rhythm = Rhythm {
        first: LONG,
        longest: LONG,
    };
    let dispatcher = Dispatcher::spawn(Settings {
        world: World {
            fleet: Arc::new(fleet),
            cluster: Arc::new(Announcing {
                cluster: cluster.clone(),
                told,
            }),
            web: Arc::new(crate::web::Client::new().unwrap()),
        },
        clock: Arc::new(Timestamp::now),
        listener: Arc::new(Deaf),
        concurrency: 1,
        rhythms: Rhythms {
            dependencies: rhythm,
            trouble: rhythm,
            retry: rhythm,
        },
        owns: None,
        waits: super::super::Waits::default(),
    });
    let live = Live {
        adapter: Arc::new(loaded[0].adapter.clone()),
        plugins: Arc::new(Wanting),
    };
    dispatcher.set_adapters(vec![live], BTreeSet::new());
    Stage {
        dispatcher,
        cluster,
        announced,
    }
}

fn about(reason: &str) -> (String, String) {
    ("one Cluster/c-1".to_owned(), reason.to_owned())
}

#[tokio::test]
async fn a4_is_announced() {
    // Nobody granted anything to the adapter's account.
    let mut stage = stage(Knowing);
    let settled = stage.dispatcher.accept_for(event("c-1"), Scope::Everyone).await;
    assert_eq!(settled, Settled::Done, "it was reported");
    assert_eq!(stage.announced.recv().await.unwrap(), about("Forbidden"));
}

#[tokio::test]
async fn a6_of_kubernetes_is_announced() {
    let mut stage = stage(Knowing);
    stage.cluster.go_away();
    let settled = stage.dispatcher.accept_for(event("c-1"), Scope::Everyone).await;
    assert_eq!(settled, Settled::Done, "it was reported");
    assert_eq!(stage.announced.recv().await.unwrap(), about("KubernetesApiUnreachable"));
}

#[tokio::test]
async fn a6_of_the_hyperfleet_api_is_announced_although_nothing_could_be_reported() {
    let mut stage = stage(away());
    let settled = stage.dispatcher.accept_for(event("c-1"), Scope::Everyone).await;
    assert!(matches!(settled, Settled::Retry { .. }), "{settled:?}");
    assert_eq!(stage.announced.recv().await.unwrap(), about("FleetApiUnreachable"));
}

#[tokio::test]
async fn what_goes_well_is_not_announced() {
    let mut stage = stage(Knowing);
    let account = simulate::cluster::Rule::all_of("", &["configmaps"], "work");
    stage.cluster.grant("work", "default", vec![account]);
    let settled = stage.dispatcher.accept_for(event("c-1"), Scope::Everyone).await;
    assert_eq!(settled, Settled::Done);
    // Its end would have been told before that of a later one.
    stage.cluster.go_away();
    stage.dispatcher.accept_for(event("c-2"), Scope::Everyone).await;
    let told = stage.announced.recv().await.unwrap();
    assert_eq!(told.0, "one Cluster/c-2");
}

#[tokio::test]
async fn every_event_of_a_subject_that_vanished_while_they_waited_is_settled() {
    let gate = Arc::new(Semaphore::new(0));
    let stage = stage(Slow(Arc::clone(&gate)));
    let accepted: Vec<_> = (0..5)
        .map(|number| {
            let mut event = event("c-1");
            event.id = format!("event-{number}");
            event.subject.generation = number;
            let dispatcher = stage.dispatcher.clone();
            let (sent, begun) = oneshot::channel();
            let accepting = tokio::spawn(async move {
                let settling = dispatcher.accept_for(event, Scope::Everyone);
                tokio::pin!(settling);
                // The command is sent by the first poll.
                assert!(futures::poll!(&mut settling).is_pending());
                let _ = sent.send(());
                settling.await
            });
            (accepting, begun)
        })
        .collect();
    let mut accepting = Vec::new();
    for (settling, begun) in accepted {
        begun.await.unwrap();
        accepting.push(settling);
    }
    // This is answered after all that was sent before.
    assert!(!stage.dispatcher.retry("none", &subject("c-1").key).await);
    gate.add_permits(100);
    for settling in accepting {
        assert_eq!(settling.await.unwrap(), Settled::Done);
    }
}
