//! Whether a question is asked again, and when.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::registry::remote::Fault;

/// How often things are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often at most, the first time included.
    pub attempts: u32,
    /// The pause after the first time; it doubles.
    pub base: Duration,
    /// The longest pause by ourselves.
    pub longest: Duration,
    /// The longest pause that a registry can ask for. Where it asks for more, the question fails.
    pub patience: Duration,
}

impl Retries {
    /// Things are tried once, and nothing is waited for.
    pub(crate) fn once(self) -> Self {
        Self {
            attempts: 1,
            patience: Duration::ZERO,
            ..self
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 4,
            base: Duration::from_millis(250),
            longest: Duration::from_secs(5),
            patience: Duration::from_secs(30),
        }
    }
}

/// The pause before asking again after the `attempt`th try (from 1) failed; none to give up.
///
/// `jitter` is from 0 to 1: half of each pause of our own is left to it, so that many hosts
/// do not ask at once. A registry's own wish is obeyed to the letter.
pub(super) fn pause(retries: &Retries, attempt: u32, fault: &Fault, jitter: f64) -> Option<Duration> {
    if attempt >= retries.attempts || !fault.is_transient() {
        return None;
    }
    let doubled = retries.base.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    let own = doubled.min(retries.longest).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    match fault.retry_after() {
        Some(wish) => (wish <= retries.patience).then(|| wish.max(own)),
        None => Some(own),
    }
}

/// Asks until there is an answer, or no hope for one.
pub(super) async fn again<T, F>(
    retries: &Retries,
    registry: &str,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T, Fault>
where
    F: Future<Output = Result<T, Fault>>,
{
    let mut attempt = 1;
    loop {
        let fault = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(fault) => fault,
        };
        let Some(pause) = pause(retries, attempt, &fault, rand::random()) else {
            return Err(fault);
        };
        let reason = fault.reason();
        tracing::debug!(registry, what, attempt, ?pause, reason, "asking the registry again");
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

/// No wish of a registry is obeyed for longer.
const LONGEST_WISH: Duration = Duration::from_secs(3600);

/// Reads `Retry-After`: seconds, or a time.
pub(super) fn retry_after(text: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST_WISH));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    let wish = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    Some(wish.min(LONGEST_WISH))
}

/// When a registry wants to be asked again: whoever asks next waits, whatever the question.
#[derive(Debug, Default)]
pub(super) struct Wish(Mutex<Option<Told>>);

/// What a registry wished, and with which status.
#[derive(Debug, Clone, Copy)]
struct Told {
    not_before: Instant,
    status: u16,
}

impl Wish {
    /// Notes what an answer wishes, if it does.
    pub(super) fn note(&self, fault: &Fault) {
        let status = match fault {
            Fault::Busy { status, .. } => *status,
            _ => 429,
        };
        if let Some(wish) = fault.retry_after() {
            let not_before = Instant::now() + wish;
            let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A shorter wish of another answer does not take this one back.
            if told.is_none_or(|told| told.not_before < not_before) {
                *told = Some(Told { not_before, status });
            }
        }
    }

    /// Waits until the registry may be asked; where that is longer than `patience`, says so at once.
    pub(super) async fn obeyed(&self, registry: &str, patience: Duration) -> Result<(), Fault> {
        let told = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some(Told { not_before, status }) = told.filter(|told| told.not_before > now) else {
            return Ok(());
        };
        let (registry, wait) = (registry.to_owned(), not_before - now);
        if wait <= patience {
            tokio::time::sleep_until(not_before).await;
            return Ok(());
        }
        Err(match status {
            429 => Fault::RateLimited {
                registry,
                retry_after: Some(wait),
            },
            status => Fault::Busy {
                registry,
                status,
                retry_after: wait,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRIES: Retries = Retries {
        attempts: 4,
        base: Duration::from_millis(100),
        longest: Duration::from_millis(300),
        patience: Duration::from_secs(30),
    };

    fn busy(seconds: u64) -> Fault {
        Fault::Busy {
            registry: "a.io".to_owned(),
            status: 503,
            retry_after: Duration::from_secs(seconds),
        }
    }

    fn failed() -> Fault {
        Fault::Failed {
            registry: "a.io".to_owned(),
            status: 503,
        }
    }

    fn limited(seconds: Option<u64>) -> Fault {
        Fault::RateLimited {
            registry: "a.io".to_owned(),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let told: Vec<_> = (1..=4)
            .map(|attempt| pause(&RETRIES, attempt, &failed(), 1.0))
            .collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(told, [ms(100), ms(200), ms(300), None]);
        assert_eq!(pause(&RETRIES, 1, &failed(), 0.0), ms(50));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_before_the_pause_is_over() {
        let begun = tokio::time::Instant::now();
        let mut asked = Vec::new();
        let answer = again(&RETRIES, "a.io", "a tag", || {
            asked.push(begun.elapsed().as_secs());
            std::future::ready(match asked.len() {
                1 => Err(limited(Some(7))),
                2 => Err(limited(Some(20))),
                _ => Ok("answer"),
            })
        });
        assert_eq!(answer.await.unwrap(), "answer");
        assert_eq!(asked, [0, 7, 27]);
    }

    #[test]
    fn what_does_not_mend_by_itself_is_not_asked_again() {
        let fault = Fault::Unauthorized {
            registry: "a.io".to_owned(),
        };
        assert_eq!(pause(&RETRIES, 1, &fault, 1.0), None);
    }

    #[test]
    fn a_registrys_wish_is_obeyed_or_the_question_fails() {
        assert_eq!(pause(&RETRIES, 1, &limited(Some(7)), 0.0), Some(Duration::from_secs(7)));
        assert_eq!(pause(&RETRIES, 1, &limited(Some(31)), 0.0), None);
        assert_eq!(
            pause(&RETRIES, 1, &limited(None), 1.0),
            Some(Duration::from_millis(100))
        );
    }

    #[test]
    fn one_that_failed_and_says_until_when_is_obeyed_as_well() {
        assert_eq!(pause(&RETRIES, 1, &busy(7), 0.0), Some(Duration::from_secs(7)));
        assert_eq!(pause(&RETRIES, 1, &busy(31), 0.0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_answer_wished_is_obeyed_by_every_question_after_it() {
        let (wish, patience) = (Wish::default(), Duration::from_secs(30));
        wish.note(&failed());
        wish.obeyed("a.io", patience).await.unwrap();
        wish.note(&limited(Some(100)));
        wish.note(&limited(Some(5)));
        let begun = Instant::now();
        let fault = wish.obeyed("a.io", patience).await.unwrap_err();
        assert_eq!(fault.retry_after(), Some(Duration::from_secs(100)));
        tokio::time::advance(Duration::from_secs(80)).await;
        wish.obeyed("a.io", patience).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(100));
        wish.obeyed("a.io", patience).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(100));
        wish.note(&busy(60));
        let fault = wish.obeyed("a.io", patience).await.unwrap_err();
        assert_eq!(
            (fault.reason(), fault.retry_after()),
            ("RegistryFailed", Some(Duration::from_secs(60)))
        );
    }

    #[test]
    fn a_wish_is_seconds_or_a_time() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(retry_after("17", now), Some(Duration::from_secs(17)));
        assert_eq!(
            retry_after("Mon, 23 Nov 2026 10:00:05 GMT", now),
            Some(Duration::from_secs(5))
        );
        assert_eq!(retry_after("Mon, 23 Nov 2026 09:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("1000000000", now), Some(LONGEST_WISH));
        assert_eq!(retry_after("Mon, 23 Nov 2037 10:00:05 GMT", now), Some(LONGEST_WISH));
    }
}
