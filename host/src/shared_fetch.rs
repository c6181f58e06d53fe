//! Joiner: one GET of a subject for all adapters of one event.
//!
//! The GET is made after the event came in, so each adapter sees a subject at least as new as
//! the event. It is shared for a moment only, and an adapter that asks again asks the API.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex as StdMutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use berth_engine::{
    contract::{AdapterStatus, HttpAction, Trigger},
    document::Document,
    effect::{FleetFault, Reported},
    report::Report,
    subject::Event,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::world::{Fleet, World};

/// How long an answer is shared.
const FRESH: SignedDuration = SignedDuration::from_secs(2);

/// Reads the time.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The GETs of the events under way.
pub struct Fetches {
    by_event: StdMutex<HashMap<String, Weak<Shared>>>,
    clock: Clock,
}

/// The GET of one event's subject. Shared as long as somebody keeps it.
pub struct Shared {
    path: String,
    clock: Clock,
    answer: Mutex<Option<(Timestamp, Result<Document, FleetFault>)>>,
}

impl Shared {
    /// A clock that was set back makes nothing fresh again.
    fn is_fresh(&self, at: Timestamp) -> bool {
        let age = (self.clock)().duration_since(at);
        !age.is_negative() && age < FRESH
    }
}

impl Fetches {
    /// Shares nothing yet. `clock` tells when an answer is too old to be shared.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            by_event: StdMutex::default(),
            clock,
        }
    }

    /// Begins to share for an event that came in just now. Ends when the answer is dropped.
    #[must_use]
    pub fn begin(&self, event: &Event) -> Arc<Shared> {
        let shared = Arc::new(Shared {
            path: event.subject.href.clone(),
            clock: Arc::clone(&self.clock),
            answer: Mutex::default(),
        });
        let mut by_event = self.by_event.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it would grow, so that it stays as large as what is under way.
        if by_event.len() == by_event.capacity() {
            by_event.retain(|_, shared| shared.strong_count() > 0);
        }
        by_event.insert(event.id.clone(), Arc::downgrade(&shared));
        shared
    }

    /// The world for one reconcile: where an event began it, its GET is the event's.
    #[must_use]
    pub fn world(&self, world: &World, trigger: &Trigger) -> World {
        World {
            fleet: self.fleet(&world.fleet, trigger),
            ..world.clone()
        }
    }

    fn fleet(&self, fleet: &Arc<dyn Fleet>, trigger: &Trigger) -> Arc<dyn Fleet> {
        let Trigger::Event(document) = trigger else {
            return Arc::clone(fleet);
        };
        let id = document.get("id").and_then(Value::as_str).unwrap_or_default();
        let by_event = self.by_event.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shared) = by_event.get(id).and_then(Weak::upgrade) else {
            return Arc::clone(fleet);
        };
        Arc::new(OfEvent {
            fleet: Arc::clone(fleet),
            shared,
            used: AtomicBool::new(false),
        })
    }
}

/// The HyperFleet API as one reconcile of an event sees it.
struct OfEvent {
    fleet: Arc<dyn Fleet>,
    shared: Arc<Shared>,
    used: AtomicBool,
}

#[async_trait]
impl Fleet for OfEvent {
    async fn get(&self, path: &str) -> Result<Document, FleetFault> {
        if path != self.shared.path || self.used.swap(true, Ordering::Relaxed) {
            return self.fleet.get(path).await;
        }
        // Whoever comes meanwhile waits for the same answer.
        let mut answer = self.shared.answer.lock().await;
        if let Some((at, answer)) = &*answer
            && self.shared.is_fresh(*at)
        {
            return answer.clone();
        }
        let fetched = self.fleet.get(path).await;
        *answer = Some(((self.shared.clock)(), fetched.clone()));
        fetched
    }

    async fn statuses(&self, path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        self.fleet.statuses(path).await
    }

    async fn report(&self, path: &str, report: &Report) -> Result<Reported, FleetFault> {
        self.fleet.report(path, report).await
    }

    async fn send(&self, action: &HttpAction) -> Result<(u16, Value), FleetFault> {
        self.fleet.send(action).await
    }
}

#[cfg(test)]
mod tests;
