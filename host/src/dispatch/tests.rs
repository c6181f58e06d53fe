//! Which subjects are worked on where hosts share work.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use berth_engine::{
    adapter::Subscription,
    contract::{AdapterStatus, HttpAction, PhaseAnswer, PluginFault, Question, Reference},
    document::Document,
    effect::{FleetFault, Reported},
    queue::Rhythm,
    report::Report,
};
use berth_runtime::Kept;

use super::*;
use crate::{
    config::{document, host::HostLimits},
    simulate,
    world::Fleet,
};

const DOCUMENT: &str = "
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: one}
spec:
  subjects: [Cluster]
  namespace: work
  plugins: {never: {source: 'file:never.wasm'}}
  preconditions: [{plugin: never}]
";

/// Answers everything so.
struct Api(FleetFault);

/// Knows no resource.
fn empty() -> Api {
    Api(FleetFault::Gone)
}

fn away() -> Api {
    Api(FleetFault::Unreachable {
        message: "it is away".to_owned(),
        retry_after: None,
    })
}

#[async_trait]
impl Fleet for Api {
    async fn get(&self, _path: &str) -> Result<Document, FleetFault> {
        Err(self.0.clone())
    }

    async fn statuses(&self, _path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        Err(self.0.clone())
    }

    async fn report(&self, _path: &str, _report: &Report) -> Result<Reported, FleetFault> {
        Err(self.0.clone())
    }

    async fn send(&self, _action: &HttpAction) -> Result<(u16, Value), FleetFault> {
        Err(self.0.clone())
    }
}

/// Never answers.
struct Silent;

#[async_trait]
impl Fleet for Silent {
    async fn get(&self, _path: &str) -> Result<Document, FleetFault> {
        futures::future::pending().await
    }

    async fn statuses(&self, _path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        futures::future::pending().await
    }

    async fn report(&self, _path: &str, _report: &Report) -> Result<Reported, FleetFault> {
        futures::future::pending().await
    }

    async fn send(&self, _action: &HttpAction) -> Result<(u16, Value), FleetFault> {
        futures::future::pending().await
    }
}

struct Never;

#[async_trait]
impl Plugins for Never {
    async fn ask(&self, plugin: &str, question: &Question, _: &mut Kept) -> Result<PhaseAnswer, PluginFault> {
        Err(PluginFault {
            plugin: plugin.to_owned(),
            phase: question.phase(),
            reason: "NotLoaded".to_owned(),
            message: "nobody should ask".to_owned(),
        })
    }
}

/// Hears whose reconciles end.
struct Heard(mpsc::UnboundedSender<String>);

impl Listener for Heard {
    fn ended(&self, _adapter: &Adapter, subject: &SubjectRef, _outcome: &Outcome, _took: Duration) {
        drop(self.0.send(subject.key.id.clone()));
    }
}

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// An adapter that is called so.
fn live(name: &str) -> Live {
    let caps = HostLimits::default_caps();
    let loaded = document::parse(Path::new("one.yaml"), DOCUMENT, &caps)
        .strict()
        .unwrap();
    Live {
        adapter: Arc::new(Adapter {
            name: name.to_owned(),
            ..loaded[0].adapter.clone()
        }),
        plugins: Arc::new(Never),
    }
}

/// A host to which only the subject `mine` belongs.
fn host(api: impl Fleet + 'static, pause: Duration) -> (Dispatcher, mpsc::UnboundedReceiver<String>) {
    let (told, heard) = mpsc::unbounded_channel();
    let rhythm = Rhythm {
        first: pause,
        longest: pause,
    };
    let dispatcher = Dispatcher::spawn(Settings {
        world: World {
            fleet: Arc::new(api),
            cluster: Arc::new(simulate::cluster::Kubernetes::new(simulate::cluster::SystemClock)),
            web: Arc::new(crate::web::Client::new().unwrap()),
        },
        clock: Arc::new(Timestamp::now),
        listener: Arc::new(Heard(told)),
        concurrency: 1,
        rhythms: Rhythms {
            dependencies: rhythm,
            trouble: rhythm,
            retry: rhythm,
        },
        owns: Some(Arc::new(|subject: &SubjectKey| subject.id == "mine")),
        waits: super::Waits::default(),
    });
    dispatcher.set_adapters(vec![live("one")], BTreeSet::new());
    (dispatcher, heard)
}

fn subject(id: &str) -> SubjectRef {
    SubjectRef {
        key: SubjectKey {
            kind: "Cluster".to_owned(),
            id: id.to_owned(),
        },
        href: format!("/api/hyperfleet/v1/clusters/{id}"),
        generation: 1,
        owner: None,
    }
}

fn event(id: &str) -> Event {
    Event {
        id: format!("event-{id}"),
        kind: "com.redhat.hyperfleet.cluster.reconcile".to_owned(),
        subject: subject(id),
        document: serde_json::json!({"id": format!("event-{id}")}).into(),
    }
}

fn change(id: &str) -> Change {
    Change {
        adapter: "one".to_owned(),
        subject: subject(id),
        object: Reference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            namespace: Some("work".to_owned()),
            name: format!("job-{id}"),
        },
    }
}

#[tokio::test]
async fn a_change_is_left_to_the_host_whose_subject_it_is() {
    let (host, mut heard) = host(empty(), LONG);
    // One after the other, so the first would have been the first to end.
    host.changed(change("theirs"));
    host.changed(change("mine"));
    assert_eq!(heard.recv().await.unwrap(), "mine");
}

#[tokio::test]
async fn an_event_is_settled_by_whoever_received_it() {
    let (host, mut heard) = host(empty(), LONG);
    assert_eq!(host.accept_for(event("theirs"), Scope::Everyone).await, Settled::Done);
    assert_eq!(heard.recv().await.unwrap(), "theirs");
}

#[test]
fn a_timer_is_left_to_the_host_whose_subject_it_is_if_that_knows_of_it() {
    let job = |trigger: Trigger, has_objects: bool, by_hand: bool| Job {
        pair: Pair {
            adapter: "one".to_owned(),
            subject: subject("theirs").key,
        },
        subject: subject("theirs"),
        trigger,
        by_hand,
        memory: berth_engine::reconcile::Memory {
            has_objects,
            ..Default::default()
        },
    };
    assert!(is_left(&job(Trigger::Timer, true, false), false));
    assert!(!is_left(&job(Trigger::Timer, true, false), true), "it is ours");
    assert!(
        !is_left(&job(Trigger::Timer, false, false), false),
        "nobody else knows of it"
    );
    assert!(!is_left(&job(Trigger::Timer, true, true), false), "somebody asked");
    let event = Trigger::Event(Value::Null.into());
    assert!(!is_left(&job(event, true, false), false), "it was received here");
}

#[tokio::test]
async fn a_subject_without_objects_is_looked_at_again_by_whoever_received_its_event() {
    let (host, mut heard) = host(away(), Duration::from_millis(1));
    let settled = host.accept_for(event("theirs"), Scope::Everyone).await;
    assert!(matches!(settled, Settled::Retry { .. }), "{settled:?}");
    for _ in 0..5 {
        assert_eq!(heard.recv().await.unwrap(), "theirs");
    }
}

#[tokio::test]
async fn whoever_asks_by_hand_is_obeyed_wherever_the_subject_belongs() {
    let (host, mut heard) = host(away(), LONG);
    let settled = host.accept_for(event("theirs"), Scope::Everyone).await;
    assert!(matches!(settled, Settled::Retry { .. }), "{settled:?}");
    assert_eq!(heard.recv().await.unwrap(), "theirs");
    assert!(host.retry("one", &subject("theirs").key).await);
    assert_eq!(heard.recv().await.unwrap(), "theirs");
}

#[tokio::test]
async fn an_event_that_the_api_refuses_for_good_is_settled_as_refused() {
    let api = Api(FleetFault::Rejected {
        status: 400,
        message: "no such path".to_owned(),
    });
    let (host, mut heard) = host(api, Duration::from_millis(1));
    let expected = Settled::Refused {
        reason: "SubjectRejected",
        message: "HyperFleet API rejected the request with 400: no such path".to_owned(),
    };
    assert_eq!(host.accept_for(event("mine"), Scope::Everyone).await, expected);
    assert_eq!(heard.recv().await.unwrap(), "mine");
    // Nothing runs again by itself, though a retry would be due long before the next ends.
    host.changed(change("mine"));
    assert_eq!(heard.recv().await.unwrap(), "mine");
    assert!(heard.try_recv().is_err());
}

mod hard;

#[tokio::test]
async fn of_events_that_wait_for_one_subject_the_newest_of_a_broker_stands_for_the_others() {
    let (host, _heard) = host(Silent, LONG);
    let brokers = Scope::Only(BTreeSet::from(["one".to_owned()]));
    let send = |id: &str, scope: &Scope| {
        let event = Event {
            id: id.to_owned(),
            ..event("mine")
        };
        let (host, scope) = (host.clone(), scope.clone());
        Box::pin(async move { host.accept_for(event, scope).await })
    };
    // The first runs for ever; every other one waits. A question by hand is answered after what was sent before.
    let mut first = send("1", &brokers);
    assert!(futures::poll!(&mut first).is_pending());
    let passed = async || assert!(host.retry("one", &subject("mine").key).await);
    passed().await;

    let (mut second, mut copy) = (send("2", &brokers), send("2", &brokers));
    let (mut http, mut third) = (send("http", &Scope::Everyone), send("3", &brokers));
    for event in [&mut second, &mut copy, &mut http] {
        assert!(futures::poll!(event).is_pending());
    }
    passed().await;
    for event in [&mut second, &mut copy] {
        assert!(
            futures::poll!(event).is_pending(),
            "neither a copy nor who keeps nothing stands for it"
        );
    }
    assert!(futures::poll!(&mut third).is_pending());
    assert_eq!(second.await, Settled::Done);
    assert_eq!(copy.await, Settled::Done);
    passed().await;
    for event in [&mut first, &mut http, &mut third] {
        assert!(
            futures::poll!(event).is_pending(),
            "it is not reported on, and its own to settle"
        );
    }
}

#[tokio::test]
async fn an_adapter_that_goes_live_looks_at_what_others_were_told_of() {
    let (host, mut heard) = host(away(), LONG);
    let settled = host.accept_for(event("theirs"), Scope::Everyone).await;
    assert!(matches!(settled, Settled::Retry { .. }), "{settled:?}");
    assert_eq!(heard.recv().await.unwrap(), "theirs");
    // The other one is there no more, so that nothing of it runs.
    host.set_adapters(vec![live("two")], BTreeSet::new());
    assert_eq!(heard.recv().await.unwrap(), "theirs");
}

#[tokio::test]
async fn what_was_told_by_the_shared_subscription_is_not_for_an_adapter_with_one_of_its_own() {
    let (host, _heard) = host(away(), LONG);
    let settled = host.accept_for(event("theirs"), Scope::Everyone).await;
    assert!(matches!(settled, Settled::Retry { .. }), "{settled:?}");
    let mut own = live("own");
    let subscription = Subscription {
        topic: Some("own".to_owned()),
        subscription: None,
    };
    own.adapter = Arc::new(Adapter {
        events: BTreeMap::from([("nats".to_owned(), subscription)]),
        ..own.adapter.as_ref().clone()
    });
    host.set_adapters(vec![live("one"), own, live("two")], BTreeSet::new());
    for (adapter, is_known) in [("own", false), ("two", true)] {
        let known = host.retry(adapter, &subject("theirs").key).await;
        assert_eq!(known, is_known, "{adapter}");
    }
}
