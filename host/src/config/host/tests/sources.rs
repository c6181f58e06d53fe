//! Brokers, and HyperFleet's own configuration of them.

use super::*;

const BASE: &str = "fleet: {url: 'https://f.example.com'}\nadapters: a\n";

fn read(file: &str, variables: &[(&str, &str)], broker: Option<&str>) -> Result<Settings, String> {
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let text = format!("{BASE}{file}");
    let written = Written {
        file: Some((Path::new("/etc/berth/berth.yaml"), &text)),
        variables: &variables,
        broker: broker.map(|text| (Path::new("/etc/hyperfleet/broker.yaml"), text)),
        ..Written::default()
    };
    load(&written)
        .map(|(settings, _)| settings)
        .map_err(|problems| problems.to_string())
}

fn rabbitmq(file: &str, variables: &[(&str, &str)], broker: Option<&str>) -> RabbitMq {
    read(file, variables, broker).unwrap().sources.rabbitmq.unwrap()
}

fn url(rabbitmq: &RabbitMq) -> &str {
    match &rabbitmq.url {
        Place::Here(url) => url.reveal(),
        Place::File(file) => file.to_str().unwrap(),
    }
}

#[test]
fn without_a_word_about_brokers_there_are_none() {
    assert_eq!(read("", &[], None).unwrap().sources, Sources::default());
}

#[test]
fn rabbitmq_is_read_with_its_defaults() {
    let read = rabbitmq(
        "sources: {rabbitmq: {urlFile: rabbit-url, topic: clusters, subscription: berth, caFile: /ca.pem}}",
        &[],
        None,
    );
    assert_eq!(url(&read), "/etc/berth/rabbit-url");
    assert_eq!(read.exchange_type, "topic");
    assert_eq!(read.prefetch.get(), 256);
    assert_eq!(read.quorum, None);
    assert_eq!(read.tls.ca_file.as_deref(), Some(Path::new("/ca.pem")));
}

#[test]
fn what_does_not_fit_together_is_told() {
    let file = "sources:\n  rabbitmq: {url: 'http://r', urlFile: f, subscription: s, certFile: c, prefetch: 0, quorum: maybe}\n  \
                nats: {url: 'nats://tok3n@n', consumer: c}\n  pubsub: {topic: t, ackDeadline: 5s}\n";
    let told = read(file, &[], None).err().unwrap();
    assert!(!told.contains("tok3n"), "{told}");
    insta::assert_snapshot!(told, @r"
    /etc/berth/berth.yaml:4:19: sources.rabbitmq.url: `http` is not amqp or amqps
      hint: write it as `amqps://user@rabbitmq.example.com:5671/vhost`
    /etc/berth/berth.yaml:4:40: sources.rabbitmq.urlFile: `sources.rabbitmq.url` is set too
      hint: leave one of them out
    /etc/berth/berth.yaml:4:83: sources.rabbitmq.prefetch: `0` is nothing
      hint: it must be more than zero
    /etc/berth/berth.yaml:4:94: sources.rabbitmq.quorum: `maybe` is neither
      hint: write `true` or `false`
    /etc/berth/berth.yaml:4:70: sources.rabbitmq.certFile: has no key
      hint: set `sources.rabbitmq.keyFile` too
    configuration: sources.rabbitmq.topic: is missing, of the subscription `s`
    configuration: sources.pubsub.project: is missing
      hint: write it into berth.yaml, or set BERTH_SOURCES_PUBSUB_PROJECT
    /etc/berth/berth.yaml:6:35: sources.pubsub.ackDeadline: `5s` is not within 10s to 10m
      hint: Google Pub/Sub allows no other
    /etc/berth/berth.yaml:5:15: sources.nats.url: contains credentials
      hint: put them into a file and name it in `sources.nats.credentialsFile` or `sources.nats.tokenFile`
    configuration: sources.nats.stream: is missing, of the subscription `c`
    ");
}

#[test]
fn a_quorum_queue_needs_a_place_for_what_is_set_aside() {
    let file = |further: &str| format!("sources:\n  rabbitmq: {{url: 'amqp://r', quorum: true{further}}}\n");
    let told = read(&file(""), &[], None).err().unwrap();
    assert!(told.contains("sources.rabbitmq.quorum: has a delivery limit"), "{told}");
    assert!(told.contains("`sources.rabbitmq.deadLetterExchange`"), "{told}");
    let quorum = rabbitmq(&file(", deadLetterExchange: graves"), &[], None).quorum;
    assert_eq!(quorum.map(std::num::NonZeroU32::get), Some(20));
}

#[test]
fn a_password_is_refused_in_the_file_and_shown_nowhere() {
    let file = "sources: {rabbitmq: {url: 'amqp://me:hunter2@rabbit', topic: t}}";
    let told = read(file, &[], None).err().unwrap();
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains("contains a credential"), "{told}");

    let variables = [(
        "BERTH_SOURCES_RABBITMQ_URL".to_owned(),
        "amqp://me:hunter2@rabbit".to_owned(),
    )];
    let (settings, shown) = load(&Written {
        file: Some((Path::new("berth.yaml"), BASE)),
        variables: &variables,
        ..Written::default()
    })
    .unwrap();
    let rabbitmq = settings.sources.rabbitmq.as_ref().unwrap();
    assert_eq!(url(rabbitmq), "amqp://me:hunter2@rabbit");
    assert!(!format!("{settings:?} {shown:?}").contains("hunter2"));
    assert!(
        shown
            .iter()
            .any(|shown| shown.value.as_deref() == Some("amqp://me:hidden@rabbit"))
    );
}

/// As HyperFleet ships it.
const BROKER: &str = "
log_config: false
broker:
  type: rabbitmq
  rabbitmq:
    url: amqp://guest:s3cret@rabbitmq.hyperfleet:5672/
    exchange_type: topic
    prefetch_count: 10
    prefetch_size: 0
    consumer_tag: ''
    publisher_confirm: true
subscriber:
  parallelism: 4
";
const HYPERFLEET: [(&str, &str); 2] = [
    ("HYPERFLEET_BROKER_TOPIC", "dev-clusters"),
    ("HYPERFLEET_BROKER_SUBSCRIPTION_ID", "dns"),
];

#[test]
fn hyperfleets_file_and_variables_are_read_as_they_are() {
    let read = rabbitmq("", &HYPERFLEET, Some(BROKER));
    assert_eq!(url(&read), "amqp://guest:s3cret@rabbitmq.hyperfleet:5672/");
    assert_eq!(read.exchange_type, "topic");
    assert_eq!(read.prefetch.get(), 40);
    assert_eq!(read.topic.as_deref(), Some("dev-clusters"));
    assert_eq!(read.subscription.as_deref(), Some("dns"));
    assert_eq!(read.exchange, None);
}

#[test]
fn our_settings_count_before_theirs_and_their_variables_before_their_file() {
    let theirs = [
        ("BROKER_RABBITMQ_URL", "amqp://variable"),
        ("BROKER_RABBITMQ_EXCHANGE", "events"),
    ];
    let read = rabbitmq("sources: {rabbitmq: {prefetch: 7}}", &theirs, Some(BROKER));
    assert_eq!(url(&read), "amqp://variable");
    assert_eq!(read.exchange.as_deref(), Some("events"));
    assert_eq!(read.prefetch.get(), 7);
    let both = [
        ("BROKER_RABBITMQ_URL", "amqp://theirs"),
        ("BERTH_SOURCES_RABBITMQ_URL", "amqp://ours"),
    ];
    assert_eq!(url(&rabbitmq("", &both, Some(BROKER))), "amqp://ours");
}

#[test]
fn what_their_file_leaves_out_is_their_librarys_default() {
    let read = rabbitmq("", &[], Some("broker: {type: rabbitmq, rabbitmq: {url: 'amqp://r'}}"));
    assert_eq!(read.exchange_type, "fanout");
    assert_eq!(read.prefetch.get(), 256);
    let variables = [("BROKER_TYPE", "rabbitmq"), ("BROKER_RABBITMQ_URL", "amqp://r")];
    assert_eq!(url(&rabbitmq("", &variables, None)), "amqp://r");
}

#[test]
fn their_settings_of_pubsub_are_read_too() {
    let broker = "
broker:
  type: googlepubsub
  googlepubsub:
    project_id: fleet
    ack_deadline_seconds: 30
    message_retention_duration: 24h
    enable_message_ordering: true
    retry_min_backoff: 5s
    dead_letter_max_attempts: 7
    max_outstanding_messages: 100
    max_outstanding_bytes: 1000000
    create_topic_if_missing: true
    dead_letter_topic: never-read
";
    let sources = read("", &HYPERFLEET, Some(broker)).unwrap().sources;
    assert_eq!(sources.rabbitmq, None);
    let pubsub = sources.pubsub.unwrap();
    assert_eq!(pubsub.project, "fleet");
    assert_eq!(pubsub.subscription.as_deref(), Some("dns"));
    assert_eq!(pubsub.ack_deadline, Duration::from_secs(30));
    assert_eq!(pubsub.retention, Some(Duration::from_secs(24 * 3600)));
    assert!(pubsub.ordering && pubsub.create_topic && !pubsub.create_subscription);
    assert_eq!(pubsub.retry_min, Duration::from_secs(5));
    assert_eq!((pubsub.max_attempts.get(), pubsub.max_in_flight.get()), (7, 100));
    assert_eq!(pubsub.max_bytes, 1_000_000);
    assert_eq!(pubsub.dead_letter_topic, None);
}

#[test]
fn what_their_library_takes_for_a_default_or_a_duration_is_taken_so_here() {
    let pubsub = |further: &str| {
        let broker = format!("broker: {{type: googlepubsub, googlepubsub: {{project_id: fleet, {further}}}}}");
        read("", &HYPERFLEET, Some(&broker)).unwrap().sources.pubsub.unwrap()
    };
    let zeros = "expiration_ttl: 0, retry_min_backoff: 0s, retry_max_backoff: '', ack_deadline_seconds: 0, \
                 dead_letter_max_attempts: 0, max_outstanding_messages: -1, max_outstanding_bytes: 0";
    assert_eq!(pubsub(zeros), pubsub(""));
    assert_eq!(pubsub("").max_attempts.get(), 5);
    assert_eq!(pubsub("").expiration, None, "never");
    let hours = |text: &str| pubsub(&format!("message_retention_duration: '{text}'")).retention;
    for text in ["1.5h", "1h30m", "90m", "5400s", "1h29m59s1000ms", " 1h30m "] {
        assert_eq!(hours(text), Some(Duration::from_secs(5_400)), "{text}");
    }
    assert_eq!(hours("7d"), Some(Duration::from_secs(7 * 86_400)));
    let broker = "broker: {type: googlepubsub, googlepubsub: {project_id: fleet, expiration_ttl: soon}}";
    let told = read("", &HYPERFLEET, Some(broker)).err().unwrap();
    assert!(told.contains("/etc/hyperfleet/broker.yaml:1:"), "{told}");
}

#[test]
fn a_prefetch_of_one_does_not_make_the_host_serial() {
    let broker = "broker: {type: rabbitmq, rabbitmq: {url: 'amqp://r', prefetch_count: 1}}";
    assert_eq!(rabbitmq("", &[], Some(broker)).prefetch.get(), 16);
}

#[test]
fn a_broker_file_that_is_no_yaml_is_told() {
    let told = read("", &[], Some("broker: [")).err().unwrap();
    assert!(told.starts_with("/etc/hyperfleet/broker.yaml:1:"), "{told}");
}

#[test]
fn every_key_of_theirs_means_one_of_ours() {
    for key in super::super::broker::meanings() {
        assert!(KEYS.iter().any(|known| known.path == key), "{key} does not exist");
    }
}
