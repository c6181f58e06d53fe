//! What was promised, written down by somebody who does not ask the engine.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use berth::dispatch::Listener;
use berth_engine::{
    adapter::Adapter,
    contract::Truth,
    queue::Pair,
    reconcile::Outcome,
    report::Report,
    subject::{Generation, SubjectKey, SubjectRef},
};

use super::{adapters, time::Time};

/// Which host: they are numbered, and one that starts again is another.
pub(super) type HostNumber = usize;

/// What happened. Clones are the same.
#[derive(Clone)]
pub(super) struct Ledger {
    time: Time,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// Counts what the APIs answered.
    moment: u64,
    /// When the API last stored a report of a host, and of which generation.
    stored: HashMap<(HostNumber, String, String), (u64, Generation)>,
    /// When the API last told a host that a subject is gone.
    gone: HashMap<(HostNumber, String), u64>,
    /// When a host last ended a reconcile, and whether it has something to show.
    ended: BTreeMap<(HostNumber, Pair), (u64, bool)>,
    counts: BTreeMap<&'static str, u64>,
    broken: Vec<String>,
    trace: DefaultHasher,
}

impl Ledger {
    pub(super) fn new(time: Time) -> Self {
        Self {
            time,
            inner: Arc::default(),
        }
    }

    /// Counts something, so that a run tells what happened in it.
    pub(super) fn count(&self, what: &'static str) {
        *self.lock().counts.entry(what).or_default() += 1;
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    /// A promise was broken.
    pub(super) fn broke(&self, what: String) {
        let at = self.time.elapsed();
        self.lock().broken.push(format!("after {at:?}: {what}"));
    }

    pub(super) fn broken(&self) -> Vec<String> {
        self.lock().broken.clone()
    }

    /// What all that happened comes to: equal for equal runs.
    pub(super) fn trace(&self) -> u64 {
        self.lock().trace.finish()
    }

    /// The API stored a report.
    pub(super) fn stored(&self, host: HostNumber, subject: &str, report: &Report) {
        let mut inner = self.lock();
        inner.moment += 1;
        let now = inner.moment;
        let key = (host, report.adapter.clone(), subject.to_owned());
        inner.stored.insert(key, (now, report.observed_generation));
        let available = report
            .conditions
            .iter()
            .any(|one| one.kind == "Available" && one.status == Truth::True);
        let what = (
            self.time.elapsed(),
            host,
            &report.adapter,
            subject,
            report.observed_generation,
            available,
        );
        what.hash(&mut inner.trace);
        *inner.counts.entry("reports stored").or_default() += 1;
    }

    /// The API said that there is no such subject.
    pub(super) fn gone(&self, host: HostNumber, subject: &str) {
        let mut inner = self.lock();
        inner.moment += 1;
        let now = inner.moment;
        inner.gone.insert((host, subject.to_owned()), now);
    }

    /// An event is handed to a host.
    pub(super) fn given(&self) -> u64 {
        self.lock().moment
    }

    /// A host acknowledged an event that it was given at `given`: every adapter must have had a
    /// report stored since, or the API must have said that the subject is gone.
    pub(super) fn acknowledged(&self, host: HostNumber, given: u64, subject: &SubjectRef) {
        let id = &subject.key.id;
        let mut unfounded = Vec::new();
        {
            let inner = self.lock();
            let gone = inner.gone.get(&(host, id.clone())).is_some_and(|at| *at > given);
            for adapter in adapters::of_kind(&subject.key.kind) {
                let stored = inner.stored.get(&(host, (*adapter).to_owned(), id.clone()));
                let told = stored.is_some_and(|(at, generation)| *at > given && *generation >= subject.generation);
                if !told && !gone {
                    unfounded.push(*adapter);
                }
            }
        }
        for adapter in unfounded {
            self.broke(format!(
                "host {host} acknowledged an event about {} at generation {}, and {adapter} had reported nothing",
                subject.key, subject.generation
            ));
        }
        self.count("events acknowledged");
    }

    /// Pairs of a host whose last reconcile has nothing to show.
    pub(super) fn unfinished(&self, host: HostNumber) -> Vec<String> {
        let inner = self.lock();
        let of_host = inner.ended.iter().filter(|((of, _), (_, done))| *of == host && !done);
        of_host
            .map(|((_, pair), _)| format!("{} {}", pair.adapter, pair.subject))
            .collect()
    }

    fn ended(&self, host: HostNumber, subject: &SubjectKey, adapter: &str, outcome: &Outcome) {
        let pair = Pair {
            adapter: adapter.to_owned(),
            subject: subject.clone(),
        };
        let (unfounded, name) = {
            let mut inner = self.lock();
            let since = inner.ended.get(&(host, pair.clone())).map_or(0, |(at, _)| *at);
            let stored = inner.stored.get(&(host, pair.adapter.clone(), subject.id.clone()));
            let has_stored = stored.is_some_and(|(at, _)| *at > since);
            // Who is gone stays so. Adapters share the answer to one event, which may be older than this
            // adapter's last end.
            let has_gone = inner.gone.contains_key(&(host, subject.id.clone()));
            let (name, founded, done) = match outcome {
                Outcome::Reported(reported) => (reported.journey.name(), has_stored, true),
                Outcome::Gone => ("gone", has_gone, true),
                Outcome::Retry { .. } => ("retry", true, false),
                // The API refuses nothing for good here.
                Outcome::Refused { .. } => ("refused", false, false),
            };
            let now = inner.moment;
            inner.ended.insert((host, pair.clone()), (now, done));
            (!founded, name)
        };
        if unfounded {
            self.broke(format!(
                "host {host} ended a reconcile of {adapter} {subject} with {name}, and the API knows nothing of it"
            ));
        }
        self.count(name);
        self.count("reconciles");
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of the reconciles of one host.
pub(super) struct Ear {
    pub(super) host: HostNumber,
    pub(super) ledger: Ledger,
}

impl Listener for Ear {
    fn ended(&self, adapter: &Adapter, subject: &SubjectRef, outcome: &Outcome, _: Duration) {
        self.ledger.ended(self.host, &subject.key, &adapter.name, outcome);
    }
}
