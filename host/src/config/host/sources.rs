//! The brokers that events come from.

use std::{
    num::{NonZeroU16, NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use url::Url;

use super::merge::{Values, positive_count, positive_duration, positive_size, unreadable};
use crate::{config::units::Unreadable, world::Secret};

/// The brokers; those that nothing is said of are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// RabbitMQ.
    pub rabbitmq: Option<RabbitMq>,
    /// Google Pub/Sub.
    pub pubsub: Option<PubSub>,
    /// NATS `JetStream`.
    pub nats: Option<Nats>,
}

/// Where an address that may hold a password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Here(Secret),
    /// In this file.
    File(PathBuf),
}

/// Files for TLS. Relative paths are relative to where they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates to trust in addition, PEM.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and key, PEM.
    pub identity_files: Option<(PathBuf, PathBuf)>,
}

/// RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RabbitMq {
    /// The URL, `amqp://` or `amqps://`.
    pub url: Place,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// The topic; without one there is no shared subscription.
    pub topic: Option<String>,
    /// The shared subscription.
    pub subscription: Option<String>,
    /// The exchange, where it is not called like the topic.
    pub exchange: Option<String>,
    /// Its type.
    pub exchange_type: String,
    /// What the queue's name begins with, where it is not the topic.
    pub queue: Option<String>,
    /// Messages in flight at most, for each subscription.
    pub prefetch: NonZeroU16,
    /// The delivery limit of a quorum queue; none for a classic queue.
    pub quorum: Option<NonZeroU32>,
    /// Where messages go that are set aside.
    pub dead_letter_exchange: Option<String>,
    /// TLS.
    pub tls: Tls,
}

/// Google Pub/Sub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PubSub {
    /// The project.
    pub project: String,
    /// The emulator's host and port; none for the real service.
    pub emulator: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// The shared subscription.
    pub subscription: Option<String>,
    /// Whether a topic that does not exist is created.
    pub create_topic: bool,
    /// Whether a subscription that does not exist is created.
    pub create_subscription: bool,
    /// The acknowledgement deadline of a created subscription.
    pub ack_deadline: Duration,
    /// How long a created subscription keeps messages; none for the service's default.
    pub retention: Option<Duration>,
    /// After which idle time a created subscription is deleted; none for never.
    pub expiration: Option<Duration>,
    /// Whether a created subscription delivers in order of the ordering key.
    pub ordering: bool,
    /// The shortest pause before a message is delivered again.
    pub retry_min: Duration,
    /// The longest.
    pub retry_max: Duration,
    /// Deliveries before a message goes to the dead-letter topic.
    pub max_attempts: NonZeroU32,
    /// The dead-letter topic; by default `{subscription}-dlq`.
    pub dead_letter_topic: Option<String>,
    /// Messages in flight at most, for each subscription.
    pub max_in_flight: NonZeroUsize,
    /// Their size in all at most, in bytes.
    pub max_bytes: usize,
}

/// NATS `JetStream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nats {
    /// The server, without credentials.
    pub url: Url,
    /// The file with credentials, as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
    /// The file with a token.
    pub token_file: Option<PathBuf>,
    /// The file with the only certificates that are trusted, PEM.
    pub ca_file: Option<PathBuf>,
    /// The stream.
    pub stream: Option<String>,
    /// The shared durable consumer.
    pub consumer: Option<String>,
    /// Only messages of this subject.
    pub subject: Option<String>,
    /// Whether a missing stream or consumer is created.
    pub create: bool,
    /// How long the server waits for an acknowledgement or a sign of progress.
    pub ack_wait: Duration,
    /// Deliveries of a created consumer at most; none for no bound.
    pub max_deliver: Option<NonZeroU32>,
    /// Messages in flight at most, for each consumer.
    pub max_in_flight: NonZeroUsize,
}

/// What may be of an AMQP URL in what people see.
pub(super) fn masked(text: &str) -> String {
    const HIDDEN: &str = "hidden";
    let Ok(mut url) = Url::parse(text) else {
        return format!("({HIDDEN})");
    };
    if url.password().is_some() && url.set_password(Some(HIDDEN)).is_err() {
        return format!("({HIDDEN})");
    }
    url.to_string()
}

/// Whether an AMQP URL holds a credential.
pub(super) fn has_credential(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.password().is_some())
}

/// Whoever writes one of these wants to receive from Pub/Sub.
const PUBSUB_KEYS: [&str; 3] = [
    "sources.pubsub.project",
    "sources.pubsub.topic",
    "sources.pubsub.subscription",
];

impl Values {
    /// What `sources` says of brokers.
    pub(super) fn sources(&mut self) -> Sources {
        Sources {
            rabbitmq: if self.is_told("sources.rabbitmq.") {
                self.rabbitmq()
            } else {
                None
            },
            // The emulator's variable alone says only where Pub/Sub would be.
            pubsub: if PUBSUB_KEYS.iter().any(|key| self.is_told(key)) {
                self.pubsub()
            } else {
                None
            },
            nats: if self.is_told("sources.nats.") {
                self.nats()
            } else {
                None
            },
        }
    }

    fn rabbitmq(&mut self) -> Option<RabbitMq> {
        let url = self.place("sources.rabbitmq.url", "sources.rabbitmq.urlFile");
        let prefetch = self.read("sources.rabbitmq.prefetch", |text| {
            let count = positive_count(text)?.get();
            u16::try_from(count)
                .ok()
                .and_then(NonZeroU16::new)
                .ok_or_else(|| unreadable(format!("`{text}` is too large"), "it must be less than 65536"))
        });
        let quorum = self.read("sources.rabbitmq.quorum", boolean);
        let limit = self.read("sources.rabbitmq.deliveryLimit", attempts);
        let tls = self.tls([
            "sources.rabbitmq.caFile",
            "sources.rabbitmq.certFile",
            "sources.rabbitmq.keyFile",
        ]);
        let topic = self.text("sources.rabbitmq.topic");
        let subscription = self.text("sources.rabbitmq.subscription");
        self.both("sources.rabbitmq.topic", topic.as_deref(), subscription.as_deref());
        let dead_letter_exchange = self.text("sources.rabbitmq.deadLetterExchange");
        if quorum == Some(true) && dead_letter_exchange.is_none() {
            // The broker drops what it delivered too often where nobody says where to put it.
            self.wrong(
                "sources.rabbitmq.quorum",
                "has a delivery limit, and no place for what reaches it".to_owned(),
                Some("set `sources.rabbitmq.deadLetterExchange` too".to_owned()),
            );
        }
        Some(RabbitMq {
            url: url?,
            password_file: self.path("sources.rabbitmq.passwordFile"),
            topic,
            subscription,
            exchange: self.text("sources.rabbitmq.exchange"),
            exchange_type: self.text("sources.rabbitmq.exchangeType")?,
            queue: self.text("sources.rabbitmq.queue"),
            prefetch: prefetch?,
            quorum: if quorum? { Some(limit?) } else { None },
            dead_letter_exchange,
            tls: tls?,
        })
    }

    fn pubsub(&mut self) -> Option<PubSub> {
        let project = self.text("sources.pubsub.project");
        let project = self.required("sources.pubsub.project", project);
        let create_topic = self.read("sources.pubsub.createTopic", boolean);
        let create_subscription = self.read("sources.pubsub.createSubscription", boolean);
        let ack_deadline = self.read("sources.pubsub.ackDeadline", |text| {
            between(text, Duration::from_secs(10), Duration::from_secs(600), "10s to 10m")
        });
        let retention = self.read("sources.pubsub.retention", positive_duration);
        let expiration = self.read("sources.pubsub.expiration", positive_duration);
        let ordering = self.read("sources.pubsub.ordering", boolean);
        let pause = |text: &str| between(text, Duration::ZERO, Duration::from_secs(600), "0s to 10m");
        let retry_min = self.read("sources.pubsub.retryMin", pause);
        let retry_max = self.read("sources.pubsub.retryMax", pause);
        let max_attempts = self.read("sources.pubsub.maxAttempts", attempts);
        let max_in_flight = self.read("sources.pubsub.maxInFlight", positive_count);
        let max_bytes = self.read("sources.pubsub.maxBytesInFlight", positive_size);
        let topic = self.text("sources.pubsub.topic");
        let subscription = self.text("sources.pubsub.subscription");
        Some(PubSub {
            project: project?,
            emulator: self.text("sources.pubsub.emulator"),
            topic,
            subscription,
            create_topic: create_topic?,
            create_subscription: create_subscription?,
            ack_deadline: ack_deadline?,
            retention,
            expiration,
            ordering: ordering?,
            retry_min: retry_min?,
            retry_max: retry_max?,
            max_attempts: max_attempts?,
            dead_letter_topic: self.text("sources.pubsub.deadLetterTopic"),
            max_in_flight: max_in_flight?,
            max_bytes: max_bytes?,
        })
    }

    fn nats(&mut self) -> Option<Nats> {
        let url = self.read("sources.nats.url", nats_url);
        let url = self.required("sources.nats.url", url);
        let create = self.read("sources.nats.create", boolean);
        let ack_wait = self.read("sources.nats.ackWait", positive_duration);
        let max_deliver = self.read("sources.nats.maxDeliver", attempts);
        let max_in_flight = self.read("sources.nats.maxInFlight", positive_count);
        let stream = self.text("sources.nats.stream");
        let consumer = self.text("sources.nats.consumer");
        self.both("sources.nats.stream", stream.as_deref(), consumer.as_deref());
        Some(Nats {
            url: url?,
            credentials_file: self.path("sources.nats.credentialsFile"),
            token_file: self.path("sources.nats.tokenFile"),
            ca_file: self.path("sources.nats.caFile"),
            stream,
            consumer,
            subject: self.text("sources.nats.subject"),
            create: create?,
            ack_wait: ack_wait?,
            max_deliver,
            max_in_flight: max_in_flight?,
        })
    }

    /// An address: itself, or the file that it is in.
    fn place(&mut self, key: &'static str, file_key: &'static str) -> Option<Place> {
        let url = self.read(key, amqp_url);
        match (self.path(file_key), self.text(key).is_some()) {
            (Some(_), true) => {
                self.wrong(
                    file_key,
                    format!("`{key}` is set too"),
                    Some("leave one of them out".to_owned()),
                );
                None
            }
            (Some(file), false) => Some(Place::File(file)),
            (None, _) => self.required(key, url).map(|url| Place::Here(Secret::new(url))),
        }
    }

    fn tls(&mut self, [ca, certificate, key]: [&'static str; 3]) -> Option<Tls> {
        let identity_files = match (self.path(certificate), self.path(key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.wrong(certificate, "has no key".to_owned(), Some(format!("set `{key}` too")));
                return None;
            }
            (None, Some(_)) => {
                self.wrong(
                    key,
                    "has no certificate".to_owned(),
                    Some(format!("set `{certificate}` too")),
                );
                return None;
            }
        };
        Some(Tls {
            ca_file: self.path(ca),
            identity_files,
        })
    }

    /// A subscription alone is one of nothing. A topic alone is: adapters may bring their own.
    fn both(&mut self, topic_key: &'static str, topic: Option<&str>, subscription: Option<&str>) {
        if let (None, Some(subscription)) = (topic, subscription) {
            self.wrong(
                topic_key,
                format!("is missing, of the subscription `{subscription}`"),
                None,
            );
        }
    }
}

fn amqp_url(text: &str) -> Result<String, Unreadable> {
    let hint = "write it as `amqps://user@rabbitmq.example.com:5671/vhost`";
    broker_url(text, &["amqp", "amqps"], hint)?;
    Ok(text.to_owned())
}

fn nats_url(text: &str) -> Result<Url, Unreadable> {
    let url = broker_url(text, &["nats", "tls"], "write it as `nats://nats.example.com:4222`")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unreadable(
            "contains credentials".to_owned(),
            "put them into a file and name it in `sources.nats.credentialsFile` or `sources.nats.tokenFile`",
        ));
    }
    Ok(url)
}

/// Errors do not repeat the text: it may hold a password.
fn broker_url(text: &str, schemes: &[&str], hint: &str) -> Result<Url, Unreadable> {
    let url = Url::parse(text).map_err(|error| unreadable(format!("is not a URL: {error}"), hint))?;
    if !schemes.contains(&url.scheme()) {
        let message = format!("`{}` is not {}", url.scheme(), schemes.join(" or "));
        return Err(unreadable(message, hint));
    }
    if url.host_str().unwrap_or_default().is_empty() {
        return Err(unreadable("names no host".to_owned(), hint));
    }
    Ok(url)
}

fn boolean(text: &str) -> Result<bool, Unreadable> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(unreadable(format!("`{other}` is neither"), "write `true` or `false`")),
    }
}

fn attempts(text: &str) -> Result<NonZeroU32, Unreadable> {
    u32::try_from(positive_count(text)?.get())
        .ok()
        .and_then(NonZeroU32::new)
        .ok_or_else(|| unreadable(format!("`{text}` is too large"), "it must be less than 4294967296"))
}

fn between(text: &str, least: Duration, most: Duration, range: &'static str) -> Result<Duration, Unreadable> {
    let duration = crate::config::units::duration(text)?;
    if (least..=most).contains(&duration) {
        return Ok(duration);
    }
    Err(unreadable(
        format!("`{text}` is not within {range}"),
        "Google Pub/Sub allows no other",
    ))
}
