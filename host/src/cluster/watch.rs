//! Keeps a [`Store`] true by a list and a watch.
//!
//! # Guarantees
//! - A scope is live only while its store may be read in the place of the API server.
//! - After a gap the objects are listed again, and what differs is told. After an outage
//!   all are told, for every one of them may have been reported as unreachable meanwhile.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use berth_engine::manifest::LABEL_ADAPTER;
use futures::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;

use super::{
    backoff::{self, Backoff},
    fault::Refusal,
    kinds::{Doubt, Kind, Kinds},
    lists::{pages, resource_version},
    objects::prune,
    store::{Budget, Key, Listing, Store, Version},
    wire::{Call, METADATA, Wire, lock},
};

/// The API server sends a bookmark about once a minute; silence for longer means that the
/// connection is dead.
pub(super) const SILENCE: Duration = Duration::from_secs(100);
/// The pause after the API server refused: somebody has to grant a right, or create a kind.
const REFUSED: Duration = Duration::from_secs(10);

/// Objects that are watched: one kind, in one namespace or in all, with our labels.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) api_version: String,
    pub(super) kind: String,
    /// None for all, and for a cluster-scoped kind.
    pub(super) namespace: Option<String>,
    /// What is known of them.
    pub(super) store: Mutex<Store>,
    live: AtomicBool,
}

/// What a watch has to tell.
#[derive(Debug)]
pub(super) enum News {
    /// It appeared or changed, or is told again after an outage.
    Present(Value),
    /// It vanished. As it was at last.
    Vanished(Value),
}

/// Why a watch had to stop.
enum End {
    /// The versions that it started from are forgotten. Changes may have been missed.
    Expired,
    /// It failed.
    Failed(Refusal),
    /// Contact was lost.
    Lost,
}

impl Scope {
    pub(super) fn new(api_version: &str, kind: &str, namespace: Option<&str>, budget: Arc<Budget>) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            store: Mutex::new(Store::new(budget)),
            live: AtomicBool::new(false),
        }
    }

    /// Whether its store may be read in the place of the API server.
    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Whether objects of this kind in `namespace` (none: in all) are all in here.
    pub(super) fn covers(&self, api_version: &str, kind: &str, namespace: Option<&str>) -> bool {
        self.api_version == api_version
            && self.kind == kind
            && (self.namespace.is_none() || self.namespace.as_deref() == namespace)
    }

    /// Lists and watches for ever, telling news to `tell`.
    pub(super) async fn run(self: Arc<Self>, wire: Arc<Wire>, kinds: Arc<Kinds>, tell: impl Fn(News)) {
        let mut backoff = Backoff::default();
        // At the beginning everything is told, as after an outage.
        let mut outage = true;
        loop {
            // Since when the watch that ended was open.
            let mut open = None;
            let ended = self
                .once(&wire, &kinds, &mut outage, (&mut backoff, &mut open), &tell)
                .await;
            let lived = open.map(|since: Instant| since.elapsed()).unwrap_or_default();
            let refusal = match ended {
                Ok(()) => continue,
                Err(End::Expired) => {
                    self.rest(&mut backoff, lived).await;
                    continue;
                }
                Err(End::Lost) => None,
                Err(End::Failed(refusal)) => Some(refusal),
            };
            self.live.store(false, Ordering::Release);
            outage = true;
            if let Some(refusal) = &refusal {
                tracing::warn!(
                    api_version = self.api_version, kind = self.kind, namespace = self.namespace,
                    cause = ?refusal, "cannot watch; objects are listed instead"
                );
            }
            let refused = refusal
                .as_ref()
                .and_then(Refusal::code)
                .is_some_and(|code| (400..500).contains(&code));
            let wait = if refused { REFUSED } else { backoff.failed(lived) };
            backoff::pause(wait).await;
        }
    }

    /// Pauses before a watch that ended is opened again, if it ended soon. Nobody reads meanwhile what may be old.
    async fn rest(&self, backoff: &mut Backoff, lived: Duration) {
        if let Some(wait) = backoff.ended(lived) {
            tracing::debug!(kind = self.kind, ?wait, "a watch ended as soon as it was open");
            self.live.store(false, Ordering::Release);
            backoff::pause(wait).await;
        }
    }

    /// Hands on every object as it is held, one at a time: unpacked they take twenty times as much.
    pub(super) fn each(&self, take: impl FnMut(Value)) {
        let keys = lock(&self.store).keys();
        keys.iter().filter_map(|key| self.held_at(key)).for_each(take);
    }

    /// An object as it is held, if it still is.
    fn held_at(&self, key: &Key) -> Option<Value> {
        let kept = lock(&self.store).get(key).cloned();
        kept.map(|kept| kept.document().into_value())
    }

    /// Lists, then watches until that ends.
    async fn once(
        &self,
        wire: &Wire,
        kinds: &Kinds,
        outage: &mut bool,
        (backoff, open): (&mut Backoff, &mut Option<Instant>),
        tell: &impl Fn(News),
    ) -> Result<(), End> {
        let mut losses = wire.losses();
        let kind = kinds
            .find(wire, &self.api_version, &self.kind, Doubt::Ask)
            .await
            .map_err(End::Failed)?;
        let Some(kind) = kind else {
            // There are no objects of a kind that does not exist; it may be installed later.
            tokio::time::sleep(REFUSED).await;
            return Ok(());
        };
        let mut listing = Listing::default();
        let take = |page: &mut dyn Iterator<Item = Value>| lock(&self.store).take_page(&mut listing, page);
        let mut version = pages(wire, &kind, self.namespace.as_deref(), LABEL_ADAPTER, None, take)
            .await
            .inspect_err(|refusal| {
                if refusal.code() == Some(404) {
                    kinds.forget(&self.api_version);
                }
            })
            .map_err(End::Failed)?;
        let vanished = {
            let mut store = lock(&self.store);
            let vanished = store.end_list(&listing, Version::parse(&version));
            self.live.store(true, Ordering::Release);
            vanished
        };
        // Nothing is told before the store may be read.
        vanished.into_iter().for_each(|document| tell(News::Vanished(document)));
        if std::mem::take(outage) {
            drop(listing);
            self.each(|document| tell(News::Present(document)));
        } else {
            let differing = listing.differing.iter().filter_map(|key| self.held_at(key));
            differing.for_each(|document| tell(News::Present(document)));
        }
        loop {
            let call = watch_call(&kind, self.namespace.as_deref(), LABEL_ADAPTER, &version);
            let stream = wire.watch(&call).await.map_err(end)?;
            let since = Instant::now();
            *open = Some(since);
            self.live.store(true, Ordering::Release);
            tokio::pin!(stream);
            loop {
                let event = tokio::select! {
                    event = tokio::time::timeout(SILENCE, stream.next()) => event,
                    changed = losses.changed() => match changed {
                        Ok(()) | Err(_) => return Err(End::Lost),
                    },
                };
                // Silence and the end of the stream: go on from where it was.
                let Ok(Some(event)) = event else { break };
                wire.answered();
                match event {
                    Ok(WatchEvent::Added(document) | WatchEvent::Modified(document)) => {
                        version = resource_version(&document);
                        let document = prune(&kind, document);
                        lock(&self.store).present(&document);
                        tell(News::Present(document));
                    }
                    Ok(WatchEvent::Deleted(document)) => {
                        version = resource_version(&document);
                        let document = prune(&kind, document);
                        lock(&self.store).vanished(&document);
                        tell(News::Vanished(document));
                    }
                    Ok(WatchEvent::Bookmark(bookmark)) => {
                        version = bookmark.metadata.resource_version;
                        lock(&self.store).reached(Version::parse(&version));
                    }
                    Ok(WatchEvent::Error(status)) if status.code == 410 => return Err(End::Expired),
                    Ok(WatchEvent::Error(status)) => return Err(End::Failed(Refusal::Lost(status.message.clone()))),
                    // A broken stream is opened again, which shows whether anybody is there.
                    Err(error) => {
                        tracing::debug!(%error, kind = self.kind, "a watch broke");
                        break;
                    }
                }
            }
            self.rest(backoff, since.elapsed()).await;
        }
    }
}

fn end(refusal: Refusal) -> End {
    if refusal.code() == Some(410) {
        End::Expired
    } else {
        End::Failed(refusal)
    }
}

/// The call that watches all objects that `selector` selects, from `version` on.
pub(super) fn watch_call(kind: &Kind, namespace: Option<&str>, selector: &str, version: &str) -> Call<'static> {
    let mut call = Call::get(kind.collection(namespace))
        .query("watch", "true")
        .query("allowWatchBookmarks", "true")
        .query("timeoutSeconds", "290")
        .query("resourceVersion", version);
    if !selector.is_empty() {
        call = call.query("labelSelector", selector);
    }
    if kind.is_confidential() {
        call = call.accept(METADATA);
    }
    call
}
