//! Events from NATS JetStream, through a durable pull consumer.
//!
//! Owns the connection, and how a message is acknowledged: in-progress acknowledgements while it
//! is worked on or held, a negative one with a delay when it must come again, `TERM` with the
//! reason when it is set aside. What must be retried is held here first, with its place among the
//! messages in flight: an outage so uses up no deliveries and slows the intake.
//!
//! Only as many messages are asked for as there is room for. What arrives after the host was
//! told to stop is given back at once.

mod advisory;
mod connection;
mod consumer;

use std::{
    error::Error,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::{self, AckKind, consumer::PullConsumer, message::Acker};
use async_trait::async_trait;
use futures::StreamExt as _;
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::connection::Connection;
use super::{Intake, Message, Policy, Settle, Source};

/// How long the server keeps a request for messages open. A host that stops waits for it, so
/// that no message is sent to somebody who no longer listens.
const PULL: Duration = Duration::from_secs(2);
/// How long a message that must be retried is held here, with signs of life, before the server
/// has it again.
const HOLD: Duration = Duration::from_secs(600);
/// The last attempt where nobody says another.
const ATTEMPTS: u32 = 20;
/// The most messages of one request.
const BATCH: usize = 256;
/// How long one request to the server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is received, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// A server, such as `nats://nats:4222` or `tls://nats:4222`; without credentials. The others
    /// of its cluster are learned from it.
    pub url: Url,
    /// The stream.
    pub stream: String,
    /// The durable consumer. Hosts that name the same one share its messages.
    pub consumer: String,
    /// What of the stream a consumer that is created receives; none for all of it. A stream
    /// that is created holds this.
    pub subject: Option<String>,
    /// Whether a stream and a consumer that are missing are created. Existing ones are used as
    /// they are.
    pub create: bool,
    /// A credentials file, as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
    /// A file with a token, for servers that want one.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates, in PEM, of the only authorities that are trusted; none for
    /// those of the system.
    pub ca_file: Option<PathBuf>,
    /// The most messages that are worked on at once.
    pub max_in_flight: NonZeroUsize,
    /// How often a message is delivered at most by a consumer that is created, and the last
    /// attempt before it is set aside. None for a consumer without bound and 20 attempts.
    pub max_deliver: Option<NonZeroU32>,
    /// How long a consumer that is created waits for a sign of life before it delivers a
    /// message again.
    pub ack_wait: Duration,
}

impl Settings {
    /// Settings for an existing stream and consumer: no credentials, the system's authorities,
    /// 256 messages in flight.
    #[must_use]
    pub fn new(url: Url, stream: String, consumer: String) -> Self {
        Self {
            url,
            stream,
            consumer,
            subject: None,
            create: false,
            credentials_file: None,
            token_file: None,
            ca_file: None,
            max_in_flight: NonZeroUsize::new(256).unwrap_or(NonZeroUsize::MIN),
            max_deliver: None,
            ack_wait: Duration::from_secs(30),
        }
    }

    /// How messages are treated. `max_bytes` is the largest event.
    #[must_use]
    pub fn policy(&self, max_bytes: usize) -> Policy {
        Policy {
            max_bytes,
            max_attempts: self.max_deliver.or(NonZeroU32::new(ATTEMPTS)),
            hold: HOLD,
            keeps_last: true,
        }
    }
}

/// Why nothing can be received.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file with credentials cannot be used.
    #[error("the {what} file `{}` {problem}", .path.display())]
    File {
        /// Which one.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What is wrong with it. Nothing of its content.
        problem: String,
    },
    /// No connection could be made.
    #[error("cannot connect to NATS at {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why.
        #[source]
        cause: async_nats::ConnectError,
    },
    /// The connection was lost and did not come back.
    #[error("the connection to NATS was lost")]
    Lost,
    /// There is no such stream or consumer.
    #[error("there is no {what} `{name}`; create it, or set `create` and `subject`")]
    Missing {
        /// `stream` or `consumer`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The consumer cannot be used.
    #[error("the consumer `{name}` {problem}")]
    Unusable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// JetStream refused, or did not answer.
    #[error("JetStream: cannot {what}")]
    JetStream {
        /// What was asked for.
        what: &'static str,
        /// Why.
        #[source]
        cause: async_nats::Error,
    },
    /// JetStream did not answer in time.
    #[error("JetStream did not answer within {} s", PATIENCE.as_secs())]
    Slow,
}

/// A subscription to NATS JetStream.
#[derive(Debug)]
pub struct Nats {
    settings: Settings,
    /// One permit a message in flight, over all connections.
    room: Arc<Semaphore>,
}

impl Nats {
    /// A subscription that connects when it runs.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let room = Arc::new(Semaphore::new(settings.max_in_flight.get()));
        Self { settings, room }
    }

    async fn receive(&self, intake: &Arc<Intake>, stop: &CancellationToken) -> Result<(), Fault> {
        let mut connection = Connection::open(&self.settings, Arc::clone(intake)).await?;
        let context = jetstream::new(connection.client.clone());
        let consumer = tokio::time::timeout(PATIENCE, consumer::find(&context, &self.settings))
            .await
            .map_err(|_| Fault::Slow)??;
        let _advisories = advisory::listen(&connection.client, &self.settings, Arc::clone(intake)).await;
        let info = consumer.cached_info();
        intake.delivers_at_most(consumer::deliveries(info));
        let period = consumer::sign_of_life(info);
        intake.connected();
        let mut work = JoinSet::new();
        let ended = self
            .pull(&consumer, period, intake, stop, &mut connection, &mut work)
            .await;
        match ended {
            Ok(()) => {
                while work.join_next().await.is_some() {}
                // What was answered last is still on its way.
                if connection.client.flush().await.is_err() {
                    tracing::warn!("the last acknowledgements did not reach NATS; those messages are delivered again");
                }
                Ok(())
            }
            Err(fault) => {
                // They go on, and acknowledge if the connection comes back in time.
                work.detach_all();
                Err(fault)
            }
        }
    }

    async fn pull(
        &self,
        consumer: &PullConsumer,
        period: Duration,
        intake: &Arc<Intake>,
        stop: &CancellationToken,
        connection: &mut Connection,
        work: &mut JoinSet<()>,
    ) -> Result<(), Fault> {
        while !stop.is_cancelled() {
            let first = tokio::select! {
                () = stop.cancelled() => break,
                () = connection.lost() => return Err(Fault::Lost),
                first = Arc::clone(&self.room).acquire_owned() => first.map_err(|_| Fault::Lost)?,
            };
            while work.try_join_next().is_some() {}
            let mut permits = vec![first];
            while permits.len() < BATCH
                && let Ok(another) = Arc::clone(&self.room).try_acquire_owned()
            {
                permits.push(another);
            }
            let mut batch = consumer
                .batch()
                .max_messages(permits.len())
                .expires(PULL)
                .messages()
                .await
                .map_err(|cause| fault("ask for messages", cause))?;
            loop {
                let next = tokio::select! {
                    next = batch.next() => next,
                    () = connection.lost() => return Err(Fault::Lost),
                };
                let Some(message) = next else { break };
                let message = message.map_err(|cause| Fault::JetStream {
                    what: "receive messages",
                    cause,
                })?;
                if stop.is_cancelled() {
                    give_back(&message).await;
                    continue;
                }
                let (intake, permit) = (Arc::clone(intake), permits.pop());
                work.spawn(async move {
                    handle(message, &intake, period).await;
                    drop(permit);
                });
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    async fn run(&self, intake: Arc<Intake>, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.receive(&intake, &stop).await?)
    }
}

fn fault(what: &'static str, cause: impl Error + Send + Sync + 'static) -> Fault {
    let cause = cause.into();
    Fault::JetStream { what, cause }
}

/// Gives a message back that came to a host which stops. Not before its own request is over is it delivered again: until
/// then it would come back here, again and again, until its deliveries are used up.
async fn give_back(message: &jetstream::Message) {
    if let Err(error) = message.ack_with(AckKind::Nak(Some(PULL))).await {
        tracing::debug!(error, "a message was not given back; it is delivered again later");
    }
}

/// Hands one message on, and keeps it until that is done.
async fn handle(message: jetstream::Message, intake: &Intake, period: Duration) {
    let (id, attempt) = match message.info() {
        Ok(info) => (info.stream_sequence.to_string(), u32::try_from(info.delivered).ok()),
        Err(_) => (String::new(), None),
    };
    let client = message.context.client();
    // The acknowledger takes it away.
    let reply = message.reply.clone();
    let (message, acker) = message.split();
    let delivered = intake.deliver(Message {
        id: &id,
        body: &message.payload,
        attempt,
    });
    let settle = while_alive(delivered, &acker, period).await;
    let answered = match answer(&settle) {
        Answer::Kind(kind) => acker.ack_with(kind).await,
        Answer::Terminate(text) => match reply {
            Some(reply) => client.publish(reply, text.into()).await.map_err(Into::into),
            None => Ok(()),
        },
    };
    if let Err(error) = answered {
        tracing::warn!(
            message_id = id,
            error,
            "a message could not be acknowledged; it is delivered again"
        );
    }
}

/// Tells the server again and again that a message is worked on.
async fn while_alive<T>(work: impl Future<Output = T>, acker: &Acker, period: Duration) -> T {
    let mut alive = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    alive.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = alive.tick() => {
                if let Err(error) = acker.ack_with(AckKind::Progress).await {
                    tracing::debug!(error, "NATS was not told that a message is worked on");
                }
            }
        }
    }
}

/// What the server is told.
#[derive(Debug)]
enum Answer {
    Kind(AckKind),
    /// The client's own `Term` has no reason; the server shows this one in its advisory.
    Terminate(String),
}

fn answer(settle: &Settle) -> Answer {
    match settle {
        Settle::Ack => Answer::Kind(AckKind::Ack),
        Settle::RetryAfter(Duration::ZERO) => Answer::Kind(AckKind::Nak(None)),
        Settle::RetryAfter(after) => Answer::Kind(AckKind::Nak(Some(*after))),
        Settle::SetAside { reason, message } => {
            let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
            Answer::Terminate(format!("+TERM {reason}: {line}"))
        }
    }
}

#[cfg(test)]
mod tests;
