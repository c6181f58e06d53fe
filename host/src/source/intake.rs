//! The way of a message from a broker to the sink, the same for every broker.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_engine::subject::{Event, Generation, SubjectKey};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Decoded, Refusal, Settle, Settled, Sink, decode, settle};

/// A message as a broker delivers it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What the broker calls it, for logs; may be empty.
    pub id: &'a str,
    /// Its body: a CloudEvent in structured mode, as JSON.
    pub body: &'a [u8],
    /// How often it was delivered, this time included, where the broker counts.
    pub attempt: Option<u32>,
}

/// How a subscription treats messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The largest body, in bytes.
    pub max_bytes: usize,
    /// The attempt after which a message that did not succeed is set aside; none for never.
    pub max_attempts: Option<NonZeroU32>,
    /// How long a message that must be retried is kept here, unacknowledged, and handed on
    /// again and again, before it is given back. Zero for brokers that delay by themselves.
    pub hold: Duration,
}

/// Whether a source receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not connected yet.
    Connecting,
    /// It receives.
    Connected,
    /// It does not receive, because of this; it is tried again.
    Broken(String),
}

/// Where one subscription hands its messages to.
pub struct Intake {
    sink: Arc<dyn Sink>,
    policy: Policy,
    stop: CancellationToken,
    state: watch::Sender<State>,
    held: Mutex<Held>,
}

/// Messages that wait to be handed on again, one a subject.
#[derive(Default)]
struct Held {
    next: u64,
    by_subject: HashMap<SubjectKey, Waiting>,
}

struct Waiting {
    ticket: u64,
    generation: Generation,
    /// Told when a newer message takes its place.
    superseded: oneshot::Sender<()>,
}

/// A place among those held, given up when it is dropped.
struct Place<'a> {
    intake: &'a Intake,
    subject: &'a SubjectKey,
    ticket: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut held = self.intake.held();
        if held
            .by_subject
            .get(self.subject)
            .is_some_and(|one| one.ticket == self.ticket)
        {
            held.by_subject.remove(self.subject);
        }
    }
}

/// How a wait ended.
enum Waited {
    Elapsed,
    Superseded,
    Stopped,
}

impl Intake {
    /// An intake of one subscription. After `stop` nothing is held any more.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>, policy: Policy, stop: CancellationToken) -> Self {
        Self {
            sink,
            policy,
            stop,
            state: watch::Sender::new(State::Connecting),
            held: Mutex::default(),
        }
    }

    /// The source says that it receives now.
    pub fn connected(&self) {
        self.state.send_replace(State::Connected);
    }

    /// The source says that it does not receive, and why. Never a credential.
    pub fn broken(&self, why: String) {
        self.state.send_replace(State::Broken(why));
    }

    /// Whether the source receives.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Hands a message on and answers what becomes of it. Takes as long as the work on it;
    /// the caller bounds how many are under way.
    pub async fn deliver(&self, message: Message<'_>) -> Settle {
        let limit = self.policy.max_bytes;
        let event = match message.body.len() {
            bytes if bytes > limit => Err(settle(&Decoded::TooLarge { bytes, limit }, None, None)),
            _ => serde_json::from_slice(message.body)
                .map_err(Refusal::NotJson)
                .and_then(decode)
                .map_err(|refusal| settle(&Decoded::Refused(&refusal), None, None)),
        };
        let settle = match event {
            Ok(event) => self.hand_on(event, message.attempt).await,
            Err(never) => never,
        };
        if let Settle::SetAside { reason, message: why } = &settle {
            self.sink.set_aside(reason);
            tracing::warn!(
                message_id = message.id,
                attempt = message.attempt,
                reason,
                why,
                "a message is set aside"
            );
            tracing::debug!(message_id = message.id, body = %beginning(message.body), "the message that is set aside");
        }
        settle
    }

    /// The broker says that it will not deliver a message any more, which nobody answered.
    pub fn given_up(&self, id: &str, attempts: u32) {
        let reason = "DeliveriesExhausted";
        self.sink.set_aside(reason);
        tracing::warn!(
            message_id = id,
            attempts,
            reason,
            "the broker gave a message up that was never answered; did its work end the host?"
        );
    }

    async fn hand_on(&self, event: Event, attempt: Option<u32>) -> Settle {
        let until = tokio::time::Instant::now() + self.policy.hold;
        loop {
            let settled = self.sink.accept(event.clone()).await;
            let after = match &settled {
                // Whether it would have succeeded is not known: the host gave it up.
                Settled::Retry { .. } if self.stop.is_cancelled() => return Settle::RetryAfter(Duration::ZERO),
                Settled::Retry { after } if tokio::time::Instant::now() + *after <= until => *after,
                Settled::Retry { .. } | Settled::Refused { .. } | Settled::Done => {
                    return settle(&Decoded::Handled(&settled), attempt, self.policy.max_attempts);
                }
            };
            match self.wait(&event, after).await {
                Waited::Elapsed => {}
                Waited::Superseded => return Settle::Ack,
                Waited::Stopped => return Settle::RetryAfter(Duration::ZERO),
            }
        }
    }

    /// Waits with others that are held. Of those for one subject the newest stays: it stands
    /// for all, since an event only says that its subject must be looked at.
    async fn wait(&self, event: &Event, after: Duration) -> Waited {
        let subject = &event.subject.key;
        let (superseded, newer) = oneshot::channel();
        let ticket = {
            let mut held = self.held();
            let known = held.by_subject.get(subject).map(|one| one.generation);
            if known.is_some_and(|known| known > event.subject.generation) {
                return Waited::Superseded;
            }
            held.next += 1;
            let ticket = held.next;
            let place = Waiting {
                ticket,
                generation: event.subject.generation,
                superseded,
            };
            if let Some(older) = held.by_subject.insert(subject.clone(), place) {
                // It may be waking up at this moment; then both go on, which is harmless.
                let _ = older.superseded.send(());
            }
            ticket
        };
        let _place = Place {
            intake: self,
            subject,
            ticket,
        };
        tokio::select! {
            () = self.stop.cancelled() => Waited::Stopped,
            // The sender is dropped only with the place, which lives as long as this.
            _ = newer => Waited::Superseded,
            () = tokio::time::sleep(after) => Waited::Elapsed,
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enough of a body to recognise it by.
fn beginning(body: &[u8]) -> String {
    const SHOWN: usize = 1_024;
    String::from_utf8_lossy(body.get(..SHOWN).unwrap_or(body)).into_owned()
}

#[cfg(test)]
mod tests;
