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
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    contract::Trigger,
    reason::Reason,
    reconcile::{Memory, Outcome, Recheck},
    subject::{SubjectKey, SubjectRef},
};

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
    queued: Option<(Lane, u64)>,
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
/// So many events in a row have their turn before a change or a timer has.
const EVENTS_IN_A_ROW: u8 = 3;

/// What pairs of one adapter stand in line by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lane {
    /// An event began it, or somebody by hand.
    is_event: bool,
    is_slow: bool,
}

/// The pairs of one adapter that are ready, each lane in the order in which they came.
#[derive(Debug, Default)]
struct Ready {
    lanes: [[BTreeMap<u64, SubjectKey>; 2]; 2],
    events_in_a_row: u8,
}

impl Ready {
    fn lane(&mut self, lane: Lane) -> &mut BTreeMap<u64, SubjectKey> {
        let [others, events] = &mut self.lanes;
        let [swift, slow] = if lane.is_event { events } else { others };
        if lane.is_slow { slow } else { swift }
    }

    fn len(&self) -> usize {
        self.lanes.iter().flatten().map(BTreeMap::len).sum()
    }

    /// The lane whose first came first, of events or of the others.
    fn first(&self, is_event: bool, has_room_for_slow: bool) -> Option<Lane> {
        let [others, events] = &self.lanes;
        let [swift, slow] = if is_event { events } else { others };
        let first = |lane: &BTreeMap<u64, SubjectKey>| lane.keys().next().copied();
        let swift = first(swift).map(|place| (place, false));
        let slow = first(slow).filter(|_| has_room_for_slow).map(|place| (place, true));
        let (_, is_slow) = swift.into_iter().chain(slow).min()?;
        Some(Lane { is_event, is_slow })
    }

    /// Whose turn it is, if anybody's.
    fn pop(&mut self, has_room_for_slow: bool) -> Option<SubjectKey> {
        let event = self.first(true, has_room_for_slow);
        let other = self.first(false, has_room_for_slow);
        let lane = match (event, other) {
            (Some(_), Some(other)) if self.events_in_a_row >= EVENTS_IN_A_ROW => other,
            (Some(event), _) => event,
            (None, other) => other?,
        };
        self.events_in_a_row = if lane.is_event {
            self.events_in_a_row.saturating_add(1)
        } else {
            0
        };
        self.lane(lane).pop_first().map(|(_, subject)| subject)
    }
}

/// How many of the slots one adapter, or all slow subjects, may hold.
fn share(slots: usize) -> usize {
    slots - slots / 4
}

/// The queue. `T` is what an event is settled with.
#[derive(Debug)]
pub struct Queue<T> {
    rhythms: Rhythms,
    /// In order, so that the same triggers give the same turns.
    entries: BTreeMap<Pair, Entry<T>>,
    /// The subjects of each adapter by the subject that owns them.
    owned: BTreeMap<(String, SubjectKey), BTreeSet<SubjectKey>>,
    /// Pairs that are ready, by adapter.
    ready: BTreeMap<String, Ready>,
    /// The order in which pairs became ready.
    next: u64,
    /// How many run at a time.
    slots: usize,
    /// How many run, of each adapter and of the slow.
    running_of: BTreeMap<String, usize>,
    running_slow: usize,
    /// Whose turn it is.
    turns: VecDeque<String>,
    /// Pairs by the time that they are due.
    timers: BTreeMap<Timestamp, Vec<Pair>>,
    running: usize,
}

impl<T> Queue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new(rhythms: Rhythms) -> Self {
        Self {
            rhythms,
            entries: BTreeMap::new(),
            owned: BTreeMap::new(),
            ready: BTreeMap::new(),
            next: 0,
            slots: usize::MAX,
            running_of: BTreeMap::new(),
            running_slow: 0,
            turns: VecDeque::new(),
            timers: BTreeMap::new(),
            running: 0,
        }
    }

    /// Says how many reconciles run at a time, of which everybody has a share.
    pub fn set_slots(&mut self, slots: usize) {
        self.slots = slots;
    }

    /// Takes a trigger in. If the pair waits or runs already, it is merged: the newest
    /// generation counts, an event counts more than a change, a change more than a timer.
    pub fn push(&mut self, adapter: &str, subject: SubjectRef, trigger: Trigger, ticket: Option<T>) {
        let pair = Pair {
            adapter: adapter.to_owned(),
            subject: subject.key.clone(),
        };
        let entry = self.entries.entry(pair.clone()).or_insert_with(|| Entry {
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
        while let Some((adapter, subject)) = self.next_turn(true).or_else(|| self.next_turn(false)) {
            let pair = Pair { adapter, subject };
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
            self.running += 1;
            self.running_slow += usize::from(entry.holds_slow);
            *self.running_of.entry(pair.adapter.clone()).or_default() += 1;
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

    /// Who is next: adapters in turn, and those that hold their share already only where
    /// `shares` does not matter.
    fn next_turn(&mut self, shares: bool) -> Option<(String, SubjectKey)> {
        let most = share(self.slots);
        let has_room_for_slow = self.running_slow < most;
        let (index, subject) = self.turns.iter().enumerate().find_map(|(index, adapter)| {
            let holds = self.running_of.get(adapter).copied().unwrap_or_default();
            if shares && holds >= most {
                return None;
            }
            let subject = self.ready.get_mut(adapter)?.pop(has_room_for_slow)?;
            Some((index, subject))
        })?;
        let adapter = self.turns.remove(index)?;
        if self.ready.get(&adapter).is_some_and(|ready| ready.len() > 0) {
            self.turns.push_back(adapter.clone());
        } else {
            self.ready.remove(&adapter);
        }
        Some((adapter, subject))
    }

    /// Takes the end of a reconcile in. `jitter` in 0..1 spreads retries.
    pub fn finish(&mut self, now: Timestamp, pair: &Pair, outcome: &Outcome, jitter: f64) -> Settled<T> {
        let Some(entry) = self.entries.get_mut(pair) else {
            return Settled::Done(Vec::new());
        };
        let Some(tickets) = entry.running.take() else {
            return Settled::Done(Vec::new());
        };
        self.running -= 1;
        self.running_slow -= usize::from(std::mem::take(&mut entry.holds_slow));
        if let Some(running) = self.running_of.get_mut(&pair.adapter) {
            *running -= 1;
            if *running == 0 {
                self.running_of.remove(&pair.adapter);
            }
        }
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
            if let Some(owner) = self.entries.remove(pair).and_then(|entry| entry.subject.owner) {
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
        let first = Pair {
            adapter: adapter.to_owned(),
            subject: subject.cloned().unwrap_or_else(|| SubjectKey {
                kind: String::new(),
                id: String::new(),
            }),
        };
        let pairs: Vec<(Pair, SubjectRef)> = self
            .entries
            .range(first..)
            .take_while(|(pair, _)| pair.adapter == adapter && subject.is_none_or(|subject| pair.subject == *subject))
            .map(|(pair, entry)| (pair.clone(), entry.subject.clone()))
            .collect();
        for (pair, subject) in pairs {
            self.push(&pair.adapter, subject, Trigger::Timer, None);
        }
    }

    /// Forgets all that is known of an adapter: it was removed. Gives back the tickets of what
    /// waits; what runs ends as it began, and is forgotten then.
    pub fn forget(&mut self, adapter: &str) -> Vec<T> {
        let mut tickets = Vec::new();
        let (timers, owned) = (&mut self.timers, &mut self.owned);
        self.ready.remove(adapter);
        self.turns.retain(|turn| turn != adapter);
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
        (self.ready.values().map(Ready::len).sum(), self.running)
    }

    /// Gives back the tickets of everything that waits and forgets it: the host stops.
    pub fn drain(&mut self) -> Vec<T> {
        self.ready.clear();
        self.turns.clear();
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
        let before = entry.queued;
        let was_event = before.is_some_and(|(lane, _)| lane.is_event);
        let lane = Lane {
            is_event: was_event || entry.by_hand || matches!(entry.waiting, Some(Trigger::Event(_))),
            is_slow: entry.is_slow,
        };
        let place = before.map_or(self.next, |(_, place)| place);
        if before == Some((lane, place)) {
            return;
        }
        entry.queued = Some((lane, place));
        let ready = self.ready.entry(pair.adapter.clone()).or_default();
        match before {
            Some((lane, place)) => drop(ready.lane(lane).remove(&place)),
            None => self.next += 1,
        }
        if before.is_none() && ready.len() == 0 {
            self.turns.push_back(pair.adapter.clone());
        }
        ready.lane(lane).insert(place, pair.subject.clone());
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

    use super::*;
    use crate::{reconcile::Reported, report::Journey};

    fn subject(id: &str, generation: u32) -> SubjectRef {
        SubjectRef {
            key: SubjectKey {
                kind: "Cluster".into(),
                id: id.into(),
            },
            href: format!("/clusters/{id}"),
            generation,
            owner: None,
        }
    }

    fn event(name: &str) -> Trigger {
        Trigger::Event(serde_json::json!({ "id": name }))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn reported(recheck: Recheck) -> Outcome {
        Outcome::Reported(Reported {
            journey: Journey::Achieved { message: String::new() },
            recheck,
            await_namespace: None,
            memory: Memory::default(),
        })
    }

    fn retry(after: Option<Duration>) -> Outcome {
        Outcome::Retry {
            reason: Reason::FleetApiUnreachable,
            message: String::new(),
            after,
        }
    }

    #[test]
    fn a_pair_runs_once_at_a_time_and_again_for_what_came_meanwhile() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), Some(1));
        let job = queue.pop(at(0)).unwrap();
        queue.push("lz", subject("c", 2), event("two"), Some(2));
        queue.push("lz", subject("c", 2), event("three"), Some(3));
        assert_eq!(queue.pop(at(0)), None);
        assert_eq!(
            queue.finish(at(1), &job.pair, &reported(Recheck::Never), 0.5),
            Settled::Done(vec![1])
        );
        let again = queue.pop(at(1)).unwrap();
        assert_eq!((again.subject.generation, again.trigger), (2, event("three")));
        assert_eq!(
            queue.finish(at(2), &again.pair, &reported(Recheck::Never), 0.5),
            Settled::Done(vec![2, 3])
        );
        assert_eq!(queue.pop(at(3)), None);
    }

    #[test]
    fn a_late_event_does_not_lower_the_generation() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 5), event("new"), None);
        queue.push("lz", subject("c", 2), event("late"), None);
        assert_eq!(queue.pop(at(0)).unwrap().subject.generation, 5);
    }

    #[test]
    fn an_event_is_not_hidden_by_a_change() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), None);
        queue.push("lz", subject("c", 1), Trigger::Timer, None);
        assert_eq!(queue.pop(at(0)).unwrap().trigger, event("one"));
    }

    #[test]
    fn adapters_take_turns() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        for id in ["a", "b", "c"] {
            queue.push("busy", subject(id, 1), event(id), None);
        }
        queue.push("quiet", subject("a", 1), event("a"), None);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(at(0)))
            .map(|job| job.pair.adapter)
            .collect();
        assert_eq!(order, ["busy", "quiet", "busy", "busy"]);
    }

    fn change() -> Trigger {
        Trigger::Change(crate::contract::Reference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: None,
            name: "c".into(),
        })
    }

    #[test]
    fn what_waits_is_stood_for_by_a_newer_event_and_what_runs_is_not() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), Some(1));
        let job = queue.pop(at(0)).unwrap();
        queue.push("lz", subject("c", 2), event("two"), Some(2));
        queue.push("lz", subject("c", 2), event("http"), Some(3));
        assert_eq!(queue.supersede(&job.pair, |ticket| *ticket != 3), [2]);
        queue.push("lz", subject("c", 3), event("three"), Some(4));
        assert_eq!(
            queue.finish(at(1), &job.pair, &reported(Recheck::Never), 0.5),
            Settled::Done(vec![1])
        );
        let again = queue.pop(at(1)).unwrap();
        assert_eq!((again.subject.generation, again.trigger), (3, event("three")));
        assert_eq!(
            queue.finish(at(2), &again.pair, &reported(Recheck::Never), 0.5),
            Settled::Done(vec![3, 4])
        );
    }

    #[test]
    fn a_subject_is_known_once_whichever_adapters_heard_of_it() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        queue.push("one", subject("a", 1), event("e"), None);
        queue.push("two", subject("a", 2), event("e"), None);
        queue.push("two", subject("b", 1), event("e"), None);
        assert_eq!(queue.known(|_| true), [subject("a", 2), subject("b", 1)]);
        assert_eq!(queue.known(|pair| pair.adapter == "one"), [subject("a", 1)]);
    }

    #[test]
    fn an_event_about_what_is_gone_does_not_wait_for_its_cleanup() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), Some(7));
        let job = queue.pop(at(0)).unwrap();
        let cleaning = Outcome::Retry {
            reason: Reason::CleanupInProgress,
            message: String::new(),
            after: None,
        };
        assert_eq!(queue.finish(at(0), &job.pair, &cleaning, 0.5), Settled::Done(vec![7]));
        assert_eq!(queue.next_due(), Some(at(1)), "the cleanup goes on");
    }

    #[test]
    fn events_come_before_changes_and_neither_starves() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        for number in 0..8 {
            queue.push("lz", subject(&format!("c{number}"), 1), change(), None);
        }
        for number in 0..6 {
            queue.push("lz", subject(&format!("e{number}"), 1), event("e"), None);
        }
        // An event has a pair that stands in line already go before the others of its kind.
        queue.push("lz", subject("c7", 1), event("e"), None);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(at(0)))
            .map(|job| job.pair.subject.id)
            .collect();
        let expected = "c7 e0 e1 c0 e2 e3 e4 c1 e5 c2 c3 c4 c5 c6";
        assert_eq!(order.join(" "), expected);
        assert_eq!(queue.depth(), (0, 14));
    }

    #[test]
    fn an_adapter_leaves_one_slot_in_four_to_another_that_waits() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        queue.set_slots(8);
        for number in 0..8 {
            queue.push("busy", subject(&format!("b{number}"), 1), event("e"), None);
        }
        let mut running: Vec<_> = std::iter::from_fn(|| queue.pop(at(0))).take(8).collect();
        assert_eq!(running.len(), 8, "nobody else waits");
        for number in 8..20 {
            queue.push("busy", subject(&format!("b{number}"), 1), event("e"), None);
            queue.push("quiet", subject(&format!("q{number}"), 1), event("e"), None);
        }
        // Each that ends makes room for the other, until that has what is kept from the busy one.
        for _ in 0..2 {
            let ended = running.remove(0);
            queue.finish(at(0), &ended.pair, &reported(Recheck::Never), 0.5);
            assert_eq!(queue.pop(at(0)).unwrap().pair.adapter, "quiet");
        }
        let ended = running.remove(0);
        queue.finish(at(0), &ended.pair, &reported(Recheck::Never), 0.5);
        let turns: Vec<_> = std::iter::from_fn(|| queue.pop(at(0))).take(1).collect();
        assert_eq!(turns[0].pair.adapter, "busy", "they take turns below their shares");
    }

    #[test]
    fn slow_subjects_leave_one_slot_in_four_to_others_however_many_wait() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        queue.set_slots(4);
        for number in 0..6 {
            queue.push("lz", subject(&format!("s{number}"), 1), event("e"), None);
            let job = queue.pop(at(0)).unwrap();
            queue.finish(at(2), &job.pair, &reported(Recheck::Never), 0.5);
        }
        for number in 0..6 {
            queue.push("lz", subject(&format!("s{number}"), 2), event("e"), None);
        }
        queue.push("lz", subject("swift", 1), event("e"), None);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(at(3))).collect();
        let ids: Vec<_> = order.iter().map(|job| job.pair.subject.id.as_str()).collect();
        assert_eq!(
            ids,
            ["s0", "s1", "s2", "swift"],
            "the fourth slot is for who is not known to be slow"
        );
        // One that was swift this time is not slow any more; another slow one takes its place.
        queue.finish(at(3), &order[0].pair, &reported(Recheck::Never), 0.5);
        assert_eq!(queue.pop(at(3)).unwrap().pair.subject.id, "s3");
        assert_eq!(queue.pop(at(3)), None);
        queue.push("lz", subject("s0", 3), event("e"), None);
        assert_eq!(queue.pop(at(3)).unwrap().pair.subject.id, "s0");
    }

    #[test]
    fn trouble_is_looked_at_after_five_seconds_rising_to_five_minutes() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), None);
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            let job = queue.pop(now).unwrap();
            queue.finish(now, &job.pair, &reported(Recheck::Trouble { at_least: None }), 0.5);
            let due = queue.next_due().unwrap();
            waits.push(due.duration_since(now).as_secs());
            assert_eq!(queue.pop(now), None);
            now = due;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn what_the_other_side_asks_for_is_obeyed() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), Some(7));
        let job = queue.pop(at(0)).unwrap();
        let after = Duration::from_secs(42);
        assert_eq!(
            queue.finish(at(0), &job.pair, &retry(Some(after)), 0.0),
            Settled::Retry(vec![7], after, Reason::FleetApiUnreachable)
        );
        // Its own time comes only if nobody brings the event again.
        assert_eq!(queue.next_due(), Some(at(84)));
        queue.push("lz", subject("c", 1), event("one"), Some(7));
        assert!(queue.pop(at(42)).is_some());
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn what_is_refused_for_good_is_not_tried_again_by_itself() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), Some(7));
        let job = queue.pop(at(0)).unwrap();
        let outcome = Outcome::Refused {
            reason: Reason::ReportRejected,
            message: "400".to_owned(),
        };
        assert_eq!(
            queue.finish(at(0), &job.pair, &outcome, 0.5),
            Settled::Refused(vec![7], Reason::ReportRejected, "400".to_owned())
        );
        assert_eq!(queue.next_due(), None);
        // The next event is another chance.
        queue.push("lz", subject("c", 2), event("two"), Some(8));
        assert_eq!(queue.pop(at(1)).unwrap().subject.generation, 2);
    }

    #[test]
    fn an_event_comes_before_the_timer_and_cancels_it() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), None);
        let job = queue.pop(at(0)).unwrap();
        queue.finish(at(0), &job.pair, &reported(Recheck::In(Duration::from_secs(60))), 0.5);
        queue.push("lz", subject("c", 1), event("two"), None);
        let job = queue.pop(at(1)).unwrap();
        queue.finish(at(1), &job.pair, &reported(Recheck::Never), 0.5);
        assert_eq!(queue.next_due(), None);
        assert_eq!(queue.pop(at(100)), None);
    }

    #[test]
    fn changes_that_never_end_are_slowed_down_and_an_event_is_not() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        let change = || {
            Trigger::Change(crate::contract::Reference {
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
                namespace: None,
                name: "c".into(),
            })
        };
        queue.push("lz", subject("c", 1), event("one"), None);
        let (mut now, mut runs) = (at(0), 0);
        while now < at(60) {
            match queue.pop(now) {
                Some(job) => {
                    runs += 1;
                    queue.push("lz", subject("c", 1), change(), None);
                    queue.finish(now, &job.pair, &reported(Recheck::Never), 0.5);
                }
                None => now = queue.next_due().unwrap(),
            }
        }
        assert!(runs < 25, "{runs}");
        queue.push("lz", subject("c", 1), event("two"), None);
        assert_eq!(queue.pop(now).unwrap().trigger, event("two"));
    }

    #[test]
    fn a_subject_that_is_finalized_is_forgotten() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), Some(1));
        let job = queue.pop(at(0)).unwrap();
        let mut outcome = reported(Recheck::Never);
        if let Outcome::Reported(reported) = &mut outcome {
            reported.journey = Journey::Finalized;
        }
        queue.finish(at(0), &job.pair, &outcome, 0.5);
        assert_eq!(queue.subject(&job.pair), None);
    }

    #[test]
    fn a_subject_that_is_gone_is_forgotten() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), Some(1));
        let job = queue.pop(at(0)).unwrap();
        assert_eq!(
            queue.finish(at(0), &job.pair, &Outcome::Gone, 0.5),
            Settled::Done(vec![1])
        );
        assert_eq!(queue.subject(&job.pair), None);
    }

    #[test]
    fn rousing_reaches_the_pairs_that_were_named_and_no_others() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        for (adapter, id) in [("a", "1"), ("b", "1"), ("b", "2"), ("c", "1")] {
            queue.push(adapter, subject(id, 1), event("one"), None);
            let job = queue.pop(at(0)).unwrap();
            queue.finish(at(0), &job.pair, &reported(Recheck::Never), 0.5);
        }
        let roused = |queue: &mut Queue<()>| -> Vec<String> {
            let jobs: Vec<_> = std::iter::from_fn(|| queue.pop(at(1))).collect();
            for job in &jobs {
                queue.finish(at(1), &job.pair, &reported(Recheck::Never), 0.5);
            }
            jobs.iter()
                .map(|job| format!("{} {}", job.pair.adapter, job.pair.subject.id))
                .collect()
        };
        queue.rouse("b", Some(&subject("2", 1).key));
        assert_eq!(roused(&mut queue), ["b 2"]);
        queue.rouse("b", None);
        assert_eq!(roused(&mut queue), ["b 1", "b 2"]);
        queue.rouse("nobody", None);
        assert_eq!(roused(&mut queue), Vec::<String>::new());
    }

    #[test]
    fn subjects_are_found_by_their_owner_until_they_or_their_adapter_are_gone() {
        let mut queue: Queue<()> = Queue::new(Rhythms::default());
        let owner = subject("c", 1).key;
        for id in ["p", "q"] {
            let owned = SubjectRef {
                owner: Some(crate::subject::OwnerRef {
                    key: owner.clone(),
                    href: String::new(),
                }),
                ..subject(id, 1)
            };
            queue.push("size", owned, event(id), None);
        }
        // A trigger that does not say whose it is takes nothing back.
        queue.push("size", subject("p", 2), event("p"), None);
        let ids = |queue: &Queue<()>| -> Vec<String> {
            let owned = queue.owned_by("size", &owner);
            owned.into_iter().map(|key| key.id).collect()
        };
        assert_eq!(ids(&queue), ["p", "q"]);
        let job = queue.pop(at(0)).unwrap();
        queue.finish(at(0), &job.pair, &Outcome::Gone, 0.5);
        assert_eq!(ids(&queue), ["q"]);
        // What runs goes with its end, what waits at once.
        queue.forget("size");
        assert!(ids(&queue).is_empty());
    }

    #[test]
    fn nothing_is_kept_of_an_adapter_that_was_removed() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("runs", 1), event("one"), Some(1));
        queue.push("lz", subject("due", 1), event("two"), Some(2));
        let running = queue.pop(at(0)).unwrap();
        let timed = queue.pop(at(0)).unwrap();
        let later = reported(Recheck::In(Duration::from_secs(5)));
        queue.finish(at(0), &timed.pair, &later, 0.5);
        queue.push("lz", subject("waits", 1), event("three"), Some(3));
        queue.push("lz", running.subject.clone(), event("four"), Some(4));
        queue.push("dns", subject("waits", 1), event("three"), Some(5));

        let mut given_back = queue.forget("lz");
        given_back.sort_unstable();
        assert_eq!(given_back, [3, 4]);
        assert_eq!(queue.next_due(), None);
        assert_eq!(
            queue.finish(at(1), &running.pair, &later, 0.5),
            Settled::Done(vec![1]),
            "what ran ends as it began"
        );
        assert_eq!(queue.next_due(), None);
        assert_eq!(queue.entries.len(), 1);
        assert_eq!(queue.pop(at(100)).unwrap().pair.adapter, "dns");
        assert_eq!(queue.pop(at(100)), None);
    }

    #[test]
    fn an_adapter_that_comes_back_while_its_old_run_ends_is_remembered() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), Some(1));
        let running = queue.pop(at(0)).unwrap();
        queue.forget("lz");
        queue.push("lz", subject("c", 2), event("two"), Some(2));
        let later = reported(Recheck::In(Duration::from_secs(5)));
        queue.finish(at(0), &running.pair, &later, 0.5);
        let again = queue.pop(at(0)).unwrap();
        assert_eq!(again.subject.generation, 2);
        assert_eq!(queue.finish(at(0), &again.pair, &later, 0.5), Settled::Done(vec![2]));
        assert_eq!(queue.next_due(), Some(at(5)));
    }

    #[test]
    fn stopping_gives_every_waiting_ticket_back() {
        let mut queue = Queue::new(Rhythms::default());
        queue.push("lz", subject("c", 1), event("one"), Some(1));
        queue.push("lz", subject("d", 1), event("two"), Some(2));
        let running = queue.pop(at(0)).unwrap();
        assert_eq!(queue.drain(), [2]);
        assert_eq!(
            queue.finish(at(0), &running.pair, &reported(Recheck::Never), 0.5),
            Settled::Done(vec![1])
        );
        assert_eq!(queue.pop(at(9)), None);
    }
}
