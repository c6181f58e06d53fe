//! Tells when namespaces appear that somebody waits for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use berth_engine::subject::SubjectRef;
use futures::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;

use super::{
    changes::Changes,
    fault::Refusal,
    kinds::Kind,
    watch::{list, resource_version, watch_call},
    wire::{METADATA, Wire, lock, reference},
};
use crate::world::Change;

/// How long to pause when namespaces cannot be watched.
const PAUSE: Duration = Duration::from_secs(2);

/// Who waits for which namespace.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    waiting: Mutex<HashMap<String, Vec<(String, SubjectRef)>>>,
    more: tokio::sync::Notify,
}

impl Namespaces {
    /// Notes that an adapter waits for a namespace for a subject.
    pub(super) fn wait(&self, namespace: &str, adapter: &str, subject: &SubjectRef) {
        let mut waiting = lock(&self.waiting);
        let those = waiting.entry(namespace.to_owned()).or_default();
        those.retain(|(other, its)| other != adapter || its.key != subject.key);
        those.push((adapter.to_owned(), subject.clone()));
        drop(waiting);
        self.more.notify_one();
    }

    /// Watches namespaces while anybody waits, for ever.
    pub(super) async fn run(self: Arc<Self>, wire: Arc<Wire>, changes: Changes) {
        let kind = Kind {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            plural: "namespaces".to_owned(),
            namespaced: false,
            has_status: true,
        };
        loop {
            if lock(&self.waiting).is_empty() {
                self.more.notified().await;
                continue;
            }
            if let Err(refusal) = self.watch(&wire, &kind, &changes).await {
                tracing::warn!(cause = ?refusal, "cannot watch namespaces");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Lists and watches until nobody waits any more, or the watch ends.
    async fn watch(&self, wire: &Wire, kind: &Kind, changes: &Changes) -> Result<(), Refusal> {
        let (items, version) = list(wire, kind, None, "").await?;
        for namespace in &items {
            self.there(namespace, changes);
        }
        let stream = wire
            .watch(&watch_call(kind, None, "", &version).accept(METADATA))
            .await?;
        tokio::pin!(stream);
        let mut losses = wire.losses();
        // Whoever begins to wait for what is there already has to be answered by a new list.
        while !lock(&self.waiting).is_empty() {
            let event = tokio::select! {
                event = stream.next() => event,
                () = self.more.notified() => return Ok(()),
                _ = losses.changed() => return Ok(()),
            };
            match event {
                Some(Ok(WatchEvent::Added(namespace) | WatchEvent::Modified(namespace))) => {
                    self.there(&namespace, changes);
                }
                Some(Ok(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_))) => {}
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => return Ok(()),
            }
        }
        Ok(())
    }

    /// A namespace is there: tells those who wait, unless it is on its way out.
    fn there(&self, namespace: &Value, changes: &Changes) {
        let metadata = &namespace["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        if metadata["deletionTimestamp"].is_string() || resource_version(namespace).is_empty() {
            return;
        }
        for (adapter, subject) in lock(&self.waiting).remove(name).into_iter().flatten() {
            changes.send(Change {
                adapter,
                subject,
                object: reference("v1", "Namespace", None, name),
            });
        }
    }
}
