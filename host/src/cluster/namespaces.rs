//! Tells when namespaces appear that somebody waits for.
//!
//! Watches while anybody waits, and knows then which namespaces are there: who begins to wait for one of them is
//! told at once, without another list.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use berth_engine::subject::{SubjectKey, SubjectRef};
use futures::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;

use super::{
    backoff::{self, Backoff},
    changes::Changes,
    fault::Refusal,
    kinds::Kind,
    lists::{list, resource_version},
    watch::{SILENCE, watch_call},
    wire::{METADATA, METADATA_LIST, Wire, lock, reference},
};
use crate::world::Change;

/// How long to pause when namespaces cannot be watched.
const PAUSE: Duration = Duration::from_secs(2);

/// An adapter, for a subject.
type Waiter = (String, SubjectKey);

/// Who waits for which namespace.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    pub(super) waiting: Mutex<Waiting>,
    more: tokio::sync::Notify,
}

/// Each waiter waits for one namespace.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_namespace: HashMap<String, HashMap<Waiter, SubjectRef>>,
    of: HashMap<Waiter, String>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty() && self.by_namespace.is_empty()
    }

    /// Notes a waiter; whether it is a new one.
    fn add(&mut self, namespace: &str, waiter: Waiter, subject: &SubjectRef) -> bool {
        let is_new = self.of.get(&waiter).is_none_or(|before| before != namespace);
        if is_new {
            self.remove(&waiter);
            self.of.insert(waiter.clone(), namespace.to_owned());
        }
        let those = self.by_namespace.entry(namespace.to_owned()).or_default();
        those.insert(waiter, subject.clone());
        is_new
    }

    fn remove(&mut self, waiter: &Waiter) {
        let Some(namespace) = self.of.remove(waiter) else {
            return;
        };
        if let Some(those) = self.by_namespace.get_mut(&namespace) {
            those.remove(waiter);
            if those.is_empty() {
                self.by_namespace.remove(&namespace);
            }
        }
    }

    /// Those who wait for a namespace; they wait no more.
    fn take(&mut self, namespace: &str) -> HashMap<Waiter, SubjectRef> {
        let taken = self.by_namespace.remove(namespace).unwrap_or_default();
        for waiter in taken.keys() {
            self.of.remove(waiter);
        }
        taken
    }
}

impl Namespaces {
    /// Notes that an adapter waits for a namespace for a subject.
    pub(super) fn wait(&self, namespace: &str, adapter: &str, subject: &SubjectRef) {
        let waiter = (adapter.to_owned(), subject.key.clone());
        if lock(&self.waiting).add(namespace, waiter, subject) {
            self.more.notify_one();
        }
    }

    /// An adapter waits no more for a subject, or for any.
    pub(super) fn forget(&self, adapter: &str, subject: Option<&SubjectKey>) {
        let mut waiting = lock(&self.waiting);
        let gone: Vec<Waiter> = match subject {
            Some(subject) => vec![(adapter.to_owned(), subject.clone())],
            None => waiting.of.keys().filter(|(of, _)| of == adapter).cloned().collect(),
        };
        for waiter in &gone {
            waiting.remove(waiter);
        }
    }

    fn is_awaited(&self) -> bool {
        !lock(&self.waiting).is_empty()
    }

    /// Watches namespaces while anybody waits, for ever.
    pub(super) async fn run(self: Arc<Self>, wire: Arc<Wire>, changes: Changes) {
        let kind = Kind::core("Namespace", "namespaces", false);
        let mut backoff = Backoff::default();
        loop {
            if !self.is_awaited() {
                self.more.notified().await;
                continue;
            }
            let began = Instant::now();
            match self.watch(&wire, &kind, &changes).await {
                Err(refusal) => {
                    tracing::warn!(cause = ?refusal, "cannot watch namespaces");
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(()) if self.is_awaited() => {
                    if let Some(wait) = backoff.ended(began.elapsed()) {
                        backoff::pause(wait).await;
                    }
                }
                Ok(()) => {}
            }
        }
    }

    /// Lists and watches until nobody waits any more, or the watch ends.
    async fn watch(&self, wire: &Wire, kind: &Kind, changes: &Changes) -> Result<(), Refusal> {
        let (items, version) = list(wire, kind, None, "", Some(METADATA_LIST)).await?;
        let mut there: HashSet<String> = items.iter().filter_map(present).collect();
        self.tell(&there, changes);
        let stream = wire
            .watch(&watch_call(kind, None, "", &version).accept(METADATA))
            .await?;
        tokio::pin!(stream);
        let mut losses = wire.losses();
        while self.is_awaited() {
            let event = tokio::select! {
                event = tokio::time::timeout(SILENCE, stream.next()) => event.ok().flatten(),
                () = self.more.notified() => {
                    self.tell(&there, changes);
                    continue;
                }
                _ = losses.changed() => return Ok(()),
            };
            match event {
                Some(Ok(WatchEvent::Added(namespace) | WatchEvent::Modified(namespace))) => match present(&namespace) {
                    Some(name) => {
                        self.appeared(&name, changes);
                        there.insert(name);
                    }
                    None => drop(there.remove(name(&namespace))),
                },
                Some(Ok(WatchEvent::Deleted(namespace))) => drop(there.remove(name(&namespace))),
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Tells all who wait for a namespace that is there.
    fn tell(&self, there: &HashSet<String>, changes: &Changes) {
        let awaited: Vec<String> = lock(&self.waiting).by_namespace.keys().cloned().collect();
        for name in awaited.iter().filter(|name| there.contains(*name)) {
            self.appeared(name, changes);
        }
    }

    fn appeared(&self, name: &str, changes: &Changes) {
        for ((adapter, _), subject) in lock(&self.waiting).take(name) {
            changes.send(Change {
                adapter,
                subject,
                object: reference("v1", "Namespace", None, name),
            });
        }
    }
}

fn name(namespace: &Value) -> &str {
    namespace["metadata"]["name"].as_str().unwrap_or_default()
}

/// The name of a namespace that is there, and not on its way out.
fn present(namespace: &Value) -> Option<String> {
    let is_leaving = namespace["metadata"]["deletionTimestamp"].is_string();
    (!is_leaving && !resource_version(namespace).is_empty()).then(|| name(namespace).to_owned())
}
