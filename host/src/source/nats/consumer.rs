//! The stream and the durable consumer: found, or created where that is asked for.

use std::{num::NonZeroU32, time::Duration};

use async_nats::jetstream::{
    Context, ErrorCode,
    consumer::{AckPolicy, Config, Info, PullConsumer, pull},
    context::{ConsumerInfoErrorKind, GetStreamErrorKind},
    stream::{self, Stream},
};

use super::{Fault, Settings, fault};

/// How many messages may wait unacknowledged, those that are delayed included. What is worked
/// on at once is bounded by what is asked for; this only bounds the server's memory.
const MAX_PENDING: i64 = 100_000;

/// Finds the consumer; creates it and its stream if they are missing and that is asked for.
pub(super) async fn find(context: &Context, settings: &Settings) -> Result<PullConsumer, Fault> {
    let stream = stream(context, settings).await?;
    let name = &settings.consumer;
    match stream.consumer_info(name).await {
        Ok(info) => {
            if let Some(problem) = unusable(&info.config) {
                let name = name.clone();
                return Err(Fault::Unusable { name, problem });
            }
            stream.get_consumer(name).await.map_err(|cause| Fault::JetStream {
                what: "look at the consumer",
                cause,
            })
        }
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => match new_consumer(settings) {
            Some(new) => {
                tracing::info!(consumer = name, "a consumer is created");
                let created = stream.create_consumer(new).await;
                created.map_err(|cause| fault("create the consumer", cause))
            }
            None => Err(missing("consumer", name)),
        },
        Err(cause) => Err(fault("look at the consumer", cause)),
    }
}

async fn stream(context: &Context, settings: &Settings) -> Result<Stream, Fault> {
    let name = &settings.stream;
    match context.get_stream(name).await {
        Ok(stream) => Ok(stream),
        Err(error) => match (error.kind(), new_stream(settings)) {
            (GetStreamErrorKind::JetStream(refusal), new) if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                let Some(new) = new else {
                    return Err(missing("stream", name));
                };
                tracing::info!(stream = name, "a stream is created");
                let created = context.create_stream(new).await;
                created.map_err(|cause| fault("create the stream", cause))
            }
            (
                GetStreamErrorKind::EmptyName
                | GetStreamErrorKind::Request
                | GetStreamErrorKind::InvalidStreamName
                | GetStreamErrorKind::JetStream(_),
                _,
            ) => Err(fault("look at the stream", error)),
        },
    }
}

fn missing(what: &'static str, name: &str) -> Fault {
    let name = name.to_owned();
    Fault::Missing { what, name }
}

/// The stream to create, if that is asked for: what it holds must be known.
fn new_stream(settings: &Settings) -> Option<stream::Config> {
    let subject = settings.subject.clone().filter(|_| settings.create)?;
    Some(stream::Config {
        name: settings.stream.clone(),
        subjects: vec![subject],
        ..stream::Config::default()
    })
}

/// The consumer to create, if that is asked for.
fn new_consumer(settings: &Settings) -> Option<pull::Config> {
    settings.create.then(|| pull::Config {
        durable_name: Some(settings.consumer.clone()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.ack_wait,
        filter_subject: settings.subject.clone().unwrap_or_default(),
        max_deliver: settings.max_deliver.map_or(-1, |most| i64::from(most.get())),
        max_ack_pending: MAX_PENDING,
        ..pull::Config::default()
    })
}

/// What is wrong with an existing consumer.
fn unusable(config: &Config) -> Option<&'static str> {
    if config.deliver_subject.is_some() {
        return Some("pushes; a pull consumer is needed");
    }
    match config.ack_policy {
        AckPolicy::Explicit => None,
        AckPolicy::None | AckPolicy::All => {
            Some("does not acknowledge one message at a time; its ack policy must be `explicit`")
        }
    }
}

/// How often the consumer delivers a message at most; none for no bound.
pub(super) fn deliveries(info: &Info) -> Option<NonZeroU32> {
    u32::try_from(info.config.max_deliver).ok().and_then(NonZeroU32::new)
}

/// How often the server is told that a message is worked on: well within the time after which
/// it would deliver the message again.
pub(super) fn sign_of_life(info: &Info) -> Duration {
    let config = &info.config;
    period(config.ack_wait, &config.backoff)
}

fn period(ack_wait: Duration, backoff: &[Duration]) -> Duration {
    let waits = backoff.iter().copied().chain((!ack_wait.is_zero()).then_some(ack_wait));
    let shortest = waits.min().unwrap_or(Duration::from_secs(30));
    (shortest / 3).max(Duration::from_millis(50))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn settings() -> Settings {
        Settings::new("nats://nats".parse().unwrap(), "EVENTS".to_owned(), "berth".to_owned())
    }

    #[test]
    fn nothing_is_created_unless_it_is_asked_for() {
        let mut settings = settings();
        settings.subject = Some("hyperfleet.>".to_owned());
        assert!(new_stream(&settings).is_none());
        assert!(new_consumer(&settings).is_none());
        settings.create = true;
        let stream = new_stream(&settings).unwrap();
        assert_eq!(
            (stream.name.as_str(), stream.subjects),
            ("EVENTS", vec!["hyperfleet.>".to_owned()])
        );
        let consumer = new_consumer(&settings).unwrap();
        assert_eq!(consumer.durable_name.as_deref(), Some("berth"));
        assert_eq!(consumer.ack_policy, AckPolicy::Explicit);
        assert_eq!(consumer.max_deliver, -1);
        settings.subject = None;
        assert!(new_stream(&settings).is_none(), "a stream needs a subject");
        assert!(new_consumer(&settings).is_some(), "a consumer does not");
    }

    #[test]
    fn a_consumer_that_pushes_or_does_not_acknowledge_each_message_is_refused() {
        let good = Config {
            ack_policy: AckPolicy::Explicit,
            ..Config::default()
        };
        assert_eq!(unusable(&good), None);
        let pushes = Config {
            deliver_subject: Some("somewhere".to_owned()),
            ..good.clone()
        };
        assert!(unusable(&pushes).is_some());
        for ack_policy in [AckPolicy::None, AckPolicy::All] {
            let other = Config {
                ack_policy,
                ..good.clone()
            };
            assert!(unusable(&other).is_some(), "{ack_policy:?}");
        }
    }

    #[test]
    fn a_sign_of_life_comes_three_times_before_a_message_would_be_delivered_again() {
        let seconds = Duration::from_secs;
        assert_eq!(period(seconds(30), &[]), seconds(10));
        assert_eq!(period(seconds(30), &[seconds(3), seconds(60)]), seconds(1));
        assert_eq!(period(Duration::ZERO, &[]), seconds(10));
        assert_eq!(period(Duration::from_millis(1), &[]), Duration::from_millis(50));
    }
}
