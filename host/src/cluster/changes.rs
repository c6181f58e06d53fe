//! Hands changes to whoever reconciles them.
//!
//! A change that still waits is not queued twice, so that watches never wait for a slow
//! reader, and memory is bounded by the number of objects.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use berth_engine::{contract::Reference, subject::SubjectKey};
use tokio::sync::{Notify, mpsc};

use super::wire::lock;
use crate::world::Change;

/// The sending side.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Notify,
}

type Identity = (String, SubjectKey, Reference);

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<Identity>,
    changes: HashMap<Identity, Change>,
}

impl Changes {
    /// Queues a change; a newer one of the same object takes the place of the one that waits.
    pub(super) fn send(&self, change: Change) {
        let mut waiting = lock(&self.shared.waiting);
        let identity = (
            change.adapter.clone(),
            change.subject.key.clone(),
            change.object.clone(),
        );
        if waiting.changes.insert(identity.clone(), change).is_none() {
            waiting.order.push_back(identity);
        }
        drop(waiting);
        self.shared.more.notify_one();
    }

    /// Forwards what is queued, until nobody listens any more.
    pub(super) async fn forward(self, sender: mpsc::Sender<Change>) {
        loop {
            let Ok(permit) = sender.reserve().await else { return };
            permit.send(self.next().await);
        }
    }

    async fn next(&self) -> Change {
        loop {
            {
                let mut waiting = lock(&self.shared.waiting);
                let first = waiting.order.pop_front();
                if let Some(change) = first.and_then(|identity| waiting.changes.remove(&identity)) {
                    return change;
                }
            }
            self.shared.more.notified().await;
        }
    }
}
