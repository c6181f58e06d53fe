//! One reconcile: from a trigger to a report, one effect at a time.
//!
//! [`Reconcile::next`] is handed the answer to the effect before and says which comes next.
//! Inside it is straight-line code: an `async` block that is polled by hand and is pending
//! exactly while an effect is unanswered. Nothing here needs a runtime, a clock or a socket,
//! so the driver of production, the demo and the tests run the same bytes.
//!
//! # Guarantees
//! - A reconcile ends in a report, in a subject that is gone, in [`Outcome::Retry`], or, where the
//!   HyperFleet API refuses for good, in [`Outcome::Refused`].
//! - While a subject is being deleted only what the adapter declares for it is created.
//! - An object of a newer generation is never touched.

mod deletion;
mod evidence;
mod io;
mod live;
mod places;
mod plan;
mod row;
mod run;
mod say;
mod start;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    adapter::Adapter,
    contract::Trigger,
    effect::{Answer, Effect},
    reason::Reason,
    report::Journey,
    subject::{Generation, SubjectRef},
};

use io::Io;

pub use row::Row;

/// What a reconcile starts from.
#[derive(Debug, Clone)]
pub struct Input {
    /// The adapter.
    pub adapter: Arc<Adapter>,
    /// The subject, as the event or the object's annotations say.
    pub subject: SubjectRef,
    /// Why it runs.
    pub trigger: Trigger,
    /// Whether somebody asked for it by hand: a run that failed is made again.
    pub by_hand: bool,
    /// When it begins, by the host's clock.
    pub now: Timestamp,
    /// The same by the API server's clock, with which times that Kubernetes wrote are compared; none if it is not
    /// known, and the host's counts.
    pub cluster_now: Option<Timestamp>,
    /// What this process remembers of the pair; a hint, never needed for a right answer
    /// where the APIs can be read.
    pub memory: Memory,
}

/// What a process remembers of an adapter and a subject between reconciles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// The latest generation that was read.
    pub generation: Generation,
    /// The generation at which Available=True was last reported.
    pub available_at: Option<Generation>,
    /// Our row as it was last stored, for when it cannot be read.
    pub row: Option<Row>,
    /// Whether objects of the pair existed: by their watch any host knows of it.
    pub has_objects: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Execute this and call [`Reconcile::next`] with the answer.
    Do(Effect),
    /// It is over.
    Done(Outcome),
}

/// How a reconcile ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The report was accepted.
    Reported(Reported),
    /// The subject does not exist, and nothing of ours is left of it.
    Gone,
    /// Nothing was accepted. The event is kept and tried again.
    Retry {
        /// Why.
        reason: Reason,
        /// What happened.
        message: String,
        /// How long the other side asked to wait.
        after: Option<Duration>,
    },
    /// Nothing was accepted, and nothing will be: the HyperFleet API refused it for good. It is
    /// not tried again without a further event or change.
    Refused {
        /// Why.
        reason: Reason,
        /// What happened.
        message: String,
    },
}

impl Outcome {
    /// What the platform team must hear of: reason and message. None where nothing is wrong, or where what is
    /// awaited comes by itself.
    #[must_use]
    pub fn trouble(&self) -> Option<(String, String)> {
        match self {
            Self::Reported(reported) if reported.journey.is_trouble() => {
                Some((reported.journey.reason(), reported.journey.message()))
            }
            Self::Retry {
                reason: Reason::CleanupInProgress | Reason::WaitingForEarlierGeneration,
                ..
            } => None,
            Self::Retry { reason, message, .. } | Self::Refused { reason, message } => {
                Some((reason.name().to_owned(), message.clone()))
            }
            Self::Reported(_) | Self::Gone => None,
        }
    }
}

/// A reconcile whose report was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// What was reported.
    pub journey: Journey,
    /// When to run again without an event.
    pub recheck: Recheck,
    /// A namespace to wait for.
    pub await_namespace: Option<String>,
    /// What to remember.
    pub memory: Memory,
}

/// When to run again without an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recheck {
    /// An event, a watch or a changed document will tell.
    #[default]
    Never,
    /// At a known time from now.
    In(Duration),
    /// Somebody else's report is awaited: 5 s, rising to 60 s.
    Dependencies,
    /// Something is broken that may mend: 5 s, rising to 5 min.
    Trouble {
        /// How long the other side asked to wait.
        at_least: Option<Duration>,
    },
}

impl Recheck {
    /// The sooner of two known times; a known time wins over a rhythm if it comes first.
    #[must_use]
    pub fn or_in(self, time: Option<Duration>) -> Self {
        match (self, time) {
            (other, None) => other,
            (Self::In(earlier), Some(time)) => Self::In(earlier.min(time)),
            (Self::Never, Some(time)) => Self::In(time),
            (Self::Dependencies | Self::Trouble { .. }, Some(time)) if time < Duration::from_secs(5) => Self::In(time),
            (rhythm @ (Self::Dependencies | Self::Trouble { .. }), Some(_)) => rhythm,
        }
    }
}

/// A reconcile under way.
pub struct Reconcile {
    io: Io,
    work: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

impl Reconcile {
    /// Begins. Nothing happens before the first [`Reconcile::next`].
    #[must_use]
    pub fn new(input: Input) -> Self {
        let io = Io::default();
        let work = Box::pin(start::reconcile(io.clone(), input));
        Self { io, work }
    }

    /// Takes the answer to the effect before (none at first) and says what comes next.
    ///
    /// An answer of another kind than the effect asked for counts as no answer: the
    /// reconcile ends in [`Outcome::Retry`].
    pub fn next(&mut self, answer: Option<Answer>) -> Step {
        if let Some(answer) = answer {
            self.io.answer(answer);
        }
        let mut context = Context::from_waker(Waker::noop());
        match self.work.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => Step::Done(outcome),
            Poll::Pending => match self.io.asked() {
                Some(effect) => Step::Do(effect),
                None => Step::Done(Outcome::Retry {
                    reason: Reason::PlanInvalid,
                    message: "the reconcile waits for nothing; this is a defect of berth".to_owned(),
                    after: None,
                }),
            },
        }
    }
}

impl std::fmt::Debug for Reconcile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reconcile").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
