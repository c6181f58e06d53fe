//! Bytes -> [`Event`].
//!
//! Owns how events arrive and how they are acknowledged. Knows nothing of adapters: an
//! event is handed to a [`Sink`], and acknowledged when the sink says that it is settled.
//!
//! # Guarantees
//! - An event is acknowledged only after [`Settled::Done`].
//! - What can never succeed is refused with a reason, so that its sender stops.
//! - Nothing of an event is a secret, and no credential is ever logged.

mod check;
mod decode;
pub mod http;

use std::time::Duration;

use async_trait::async_trait;
use berth_engine::subject::Event;

pub use decode::{Refusal, decode};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Every adapter that it concerns has reported, or its subject is gone.
    Done,
    /// It must be sent again.
    Retry {
        /// Not before this time has passed.
        after: Duration,
    },
}

/// Where events go.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Takes an event and answers when it is settled. It is not cancelled when its sender
    /// loses patience.
    async fn accept(&self, event: Event) -> Settled;

    /// Hears of an event that was refused; `reason` is one of [`Refusal::reason`] or of the
    /// source's own.
    fn refused(&self, reason: &'static str);
}
