//! `berth serve`: the only file that knows every room. Builds, spawns, drains.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use axum::Router;
use berth_engine::{
    adapter::Adapter,
    effect::{Answer, Effect, FleetFault, Reported as Stored},
    manifest,
    queue::{Pair, Rhythms},
    reconcile::Outcome,
    report::Journey,
    subject::{Event, SubjectKey, SubjectRef},
};
use berth_runtime::{CacheSettings, Runtime};
use jiff::Timestamp;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    cluster,
    config::{self, Problem, document::Loaded},
    dispatch::{self, Dispatcher, Listener, Live},
    fleet,
    plugins::Loader,
    source::{self, Settled, Sink},
    telemetry::{
        EventResult, Metrics, ReportResult, Trouble,
        admin::{self, Check, Retried, Retry},
    },
    web,
    world::World,
};

/// How long running reconciles get to end when the host stops.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long open connections get to end after that.
const GOODBYE: Duration = Duration::from_secs(2);

/// A host at work: live adapters over a world. Production and the demo differ in the world.
pub struct Host {
    dispatcher: Dispatcher,
    metrics: Arc<Metrics>,
    /// Whether the host takes no more work; running work may still end.
    ending: AtomicBool,
    /// Ends the servers.
    stopping: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    adapters: Vec<Arc<Adapter>>,
    refused: usize,
}

/// What a host is made of.
pub struct Parts {
    /// The world.
    pub world: World,
    /// The sandbox.
    pub runtime: Arc<Runtime>,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// Reads the time.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Reconciles at a time.
    pub concurrency: usize,
    /// How fast retries come.
    pub rhythms: Rhythms,
    /// Who else is told how reconciles go.
    pub listener: Arc<dyn Listener>,
}

impl Host {
    /// Makes documents live and begins to watch their kinds. Documents that cannot be live
    /// are left out; their problems are the second value.
    pub async fn start(parts: Parts, documents: &[Loaded]) -> (Arc<Self>, Vec<Problem>) {
        let loader = Loader {
            runtime: parts.runtime,
            world: parts.world.clone(),
            metrics: Arc::clone(&parts.metrics),
            variable: Arc::new(|name| std::env::var(name).ok()),
        };
        let mut live: Vec<Live> = Vec::new();
        let mut problems = Vec::new();
        for document in documents {
            match loader.load(document).await {
                Ok(one) => live.push(one),
                Err(found) => problems.extend(found),
            }
        }
        parts.metrics.documents_read(live.len(), problems.len());
        let told = Told {
            metrics: Arc::clone(&parts.metrics),
            clock: Arc::clone(&parts.clock),
            also: parts.listener,
        };
        let dispatcher = Dispatcher::spawn(dispatch::Settings {
            world: parts.world.clone(),
            clock: parts.clock,
            listener: Arc::new(told),
            concurrency: parts.concurrency,
            rhythms: parts.rhythms,
            waits: dispatch::Waits::default(),
        });
        let adapters: Vec<_> = live.iter().map(|live| Arc::clone(&live.adapter)).collect();
        dispatcher.set_adapters(live);
        let mut tasks = Vec::new();
        if let Some(mut changes) = parts.world.cluster.changes() {
            let dispatcher = dispatcher.clone();
            tasks.push(tokio::spawn(async move {
                while let Some(change) = changes.recv().await {
                    dispatcher.changed(change);
                }
            }));
        }
        for adapter in &adapters {
            parts.world.cluster.watch(&manifest::kinds(adapter)).await;
        }
        let (stopping, _) = watch::channel(false);
        let refused = problems.len();
        (
            Arc::new(Self {
                dispatcher,
                metrics: parts.metrics,
                ending: AtomicBool::new(false),
                stopping,
                tasks,
                adapters,
                refused,
            }),
            problems,
        )
    }

    /// Serves a router until the host stops. Answers with the address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn listen(self: &Arc<Self>, address: SocketAddr, router: Router) -> Result<(SocketAddr, JoinHandle<()>)> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let bound = listener.local_addr().context("the socket has no address")?;
        let mut stopping = self.stopping.subscribe();
        let task = tokio::spawn(async move {
            let stopped = async move {
                // The sender lives as long as the host; its end means the same.
                drop(stopping.wait_for(|stopping| *stopping).await);
            };
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "a server ended");
            }
        });
        Ok((bound, task))
    }

    /// The router that receives events.
    pub fn events(self: &Arc<Self>, settings: source::http::Settings) -> Router {
        let sink = Counted {
            dispatcher: self.dispatcher.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        source::http::router(Arc::new(sink), settings)
    }

    /// The router of the administration endpoint.
    pub fn admin(self: &Arc<Self>) -> Router {
        admin::router(Arc::clone(self) as Arc<dyn admin::Host>, Arc::clone(&self.metrics))
    }

    /// Stops taking events, lets what runs end, and ends the servers.
    pub async fn stop(&self) {
        self.ending.store(true, Ordering::Relaxed);
        self.dispatcher.stop(PATIENCE).await;
        self.stopping.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[async_trait]
impl admin::Host for Host {
    async fn checks(&self) -> Vec<Check> {
        let documents = (self.adapters.is_empty())
            .then(|| format!("no adapter is live; {} problems were found in documents", self.refused));
        let stopping = self.ending.load(Ordering::Relaxed).then(|| "the host stops".to_owned());
        vec![
            Check {
                name: "adapters",
                trouble: documents,
            },
            Check {
                name: "running",
                trouble: stopping,
            },
        ]
    }

    async fn retry(&self, retry: Retry) -> Retried {
        let takes = |adapter: &Arc<Adapter>| adapter.name == retry.adapter && adapter.subjects.contains(&retry.kind);
        if !self.adapters.iter().any(takes) {
            return Retried::UnknownAdapter;
        }
        let subject = SubjectKey {
            kind: retry.kind,
            id: retry.id,
        };
        if self.dispatcher.retry(&retry.adapter, &subject).await {
            Retried::Queued
        } else {
            Retried::UnknownSubject
        }
    }
}

/// Counts events on their way.
struct Counted {
    dispatcher: Dispatcher,
    metrics: Arc<Metrics>,
}

#[async_trait]
impl Sink for Counted {
    async fn accept(&self, event: Event) -> Settled {
        self.metrics.event_received("http");
        let (event_id, subject) = (event.id.clone(), event.subject.key.clone());
        let settled = self.dispatcher.accept(event).await;
        let result = match settled {
            Settled::Done => EventResult::Done,
            Settled::Retry { .. } => EventResult::Retry,
        };
        self.metrics.event_settled(result);
        tracing::info!(event = event_id, %subject, ?result, "an event was settled");
        settled
    }

    fn refused(&self, reason: &'static str) {
        self.metrics.event_refused("http", reason);
        tracing::info!(reason, "an event was refused");
    }
}

/// Counts and logs reconciles.
struct Told {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    also: Arc<dyn Listener>,
}

impl Listener for Told {
    fn executed(&self, pair: &Pair, effect: &Effect, answer: &Answer) {
        if let Answer::Reported(result) = answer {
            let result = match result {
                Ok(Stored::Stored) => ReportResult::Stored,
                Ok(Stored::Discarded) => ReportResult::Discarded,
                Err(FleetFault::Gone) => return,
                Err(_) => ReportResult::Failed,
            };
            let now = (self.clock)().as_millisecond();
            #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit a double exactly")]
            self.metrics.report_sent(&pair.adapter, result, now as f64 / 1000.0);
        }
        self.also.executed(pair, effect, answer);
    }

    fn ended(&self, adapter: &Adapter, subject: &SubjectRef, outcome: &Outcome, took: Duration) {
        let name = adapter.name.as_str();
        let (subject_key, duration) = (&subject.key, took);
        match outcome {
            Outcome::Reported(reported) => {
                let journey = &reported.journey;
                let (case, reason) = (journey.name(), journey.reason());
                self.metrics.reconcile_finished(name, case, took);
                if journey.is_trouble() {
                    self.metrics.trouble(name, trouble(journey), &reason);
                    let message = journey.message();
                    tracing::warn!(adapter = name, subject = %subject_key, journey = case, reason, message, ?duration, "reported trouble");
                } else {
                    tracing::info!(adapter = name, subject = %subject_key, journey = case, reason, ?duration, "reported");
                }
            }
            Outcome::Gone => {
                self.metrics.reconcile_finished(name, "gone", took);
                tracing::info!(adapter = name, subject = %subject_key, ?duration, "the subject is gone");
            }
            Outcome::Retry { reason, message, .. } => {
                self.metrics.reconcile_finished(name, "retry", took);
                let expected = *reason == berth_engine::reason::Reason::CleanupInProgress
                    || *reason == berth_engine::reason::Reason::WaitingForEarlierGeneration;
                if expected {
                    tracing::info!(adapter = name, subject = %subject_key, %reason, message, ?duration, "is tried again");
                } else {
                    self.metrics.trouble(name, Trouble::A6, reason.name());
                    tracing::warn!(adapter = name, subject = %subject_key, %reason, message, ?duration, "no report was accepted; it is tried again");
                }
            }
        }
        self.also.ended(adapter, subject, outcome, took);
    }

    fn depth(&self, waiting: usize, running: usize) {
        self.metrics.queue_depth(waiting);
        self.also.depth(waiting, running);
    }
}

fn trouble(journey: &Journey) -> Trouble {
    match journey {
        Journey::CreationFailed { .. } | Journey::DeletionFailed { .. } => Trouble::A4,
        Journey::Unreachable { .. }
        | Journey::PluginFailed { .. }
        | Journey::InProgress { .. }
        | Journey::Achieved { .. }
        | Journey::Waiting { .. }
        | Journey::WorkFailed { .. }
        | Journey::NotApplicable { .. }
        | Journey::Deleting { .. }
        | Journey::Finalized => Trouble::A6,
    }
}

/// The exit code for configuration or documents that cannot be used.
const BAD_CONFIGURATION: u8 = 64;

/// Runs the host until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start: a socket, the cache or a connection cannot be made.
pub async fn run(settings: config::host::Settings) -> Result<ExitCode> {
    let loading = config::document::load_folder(&settings.adapters, &settings.limits.plugins);
    for problem in &loading.problems {
        tracing::error!(%problem, "an adapter document is refused");
    }
    let metrics = Arc::new(Metrics::new(
        env!("CARGO_PKG_VERSION"),
        berth_runtime::cache::WASMTIME_VERSION,
    ));
    let runtime = runtime(settings.cache.as_deref())?;
    let fleet = fleet::Client::new(&fleet::Settings {
        token_file: settings.fleet.token_file.clone(),
        ca_file: settings.fleet.ca_file.clone(),
        timeout: settings.fleet.timeout,
        ..fleet::Settings::new(settings.fleet.url.clone())
    })
    .context("cannot prepare the connection to the HyperFleet API")?;
    let cluster = cluster::Kubernetes::connect(cluster::Settings {
        kubeconfig: settings.kubernetes.kubeconfig.clone(),
        context: settings.kubernetes.context.clone(),
        ..cluster::Settings::default()
    })
    .await
    .context("cannot prepare the connection to the Kubernetes API")?;
    let web = web::Client::new().context("cannot prepare connections to other servers")?;
    let world = World {
        fleet: Arc::new(fleet),
        cluster: Arc::clone(&cluster) as Arc<dyn crate::world::Cluster>,
        web: Arc::new(web),
    };
    let parts = Parts {
        world,
        runtime,
        metrics: Arc::clone(&metrics),
        clock: Arc::new(Timestamp::now),
        concurrency: settings.limits.concurrency.get(),
        rhythms: Rhythms::default(),
        listener: Arc::new(dispatch::Deaf),
    };
    let (host, problems) = Host::start(parts, &loading.adapters).await;
    for problem in &problems {
        tracing::error!(%problem, "an adapter document is refused");
    }
    if host.adapters.is_empty() {
        tracing::error!(folder = %settings.adapters.display(), "no adapter is live");
        return Ok(ExitCode::from(BAD_CONFIGURATION));
    }
    let events = source::http::Settings {
        token: settings.http.token_file.clone().map(source::http::Token::in_file),
        max_bytes: settings.limits.event_size,
        ..source::http::Settings::default()
    };
    let (listening, source) = host.listen(settings.http.listen, host.events(events)).await?;
    let (administered, admin) = host.listen(settings.admin, host.admin()).await?;
    tracing::info!(events = %listening, admin = %administered, adapters = host.adapters.len(), "berth is ready");
    let gauge = tokio::spawn(gauge_watches(cluster, metrics));
    stop_signal().await.context("cannot wait for signals")?;
    tracing::info!("berth stops");
    gauge.abort();
    host.stop().await;
    // Both end by the stop, as what they served is done. A caller that sends nothing more does not keep the host.
    if tokio::time::timeout(GOODBYE, futures::future::join(source, admin))
        .await
        .is_err()
    {
        tracing::info!("connections were still open when the host ended");
    }
    Ok(ExitCode::SUCCESS)
}

/// The sandbox, with its cache where one is wanted.
///
/// # Errors
/// When the cache or its key cannot be used.
pub fn runtime(cache: Option<&std::path::Path>) -> Result<Arc<Runtime>> {
    let settings = berth_runtime::Settings {
        cache: cache.map(|folder| CacheSettings {
            folder: folder.to_owned(),
            key: None,
        }),
        ..berth_runtime::Settings::default()
    };
    Ok(Arc::new(Runtime::new(&settings).context("cannot prepare the sandbox")?))
}

/// How often the size of the watches is measured.
const GAUGE: Duration = Duration::from_secs(10);

async fn gauge_watches(cluster: Arc<cluster::Kubernetes>, metrics: Arc<Metrics>) {
    let mut tick = tokio::time::interval(GAUGE);
    loop {
        tick.tick().await;
        let (objects, bytes) = cluster.held();
        for (kind, count) in objects {
            metrics.watch_objects(&kind, count);
        }
        metrics.watch_bytes(bytes);
    }
}

async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
