//! Looks at files and registries again and again.

use std::collections::BTreeSet;

use berth_engine::adapter::{Adapter, Limits};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{
    FETCHES, Following, Keeper, Refreshed,
    folder::{self, Fingerprint},
    settings::{News, Watched},
    sources::Landed,
};
use crate::{
    config::{
        Problem,
        document::{self, Loading},
    },
    telemetry,
};

impl Keeper {
    /// Makes documents live for the first time. Waits a while for what is fetched, and compiled where it is fetched.
    pub(crate) async fn begin(&mut self, loading: Loading) {
        self.read(loading);
        self.round(false).await;
        // What takes longer becomes live later.
        let end = tokio::time::Instant::now() + FETCHES;
        while let Ok(Some(landed)) = tokio::time::timeout_at(end, self.sources.landed()).await {
            self.land(landed);
        }
        self.round(false).await;
        self.started = true;
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
                    self.land(landed);
                    self.round(false).await;
                }
            }
            if !self.sources.is_fetching() && !self.sources.is_asked_for() {
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
                // Who reads the log finds it counted.
                self.tools.metrics.reloaded("configuration", false);
                for problem in problems {
                    tracing::error!(%problem, "the changed configuration is refused; the host runs on as it was");
                }
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

    fn land(&mut self, landed: Landed) {
        self.sources.take_in(landed, (self.tools.clock)(), rand::random());
    }
}

/// The digest of what a document means.
fn digest(adapter: &Adapter) -> String {
    // Maps of an adapter have texts and phases for keys, so this does not fail.
    let text = serde_json::to_vec(adapter).unwrap_or_default();
    hex::encode(Sha256::digest(text))
}
