//! Time, as something that is handed in.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;

/// What time it is, and waiting.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The time of day. It may be wrong, and it may jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment. It never goes back.
    fn elapsed(&self) -> Duration;

    /// Returns when `duration` has passed.
    async fn sleep(&self, duration: Duration);

    /// A number from 0 up to 1, which spreads retries.
    fn jitter(&self) -> f64 {
        rand::random()
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::elapsed`] begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
