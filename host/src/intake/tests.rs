#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use super::*;
use crate::config::document;

fn settings(yaml: &str) -> host::Sources {
    let text = format!("fleet: {{url: 'https://f.example.com'}}\nadapters: a\nsources: {yaml}\n");
    let written = host::Written {
        file: Some((Path::new("berth.yaml"), &text)),
        ..host::Written::default()
    };
    host::load(&written)
        .map_err(|problems| problems.to_string())
        .unwrap()
        .0
        .sources
}

fn adapter(name: &str, events: &str) -> Arc<Adapter> {
    let text = format!(
        "apiVersion: berth.hyperfleet.io/v1alpha1\nkind: Adapter\nmetadata: {{name: {name}}}\nspec:\n  \
         subjects: [Cluster]\n  namespace: work\n{events}  \
         preconditions: [{{name: always, expression: 'true'}}]\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adapter.yaml");
    std::fs::write(&file, text).unwrap();
    let loaded = document::load_files(&[file], &host::HostLimits::default_caps()).strict();
    Arc::new(loaded.unwrap().remove(0).adapter)
}

/// Queue by queue, which of the adapters its events reach.
fn reached(settings: &host::Sources, adapters: &[Arc<Adapter>]) -> Vec<String> {
    plan(settings, adapters)
        .iter()
        .map(|planned| {
            let names: Vec<&str> = adapters
                .iter()
                .filter(|adapter| planned.scope.includes(adapter))
                .map(|adapter| adapter.name.as_str())
                .collect();
            format!("{}: {}", planned.name, names.join(" "))
        })
        .collect()
}

const SHARED: &str = "{rabbitmq: {url: 'amqp://rabbit', topic: clusters, subscription: berth}}";

#[test]
fn nothing_is_received_from_brokers_that_nobody_configured() {
    let own = adapter("dns", "  events: {rabbitmq: {topic: t, subscription: s}}\n");
    assert_eq!(plan(&host::Sources::default(), &[own]), []);
}

#[test]
fn adapters_share_a_subscription_unless_they_name_their_own() {
    let adapters = [
        adapter("dns", "  events: {rabbitmq: {subscription: dns}}\n"),
        adapter("validation", ""),
        adapter("zone", ""),
        adapter("other", "  events: {rabbitmq: {topic: pools, subscription: dns}}\n"),
    ];
    assert_eq!(
        reached(&settings(SHARED), &adapters),
        [
            "rabbitmq clusters-berth: validation zone",
            "rabbitmq clusters-dns: dns",
            "rabbitmq pools-dns: other",
        ]
    );
}

#[test]
fn adapters_that_name_the_same_subscription_share_it() {
    let adapters = [
        adapter("dns", "  events: {rabbitmq: {subscription: both}}\n"),
        adapter("zone", "  events: {rabbitmq: {topic: clusters, subscription: both}}\n"),
        adapter("third", "  events: {rabbitmq: {subscription: berth}}\n"),
    ];
    assert_eq!(
        reached(&settings(SHARED), &adapters),
        ["rabbitmq clusters-berth: third", "rabbitmq clusters-both: dns zone"]
    );
}

#[test]
fn without_a_shared_subscription_only_adapters_bring_theirs() {
    let only_url = settings("{rabbitmq: {url: 'amqp://rabbit'}}");
    let adapters = [
        adapter("dns", "  events: {rabbitmq: {topic: clusters, subscription: dns}}\n"),
        adapter("incomplete", "  events: {rabbitmq: {subscription: dns}}\n"),
    ];
    assert_eq!(reached(&only_url, &adapters), ["rabbitmq clusters-dns: dns"]);
}

#[test]
fn a_subscription_at_one_source_leaves_the_others_shared() {
    let adapters = [adapter("dns", "  events: {nats: {stream: S, consumer: c}}\n")];
    assert_eq!(reached(&settings(SHARED), &adapters), ["rabbitmq clusters-berth: dns"]);
    assert!(Scope::Everyone.includes(&adapters[0]));
}

#[test]
fn pauses_grow_to_half_a_minute_and_are_spread() {
    assert_eq!(pause(0, 0.0), Duration::from_millis(500));
    assert_eq!(pause(0, 1.0), Duration::from_millis(250));
    assert_eq!(pause(3, 0.0), Duration::from_secs(4));
    assert_eq!(pause(60, 0.0), Duration::from_secs(30));
    assert_eq!(pause(u32::MAX, 0.5), Duration::from_millis(22_500));
}

#[test]
fn only_a_connection_that_stood_for_a_while_ends_a_row_of_failures() {
    assert_eq!(failures_before(5, Duration::ZERO), 5);
    assert_eq!(failures_before(5, Duration::from_secs(59)), 5);
    assert_eq!(failures_before(5, Duration::from_secs(60)), 0);
}

/// Connects, and breaks after so long.
struct Flickers {
    stands: Vec<u64>,
    begun: Mutex<Vec<tokio::time::Instant>>,
}

#[async_trait]
impl Source for Arc<Flickers> {
    fn name(&self) -> &'static str {
        "flickers"
    }

    async fn run(
        &self,
        intake: Arc<Intake>,
        stop: CancellationToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let run = {
            let mut begun = self.begun.lock().unwrap();
            begun.push(tokio::time::Instant::now());
            begun.len() - 1
        };
        let Some(stands) = self.stands.get(run) else {
            stop.cancel();
            return Ok(());
        };
        intake.connected();
        tokio::time::sleep(Duration::from_secs(*stands)).await;
        Err("it broke".into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_as_soon_as_it_is_made_is_made_again_ever_more_slowly() {
    let flickers = Arc::new(Flickers {
        stands: vec![0, 0, 0, 0, 0, 100, 0],
        begun: Mutex::default(),
    });
    let stop = CancellationToken::new();
    let intake = Intake::new(Arc::new(Nobody), policy(), stop.clone());
    keep(
        Box::new(Arc::clone(&flickers)),
        "flickers".to_owned(),
        Arc::new(intake),
        stop,
    )
    .await;
    let begun = flickers.begun.lock().unwrap();
    let gaps: Vec<f64> = begun
        .windows(2)
        .zip(&flickers.stands)
        .map(|(two, stood)| two[1].duration_since(two[0]).as_secs_f64() - *stood as f64)
        .collect();
    for (number, gap) in gaps[..5].iter().enumerate() {
        let whole = 0.5 * f64::from(1 << number);
        assert!((whole / 2.0 - 0.01..=whole + 0.01).contains(gap), "{gaps:?}");
    }
    assert!(gaps[5] <= 0.51, "after a while all is forgotten: {gaps:?}");
}

struct Nobody;

#[async_trait]
impl Sink for Nobody {
    async fn accept(&self, _: Event) -> Settled {
        Settled::Done
    }

    fn refused(&self, _: &'static str) {}

    fn set_aside(&self, _: &'static str) {}
}

fn policy() -> Policy {
    Policy {
        max_bytes: 1_000,
        max_attempts: None,
        hold: Duration::ZERO,
        keeps_last: false,
    }
}

#[test]
fn pubsub_and_nats_are_planned_as_rabbitmq_is() {
    let settings = settings(
        "{pubsub: {project: p, topic: clusters, subscription: berth, emulator: 'localhost:8085', createSubscription: true}, \
         nats: {url: 'tls://nats', stream: EVENTS, consumer: berth, create: true, maxDeliver: 9}}",
    );
    let adapters = [
        adapter(
            "dns",
            "  events: {pubsub: {subscription: dns}, nats: {consumer: dns}}\n",
        ),
        adapter("lz", ""),
    ];
    let expected = [
        "pubsub berth: lz",
        "pubsub dns: dns",
        "nats EVENTS/berth: lz",
        "nats EVENTS/dns: dns",
    ];
    assert_eq!(reached(&settings, &adapters), expected);
    for planned in plan(&settings, &adapters) {
        match planned.broker {
            Broker::PubSub(settings) => {
                assert_eq!(settings.emulator.as_deref(), Some("localhost:8085"));
                assert!(settings.create.subscription && !settings.create.topic);
            }
            Broker::Nats(settings) => {
                assert!(settings.create);
                assert_eq!(settings.max_deliver.map(std::num::NonZeroU32::get), Some(9));
            }
            Broker::RabbitMq(_) => panic!("nobody configured it"),
        }
    }
}

#[test]
fn the_variable_of_googles_clients_names_the_emulator_and_configures_nothing_alone() {
    let variables = [("PUBSUB_EMULATOR_HOST".to_owned(), "127.0.0.1:8085".to_owned())];
    let read = |sources: &str| {
        let text = format!("fleet: {{url: 'https://f.example.com'}}\nadapters: a\n{sources}");
        let written = host::Written {
            file: Some((Path::new("berth.yaml"), &text)),
            variables: &variables,
            ..host::Written::default()
        };
        let loaded = host::load(&written).map_err(|problems| problems.to_string());
        loaded.unwrap().0.sources.pubsub
    };
    assert_eq!(read(""), None);
    let pubsub = read("sources: {pubsub: {project: p}}\n").unwrap();
    assert_eq!(pubsub.emulator.as_deref(), Some("127.0.0.1:8085"));
}
