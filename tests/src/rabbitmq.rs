//! A real RabbitMQ as a child process, with a name, ports and folders of its own.
//!
//! # Guarantees
//! - [`RabbitMq::start`] returns when clients can connect.
//! - The process ends with the value, and with the test process, however it ends.
//! - Everything listens on loopback only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness may panic: it runs in tests only"
)]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, LongString},
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::control_plane::{free_ports, sweeper};

/// Where Debian's package `rabbitmq-server` has it.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// How long any one condition is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

/// The password of the user `guest`.
pub const PASSWORD: &str = "hunter2-of-the-tests";

/// A running broker.
#[derive(Debug)]
pub struct RabbitMq {
    folder: TempDir,
    port: u16,
    tls_port: u16,
    epmd_port: u16,
    dist_port: u16,
    node: String,
    broker: Mutex<Option<Process>>,
    _epmd: Process,
    /// Removes the folder after this process, for a value that is shared is never dropped.
    _sweeper: Child,
}

/// Files for TLS: the authority, the server's certificate and its key.
#[derive(Debug)]
pub struct Tls {
    /// PEM.
    pub authority: String,
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
}

impl RabbitMq {
    /// The broker that all tests of this process share. Tests keep out of each other's way by
    /// topics of their own. Do not stop it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<RabbitMq> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(None)).await
    }

    /// Starts a broker of its own; with `tls` it also speaks TLS, to clients with a certificate.
    pub async fn start(tls: Option<&Tls>) -> Self {
        assert!(
            Path::new(PROGRAM).is_file(),
            "{PROGRAM} is missing. Run the tests by `cargo xtask test`, or install the Debian package `rabbitmq-server`."
        );
        let folder = TempDir::with_prefix("berth-rabbitmq-").unwrap();
        let [port, tls_port, epmd_port, dist_port] = free_ports();
        let mut config =
            format!("listeners.tcp.1 = 127.0.0.1:{port}\ndefault_user = guest\ndefault_pass = {PASSWORD}\n");
        if let Some(tls) = tls {
            let write = |name: &str, text: &str| {
                let path = folder.path().join(name);
                std::fs::write(&path, text).unwrap();
                path
            };
            let files = [
                ("cacertfile", write("ca.pem", &tls.authority)),
                ("certfile", write("server.pem", &tls.certificate)),
                ("keyfile", write("server.key", &tls.key)),
            ];
            config.push_str(&format!("listeners.ssl.1 = 127.0.0.1:{tls_port}\n"));
            for (name, path) in files {
                config.push_str(&format!("ssl_options.{name} = {}\n", path.display()));
            }
            config.push_str("ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n");
        }
        std::fs::write(folder.path().join("rabbitmq.conf"), config).unwrap();
        let epmd = Process::spawn(
            Command::new("epmd").args(["-port", &epmd_port.to_string(), "-address", "127.0.0.1"]),
            &folder.path().join("epmd.log"),
        );
        let broker = Self {
            _sweeper: sweeper(folder.path()).unwrap(),
            node: format!("berth-{port}@localhost"),
            folder,
            port,
            tls_port,
            epmd_port,
            dist_port,
            broker: Mutex::default(),
            _epmd: epmd.unwrap(),
        };
        broker.run().await;
        broker
    }

    /// Starts the process; waits until clients can connect.
    pub async fn run(&self) {
        let path = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", &self.node)
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_LOGS", "-")
            // One scheduler busy-waits less than many on a machine that others use too.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            );
        let log = path("broker.log");
        *self.broker.lock().unwrap() = Some(Process::spawn(&mut command, &log).unwrap());
        let end = Instant::now() + PATIENCE;
        while let Err(error) = self.connect().await {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n");
            assert!(
                Instant::now() < end,
                "RabbitMQ does not start: {error:#}; its log ends:\n{last}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Kills the process, as a power cut would.
    pub fn kill(&self) {
        drop(self.broker.lock().unwrap().take());
    }

    /// The URL with user and password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:{PASSWORD}@127.0.0.1:{}/", self.port)
    }

    /// The URL for TLS.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("amqps://guest:{PASSWORD}@localhost:{}/", self.tls_port)
    }

    /// A new connection.
    ///
    /// # Errors
    /// When the broker does not accept it.
    pub async fn connect(&self) -> Result<Connection> {
        // This client takes an empty path for a virtual host without a name.
        let url = format!("{}%2f", self.url());
        let connecting = Connection::connect(&url, ConnectionProperties::default());
        // The machine of a test may be busy.
        tokio::time::timeout(Duration::from_secs(30), connecting)
            .await
            .context("no answer")?
            .context("no connection")
    }

    /// A channel as HyperFleet's services and operators have one.
    pub async fn client(&self) -> Client {
        let connection = self.connect().await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Client { connection, channel }
    }
}

/// Does what HyperFleet's services and operators do.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    channel: Channel,
}

impl Client {
    /// Declares an exchange as HyperFleet's broker library does.
    pub async fn exchange(&self, name: &str, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = self
            .channel
            .exchange_declare(name.into(), kind, options, FieldTable::default());
        declared.await.unwrap();
    }

    /// Declares and binds a queue as HyperFleet's broker library does.
    pub async fn queue(&self, name: &str, exchange: &str) {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declared = self.channel.queue_declare(name.into(), options, FieldTable::default());
        declared.await.unwrap();
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bound = self
            .channel
            .queue_bind(name.into(), exchange.into(), "".into(), options, arguments);
        bound.await.unwrap();
    }

    /// Publishes a body as Sentinel does, and waits until the broker has it. Answers whether
    /// a queue took it.
    pub async fn publish(&self, exchange: &str, id: &str, body: &[u8]) -> bool {
        let mut headers = FieldTable::default();
        let name = AMQPValue::LongString(LongString::from(id));
        headers.insert("_watermill_message_uuid".into(), name);
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
        let options = BasicPublishOptions {
            // Only so that a test notices what Sentinel would not.
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let sent = self
            .channel
            .basic_publish(exchange.into(), "".into(), options, body, properties);
        let confirmation = sent.await.unwrap().await.unwrap();
        assert!(confirmation.is_ack(), "the broker refused a message");
        confirmation.take_message().is_none()
    }

    /// Messages that are ready in a queue, and its consumers; none if there is no such queue.
    pub async fn depth(&self, queue: &str) -> Option<(u32, u32)> {
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let asked = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await;
        asked.ok().map(|queue| (queue.message_count(), queue.consumer_count()))
    }

    /// Waits until so many messages are ready in a queue, and so many consume it.
    pub async fn comes_to(&self, queue: &str, ready: u32, consumers: u32) {
        let end = Instant::now() + PATIENCE;
        loop {
            let depth = self.depth(queue).await;
            if depth == Some((ready, consumers)) {
                return;
            }
            assert!(
                Instant::now() < end,
                "{queue} does not come to {ready} messages and {consumers} consumers; it has {depth:?}"
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Takes a message out of a queue.
    pub async fn take(&self, queue: &str) -> Option<BasicGetMessage> {
        let options = BasicGetOptions { no_ack: true };
        self.channel.basic_get(queue.into(), options).await.unwrap()
    }

    /// Deletes a queue under its consumers' feet.
    pub async fn delete(&self, queue: &str) {
        let options = lapin::options::QueueDeleteOptions::default();
        self.channel.queue_delete(queue.into(), options).await.unwrap();
    }
}

/// A child, and all that it starts, that ends when this value, or this process, does: a shell
/// holds the end of a pipe of ours and kills the child's session when the pipe closes.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        const WATCHDOG: &str = r#"
            exec 3<&0
            setsid "$@" </dev/null 3<&- &
            child=$!
            { cat <&3 >/dev/null; kill -9 -$child; } 2>/dev/null &
            exec 3<&-
            wait $child
        "#;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(command.get_program())
            .args(command.get_args());
        // A process that is killed may leave a dump where it runs.
        if let Some(folder) = log.parent() {
            shell.current_dir(folder);
        }
        let cleared = command.get_envs().next().is_some();
        if cleared {
            shell.env_clear();
        }
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        shell
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map(Self)
            .with_context(|| format!("cannot start {}", command.get_program().display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Sees that a condition comes to hold.
///
/// # Errors
/// When it does not in time.
pub async fn comes(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        ensure!(Instant::now() < end, "{what} does not come true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
