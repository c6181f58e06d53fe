//! How adapters and plugins stand, for anyone who asks.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use berth_engine::{adapter::Adapter, effect::KindScope, manifest};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{Keeper, Running, file_of, short, sources};
use crate::telemetry::admin::{AdapterState, PluginState, Scope, Standing};

/// What was last told. The keeper writes, whoever asks reads.
#[derive(Debug, Default)]
pub struct Board {
    live: watch::Sender<Vec<Arc<Adapter>>>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    adapters: Vec<AdapterState>,
    /// Problems of files that name no adapter.
    unnamed: Vec<String>,
    problems: usize,
}

impl Board {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The adapters that are live.
    #[must_use]
    pub fn live(&self) -> Vec<Arc<Adapter>> {
        self.live.borrow().clone()
    }

    /// The adapters that are live, whenever that changes.
    #[must_use]
    pub fn follow_live(&self) -> watch::Receiver<Vec<Arc<Adapter>>> {
        self.live.subscribe()
    }

    /// All adapters, removed ones last.
    #[must_use]
    pub fn adapters(&self) -> Vec<AdapterState> {
        self.told().adapters.clone()
    }

    /// Problems of files that name no adapter.
    #[must_use]
    pub fn unnamed(&self) -> Vec<String> {
        self.told().unnamed.clone()
    }

    /// How many problems keep documents from being live.
    #[must_use]
    pub fn problems(&self) -> usize {
        self.told().problems
    }

    pub(super) fn set_live(&self, live: Vec<Arc<Adapter>>) {
        self.live.send_replace(live);
    }

    pub(super) fn show(
        &self,
        adapters: Vec<AdapterState>,
        removed: Vec<AdapterState>,
        unnamed: Vec<String>,
        problems: usize,
    ) {
        let mut told = self.told();
        told.adapters = adapters;
        told.adapters.extend(removed);
        told.unnamed = unnamed;
        told.problems = problems;
    }
}

/// Every adapter that is live or wanted, by name.
pub(super) fn states(keeper: &Keeper, fetching: &BTreeSet<String>) -> Vec<AdapterState> {
    let read = keeper.loading.adapters.iter().map(|one| one.adapter.name.clone());
    let broken = keeper.loading.problems.iter().filter_map(|one| one.adapter.clone());
    let names: BTreeSet<String> = keeper.adapters.keys().cloned().chain(read).chain(broken).collect();
    names.iter().map(|name| state(keeper, name, fetching)).collect()
}

fn state(keeper: &Keeper, name: &str, fetching: &BTreeSet<String>) -> AdapterState {
    let held = keeper.adapters.get(name);
    let running = held.and_then(|held| held.running.as_ref());
    let refused = held.and_then(|held| held.refused.as_ref());
    let unread = keeper.loading.problems.iter();
    let unread = unread.filter(|problem| match &problem.adapter {
        Some(named) => named == name,
        None => running.is_some_and(|running| running.file == problem.file),
    });
    let problems: Vec<String> = unread
        .chain(refused.iter().flat_map(|refusal| refusal.problems.iter()))
        .map(ToString::to_string)
        .collect();
    let wanted = keeper.loading.adapters.iter().find(|one| one.adapter.name == name);
    let adapter = running
        .map(|running| running.live.adapter.as_ref())
        .or_else(|| wanted.map(|one| &one.adapter));
    AdapterState {
        name: name.to_owned(),
        state: match (running.is_some(), problems.is_empty()) {
            (true, true) => Standing::Live,
            (true, false) => Standing::Outdated,
            (false, true) if fetching.contains(name) => Standing::Loading,
            (false, true | false) => Standing::Refused,
        },
        file: file_of(&keeper.loading, name)
            .or_else(|| running.map(|running| running.file.as_path()))
            .map(|file| file.display().to_string()),
        live: running.map(|running| short(&running.version.document)),
        since: running.map(|running| running.since.to_string()),
        wanted: keeper.digests.get(name).map(|digest| short(digest)),
        // Of what is wanted, since it is asked why that is not live.
        plugins: wanted
            .map(|one| &one.adapter)
            .or(adapter)
            .map(|adapter| plugins(keeper, adapter, running, &problems))
            .unwrap_or_default(),
        problems,
        subjects: adapter.map(|adapter| adapter.subjects.clone()).unwrap_or_default(),
        namespace: adapter.map(|adapter| adapter.namespace.clone()),
        service_account: adapter.map(|adapter| adapter.service_account.clone()),
        kinds: match (running, adapter) {
            (Some(running), _) => kinds(running.kinds.iter().cloned()),
            (None, Some(adapter)) => kinds(manifest::kinds(adapter)),
            (None, None) => Vec::new(),
        },
    }
}

fn kinds(kinds: impl IntoIterator<Item = KindScope>) -> Vec<Scope> {
    kinds.into_iter().map(Scope::from).collect()
}

fn plugins(keeper: &Keeper, adapter: &Adapter, running: Option<&Running>, problems: &[String]) -> Vec<PluginState> {
    let mut states = Vec::new();
    for (name, plugin) in &adapter.plugins {
        let live = running.and_then(|running| running.plugins.get(name));
        let newest = match keeper.sources.state(adapter, plugin) {
            sources::State::Usable(usable) => Some(usable.digest.clone()),
            sources::State::Fetching | sources::State::Unusable(_) => None,
        };
        let newer = newest.filter(|newest| live.is_none_or(|(live, _)| live.digest != *newest));
        let trouble = keeper
            .sources
            .trouble(adapter, plugin)
            .map(|trouble| trouble.message.clone());
        let refused = newer.as_ref().and(problems.first().cloned());
        states.push(PluginState {
            adapter: adapter.name.clone(),
            plugin: name.clone(),
            source: sources::name(&plugin.source),
            live: live.map(|(usable, _)| usable.digest.clone()),
            since: live.map(|(_, since)| since.to_string()),
            signed_by: live.map(|(usable, _)| usable.signed_by.clone()).unwrap_or_default(),
            newer,
            why: trouble.or(refused),
        });
    }
    states
}

/// What is remembered of an adapter that was removed: enough to find its objects.
pub(super) fn removed(name: &str, running: &Running, now: Timestamp) -> AdapterState {
    let adapter = &running.live.adapter;
    AdapterState {
        name: name.to_owned(),
        state: Standing::Removed,
        file: Some(running.file.display().to_string()),
        live: None,
        since: Some(now.to_string()),
        wanted: None,
        problems: Vec::new(),
        subjects: adapter.subjects.clone(),
        namespace: Some(adapter.namespace.clone()),
        service_account: Some(adapter.service_account.clone()),
        kinds: kinds(running.kinds.iter().cloned()),
        plugins: Vec::new(),
    }
}
