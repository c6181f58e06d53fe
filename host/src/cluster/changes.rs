//! Hands changes to whoever reconciles them.
//!
//! A change that still waits is not queued twice, so that watches never wait for a slow
//! reader, and memory is bounded by the number of objects.

use std::{
    collections::{HashSet, VecDeque},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex},
};

use berth_engine::{contract::Reference, subject::SubjectKey};
use tokio::sync::{Notify, mpsc};

use super::wire::lock;
use crate::world::Change;

/// The room that stays when nothing waits any more. A start tells of all objects at once, and never again.
const ROOM: usize = 64;

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

/// A change; the same as any other of its object.
#[derive(Debug)]
struct Told(Change);

impl Told {
    fn identity(&self) -> (&str, &SubjectKey, &Reference) {
        (&self.0.adapter, &self.0.subject.key, &self.0.object)
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Told {}

impl Hash for Told {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<Arc<Told>>,
    newest: HashSet<Arc<Told>>,
}

impl Waiting {
    fn pop(&mut self) -> Option<Change> {
        let first = self.order.pop_front()?;
        let newest = self.newest.take(&first)?;
        if self.order.is_empty() {
            self.order.shrink_to(ROOM);
            self.newest.shrink_to(ROOM);
        }
        drop(first);
        Some(Arc::try_unwrap(newest).map_or_else(|shared| shared.0.clone(), |told| told.0))
    }
}

impl Changes {
    /// Queues a change; a newer one of the same object takes the place of the one that waits.
    pub(super) fn send(&self, change: Change) {
        let mut waiting = lock(&self.shared.waiting);
        let told = Arc::new(Told(change));
        if waiting.newest.replace(Arc::clone(&told)).is_none() {
            waiting.order.push_back(told);
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
            let first = lock(&self.shared.waiting).pop();
            if let Some(change) = first {
                return change;
            }
            self.shared.more.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_engine::subject::SubjectRef;

    use super::*;

    fn change(id: usize, generation: u32) -> Change {
        Change {
            adapter: "lz".to_owned(),
            subject: SubjectRef {
                key: SubjectKey {
                    kind: "Cluster".to_owned(),
                    id: id.to_string(),
                },
                href: String::new(),
                generation,
                owner: None,
            },
            object: Reference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                namespace: None,
                name: format!("job-{id}"),
            },
        }
    }

    #[test]
    fn an_object_waits_once_with_what_is_newest_and_the_room_of_many_is_given_back() {
        let changes = Changes::default();
        for generation in [1, 2] {
            for id in 0..1_000 {
                changes.send(change(id, generation));
            }
        }
        let mut waiting = lock(&changes.shared.waiting);
        let all: Vec<Change> = std::iter::from_fn(|| waiting.pop()).collect();
        assert_eq!(all, (0..1_000).map(|id| change(id, 2)).collect::<Vec<_>>());
        assert!(waiting.order.capacity() <= ROOM && waiting.newest.capacity() <= 2 * ROOM);
    }
}
