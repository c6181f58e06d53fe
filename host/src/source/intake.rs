//! The way of a message from a broker to the sink, the same for every broker.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use berth_engine::subject::{Event, Generation, SubjectKey};
use futures::FutureExt as _;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Decoded, Refusal, Settle, Settled, Sink, decode, settle, settle::exhausted};

/// When an event comes again whose handling panicked, or a copy of a message that is set aside.
const AFTER_PANIC: Duration = Duration::from_secs(30);

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
    /// The attempt after which a message that fails by itself is set aside; none for never. The
    /// broker's own limit counts too, see [`Intake::delivers_at_most`].
    pub max_attempts: Option<NonZeroU32>,
    /// How long a message that must be retried is kept here, unacknowledged, and handed on
    /// again and again, before it is given back: another host may be luckier.
    pub hold: Duration,
    /// Whether it is kept for longer where the broker would not deliver it again.
    pub keeps_last: bool,
}

impl Policy {
    /// How long a message of this delivery is kept at most; none for as long as it takes.
    fn keeps(&self, delivery: Option<u32>, limit: Option<NonZeroU32>) -> Option<Duration> {
        let is_last = delivery
            .zip(limit)
            .is_some_and(|(delivery, limit)| delivery >= limit.get());
        (!(is_last && self.keeps_last)).then_some(self.hold)
    }
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
    /// How often the broker delivers a message at most; 0 for no bound.
    deliveries: AtomicU32,
    standing: Mutex<Standing>,
    held: Mutex<Held>,
}

/// How long the source received without a break.
#[derive(Debug, Default)]
struct Standing {
    since: Option<tokio::time::Instant>,
    longest: Duration,
}

impl Standing {
    fn ends(&mut self, now: tokio::time::Instant) {
        if let Some(since) = self.since.take() {
            self.longest = self.longest.max(now.duration_since(since));
        }
    }
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
    /// The event's id, by which another copy of the same message is known.
    event: String,
    /// Told what takes its place.
    replaced: oneshot::Sender<Replaced>,
}

/// What takes the place of a message that is held.
enum Replaced {
    /// A newer one for the same subject.
    Newer,
    /// Another copy of the same message, and what becomes of that.
    Copy(oneshot::Receiver<Settle>),
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
    Replaced(Replaced),
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
            deliveries: AtomicU32::new(0),
            standing: Mutex::default(),
            held: Mutex::default(),
        }
    }

    /// The source says how often the broker delivers a message before it gives it up or sets it
    /// aside by itself; none for no bound. The lower of this and the policy's limit holds.
    pub fn delivers_at_most(&self, deliveries: Option<NonZeroU32>) {
        let deliveries = deliveries.map_or(0, NonZeroU32::get);
        self.deliveries.store(deliveries, Ordering::Relaxed);
    }

    /// The last attempt.
    fn limit(&self) -> Option<NonZeroU32> {
        let brokers = NonZeroU32::new(self.deliveries.load(Ordering::Relaxed));
        match (self.policy.max_attempts, brokers) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (one, None) | (None, one) => one,
        }
    }

    /// The source says that it receives now.
    pub fn connected(&self) {
        self.standing().since.get_or_insert_with(tokio::time::Instant::now);
        self.state.send_replace(State::Connected);
    }

    /// The source says that it does not receive, and why. Never a credential.
    pub fn broken(&self, why: String) {
        self.standing().ends(tokio::time::Instant::now());
        self.state.send_replace(State::Broken(why));
    }

    /// For how long the source received without a break, at most, since this was last asked.
    pub fn stood(&self) -> Duration {
        let mut standing = self.standing();
        standing.ends(tokio::time::Instant::now());
        std::mem::take(&mut standing.longest)
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
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
            bytes if bytes > limit => Err(settle(&Decoded::TooLarge { bytes, limit }, 1, None)),
            _ => serde_json::from_slice(message.body)
                .map_err(Refusal::NotJson)
                .and_then(decode)
                .map_err(|refusal| settle(&Decoded::Refused(&refusal), 1, None)),
        };
        let exhausted = exhausted(message.attempt, self.limit());
        let settle = match (event, exhausted) {
            (Err(never), _) => never,
            // It was never answered: most likely its work ends hosts.
            (Ok(_), Some(exhausted)) => exhausted,
            (Ok(event), None) => self.hand_on(event, message.attempt).await,
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

    /// What was set aside has no place at the broker: the log has all that is left of it.
    pub fn not_kept(&self, message: &Message<'_>, reason: &str, why: &str) {
        self.sink.refused("DeadLetterPlaceMissing");
        tracing::error!(
            message_id = message.id,
            reason,
            why,
            body = %beginning(message.body),
            "a message that was set aside is kept in this log only"
        );
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

    async fn hand_on(&self, event: Event, delivery: Option<u32>) -> Settle {
        let mut copies = Vec::new();
        let settle = self.settle(&event, delivery, &mut copies).await;
        for copy in copies {
            // Its connection may have gone.
            let _: Result<(), Settle> = copy.send(settle.clone());
        }
        settle
    }

    async fn settle(&self, event: &Event, delivery: Option<u32>, copies: &mut Vec<oneshot::Sender<Settle>>) -> Settle {
        let until = self
            .policy
            .keeps(delivery, self.limit())
            .map(|hold| tokio::time::Instant::now() + hold);
        let mut attempt = delivery.unwrap_or(1);
        loop {
            let settled = self.accept(event).await;
            let settle = settle(&Decoded::Handled(&settled), attempt, self.limit());
            let (Settled::Retry { counts, .. }, Settle::RetryAfter(after)) = (&settled, &settle) else {
                return settle;
            };
            // Whether it would have succeeded is not known: the host gave it up.
            if self.stop.is_cancelled() {
                return Settle::RetryAfter(Duration::ZERO);
            }
            if until.is_some_and(|until| tokio::time::Instant::now() + *after > until) {
                return settle;
            }
            attempt = attempt.saturating_add(u32::from(*counts));
            match self.wait(event, *after, copies).await {
                Waited::Elapsed => {}
                Waited::Replaced(Replaced::Newer) => return Settle::Ack,
                Waited::Replaced(Replaced::Copy(other)) => return with_copy(other.await.ok()),
                Waited::Stopped => return Settle::RetryAfter(Duration::ZERO),
            }
        }
    }

    /// Hands an event to the sink. A panic fails this event and no other.
    async fn accept(&self, event: &Event) -> Settled {
        match AssertUnwindSafe(self.sink.accept(event.clone())).catch_unwind().await {
            Ok(settled) => settled,
            Err(_) => {
                tracing::error!(
                    event = event.id,
                    "handling an event panicked; this is a defect of berth"
                );
                Settled::Retry {
                    after: AFTER_PANIC,
                    counts: true,
                }
            }
        }
    }

    /// Waits with others that are held. Of those for one subject the newest stays: it stands
    /// for all, since an event only says that its subject must be looked at. Of two copies of one
    /// message neither may be acknowledged before the other: to some brokers that is the same.
    async fn wait(&self, event: &Event, after: Duration, copies: &mut Vec<oneshot::Sender<Settle>>) -> Waited {
        let subject = &event.subject.key;
        let (replaced, newer) = oneshot::channel();
        let ticket = {
            let mut held = self.held();
            let is_older = |one: &Waiting| one.generation > event.subject.generation && one.event != event.id;
            if held.by_subject.get(subject).is_some_and(is_older) {
                return Waited::Replaced(Replaced::Newer);
            }
            held.next += 1;
            let ticket = held.next;
            let place = Waiting {
                ticket,
                generation: event.subject.generation,
                event: event.id.clone(),
                replaced,
            };
            if let Some(older) = held.by_subject.insert(subject.clone(), place) {
                let by = if older.event == event.id {
                    let (copy, settle) = oneshot::channel();
                    copies.push(copy);
                    Replaced::Copy(settle)
                } else {
                    Replaced::Newer
                };
                // It may be waking up at this moment; then both go on, which is harmless.
                let _: Result<(), Replaced> = older.replaced.send(by);
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
            Ok(by) = newer => Waited::Replaced(by),
            () = tokio::time::sleep(after) => Waited::Elapsed,
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a message of which this became of another copy. Only one of them is set aside;
/// where that does not succeed the broker must still have it.
fn with_copy(other: Option<Settle>) -> Settle {
    match other {
        Some(Settle::Ack) => Settle::Ack,
        Some(Settle::RetryAfter(after)) => Settle::RetryAfter(after),
        Some(Settle::SetAside { .. }) => Settle::RetryAfter(AFTER_PANIC),
        None => Settle::RetryAfter(Duration::ZERO),
    }
}

/// Enough of a body to recognise it by.
fn beginning(body: &[u8]) -> String {
    const SHOWN: usize = 1_024;
    String::from_utf8_lossy(body.get(..SHOWN).unwrap_or(body)).into_owned()
}

#[cfg(test)]
mod tests;
