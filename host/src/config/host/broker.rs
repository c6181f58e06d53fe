//! HyperFleet's `broker.yaml` and `BROKER_…` variables, read as they are.
//!
//! Each of its keys means one of ours. What only publishers need has no meaning here, and keys
//! that we do not know are HyperFleet's business.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{KEYS, merge::Origin};
use crate::config::{
    units::write_duration,
    yaml::{self, Content, Malformed, Node, Position},
};

/// What was found under one of its keys.
type Value = (String, Origin);

/// Which broker it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    RabbitMq,
    PubSub,
}

/// Its keys, and what they are called here. A duration in seconds gets its unit.
const RABBITMQ: [(&str, &str); 4] = [
    ("broker.rabbitmq.url", "sources.rabbitmq.url"),
    ("broker.rabbitmq.exchange", "sources.rabbitmq.exchange"),
    ("broker.rabbitmq.exchange_type", "sources.rabbitmq.exchangeType"),
    ("broker.rabbitmq.queue", "sources.rabbitmq.queue"),
];
const PUBSUB: [(&str, &str); 4] = [
    ("broker.googlepubsub.project_id", "sources.pubsub.project"),
    ("broker.googlepubsub.enable_message_ordering", "sources.pubsub.ordering"),
    (
        "broker.googlepubsub.create_topic_if_missing",
        "sources.pubsub.createTopic",
    ),
    (
        "broker.googlepubsub.create_subscription_if_missing",
        "sources.pubsub.createSubscription",
    ),
];
/// Those that are durations. None of them, and nothing said, is the service's default here and there.
const DURATIONS: [(&str, &str); 4] = [
    (
        "broker.googlepubsub.message_retention_duration",
        "sources.pubsub.retention",
    ),
    ("broker.googlepubsub.expiration_ttl", "sources.pubsub.expiration"),
    ("broker.googlepubsub.retry_min_backoff", "sources.pubsub.retryMin"),
    ("broker.googlepubsub.retry_max_backoff", "sources.pubsub.retryMax"),
];
/// Those that are counts, of which 0 means the library's default.
const COUNTS: [(&str, &str); 2] = [
    (
        "broker.googlepubsub.dead_letter_max_attempts",
        "sources.pubsub.maxAttempts",
    ),
    (
        "broker.googlepubsub.max_outstanding_messages",
        "sources.pubsub.maxInFlight",
    ),
];
const TYPE: &str = "broker.type";
const PREFETCH: &str = "broker.rabbitmq.prefetch_count";
const PARALLELISM: &str = "subscriber.parallelism";
const MAX_BYTES: &str = "broker.googlepubsub.max_outstanding_bytes";
const ACK_DEADLINE: &str = "broker.googlepubsub.ack_deadline_seconds";
/// No lower product of theirs is taken: each of their consumers is serial, and ours is not.
const LEAST_PREFETCH: u16 = 16;

/// What HyperFleet's services name topic and subscription by.
const TOPIC: [&str; 2] = ["HYPERFLEET_BROKER_TOPIC", "BROKER_TOPIC"];
const SUBSCRIPTION: [&str; 2] = ["HYPERFLEET_BROKER_SUBSCRIPTION_ID", "BROKER_SUBSCRIPTION_ID"];

/// What Google's own clients name the emulator by.
const EMULATOR: &str = "PUBSUB_EMULATOR_HOST";

/// Whether a variable is one of those that are read here.
#[must_use]
pub fn is_variable(name: &str) -> bool {
    name.starts_with("BROKER_")
        || name.starts_with("HYPERFLEET_BROKER_")
        || name == "SUBSCRIBER_PARALLELISM"
        || name == EMULATOR
}

/// Reads both; a variable counts before the file. Answers with our keys.
pub(super) fn read(
    file: Option<(&Path, &str)>,
    variables: &[(String, String)],
) -> Result<BTreeMap<&'static str, Value>, Malformed> {
    let documents = match file {
        Some((_, text)) => yaml::parse(text)?,
        None => Vec::new(),
    };
    let place = file.map(|(path, _)| path).unwrap_or(Path::new(""));
    let theirs = Theirs {
        document: documents.first(),
        file: place,
        variables,
    };
    let mut ours = BTreeMap::new();
    let emulator = KEYS.iter().find(|known| known.path == "sources.pubsub.emulator");
    if let (Some(known), Some(value)) = (emulator, theirs.variable(EMULATOR).filter(|(text, _)| !text.is_empty())) {
        ours.insert(known.path, value);
    }
    let Some(kind) = theirs.kind() else { return Ok(ours) };
    let (keys, prefix): (&[(&str, &str)], &str) = match kind {
        Kind::RabbitMq => (&RABBITMQ, "sources.rabbitmq."),
        Kind::PubSub => (&PUBSUB, "sources.pubsub."),
    };
    let mut put = |key: &str, value: Option<Value>| {
        // Ours are listed once, so that a slip here is noticed by the tests.
        if let (Some(known), Some(value)) = (KEYS.iter().find(|known| known.path == key), value) {
            ours.insert(known.path, value);
        }
    };
    for (key, own) in keys {
        put(own, theirs.get(key).filter(|(text, _)| !text.is_empty()));
    }
    for (names, key) in [(TOPIC, "topic"), (SUBSCRIPTION, "subscription")] {
        let found = names.iter().find_map(|name| theirs.variable(name));
        put(&format!("{prefix}{key}"), found);
    }
    match kind {
        Kind::RabbitMq => {
            // The library's own default differs from ours.
            let exchange_type = theirs.get("broker.rabbitmq.exchange_type");
            if exchange_type.is_none_or(|(text, _)| text.is_empty()) {
                put(
                    "sources.rabbitmq.exchangeType",
                    Some(("fanout".to_owned(), theirs.origin())),
                );
            }
            put("sources.rabbitmq.prefetch", theirs.prefetch());
        }
        Kind::PubSub => {
            let seconds = theirs
                .get(ACK_DEADLINE)
                .filter(|(text, _)| !is_none(text))
                .map(|(text, origin)| (format!("{text}s"), origin));
            put("sources.pubsub.ackDeadline", seconds);
            // Theirs have no unit.
            let bytes = theirs
                .get(MAX_BYTES)
                .filter(|(text, _)| !is_none(text))
                .map(|(text, origin)| (format!("{text}B"), origin));
            put("sources.pubsub.maxBytesInFlight", bytes);
            for (key, own) in DURATIONS {
                let duration = theirs.get(key).filter(|(text, _)| !text.trim().is_empty());
                put(
                    own,
                    duration.and_then(|(text, origin)| match go_duration(&text) {
                        Some(Duration::ZERO) => None,
                        Some(duration) => Some((write_duration(duration), origin)),
                        // It is told where it stands, as we cannot read it.
                        None => Some((text, origin)),
                    }),
                );
            }
            for (key, own) in COUNTS {
                put(own, theirs.get(key).filter(|(text, _)| !is_none(text)));
            }
        }
    }
    Ok(ours)
}

/// A number that means the library's default there: none, or a negative one.
fn is_none(text: &str) -> bool {
    text.trim().is_empty() || text.trim().parse().is_ok_and(|count: i64| count <= 0)
}

/// A duration as HyperFleet's library reads it: as Go does (`1h30m`, `1.5h`, `100us`), `0`, or whole
/// days (`7d`).
fn go_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()) {
        return Some(Duration::from_secs(u64::from(days) * 86_400));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, tail) = rest.split_at(unit);
        let end = tail
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let of_a_second = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * of_a_second;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

struct Theirs<'a> {
    document: Option<&'a Node>,
    file: &'a Path,
    variables: &'a [(String, String)],
}

impl Theirs<'_> {
    /// Which broker, by its type, else by the only section that there is.
    fn kind(&self) -> Option<Kind> {
        match self.get(TYPE).map(|(text, _)| text.to_ascii_lowercase()).as_deref() {
            Some("rabbitmq") => Some(Kind::RabbitMq),
            Some("googlepubsub") => Some(Kind::PubSub),
            Some(_) => None,
            None => match (
                self.get("broker.rabbitmq.url"),
                self.get("broker.googlepubsub.project_id"),
            ) {
                (Some(_), None) => Some(Kind::RabbitMq),
                (None, Some(_)) => Some(Kind::PubSub),
                (Some(_), Some(_)) | (None, None) => None,
            },
        }
    }

    /// Their consumers are serial, so many side by side, each with so many messages.
    fn prefetch(&self) -> Option<Value> {
        let (count, parallelism) = (self.get(PREFETCH), self.get(PARALLELISM));
        let origin = count
            .as_ref()
            .or(parallelism.as_ref())
            .map(|(_, origin)| origin.clone())?;
        let number = |value: Option<Value>| {
            let parsed = value.and_then(|(text, _)| text.parse::<u16>().ok());
            parsed.filter(|number| *number > 0).unwrap_or(1)
        };
        let product = number(count).saturating_mul(number(parallelism)).max(LEAST_PREFETCH);
        Some((product.to_string(), origin))
    }

    /// A key: its variable, else what the file says.
    fn get(&self, key: &str) -> Option<Value> {
        self.variable(&key.replace('.', "_").to_ascii_uppercase())
            .or_else(|| self.in_file(key))
    }

    fn variable(&self, name: &str) -> Option<Value> {
        let (name, value) = self.variables.iter().find(|(known, _)| known == name)?;
        Some((value.clone(), Origin::Variable(name.clone())))
    }

    fn in_file(&self, key: &str) -> Option<Value> {
        let mut node = self.document?;
        for part in key.split('.') {
            node = node.get(part)?;
        }
        let text = match &node.content {
            Content::Text(text) => text.clone(),
            Content::Number(number) => number.to_string(),
            Content::Bool(value) => value.to_string(),
            Content::Null | Content::List(_) | Content::Map(_) => return None,
        };
        let Position { line, column } = node.at;
        let file = self.file.to_owned();
        Some((text, Origin::File { file, line, column }))
    }

    /// Where something comes from that is not written.
    fn origin(&self) -> Origin {
        match self.get(TYPE).or_else(|| self.get("broker.rabbitmq.url")) {
            Some((_, origin)) => origin,
            None => Origin::Default,
        }
    }
}

/// All keys of ours that one of theirs means, for a test.
#[cfg(test)]
pub(super) fn meanings() -> impl Iterator<Item = &'static str> {
    let plain = RABBITMQ.iter().chain(&PUBSUB).chain(&DURATIONS).chain(&COUNTS);
    plain.map(|(_, own)| *own).chain([
        "sources.rabbitmq.prefetch",
        "sources.rabbitmq.topic",
        "sources.rabbitmq.subscription",
        "sources.pubsub.topic",
        "sources.pubsub.subscription",
        "sources.pubsub.ackDeadline",
        "sources.pubsub.maxBytesInFlight",
    ])
}
