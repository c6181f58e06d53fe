//! Events through a real RabbitMQ, and what users see of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics fails"
)]

#[path = "rabbitmq/journeys.rs"]
mod journeys;
#[path = "rabbitmq/queue.rs"]
mod queue;
#[path = "rabbitmq/tls.rs"]
mod tls;
#[path = "rabbitmq/trouble.rs"]
mod trouble;

use std::{
    collections::HashSet,
    num::{NonZeroU16, NonZeroU32},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use berth::{
    source::{
        Intake, Policy, Settled, Sink, Source as _, State,
        rabbitmq::{Address, Location, Names, Quorum, RabbitMq, Settings},
    },
    world::Secret,
};
use berth_engine::subject::Event;
use berth_tests::rabbitmq::comes;
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Adapters that remember what they saw, and settle when they are let.
struct Adapters {
    seen: Mutex<Vec<Event>>,
    aside: Mutex<Vec<&'static str>>,
    /// One permit for each event that may be settled.
    may_settle: Semaphore,
    /// Events that are never settled.
    failing: HashSet<String>,
    /// Whether that is their own fault.
    counts: bool,
}

#[async_trait]
impl Sink for Adapters {
    async fn accept(&self, event: Event) -> Settled {
        let id = event.id.clone();
        self.seen.lock().unwrap().push(event);
        if self.failing.contains(&id) {
            return Settled::Retry {
                after: Duration::from_millis(1),
                counts: self.counts,
            };
        }
        self.may_settle.acquire().await.unwrap().forget();
        Settled::Done
    }

    fn refused(&self, reason: &'static str) {
        panic!("a broker has no sender to tell {reason}");
    }

    fn set_aside(&self, reason: &'static str) {
        self.aside.lock().unwrap().push(reason);
    }
}

/// One subscription at work.
struct Receiving {
    adapters: Arc<Adapters>,
    intake: Arc<Intake>,
    stop: CancellationToken,
    run: JoinHandle<Result<(), String>>,
}

/// So that no test meets another's messages.
fn topic() -> String {
    format!("t{}", uuid::Uuid::new_v4().simple())
}

fn settings(url: String, topic: &str) -> Settings {
    Settings {
        address: Address {
            url: Location::Text(Secret::new(url)),
            password_file: None,
        },
        names: Names::new(topic, "berth", None, None),
        exchange_type: "topic".to_owned(),
        prefetch: NonZeroU16::new(5).unwrap(),
        quorum: None,
        dead_letter_exchange: None,
        ca_file: None,
        identity_files: None,
    }
}

fn quorum(limit: u32) -> Option<Quorum> {
    NonZeroU32::new(limit).map(|delivery_limit| Quorum { delivery_limit })
}

/// Receives once: nobody reconnects.
fn receive(settings: Settings, may_settle: usize, failing: &[&str], hold: Duration) -> Receiving {
    receive_during(true, settings, may_settle, failing, hold)
}

/// As [`receive`]; `counts` says whether what fails fails by itself, or for an outage.
fn receive_during(counts: bool, settings: Settings, may_settle: usize, failing: &[&str], hold: Duration) -> Receiving {
    let adapters = Arc::new(Adapters {
        seen: Mutex::default(),
        aside: Mutex::default(),
        may_settle: Semaphore::new(may_settle),
        failing: failing.iter().map(|id| (*id).to_owned()).collect(),
        counts: counts && settings.quorum.is_some(),
    });
    let stop = CancellationToken::new();
    let policy = Policy {
        hold,
        ..settings.policy(1 << 20)
    };
    let sink: Arc<dyn Sink> = Arc::<Adapters>::clone(&adapters);
    let intake = Arc::new(Intake::new(sink, policy, stop.clone()));
    let (source, given, until) = (RabbitMq::new(settings), Arc::clone(&intake), stop.clone());
    Receiving {
        adapters,
        intake,
        stop,
        run: tokio::spawn(async move { source.run(given, until).await.map_err(told) }),
    }
}

/// The whole chain of an error.
fn told(error: Box<dyn std::error::Error + Send + Sync>) -> String {
    format!("{:#}", anyhow::Error::from_boxed(error))
}

impl Receiving {
    async fn connected(&self) {
        let connected = async || {
            assert!(!self.run.is_finished(), "it ended");
            self.intake.state() == State::Connected
        };
        comes("a connection", connected).await.unwrap();
    }

    /// Waits until so many events were seen, and answers with their ids.
    async fn sees(&self, count: usize) -> Vec<String> {
        let seen = async || self.adapters.seen.lock().unwrap().len() == count;
        if comes("seeing all events", seen).await.is_err() {
            panic!("{count} events were awaited; seen are {:?}", self.ids());
        }
        self.ids()
    }

    fn ids(&self) -> Vec<String> {
        self.adapters
            .seen
            .lock()
            .unwrap()
            .iter()
            .map(|event| event.id.clone())
            .collect()
    }

    async fn stop(self) -> Arc<Adapters> {
        self.stop.cancel();
        self.run.await.unwrap().unwrap();
        self.adapters
    }
}

fn event(id: &str) -> Vec<u8> {
    json!({"specversion": "1.0", "id": id, "source": "hyperfleet-sentinel",
        "type": "com.redhat.hyperfleet.cluster.reconcile", "data": {"id": format!("subject-of-{id}")}})
    .to_string()
    .into_bytes()
}
