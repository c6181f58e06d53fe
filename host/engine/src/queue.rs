//! Whose turn it is: one reconcile per adapter and subject at a time, merged triggers,
//! timers and backoff, on passed-in time.
//!
//! # Guarantees
//! - A pair is never handed out twice at the same time.
//! - A trigger that comes while its pair runs is not lost: the pair runs again.
//! - Adapters take turns, so that a busy one does not starve the others.
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
    /// Whether it stands among the pairs that are ready.
    queued: bool,
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

/// The queue. `T` is what an event is settled with.
#[derive(Debug)]
pub struct Queue<T> {
    rhythms: Rhythms,
    /// In order, so that the same triggers give the same turns.
    entries: BTreeMap<Pair, Entry<T>>,
    /// The subjects of each adapter by the subject that owns them.
    owned: BTreeMap<(String, SubjectKey), BTreeSet<SubjectKey>>,
    /// Pairs that are ready, by adapter.
    ready: BTreeMap<String, VecDeque<SubjectKey>>,
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
            turns: VecDeque::new(),
            timers: BTreeMap::new(),
            running: 0,
        }
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
            queued: false,
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
        if !was_waiting && entry.running.is_none() {
            self.make_ready(&pair);
        }
    }

    /// The next reconcile to run now, if any: adapters in turn.
    pub fn pop(&mut self, now: Timestamp) -> Option<Job> {
        self.wake(now);
        for _ in 0..self.turns.len() {
            let adapter = self.turns.pop_front()?;
            let Some(subjects) = self.ready.get_mut(&adapter) else {
                continue;
            };
            let next = subjects.pop_front();
            if subjects.is_empty() {
                self.ready.remove(&adapter);
            } else {
                self.turns.push_back(adapter.clone());
            }
            let Some(subject) = next else { continue };
            let pair = Pair { adapter, subject };
            let Some(entry) = self.entries.get_mut(&pair) else {
                continue;
            };
            let Some(trigger) = entry.waiting.take() else { continue };
            entry.running = Some(std::mem::take(&mut entry.tickets));
            entry.held = false;
            entry.queued = false;
            let in_a_row = now.duration_since(entry.ended).as_secs() < QUIET;
            entry.changes = match &trigger {
                Trigger::Change(_) if in_a_row => entry.changes.saturating_add(1),
                Trigger::Change(_) | Trigger::Event(_) | Trigger::Timer => 0,
            };
            if let Some(due) = entry.due.take() {
                forget_timer(&mut self.timers, due, &pair);
            }
            self.running += 1;
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
        self.running -= 1;
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
            let due = now.checked_add(jiff::SignedDuration::try_from(wait).unwrap_or(jiff::SignedDuration::MAX));
            let due = due.unwrap_or(Timestamp::MAX);
            entry.due = Some(due);
            self.timers.entry(due).or_default().push(pair.clone());
        }
        match outcome {
            Outcome::Reported(_) | Outcome::Gone => Settled::Done(tickets),
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
            entry.queued = false;
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
        (self.ready.values().map(VecDeque::len).sum(), self.running)
    }

    /// Gives back the tickets of everything that waits and forgets it: the host stops.
    pub fn drain(&mut self) -> Vec<T> {
        self.ready.clear();
        self.turns.clear();
        self.timers.clear();
        let mut tickets = Vec::new();
        for entry in self.entries.values_mut() {
            entry.waiting = None;
            entry.queued = false;
            entry.due = None;
            tickets.append(&mut entry.tickets);
        }
        tickets
    }

    fn make_ready(&mut self, pair: &Pair) {
        let Some(entry) = self.entries.get_mut(pair) else {
            return;
        };
        if std::mem::replace(&mut entry.queued, true) {
            return;
        }
        let subjects = self.ready.entry(pair.adapter.clone()).or_default();
        if subjects.is_empty() {
            self.turns.push_back(pair.adapter.clone());
        }
        subjects.push_back(pair.subject.clone());
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
        assert_eq!(queue.next_due(), Some(at(42)));
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
