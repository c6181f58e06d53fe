//! `berth serve`: the only file that knows every room. Builds, spawns, drains.

use std::{
    net::SocketAddr,
    pin::pin,
    process::ExitCode,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
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
    queue::{Pair, Rhythms},
    reason::{Case, Reason},
    reconcile::Outcome,
    report::Journey,
    subject::{SubjectKey, SubjectRef},
};
use berth_runtime::{CacheSettings, Compiler, Runtime};
use jiff::Timestamp;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    artifacts::Shelf,
    cluster,
    config::{
        self, Problem,
        document::{Loaded, Loading},
    },
    dispatch::{self, Dispatcher, Listener},
    fleet,
    intake::{Counted, Scope, Sources},
    lease,
    live::{self, Board, Configuration, Following, Keeper, Refreshed},
    plugins::Loader,
    source,
    telemetry::{
        Metrics, ReportResult, Trouble,
        admin::{self, Check, Retried, Retry},
    },
    web,
    world::{Artifacts, World},
};

/// How long running reconciles get to end when the host stops.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long open connections get to end after that.
const GOODBYE: Duration = Duration::from_secs(2);

/// A host at work: live adapters over a world. Production and the demo differ in the world.
pub struct Host {
    dispatcher: Dispatcher,
    metrics: Arc<Metrics>,
    /// Whether the host takes work.
    open: AtomicBool,
    /// Whether the host takes no more work; running work may still end.
    ending: AtomicBool,
    /// Ends the servers.
    stopping: watch::Sender<bool>,
    /// The brokers; none until they are started.
    sources: OnceLock<Arc<Sources>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    board: Arc<Board>,
    /// Until the host follows files.
    keeper: Mutex<Option<Keeper>>,
    /// Asks whoever follows files to ask registries.
    refreshing: Mutex<Option<mpsc::UnboundedSender<Refreshed>>>,
}

/// What is live at first, and where plugins come from.
#[derive(Default)]
pub struct Beginning {
    /// Documents as they were read.
    pub loading: Loading,
    /// Where plugins of registries come from; none: there are none.
    pub artifacts: Option<Arc<dyn Artifacts>>,
    /// How often tags are resolved again; none for [`live::REFRESH`].
    pub refresh: Option<Duration>,
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
    /// What is left to other hosts; none where there are no others.
    pub owns: Option<dispatch::Owns>,
    /// Who else is told how reconciles go.
    pub listener: Arc<dyn Listener>,
}

impl Host {
    /// Makes documents live and begins to watch their kinds. Documents that cannot be live
    /// are left out; their problems are the second value.
    pub async fn start(parts: Parts, documents: &[Loaded]) -> (Arc<Self>, Vec<Problem>) {
        let loading = Loading {
            adapters: documents.to_vec(),
            problems: Vec::new(),
        };
        let beginning = Beginning {
            loading,
            ..Beginning::default()
        };
        Self::begin(parts, beginning).await
    }

    /// The same for a host that goes on by [`Host::follow`]. What is refused has been logged.
    pub async fn begin(parts: Parts, beginning: Beginning) -> (Arc<Self>, Vec<Problem>) {
        let Beginning {
            loading,
            artifacts,
            refresh,
        } = beginning;
        let host = Self::new(parts, artifacts, refresh);
        let problems = host.open(loading).await;
        host.opened();
        (host, problems)
    }

    /// A host without any document yet. Its administration can be served; it is not ready.
    #[must_use]
    pub fn new(parts: Parts, artifacts: Option<Arc<dyn Artifacts>>, refresh: Option<Duration>) -> Arc<Self> {
        let loader = Loader {
            runtime: parts.runtime,
            world: parts.world.clone(),
            metrics: Arc::clone(&parts.metrics),
            variable: Arc::new(|name| std::env::var(name).ok()),
        };
        let told = Told {
            metrics: Arc::clone(&parts.metrics),
            clock: Arc::clone(&parts.clock),
            also: parts.listener,
        };
        let dispatcher = Dispatcher::spawn(dispatch::Settings {
            world: parts.world.clone(),
            clock: Arc::clone(&parts.clock),
            listener: Arc::new(told),
            concurrency: parts.concurrency,
            rhythms: parts.rhythms,
            waits: dispatch::Waits::default(),
            owns: parts.owns,
        });
        let mut tasks = Vec::new();
        if let Some(mut changes) = parts.world.cluster.changes() {
            let dispatcher = dispatcher.clone();
            tasks.push(tokio::spawn(async move {
                while let Some(change) = changes.recv().await {
                    dispatcher.changed(change);
                }
            }));
        }
        let board = Arc::new(Board::default());
        let tools = live::Tools {
            loader,
            dispatcher: dispatcher.clone(),
            cluster: Arc::clone(&parts.world.cluster),
            metrics: Arc::clone(&parts.metrics),
            clock: parts.clock,
            artifacts,
            refresh: refresh.unwrap_or(live::REFRESH),
        };
        let keeper = Keeper::new(tools, Arc::clone(&board));
        let (stopping, _) = watch::channel(false);
        let host = Self {
            dispatcher,
            metrics: parts.metrics,
            open: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            stopping,
            tasks: Mutex::new(tasks),
            board,
            keeper: Mutex::new(Some(keeper)),
            refreshing: Mutex::default(),
            sources: OnceLock::new(),
        };
        Arc::new(host)
    }

    /// Makes documents live and begins to watch their kinds, once. What cannot be live is left out, and told. Waits for
    /// plugins of registries a while only: what takes longer becomes live later.
    pub(crate) async fn open(&self, loading: Loading) -> Vec<Problem> {
        let Some(mut keeper) = lock(&self.keeper).take() else {
            return Vec::new();
        };
        keeper.begin(loading).await;
        let problems = keeper.problems();
        *lock(&self.keeper) = Some(keeper);
        problems
    }

    /// From now on it may be ready.
    fn opened(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// Follows changes of documents, plugins and the configuration until the host stops.
    /// Further calls change nothing.
    pub fn follow(&self, following: Following) {
        let Some(keeper) = lock(&self.keeper).take() else {
            return;
        };
        let (refreshing, asked) = mpsc::unbounded_channel();
        *lock(&self.refreshing) = Some(refreshing);
        lock(&self.tasks).push(tokio::spawn(keeper.follow(following, asked)));
    }

    /// How adapters and plugins stand.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Whether a start makes sense: something is live, or may be without anybody changing
    /// what is wrong. No document at all is not wrong.
    fn is_promising(&self) -> bool {
        let hope = lock(&self.keeper).as_ref().is_none_or(Keeper::has_hope);
        hope || self.board.problems() == 0 || !self.board.live().is_empty()
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
            source: "http",
            scope: Scope::Everyone,
        };
        source::http::router(Arc::new(sink), settings)
    }

    /// Begins to receive from brokers, once, and follows what live documents subscribe to.
    /// `max_bytes` is the largest event.
    pub fn receive(&self, settings: &config::host::Sources, max_bytes: usize) {
        let mut live = self.board.follow_live();
        let sources = self.sources.get_or_init(|| {
            let (dispatcher, metrics) = (self.dispatcher.clone(), Arc::clone(&self.metrics));
            let adapters = live.borrow_and_update().clone();
            Arc::new(Sources::start(
                settings.clone(),
                max_bytes,
                &adapters,
                dispatcher,
                metrics,
            ))
        });
        let sources = Arc::clone(sources);
        lock(&self.tasks).push(tokio::spawn(async move {
            while live.changed().await.is_ok() {
                let adapters = live.borrow_and_update().clone();
                sources.follow(&adapters);
            }
        }));
    }

    /// The router of the administration endpoint.
    pub fn admin(self: &Arc<Self>) -> Router {
        admin::router(Arc::clone(self) as Arc<dyn admin::Host>, Arc::clone(&self.metrics))
    }

    /// Stops taking events, lets what runs end, and ends the servers.
    pub async fn stop(&self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(sources) = self.sources.get() {
            sources.begin_stop();
        }
        self.dispatcher.begin_stop();
        // Whoever reads this finds no event taken any more.
        tracing::info!("berth stops");
        self.dispatcher.stopped(PATIENCE).await;
        if let Some(sources) = self.sources.get() {
            sources.stopped(GOODBYE).await;
        }
        self.stopping.send_replace(true);
        for task in lock(&self.tasks).iter() {
            task.abort();
        }
    }
}

#[async_trait]
impl admin::Host for Host {
    async fn checks(&self) -> Vec<Check> {
        let problems = self.board.problems();
        let documents = self
            .board
            .live()
            .is_empty()
            .then(|| format!("no adapter is live; {problems} problems were found in documents"));
        let running = match (self.open.load(Ordering::Relaxed), self.ending.load(Ordering::Relaxed)) {
            (_, true) => Some("the host stops".to_owned()),
            (false, false) => Some("the host starts".to_owned()),
            (true, false) => None,
        };
        vec![
            Check {
                name: "adapters",
                trouble: documents,
            },
            Check {
                name: "running",
                trouble: running,
            },
            Check {
                name: "sources",
                trouble: self.sources.get().and_then(|sources| sources.trouble()),
            },
        ]
    }

    async fn retry(&self, retry: Retry) -> Retried {
        let takes = |adapter: &Arc<Adapter>| adapter.name == retry.adapter && adapter.subjects.contains(&retry.kind);
        if !self.board.live().iter().any(takes) {
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

    async fn adapters(&self) -> admin::Adapters {
        admin::Adapters {
            adapters: self.board.adapters(),
            problems: self.board.unnamed(),
        }
    }

    async fn refresh(&self) {
        let (answer, refreshed) = oneshot::channel();
        let sent = lock(&self.refreshing)
            .as_ref()
            .is_some_and(|refreshing| refreshing.send(answer).is_ok());
        if sent {
            // It ends unanswered when the host stops.
            drop(refreshed.await);
        }
    }
}

/// What the locks protect is whole at every moment, so a panic elsewhere changes nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        // The span that lines are in tells of which adapter and subject they are.
        match outcome {
            Outcome::Reported(reported) => {
                let journey = &reported.journey;
                let (case, reason) = (journey.name(), journey.reason());
                self.metrics.reconcile_finished(name, case, took);
                if journey.is_trouble() {
                    self.metrics.trouble(name, trouble(journey), &reason);
                    let message = journey.message();
                    tracing::warn!(journey = case, reason, message, duration = ?took, "reported trouble");
                } else {
                    tracing::info!(journey = case, reason, duration = ?took, "reported");
                }
            }
            Outcome::Gone => {
                self.metrics.reconcile_finished(name, "gone", took);
                tracing::info!(duration = ?took, "the subject is gone");
            }
            Outcome::Retry { reason, message, .. } => {
                self.metrics.reconcile_finished(name, "retry", took);
                if outcome.trouble().is_none() {
                    tracing::info!(%reason, message, duration = ?took, "is tried again");
                } else {
                    self.metrics.trouble(name, trouble_of(*reason), reason.name());
                    tracing::warn!(%reason, message, duration = ?took, "no report was accepted; it is tried again");
                }
            }
            Outcome::Refused { reason, message } => {
                self.metrics.reconcile_finished(name, "refused", took);
                self.metrics.trouble(name, Trouble::A6, reason.name());
                tracing::warn!(%reason, message, duration = ?took, "no report will be accepted; it is not tried again");
            }
        }
        self.also.ended(adapter, subject, outcome, took);
    }

    fn depth(&self, waiting: usize, running: usize) {
        self.metrics.queue_depth(waiting);
        self.also.depth(waiting, running);
    }
}

/// What the platform team is alerted of. A deletion that cannot go on is its own trouble, unless it is an API's.
fn trouble(journey: &Journey) -> Trouble {
    match journey {
        Journey::CreationFailed { .. } => Trouble::A4,
        Journey::DeletionFailed {
            outage: false, reason, ..
        } => match Reason::named(reason) {
            Some(reason) if reason.cases().contains(&Case::A6) => Trouble::A6,
            Some(_) | None => Trouble::Deletion,
        },
        Journey::Unreachable { .. }
        | Journey::DeletionFailed { outage: true, .. }
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

/// The same of a reconcile without a report.
fn trouble_of(reason: Reason) -> Trouble {
    let is = |case| reason.cases().contains(&case);
    if is(Case::A4) {
        Trouble::A4
    } else if is(Case::Deleting) {
        Trouble::Deletion
    } else {
        Trouble::A6
    }
}

/// The exit code for configuration or documents that cannot be used.
const BAD_CONFIGURATION: u8 = 64;

/// Runs the host until SIGTERM or SIGINT. This program must be berth's: it starts itself to compile plugins.
///
/// It starts without any document, and is not ready until there is one that is live: events
/// wait at their sources. It ends with 64 only where there are documents and every one of them
/// is wrong, so that a roll-out of a mistake stops where its author sees it. Where a registry
/// gives no plugin for now, or one takes long to be compiled, it starts and goes on with that.
/// The administration endpoint is served before anything is loaded.
///
/// # Errors
/// When it cannot start: a socket, the cache or a connection cannot be made.
pub async fn run(settings: config::host::Settings, configuration: Configuration) -> Result<ExitCode> {
    let loading = config::document::load_folder(&settings.adapters, &settings.limits.plugins);
    for problem in &loading.problems {
        tracing::error!(%problem, "an adapter document is refused");
    }
    let metrics = Arc::new(Metrics::new(
        env!("CARGO_PKG_VERSION"),
        berth_runtime::cache::WASMTIME_VERSION,
    ));
    let runtime = sandbox_of(&settings)?;
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
    let secrets = Arc::clone(&world.cluster);
    let leases = CancellationToken::new();
    let sharing = settings
        .leases
        .as_ref()
        .map(|leases_of| share(&cluster, leases_of, leases.clone()));
    let parts = Parts {
        world,
        runtime,
        metrics: Arc::clone(&metrics),
        clock: Arc::new(Timestamp::now),
        concurrency: settings.limits.concurrency.get(),
        rhythms: Rhythms::default(),
        owns: sharing.as_ref().map(|sharing| {
            let shards = Arc::clone(&sharing.shards);
            Arc::new(move |subject: &SubjectKey| shards.owns(subject)) as dispatch::Owns
        }),
        listener: Arc::new(dispatch::Deaf),
    };
    let folder = settings.registries.cache.clone();
    let folder = folder.or_else(|| settings.cache.as_ref().map(|cache| cache.join("plugins")));
    let (folder, _passing) = match folder {
        Some(folder) => (folder, None),
        None => {
            let passing = tempfile::tempdir().context("cannot make a folder for plugins")?;
            (passing.path().to_owned(), Some(passing))
        }
    };
    let shelf = Shelf::new(&settings.registries, folder).context("cannot load plugins from registries")?;
    let shelf = shelf.with_pull_secrets_of(secrets);
    let host = Host::new(parts, Some(Arc::new(shelf)), Some(settings.registries.refresh));
    // Before anything is loaded, so that a plugin that takes its time is not taken for a host that hangs.
    let (administered, admin) = host.listen(settings.admin, host.admin()).await?;
    tracing::info!(admin = %administered, "berth starts");
    let mut stop = pin!(stop_signal());
    tokio::select! {
        _ = host.open(loading) => {}
        told = &mut stop => {
            told.context("cannot wait for signals")?;
            tracing::info!("berth stops before it was ready");
            host.stop().await;
            leases.cancel();
            if let Some(sharing) = sharing {
                sharing.end().await;
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
    if !host.is_promising() {
        tracing::error!(folder = %settings.adapters.display(), "no adapter is live");
        return Ok(ExitCode::from(BAD_CONFIGURATION));
    }
    if host.board.live().is_empty() {
        tracing::warn!(folder = %settings.adapters.display(), "no adapter is live yet; events wait");
    }
    let events = source::http::Settings {
        token: settings.http.token_file.clone().map(source::http::Token::in_file),
        max_bytes: settings.limits.event_size,
        ..source::http::Settings::default()
    };
    let (listening, source) = host.listen(settings.http.listen, host.events(events)).await?;
    host.opened();
    tracing::info!(events = %listening, admin = %administered, adapters = host.board.live().len(), "berth is ready");
    host.follow(Following {
        folder: settings.adapters.clone(),
        caps: settings.limits.plugins,
        configuration: Some(configuration),
        poll: live::POLL,
    });
    host.receive(&settings.sources, settings.limits.event_size);
    let gauge = tokio::spawn(gauge_watches(cluster, metrics));
    stop.await.context("cannot wait for signals")?;
    gauge.abort();
    host.stop().await;
    leases.cancel();
    if let Some(sharing) = sharing {
        sharing.end().await;
    }
    // Both end by the stop, as what they served is done. A caller that sends nothing more does not keep the host.
    if tokio::time::timeout(GOODBYE, futures::future::join(source, admin))
        .await
        .is_err()
    {
        tracing::info!("connections were still open when the host ended");
    }
    Ok(ExitCode::SUCCESS)
}

/// The sandbox, with its cache of at most 1 GiB where one is wanted.
///
/// # Errors
/// When the cache or its key cannot be used.
pub fn runtime(cache: Option<&std::path::Path>) -> Result<Arc<Runtime>> {
    sandbox(berth_runtime::Settings {
        cache: cache.map(|folder| CacheSettings {
            folder: folder.to_owned(),
            size: 1 << 30,
            key: None,
        }),
        ..berth_runtime::Settings::default()
    })
}

/// The sandbox of a host with these settings.
fn sandbox_of(settings: &config::host::Settings) -> Result<Arc<Runtime>> {
    let usual = berth_runtime::Settings::default();
    sandbox(berth_runtime::Settings {
        cache: settings.cache.as_ref().map(|folder| CacheSettings {
            folder: folder.clone(),
            size: settings.cache_size as u64,
            key: None,
        }),
        // Files may be as large as ever; what registries may give must not be refused here.
        max_plugin_size: usual.max_plugin_size.max(settings.registries.max_size),
        answers: settings.limits.answers as u64,
        compiler: Some(Compiler::of_this_program(&[crate::cli::COMPILE])),
        ..usual
    })
}

fn sandbox(settings: berth_runtime::Settings) -> Result<Arc<Runtime>> {
    Ok(Arc::new(Runtime::new(&settings).context("cannot prepare the sandbox")?))
}

/// The share of the work that is this host's.
struct Sharing {
    shards: Arc<lease::Shards>,
    /// Renews leases.
    holding: JoinHandle<()>,
    /// Has all objects looked at when a shard was taken.
    recalling: JoinHandle<()>,
}

impl Sharing {
    /// Waits until everything was given back, but not for an API that does not answer.
    async fn end(self) {
        self.recalling.abort();
        drop(tokio::time::timeout(GOODBYE, self.holding).await);
    }
}

fn share(cluster: &Arc<cluster::Kubernetes>, settings: &config::host::Leases, stop: CancellationToken) -> Sharing {
    let settings = lease::Settings {
        namespace: settings.namespace.clone(),
        group: settings.group.clone(),
        host: settings.host.clone(),
    };
    tracing::info!(
        host = settings.host,
        group = settings.group,
        "watches and timers are shared with other hosts"
    );
    let (shards, holding) = lease::share(cluster.client(), settings, stop);
    let mut taken = shards.taken();
    let cluster = Arc::clone(cluster);
    let recalling = tokio::spawn(async move {
        while taken.changed().await.is_ok() {
            cluster.recall();
        }
    });
    Sharing {
        shards,
        holding,
        recalling,
    }
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

#[cfg(test)]
mod tests;
