//! Events from a real NATS server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap fails the test")]

use std::{num::NonZeroU32, num::NonZeroUsize, sync::Arc, time::Duration};

use async_nats::jetstream::consumer::{PullConsumer, pull};
use berth::{
    config::host::{self, Sources},
    source::{
        Policy, State,
        nats::{Nats, Settings},
    },
};
use berth_tests::{
    brokers::{
        PATIENCE, Recorder, Running,
        nats::{CONSUMER, NatsServer, STREAM, SUBJECT, add_consumer, info, is_settled, publish},
        play_six_journeys, rich_message, sentinel_message, until,
    },
    simulated_stage::SimulatedStage,
    stage::landing_zone,
};
use futures::StreamExt as _;
use serde_json::Value;

const LONG: Duration = Duration::from_secs(30);

fn policy(settings: &Settings) -> Policy {
    settings.policy(1 << 20)
}

fn start(settings: &Settings, sink: &Arc<Recorder>) -> Running {
    Running::start(Nats::new(settings.clone()), policy(settings), sink)
}

/// What the server tells about messages that it does not deliver any more.
struct Advisories {
    subscriber: async_nats::Subscriber,
    /// The connection ends with it.
    _client: async_nats::Client,
}

impl Advisories {
    async fn of(server: &NatsServer, kind: &str) -> Self {
        let client = server.client().await.client();
        let subject = format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.{STREAM}.>");
        let subscriber = client.subscribe(subject).await.unwrap();
        client.flush().await.unwrap();
        Self {
            subscriber,
            _client: client,
        }
    }

    async fn next(&mut self) -> Value {
        let next = tokio::time::timeout(PATIENCE, self.subscriber.next()).await;
        serde_json::from_slice(&next.unwrap().unwrap().payload).unwrap()
    }
}

#[tokio::test]
async fn a_message_as_sentinel_writes_it_becomes_an_event_in_all_its_forms() {
    let server = NatsServer::start().await;
    let context = server.stream(LONG, -1).await;
    let sink = Arc::new(Recorder::default());
    let _running = start(&server.settings(), &sink);
    publish(&context, &sentinel_message("c1")).await;
    publish(&context, &rich_message("np1")).await;
    is_settled(&context).await;

    let mut events = sink.events();
    events.sort_by(|a, b| a.subject.key.cmp(&b.subject.key));
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.subject.key.to_string(), event.subject.generation))
        .collect();
    assert_eq!(told, [("Cluster/c1".to_owned(), 1), ("NodePool/np1".to_owned(), 3)]);
    let rich: Value = serde_json::from_str(&rich_message("np1")).unwrap();
    assert_eq!(*events[1].document, rich, "nothing of it is lost");
    assert_eq!(sink.aside(), [""; 0]);
    assert_eq!(info(&context, CONSUMER).await.num_redelivered, 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_once_with_its_reason_in_the_servers_advisory() {
    let server = NatsServer::start().await;
    let context = server.stream(LONG, -1).await;
    let mut advisories = Advisories::of(&server, "MSG_TERMINATED").await;
    let sink = Arc::new(Recorder::default());
    let _running = start(&server.settings(), &sink);
    publish(&context, "{ this is no JSON").await;

    let advisory = advisories.next().await;
    assert_eq!(advisory["stream_seq"], 1);
    let reason = advisory["reason"].as_str().unwrap();
    assert!(reason.starts_with("EventNotJson: the event is not JSON"), "{reason}");
    // One that comes later goes its way, and the first never comes again.
    publish(&context, &sentinel_message("c1")).await;
    is_settled(&context).await;
    assert_eq!(sink.subjects(), ["c1"]);
    assert_eq!(sink.aside(), ["EventNotJson"]);
    assert_eq!(info(&context, CONSUMER).await.delivered.consumer_sequence, 2);
}

#[tokio::test]
async fn an_outage_uses_up_no_deliveries() {
    let server = NatsServer::start().await;
    // The server would not deliver it a second time. It waits for less than the outage lasts, and so long that a busy
    // machine gives its signs of life in time.
    let context = server.stream(Duration::from_secs(10), 1).await;
    let sink = Arc::new(Recorder::default());
    sink.will_retry(110);
    let _running = start(&server.settings(), &sink);
    publish(&context, &sentinel_message("c1")).await;
    until("it is tried again and again", async || sink.subjects().len() == 111).await;
    is_settled(&context).await;
    assert_eq!(sink.aside(), [""; 0]);
    assert_eq!(info(&context, CONSUMER).await.delivered.consumer_sequence, 1);
}

#[tokio::test]
async fn what_fails_by_itself_is_set_aside_after_its_attempts() {
    let server = NatsServer::start().await;
    let context = server.stream(LONG, -1).await;
    let mut advisories = Advisories::of(&server, "MSG_TERMINATED").await;
    let sink = Arc::new(Recorder::default());
    sink.will_fail(10);
    let settings = Settings {
        max_deliver: NonZeroU32::new(3),
        ..server.settings()
    };
    let _running = start(&settings, &sink);
    publish(&context, &sentinel_message("c1")).await;
    let advisory = advisories.next().await;
    assert!(
        advisory["reason"].as_str().unwrap().starts_with("AttemptsExhausted: "),
        "{advisory}"
    );
    is_settled(&context).await;
    assert_eq!(sink.subjects().len(), 3);
    assert_eq!(sink.aside(), ["AttemptsExhausted"]);
}

#[tokio::test]
async fn what_is_worked_on_for_longer_than_the_server_waits_is_not_delivered_again() {
    let server = NatsServer::start().await;
    // So long that a busy machine gives its signs of life in time.
    let wait = Duration::from_secs(10);
    let context = server.stream(wait, -1).await;
    add_consumer(&context, "witness", wait, -1).await;
    let sink = Arc::new(Recorder::default());
    sink.close();
    let _running = start(&server.settings(), &sink);
    publish(&context, &sentinel_message("c1")).await;
    until("the work begins", async || sink.subjects().len() == 1).await;

    // Somebody with the same patience who gives no sign of life gets it again and again.
    let witness: PullConsumer = context.get_consumer_from_stream("witness", STREAM).await.unwrap();
    let mut messages = witness.messages().await.unwrap();
    for delivered in 1..=3 {
        let message = tokio::time::timeout(PATIENCE, messages.next()).await;
        let message = message.unwrap().unwrap().unwrap();
        assert_eq!(message.info().unwrap().delivered, delivered);
    }
    assert_eq!(sink.subjects(), ["c1"]);
    sink.open();
    is_settled(&context).await;
    assert_eq!(sink.subjects(), ["c1"]);
    assert_eq!(info(&context, CONSUMER).await.delivered.consumer_sequence, 1);
}

#[tokio::test]
async fn nothing_is_lost_when_the_server_dies_and_comes_back() {
    let server = NatsServer::start().await;
    let context = server.stream(Duration::from_secs(2), -1).await;
    for number in 0..10 {
        publish(&context, &sentinel_message(&format!("c{number}"))).await;
    }
    let sink = Arc::new(Recorder::default());
    sink.close();
    let settings = Settings {
        max_in_flight: NonZeroUsize::new(4).unwrap(),
        ..server.settings()
    };
    let running = start(&settings, &sink);
    until("all places are taken", async || sink.subjects().len() == 4).await;
    server.go_away();
    until("the loss is noticed", async || {
        matches!(running.intake.state(), State::Broken(_))
    })
    .await;
    sink.open();
    server.come_back().await;
    until("it receives again", async || running.intake.state() == State::Connected).await;
    publish(&server.client().await, &sentinel_message("late")).await;
    is_settled(&server.client().await).await;
    let mut subjects = sink.subjects();
    subjects.sort();
    subjects.dedup();
    let expected: Vec<_> = (0..10)
        .map(|number| format!("c{number}"))
        .chain(["late".to_owned()])
        .collect();
    assert_eq!(subjects, expected);
    assert_eq!(sink.aside(), [""; 0]);
}

#[tokio::test]
async fn no_more_is_asked_for_than_may_be_worked_on() {
    let server = NatsServer::start().await;
    let context = server.stream(LONG, -1).await;
    for number in 0..12 {
        publish(&context, &sentinel_message(&format!("c{number}"))).await;
    }
    let sink = Arc::new(Recorder::default());
    sink.close();
    let settings = Settings {
        max_in_flight: NonZeroUsize::new(3).unwrap(),
        ..server.settings()
    };
    let _running = start(&settings, &sink);
    until("all places are taken", async || sink.subjects().len() == 3).await;
    assert_eq!(info(&context, CONSUMER).await.num_ack_pending, 3);
    sink.open();
    is_settled(&context).await;
    assert_eq!(sink.subjects().len(), 12);
    assert_eq!(sink.most_at_once(), 3);
}

#[tokio::test]
async fn a_host_that_stops_gives_back_what_it_has_and_another_gets_it_at_once() {
    let server = NatsServer::start().await;
    // Unless it is given back, the server waits for longer than this test does.
    let context = server.stream(Duration::from_secs(600), -1).await;
    for number in 0..3 {
        publish(&context, &sentinel_message(&format!("c{number}"))).await;
    }
    let sink = Arc::new(Recorder::default());
    // As the dispatcher answers when the host stops.
    sink.will_retry(3);
    sink.close();
    let running = start(&server.settings(), &sink);
    until("all are in flight", async || sink.subjects().len() == 3).await;
    let stopping = tokio::spawn(running.stop());
    sink.open();
    stopping.await.unwrap();

    let other = Arc::new(Recorder::default());
    let _running = start(&server.settings(), &other);
    until("the other gets them", async || other.subjects().len() == 3).await;
    is_settled(&context).await;
    let mut subjects = other.subjects();
    subjects.sort();
    assert_eq!(subjects, ["c0", "c1", "c2"]);
}

#[tokio::test]
async fn a_message_whose_work_ends_the_host_is_heard_of_when_the_server_gives_it_up() {
    let server = NatsServer::start().await;
    // So long that a host is dropped before its message comes again, on a busy machine too.
    let context = server.stream(Duration::from_secs(5), 2).await;
    publish(&context, &sentinel_message("poison")).await;
    for deliveries in 1..=2 {
        let sink = Arc::new(Recorder::default());
        sink.close();
        let running = start(&server.settings(), &sink);
        until("it is delivered", async || sink.subjects() == ["poison"]).await;
        assert_eq!(info(&context, CONSUMER).await.delivered.consumer_sequence, deliveries);
        drop(running);
    }
    let sink = Arc::new(Recorder::default());
    let _running = start(&server.settings(), &sink);
    until("the server gives it up", async || !sink.aside().is_empty()).await;
    assert_eq!(sink.aside(), ["DeliveriesExhausted"]);
    assert_eq!(sink.subjects(), [""; 0]);
}

#[tokio::test]
async fn what_is_missing_is_created_only_if_that_is_asked_for() {
    let server = NatsServer::start().await;
    let sink = Arc::new(Recorder::default());
    let mut settings = server.settings();
    let told = broken(&settings, &sink).await;
    assert!(told.contains("there is no stream `EVENTS`"), "{told}");

    settings.create = true;
    settings.subject = Some("hyperfleet.>".to_owned());
    settings.max_deliver = NonZeroU32::new(7);
    let running = start(&settings, &sink);
    until("it receives", async || running.intake.state() == State::Connected).await;
    let context = server.client().await;
    publish(&context, &sentinel_message("c1")).await;
    is_settled(&context).await;
    assert_eq!(sink.subjects(), ["c1"]);
    let created = info(&context, CONSUMER).await.config;
    assert_eq!((created.max_deliver, created.ack_wait), (7, LONG));
    assert_eq!(created.durable_name.as_deref(), Some(CONSUMER));
}

#[tokio::test]
async fn an_existing_consumer_is_used_as_it_is_or_refused_with_a_reason() {
    let server = NatsServer::start().await;
    let context = server.stream(Duration::from_secs(77), 9).await;
    let settings = Settings {
        create: true,
        subject: Some(SUBJECT.to_owned()),
        ..server.settings()
    };
    let sink = Arc::new(Recorder::default());
    let running = start(&settings, &sink);
    until("it receives", async || running.intake.state() == State::Connected).await;
    let config = info(&context, CONSUMER).await.config;
    assert_eq!((config.ack_wait, config.max_deliver), (Duration::from_secs(77), 9));
    drop(running);

    let careless = pull::Config {
        durable_name: Some("careless".to_owned()),
        ack_policy: async_nats::jetstream::consumer::AckPolicy::None,
        ..pull::Config::default()
    };
    let _: PullConsumer = context.create_consumer_on_stream(careless, STREAM).await.unwrap();
    let settings = Settings {
        consumer: "careless".to_owned(),
        ..settings
    };
    let told = broken(&settings, &sink).await;
    assert!(told.contains("its ack policy must be `explicit`"), "{told}");
}

#[tokio::test]
async fn a_server_with_tls_and_a_token_is_spoken_to_and_others_are_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let issued = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&certificate, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let (certificate_flag, key_flag) = (
        format!("--tlscert={}", certificate.display()),
        format!("--tlskey={}", key.display()),
    );
    let flags = ["--tls", &certificate_flag, &key_flag, "--auth", "s3cret-token"];
    let server = NatsServer::start_with(&flags).await;
    let token = |text: &str| {
        let file = folder.path().join(text);
        std::fs::write(&file, format!("{text}\n")).unwrap();
        Some(file)
    };
    let sink = Arc::new(Recorder::default());
    let settings = Settings {
        url: format!("tls://127.0.0.1:{}", server.port()).parse().unwrap(),
        token_file: token("s3cret-token"),
        ca_file: Some(certificate),
        create: true,
        subject: Some(SUBJECT.to_owned()),
        ..server.settings()
    };
    let running = start(&settings, &sink);
    until("it receives", async || running.intake.state() == State::Connected).await;

    let stranger = Settings {
        ca_file: None,
        ..settings.clone()
    };
    let told = broken(&stranger, &sink).await;
    assert!(told.contains("cannot connect to NATS"), "{told}");
    let nobody = Settings {
        token_file: token("wr0ng-token"),
        ..settings.clone()
    };
    let told = broken(&nobody, &sink).await;
    assert!(!told.contains("wr0ng"), "{told}");
}

/// Why a source cannot receive.
async fn broken(settings: &Settings, sink: &Arc<Recorder>) -> String {
    let running = start(settings, sink);
    until("it tells its trouble", async || {
        matches!(running.intake.state(), State::Broken(_))
    })
    .await;
    match running.intake.state() {
        State::Broken(why) => why,
        other => panic!("{other:?}"),
    }
}

/// What `berth.yaml` says of NATS.
fn sources(server: &NatsServer) -> Sources {
    let text = format!(
        "fleet: {{url: 'http://localhost:1'}}\nadapters: a\n\
         sources: {{nats: {{url: '{}', stream: {STREAM}, consumer: {CONSUMER}}}}}\n",
        server.url()
    );
    let written = host::Written {
        file: Some((std::path::Path::new("berth.yaml"), &text)),
        ..host::Written::default()
    };
    let loaded = host::load(&written).map_err(|problems| problems.to_string());
    loaded.unwrap().0.sources
}

#[tokio::test(flavor = "multi_thread")]
async fn the_six_journeys_are_reported_through_nats() {
    let server = NatsServer::start().await;
    let context = server.stream(LONG, -1).await;
    let stage = SimulatedStage::set(&[&landing_zone()], &sources(&server)).await;
    play_six_journeys(&stage, async |event| publish(&context, &event).await).await;
    // All are reported, so none waits at the broker.
    is_settled(&context).await;
    stage.host.stop().await;
    is_settled(&context).await;
}
