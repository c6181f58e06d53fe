//! Joiner: the sources that are configured, each with its subscription and its way into the
//! dispatcher.
//!
//! Adapters share the subscription of the configuration, unless their document names one of
//! their own. Which subscriptions there are is planned purely ([`plan`]); [`Sources`] runs them,
//! connects them again when they break, and stops them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use berth_engine::{
    adapter::{Adapter, Subscription},
    subject::Event,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    config::host::{self, Place},
    dispatch::Dispatcher,
    source::{Intake, Policy, Settled, Sink, Source, State, nats, pubsub, rabbitmq},
    telemetry::{EventResult, Metrics},
    web::chain,
};

/// Which adapters an event is for, among those that take care of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Everyone,
    /// Those without a subscription of their own at this source, and these.
    Shared {
        /// The source.
        source: &'static str,
        /// Adapters that name the shared subscription themselves.
        also: BTreeSet<String>,
    },
    /// These, whose subscription it came by.
    Only(BTreeSet<String>),
}

impl Scope {
    /// Whether whoever sent the event keeps it until it is settled: brokers do.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        match self {
            Self::Everyone => false,
            Self::Shared { .. } | Self::Only(_) => true,
        }
    }

    /// Whether an adapter is among them.
    #[must_use]
    pub fn includes(&self, adapter: &Adapter) -> bool {
        match self {
            Self::Everyone => true,
            Self::Shared { source, also } => !adapter.events.contains_key(*source) || also.contains(&adapter.name),
            Self::Only(names) => names.contains(&adapter.name),
        }
    }
}

/// A subscription that should be received from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What it is called in logs, such as `rabbitmq clusters-dns`.
    pub name: String,
    /// Which adapters its events are for.
    pub scope: Scope,
    /// How it is reached.
    pub broker: Broker,
}

/// How a subscription is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    /// A RabbitMQ queue.
    RabbitMq(rabbitmq::Settings),
    /// A subscription of Google Pub/Sub.
    PubSub(pubsub::Settings),
    /// A durable consumer of NATS `JetStream`.
    Nats(nats::Settings),
}

impl Broker {
    fn source(&self) -> Box<dyn Source> {
        match self {
            Self::RabbitMq(settings) => Box::new(rabbitmq::RabbitMq::new(settings.clone())),
            Self::PubSub(settings) => Box::new(pubsub::PubSub::new(settings.clone())),
            Self::Nats(settings) => Box::new(nats::Nats::new(settings.clone())),
        }
    }

    fn policy(&self, max_bytes: usize) -> Policy {
        match self {
            Self::RabbitMq(settings) => settings.policy(max_bytes),
            Self::PubSub(settings) => settings.policy(max_bytes),
            Self::Nats(settings) => settings.policy(max_bytes),
        }
    }
}

/// Which subscriptions there should be: the shared one of each broker, and those that adapters
/// name. Adapters that name the same one share it.
#[must_use]
pub fn plan(settings: &host::Sources, adapters: &[Arc<Adapter>]) -> Vec<Planned> {
    let mut planned = Vec::new();
    if let Some(broker) = &settings.rabbitmq {
        let (topic, subscription) = (broker.topic.as_deref(), broker.subscription.as_deref());
        let ways = ways("rabbitmq", topic, subscription, adapters);
        planned.extend(ways.into_iter().map(|((topic, subscription), scope)| {
            let settings = rabbitmq_settings(broker, &topic, &subscription);
            Planned {
                name: format!("rabbitmq {}", settings.names.queue),
                scope,
                broker: Broker::RabbitMq(settings),
            }
        }));
    }
    if let Some(broker) = &settings.pubsub {
        let (topic, subscription) = (broker.topic.as_deref(), broker.subscription.as_deref());
        let ways = ways("pubsub", topic, subscription, adapters);
        planned.extend(ways.into_iter().map(|((topic, subscription), scope)| Planned {
            name: format!("pubsub {subscription}"),
            scope,
            broker: Broker::PubSub(pubsub_settings(broker, topic, subscription)),
        }));
    }
    if let Some(broker) = &settings.nats {
        let (stream, consumer) = (broker.stream.as_deref(), broker.consumer.as_deref());
        let ways = ways("nats", stream, consumer, adapters);
        planned.extend(ways.into_iter().map(|((stream, consumer), scope)| Planned {
            name: format!("nats {stream}/{consumer}"),
            scope,
            broker: Broker::Nats(nats_settings(broker, stream, consumer)),
        }));
    }
    planned
}

/// Topics and subscriptions of one broker, with the adapters that they are for. An adapter that
/// names only a part takes the other from the configuration; one that leaves a gap is left out.
fn ways(
    source: &'static str,
    topic: Option<&str>,
    subscription: Option<&str>,
    adapters: &[Arc<Adapter>],
) -> BTreeMap<(String, String), Scope> {
    let mut own: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for adapter in adapters {
        let Some(Subscription {
            topic: own_topic,
            subscription: own_subscription,
        }) = adapter.events.get(source)
        else {
            continue;
        };
        let topic = own_topic.as_deref().or(topic);
        let subscription = own_subscription.as_deref().or(subscription);
        match (topic, subscription) {
            (Some(topic), Some(subscription)) => {
                let way = (topic.to_owned(), subscription.to_owned());
                own.entry(way).or_default().insert(adapter.name.clone());
            }
            (Some(_) | None, Some(_) | None) => tracing::error!(
                adapter = adapter.name,
                source,
                "the adapter's subscription is incomplete: neither its document nor the configuration names the rest"
            ),
        }
    }
    let mut ways: BTreeMap<_, _> = own.into_iter().map(|(way, names)| (way, Scope::Only(names))).collect();
    if let (Some(topic), Some(subscription)) = (topic, subscription) {
        // Whoever names the shared subscription explicitly shares it all the same.
        let shared = (topic.to_owned(), subscription.to_owned());
        let also = match ways.remove(&shared) {
            Some(Scope::Only(names)) => names,
            Some(Scope::Everyone | Scope::Shared { .. }) | None => BTreeSet::new(),
        };
        ways.insert(shared, Scope::Shared { source, also });
    }
    ways
}

fn rabbitmq_settings(broker: &host::RabbitMq, topic: &str, subscription: &str) -> rabbitmq::Settings {
    let names = rabbitmq::Names::new(topic, subscription, broker.exchange.as_deref(), broker.queue.as_deref());
    rabbitmq::Settings {
        address: rabbitmq::Address {
            url: match &broker.url {
                Place::Here(url) => rabbitmq::Location::Text(url.clone()),
                Place::File(file) => rabbitmq::Location::File(file.clone()),
            },
            password_file: broker.password_file.clone(),
        },
        names,
        exchange_type: broker.exchange_type.clone(),
        prefetch: broker.prefetch,
        quorum: broker.quorum.map(|delivery_limit| rabbitmq::Quorum { delivery_limit }),
        dead_letter_exchange: broker.dead_letter_exchange.clone(),
        ca_file: broker.tls.ca_file.clone(),
        identity_files: broker.tls.identity_files.clone(),
    }
}

fn pubsub_settings(broker: &host::PubSub, topic: String, subscription: String) -> pubsub::Settings {
    pubsub::Settings {
        dead_letter_topic: broker.dead_letter_topic.clone(),
        emulator: broker.emulator.clone(),
        max_in_flight: broker.max_in_flight,
        max_bytes: broker.max_bytes as u64,
        ack_deadline: broker.ack_deadline,
        max_attempts: broker.max_attempts,
        create: pubsub::Create {
            topic: broker.create_topic,
            subscription: broker.create_subscription,
            retention: broker.retention,
            expiration: broker.expiration,
            ordering: broker.ordering,
            retry_min: broker.retry_min,
            retry_max: broker.retry_max,
        },
        ..pubsub::Settings::new(broker.project.clone(), topic, subscription)
    }
}

fn nats_settings(broker: &host::Nats, stream: String, consumer: String) -> nats::Settings {
    nats::Settings {
        subject: broker.subject.clone(),
        create: broker.create,
        credentials_file: broker.credentials_file.clone(),
        token_file: broker.token_file.clone(),
        ca_file: broker.ca_file.clone(),
        max_in_flight: broker.max_in_flight,
        max_deliver: broker.max_deliver,
        ack_wait: broker.ack_wait,
        ..nats::Settings::new(broker.url.clone(), stream, consumer)
    }
}

/// The sources at work.
pub struct Sources {
    settings: host::Sources,
    max_bytes: usize,
    dispatcher: Dispatcher,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    running: Mutex<Vec<Running>>,
}

struct Running {
    planned: Planned,
    intake: Arc<Intake>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Sources {
    /// Starts what the configuration and these adapters name. `max_bytes` is the largest event.
    #[must_use]
    pub fn start(
        settings: host::Sources,
        max_bytes: usize,
        adapters: &[Arc<Adapter>],
        dispatcher: Dispatcher,
        metrics: Arc<Metrics>,
    ) -> Self {
        let sources = Self {
            settings,
            max_bytes,
            dispatcher,
            metrics,
            stop: CancellationToken::new(),
            running: Mutex::default(),
        };
        sources.follow(adapters);
        sources
    }

    /// Follows a change of the adapters: subscriptions that nobody names any more are stopped, new
    /// ones are started, and the others are left as they are.
    pub fn follow(&self, adapters: &[Arc<Adapter>]) {
        if self.stop.is_cancelled() {
            return;
        }
        let mut wanted = plan(&self.settings, adapters);
        let mut running = self.running();
        running.retain(|one| {
            let Some(index) = wanted.iter().position(|planned| *planned == one.planned) else {
                tracing::info!(subscription = one.planned.name, "a subscription is not wanted any more");
                // What it has in flight ends; its messages that do not are given back.
                one.stop.cancel();
                return false;
            };
            wanted.swap_remove(index);
            true
        });
        running.extend(wanted.into_iter().map(|planned| self.run(planned)));
    }

    fn run(&self, planned: Planned) -> Running {
        let source = planned.broker.source();
        let stop = self.stop.child_token();
        let sink = Counted {
            dispatcher: self.dispatcher.clone(),
            metrics: Arc::clone(&self.metrics),
            source: source.name(),
            scope: planned.scope.clone(),
        };
        let policy = planned.broker.policy(self.max_bytes);
        let intake = Arc::new(Intake::new(Arc::new(sink), policy, stop.clone()));
        let task = tokio::spawn(keep(source, planned.name.clone(), Arc::clone(&intake), stop.clone()));
        Running {
            planned,
            intake,
            stop,
            task,
        }
    }

    /// What does not receive, and why; none if all do.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let running = self.running();
        let troubles: Vec<String> = running
            .iter()
            .filter_map(|one| match one.intake.state() {
                State::Connected => None,
                State::Connecting => Some(format!("{} is not connected yet", one.planned.name)),
                State::Broken(why) => Some(format!("{}: {why}", one.planned.name)),
            })
            .collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    /// Pulls no more messages. What is in flight may still end.
    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until everything in flight is settled or given back, at most `patience`. Connections
    /// that are still open then are dropped, by which the brokers take back what they sent.
    pub async fn stopped(&self, patience: Duration) {
        self.stop.cancel();
        let running = std::mem::take(&mut *self.running());
        let deadline = tokio::time::Instant::now() + patience;
        for mut one in running {
            if tokio::time::timeout_at(deadline, &mut one.task).await.is_err() {
                tracing::warn!(subscription = one.planned.name, "a subscription did not end in time");
                one.task.abort();
            }
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one subscription connected.
async fn keep(source: Box<dyn Source>, name: String, intake: Arc<Intake>, stop: CancellationToken) {
    let mut failures = 0;
    while !stop.is_cancelled() {
        let ended = source.run(Arc::clone(&intake), stop.clone()).await;
        if stop.is_cancelled() {
            if let Err(error) = ended {
                tracing::debug!(
                    subscription = name,
                    error = chain(error.as_ref()),
                    "a subscription ended badly"
                );
            }
            break;
        }
        let why = match ended {
            Ok(()) => "it ended by itself".to_owned(),
            Err(error) => chain(error.as_ref()),
        };
        failures = failures_before(failures, intake.stood());
        let pause = pause(failures, rand::random::<f64>());
        tracing::error!(subscription = name, error = why, again_in = ?pause, "a subscription broke; it is tried again");
        intake.broken(why);
        failures = failures.saturating_add(1);
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How many failures in a row there were, once a connection that stood for so long broke. One that
/// breaks as soon as it is made is no success: it would be made again and again without a pause.
fn failures_before(failures: u32, stood: Duration) -> u32 {
    const STEADY: Duration = Duration::from_secs(60);
    if stood >= STEADY { 0 } else { failures }
}

/// How long to wait after so many failures in a row: from half a second to half a minute, of
/// which `jitter` in 0..1 takes away up to a half, so that hosts do not come back all at once.
fn pause(failures: u32, jitter: f64) -> Duration {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);
    let whole = FIRST.saturating_mul(1 << failures.min(6)).min(LONGEST);
    whole.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// Counts events of one source on their way to the adapters that they are for.
pub struct Counted {
    /// Where they go.
    pub dispatcher: Dispatcher,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
    /// What the source is called in metrics.
    pub source: &'static str,
    /// Which adapters they are for.
    pub scope: Scope,
}

#[async_trait]
impl Sink for Counted {
    async fn accept(&self, event: Event) -> Settled {
        self.metrics.event_received(self.source);
        let (event_id, subject) = (event.id.clone(), event.subject.key.clone());
        let settled = self.dispatcher.accept_for(event, self.scope.clone()).await;
        let result = match settled {
            Settled::Done => EventResult::Done,
            Settled::Retry { .. } => EventResult::Retry,
            // The source sets it aside, and says so.
            Settled::Refused { .. } => return settled,
        };
        self.metrics.event_settled(result);
        // Of what was done the reconcile's own line tells.
        tracing::debug!(event = event_id, %subject, ?result, source = self.source, "an event was settled");
        settled
    }

    fn refused(&self, reason: &'static str) {
        self.metrics.event_refused(self.source, reason);
        tracing::info!(reason, source = self.source, "an event was refused");
    }

    fn set_aside(&self, reason: &'static str) {
        self.metrics.event_refused(self.source, reason);
        self.metrics.event_settled(EventResult::SetAside);
    }
}

#[cfg(test)]
mod tests;
