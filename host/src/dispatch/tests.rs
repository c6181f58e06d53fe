//! Which subjects are worked on where hosts share work.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use berth_engine::{
    contract::{AdapterStatus, HttpAction, PhaseAnswer, PluginFault, Question, Reference},
    effect::{FleetFault, Reported},
    queue::Rhythm,
    report::Report,
};

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
    async fn get(&self, _path: &str) -> Result<Value, FleetFault> {
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

struct Never;

#[async_trait]
impl Plugins for Never {
    async fn ask(&self, plugin: &str, question: &Question) -> Result<PhaseAnswer, PluginFault> {
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

/// A host to which only the subject `mine` belongs.
fn host(api: Api, pause: Duration) -> (Dispatcher, mpsc::UnboundedReceiver<String>) {
    let caps = HostLimits::default_caps();
    let loaded = document::parse(Path::new("one.yaml"), DOCUMENT, &caps)
        .strict()
        .unwrap();
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
    let live = Live {
        adapter: Arc::new(loaded[0].adapter.clone()),
        plugins: Arc::new(Never),
    };
    dispatcher.set_adapters(vec![live], BTreeSet::new());
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
        document: serde_json::json!({"id": format!("event-{id}")}),
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

#[tokio::test]
async fn a_timer_is_left_to_the_host_whose_subject_it_is() {
    let (host, mut heard) = host(away(), Duration::from_millis(1));
    let settled = host.accept_for(event("theirs"), Scope::Everyone).await;
    assert!(matches!(settled, Settled::Retry { .. }), "{settled:?}");
    let settled = host.accept_for(event("mine"), Scope::Everyone).await;
    assert!(matches!(settled, Settled::Retry { .. }), "{settled:?}");
    let mut ended = vec![heard.recv().await.unwrap()];
    while ended.iter().filter(|id| *id == "mine").count() < 5 {
        ended.push(heard.recv().await.unwrap());
    }
    let theirs = ended.iter().filter(|id| *id == "theirs").count();
    assert_eq!(theirs, 1, "its event, and no timer: {ended:?}");
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
