//! Google's emulator of Pub/Sub, one for all tests of a process; each test has a project of its own.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use berth::source::pubsub::Settings;
use google_cloud_auth::credentials::anonymous;
use google_cloud_pubsub::{
    client::{BasePublisher, Publisher, Subscriber, SubscriptionAdmin, TopicAdmin},
    model::{Message, PushConfig, Subscription},
    subscriber::{MessageStream, handler::Handler},
};
use tokio::sync::OnceCell;

use super::PATIENCE;
use crate::control_plane::{Gate, Process, free_ports};

/// The topic that tests publish to.
pub const TOPIC: &str = "dev-clusters";
/// The subscription that tests receive from.
pub const SUBSCRIPTION: &str = "dns-adapter";

/// A project of one test at the emulator.
pub struct Project {
    port: u16,
    name: String,
}

struct Emulator {
    port: u16,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Project {
    /// A new project, without anything in it.
    pub async fn new() -> Self {
        static SHARED: OnceCell<Emulator> = OnceCell::const_new();
        // It makes the provider of TLS known, without which no client can be made.
        drop(berth::web::Client::new());
        let emulator = SHARED.get_or_init(Emulator::start).await;
        let name = format!("p-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        Self {
            port: emulator.port,
            name,
        }
    }

    /// The same with the topic and a subscription, which a test may change before.
    pub async fn with_subscription(change: impl FnOnce(Subscription) -> Subscription) -> Self {
        let project = Self::new().await;
        project.create_topic(TOPIC).await;
        project.create_subscription(SUBSCRIPTION, TOPIC, change).await;
        project
    }

    /// The emulator's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Settings of a source for the subscription of tests.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            emulator: Some(format!("127.0.0.1:{}", self.port)),
            ack_deadline: Duration::from_secs(10),
            ..Settings::new(self.name.clone(), TOPIC.to_owned(), SUBSCRIPTION.to_owned())
        }
    }

    /// A network path to the emulator that the test can cut, and settings that use it.
    #[must_use]
    pub fn gate(&self) -> (Gate, Settings) {
        let [port] = free_ports();
        let gate = Gate::new(port, self.port, PathBuf::new());
        let settings = Settings {
            emulator: Some(format!("127.0.0.1:{port}")),
            ..self.settings()
        };
        (gate, settings)
    }

    /// The project's id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The full name of a topic.
    #[must_use]
    pub fn topic(&self, topic: &str) -> String {
        format!("projects/{}/topics/{topic}", self.name)
    }

    fn subscription(&self, subscription: &str) -> String {
        format!("projects/{}/subscriptions/{subscription}", self.name)
    }

    /// Creates a topic.
    pub async fn create_topic(&self, topic: &str) {
        let builder = TopicAdmin::builder().with_endpoint(self.endpoint());
        let admin = builder.with_credentials(anonymous::Builder::new().build()).build();
        let name = self.topic(topic);
        admin.await.unwrap().create_topic().set_name(name).send().await.unwrap();
    }

    async fn admin(&self) -> SubscriptionAdmin {
        let builder = SubscriptionAdmin::builder().with_endpoint(self.endpoint());
        let built = builder.with_credentials(anonymous::Builder::new().build()).build();
        built.await.unwrap()
    }

    /// Creates a subscription with the shortest deadline that there is.
    pub async fn create_subscription(
        &self,
        name: &str,
        topic: &str,
        change: impl FnOnce(Subscription) -> Subscription,
    ) {
        let subscription = Subscription::new()
            .set_name(self.subscription(name))
            .set_topic(self.topic(topic))
            .set_ack_deadline_seconds(10);
        let asked = self.admin().await.create_subscription();
        asked.with_request(change(subscription)).send().await.unwrap();
    }

    /// Looks at a subscription.
    pub async fn look(&self, name: &str) -> Subscription {
        let asked = self.admin().await.get_subscription();
        asked.set_subscription(self.subscription(name)).send().await.unwrap()
    }

    /// Makes a subscription push to where nobody listens, or has it pulled from again. The emulator goes on handing
    /// messages to streams of closed connections, unless it pushes: that ends them.
    pub async fn push(&self, name: &str, pushes: bool) {
        let endpoint = if pushes { "http://127.0.0.1:9/" } else { "" };
        let asked = self.admin().await.modify_push_config();
        asked
            .set_subscription(self.subscription(name))
            .set_push_config(PushConfig::new().set_push_endpoint(endpoint))
            .send()
            .await
            .unwrap();
    }

    /// Publishes to a topic of the project.
    pub async fn publisher(&self, topic: &str) -> Publisher {
        let builder = BasePublisher::builder().with_endpoint(self.endpoint());
        let base = builder.with_credentials(anonymous::Builder::new().build()).build();
        base.await
            .unwrap()
            .publisher(self.topic(topic))
            .set_message_count_threshold(1)
            .build()
    }

    /// Publishes a message as Sentinel does, with its only attribute.
    pub async fn publish(&self, body: &str) {
        let message = Message::new()
            .set_data(body.to_owned())
            .set_attributes([("_watermill_message_uuid", "0198")]);
        self.publisher(TOPIC).await.publish(message).await.unwrap();
    }

    /// Receives from a subscription of the project, beside berth.
    pub async fn receive(&self, subscription: &str) -> Received {
        let builder = Subscriber::builder().with_endpoint(self.endpoint());
        let built = builder.with_credentials(anonymous::Builder::new().build()).build();
        let subscriber = built.await.unwrap();
        let stream = subscriber
            .subscribe(self.subscription(subscription))
            .set_max_lease(Duration::ZERO)
            .set_max_lease_extension(Duration::from_secs(10))
            .build();
        Received { stream }
    }
}

/// What comes from a subscription. Leases are not extended.
pub struct Received {
    stream: MessageStream,
}

impl Received {
    /// The next message, once there is one.
    pub async fn next(&mut self) -> (Message, Handler) {
        tokio::time::timeout(PATIENCE, self.stream.next())
            .await
            .expect("a message comes")
            .expect("the stream goes on")
            .unwrap()
    }
}

impl Emulator {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let [port] = free_ports();
        let jar = jar();
        let arguments = [
            // One core and little memory are enough, and it starts faster.
            "-XX:TieredStopAtLevel=1".to_owned(),
            "-XX:+UseSerialGC".to_owned(),
            "-Xmx512m".to_owned(),
            "-jar".to_owned(),
            jar.display().to_string(),
            "--host=127.0.0.1".to_owned(),
            format!("--port={port}"),
        ];
        let process = Process::spawn("java".as_ref(), &arguments, &log).expect("Java is needed by the emulator");
        let end = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(
                Instant::now() < end,
                "the Pub/Sub emulator does not become ready:\n{text}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self {
            port,
            _process: process,
            _folder: folder,
        }
    }
}

fn jar() -> PathBuf {
    xtask::emulator::find().unwrap_or_else(|error| panic!("{error:#}"))
}
