//! Answers that are given again, instead of asking.
//!
//! Most events tell of nothing new, and a plugin that says what its answers vary by (`vary` in the contract) need not
//! be asked what it has answered already. Guarantees that an answer is given again only to a question that is told the
//! same, but for what the plugin's answers do not vary by; and that all answers together take a bounded room.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use berth_engine::{
    adapter::Grants,
    contract::{Operation, Phase, PhaseAnswer, Question, Said},
    document::{Document, DocumentHash},
};
use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest as _, Sha256};

use crate::{bindings::exported::vary, hash::Hash};

/// What an entry takes beside its answer, in bytes: about.
const BESIDE: u64 = 256;
/// When so many different answers are known, those that are not kept any more are looked for.
const LOOK_AT: usize = 1024;
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
pub(crate) struct Answers(Option<Room>);

#[derive(Debug)]
struct Room {
    answers: Cache<Key, Arc<Kept>, Size>,
    /// Answers by their hashes: as what a phase is told changes, most answers stay the same.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_hash: HashMap<DocumentHash, Weak<Kept>>,
    /// How many there may be until they are looked through. Looking is paid for by what came since.
    look_at: usize,
}

/// An answer in little room: as text, since it takes a multiple when it is parsed.
#[derive(Debug)]
struct Kept {
    /// The answer, with nulls for the documents of manifests.
    text: Box<[u8]>,
    manifests: Box<[Manifest]>,
}

#[derive(Debug)]
struct Manifest {
    /// In its canonical form.
    text: Box<str>,
    hash: DocumentHash,
}

impl Kept {
    fn of(answer: &PhaseAnswer) -> Option<Self> {
        let mut answer = answer.clone();
        let manifests = documents(&mut answer).map(|document| {
            let document = std::mem::take(document);
            Manifest {
                text: document.text().into(),
                hash: *document.hash(),
            }
        });
        let manifests = manifests.collect();
        let text = serde_json::to_vec(&answer).ok()?.into();
        Some(Self { text, manifests })
    }

    fn answer(self: &Arc<Self>) -> Option<PhaseAnswer> {
        let mut answer = serde_json::from_slice(&self.text).ok()?;
        for (number, document) in documents(&mut answer).enumerate() {
            let (kept, hash) = (Arc::clone(self), self.manifests.get(number)?.hash);
            let text = move || kept.manifests.get(number).map(|one| one.text.to_string());
            *document = Document::known(hash, None, move || text().unwrap_or_default());
        }
        Some(answer)
    }

    fn hash(&self) -> DocumentHash {
        let mut hash = Sha256::new();
        hash.update(&self.text);
        for manifest in &self.manifests {
            hash.update(manifest.hash);
        }
        hash.finalize().into()
    }
}

/// The documents of an answer's manifests.
fn documents(answer: &mut PhaseAnswer) -> impl Iterator<Item = &mut Document> {
    let operations = match &mut answer.said {
        Said::Resources(plan) => plan.operations.as_mut_slice(),
        Said::Preconditions(_) | Said::Postconditions(_) | Said::Status(_) => &mut [],
    };
    operations.iter_mut().filter_map(|operation| match operation {
        Operation::Apply(manifest) => Some(&mut manifest.document),
        Operation::Delete { .. } | Operation::Discover(_) | Operation::Skip { .. } => None,
    })
}

#[derive(Debug, Clone)]
struct Size;

impl Weighter<Key, Arc<Kept>> for Size {
    // Each as if no other were the same: those that are may go before it.
    fn weight(&self, _: &Key, kept: &Arc<Kept>) -> u64 {
        let manifests = kept.manifests.iter().map(|one| one.text.len() + size_of::<Manifest>());
        let size = kept.text.len() + manifests.sum::<usize>();
        u64::try_from(size).map_or(u64::MAX, |size| size.saturating_add(BESIDE))
    }
}

impl Answers {
    /// Answers in so many bytes; 0 for none.
    pub(crate) fn new(room: u64) -> Self {
        let expected = usize::try_from(room / EXPECTED).unwrap_or(usize::MAX);
        Self((room > 0).then(|| Room {
            answers: Cache::with_weighter(expected, room, Size),
            known: Mutex::default(),
        }))
    }

    pub(crate) fn get(&self, key: &Key) -> Option<PhaseAnswer> {
        self.0.as_ref()?.answers.get(key)?.answer()
    }

    pub(crate) fn put(&self, key: Key, answer: &PhaseAnswer) {
        if let (Some(room), Some(kept)) = (&self.0, Kept::of(answer)) {
            let mut known = room.known.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = known.share(kept);
            drop(known);
            room.answers.insert(key, kept);
        }
    }
}

impl Known {
    /// The same answer, if it is kept already.
    fn share(&mut self, kept: Kept) -> Arc<Kept> {
        let hash = kept.hash();
        if let Some(known) = self.by_hash.get(&hash).and_then(Weak::upgrade) {
            return known;
        }
        if self.by_hash.len() >= self.look_at {
            self.by_hash.retain(|_, known| known.strong_count() > 0);
            self.look_at = LOOK_AT.max(2 * self.by_hash.len());
        }
        let kept = Arc::new(kept);
        self.by_hash.insert(hash, Arc::downgrade(&kept));
        kept
    }
}

#[cfg(test)]
mod tests {
    use berth_engine::contract::{self, Plan, Propagation, Reference, Verdict};
    use serde_json::json;

    use super::*;

    fn key(number: u8) -> Key {
        Key([number; 32])
    }

    fn apply(name: &str) -> Operation {
        Operation::Apply(contract::Manifest {
            name: name.to_owned(),
            document: json!({"kind": "Job", "metadata": {"name": name}, "spec": {"template": {"é\u{1}": [1.0]}}})
                .into(),
            recreate: true,
            after: vec!["first".to_owned()],
        })
    }

    fn plan() -> PhaseAnswer {
        let delete = Operation::Delete {
            name: "old".to_owned(),
            target: Reference {
                api_version: "v1".to_owned(),
                kind: "Secret".to_owned(),
                namespace: None,
                name: "old".to_owned(),
            },
            propagation: Propagation::Orphan,
        };
        PhaseAnswer {
            said: Said::Resources(Plan {
                operations: vec![apply("first"), delete, apply("second")],
                more: true,
            }),
            carry: json!({"a": 1}),
        }
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let answers = Answers::new(1 << 20);
        let mut plan = plan();
        answers.put(key(1), &plan);
        let mut again = answers.get(&key(1)).unwrap();
        assert_eq!(again, plan);
        for (one, other) in documents(&mut again).zip(documents(&mut plan)) {
            assert_eq!((one.hash(), one.text()), (other.hash(), other.text()));
        }
        assert_eq!(answers.get(&key(2)), None);
    }

    #[test]
    fn equal_answers_are_kept_once_and_not_longer_than_anybody_keeps_them() {
        let mut known = Known::default();
        let kept = || Kept::of(&plan()).unwrap();
        let first = known.share(kept());
        assert!(Arc::ptr_eq(&first, &known.share(kept())));
        let mut other = plan();
        documents(&mut other).for_each(|document| *document = json!({"kind": "Job"}).into());
        let other = known.share(Kept::of(&other).unwrap());
        assert!(!Arc::ptr_eq(&first, &other));
        drop(first);
        for number in 0..10 * LOOK_AT {
            let said = Said::Preconditions(Verdict::NotApplicable(number.to_string()));
            let carry = json!(null);
            drop(known.share(Kept::of(&PhaseAnswer { said, carry }).unwrap()));
        }
        assert!(known.by_hash.len() <= LOOK_AT, "{}", known.by_hash.len());
        assert!(Arc::ptr_eq(&other, &known.by_hash[&other.hash()].upgrade().unwrap()));
    }
}
