//! When a watch that ended is begun again. Pure, but for the sleep.

use std::time::Duration;

use rand::Rng as _;

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);
/// What lives for so long works: it ended as everything ends once.
const STEADY: Duration = Duration::from_secs(1);

/// The pauses of one watch.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// How long to pause after something that ended without a failure, `lived` after it began: not at all after a
    /// steady life, else longer each time.
    pub(super) fn ended(&mut self, lived: Duration) -> Option<Duration> {
        if lived >= STEADY {
            *self = Self::default();
            return None;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        Some(pause)
    }

    /// How long to pause after something that failed, `lived` after it began to work: longer each time, and as at
    /// first after a steady life.
    pub(super) fn failed(&mut self, lived: Duration) -> Duration {
        self.ended(lived)
            .or_else(|| self.ended(Duration::ZERO))
            .unwrap_or(FIRST)
    }
}

/// Pauses for about this time, so that not all watches come back at once.
pub(super) async fn pause(about: Duration) {
    let spread = rand::rng().random_range(0.75..1.25);
    tokio::time::sleep(about.mul_f64(spread)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(3);

    #[test]
    fn what_ends_at_once_is_begun_again_ever_later() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..7)
            .filter_map(|_| backoff.ended(AT_ONCE))
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    }

    #[test]
    fn what_lived_for_a_while_is_begun_again_at_once_and_after_a_failure_soon() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.ended(AT_ONCE);
        }
        assert_eq!(backoff.ended(STEADY), None);
        assert_eq!(backoff.failed(AT_ONCE), FIRST);
        assert_eq!(backoff.failed(AT_ONCE), FIRST * 2);
        assert_eq!(backoff.failed(STEADY), FIRST);
    }
}
