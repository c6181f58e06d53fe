//! Virtual time, and chance: all that is random in a run comes from one seed.
//!
//! Time stands still while anything can be done, and jumps to the next moment that somebody
//! waits for when nothing can. One thread does everything, so that a seed gives one run.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use berth::{dispatch::Waits, fleet, simulate::cluster};
use jiff::Timestamp;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Time and chance of one run. Clones are the same.
#[derive(Clone)]
pub(super) struct Time(Arc<Mutex<Inner>>);

struct Inner {
    begin: Timestamp,
    elapsed: Duration,
    /// Who waits, by moment and then by turn.
    waiting: BTreeMap<(Duration, u64), Waker>,
    turn: u64,
    chance: StdRng,
}

impl Time {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            begin: Timestamp::from_second(1_790_000_000).unwrap_or(Timestamp::UNIX_EPOCH),
            elapsed: Duration::ZERO,
            waiting: BTreeMap::new(),
            turn: 0,
            chance: StdRng::seed_from_u64(seed),
        })))
    }

    /// Runs something to its end in this time.
    pub(super) fn run<T>(&self, what: impl Future<Output = T>) -> Result<T> {
        let time = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || time.jump())
            .build()
            .context("cannot start the asynchronous runtime")?;
        Ok(runtime.block_on(what))
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }

    pub(super) fn now(&self) -> Timestamp {
        let inner = self.lock();
        inner.begin.checked_add(inner.elapsed).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn sleep(&self, duration: Duration) -> Sleep {
        let mut inner = self.lock();
        inner.turn += 1;
        Sleep {
            time: self.clone(),
            key: (inner.elapsed.saturating_add(duration), inner.turn),
        }
    }

    /// What the dispatcher waits by.
    pub(super) fn waits(&self) -> Waits {
        let (sleeping, jittering) = (self.clone(), self.clone());
        Waits {
            sleep: Arc::new(move |duration| Box::pin(sleeping.sleep(duration))),
            jitter: Arc::new(move || jittering.fraction()),
        }
    }

    /// A number from 0 up to 1.
    pub(super) fn fraction(&self) -> f64 {
        self.lock().chance.random()
    }

    /// Whether something happens that happens in so many of 1,000 cases.
    pub(super) fn happens(&self, in_thousand: u32) -> bool {
        self.lock().chance.random_range(0..1000) < in_thousand
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&self, end: usize) -> usize {
        self.lock().chance.random_range(0..end)
    }

    /// A duration of so many seconds at least and at most.
    pub(super) fn between(&self, least: f64, most: f64) -> Duration {
        Duration::from_secs_f64(self.lock().chance.random_range(least..most))
    }

    /// Nobody can do anything now: goes on to the next moment that somebody waits for.
    fn jump(&self) {
        let woken = {
            let mut inner = self.lock();
            let Some(((moment, _), waker)) = inner.waiting.pop_first() else {
                return;
            };
            inner.elapsed = inner.elapsed.max(moment);
            waker
        };
        woken.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a moment.
pub(super) struct Sleep {
    time: Time,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.time.lock();
        if inner.elapsed >= self.key.0 {
            inner.waiting.remove(&self.key);
            return Poll::Ready(());
        }
        inner.waiting.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.time.lock().waiting.remove(&self.key);
    }
}

impl cluster::Clock for Time {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }
}

#[async_trait]
impl fleet::Clock for Time {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn elapsed(&self) -> Duration {
        Self::elapsed(self)
    }

    async fn sleep(&self, duration: Duration) {
        Self::sleep(self, duration).await;
    }

    fn jitter(&self) -> f64 {
        self.fraction()
    }
}
