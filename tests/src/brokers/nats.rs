//! A NATS server with JetStream, and its files.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self,
    consumer::{Info, PullConsumer, pull},
};
use berth::source::nats::Settings;
use url::Url;

use super::{PATIENCE, until};
use crate::control_plane::{Process, free_ports};

/// The stream and consumer that tests receive from.
pub const STREAM: &str = "EVENTS";
/// The durable consumer.
pub const CONSUMER: &str = "berth";
/// What the stream holds.
pub const SUBJECT: &str = "hyperfleet.clusters";

/// A server of one test.
pub struct NatsServer {
    port: u16,
    folder: tempfile::TempDir,
    flags: Vec<String>,
    process: Mutex<Option<Process>>,
}

impl NatsServer {
    /// Starts a server and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further flags. A server that wants TLS or credentials is only waited for.
    pub async fn start_with(flags: &[&str]) -> Self {
        let [port] = free_ports();
        let server = Self {
            port,
            folder: tempfile::tempdir().unwrap(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            process: Mutex::default(),
        };
        server.come_back().await;
        server
    }

    /// Starts it again, with the files that it had.
    pub async fn come_back(&self) {
        let log = self.folder.path().join("log");
        let mut arguments: Vec<String> = ["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"]
            .map(str::to_owned)
            .into();
        arguments.push(self.folder.path().join("data").display().to_string());
        arguments.extend(self.flags.iter().cloned());
        let process = Process::spawn(&binary(), &arguments, &log).unwrap();
        *self.process.lock().unwrap() = Some(process);
        let end = Instant::now() + PATIENCE;
        let ready_before = starts(&log);
        // The log is kept over restarts.
        loop {
            if starts(&log) > ready_before || self.listens().await {
                return;
            }
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < end, "nats-server does not become ready:\n{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it.
    pub fn go_away(&self) {
        self.process.lock().unwrap().take();
    }

    async fn listens(&self) -> bool {
        tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, as it is configured.
    #[must_use]
    pub fn url(&self) -> Url {
        format!("nats://127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// Settings of a source for the stream and consumer of tests.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings::new(self.url(), STREAM.to_owned(), CONSUMER.to_owned())
    }

    /// A client of JetStream.
    pub async fn client(&self) -> jetstream::Context {
        let address = format!("nats://127.0.0.1:{}", self.port);
        // The machine of a test may be busy; by default it is given up after five seconds.
        let options = async_nats::ConnectOptions::new()
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE));
        let mut context = jetstream::new(options.connect(address).await.unwrap());
        context.set_timeout(PATIENCE);
        context
    }

    /// The stream with its durable consumer, which redelivers after `ack_wait`.
    pub async fn stream(&self, ack_wait: Duration, max_deliver: i64) -> jetstream::Context {
        let context = self.client().await;
        let config = jetstream::stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["hyperfleet.>".to_owned()],
            ..jetstream::stream::Config::default()
        };
        context.create_stream(config).await.unwrap();
        add_consumer(&context, CONSUMER, ack_wait, max_deliver).await;
        context
    }
}

/// Adds a durable pull consumer.
pub async fn add_consumer(context: &jetstream::Context, name: &str, ack_wait: Duration, max_deliver: i64) {
    let config = pull::Config {
        durable_name: Some(name.to_owned()),
        ack_wait,
        max_deliver,
        ..pull::Config::default()
    };
    let _: PullConsumer = context.create_consumer_on_stream(config, STREAM).await.unwrap();
}

/// Publishes a message and waits until it is stored.
pub async fn publish(context: &jetstream::Context, body: &str) {
    let stored = context.publish(SUBJECT, body.to_owned().into()).await.unwrap();
    stored.await.unwrap();
}

/// What the server knows of a consumer.
pub async fn info(context: &jetstream::Context, consumer: &str) -> Info {
    let stream = context.get_stream(STREAM).await.unwrap();
    stream.consumer_info(consumer).await.unwrap()
}

/// Waits until nothing waits for the consumer, and nothing is unanswered.
pub async fn is_settled(context: &jetstream::Context) {
    until("every message is answered", async || {
        let info = info(context, CONSUMER).await;
        info.num_pending == 0 && info.num_ack_pending == 0
    })
    .await;
}

fn starts(log: &Path) -> usize {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.matches("Server is ready").count()
}

fn binary() -> PathBuf {
    let tools = match std::env::var_os("BERTH_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::home_dir()
            .expect("a home directory")
            .join(".cache/berth/tools"),
    };
    let binary = tools.join("nats-v2.12.4/nats-server");
    assert!(
        binary.is_file(),
        "{} is missing. Run `cargo xtask tools`, or the tests by `cargo xtask test`.",
        binary.display()
    );
    binary
}
