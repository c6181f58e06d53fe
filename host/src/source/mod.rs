//! Bytes -> [`Event`].
//!
//! Owns how events arrive and how they are acknowledged. Knows nothing of adapters: an
//! event is handed to a [`Sink`], and acknowledged when the sink says that it is settled.
//!
//! HTTP answers its senders itself. A broker is a [`Source`]: it pulls messages, hands each
//! to its [`Intake`], and does with it what the intake answers ([`Settle`]). What that is, is
//! decided in one place for all brokers (`settle`).
//!
//! # Guarantees
//! - An event is acknowledged only after [`Settled::Done`], or when a newer one for the same
//!   subject stays unacknowledged in its place.
//! - What can never succeed is set aside with a reason: never sent round for ever, never dropped
//!   silently.
//! - No more messages are pulled than the source's bound on work in flight.
//! - Nothing of an event is a secret, and no credential is ever logged.

mod check;
mod decode;
pub mod http;
mod intake;
pub mod nats;
pub mod pubsub;
pub mod rabbitmq;
mod settle;

use std::{error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_engine::subject::Event;
use tokio_util::sync::CancellationToken;

pub use decode::{Refusal, decode};
pub use intake::{Intake, Message, Policy, State};
pub use settle::{Decoded, Settle, settle};

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Every adapter that it concerns has reported, or its subject is gone.
    Done,
    /// It must be sent again.
    Retry {
        /// Not before this time has passed.
        after: Duration,
        /// Whether it is the event's own failure. An API that is away, or an adapter that is not
        /// live yet, speaks against no event, however often it is sent in vain.
        counts: bool,
    },
    /// It can never be reported on, however often it is sent.
    Refused {
        /// PascalCase and stable.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

impl Settled {
    /// Takes in what became of the same event elsewhere. It is sent again if that helps anybody;
    /// what was refused is refused again then.
    pub fn join(&mut self, other: &Self) {
        match (&mut *self, other) {
            (
                Self::Retry { after, counts },
                Self::Retry {
                    after: other,
                    counts: others,
                },
            ) => {
                *after = (*after).max(*other);
                *counts |= others;
            }
            (Self::Retry { .. }, Self::Done | Self::Refused { .. })
            | (Self::Refused { .. }, Self::Done | Self::Refused { .. })
            | (Self::Done, Self::Done) => {}
            (Self::Refused { .. }, Self::Retry { .. }) | (Self::Done, Self::Retry { .. } | Self::Refused { .. }) => {
                *self = other.clone();
            }
        }
    }
}

/// Where events go.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Takes an event and answers when it is settled. It is not cancelled when its sender
    /// loses patience.
    async fn accept(&self, event: Event) -> Settled;

    /// Hears of an event that was refused unseen: its sender was told so. `reason` is one of
    /// [`Refusal::reason`] or of the source's own.
    fn refused(&self, reason: &'static str);

    /// Hears of a message that was set aside: nobody should send it again. `reason` as above, or
    /// that of [`Settled::Refused`].
    fn set_aside(&self, reason: &'static str);
}

/// A broker's subscription.
///
/// Whoever runs it reconnects: an error is logged and shown, and `run` is called again after
/// a while that grows. So an implementation connects, says [`Intake::connected`], pulls, and
/// returns the error that ended it; it needs no reconnecting of its own.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The broker, as metrics and logs name it: `rabbitmq`, `pubsub`, `nats`.
    fn name(&self) -> &'static str;

    /// Receives until `stop` is cancelled or the connection breaks.
    ///
    /// At most as many messages are in flight as the source's settings say. Each is handed
    /// to [`Intake::deliver`] in a task of its own, and acknowledged as that answers. When
    /// `stop` is cancelled: no more messages are pulled, those in flight are waited for
    /// (the intake answers soon then), and what is not acknowledged is given back to the broker.
    ///
    /// # Errors
    /// Why it cannot go on. The text tells what failed and, where one helps, a hint; never a credential.
    async fn run(&self, intake: Arc<Intake>, stop: CancellationToken) -> Result<(), Box<dyn Error + Send + Sync>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_sent_again_if_that_helps_anybody_and_set_aside_if_nobody() {
        let retry = |seconds| Settled::Retry {
            after: Duration::from_secs(seconds),
            counts: seconds > 5,
        };
        let refused = || Settled::Refused {
            reason: "ReportRejected",
            message: String::new(),
        };
        let joined = |mut one: Settled, other: Settled| {
            one.join(&other);
            one
        };
        for (one, other, expected) in [
            (Settled::Done, Settled::Done, Settled::Done),
            (Settled::Done, retry(1), retry(1)),
            (retry(1), retry(7), retry(7)),
            (Settled::Done, refused(), refused()),
            (refused(), retry(1), retry(1)),
        ] {
            assert_eq!(joined(one.clone(), other.clone()), expected);
            assert_eq!(joined(other, one), expected);
        }
    }
}
