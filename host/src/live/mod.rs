//! Keeps live what the documents, the plugins and the host's own file say, while the host runs.
//!
//! Joins `config`, `plugins` and `dispatch`. About once a second it looks at the folder of
//! documents, at plugin files and at the host's file; registries are asked now and then. What
//! changed is decided by [`plan`], loaded and prepared beside what runs, and then swapped as
//! one: a document with all of its plugins.
//!
//! # Guarantees
//! - What cannot be live leaves what was live before, and is told: log, metrics, [`Board`].
//! - A reconcile under way ends with what it began with; the next one has what is new.
//! - A document that is taken away ends its adapter. Its objects stay; see `berth adapter purge`.
//! - One document that cannot be live keeps no other from it.
//!
//! A file that cannot be read takes nothing away: its adapters go on until somebody says
//! clearly that they are not meant any more, by removing the document.

mod board;
mod check;
mod folder;
mod plan;
pub mod purge;
mod settings;
mod sources;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use berth_engine::{
    adapter::{Adapter, Limits},
    manifest,
};
use berth_runtime::Plugin;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

pub use self::{
    board::Board,
    check::check,
    settings::{Configuration, Read},
};
use self::{
    folder::Fingerprint,
    plan::{Action, Again, Version, Wanted},
    settings::{News, Watched},
    sources::{Landed, Sources, State, Usable},
};
use crate::{
    config::{
        Problem,
        document::{self, Loaded, Loading},
    },
    dispatch::{Dispatcher, Live},
    plugins::{Loader, Refused},
    telemetry::{self, Metrics, admin::AdapterState},
    world::{Artifacts, Change, Cluster},
};

/// How often tags are resolved again, unless the host is told otherwise.
pub const REFRESH: Duration = Duration::from_secs(300);
/// How often files are looked at.
pub const POLL: Duration = Duration::from_secs(1);
/// How long the start waits for plugins that are fetched.
const FETCHES: Duration = Duration::from_secs(10);
/// The first pause before a document is tried again that may be loaded later.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest.
const AGAIN_AT_MOST: Duration = Duration::from_secs(300);
/// How many removed adapters are remembered.
const REMOVED: usize = 100;

/// Asks a [`Keeper`] to look at registries now; answered when it has.
pub type Refreshed = oneshot::Sender<()>;

/// What a [`Keeper`] looks at.
pub struct Following {
    /// The folder with adapter documents.
    pub folder: PathBuf,
    /// What documents may ask for, for one plugin.
    pub caps: Limits,
    /// The host's own configuration, if it may change.
    pub configuration: Option<Configuration>,
    /// How often files are looked at.
    pub poll: Duration,
}

/// What a [`Keeper`] works with.
pub(crate) struct Tools {
    pub(crate) loader: Loader,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub(crate) artifacts: Option<Arc<dyn Artifacts>>,
    /// How often tags are resolved again.
    pub(crate) refresh: Duration,
}

/// See the module.
pub(crate) struct Keeper {
    tools: Tools,
    board: Arc<Board>,
    sources: Sources,
    loading: Loading,
    /// The digest of each document that can be read.
    digests: BTreeMap<String, String>,
    adapters: BTreeMap<String, Held>,
    removed: VecDeque<AdapterState>,
    /// Whose standing the metrics tell.
    shown: BTreeSet<String>,
    /// What the dispatcher was told that it waits for.
    awaiting: BTreeSet<String>,
    /// Whether the host takes events: what becomes live from now on may have missed some.
    started: bool,
}

/// All that is known of an adapter.
#[derive(Default)]
struct Held {
    running: Option<Running>,
    refused: Option<Refusal>,
}

/// What is live.
struct Running {
    live: Live,
    version: Version,
    file: PathBuf,
    since: Timestamp,
    /// The plugins by their name in the document, each with the time since when it is live.
    plugins: BTreeMap<String, (Usable, Timestamp)>,
}

/// What is wanted and cannot be live.
struct Refusal {
    version: Version,
    again: Again,
    attempts: u32,
    problems: Vec<Problem>,
}

impl Keeper {
    pub(crate) fn new(tools: Tools, board: Arc<Board>) -> Self {
        let sources = Sources::new(tools.artifacts.clone(), tools.refresh);
        Self {
            tools,
            board,
            sources,
            loading: Loading::default(),
            digests: BTreeMap::new(),
            adapters: BTreeMap::new(),
            removed: VecDeque::new(),
            shown: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            started: false,
        }
    }

    /// Makes documents live for the first time. Waits a while for what is fetched.
    pub(crate) async fn begin(&mut self, loading: Loading) {
        self.read(loading);
        self.round(false).await;
        // What takes longer becomes live later.
        let end = tokio::time::Instant::now() + FETCHES;
        while let Ok(Some(landed)) = tokio::time::timeout_at(end, self.sources.landed()).await {
            self.land(landed).await;
        }
        self.round(false).await;
        self.started = true;
    }

    /// Every problem that keeps a document from being live.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let refused = self.adapters.values().filter_map(|held| held.refused.as_ref());
        let refused = refused.flat_map(|refusal| refusal.problems.iter());
        self.loading.problems.iter().chain(refused).cloned().collect()
    }

    /// Whether something may yet become live although nobody changes anything.
    pub(crate) fn has_hope(&self) -> bool {
        let waits = |source| match self.sources.state(source) {
            State::Usable(_) => false,
            State::Fetching => true,
            State::Unusable(trouble) => trouble.passes,
        };
        let mut documents = self
            .loading
            .adapters
            .iter()
            .flat_map(|one| one.adapter.plugins.values());
        let mut refused = self.adapters.values().filter_map(|held| held.refused.as_ref());
        documents.any(|plugin| waits(&plugin.source)) || refused.any(|one| matches!(one.again, Again::At(_)))
    }

    /// Follows files and registries for ever.
    pub(crate) async fn follow(mut self, mut following: Following, mut asked: mpsc::UnboundedReceiver<Refreshed>) {
        let mut watched = following.configuration.take().map(Watched::new);
        // The folder is read once more: it may have changed since the start.
        let mut seen = None;
        let mut tick = tokio::time::interval(following.poll);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut waiting: Vec<Refreshed> = Vec::new();
        loop {
            let fetching = self.sources.is_fetching();
            tokio::select! {
                _ = tick.tick() => {
                    if let Some(watched) = &mut watched
                        && let Some(news) = watched.look().await
                        && self.settings(news, &mut following.caps)
                    {
                        // What documents may ask for has changed.
                        seen = None;
                    }
                    self.look(&following, &mut seen).await;
                    self.round(false).await;
                }
                Some(answer) = asked.recv() => {
                    waiting.push(answer);
                    self.look(&following, &mut seen).await;
                    self.round(true).await;
                }
                Some(landed) = self.sources.landed(), if fetching => {
                    self.land(landed).await;
                    self.round(false).await;
                }
            }
            if !self.sources.is_fetching() {
                for answer in waiting.drain(..) {
                    // Whoever asked may have gone.
                    let _ = answer.send(());
                }
            }
        }
    }

    async fn look(&mut self, following: &Following, seen: &mut Option<Fingerprint>) {
        let (path, caps) = (following.folder.clone(), following.caps);
        let look = move || folder::folder(&path);
        let Some(new) = folder::changed(seen.as_ref(), look.clone()).await else {
            return;
        };
        let path = following.folder.clone();
        let read = move || (document::load_folder(&path, &caps), look());
        // What was read half before a change and half after it is read again at the next look.
        let Some((loading, after)) = folder::apart(read).await.filter(|(_, after)| *after == new) else {
            return;
        };
        let is_first = seen.replace(after).is_none();
        let before: BTreeSet<String> = self.loading.problems.iter().map(Problem::to_string).collect();
        self.read(loading);
        for problem in &self.loading.problems {
            if !before.contains(&problem.to_string()) {
                let kept = problem.adapter.as_ref().is_some_and(|name| self.is_live(name));
                tracing::error!(%problem, last_good_stays = kept, "an adapter document is refused");
            }
        }
        if !is_first || !self.loading.problems.is_empty() {
            self.tools
                .metrics
                .reloaded("documents", self.loading.problems.is_empty());
        }
    }

    fn read(&mut self, loading: Loading) {
        self.digests = loading
            .adapters
            .iter()
            .map(|loaded| (loaded.adapter.name.clone(), digest(&loaded.adapter)))
            .collect();
        self.loading = loading;
    }

    /// Takes in what changed in the host's own file. True: documents must be read again.
    fn settings(&self, news: News, caps: &mut Limits) -> bool {
        let (settings, differences) = match news {
            News::Refused(problems) => {
                for problem in problems {
                    tracing::error!(%problem, "the changed configuration is refused; the host runs on as it was");
                }
                self.tools.metrics.reloaded("configuration", false);
                return false;
            }
            News::Good(settings, differences) => (settings, differences),
        };
        if differences.live.contains(&"log.level")
            && let Err(error) = telemetry::set_level(&settings.log.level)
        {
            tracing::error!(%error, "the changed log level is refused; it stays as it was");
            self.tools.metrics.reloaded("configuration", false);
            return false;
        }
        self.tools.dispatcher.set_concurrency(settings.limits.concurrency.get());
        self.tools.metrics.reloaded("configuration", true);
        self.tools.metrics.restart_needed(differences.restart.len());
        if !differences.live.is_empty() {
            let keys = differences.live.join(", ");
            tracing::info!(keys, "the configuration changed");
        }
        if !differences.restart.is_empty() {
            let keys = differences.restart.join(", ");
            tracing::warn!(keys, "the configuration changed in keys that need a restart");
        }
        std::mem::replace(caps, settings.limits.plugins) != settings.limits.plugins
    }

    async fn land(&mut self, landed: Landed) {
        let now = (self.tools.clock)();
        let jitter = rand::random::<f64>();
        self.sources.take_in(landed, &self.tools.loader, now, jitter).await;
    }

    /// Looks at sources and does what is to be done. `all`: every registry is asked.
    async fn round(&mut self, all: bool) {
        let now = (self.tools.clock)();
        let running = self.adapters.values().filter_map(|held| held.running.as_ref());
        let documents = self.loading.adapters.iter().map(|loaded| &loaded.adapter);
        let wanted = documents.chain(running.map(|running| running.live.adapter.as_ref()));
        let sources = wanted.flat_map(|adapter| adapter.plugins.values().map(|plugin| &plugin.source));
        self.sources.want(sources);
        self.sources.look(&self.tools.loader, now, all).await;
        let (wanted, loading) = self.wanted();
        let standing = self
            .adapters
            .iter()
            .map(|(name, held)| (name.clone(), held.standing()))
            .collect();
        let mut arrived = Vec::new();
        let mut changed = false;
        for action in plan::plan(&standing, &wanted, now) {
            match action {
                Action::Load(name) => {
                    let (came, is_new) = self.load(&name, &wanted, now).await;
                    changed |= came;
                    if is_new {
                        arrived.push(name);
                    }
                }
                Action::Refuse(name) => self.refuse_sources(&name, &wanted),
                Action::Settle(name) => {
                    if let Some(held) = self.adapters.get_mut(&name) {
                        held.refused = None;
                    }
                    tracing::info!(adapter = name, "the document is again what is live");
                }
                Action::Remove(name) => {
                    changed = true;
                    self.remove(&name, now);
                }
            }
        }
        if changed {
            self.swap(&arrived).await;
        } else if self.awaiting != self.awaited() {
            self.hand_over();
        }
        self.show(&loading);
    }

    /// What is wanted; and the adapters whose plugins are being fetched.
    fn wanted(&self) -> (Wanted, BTreeSet<String>) {
        let files = self
            .adapters
            .iter()
            .filter_map(|(name, held)| Some((name.clone(), held.running.as_ref()?.file.clone())))
            .collect();
        let mut wanted = Wanted {
            unreadable: folder::unreadable(&self.loading, &files),
            ..Wanted::default()
        };
        let mut fetching = BTreeSet::new();
        for loaded in &self.loading.adapters {
            let adapter = &loaded.adapter;
            match self.version(adapter) {
                Some(version) => {
                    wanted.documents.insert(adapter.name.clone(), version);
                }
                None => {
                    wanted.unreadable.insert(adapter.name.clone());
                    fetching.insert(adapter.name.clone());
                }
            }
        }
        (wanted, fetching)
    }

    /// None: a plugin is being fetched.
    fn version(&self, adapter: &Adapter) -> Option<Version> {
        let mut plugins = BTreeMap::new();
        for (name, plugin) in &adapter.plugins {
            let state = match self.sources.state(&plugin.source) {
                State::Usable(usable) => Ok(usable.digest.clone()),
                State::Unusable(trouble) => Err(trouble.message.clone()),
                State::Fetching => return None,
            };
            plugins.insert(name.clone(), state);
        }
        Some(Version {
            document: self.digests.get(&adapter.name).cloned().unwrap_or_default(),
            plugins,
        })
    }

    /// Loads a document. Answers whether it is live, and whether nothing was before.
    async fn load(&mut self, name: &str, wanted: &Wanted, now: Timestamp) -> (bool, bool) {
        let document = self.loading.adapters.iter().find(|one| one.adapter.name == name);
        let (Some(loaded), Some(version)) = (document.cloned(), wanted.documents.get(name)) else {
            return (false, false);
        };
        let usable = self.usable(&loaded.adapter);
        let before = self.adapters.get(name).and_then(|held| held.running.as_ref());
        let tried = usable
            .iter()
            .filter(|(plugin, new)| is_tried(&loaded.adapter, plugin, new, before))
            .map(|(plugin, _)| plugin.clone())
            .collect();
        let plugins: BTreeMap<String, Arc<Plugin>> = usable
            .iter()
            .map(|(plugin, usable)| (plugin.clone(), Arc::clone(&usable.plugin)))
            .collect();
        let result = self.tools.loader.load(&loaded, &plugins, &tried).await;
        let held = self.adapters.entry(name.to_owned()).or_default();
        match result {
            Ok(live) => {
                let is_new = held.running.is_none();
                let since = |plugin: &str, usable: &Usable| {
                    let before = held.running.as_ref().and_then(|before| before.plugins.get(plugin));
                    before
                        .filter(|(before, _)| before.digest == usable.digest)
                        .map_or(now, |(_, since)| *since)
                };
                let plugins: BTreeMap<String, (Usable, Timestamp)> = usable
                    .into_iter()
                    .map(|(plugin, usable)| (plugin.clone(), (usable.clone(), since(&plugin, &usable))))
                    .collect();
                for (plugin, (usable, _)) in plugins.iter().filter(|(_, (_, since))| *since == now) {
                    tracing::info!(adapter = name, plugin, digest = usable.digest, "plugin is ready");
                }
                let document = short(&version.document);
                tracing::info!(adapter = name, document, file = %loaded.origin.file().display(), "an adapter is live");
                held.refused = None;
                held.running = Some(Running {
                    live,
                    version: version.clone(),
                    file: loaded.origin.file().to_owned(),
                    since: now,
                    plugins,
                });
                if self.started {
                    self.tools.metrics.reloaded("documents", true);
                }
                (true, is_new && self.started)
            }
            Err(refused) => {
                self.refuse(name, version.clone(), refused, now);
                (false, false)
            }
        }
    }

    fn usable(&self, adapter: &Adapter) -> BTreeMap<String, Usable> {
        let usable = |source| match self.sources.state(source) {
            State::Usable(usable) => Some(usable.clone()),
            State::Fetching | State::Unusable(_) => None,
        };
        let plugins = adapter.plugins.iter();
        plugins
            .filter_map(|(name, plugin)| Some((name.clone(), usable(&plugin.source)?)))
            .collect()
    }

    fn refuse_sources(&mut self, name: &str, wanted: &Wanted) {
        let document = self.loading.adapters.iter().find(|one| one.adapter.name == name);
        let (Some(loaded), Some(version)) = (document, wanted.documents.get(name)) else {
            return;
        };
        let at = |(plugin, state): (&String, &Result<String, String>)| {
            let message = state.as_ref().err()?;
            let path = format!("spec.plugins.{plugin}.source");
            Some(loaded.origin.at(&path, message.clone(), None))
        };
        let refused = Refused {
            problems: version.plugins.iter().filter_map(at).collect(),
            retry: false,
        };
        let (version, now) = (version.clone(), (self.tools.clock)());
        self.refuse(name, version, refused, now);
    }

    fn refuse(&mut self, name: &str, version: Version, refused: Refused, now: Timestamp) {
        let held = self.adapters.entry(name.to_owned()).or_default();
        let before = held.refused.take();
        let attempts = before
            .as_ref()
            .filter(|before| before.version == version)
            .map_or(0, |before| before.attempts.saturating_add(1));
        let again = if refused.retry {
            let pause = AGAIN.saturating_mul(2_u32.saturating_pow(attempts.min(10)));
            Again::At(sources::after(now, pause.min(AGAIN_AT_MOST)))
        } else {
            Again::Changed
        };
        let kept = held.running.is_some();
        let told = before.is_some_and(|before| before.problems == refused.problems);
        if !told {
            for problem in &refused.problems {
                tracing::error!(%problem, last_good_stays = kept, "an adapter document is refused");
            }
        }
        held.refused = Some(Refusal {
            version,
            again,
            attempts,
            problems: refused.problems,
        });
        if self.started {
            self.tools.metrics.reloaded("documents", false);
        }
    }

    fn remove(&mut self, name: &str, now: Timestamp) {
        let Some(held) = self.adapters.remove(name) else { return };
        let Some(running) = held.running else { return };
        tracing::warn!(
            adapter = name,
            file = %running.file.display(),
            "an adapter's document was taken away; its objects stay, and `berth adapter purge` deletes them"
        );
        self.removed.retain(|one| one.name != name);
        self.removed.push_back(board::removed(name, &running, now));
        if self.removed.len() > REMOVED {
            self.removed.pop_front();
        }
    }

    fn live(&self) -> Vec<Live> {
        let running = self.adapters.values().filter_map(|held| held.running.as_ref());
        running.map(|running| running.live.clone()).collect()
    }

    /// Kinds of subjects of which an adapter is wanted that is not live.
    fn awaited(&self) -> BTreeSet<String> {
        self.loading
            .adapters
            .iter()
            .filter(|one| !self.is_live(&one.adapter.name))
            .flat_map(|one| one.adapter.subjects.iter().cloned())
            .collect()
    }

    fn is_live(&self, name: &str) -> bool {
        self.adapters.get(name).is_some_and(|held| held.running.is_some())
    }

    fn hand_over(&mut self) {
        self.awaiting = self.awaited();
        self.tools.dispatcher.set_adapters(self.live(), self.awaiting.clone());
    }

    /// Hands what is live to the dispatcher, watches its kinds, and looks after the objects of
    /// adapters that have `arrived`: the watch told of them when they were nobody's.
    async fn swap(&mut self, arrived: &[String]) {
        self.removed.retain(|one| !self.adapters.contains_key(&one.name));
        let live = self.live();
        let adapters: Vec<Arc<Adapter>> = live.into_iter().map(|one| one.adapter).collect();
        self.board.set_live(adapters.clone());
        self.hand_over();
        for adapter in &adapters {
            self.tools.cluster.watch(&manifest::kinds(adapter)).await;
        }
        for adapter in adapters.into_iter().filter(|one| arrived.contains(&one.name)) {
            let (cluster, dispatcher) = (Arc::clone(&self.tools.cluster), self.tools.dispatcher.clone());
            tokio::spawn(async move { adopt(cluster.as_ref(), &dispatcher, &adapter).await });
        }
    }

    /// Tells how everything stands: the board and the metrics.
    fn show(&mut self, fetching: &BTreeSet<String>) {
        let states = board::states(self, fetching);
        let names = states.iter().map(|state| state.name.clone()).collect();
        for gone in std::mem::replace(&mut self.shown, names).difference(&self.shown) {
            self.tools.metrics.adapter_removed(gone);
        }
        let problems = self.problems();
        let metrics = &self.tools.metrics;
        metrics.documents_read(self.live().len(), problems.len());
        for state in &states {
            metrics.adapter_stands(state);
        }
        let unnamed = problems.iter().filter(|problem| problem.adapter.is_none());
        let unnamed = unnamed.map(Problem::to_string).collect();
        self.board
            .show(states, self.removed.iter().cloned().collect(), unnamed, problems.len());
    }
}

impl Held {
    fn standing(&self) -> plan::Standing {
        let refused = self.refused.as_ref();
        plan::Standing {
            live: self.running.as_ref().map(|running| running.version.clone()),
            refused: refused.map(|refusal| (refusal.version.clone(), refusal.again)),
        }
    }
}

/// Whether a plugin is tried on made-up facts before it is live: whatever comes from a registry,
/// and whatever takes the place of another. Where nothing is live yet, a file that fails harms
/// nothing, and the reports of its adapter say how it fails.
fn is_tried(adapter: &Adapter, name: &str, new: &Usable, before: Option<&Running>) -> bool {
    use berth_engine::adapter::Source;

    let before = before.and_then(|running| running.plugins.get(name));
    let is_new = before.is_none_or(|(before, _)| before.digest != new.digest);
    match adapter.plugins.get(name).map(|plugin| &plugin.source) {
        Some(Source::Oci(_)) => is_new,
        Some(Source::File(_)) => is_new && before.is_some(),
        Some(Source::Embedded) | None => false,
    }
}

/// Has every subject looked at that objects of this adapter speak of.
async fn adopt(cluster: &dyn Cluster, dispatcher: &Dispatcher, adapter: &Adapter) {
    match cluster.owned(&adapter.name, &manifest::kinds(adapter)).await {
        Ok(found) => {
            let mut seen = BTreeSet::new();
            for observed in found {
                if let Some((_, subject, ..)) = manifest::read(&observed.document)
                    && seen.insert(subject.key.clone())
                {
                    dispatcher.changed(Change {
                        adapter: adapter.name.clone(),
                        subject,
                        object: observed.reference,
                    });
                }
            }
        }
        // The next event of each subject finds its objects all the same.
        Err(error) => {
            tracing::warn!(adapter = adapter.name, %error, "objects of an adapter that is live now cannot be listed");
        }
    }
}

/// The digest of what a document means.
fn digest(adapter: &Adapter) -> String {
    // Maps of an adapter have texts and phases for keys, so this does not fail.
    let text = serde_json::to_vec(adapter).unwrap_or_default();
    hex::encode(Sha256::digest(text))
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

/// The file of a document that is wanted.
fn file_of<'a>(loading: &'a Loading, name: &str) -> Option<&'a Path> {
    let found: Option<&Loaded> = loading.adapters.iter().find(|one| one.adapter.name == name);
    let problem = || loading.problems.iter().find(|one| one.adapter.as_deref() == Some(name));
    found
        .map(|one| one.origin.file())
        .or_else(|| problem().map(|problem| problem.file.as_path()))
}
