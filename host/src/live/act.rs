//! Does what is to be done, and tells how everything stands then.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use berth_engine::{
    adapter::{Adapter, Source},
    manifest,
};
use berth_runtime::Plugin;
use jiff::Timestamp;

use super::{
    AGAIN, AGAIN_AT_MOST, Keeper, REMOVED, Refusal, Running, board, folder,
    plan::{self, Action, Again, Version, Wanted},
    short,
    sources::{self, State, Usable},
};
use crate::{
    config::Problem,
    dispatch::{Dispatcher, Live},
    plugins::Refused,
    world::{Change, Cluster},
};

impl Keeper {
    /// Looks at sources and does what is to be done. `all`: every registry is asked.
    pub(super) async fn round(&mut self, all: bool) {
        let now = (self.tools.clock)();
        let running = self.adapters.values().filter_map(|held| held.running.as_ref());
        let documents = self.loading.adapters.iter().map(|loaded| &loaded.adapter);
        let wanted = documents.chain(running.map(|running| running.live.adapter.as_ref()));
        let sources = wanted.flat_map(|adapter| {
            let plugins = adapter.plugins.values();
            plugins.map(move |plugin| (adapter, plugin))
        });
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
            self.keep().await;
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
            let state = match self.sources.state(adapter, plugin) {
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
                let before = held.running.take().map(|before| before.kinds);
                let removed = self.removed.iter().find(|one| one.name == name);
                let kinds = manifest::kinds(&live.adapter)
                    .into_iter()
                    .chain(before.into_iter().flatten())
                    .chain(
                        removed
                            .into_iter()
                            .flat_map(|one| one.kinds.iter().cloned().map(Into::into)),
                    )
                    .collect();
                held.refused = None;
                held.running = Some(Running {
                    live,
                    version: version.clone(),
                    file: loaded.origin.file().to_owned(),
                    since: now,
                    kinds,
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
        let usable = |plugin| match self.sources.state(adapter, plugin) {
            State::Usable(usable) => Some(usable.clone()),
            State::Fetching | State::Unusable(_) => None,
        };
        let plugins = adapter.plugins.iter();
        plugins
            .filter_map(|(name, plugin)| Some((name.clone(), usable(plugin)?)))
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

    pub(super) fn is_live(&self, name: &str) -> bool {
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

    /// Has a restart begin with what is live of each tag. Where adapters disagree on it, since one of them could not
    /// take the newest, that is what all of them had before.
    async fn keep(&mut self) {
        let Some(artifacts) = self.tools.artifacts.clone() else {
            return;
        };
        let mut live: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
        for running in self.adapters.values().filter_map(|held| held.running.as_ref()) {
            for (name, (usable, _)) in &running.plugins {
                let plugin = running.live.adapter.plugins.get(name);
                if let Some(Source::Oci(reference)) = plugin.map(|plugin| &plugin.source) {
                    live.entry(reference).or_default().insert(&usable.digest);
                }
            }
        }
        let agreed: BTreeMap<String, String> = live
            .into_iter()
            .filter(|(_, digests)| digests.len() == 1)
            .filter_map(|(reference, digests)| Some((reference.clone(), digests.first()?.to_string())))
            .collect();
        for (reference, digest) in agreed {
            if self.kept.get(&reference) != Some(&digest) {
                artifacts.took_over(&reference, &digest).await;
                self.kept.insert(reference, digest);
            }
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

/// Whether a plugin is tried on made-up facts before it is live: whatever comes from a registry,
/// and whatever takes the place of another. Where nothing is live yet, a file that fails harms
/// nothing, and the reports of its adapter say how it fails.
fn is_tried(adapter: &Adapter, name: &str, new: &Usable, before: Option<&Running>) -> bool {
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
