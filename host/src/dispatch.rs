//! Turns events, changes and times into reconciles, and their ends into answers.
//!
//! One task owns the engine's queue and is told everything by messages; reconciles run as
//! tasks of their own, as many at a time as allowed. It knows the world only by its traits,
//! so production, the demo and tests run the same loop.
//!
//! # Guarantees
//! - An event is settled once every adapter that it concerns has reported.
//! - When the host stops, running reconciles end and waiting events are given back.
//! - A reconcile sees one document with its plugins, from its begin to its end.
//! - Nothing is kept of an adapter that was removed.
//!
//! An adapter that is removed leaves its events to the others: what only it was still to
//! report on is done, since nobody is left whom it concerns. To give such an event back would
//! not help, as it would be acknowledged at its next delivery; and where the adapter lives on
//! in another host, that host gets its own copy. A document that is refused is not removed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use berth_engine::{
    adapter::{Adapter, Of},
    contract::Trigger,
    effect::{Answer, Effect},
    queue::{Job, Pair, Queue, Rhythms, Settled as Ended},
    reason::Reason,
    reconcile::{Input, Outcome},
    report::Journey,
    subject::{Event, SubjectKey, SubjectRef},
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tracing::{Instrument as _, Span};

use crate::{
    driver,
    intake::Scope,
    shared_fetch::{Fetches, Shared},
    source::{Settled, Sink},
    world::{Change, Plugins, World},
};

/// When an event comes again whose adapter is not live yet.
const NOT_YET: Settled = Settled::Retry {
    after: Duration::from_secs(5),
    counts: false,
};
/// What becomes of an event that this host gives up: another may take it.
const AGAIN_SOON: Settled = Settled::Retry {
    after: Duration::from_secs(1),
    counts: false,
};

/// An adapter that is live: its document and its plugins, swapped as one.
#[derive(Clone)]
pub struct Live {
    /// The document.
    pub adapter: Arc<Adapter>,
    /// Its plugins, loaded and prepared.
    pub plugins: Arc<dyn Plugins>,
}

/// Who is told how things go. Every method may be left out.
pub trait Listener: Send + Sync {
    /// An effect was executed.
    fn executed(&self, _pair: &Pair, _effect: &Effect, _answer: &Answer) {}
    /// A reconcile ended.
    fn ended(&self, _adapter: &Adapter, _subject: &SubjectRef, _outcome: &Outcome, _took: Duration) {}
    /// How many reconciles wait and run.
    fn depth(&self, _waiting: usize, _running: usize) {}
}

/// A listener that hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deaf;

impl Listener for Deaf {}

/// Whether watches and timers of a subject are this host's to work on.
pub type Owns = Arc<dyn Fn(&SubjectKey) -> bool + Send + Sync>;

/// What a dispatcher needs.
pub struct Settings {
    /// The two APIs.
    pub world: World,
    /// Reads the time.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Who is told.
    pub listener: Arc<dyn Listener>,
    /// How many reconciles run at a time.
    pub concurrency: usize,
    /// How fast retries come.
    pub rhythms: Rhythms,
    /// What is left to other hosts; none where there are no others. Events are never left: who
    /// received one settles it.
    pub owns: Option<Owns>,
    /// Waiting and chance.
    pub waits: Waits,
}

/// Waiting and chance, handed in so that a run in virtual time can be made again exactly.
/// By default they are the machine's.
#[derive(Clone)]
pub struct Waits {
    /// Returns when so much time has passed.
    pub sleep: Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
    /// A number from 0 up to 1, which spreads retries.
    pub jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time))),
            jitter: Arc::new(rand::random::<f64>),
        }
    }
}

/// A handle to the running dispatcher; clones share it.
#[derive(Clone)]
pub struct Dispatcher {
    commands: mpsc::UnboundedSender<Command>,
    stopped: watch::Receiver<bool>,
}

enum Command {
    Event(Box<Event>, Scope, oneshot::Sender<Settled>),
    Change(Change),
    Adapters {
        live: Vec<Live>,
        awaited: BTreeSet<String>,
    },
    Concurrency(usize),
    Retry {
        adapter: String,
        subject: SubjectKey,
        known: oneshot::Sender<bool>,
    },
    Stop,
}

/// One event under way: how many adapters have not reported yet.
struct Pending {
    /// The event's id.
    event: String,
    /// Whether its broker delivers it again as long as it is not settled.
    is_kept: bool,
    left: usize,
    settled: Settled,
    answer: oneshot::Sender<Settled>,
    /// Kept so that its adapters share one GET.
    _fetch: Arc<Shared>,
}

struct Finished {
    pair: Pair,
    subject: SubjectRef,
    adapter: Arc<Adapter>,
    was_available: bool,
    outcome: Outcome,
    took: Duration,
    /// What log lines about it have in common.
    span: Span,
}

impl Dispatcher {
    /// Starts the loop. It ends after [`Dispatcher::begin_stop`].
    #[must_use]
    pub fn spawn(settings: Settings) -> Self {
        let (commands, received) = mpsc::unbounded_channel();
        let (stopping, stopped) = watch::channel(false);
        tokio::spawn(run(settings, received, stopping));
        Self { commands, stopped }
    }

    /// Replaces the live adapters. Reconciles under way end with what they began with; those
    /// of a new or changed document run again for every subject known.
    ///
    /// `awaited` are kinds of subjects of which an adapter is wanted that is not live yet: their
    /// events are given back rather than acknowledged while no other adapter takes them.
    pub fn set_adapters(&self, live: Vec<Live>, awaited: BTreeSet<String>) {
        self.send(Command::Adapters { live, awaited });
    }

    /// Changes how many reconciles run at a time. Those under way go on.
    pub fn set_concurrency(&self, concurrency: usize) {
        self.send(Command::Concurrency(concurrency));
    }

    /// Takes an event for the adapters of `scope`, and answers when it is settled.
    pub async fn accept_for(&self, event: Event, scope: Scope) -> Settled {
        let (answer, settled) = oneshot::channel();
        self.send(Command::Event(Box::new(event), scope, answer));
        settled.await.unwrap_or(AGAIN_SOON)
    }

    /// Takes in a change of an object.
    pub fn changed(&self, change: Change) {
        self.send(Command::Change(change));
    }

    /// Runs a pair by hand. False if nothing is known of it.
    pub async fn retry(&self, adapter: &str, subject: &SubjectKey) -> bool {
        let (known, answer) = oneshot::channel();
        self.send(Command::Retry {
            adapter: adapter.to_owned(),
            subject: subject.clone(),
            known,
        });
        answer.await.unwrap_or(false)
    }

    /// Takes no more work: events that are offered from now on are to come again.
    pub fn begin_stop(&self) {
        self.send(Command::Stop);
    }

    /// Waits for what runs after [`begin_stop`](Self::begin_stop), at most `patience`.
    pub async fn stopped(&self, patience: Duration) {
        let mut stopped = self.stopped.clone();
        let ended = async { stopped.wait_for(|stopped| *stopped).await.is_ok() };
        if tokio::time::timeout(patience, ended).await.is_err() {
            tracing::warn!(
                ?patience,
                "reconciles still ran when the host stopped; their events were not acknowledged"
            );
        }
    }

    fn send(&self, command: Command) {
        // The loop ends only after `stop`; what comes later is refused by its absence.
        drop(self.commands.send(command));
    }
}

#[async_trait]
impl Sink for Dispatcher {
    async fn accept(&self, event: Event) -> Settled {
        self.accept_for(event, Scope::Everyone).await
    }

    fn refused(&self, reason: &'static str) {
        tracing::info!(reason, "an event was refused");
    }

    fn set_aside(&self, reason: &'static str) {
        tracing::warn!(reason, "a message was set aside");
    }
}

struct State {
    settings: Settings,
    queue: Queue<u64>,
    adapters: BTreeMap<String, Live>,
    /// Kinds of subjects whose adapter is not live yet.
    awaited: BTreeSet<String>,
    pending: HashMap<u64, Pending>,
    fetches: Fetches,
    next_ticket: u64,
    running: JoinSet<Finished>,
    /// Whose reconcile a task is, for the day that one panics.
    tasks: HashMap<tokio::task::Id, Pair>,
}

async fn run(settings: Settings, mut commands: mpsc::UnboundedReceiver<Command>, stopped: watch::Sender<bool>) {
    let mut queue = Queue::new(settings.rhythms);
    queue.set_slots(settings.concurrency);
    let fetches = Fetches::new(Arc::clone(&settings.clock));
    let mut state = State {
        settings,
        queue,
        adapters: BTreeMap::new(),
        awaited: BTreeSet::new(),
        pending: HashMap::new(),
        fetches,
        next_ticket: 0,
        running: JoinSet::new(),
        tasks: HashMap::new(),
    };
    loop {
        state.start_ready();
        let now = (state.settings.clock)();
        // Without room nothing can begin, however long it has been due: the next end tells.
        let has_room = state.running.len() < state.settings.concurrency;
        let until_due = state.queue.next_due().filter(|_| has_room).map(|due| {
            Duration::try_from(due.duration_since(now))
                .unwrap_or_default()
                .max(Duration::from_millis(1))
        });
        tokio::select! {
            // In order, not by chance. What runs is bounded, so its ends keep nothing waiting.
            biased;
            Some(finished) = state.running.join_next_with_id(), if !state.running.is_empty() => state.finish(finished),
            command = commands.recv() => match command {
                Some(Command::Stop) | None => break,
                Some(command) => state.obey(command),
            },
            () = (state.settings.waits.sleep)(until_due.unwrap_or(Duration::MAX)), if until_due.is_some() => {}
        }
    }
    commands.close();
    let given_back = state.queue.drain();
    state.settle(given_back, &AGAIN_SOON);
    while let Some(finished) = state.running.join_next_with_id().await {
        state.finish(finished);
    }
    stopped.send_replace(true);
}

/// Whether a job is left to the host whose subject it is: that one has timers of its own, since it
/// sees the objects. Of a pair without objects only this host knows, which received its event.
fn is_left(job: &Job, owns: bool) -> bool {
    job.trigger == Trigger::Timer && !job.by_hand && job.memory.has_objects && !owns
}

/// Where a reconcile was begun by an event, its log lines name it.
fn span(pair: &Pair, trigger: &Trigger) -> Span {
    match trigger {
        Trigger::Event(event) => {
            let event = event.get("id").and_then(Value::as_str).unwrap_or_default();
            tracing::error_span!("reconcile", adapter = pair.adapter, subject = %pair.subject, event)
        }
        Trigger::Change(_) | Trigger::Timer => {
            tracing::error_span!("reconcile", adapter = pair.adapter, subject = %pair.subject)
        }
    }
}

impl State {
    fn obey(&mut self, command: Command) {
        match command {
            Command::Event(event, scope, answer) => self.take_event(*event, &scope, answer),
            Command::Change(change) => {
                if !self.owns(&change.subject.key) {
                    tracing::debug!(subject = %change.subject.key, "a change is left to the host whose subject it is");
                } else if self.adapters.contains_key(&change.adapter) {
                    self.queue
                        .push(&change.adapter, change.subject, Trigger::Change(change.object), None);
                } else {
                    tracing::debug!(adapter = change.adapter, object = %change.object, "an object of no adapter here changed");
                }
            }
            Command::Adapters { live, awaited } => self.take_adapters(live, awaited),
            Command::Concurrency(concurrency) => {
                self.settings.concurrency = concurrency;
                self.queue.set_slots(concurrency);
            }
            Command::Retry {
                adapter,
                subject,
                known,
            } => {
                let pair = Pair {
                    adapter: adapter.clone(),
                    subject,
                };
                let found = self.adapters.contains_key(&adapter) && self.queue.retry(&pair);
                // Whoever asked may have gone.
                let _ = known.send(found);
            }
            Command::Stop => {}
        }
    }

    fn owns(&self, subject: &SubjectKey) -> bool {
        self.settings.owns.as_ref().is_none_or(|owns| owns(subject))
    }

    fn take_adapters(&mut self, adapters: Vec<Live>, awaited: BTreeSet<String>) {
        let mut before = std::mem::take(&mut self.adapters);
        // What an adapter with a subscription of its own hears of is not for the others, and the other way round.
        let shares = |live: &&Live| live.adapter.events.is_empty();
        let sharing: BTreeSet<String> = before
            .values()
            .chain(&adapters)
            .filter(shares)
            .map(|live| live.adapter.name.clone())
            .collect();
        self.awaited = awaited;
        for live in adapters {
            let adapter = Arc::clone(&live.adapter);
            let old = before.remove(&adapter.name);
            let (is_new, is_same) = (
                old.is_none(),
                old.is_some_and(|old| Arc::ptr_eq(&old.plugins, &live.plugins)),
            );
            self.adapters.insert(adapter.name.clone(), live);
            if !is_same {
                self.queue.rouse(&adapter.name, None);
            }
            // Others may have settled events about them while it was not live.
            if is_new && sharing.contains(&adapter.name) {
                let is_meant =
                    |pair: &Pair| sharing.contains(&pair.adapter) && adapter.subjects.contains(&pair.subject.kind);
                for subject in self.queue.known(is_meant) {
                    self.queue.push(&adapter.name, subject, Trigger::Timer, None);
                }
            }
        }
        for removed in before.into_keys() {
            self.settings.world.cluster.await_nothing(&removed, None);
            let tickets = self.queue.forget(&removed);
            if !tickets.is_empty() {
                let events = tickets.len();
                tracing::info!(
                    adapter = removed,
                    events,
                    "events waited for an adapter that was removed; they are left to the other adapters"
                );
            }
            self.settle(tickets, &Settled::Done);
        }
    }

    fn take_event(&mut self, event: Event, scope: &Scope, answer: oneshot::Sender<Settled>) {
        let concerned: Vec<String> = self
            .adapters
            .values()
            .filter(|live| live.adapter.subjects.contains(&event.subject.key.kind) && scope.includes(&live.adapter))
            .map(|live| live.adapter.name.clone())
            .collect();
        let kind = &event.subject.key.kind;
        if concerned.is_empty() && (self.adapters.is_empty() || self.awaited.contains(kind)) {
            tracing::info!(event = event.id, subject = %event.subject.key, "the adapter of this kind is not live yet");
            let _ = answer.send(NOT_YET);
            return;
        }
        if concerned.is_empty() {
            tracing::info!(event = event.id, subject = %event.subject.key, "no adapter takes care of this kind");
            let _ = answer.send(Settled::Done);
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.pending.insert(
            ticket,
            Pending {
                event: event.id.clone(),
                is_kept: scope.is_kept(),
                left: concerned.len(),
                settled: Settled::Done,
                answer,
                _fetch: self.fetches.begin(&event),
            },
        );
        for adapter in concerned {
            let pair = Pair {
                adapter,
                subject: event.subject.key.clone(),
            };
            let older = self.merged(&pair, &event.id, scope);
            let trigger = Trigger::Event(event.document.clone());
            self.queue
                .push(&pair.adapter, event.subject.clone(), trigger, Some(ticket));
            self.settle(older, &Settled::Done);
        }
    }

    /// Events that wait for the same pair, for which this one stands from now on: an event only says that its subject must
    /// be looked at, and a broker has this one until that is reported. So one subject, however many events there are about
    /// it, takes two places among the messages in flight. Who sent an event by HTTP waits for its own report, and copies of
    /// one message are not settled apart: to some brokers they are the same.
    fn merged(&mut self, pair: &Pair, event: &str, scope: &Scope) -> Vec<u64> {
        if !scope.is_kept() {
            return Vec::new();
        }
        let pending = &self.pending;
        self.queue.supersede(pair, |ticket| {
            pending
                .get(ticket)
                .is_some_and(|older| older.is_kept && older.event != event)
        })
    }

    fn start_ready(&mut self) {
        while self.running.len() < self.settings.concurrency {
            let now = (self.settings.clock)();
            let Some(job) = self.queue.pop(now) else { break };
            let Some(live) = self.adapters.get(&job.pair.adapter).cloned() else {
                // What is known of an adapter goes with it, so this does not happen.
                let ended = self.queue.finish(now, &job.pair, &Outcome::Gone, 0.5);
                self.settle_ended(ended);
                continue;
            };
            if is_left(&job, self.owns(&job.pair.subject)) {
                // What waits here is given back.
                let (Ended::Done(tickets) | Ended::Retry(tickets, ..) | Ended::Refused(tickets, ..)) =
                    self.queue.finish(now, &job.pair, &Outcome::Gone, 0.5);
                self.settle(tickets, &AGAIN_SOON);
                continue;
            }
            let was_available = job.memory.available_at.is_some_and(|at| at >= job.subject.generation);
            let input = Input {
                adapter: Arc::clone(&live.adapter),
                subject: job.subject.clone(),
                trigger: job.trigger,
                by_hand: job.by_hand,
                now,
                cluster_now: self.settings.world.cluster.now(),
                memory: job.memory,
            };
            let world = self.fetches.world(&self.settings.world, &input.trigger);
            let listener = Arc::clone(&self.settings.listener);
            let pair = job.pair.clone();
            let span = span(&pair, &input.trigger);
            let entered = span.clone();
            let reconcile = async move {
                let began = Instant::now();
                let pair = job.pair;
                let mut seen = |effect: &Effect, answer: &Answer| listener.executed(&pair, effect, answer);
                let outcome = driver::drive(input, &world, live.plugins.as_ref(), &mut seen).await;
                let (subject, adapter) = (job.subject, live.adapter);
                Finished {
                    pair,
                    subject,
                    adapter,
                    was_available,
                    outcome,
                    took: began.elapsed(),
                    span,
                }
            };
            let task = self.running.spawn(reconcile.instrument(entered));
            self.tasks.insert(task.id(), pair);
        }
        let (waiting, running) = self.queue.depth();
        self.settings.listener.depth(waiting, running);
    }

    fn finish(&mut self, finished: Result<(tokio::task::Id, Finished), tokio::task::JoinError>) {
        let now = (self.settings.clock)();
        let Finished {
            pair,
            subject,
            adapter,
            was_available,
            outcome,
            took,
            span,
        } = match finished {
            Ok((task, finished)) => {
                self.tasks.remove(&task);
                finished
            }
            Err(error) => {
                tracing::error!(%error, "a reconcile panicked; this is a defect of berth");
                if let Some(pair) = self.tasks.remove(&error.id()) {
                    let outcome = Outcome::Retry {
                        reason: Reason::PlanInvalid,
                        message: error.to_string(),
                        after: None,
                    };
                    let ended = self.queue.finish(now, &pair, &outcome, (self.settings.waits.jitter)());
                    self.settle_ended(ended);
                }
                return;
            }
        };
        span.in_scope(|| self.settings.listener.ended(&adapter, &subject, &outcome, took));
        let ended = self.queue.finish(now, &pair, &outcome, (self.settings.waits.jitter)());
        self.settle_ended(ended);
        let cluster = &self.settings.world.cluster;
        if let Some((reason, message)) = outcome.trouble() {
            let (cluster, key) = (Arc::clone(cluster), pair.subject.clone());
            tokio::spawn(async move { cluster.announce(&adapter, &key, &reason, &message).await });
        }
        let awaited = match &outcome {
            Outcome::Reported(reported) => reported.await_namespace.as_deref(),
            Outcome::Gone => None,
            // Nothing new is known.
            Outcome::Retry { .. } | Outcome::Refused { .. } => return,
        };
        match awaited {
            Some(namespace) => cluster.await_namespace(namespace, &pair.adapter, &subject),
            None => cluster.await_nothing(&pair.adapter, Some(&pair.subject)),
        }
        let Outcome::Reported(reported) = outcome else { return };
        if !was_available
            && matches!(
                reported.journey,
                Journey::Achieved { .. } | Journey::NotApplicable { available: true, .. }
            )
        {
            self.rouse_dependents(&pair);
        }
    }

    /// Runs what waits for this adapter at once.
    fn rouse_dependents(&mut self, pair: &Pair) {
        let mut roused = Vec::new();
        for live in self.adapters.values() {
            for dependency in live.adapter.depends_on.iter().filter(|one| one.adapter == pair.adapter) {
                match dependency.of {
                    Of::Subject => roused.push((live.adapter.name.clone(), pair.subject.clone())),
                    Of::Owner => {
                        let owned = self.queue.owned_by(&live.adapter.name, &pair.subject);
                        roused.extend(owned.into_iter().map(|subject| (live.adapter.name.clone(), subject)));
                    }
                }
            }
        }
        for (adapter, subject) in roused {
            self.queue.rouse(&adapter, Some(&subject));
        }
    }

    fn settle_ended(&mut self, ended: Ended<u64>) {
        match ended {
            Ended::Done(tickets) => self.settle(tickets, &Settled::Done),
            Ended::Retry(tickets, after, reason) => {
                // A reconcile that panicked, or that waits for nothing. All other reasons are the
                // world's, which may mend.
                let counts = reason == Reason::PlanInvalid;
                self.settle(tickets, &Settled::Retry { after, counts });
            }
            Ended::Refused(tickets, reason, message) => {
                let reason = reason.name();
                self.settle(tickets, &Settled::Refused { reason, message });
            }
        }
    }

    fn settle(&mut self, tickets: Vec<u64>, settled: &Settled) {
        for ticket in tickets {
            let Some(pending) = self.pending.get_mut(&ticket) else {
                continue;
            };
            pending.left = pending.left.saturating_sub(1);
            pending.settled.join(settled);
            if pending.left == 0
                && let Some(pending) = self.pending.remove(&ticket)
            {
                // The sender may have lost patience; the work was done all the same.
                let _ = pending.answer.send(pending.settled);
            }
        }
    }
}

#[cfg(test)]
mod tests;
