//! Sentinel: publishes events, and again until the broker has them.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lapin::{
    BasicProperties, Channel, Connection, ExchangeKind,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString},
};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::PATIENCE;
use crate::rabbitmq::RabbitMq;

/// How long the broker may take to answer until the connection counts as broken.
const ANSWER: Duration = Duration::from_secs(5);

/// A publisher to one topic with one subscription.
#[derive(Debug)]
pub struct Sentinel {
    topic: String,
    open: Option<(Connection, Channel)>,
    published: u64,
}

impl Sentinel {
    /// Declares exchange and queue as HyperFleet does, so that nothing is published to nowhere.
    pub async fn new(broker: &RabbitMq, topic: &str) -> Self {
        let client = broker.client().await;
        client.exchange(topic, ExchangeKind::Topic).await;
        client.queue(&format!("{topic}-berth"), topic).await;
        Self {
            topic: topic.to_owned(),
            open: None,
            published: 0,
        }
    }

    /// How many events were published.
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Publishes an event until the broker has stored it; a broker that died may so have it twice.
    ///
    /// # Errors
    /// When the broker stays away.
    pub async fn publish(&mut self, broker: &RabbitMq, event: &Value) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while let Err(error) = self.try_publish(broker, event).await {
            self.open = None;
            ensure!(Instant::now() < end, "an event cannot be published: {error:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.published += 1;
        Ok(())
    }

    /// Messages that wait in the subscription's queue, and its consumers.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn depth(&self, broker: &RabbitMq) -> Result<(u32, u32)> {
        let asked = async {
            let connection = broker.connect().await?;
            let channel = connection.create_channel().await?;
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let name = format!("{}-berth", self.topic);
            let queue = channel
                .queue_declare(name.into(), options, FieldTable::default())
                .await?;
            Ok((queue.message_count(), queue.consumer_count()))
        };
        // Nothing is broken where it must be known, but the machine may be busy.
        timeout(6 * ANSWER, asked).await.context("the broker does not answer")?
    }

    async fn try_publish(&mut self, broker: &RabbitMq, event: &Value) -> Result<()> {
        if self.open.is_none() {
            let connection = broker.connect().await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            self.open = Some((connection, channel));
        }
        let Some((_, channel)) = &self.open else {
            bail!("there is no connection");
        };
        let mut headers = FieldTable::default();
        let id = event["id"].as_str().unwrap_or_default();
        headers.insert(
            "_watermill_message_uuid".into(),
            AMQPValue::LongString(LongString::from(id)),
        );
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let body = event.to_string();
        let sent = async {
            let exchange = self.topic.as_str().into();
            let sent = channel.basic_publish(exchange, "".into(), options, body.as_bytes(), properties);
            sent.await?.await
        };
        let stored = timeout(ANSWER, sent).await.context("the broker does not answer")??;
        ensure!(
            stored.is_ack() && stored.take_message().is_none(),
            "the broker did not store a message"
        );
        Ok(())
    }
}
