//! When an attempt is repeated, and after how long.

use std::time::Duration;

use jiff::Timestamp;

use super::transport::{Response, TransportError};

/// The wait after the first attempt; doubled after each further one.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer, unless the API asks for it.
const LONGEST: Duration = Duration::from_secs(2);
/// A longer wait cannot be meant.
const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// Whether a request may be sent again although it may have been executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It may: executing it twice is the same as once.
    Freely,
    /// Only if it was certainly not executed.
    IfUnsent,
}

impl Repeat {
    /// What HTTP says of a method.
    pub(super) fn of(method: &str) -> Self {
        match method {
            "GET" | "PUT" | "DELETE" => Self::Freely,
            _ => Self::IfUnsent,
        }
    }

    /// Whether an attempt that was answered with `status` is worth another.
    pub(super) fn after_status(self, status: u16) -> bool {
        match self {
            Self::Freely => transient(status),
            Self::IfUnsent => matches!(status, 429 | 503),
        }
    }

    /// Whether an attempt that failed so is worth another.
    pub(super) fn after_error(self, error: &TransportError) -> bool {
        match error {
            TransportError::Connect(_) => true,
            TransportError::Broken(_) | TransportError::Timeout(_) => self == Self::Freely,
            TransportError::TooLarge(_) | TransportError::Invalid(_) => false,
        }
    }
}

/// Whether a status says nothing about the request, only about the moment.
pub(super) fn transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

/// The wait after attempt number `attempt` (from 0): exponential, between half and all of
/// it by `jitter` (0 to 1), so that hosts do not return in step.
pub(super) fn backoff(attempt: u32, jitter: f64) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// How long the API asks to wait: seconds, or a date by its own clock. A day at most.
pub(super) fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST_ASKED));
    }
    let date = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    let until = date(value)?;
    let now = response.header("date").and_then(date).unwrap_or(now);
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(wait.min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use ::http::{
        HeaderValue,
        header::{DATE, RETRY_AFTER},
    };
    use bytes::Bytes;

    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_vary_by_half() {
        let waits: Vec<(u128, u128)> = [0, 1, 2, 3, 10, 1000]
            .into_iter()
            .map(|attempt| (backoff(attempt, 0.0).as_millis(), backoff(attempt, 1.0).as_millis()))
            .collect();

        assert_eq!(
            waits,
            [
                (50, 100),
                (100, 200),
                (200, 400),
                (400, 800),
                (1000, 2000),
                (1000, 2000)
            ]
        );
    }

    #[test]
    fn only_what_says_nothing_about_the_request_is_repeated() {
        let repeated: Vec<u16> = (100..600)
            .filter(|status| Repeat::Freely.after_status(*status))
            .collect();

        assert_eq!(repeated, [vec![408, 429], (500..600).collect()].concat());
        assert_eq!(
            (100..600)
                .filter(|status| Repeat::IfUnsent.after_status(*status))
                .collect::<Vec<_>>(),
            [429, 503]
        );
    }

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_by_a_date_of_the_servers_clock() {
        let response = |value| Response {
            status: 429,
            headers: Box::new(
                [(RETRY_AFTER, value), (DATE, "Fri, 21 Aug 2026 12:00:00 GMT")]
                    .map(|(name, value)| (name, HeaderValue::from_static(value)))
                    .into_iter()
                    .collect(),
            ),
            body: Bytes::new(),
        };
        let now = Timestamp::UNIX_EPOCH;

        assert_eq!(retry_after(&response("7"), now), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after(&response("Fri, 21 Aug 2026 12:00:30 GMT"), now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            retry_after(&response("Fri, 21 Aug 2026 11:00:00 GMT"), now),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after(&response("18446744073709551615"), now), Some(LONGEST_ASKED));
        assert_eq!(
            retry_after(&response("Fri, 21 Aug 2099 11:00:00 GMT"), now),
            Some(LONGEST_ASKED)
        );
        assert_eq!(retry_after(&response("soon"), now), None);
    }
}
