//! RabbitMQ: HyperFleet's topology, so that berth and HyperFleet's own services share brokers.
//!
//! A classic queue without arguments delays nothing, so a message that must be retried is
//! held here, unacknowledged, and handed on again (see [`Policy::hold`]). Only what is held for
//! long goes back to the broker, and a little later, so that nothing runs hot.

mod address;
mod fault;
mod topology;

use std::{
    error::Error,
    num::{NonZeroU16, NonZeroU32},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
        BasicQosOptions, ConfirmSelectOptions,
    },
    tcp::{OwnedIdentity, OwnedTLSConfig},
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::address::{Address, Location};
use self::fault::Fault;
pub use self::topology::{Names, Quorum};
use super::{Intake, Message, Policy, Settle, Source};

/// How events are received from RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The broker.
    pub address: Address,
    /// Exchange and queue.
    pub names: Names,
    /// The exchange's type: `topic`, `fanout`, `direct`, `headers` or a plugin's.
    pub exchange_type: String,
    /// Messages in flight at most.
    pub prefetch: NonZeroU16,
    /// A quorum queue with these limits; none for a classic queue as HyperFleet declares it.
    pub quorum: Option<Quorum>,
    /// Where messages go that are set aside; none to log them only.
    pub dead_letter_exchange: Option<String>,
    /// The file with certificates to trust in addition, PEM.
    pub ca_file: Option<PathBuf>,
    /// The files with the client's certificate and key, PEM.
    pub identity_files: Option<(PathBuf, PathBuf)>,
}

impl Settings {
    /// How messages are treated. `max_bytes` is the largest event.
    #[must_use]
    pub fn policy(&self, max_bytes: usize) -> Policy {
        Policy {
            max_bytes,
            // Classic queues count no deliveries; what fails here is counted all the same.
            max_attempts: self
                .quorum
                .map_or(NonZeroU32::new(ATTEMPTS), |quorum| Some(quorum.delivery_limit)),
            hold: HOLD,
            keeps_last: false,
        }
    }
}

/// How often the work on a message of a classic queue may fail by itself, within one delivery.
const ATTEMPTS: u32 = 10;
/// How long a message is held here at most. RabbitMQ closes the channel of a consumer that
/// holds one for 30 minutes.
const HOLD: Duration = Duration::from_secs(10 * 60);
/// How long a message that was held for so long waits at most before it goes back.
const BEFORE_BACK: Duration = Duration::from_secs(60);
/// How long the broker may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// One subscription.
pub struct RabbitMq {
    settings: Settings,
}

impl RabbitMq {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    async fn connect(&self) -> Result<Connection, Fault> {
        let uri = self.settings.address.uri().await?;
        let tls = OwnedTLSConfig {
            identity: match &self.settings.identity_files {
                Some((certificate, key)) => Some(OwnedIdentity::PKCS8 {
                    pem: read(certificate).await?,
                    key: read(key).await?,
                }),
                None => None,
            },
            cert_chain: match &self.settings.ca_file {
                Some(file) => Some(String::from_utf8_lossy(&read(file).await?).into_owned()),
                None => None,
            },
        };
        let name = format!("berth {} {}", env!("CARGO_PKG_VERSION"), self.settings.names.queue);
        let options = ConnectionProperties::default().with_connection_name(LongString::from(name));
        let (host, port) = (uri.authority.host.clone(), uri.authority.port);
        let runtime = lapin::runtime::default_runtime().map_err(Fault::Lost)?;
        in_time(Connection::connect_uri_with_config(uri, options, tls, runtime))
            .await?
            .map_err(|error| Fault::connecting(host, port, error))
    }

    async fn receive(&self, intake: &Arc<Intake>, stop: &CancellationToken) -> Result<(), Fault> {
        let connection = self.connect().await?;
        let ended = self.receive_from(&connection, intake, stop).await;
        // Whatever is not acknowledged goes back to the queue by this.
        if in_time(connection.close(200, ShortString::from("bye"))).await.is_err() {
            tracing::debug!("RabbitMQ did not say goodbye");
        }
        ended
    }

    async fn receive_from(
        &self,
        connection: &Connection,
        intake: &Arc<Intake>,
        stop: &CancellationToken,
    ) -> Result<(), Fault> {
        let settings = &self.settings;
        topology::declare(connection, settings).await?;
        let channel = in_time(connection.create_channel()).await?.map_err(Fault::Lost)?;
        let again = match settings.quorum {
            Some(quorum) => Some((quorum.delivery_limit, Publisher::open(connection, "", settings).await?)),
            None => None,
        };
        let aside = match &settings.dead_letter_exchange {
            Some(exchange) => Some(Publisher::open(connection, exchange, settings).await?),
            None => None,
        };
        let receiver = Arc::new(Receiver {
            intake: Arc::clone(intake),
            stop: stop.clone(),
            again,
            aside,
        });
        let prefetch = channel.basic_qos(settings.prefetch.get(), BasicQosOptions::default());
        in_time(prefetch).await?.map_err(Fault::Lost)?;
        let queue = &settings.names.queue;
        let consumer = channel.basic_consume(
            topology::short(queue)?,
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut consumer = in_time(consumer)
            .await?
            .map_err(|error| Fault::refused(fault::Doing::Consume(queue.clone()), error))?;
        tracing::info!(queue, prefetch = settings.prefetch, "receives from RabbitMQ");
        intake.connected();

        let mut work = JoinSet::new();
        let ended = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                Some(done) = work.join_next(), if !work.is_empty() => match done {
                    Ok(Ok(())) => {}
                    Ok(Err(fault)) => break Err(fault),
                    Err(_) => break Err(Fault::Panicked),
                },
                delivered = consumer.next() => match delivered {
                    Some(Ok(delivery)) => {
                        let receiver = Arc::clone(&receiver);
                        work.spawn(async move { receiver.handle(delivery).await });
                    }
                    Some(Err(error)) => break Err(Fault::Lost(error)),
                    None => break Err(Fault::Cancelled(queue.clone())),
                },
            }
        };
        if ended.is_ok() {
            let cancel = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
            if in_time(cancel).await.is_err() {
                tracing::debug!(queue, "the consumer could not be cancelled");
            }
            // The intake answers soon: the host gives back what it does not end.
            while let Some(done) = work.join_next().await {
                done.map_err(|_| Fault::Panicked)??;
            }
        }
        ended
    }
}

#[async_trait]
impl Source for RabbitMq {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    async fn run(&self, intake: Arc<Intake>, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.receive(&intake, &stop).await?)
    }
}

/// What all messages of one connection share.
struct Receiver {
    intake: Arc<Intake>,
    stop: CancellationToken,
    /// The limit of a queue that counts deliveries, and the way to its end.
    again: Option<(NonZeroU32, Publisher)>,
    /// Where messages go that are set aside.
    aside: Option<Publisher>,
}

impl Receiver {
    /// The way of one message.
    async fn handle(&self, delivery: Delivery) -> Result<(), Fault> {
        let id = topology::message_id(&delivery.properties);
        let attempt = self.again.as_ref().map(|_| topology::attempt(&delivery.properties));
        let message = Message {
            id: &id,
            body: &delivery.data,
            attempt,
        };
        let used = match self.intake.deliver(message).await {
            Settle::Ack => delivery.ack(BasicAckOptions::default()).await,
            Settle::RetryAfter(after) => {
                self.pause(after.min(BEFORE_BACK)).await;
                if self.renewed(&delivery, attempt).await {
                    delivery.ack(BasicAckOptions::default()).await
                } else {
                    give_back(&delivery).await
                }
            }
            Settle::SetAside { reason, message: text } => {
                match &self.aside {
                    Some(aside) => match self.set_aside(aside, &delivery, &id, reason, &text).await {
                        Ok(()) => delivery.ack(BasicAckOptions::default()).await,
                        // That concerns this message alone; it is tried again later.
                        Err(error @ (Fault::NotStored(_) | Fault::Silent(_))) => {
                            tracing::error!(message_id = id, %error, "a message could not be set aside; it is tried again");
                            self.pause(BEFORE_BACK).await;
                            give_back(&delivery).await
                        }
                        Err(fault) => return Err(fault),
                    },
                    None => delivery.ack(BasicAckOptions::default()).await,
                }
            }
        };
        match used {
            Ok(true) => Ok(()),
            // The channel has gone. The broker delivers the message again, on the next one.
            Ok(false) => Ok(()),
            Err(error) => Err(Fault::Lost(error)),
        }
    }

    /// As long as this, or until the host stops.
    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// A message that comes back at its last delivery met only outages, or it would have been set
    /// aside. It goes to the end of its queue as a new one, which was delivered never. Where the
    /// user may not publish there, it goes back as it is.
    async fn renewed(&self, delivery: &Delivery, attempt: Option<u32>) -> bool {
        let Some((limit, queue)) = &self.again else {
            return false;
        };
        if attempt.is_none_or(|attempt| attempt < limit.get()) {
            return false;
        }
        let mut headers = delivery.properties.headers().clone().unwrap_or_default();
        topology::forget_deliveries(&mut headers);
        match queue.put(delivery, headers).await {
            Ok(Confirmation::Ack(None)) => true,
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested) => false,
            Err(error) => {
                tracing::warn!(%error, "a message could not be renewed; its deliveries go on counting");
                false
            }
        }
    }

    /// Publishes the message as it came, with the reason as headers, and waits until the broker
    /// has stored it.
    async fn set_aside(
        &self,
        aside: &Publisher,
        delivery: &Delivery,
        id: &str,
        reason: &'static str,
        message: &str,
    ) -> Result<(), Fault> {
        let mut headers = delivery.properties.headers().clone().unwrap_or_default();
        for (name, text) in [("x-berth-reason", reason), ("x-berth-message", message)] {
            headers.insert(ShortString::from(name), AMQPValue::LongString(LongString::from(text)));
        }
        match aside.put(delivery, headers).await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => {
                let lost = Message {
                    id,
                    body: &delivery.data,
                    attempt: None,
                };
                let why = format!("no queue is bound to the exchange `{}`: {message}", aside.exchange);
                self.intake.not_kept(&lost, reason, &why);
                Ok(())
            }
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(Fault::NotStored(aside.exchange.to_string())),
        }
    }
}

async fn give_back(delivery: &Delivery) -> lapin::Result<bool> {
    let options = BasicNackOptions {
        requeue: true,
        ..BasicNackOptions::default()
    };
    delivery.nack(options).await
}

/// Publishes with confirms.
struct Publisher {
    channel: Channel,
    exchange: ShortString,
    routing_key: ShortString,
}

impl Publisher {
    /// To this exchange, with the queue's name as the routing key.
    async fn open(connection: &Connection, exchange: &str, settings: &Settings) -> Result<Self, Fault> {
        let channel = in_time(connection.create_channel()).await?.map_err(Fault::Lost)?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        in_time(confirms).await?.map_err(Fault::Lost)?;
        Ok(Self {
            channel,
            exchange: topology::short(exchange)?,
            routing_key: topology::short(&settings.names.queue)?,
        })
    }

    /// Publishes the message with these headers, and answers what the broker says of it.
    async fn put(&self, delivery: &Delivery, headers: FieldTable) -> Result<Confirmation, Fault> {
        let properties: BasicProperties = delivery.properties.clone().with_headers(headers).with_delivery_mode(2);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let published = async {
            let (exchange, key) = (self.exchange.clone(), self.routing_key.clone());
            let sent = self
                .channel
                .basic_publish(exchange, key, options, &delivery.data, properties);
            sent.await?.await
        };
        in_time(published).await?.map_err(Fault::Lost)
    }
}

async fn read(file: &std::path::Path) -> Result<Vec<u8>, Fault> {
    tokio::fs::read(file).await.map_err(|source| Fault::File {
        file: file.to_owned(),
        source,
    })
}

async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, Fault> {
    tokio::time::timeout(ANSWER, answer)
        .await
        .map_err(|_| Fault::Silent(ANSWER))
}
