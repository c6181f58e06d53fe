//! The service's clients, and what must be there before messages can be received.

use std::{future::Future, num::NonZeroU32, sync::Arc, time::Duration};

use google_cloud_auth::credentials::{Credentials, anonymous};
use google_cloud_gax::error::rpc::Code;
use google_cloud_pubsub::{
    client::{BasePublisher, Publisher, Subscriber, SubscriptionAdmin, TopicAdmin},
    model::{DeadLetterPolicy, ExpirationPolicy, RetryPolicy, Subscription},
};
use google_cloud_wkt as wkt;

use super::{Fault, Intake, PATIENCE, Settings};

/// How often it is looked whether the service still answers. The client reconnects by itself
/// and tells nobody.
const LOOK: Duration = Duration::from_secs(30);

/// What is known of a subscription that can be received from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    /// The topic for what is set aside.
    pub(super) dead_letters: Option<String>,
    /// How often a message is delivered at most, where that is known.
    pub(super) deliveries: Option<NonZeroU32>,
}

/// The clients of one connection.
pub(super) struct Service {
    settings: Settings,
    subscriptions: SubscriptionAdmin,
}

impl Service {
    pub(super) async fn connect(settings: &Settings) -> Result<Self, Fault> {
        let mut builder = SubscriptionAdmin::builder();
        if let Some((endpoint, nobody)) = emulator(settings) {
            builder = builder.with_endpoint(endpoint).with_credentials(nobody);
        }
        Ok(Self {
            settings: settings.clone(),
            subscriptions: builder.build().await.map_err(Fault::Client)?,
        })
    }

    pub(super) async fn subscriber(&self) -> Result<Subscriber, Fault> {
        let mut builder = Subscriber::builder();
        if let Some((endpoint, nobody)) = emulator(&self.settings) {
            builder = builder.with_endpoint(endpoint).with_credentials(nobody);
        }
        builder.build().await.map_err(Fault::Client)
    }

    /// Publishes to a topic, if there is one.
    pub(super) async fn publisher(&self, topic: Option<String>) -> Result<Option<Publisher>, Fault> {
        let Some(topic) = topic else { return Ok(None) };
        let mut builder = BasePublisher::builder();
        if let Some((endpoint, nobody)) = emulator(&self.settings) {
            builder = builder.with_endpoint(endpoint).with_credentials(nobody);
        }
        let base = builder.build().await.map_err(Fault::Client)?;
        Ok(Some(base.publisher(topic).set_message_count_threshold(1).build()))
    }

    /// Looks at the subscription; creates what is missing if that is asked for.
    pub(super) async fn prepare(&self) -> Result<Prepared, Fault> {
        match self.look().await {
            Ok(found) => {
                attached(&found, &self.settings)?;
                Ok(prepared(&self.settings, Some(&found)))
            }
            Err(Fault::Service { cause, .. }) if is(&cause, Code::NotFound) => {
                if !self.settings.create.subscription {
                    return Err(Fault::Missing(self.settings.subscription_name()));
                }
                self.create().await?;
                Ok(prepared(&self.settings, Some(&new_subscription(&self.settings))))
            }
            // Receiving needs fewer rights than looking.
            Err(Fault::Service { cause, .. }) if is(&cause, Code::PermissionDenied) => {
                tracing::info!("the subscription may be read but not looked at; what it is attached to is not checked");
                Ok(prepared(&self.settings, None))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Tells the intake whether the service answers.
    pub(super) async fn watch(self, intake: Arc<Intake>) {
        let mut broken = false;
        loop {
            tokio::time::sleep(LOOK).await;
            match self.look().await {
                Err(Fault::Service { cause, .. }) if is(&cause, Code::PermissionDenied) => return,
                Ok(_) if broken => {
                    broken = false;
                    intake.connected();
                }
                Ok(_) => {}
                Err(fault) => {
                    broken = true;
                    intake.broken(match std::error::Error::source(&fault) {
                        Some(cause) => format!("{fault}: {cause}"),
                        None => fault.to_string(),
                    });
                }
            }
        }
    }

    async fn look(&self) -> Result<Subscription, Fault> {
        let name = self.settings.subscription_name();
        let asked = self.subscriptions.get_subscription().set_subscription(name).send();
        in_time("look at the subscription", asked).await
    }

    async fn create(&self) -> Result<(), Fault> {
        if self.settings.create.topic {
            let mut builder = TopicAdmin::builder();
            if let Some((endpoint, nobody)) = emulator(&self.settings) {
                builder = builder.with_endpoint(endpoint).with_credentials(nobody);
            }
            let topics = builder.build().await.map_err(Fault::Client)?;
            for topic in [
                self.settings.topic_name(&self.settings.topic),
                self.settings.dead_letter_name(),
            ] {
                let asked = topics.create_topic().set_name(&topic).send();
                if is_new(in_time("create a topic", asked).await)? {
                    tracing::info!(topic, "a topic was created");
                }
            }
        }
        let asked = self
            .subscriptions
            .create_subscription()
            .with_request(new_subscription(&self.settings))
            .send();
        if is_new(in_time("create the subscription", asked).await)? {
            let subscription = &self.settings.subscription;
            tracing::info!(subscription, "a subscription was created");
        }
        Ok(())
    }
}

async fn in_time<T>(
    what: &'static str,
    asked: impl Future<Output = Result<T, google_cloud_pubsub::Error>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|cause| Fault::Service { what, cause }),
        Err(_) => Err(Fault::Slow),
    }
}

/// Whether it was created just now; another host may have been faster.
fn is_new<T>(created: Result<T, Fault>) -> Result<bool, Fault> {
    match created {
        Ok(_) => Ok(true),
        Err(Fault::Service { cause, .. }) if is(&cause, Code::AlreadyExists) => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn is(error: &google_cloud_pubsub::Error, code: Code) -> bool {
    error.status().is_some_and(|status| status.code == code)
}

/// The emulator's address, and that nobody asks there who we are.
fn emulator(settings: &Settings) -> Option<(String, Credentials)> {
    let host = settings.emulator.as_deref()?;
    let endpoint = match host.contains("://") {
        true => host.to_owned(),
        false => format!("http://{host}"),
    };
    Some((endpoint, anonymous::Builder::new().build()))
}

fn attached(found: &Subscription, settings: &Settings) -> Result<(), Fault> {
    let expected = settings.topic_name(&settings.topic);
    if found.topic == expected {
        return Ok(());
    }
    Err(Fault::OtherTopic {
        found: found.topic.clone(),
        expected,
    })
}

fn prepared(settings: &Settings, found: Option<&Subscription>) -> Prepared {
    let policy = found.and_then(|found| found.dead_letter_policy.as_ref());
    Prepared {
        dead_letters: dead_letters(settings, found),
        deliveries: policy.and_then(|policy| match policy.max_delivery_attempts {
            // The service's default.
            0 => NonZeroU32::new(5),
            attempts => u32::try_from(attempts).ok().and_then(NonZeroU32::new),
        }),
    }
}

/// Where messages that are set aside are published: where it is said, else where the service
/// itself puts them.
fn dead_letters(settings: &Settings, found: Option<&Subscription>) -> Option<String> {
    if settings.dead_letter_topic.is_some() {
        return Some(settings.dead_letter_name());
    }
    let policy = found?.dead_letter_policy.as_ref()?;
    // The service says `_deleted-topic_` of one that is gone.
    policy
        .dead_letter_topic
        .starts_with("projects/")
        .then(|| policy.dead_letter_topic.clone())
}

/// As HyperFleet's own subscribers create theirs: always with a topic for dead letters.
fn new_subscription(settings: &Settings) -> Subscription {
    let create = &settings.create;
    let mut expiration = ExpirationPolicy::new();
    if let Some(idle) = create.expiration.filter(|idle| !idle.is_zero()) {
        expiration = expiration.set_ttl(wire(idle));
    }
    // The service allows no other.
    let attempts = i32::try_from(settings.max_attempts.get())
        .unwrap_or(i32::MAX)
        .clamp(5, 100);
    let deadline = settings.ack_deadline.as_secs().clamp(10, 600);
    let mut subscription = Subscription::new()
        .set_name(settings.subscription_name())
        .set_topic(settings.topic_name(&settings.topic))
        .set_ack_deadline_seconds(i32::try_from(deadline).unwrap_or(600))
        .set_enable_message_ordering(create.ordering)
        .set_expiration_policy(expiration)
        .set_retry_policy(
            RetryPolicy::new()
                .set_minimum_backoff(wire(create.retry_min))
                .set_maximum_backoff(wire(create.retry_max)),
        )
        .set_dead_letter_policy(
            DeadLetterPolicy::new()
                .set_dead_letter_topic(settings.dead_letter_name())
                .set_max_delivery_attempts(attempts),
        );
    if let Some(retention) = create.retention {
        subscription = subscription.set_message_retention_duration(wire(retention));
    }
    subscription
}

fn wire(duration: Duration) -> wkt::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    wkt::Duration::clamp(seconds, i32::try_from(duration.subsec_nanos()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn settings() -> Settings {
        Settings::new("p".to_owned(), "dev-clusters".to_owned(), "dns-adapter".to_owned())
    }

    #[test]
    fn a_subscription_is_created_as_hyperfleet_does_it() {
        let new = new_subscription(&settings());
        assert_eq!(new.name, "projects/p/subscriptions/dns-adapter");
        assert_eq!(new.topic, "projects/p/topics/dev-clusters");
        let policy = new.dead_letter_policy.unwrap();
        assert_eq!(policy.dead_letter_topic, "projects/p/topics/dns-adapter-dlq");
        assert_eq!(policy.max_delivery_attempts, 5);
        assert_eq!(new.expiration_policy.unwrap().ttl, None, "it does not expire");
        assert_eq!(new.ack_deadline_seconds, 60);
    }

    #[test]
    fn what_is_set_aside_goes_where_it_is_said_or_where_the_service_puts_it() {
        let mut settings = settings();
        let policy = |topic: &str| {
            let policy = DeadLetterPolicy::new().set_dead_letter_topic(topic);
            Subscription::new().set_dead_letter_policy(policy)
        };
        let graveyard = policy("projects/q/topics/graveyard");
        assert_eq!(dead_letters(&settings, None), None);
        assert_eq!(dead_letters(&settings, Some(&Subscription::new())), None);
        assert_eq!(dead_letters(&settings, Some(&policy("_deleted-topic_"))), None);
        let found = dead_letters(&settings, Some(&graveyard));
        assert_eq!(found.as_deref(), Some("projects/q/topics/graveyard"));
        settings.dead_letter_topic = Some("mine".to_owned());
        let said = dead_letters(&settings, Some(&graveyard));
        assert_eq!(said.as_deref(), Some("projects/p/topics/mine"));
    }

    #[test]
    fn the_services_own_limit_of_deliveries_is_read() {
        let deliveries = |found: Option<&Subscription>| prepared(&settings(), found).deliveries.map(NonZeroU32::get);
        let of = |attempts| {
            let policy = DeadLetterPolicy::new().set_max_delivery_attempts(attempts);
            deliveries(Some(&Subscription::new().set_dead_letter_policy(policy)))
        };
        assert_eq!(of(17), Some(17));
        assert_eq!(of(0), Some(5), "nobody said one");
        assert_eq!(deliveries(Some(&Subscription::new())), None, "none is counted");
        assert_eq!(deliveries(None), None, "it may not be looked at");
        assert_eq!(deliveries(Some(&new_subscription(&settings()))), Some(5));
    }

    #[test]
    fn a_subscription_of_another_topic_is_refused() {
        let found = Subscription::new().set_topic("projects/p/topics/dev-nodepools");
        let refused = attached(&found, &settings()).unwrap_err().to_string();
        assert!(refused.contains("projects/p/topics/dev-nodepools"), "{refused}");
        assert!(refused.contains("projects/p/topics/dev-clusters"), "{refused}");
        let found = Subscription::new().set_topic("projects/p/topics/dev-clusters");
        assert!(attached(&found, &settings()).is_ok());
    }

    #[test]
    fn the_emulator_is_spoken_to_in_plain_http() {
        assert!(emulator(&settings()).is_none());
        let settings = Settings {
            emulator: Some("127.0.0.1:8085".to_owned()),
            ..settings()
        };
        assert_eq!(emulator(&settings).unwrap().0, "http://127.0.0.1:8085");
    }
}
