//! Time that is moved by hand.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::fleet::Clock;

/// A clock that stands still until it is moved. Sleeping moves it, and returns at once.
#[derive(Debug)]
pub struct ManualClock {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    elapsed: Duration,
    sleeps: Vec<Duration>,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            inner: Mutex::new(Inner {
                now,
                elapsed: Duration::ZERO,
                sleeps: Vec::new(),
            }),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let mut inner = self.lock();
        inner.now = inner.now.checked_add(duration).unwrap_or(Timestamp::MAX);
        inner.elapsed = inner.elapsed.saturating_add(duration);
    }

    /// Sets the time of day, as an administrator does; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.lock().now = now;
    }

    /// Takes the list of waits since the last call.
    pub fn take_sleeps(&self) -> Vec<Duration> {
        std::mem::take(&mut self.lock().sleeps)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        self.lock().sleeps.push(duration);
        // Others get their turn, as they would while time passes.
        tokio::task::yield_now().await;
    }
}
