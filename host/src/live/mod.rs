//! Keeps live what the documents, the plugins and the host's own file say, while the host runs.
//!
//! Joins `config`, `plugins` and `dispatch`. About once a second it looks at the folder of
//! documents, at plugin files and at the host's file; registries are asked now and then. What
//! changed is decided by `plan`, loaded and prepared beside what runs, and then swapped as
//! one: a document with all of its plugins.
//!
//! # Guarantees
//! - What cannot be live leaves what was live before, and is told: log, metrics, [`Board`].
//! - A reconcile under way ends with what it began with; the next one has what is new.
//! - A restart begins with what was live: a new digest is what a tag stands for only once it has taken over.
//! - A document that is taken away ends its adapter. Its objects stay; see `berth adapter purge`.
//! - One document that cannot be live keeps no other from it.
//!
//! A file that cannot be read takes nothing away: its adapters go on until somebody says
//! clearly that they are not meant any more, by removing the document.

mod act;
mod board;
mod check;
mod folder;
mod follow;
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

use berth_engine::{adapter::Limits, effect::KindScope};
use jiff::Timestamp;
use tokio::sync::oneshot;

pub use self::{
    board::Board,
    check::check,
    settings::{Configuration, Read, Seen},
};
use self::{
    plan::{Again, Version},
    sources::{Sources, State, Usable},
};
use crate::{
    config::{
        Problem,
        document::{Loaded, Loading},
    },
    dispatch::{Dispatcher, Live},
    plugins::Loader,
    telemetry::{Metrics, admin::AdapterState},
    world::{Artifacts, Cluster},
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

/// Asks whoever follows files to look at registries now; answered when it has.
pub type Refreshed = oneshot::Sender<()>;

/// What is looked at, and how often.
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

/// What a keeper works with.
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
    /// What a restart begins with, by reference.
    kept: BTreeMap<String, String>,
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
    /// Kinds of objects that this document and those before it may have created, in this process.
    kinds: BTreeSet<KindScope>,
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
            kept: BTreeMap::new(),
            awaiting: BTreeSet::new(),
            started: false,
        }
    }

    /// Every problem that keeps a document from being live.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let refused = self.adapters.values().filter_map(|held| held.refused.as_ref());
        let refused = refused.flat_map(|refusal| refusal.problems.iter());
        self.loading.problems.iter().chain(refused).cloned().collect()
    }

    /// Whether something may yet become live although nobody changes anything.
    pub(crate) fn has_hope(&self) -> bool {
        let waits = |adapter, plugin| match self.sources.state(adapter, plugin) {
            State::Usable(_) => false,
            State::Fetching => true,
            State::Unusable(trouble) => trouble.passes,
        };
        let mut documents = self.loading.adapters.iter().flat_map(|one| {
            let plugins = one.adapter.plugins.values();
            plugins.map(|plugin| (&one.adapter, plugin))
        });
        let mut refused = self.adapters.values().filter_map(|held| held.refused.as_ref());
        documents.any(|(adapter, plugin)| waits(adapter, plugin))
            || refused.any(|one| matches!(one.again, Again::At(_)))
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

#[cfg(test)]
mod tests;
