//! Events from Google Pub/Sub, through Google's own client.
//!
//! The client extends the lease of every message that is worked on, and bounds how many are
//! outstanding. What must come again is held, leased, for as long as it is to be delayed, and
//! then given back: the service delivers a message that is given back at once, unless its
//! subscription has a retry policy. Messages of one ordering key are worked on one after the other.

mod lanes;
mod service;

use std::{
    error::Error,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use google_cloud_gax::error::rpc::Code;
use google_cloud_pubsub::{
    client::{Publisher, Subscriber},
    error::PublishError,
    model,
    subscriber::{MessageStream, handler::Handler},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{
    lanes::Lanes,
    service::{Prepared, Service},
};
use super::{Intake, Message, Policy, Settle, Source};

/// How long one call of the service may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the last acknowledgements may take when the host stops.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a message that must be retried is held before it is given back.
const HOLD: Duration = Duration::from_secs(600);
/// How long a message is held at most that could not be set aside.
const BEFORE_BACK: Duration = Duration::from_secs(30);
/// How long the client extends a message's lease at most: as long as any subscription keeps one.
const LONGEST_LEASE: Duration = Duration::from_secs(31 * 24 * 3600);
/// The most bytes of a text in an attribute. The service allows 1024.
const LONGEST_TEXT: usize = 900;

/// What is received, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The project's id.
    pub project: String,
    /// The topic's id. An existing subscription must be attached to it.
    pub topic: String,
    /// The subscription's id, without project. Hosts that name the same one share its messages.
    pub subscription: String,
    /// The id of the topic to which messages that are set aside are published. None: that of the
    /// subscription's dead-letter policy; without one they are acknowledged.
    pub dead_letter_topic: Option<String>,
    /// The emulator's host and port; none for the real service, with the credentials of the
    /// environment (workload identity, or a file named by `GOOGLE_APPLICATION_CREDENTIALS`).
    pub emulator: Option<String>,
    /// The most messages that are worked on at once.
    pub max_in_flight: NonZeroUsize,
    /// The most bytes of messages that are outstanding at once.
    pub max_bytes: u64,
    /// By how much a lease is extended each time, and the deadline of a subscription that is
    /// created: from 10 s to 10 min. A message of a host that died comes again after it.
    pub ack_deadline: Duration,
    /// After how many deliveries a message is set aside, where they are counted.
    pub max_attempts: NonZeroU32,
    /// What is created if it is missing.
    pub create: Create,
}

/// What is created if it is missing, and how. What exists is used as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Whether the topic is, and that for dead letters.
    pub topic: bool,
    /// Whether the subscription is.
    pub subscription: bool,
    /// How long it keeps messages; none for the service's default.
    pub retention: Option<Duration>,
    /// After which idle time the service deletes it; none for never.
    pub expiration: Option<Duration>,
    /// Whether it delivers in the order of the ordering key.
    pub ordering: bool,
    /// The shortest pause before a message is delivered again.
    pub retry_min: Duration,
    /// The longest.
    pub retry_max: Duration,
}

impl Default for Create {
    fn default() -> Self {
        Self {
            topic: false,
            subscription: false,
            retention: None,
            expiration: None,
            ordering: false,
            retry_min: Duration::from_secs(10),
            retry_max: Duration::from_secs(600),
        }
    }
}

impl Settings {
    /// Settings for an existing subscription of the real service: 256 messages and 64 MiB in
    /// flight, leases of 60 s, 5 attempts.
    #[must_use]
    pub fn new(project: String, topic: String, subscription: String) -> Self {
        Self {
            project,
            topic,
            subscription,
            dead_letter_topic: None,
            emulator: None,
            max_in_flight: NonZeroUsize::new(256).unwrap_or(NonZeroUsize::MIN),
            max_bytes: 64 << 20,
            ack_deadline: Duration::from_secs(60),
            max_attempts: NonZeroU32::new(5).unwrap_or(NonZeroU32::MIN),
            create: Create::default(),
        }
    }

    /// How messages are treated. `max_bytes` is the largest event.
    #[must_use]
    pub fn policy(&self, max_bytes: usize) -> Policy {
        Policy {
            max_bytes,
            max_attempts: Some(self.max_attempts),
            hold: HOLD,
            keeps_last: true,
        }
    }

    fn subscription_name(&self) -> String {
        format!("projects/{}/subscriptions/{}", self.project, self.subscription)
    }

    fn topic_name(&self, topic: &str) -> String {
        format!("projects/{}/topics/{topic}", self.project)
    }

    /// The full name of the topic for dead letters, as HyperFleet's own subscribers have it.
    fn dead_letter_name(&self) -> String {
        match &self.dead_letter_topic {
            Some(topic) => self.topic_name(topic),
            None => self.topic_name(&format!("{}-dlq", self.subscription)),
        }
    }
}

/// Why nothing can be received.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The client cannot be made: mostly there are no credentials.
    #[error("cannot prepare the client of Pub/Sub; check the credentials of the environment")]
    Client(#[source] google_cloud_gax::client_builder::Error),
    /// There is no such subscription.
    #[error("there is no subscription `{0}`; create it, or set `createSubscription`")]
    Missing(String),
    /// The subscription is attached to another topic.
    #[error("the subscription is attached to `{found}`, not to `{expected}`")]
    OtherTopic {
        /// What it is attached to.
        found: String,
        /// What was configured.
        expected: String,
    },
    /// The service refused, or did not answer.
    #[error("Pub/Sub: cannot {what}")]
    Service {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        cause: google_cloud_pubsub::Error,
    },
    /// The service did not answer in time.
    #[error("Pub/Sub did not answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// The stream of messages ended by itself.
    #[error("Pub/Sub ended the stream of messages")]
    Ended,
}

/// A subscription to Google Pub/Sub.
#[derive(Debug)]
pub struct PubSub {
    settings: Settings,
    /// One permit a message in flight, over all connections.
    room: Arc<Semaphore>,
}

/// A message with what it takes to answer it.
struct Delivery {
    message: model::Message,
    handler: Handler,
    _permit: OwnedSemaphorePermit,
}

/// What all messages of one connection share.
struct Receiver {
    intake: Arc<Intake>,
    stop: CancellationToken,
    /// Cancelled when the stream is closed: the service gives a message that is given back to
    /// whoever listens, so we must not listen any more.
    closed: CancellationToken,
    dead_letters: Option<Publisher>,
    subscription: String,
    lanes: Mutex<Lanes<Delivery>>,
}

impl PubSub {
    /// A subscription that connects when it runs.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let room = Arc::new(Semaphore::new(settings.max_in_flight.get()));
        Self { settings, room }
    }

    async fn receive(&self, intake: Arc<Intake>, stop: CancellationToken) -> Result<(), Fault> {
        // Another part of the process may have chosen it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let service = Service::connect(&self.settings).await?;
        let Prepared {
            dead_letters,
            deliveries,
        } = service.prepare().await?;
        intake.delivers_at_most(deliveries);
        let receiver = Arc::new(Receiver {
            intake: Arc::clone(&intake),
            stop: stop.clone(),
            closed: CancellationToken::new(),
            dead_letters: service.publisher(dead_letters).await?,
            subscription: self.settings.subscription_name(),
            lanes: Mutex::default(),
        });
        let mut stream = self.subscribe(&service.subscriber().await?);
        intake.connected();
        let _watch = AbortOnDropHandle::new(tokio::spawn(service.watch(intake)));
        let last_words = stream.shutdown_token();
        let mut work = JoinSet::new();
        let ended = self.pull(&mut stream, &receiver, &stop, &mut work).await;
        drop(stream);
        receiver.closed.cancel();
        match ended {
            Ok(()) => {
                while work.join_next().await.is_some() {}
                if tokio::time::timeout(GOODBYE, last_words.shutdown()).await.is_err() {
                    tracing::warn!(
                        "the last acknowledgements did not reach Pub/Sub; those messages are delivered again"
                    );
                }
                Ok(())
            }
            Err(fault) => {
                // They go on, and so do their leases.
                work.detach_all();
                Err(fault)
            }
        }
    }

    fn subscribe(&self, subscriber: &Subscriber) -> MessageStream {
        let Settings {
            max_in_flight,
            max_bytes,
            ..
        } = self.settings;
        subscriber
            .subscribe(self.settings.subscription_name())
            .set_max_lease(LONGEST_LEASE)
            .set_max_lease_extension(self.settings.ack_deadline)
            .set_max_outstanding_messages(i64::try_from(max_in_flight.get()).unwrap_or(i64::MAX))
            .set_max_outstanding_bytes(i64::try_from(max_bytes).unwrap_or(i64::MAX))
            .build()
    }

    async fn pull(
        &self,
        stream: &mut MessageStream,
        receiver: &Arc<Receiver>,
        stop: &CancellationToken,
        work: &mut JoinSet<()>,
    ) -> Result<(), Fault> {
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                permit = Arc::clone(&self.room).acquire_owned() => permit.map_err(|_| Fault::Ended)?,
            };
            while work.try_join_next().is_some() {}
            let next = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                next = stream.next() => next,
            };
            let (message, handler) = match next {
                Some(Ok(received)) => received,
                Some(Err(cause)) => {
                    return Err(Fault::Service {
                        what: "receive messages",
                        cause,
                    });
                }
                None => return Err(Fault::Ended),
            };
            let key = message.ordering_key.clone();
            let delivery = Delivery {
                message,
                handler,
                _permit: permit,
            };
            // One that waits for others of its key is taken up by their task.
            if let Some(delivery) = receiver.lanes().enter(&key, delivery) {
                let receiver = Arc::clone(receiver);
                work.spawn(async move { receiver.follow(&key, delivery).await });
            }
        }
    }
}

#[async_trait]
impl Source for PubSub {
    fn name(&self) -> &'static str {
        "pubsub"
    }

    async fn run(&self, intake: Arc<Intake>, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.receive(intake, stop).await?)
    }
}

impl Receiver {
    fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes<Delivery>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on a message, and then on those of its key that came meanwhile.
    async fn follow(&self, key: &str, first: Delivery) {
        let mut next = Some(first);
        while let Some(delivery) = next {
            next = match self.handle(delivery).await {
                Handled::Over => self.lanes().next(key),
                // The service delivers all later ones of the key again, in order.
                Handled::GivenBack => {
                    let later = self.lanes().close(key);
                    for delivery in later {
                        delivery.handler.nack();
                    }
                    None
                }
            };
        }
    }

    async fn handle(&self, delivery: Delivery) -> Handled {
        let Delivery {
            message,
            handler,
            _permit,
        } = delivery;
        let settle = self
            .intake
            .deliver(Message {
                id: &message.message_id,
                body: &message.data,
                attempt: handler.delivery_attempt().and_then(|count| u32::try_from(count).ok()),
            })
            .await;
        match settle {
            Settle::Ack => {
                acknowledge(handler, &message.message_id).await;
                Handled::Over
            }
            Settle::RetryAfter(after) => {
                self.give_back_after(handler, after).await;
                Handled::GivenBack
            }
            Settle::SetAside { reason, message: why } => match self.set_aside(&message, reason, &why).await {
                Ok(()) => {
                    acknowledge(handler, &message.message_id).await;
                    Handled::Over
                }
                Err(error) => {
                    let id = &message.message_id;
                    if is_missing(&error) {
                        let lost = Message {
                            id,
                            body: &message.data,
                            attempt: None,
                        };
                        self.intake
                            .not_kept(&lost, reason, "the dead-letter topic does not exist");
                        acknowledge(handler, id).await;
                        return Handled::Over;
                    }
                    tracing::error!(message_id = id, %error, "a message could not be published to the dead-letter topic; it is tried again");
                    self.give_back_after(handler, BEFORE_BACK).await;
                    Handled::GivenBack
                }
            },
        }
    }

    async fn give_back_after(&self, handler: Handler, after: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(after.min(HOLD)) => {}
        }
        if self.stop.is_cancelled() {
            self.closed.cancelled().await;
        }
        handler.nack();
    }

    async fn set_aside(&self, message: &model::Message, reason: &str, why: &str) -> Result<(), PublishError> {
        let Some(topic) = &self.dead_letters else { return Ok(()) };
        let letter = dead_letter(message, &self.subscription, reason, why);
        topic.publish(letter).await.map(drop)
    }
}

/// What became of a message.
enum Handled {
    /// It is acknowledged.
    Over,
    /// It comes again.
    GivenBack,
}

async fn acknowledge(handler: Handler, id: &str) {
    match handler {
        Handler::ExactlyOnce(handler) => {
            if let Err(error) = handler.confirmed_ack().await {
                tracing::warn!(message_id = id, %error, "a message could not be acknowledged; it is delivered again");
            }
        }
        other => other.ack(),
    }
}

/// Whether there is no such topic.
fn is_missing(error: &PublishError) -> bool {
    match error {
        PublishError::Rpc(error) => error.status().is_some_and(|status| status.code == Code::NotFound),
        _ => false,
    }
}

/// The message as it came, with the reason in its attributes.
fn dead_letter(message: &model::Message, subscription: &str, reason: &str, why: &str) -> model::Message {
    let mut attributes = message.attributes.clone();
    let told = [
        ("berth_reason", reason),
        ("berth_message", why),
        ("berth_subscription", subscription),
        ("berth_message_id", &message.message_id),
    ];
    attributes.extend(told.map(|(name, text)| (name.to_owned(), shortened(text).to_owned())));
    model::Message::new()
        .set_data(message.data.clone())
        .set_attributes(attributes)
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests;
