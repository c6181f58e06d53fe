//! A hash over what a phase is told.

use berth_engine::{
    canonical,
    contract::{AdapterStatus, Condition, Diagnosis, Draft, Facts, Failure, Object, OperationEffect, Trigger, Truth},
    document::Document,
    subject::Subject,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Parts are told apart by their lengths.
pub(crate) struct Hash(Sha256);

impl Hash {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.update(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn option(&mut self, text: Option<&str>) -> &mut Self {
        self.number(text.is_some().into()).text(text.unwrap_or_default())
    }

    pub(crate) fn number(&mut self, number: u32) -> &mut Self {
        self.0.update(number.to_be_bytes());
        self
    }

    fn count<T>(&mut self, list: &[T]) -> &mut Self {
        self.number(u32::try_from(list.len()).unwrap_or(u32::MAX))
    }

    /// Documents are hashed once for all phases.
    fn document(&mut self, document: &Document) -> &mut Self {
        self.0.update(document.hash());
        self
    }

    pub(crate) fn value(&mut self, value: &Value) -> &mut Self {
        self.text(&canonical::text(value))
    }

    pub(crate) fn trigger(&mut self, trigger: &Trigger) -> &mut Self {
        match trigger {
            Trigger::Event(event) => self.text("event").document(event),
            Trigger::Change(object) => self
                .text("change")
                .text(&object.api_version)
                .text(&object.kind)
                .option(object.namespace.as_deref())
                .text(&object.name),
            Trigger::Timer => self.text("timer"),
        }
    }

    /// The subject itself.
    pub(crate) fn subject(&mut self, subject: &Subject) -> &mut Self {
        self.identity(subject).document(&subject.document)
    }

    /// The subject without what HyperFleet itself writes into it.
    pub(crate) fn subject_without_status(&mut self, subject: &Subject) -> &mut Self {
        self.identity(subject).0.update(subject.document.hash_without_status());
        self
    }

    fn identity(&mut self, subject: &Subject) -> &mut Self {
        self.text(&subject.key.kind)
            .text(&subject.key.id)
            .text(&subject.href)
            .number(subject.generation)
            .number(subject.deleting.into())
    }

    /// Its owner, and what adapters reported about that.
    pub(crate) fn owner(&mut self, facts: &Facts) -> &mut Self {
        match (&facts.owner, &facts.subject.owner) {
            (Some(owner), _) => self
                .text(&owner.reference.key.kind)
                .text(&owner.reference.key.id)
                .text(&owner.reference.href)
                .document(&owner.document)
                .statuses(&owner.statuses),
            // Nothing asked for more of it.
            (None, Some(owner)) => self
                .text(&owner.key.kind)
                .text(&owner.key.id)
                .text(&owner.href)
                .text("null")
                .statuses(&[]),
            (None, None) => self,
        }
    }

    /// What adapters reported.
    pub(crate) fn statuses(&mut self, statuses: &[AdapterStatus]) -> &mut Self {
        self.count(statuses);
        for status in statuses {
            self.text(&status.adapter)
                .number(status.observed_generation)
                .conditions(&status.conditions)
                .value(&status.data);
        }
        self
    }

    fn conditions(&mut self, conditions: &[Condition]) -> &mut Self {
        self.count(conditions);
        for condition in conditions {
            let truth = match condition.status {
                Truth::True => "True",
                Truth::False => "False",
                Truth::Unknown => "Unknown",
            };
            self.text(&condition.kind)
                .text(truth)
                .text(&condition.reason)
                .text(&condition.message);
        }
        self
    }

    pub(crate) fn objects(&mut self, objects: &[Object]) -> &mut Self {
        self.count(objects);
        for object in objects {
            self.text(&object.name)
                .number(object.generation)
                .document(&object.document);
            match &object.diagnosis {
                Some(diagnosis) => self.number(1).diagnosis(diagnosis),
                None => self.number(0),
            };
        }
        self
    }

    fn diagnosis(&mut self, diagnosis: &Diagnosis) -> &mut Self {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        self.text(&diagnosis.reason)
            .text(&diagnosis.message)
            .option(diagnosis.exit_code.map(|code| code.to_string()).as_deref())
            .option(diagnosis.termination_message.as_deref())
            .option(number(diagnosis.attempt).as_deref())
            .count(&diagnosis.exits);
        for exit in &diagnosis.exits {
            self.text(&exit.container)
                .text(&exit.exit_code.to_string())
                .text(&exit.reason)
                .text(&exit.message);
        }
        self
    }

    pub(crate) fn draft(&mut self, draft: &Draft) -> &mut Self {
        self.text(&draft.journey)
            .conditions(&draft.conditions)
            .count(&draft.operations);
        for operation in &draft.operations {
            self.text(&operation.name);
            match &operation.effect {
                OperationEffect::Created => self.text("created"),
                OperationEffect::Updated => self.text("updated"),
                OperationEffect::Recreated => self.text("recreated"),
                OperationEffect::Unchanged => self.text("unchanged"),
                OperationEffect::Deleted => self.text("deleted"),
                OperationEffect::Absent => self.text("absent"),
                OperationEffect::Found => self.text("found"),
                OperationEffect::Skipped(why) => self.text("skipped").text(why),
                OperationEffect::Failed(Failure { reason, message }) => self.text("failed").text(reason).text(message),
            };
        }
        self
    }
}
