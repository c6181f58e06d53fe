//! Measures how long a guest runs, apart from the time it waits for the host.
//!
//! The clock runs only while the call's future is polled and no import of ours is. So a
//! guest is not blamed for a busy executor, nor for a slow API.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

/// A stopwatch for one call.
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    /// Nanoseconds of finished spells.
    spent: AtomicU64,
    /// When the present spell began, in nanoseconds after `start`, plus one; 0 between spells.
    since: AtomicU64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            spent: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// How long the guest has run.
    pub(crate) fn guest_time(&self) -> Duration {
        let running = match self.since.load(Relaxed) {
            0 => 0,
            since => (self.now() + 1).saturating_sub(since),
        };
        Duration::from_nanos(self.spent.load(Relaxed) + running)
    }

    /// Runs `future` with the stopwatch on.
    pub(crate) async fn inside<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.resume();
            let polled = future.as_mut().poll(context);
            self.pause();
            polled
        })
        .await
    }

    /// Runs `future`, within [`Meter::inside`], with the stopwatch off.
    pub(crate) async fn outside<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.pause();
            let polled: Poll<F::Output> = future.as_mut().poll(context);
            self.resume();
            polled
        })
        .await
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX - 1)
    }

    fn resume(&self) {
        self.since.store(self.now() + 1, Relaxed);
    }

    fn pause(&self) {
        let since = self.since.swap(0, Relaxed);
        if since > 0 {
            self.spent.fetch_add((self.now() + 1).saturating_sub(since), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn busy(duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn waiting_and_the_hosts_work_are_not_the_guests_time() {
        let meter = Meter::new();
        let hosts = Cell::new(Duration::ZERO);
        let mut called = pin!(meter.inside(async {
            busy(Duration::from_millis(2));
            let work = async {
                let since = Instant::now();
                busy(Duration::from_millis(20));
                hosts.set(since.elapsed());
            };
            meter.outside(work).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }));
        // A busy machine makes each part longer, so that each is measured.
        let mut polled = Duration::ZERO;
        poll_fn(|context| {
            let since = Instant::now();
            let poll = called.as_mut().poll(context);
            polled += since.elapsed();
            poll
        })
        .await;
        let time = meter.guest_time();
        assert!(time >= Duration::from_millis(2), "{time:?}");
        assert!(time + hosts.get() <= polled, "{time:?} of {polled:?}");
    }
}
