//! Whose turn it is: one reconcile per adapter and subject at a time, merged triggers,
//! timers and backoff, on passed-in time.
//!
//! # Guarantees
//! - A pair is never handed out twice at the same time.
//! - A trigger that comes while its pair runs is not lost: the pair runs again.
//! - Of events that wait for one pair, the newest may stand for the others: [`Queue::supersede`].
//! - Adapters take turns, so that a busy one does not starve the others; within one, events come
//!   before changes and timers, of which one in four has its turn all the same.
//! - Of the slots, one in four is kept from subjects whose last reconcile was slow, and from an
//!   adapter that has three already while another waits.
//! - Every ticket (an event to settle) comes back exactly once, from [`Queue::finish`]
//!   or [`Queue::drain`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use jiff::Timestamp;

use self::line::{Lane, Line, Place};
use crate::{
    contract::Trigger,
    reason::Reason,
    reconcile::{Memory, Outcome, Recheck},
    subject::{SubjectKey, SubjectRef},
};

mod line;

/// An adapter and a subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// The adapter.
    pub adapter: String,
    /// The subject.
    pub subject: SubjectKey,
}

/// A reconcile to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Whose.
    pub pair: Pair,
    /// The subject, with the newest generation that any trigger spoke of.
    pub subject: SubjectRef,
    /// Why.
    pub trigger: Trigger,
    /// Whether somebody asked for it by hand.
    pub by_hand: bool,
    /// What this process remembers.
    pub memory: Memory,
}

/// What becomes of tickets when a reconcile ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled<T> {
    /// The report was accepted, or the subject is gone.
    Done(Vec<T>),
    /// Nothing was accepted, for this reason; the pair runs again by itself after this long.
    Retry(Vec<T>, Duration, Reason),
    /// Nothing was accepted, and nothing will be, for this reason and in these words.
    Refused(Vec<T>, Reason, String),
}

/// How fast a rhythm begins and how slow it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// The first wait.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

/// The rhythms of [`Recheck`] and of retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythms {
    /// While a dependency is awaited.
    pub dependencies: Rhythm,
    /// While something is broken that may mend.
    pub trouble: Rhythm,
    /// While no report is accepted.
    pub retry: Rhythm,
}

impl Default for Rhythms {
    fn default() -> Self {
        let rhythm = |first, longest| Rhythm {
            first: Duration::from_secs(first),
            longest: Duration::from_secs(longest),
        };
        Self {
            dependencies: rhythm(5, 60),
            trouble: rhythm(5, 300),
            retry: Rhythm {
                first: Duration::from_secs(1),
                longest: Duration::from_secs(60),
            },
        }
    }
}

#[derive(Debug)]
struct Entry<T> {
    subject: SubjectRef,
    memory: Memory,
    /// The trigger and the tickets that wait for the next run.
    waiting: Option<Trigger>,
    tickets: Vec<T>,
    /// The tickets of the run under way.
    running: Option<Vec<T>>,
    /// When to run without a trigger.
    due: Option<Timestamp>,
    /// How often in a row the same rhythm was asked for.
    beats: u32,
    /// How many runs in a row a change began.
    changes: u32,
    /// When the last run ended.
    ended: Timestamp,
    /// Whether what waits is a change that waits for its time, since there were so many.
    held: bool,
    /// Where it stands among the pairs that are ready.
    queued: Option<Place>,
    /// When the run under way began, and whether it holds a slot for the slow.
    began: Timestamp,
    holds_slow: bool,
    /// Whether the last run was slow.
    is_slow: bool,
    by_hand: bool,
    /// Whether its adapter was removed while it ran.
    forgotten: bool,
}

/// So many changes in a row are run at once. More are most likely our own doing: a plan that is
/// never the same twice.
const CHANGES: u32 = 10;
/// A pair that was quiet for this long has no changes in a row.
const QUIET: i64 = 30;
/// How fast more changes are run.
const CHURN: Rhythm = Rhythm {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(20),
};

/// A run that takes so long, in milliseconds, is slow: what it waits for is, and others must not wait with it.
const SLOW: i128 = 1_000;

/// The queue. `T` is what an event is settled with.
#[derive(Debug)]
pub struct Queue<T> {
    rhythms: Rhythms,
    /// In the order in which they came, so that the same triggers give the same turns. Boxed: there is an entry for every
    /// known subject, and the map is moved when it grows.
    entries: IndexMap<Pair, Box<Entry<T>>, RandomState>,
    /// The subjects of each adapter by the subject that owns them.
    owned: BTreeMap<(String, SubjectKey), BTreeSet<SubjectKey>>,
    /// Pairs that are ready, and who has a slot.
    line: Line,
    /// Pairs by the time that they are due.
    timers: BTreeMap<Timestamp, Vec<Pair>>,
}

impl<T> Queue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new(rhythms: Rhythms) -> Self {
        Self {
            rhythms,
            entries: IndexMap::default(),
            owned: BTreeMap::new(),
            line: Line::default(),
            timers: BTreeMap::new(),
        }
    }

    /// Says how many reconciles run at a time, of which everybody has a share.
    pub fn set_slots(&mut self, slots: usize) {
        self.line.set_slots(slots);
    }

    /// Takes a trigger in. If the pair waits or runs already, it is merged: the newest
    /// generation counts, an event counts more than a change, a change more than a timer.
    pub fn push(&mut self, adapter: &str, subject: SubjectRef, trigger: Trigger, ticket: Option<T>) {
        let pair = Pair {
            adapter: adapter.to_owned(),
            subject: subject.key.clone(),
        };
        let entry = self.entries.entry(pair.clone()).or_insert_with(|| {
            Box::new(Entry {
                subject: subject.clone(),
                memory: Memory::default(),
                waiting: None,
                tickets: Vec::new(),
                running: None,
                due: None,
                beats: 0,
                changes: 0,
                ended: Timestamp::MIN,
                held: false,
                queued: None,
                began: Timestamp::MIN,
                holds_slow: false,
                is_slow: false,
                by_hand: false,
                forgotten: false,
            })
        });
        // Whose adapter is back is known again.
        entry.forgotten = false;
        if subject.generation >= entry.subject.generation {
            let before = entry.subject.owner.take();
            let owner = subject.owner.clone().or_else(|| before.clone());
            if let Some(before) = before.filter(|before| owner.as_ref().is_none_or(|owner| owner.key != before.key)) {
                disown(&mut self.owned, &pair, &before.key);
            }
            entry.subject = SubjectRef { owner, ..subject };
        }
        if let Some(owner) = &entry.subject.owner {
            let of = (pair.adapter.clone(), owner.key.clone());
            self.owned.entry(of).or_default().insert(pair.subject.clone());
        }
        entry.tickets.extend(ticket);
        let was_waiting = entry.waiting.is_some() && (!entry.held || matches!(trigger, Trigger::Change(_)));
        entry.waiting = Some(match (entry.waiting.take(), trigger) {
            (Some(event @ Trigger::Event(_)), Trigger::Change(_) | Trigger::Timer) => event,
            (Some(change @ Trigger::Change(_)), Trigger::Timer) => change,
            (_, newer) => newer,
        });
        if entry.running.is_none() && (!was_waiting || entry.queued.is_some()) {
            self.make_ready(&pair);
        }
    }

    /// Takes the tickets out of what waits of a pair that a newer event stands for, and gives
    /// them back to be settled. Those of the run under way stay.
    pub fn supersede(&mut self, pair: &Pair, is_stood_for: impl Fn(&T) -> bool) -> Vec<T> {
        let Some(entry) = self.entries.get_mut(pair) else {
            return Vec::new();
        };
        entry.tickets.extract_if(.., |ticket| is_stood_for(ticket)).collect()
    }

    /// The subjects of the pairs that are meant, each as its newest event told.
    pub fn known(&self, is_meant: impl Fn(&Pair) -> bool) -> Vec<SubjectRef> {
        let mut known: BTreeMap<&SubjectKey, &SubjectRef> = BTreeMap::new();
        for (pair, entry) in &self.entries {
            if entry.forgotten || !is_meant(pair) {
                continue;
            }
            let newest = known.entry(&pair.subject).or_insert(&entry.subject);
            if entry.subject.generation > newest.generation {
                *newest = &entry.subject;
            }
        }
        known.into_values().cloned().collect()
    }

    /// The next reconcile to run now, if any: adapters in turn.
    pub fn pop(&mut self, now: Timestamp) -> Option<Job> {
        self.wake(now);
        while let Some(pair) = self.line.pop() {
            let Some(entry) = self.entries.get_mut(&pair) else {
                continue;
            };
            let Some(trigger) = entry.waiting.take() else { continue };
            entry.running = Some(std::mem::take(&mut entry.tickets));
            entry.held = false;
            entry.queued = None;
            entry.began = now;
            entry.holds_slow = entry.is_slow;
            let in_a_row = now.duration_since(entry.ended).as_secs() < QUIET;
            entry.changes = match &trigger {
                Trigger::Change(_) if in_a_row => entry.changes.saturating_add(1),
                Trigger::Change(_) | Trigger::Event(_) | Trigger::Timer => 0,
            };
            if let Some(due) = entry.due.take() {
                forget_timer(&mut self.timers, due, &pair);
            }
            self.line.begin(&pair.adapter, entry.holds_slow);
            return Some(Job {
                subject: entry.subject.clone(),
                memory: entry.memory.clone(),
                by_hand: std::mem::take(&mut entry.by_hand),
                trigger,
                pair,
            });
        }
        None
    }

    /// Takes the end of a reconcile in. `jitter` in 0..1 spreads retries.
    pub fn finish(&mut self, now: Timestamp, pair: &Pair, outcome: &Outcome, jitter: f64) -> Settled<T> {
        let Some(entry) = self.entries.get_mut(pair) else {
            return Settled::Done(Vec::new());
        };
        let Some(tickets) = entry.running.take() else {
            return Settled::Done(Vec::new());
        };
        self.line.end(&pair.adapter, std::mem::take(&mut entry.holds_slow));
        entry.is_slow = now.duration_since(entry.began).as_millis() >= SLOW;
        let wait = match outcome {
            Outcome::Reported(reported) => {
                entry.memory = reported.memory.clone();
                match reported.recheck {
                    Recheck::Never => None,
                    Recheck::In(time) => Some(time),
                    Recheck::Dependencies => Some(spread(self.rhythms.dependencies, entry.beats, None, jitter)),
                    Recheck::Trouble { at_least } => Some(spread(self.rhythms.trouble, entry.beats, at_least, jitter)),
                }
            }
            Outcome::Gone | Outcome::Refused { .. } => None,
            Outcome::Retry { after, .. } => Some(spread(self.rhythms.retry, entry.beats, *after, jitter)),
        };
        let steady = matches!(
            outcome,
            Outcome::Gone
                | Outcome::Refused { .. }
                | Outcome::Reported(crate::reconcile::Reported {
                    recheck: Recheck::Never | Recheck::In(_),
                    ..
                })
        );
        entry.beats = if steady { 0 } else { entry.beats.saturating_add(1) };
        // After Finalized the subject goes, and nobody would tell: what is remembered goes now.
        let is_gone = match outcome {
            Outcome::Gone => true,
            Outcome::Reported(reported) => reported.journey == crate::report::Journey::Finalized,
            Outcome::Retry { .. } | Outcome::Refused { .. } => false,
        };
        entry.ended = now;
        if matches!(entry.waiting, Some(Trigger::Change(_))) && entry.changes >= CHANGES {
            let pause = spread(CHURN, entry.changes - CHANGES, None, jitter);
            let due = now.checked_add(jiff::SignedDuration::try_from(pause).unwrap_or_default());
            let due = due.unwrap_or(Timestamp::MAX);
            entry.held = true;
            entry.due = Some(due);
            self.timers.entry(due).or_default().push(pair.clone());
        } else if entry.waiting.is_some() {
            self.make_ready(pair);
        } else if is_gone || entry.forgotten {
            if let Some(owner) = self.entries.swap_remove(pair).and_then(|entry| entry.subject.owner) {
                disown(&mut self.owned, pair, &owner.key);
            }
        } else if let Some(wait) = wait {
            // Whoever has the event brings it again after the wait. Only if nobody does is the
            // pair's own time due.
            let is_brought = must_come_again(outcome) && !tickets.is_empty();
            let wait = if is_brought { wait.saturating_mul(2) } else { wait };
            let due = now.checked_add(jiff::SignedDuration::try_from(wait).unwrap_or(jiff::SignedDuration::MAX));
            let due = due.unwrap_or(Timestamp::MAX);
            entry.due = Some(due);
            self.timers.entry(due).or_default().push(pair.clone());
        }
        match outcome {
            Outcome::Reported(_) | Outcome::Gone => Settled::Done(tickets),
            Outcome::Retry { .. } if !must_come_again(outcome) => Settled::Done(tickets),
            Outcome::Retry { reason, .. } => Settled::Retry(tickets, wait.unwrap_or_default(), *reason),
            Outcome::Refused { reason, message } => Settled::Refused(tickets, *reason, message.clone()),
        }
    }

    /// When the next timer is due, if there is one.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.keys().next().copied()
    }

    /// Runs every known pair of this adapter soon: its document changed, or what it
    /// depends on turned available.
    pub fn rouse(&mut self, adapter: &str, subject: Option<&SubjectKey>) {
        let subjects: Vec<SubjectRef> = match subject {
            Some(subject) => {
                let (adapter, subject) = (adapter.to_owned(), subject.clone());
                self.subject(&Pair { adapter, subject }).cloned().into_iter().collect()
            }
            None => {
                let of_adapter = self.entries.iter().filter(|(pair, _)| pair.adapter == adapter);
                of_adapter.map(|(_, entry)| entry.subject.clone()).collect()
            }
        };
        for subject in subjects {
            self.push(adapter, subject, Trigger::Timer, None);
        }
    }

    /// Forgets all that is known of an adapter: it was removed. Gives back the tickets of what
    /// waits; what runs ends as it began, and is forgotten then.
    pub fn forget(&mut self, adapter: &str) -> Vec<T> {
        let mut tickets = Vec::new();
        let (timers, owned) = (&mut self.timers, &mut self.owned);
        self.line.leave(adapter);
        self.entries.retain(|pair, entry| {
            if pair.adapter != adapter {
                return true;
            }
            if let Some(due) = entry.due.take() {
                forget_timer(timers, due, pair);
            }
            entry.waiting = None;
            entry.held = false;
            entry.queued = None;
            entry.by_hand = false;
            entry.forgotten = true;
            entry.memory = Memory::default();
            tickets.append(&mut entry.tickets);
            if entry.running.is_none()
                && let Some(owner) = &entry.subject.owner
            {
                disown(owned, pair, &owner.key);
            }
            entry.running.is_some()
        });
        tickets
    }

    /// Runs a pair by hand. False if nothing is known of it.
    pub fn retry(&mut self, pair: &Pair) -> bool {
        let Some(entry) = self.entries.get_mut(pair) else {
            return false;
        };
        entry.by_hand = true;
        self.rouse(&pair.adapter, Some(&pair.subject));
        true
    }

    /// Subjects of this adapter whose owner is the given one.
    #[must_use]
    pub fn owned_by(&self, adapter: &str, owner: &SubjectKey) -> Vec<SubjectKey> {
        let owned = self.owned.get(&(adapter.to_owned(), owner.clone()));
        owned.into_iter().flatten().cloned().collect()
    }

    /// What is known of a pair's subject.
    #[must_use]
    pub fn subject(&self, pair: &Pair) -> Option<&SubjectRef> {
        self.entries.get(pair).map(|entry| &entry.subject)
    }

    /// How many reconciles wait, and how many run.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        self.line.depth()
    }

    /// Gives back the tickets of everything that waits and forgets it: the host stops.
    pub fn drain(&mut self) -> Vec<T> {
        self.line.clear();
        self.timers.clear();
        let mut tickets = Vec::new();
        for entry in self.entries.values_mut() {
            entry.waiting = None;
            entry.queued = None;
            entry.due = None;
            tickets.append(&mut entry.tickets);
        }
        tickets
    }

    /// Has a pair stand in line. An event takes it to the lane of events, with the place that it
    /// had.
    fn make_ready(&mut self, pair: &Pair) {
        let Some(entry) = self.entries.get_mut(pair) else {
            return;
        };
        let was_event = entry.queued.is_some_and(|place| place.lane.is_event);
        let lane = Lane {
            is_event: was_event || entry.by_hand || matches!(entry.waiting, Some(Trigger::Event(_))),
            is_slow: entry.is_slow,
        };
        entry.queued = Some(self.line.stand(pair, lane, entry.queued));
    }

    /// Turns timers that are due into triggers.
    fn wake(&mut self, now: Timestamp) {
        while let Some(first) = self.timers.first_entry() {
            if *first.key() > now {
                break;
            }
            for pair in first.remove() {
                let Some(entry) = self.entries.get_mut(&pair) else {
                    continue;
                };
                entry.due = None;
                if (entry.waiting.is_none() || entry.held) && entry.running.is_none() {
                    entry.held = false;
                    entry.waiting.get_or_insert(Trigger::Timer);
                    self.make_ready(&pair);
                }
            }
        }
    }
}

/// Whether the event of such an end is not done with. Of a subject that is gone there is nothing to
/// report any more, and the objects that are left of it tell of themselves.
fn must_come_again(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Retry { reason, .. } if *reason != Reason::CleanupInProgress)
}

fn forget_timer(timers: &mut BTreeMap<Timestamp, Vec<Pair>>, due: Timestamp, pair: &Pair) {
    if let Some(pairs) = timers.get_mut(&due) {
        pairs.retain(|one| one != pair);
        if pairs.is_empty() {
            timers.remove(&due);
        }
    }
}

fn disown(owned: &mut BTreeMap<(String, SubjectKey), BTreeSet<SubjectKey>>, pair: &Pair, owner: &SubjectKey) {
    let of = (pair.adapter.clone(), owner.clone());
    if let Some(subjects) = owned.get_mut(&of) {
        subjects.remove(&pair.subject);
        if subjects.is_empty() {
            owned.remove(&of);
        }
    }
}

/// Doubles from first to longest; between 80 % and 120 % of it, never below what was asked.
fn spread(rhythm: Rhythm, beats: u32, at_least: Option<Duration>, jitter: f64) -> Duration {
    let doubled = rhythm
        .first
        .saturating_mul(2_u32.saturating_pow(beats.min(20)))
        .min(rhythm.longest);
    let spread = doubled.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
    spread.max(at_least.unwrap_or_default())
}

#[cfg(test)]
mod tests;
