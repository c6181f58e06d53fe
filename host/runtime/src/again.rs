//! Answers that are given again, instead of asking.
//!
//! Most events tell of nothing new, and a plugin that says what its answers vary by (`vary` in the contract) need not
//! be asked what it has answered already. Guarantees that an answer is given again only to a question that is told the
//! same, but for what the plugin's answers do not vary by; and that all answers together take a bounded room.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use berth_engine::{
    adapter::Grants,
    contract::{Phase, PhaseAnswer, Question},
};
use quick_cache::{Weighter, sync::Cache};

use crate::{bindings::exported::vary, hash::Hash};

/// What an entry takes beside its answer, in bytes: about.
const BESIDE: u64 = 128;
/// How many answers are expected in so much room, in bytes each. They are more or fewer.
const EXPECTED: u64 = 1024;

/// What the answers of a plugin vary by, with its configuration of now.
#[derive(Debug, Clone)]
pub struct Vary {
    /// Which plugin with which configuration, grants and limits: answers are no one else's.
    of: u64,
    by: vary::ByPhase,
}

impl Vary {
    pub(crate) fn new(by: vary::ByPhase) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let of = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { of, by }
    }

    /// Under what an answer to `question` is kept; none where it depends on what its `grants` let it ask.
    pub(crate) fn key(&self, question: &Question, grants: &Grants) -> Option<Key> {
        let asks_nobody = grants.fleet.is_empty() && grants.cluster.is_empty() && grants.http.is_empty();
        asks_nobody.then(|| self.hash(question))
    }

    fn hash(&self, question: &Question) -> Key {
        let facts = question.facts();
        let phase = question.phase();
        let by = match phase {
            Phase::Preconditions => self.by.preconditions,
            Phase::Resources => self.by.resources,
            Phase::Postconditions => self.by.postconditions,
            Phase::Status => self.by.status,
        };
        // All facts make the seed.
        let counts = |part| by.contains(part) || by.contains(vary::Part::SEED);
        let mut hash = Hash::new();
        hash.bytes(&self.of.to_be_bytes())
            .text(phase.name())
            .value(&facts.carry);
        if counts(vary::Part::SUBJECT_STATUS) {
            hash.subject(&facts.subject);
        } else {
            hash.subject_without_status(&facts.subject);
        }
        if counts(vary::Part::TRIGGER) {
            hash.trigger(&facts.trigger);
        }
        if counts(vary::Part::STATUSES) {
            hash.statuses(&facts.statuses);
        }
        if counts(vary::Part::OWNER) {
            hash.owner(facts);
        }
        if counts(vary::Part::NOW) {
            hash.text(&facts.now);
        }
        match question {
            Question::Preconditions { .. } => {}
            Question::Resources { objects, .. } | Question::Postconditions { objects, .. } => {
                hash.objects(objects);
            }
            Question::Status { objects, draft, .. } => {
                hash.objects(objects).draft(draft);
            }
        }
        Key(hash.end())
    }
}

/// Under what an answer is kept: a hash of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

/// Answers of all plugins. What was not asked for in a long time goes first.
#[derive(Debug)]
pub(crate) struct Answers(Option<Cache<Key, Arc<[u8]>, Size>>);

#[derive(Debug, Clone)]
struct Size;

impl Weighter<Key, Arc<[u8]>> for Size {
    fn weight(&self, _: &Key, answer: &Arc<[u8]>) -> u64 {
        u64::try_from(answer.len()).map_or(u64::MAX, |size| size.saturating_add(BESIDE))
    }
}

impl Answers {
    /// Answers in so many bytes; 0 for none.
    pub(crate) fn new(room: u64) -> Self {
        let expected = usize::try_from(room / EXPECTED).unwrap_or(usize::MAX);
        Self((room > 0).then(|| Cache::with_weighter(expected, room, Size)))
    }

    pub(crate) fn get(&self, key: &Key) -> Option<PhaseAnswer> {
        let text = self.0.as_ref()?.get(key)?;
        serde_json::from_slice(&text).ok()
    }

    pub(crate) fn put(&self, key: Key, answer: &PhaseAnswer) {
        // As text they take a fraction of their room.
        if let (Some(cache), Ok(text)) = (&self.0, serde_json::to_vec(answer)) {
            cache.insert(key, text.into());
        }
    }
}
