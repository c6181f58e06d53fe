//! The number that makes a guest's random choices repeatable.

use berth_engine::{contract as engine, document::Document};
use sha2::{Digest as _, Sha256};

use crate::{
    bindings::imported::types::{AdapterStatus, Facts, Truth},
    plugin::Digest,
};

/// The first eight bytes, big-endian, of a SHA-256 over all facts and the plugin's digest. `told` is what the guest is
/// told of `facts`, but for the seed itself.
pub(crate) fn seed(facts: &engine::Facts, told: &Facts, digest: &Digest) -> u64 {
    let mut hash = Hash(Sha256::new());
    for text in [digest.as_str(), &told.adapter, &told.now, &told.config, &told.carry] {
        hash.text(text);
    }
    match &facts.trigger {
        engine::Trigger::Event(event) => hash.text("event").document(event),
        engine::Trigger::Change(object) => hash
            .text("change")
            .text(&object.api_version)
            .text(&object.kind)
            .option(object.namespace.as_deref())
            .text(&object.name),
        engine::Trigger::Timer => hash.text("timer"),
    };
    let subject = &told.subject;
    hash.text(&subject.kind)
        .text(&subject.id)
        .text(&subject.href)
        .number(subject.generation)
        .number(subject.deleting.into())
        .document(&facts.subject.document)
        .statuses(&told.statuses);
    if let Some(owner) = &subject.owner {
        hash.text(&owner.kind).text(&owner.id).text(&owner.href);
        match &facts.owner {
            Some(read) => hash.document(&read.document),
            None => hash.text(&owner.document),
        };
        hash.statuses(&owner.statuses);
    }
    let hash = hash.0.finalize();
    hash.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Parts are told apart by their lengths.
struct Hash(Sha256);

impl Hash {
    fn text(&mut self, text: &str) -> &mut Self {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.update(text);
        self
    }

    fn option(&mut self, text: Option<&str>) -> &mut Self {
        self.number(text.is_some().into()).text(text.unwrap_or_default())
    }

    fn number(&mut self, number: u32) -> &mut Self {
        self.0.update(number.to_be_bytes());
        self
    }

    /// Documents are hashed once for all phases.
    fn document(&mut self, document: &Document) -> &mut Self {
        self.0.update(document.hash());
        self
    }

    fn statuses(&mut self, statuses: &[AdapterStatus]) -> &mut Self {
        self.number(u32::try_from(statuses.len()).unwrap_or(u32::MAX));
        for status in statuses {
            self.text(&status.adapter).number(status.observed_generation);
            self.number(u32::try_from(status.conditions.len()).unwrap_or(u32::MAX));
            for condition in &status.conditions {
                let truth = match condition.status {
                    Truth::True => "True",
                    Truth::False => "False",
                    Truth::Unknown => "Unknown",
                };
                self.text(&condition.type_name)
                    .text(truth)
                    .text(&condition.reason)
                    .text(&condition.message);
            }
            self.text(&status.data);
        }
        self
    }
}
