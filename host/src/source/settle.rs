//! What becomes of a message. Decided here for all brokers, from plain values.

use std::{error::Error as _, num::NonZeroU32, time::Duration};

use super::{Refusal, Settled};

/// What a source does with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settle {
    /// Acknowledge it.
    Ack,
    /// Give it back, so that it is delivered again, not before this time has passed. Zero
    /// when the host stops: another host may take it at once.
    RetryAfter(Duration),
    /// Put it where the broker keeps what cannot be handled. Where there is no such place,
    /// acknowledge it: it has been logged and counted.
    SetAside {
        /// PascalCase and stable.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

/// How far a message came.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// It is larger than allowed.
    TooLarge {
        /// Its size, in bytes.
        bytes: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// It is not an event that can be handled.
    Refused(&'a Refusal),
    /// It was handed on.
    Handled(&'a Settled),
}

/// Decides what becomes of a message.
///
/// `attempt` counts from 1: deliveries, where the broker counts them, and what failed since.
/// `limit` is the last attempt after which a message that failed by itself is set aside; one that
/// only met an outage never is.
#[must_use]
pub fn settle(decoded: &Decoded<'_>, attempt: u32, limit: Option<NonZeroU32>) -> Settle {
    match decoded {
        Decoded::TooLarge { bytes, limit } => Settle::SetAside {
            reason: "BodyTooLarge",
            message: format!("the message has {bytes} bytes, more than {limit}"),
        },
        Decoded::Refused(refusal) => Settle::SetAside {
            reason: refusal.reason(),
            message: match refusal.source() {
                Some(cause) => format!("{refusal}: {cause}"),
                None => refusal.to_string(),
            },
        },
        Decoded::Handled(Settled::Done) => Settle::Ack,
        Decoded::Handled(Settled::Refused { reason, message }) => Settle::SetAside {
            reason,
            message: message.clone(),
        },
        Decoded::Handled(Settled::Retry { after, counts }) => match limit {
            Some(limit) if *counts && attempt >= limit.get() => Settle::SetAside {
                reason: "AttemptsExhausted",
                message: format!("it failed in {attempt} attempts; {limit} are allowed"),
            },
            Some(_) | None => Settle::RetryAfter(*after),
        },
    }
}

/// What becomes of a message before it is handed on that was delivered too often: each time
/// before, nobody answered. None if it may be handed on.
pub(super) fn exhausted(delivery: Option<u32>, limit: Option<NonZeroU32>) -> Option<Settle> {
    let (delivery, limit) = delivery.zip(limit)?;
    (delivery > limit.get()).then(|| Settle::SetAside {
        reason: "DeliveriesExhausted",
        message: format!(
            "it was delivered {delivery} times, and {limit} are allowed; did its work end the hosts that had it?"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<NonZeroU32> = NonZeroU32::new(3);

    fn later(counts: bool) -> Settled {
        let after = Duration::from_secs(7);
        Settled::Retry { after, counts }
    }

    fn reason(settle: &Settle) -> Option<&'static str> {
        match settle {
            Settle::SetAside { reason, .. } => Some(reason),
            Settle::Ack | Settle::RetryAfter(_) => None,
        }
    }

    #[test]
    fn what_is_reported_is_acknowledged_however_often_it_was_tried() {
        for attempt in [1, 1_000] {
            assert_eq!(settle(&Decoded::Handled(&Settled::Done), attempt, LIMIT), Settle::Ack);
        }
    }

    #[test]
    fn what_fails_by_itself_is_given_back_until_its_attempts_are_exhausted() {
        let back = Settle::RetryAfter(Duration::from_secs(7));
        assert_eq!(settle(&Decoded::Handled(&later(true)), 1, LIMIT), back);
        assert_eq!(settle(&Decoded::Handled(&later(true)), 2, LIMIT), back);
        for attempt in [3, 4] {
            let last = settle(&Decoded::Handled(&later(true)), attempt, LIMIT);
            assert_eq!(reason(&last), Some("AttemptsExhausted"));
        }
    }

    #[test]
    fn an_outage_exhausts_no_attempts() {
        let back = Settle::RetryAfter(Duration::from_secs(7));
        assert_eq!(settle(&Decoded::Handled(&later(false)), u32::MAX, LIMIT), back);
    }

    #[test]
    fn what_is_refused_for_good_is_set_aside_at_the_first_attempt_with_its_own_reason() {
        let refused = Settled::Refused {
            reason: "ReportRejected",
            message: "400: no such condition".to_owned(),
        };
        let expected = Settle::SetAside {
            reason: "ReportRejected",
            message: "400: no such condition".to_owned(),
        };
        assert_eq!(settle(&Decoded::Handled(&refused), 1, LIMIT), expected);
        assert_eq!(settle(&Decoded::Handled(&refused), 1, None), expected);
    }

    #[test]
    fn what_was_delivered_too_often_is_not_handed_on_any_more() {
        assert_eq!(exhausted(Some(3), LIMIT), None, "the last chance");
        assert_eq!(
            exhausted(Some(4), LIMIT).as_ref().and_then(reason),
            Some("DeliveriesExhausted")
        );
        assert_eq!(exhausted(None, LIMIT), None);
        assert_eq!(exhausted(Some(4), None), None);
    }

    #[test]
    fn without_a_limit_no_attempt_is_the_last() {
        let back = Settle::RetryAfter(Duration::from_secs(7));
        assert_eq!(settle(&Decoded::Handled(&later(true)), u32::MAX, None), back);
    }

    #[test]
    fn what_can_never_be_handled_is_set_aside_at_once_with_its_reason_and_cause() {
        let broken = serde_json::from_str::<serde_json::Value>("{").map_err(Refusal::NotJson);
        let refusal = broken.err().unwrap();
        let Settle::SetAside { reason, message } = settle(&Decoded::Refused(&refusal), 1, LIMIT) else {
            panic!("it is not set aside");
        };
        assert_eq!(reason, "EventNotJson");
        assert!(message.starts_with("the event is not JSON: EOF"), "{message}");
        let large = settle(&Decoded::TooLarge { bytes: 9, limit: 8 }, 1, None);
        assert_eq!(self::reason(&large), Some("BodyTooLarge"));
    }
}
