//! Exchange, queue and binding as HyperFleet's broker library declares them.

use std::num::NonZeroU32;

use lapin::{
    BasicProperties, Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString, ShortString},
};

use super::{
    Settings,
    fault::{self, Doing, Fault},
    in_time,
};

/// How exchange and queue are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The exchange that Sentinel publishes to.
    pub exchange: String,
    /// The queue.
    pub queue: String,
}

impl Names {
    /// As HyperFleet calls them: the exchange like the topic unless it has a name of its own,
    /// the queue `{topic}-{subscription}`, with `queue` in the place of the topic if it is given.
    #[must_use]
    pub fn new(topic: &str, subscription: &str, exchange: Option<&str>, queue: Option<&str>) -> Self {
        Self {
            exchange: exchange.unwrap_or(topic).to_owned(),
            queue: format!("{}-{subscription}", queue.unwrap_or(topic)),
        }
    }
}

/// What a quorum queue is declared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// How often a message is delivered before it is set aside.
    pub delivery_limit: NonZeroU32,
}

/// How far the broker's own limit is above ours.
const ABOVE: i64 = 100;

/// The queue's arguments. HyperFleet's classic queues have none; any argument would be refused
/// for one that exists.
pub(super) fn arguments(quorum: Option<Quorum>, dead_letter_exchange: Option<&str>) -> FieldTable {
    let mut arguments = FieldTable::default();
    let Some(quorum) = quorum else { return arguments };
    let mut text = |name: &'static str, value: &str| {
        arguments.insert(ShortString::from(name), AMQPValue::LongString(LongString::from(value)));
    };
    text("x-queue-type", "quorum");
    if let Some(exchange) = dead_letter_exchange {
        text("x-dead-letter-exchange", exchange);
    }
    // berth sets the message aside, with a reason, long before the broker would, even if hosts that
    // have it die.
    let limit = AMQPValue::LongLongInt(i64::from(quorum.delivery_limit.get()) + ABOVE);
    arguments.insert(ShortString::from("x-delivery-limit"), limit);
    arguments
}

/// A name on the wire.
pub(super) fn short(name: &str) -> Result<ShortString, Fault> {
    if name.len() > 255 {
        return Err(Fault::NameTooLong(name.to_owned()));
    }
    Ok(ShortString::from(name))
}

/// Declares everything. What exists in the same way is left as it is.
pub(super) async fn declare(connection: &Connection, settings: &Settings) -> Result<(), Fault> {
    let Names { exchange, queue } = &settings.names;
    if let Some(aside) = &settings.dead_letter_exchange {
        declare_aside(connection, aside).await?;
    }
    let channel = in_time(connection.create_channel()).await?.map_err(Fault::Lost)?;
    let kind = kind(&settings.exchange_type);
    let declared = channel.exchange_declare(short(exchange)?, kind, durable_exchange(), FieldTable::default());
    let refused = |error| Fault::refused(Doing::Exchange(exchange.clone()), error);
    in_time(declared).await?.map_err(refused)?;
    let arguments = arguments(settings.quorum, settings.dead_letter_exchange.as_deref());
    let declared = channel.queue_declare(short(queue)?, durable_queue(), arguments);
    let refused = |error| Fault::refused(Doing::Queue(queue.clone()), error);
    in_time(declared).await?.map_err(refused)?;
    let bound = channel.queue_bind(
        short(queue)?,
        short(exchange)?,
        ShortString::default(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    let refused = |error| Fault::refused(Doing::Bind(queue.clone()), error);
    in_time(bound).await?.map_err(refused)
}

/// Declares the exchange for messages that are set aside, with a queue of the same name, unless
/// it exists: then whoever made it decides where its messages go.
async fn declare_aside(connection: &Connection, exchange: &str) -> Result<(), Fault> {
    let name = short(exchange)?;
    // A refusal closes the channel, so this one serves the question only.
    let channel = in_time(connection.create_channel()).await?.map_err(Fault::Lost)?;
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..durable_exchange()
    };
    let asked = channel.exchange_declare(name.clone(), ExchangeKind::Fanout, passive, FieldTable::default());
    match in_time(asked).await? {
        Ok(()) => return Ok(()),
        Err(error) if fault::code(&error) == Some(404) => {}
        Err(error) => return Err(Fault::refused(Doing::Exchange(exchange.to_owned()), error)),
    }
    let channel = in_time(connection.create_channel()).await?.map_err(Fault::Lost)?;
    let kind = ExchangeKind::Fanout;
    let declared = channel.exchange_declare(name.clone(), kind, durable_exchange(), FieldTable::default());
    let refused = |error| Fault::refused(Doing::Exchange(exchange.to_owned()), error);
    in_time(declared).await?.map_err(refused)?;
    let declared = channel.queue_declare(name.clone(), durable_queue(), FieldTable::default());
    let refused = |error| Fault::refused(Doing::Queue(exchange.to_owned()), error);
    in_time(declared).await?.map_err(refused)?;
    let bound = channel.queue_bind(
        name.clone(),
        name,
        ShortString::default(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    let refused = |error| Fault::refused(Doing::Bind(exchange.to_owned()), error);
    in_time(bound).await?.map_err(refused)
}

fn kind(name: &str) -> ExchangeKind {
    match name {
        "fanout" => ExchangeKind::Fanout,
        "direct" => ExchangeKind::Direct,
        "topic" => ExchangeKind::Topic,
        "headers" => ExchangeKind::Headers,
        other => ExchangeKind::Custom(other.to_owned()),
    }
}

fn durable_exchange() -> ExchangeDeclareOptions {
    ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    }
}

fn durable_queue() -> QueueDeclareOptions {
    QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    }
}

/// What a message is called: HyperFleet's header, else the property; may be empty.
pub(super) fn message_id(properties: &BasicProperties) -> String {
    let header = properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get("_watermill_message_uuid"));
    match header {
        Some(AMQPValue::LongString(id)) => id.to_string(),
        Some(AMQPValue::ShortString(id)) => id.to_string(),
        Some(_) | None => properties
            .message_id()
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

/// Takes out what a quorum queue wrote of deliveries, so that a copy is a new message.
pub(super) fn forget_deliveries(headers: &mut FieldTable) {
    let kept = headers
        .inner()
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-delivery-count" | "x-acquired-count"));
    *headers = FieldTable::from(
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect::<std::collections::BTreeMap<_, _>>(),
    );
}

/// Which delivery this is, from 1. Quorum queues count those that came back.
pub(super) fn attempt(properties: &BasicProperties) -> u32 {
    let header = properties
        .headers()
        .as_ref()
        .and_then(|headers| headers.inner().get("x-delivery-count"));
    let returned: u32 = match header {
        Some(AMQPValue::LongLongInt(count)) => u32::try_from(*count).unwrap_or(u32::MAX),
        Some(AMQPValue::LongInt(count)) => u32::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::LongUInt(count)) => *count,
        Some(AMQPValue::ShortInt(count)) => u32::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::ShortUInt(count)) => (*count).into(),
        Some(AMQPValue::ShortShortInt(count)) => u32::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::ShortShortUInt(count)) => (*count).into(),
        Some(_) | None => 0,
    };
    returned.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&'static str, AMQPValue)]) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert(ShortString::from(*name), value.clone());
        }
        BasicProperties::default().with_headers(table)
    }

    #[test]
    fn names_are_hyperfleets() {
        let names = |exchange, queue| {
            let names = Names::new("dev-clusters", "dns", exchange, queue);
            (names.exchange, names.queue)
        };
        let plain = ("dev-clusters".to_owned(), "dev-clusters-dns".to_owned());
        assert_eq!(names(None, None), plain);
        let own = ("events".to_owned(), "berth-dns".to_owned());
        assert_eq!(names(Some("events"), Some("berth")), own);
    }

    #[test]
    fn a_classic_queue_has_no_arguments_whatever_else_is_set() {
        assert_eq!(arguments(None, Some("dead")), FieldTable::default());
    }

    #[test]
    fn a_quorum_queue_has_its_limit_and_its_dead_letter_exchange() {
        let quorum = NonZeroU32::new(5).map(|delivery_limit| Quorum { delivery_limit });
        let arguments = arguments(quorum, Some("dead"));
        let text = |value: &str| AMQPValue::LongString(LongString::from(value));
        assert_eq!(arguments.inner().get("x-queue-type"), Some(&text("quorum")));
        assert_eq!(arguments.inner().get("x-dead-letter-exchange"), Some(&text("dead")));
        let limit = arguments.inner().get("x-delivery-limit");
        assert_eq!(limit, Some(&AMQPValue::LongLongInt(105)));
    }

    #[test]
    fn deliveries_are_counted_from_one() {
        assert_eq!(attempt(&BasicProperties::default()), 1);
        let count = |count| headers(&[("x-delivery-count", AMQPValue::LongLongInt(count))]);
        assert_eq!(attempt(&count(4)), 5);
    }

    #[test]
    fn a_copy_was_never_delivered() {
        let id = AMQPValue::LongString(LongString::from("0198"));
        let properties = headers(&[
            ("x-delivery-count", AMQPValue::LongLongInt(4)),
            ("_watermill_message_uuid", id),
        ]);
        let mut table = properties.headers().clone().unwrap_or_default();
        forget_deliveries(&mut table);
        let copy = properties.with_headers(table);
        assert_eq!((attempt(&copy), message_id(&copy).as_str()), (1, "0198"));
    }

    #[test]
    fn a_message_is_called_as_hyperfleet_calls_it() {
        let id = AMQPValue::LongString(LongString::from("0198"));
        assert_eq!(message_id(&headers(&[("_watermill_message_uuid", id)])), "0198");
        let own = BasicProperties::default().with_message_id(ShortString::from("m-1"));
        assert_eq!(message_id(&own), "m-1");
        assert_eq!(message_id(&BasicProperties::default()), "");
    }

    #[test]
    fn a_name_that_does_not_fit_the_wire_is_refused() {
        assert!(short(&"n".repeat(255)).is_ok());
        assert!(short(&"n".repeat(256)).is_err());
    }
}
