//! The server's word that it gave a message up.
//!
//! A message whose work kills the host is never answered. When the server has delivered it as
//! often as the consumer allows, it stops, and says so once: that is the only sign of it.

use std::sync::Arc;

use async_nats::Client;
use futures::StreamExt as _;
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use super::{Intake, Settings};

/// What is read of `io.nats.jetstream.advisory.v1.max_deliver`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct GivenUp {
    stream_seq: u64,
    deliveries: u32,
}

/// Counts and logs messages that the server gave up, until the handle is dropped. Of several
/// hosts one hears of each. Without the right to listen, nothing is told.
pub(super) async fn listen(client: &Client, settings: &Settings, intake: Arc<Intake>) -> Option<AbortOnDropHandle<()>> {
    let subject = format!(
        "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{}.{}",
        settings.stream, settings.consumer
    );
    let group = format!("berth-{}", settings.consumer);
    let mut advisories = match client.queue_subscribe(subject, group).await {
        Ok(advisories) => advisories,
        Err(error) => {
            tracing::warn!(%error, "messages that NATS gives up will not be heard of");
            return None;
        }
    };
    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(advisory) = advisories.next().await {
            match read(&advisory.payload) {
                Some(given_up) => intake.given_up(&given_up.stream_seq.to_string(), given_up.deliveries),
                None => tracing::debug!("an advisory of NATS cannot be read"),
            }
        }
    })))
}

fn read(payload: &[u8]) -> Option<GivenUp> {
    serde_json::from_slice(payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advisory_names_the_message_and_its_deliveries() {
        let advisory =
            br#"{"type":"io.nats.jetstream.advisory.v1.max_deliver","id":"x","timestamp":"2026-01-01T00:00:00Z",
            "stream":"EVENTS","consumer":"berth","stream_seq":7,"deliveries":5}"#;
        let expected = GivenUp {
            stream_seq: 7,
            deliveries: 5,
        };
        assert_eq!(read(advisory), Some(expected));
        assert_eq!(read(b"{}"), None);
    }
}
