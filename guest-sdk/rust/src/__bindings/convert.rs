//! Shared values, between the generated types and the SDK's.

use super::wit::types as wit;
use crate::{
    AdapterStatus, Condition, ContainerExit, Diagnosis, Facts, Failure, Json, Object, Owner, Reference, Subject,
    Trigger, Truth,
};

pub(super) fn facts(facts: wit::Facts) -> Facts {
    Facts {
        adapter: facts.adapter,
        trigger: match facts.trigger {
            wit::Trigger::Event(event) => Trigger::Event(Json::from_text(event)),
            wit::Trigger::Change(target) => Trigger::Change(reference_in(target)),
            wit::Trigger::Timer => Trigger::Timer,
        },
        subject: Subject {
            kind: facts.subject.kind,
            id: facts.subject.id,
            href: facts.subject.href,
            generation: facts.subject.generation,
            deleting: facts.subject.deleting,
            owner: facts.subject.owner.map(|owner| Owner {
                kind: owner.kind,
                id: owner.id,
                href: owner.href,
                document: Json::from_text(owner.document),
                statuses: statuses(owner.statuses),
            }),
            document: Json::from_text(facts.subject.document),
        },
        statuses: statuses(facts.statuses),
        config: Json::from_text(facts.config),
        prepared: facts.prepared,
        carry: Json::from_text(facts.carry),
        variables: facts
            .variables
            .into_iter()
            .map(|pair| (pair.name, pair.value))
            .collect(),
        now: facts.now,
        seed: facts.seed,
        extras: facts
            .extras
            .into_iter()
            .map(|pair| (pair.name, Json::from_text(pair.value)))
            .collect(),
    }
}

fn statuses(statuses: Vec<wit::AdapterStatus>) -> Vec<AdapterStatus> {
    statuses
        .into_iter()
        .map(|status| AdapterStatus {
            adapter: status.adapter,
            observed_generation: status.observed_generation,
            conditions: conditions_in(status.conditions),
            data: Json::from_text(status.data),
        })
        .collect()
}

pub(super) fn objects(objects: Vec<wit::Object>) -> Vec<Object> {
    objects
        .into_iter()
        .map(|object| Object {
            name: object.name,
            generation: object.generation,
            document: Json::from_text(object.document),
            diagnosis: object.diagnosis.map(diagnosis),
        })
        .collect()
}

fn diagnosis(diagnosis: wit::Diagnosis) -> Diagnosis {
    Diagnosis {
        reason: diagnosis.reason,
        message: diagnosis.message,
        exit_code: diagnosis.exit_code,
        termination_message: diagnosis.termination_message,
        attempt: diagnosis.attempt,
        exits: diagnosis
            .exits
            .into_iter()
            .map(|exit| ContainerExit {
                container: exit.container,
                exit_code: exit.exit_code,
                reason: exit.reason,
                message: exit.message,
            })
            .collect(),
    }
}

pub(super) fn conditions_in(conditions: Vec<wit::Condition>) -> Vec<Condition> {
    conditions
        .into_iter()
        .map(|condition| Condition {
            kind: condition.type_name,
            status: match condition.status {
                wit::Truth::True => Truth::True,
                wit::Truth::False => Truth::False,
                wit::Truth::Unknown => Truth::Unknown,
            },
            reason: condition.reason,
            message: condition.message,
        })
        .collect()
}

pub(super) fn conditions_out(conditions: Vec<Condition>) -> Vec<wit::Condition> {
    conditions
        .into_iter()
        .map(|condition| wit::Condition {
            type_name: condition.kind,
            status: match condition.status {
                Truth::True => wit::Truth::True,
                Truth::False => wit::Truth::False,
                Truth::Unknown => wit::Truth::Unknown,
            },
            reason: condition.reason,
            message: condition.message,
        })
        .collect()
}

fn reference_in(reference: wit::Reference) -> Reference {
    Reference {
        api_version: reference.api_version,
        kind: reference.kind,
        namespace: reference.namespace,
        name: reference.name,
    }
}

pub(super) fn reference_out(reference: Reference) -> wit::Reference {
    wit::Reference {
        api_version: reference.api_version,
        kind: reference.kind,
        namespace: reference.namespace,
        name: reference.name,
    }
}

pub(super) fn failure_in(failure: wit::Failure) -> Failure {
    Failure {
        reason: failure.reason,
        message: failure.message,
    }
}

pub(super) fn failure_out(failure: Failure) -> wit::Failure {
    wit::Failure {
        reason: failure.reason,
        message: failure.message,
    }
}

pub(super) fn pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Vec<wit::Pair> {
    pairs
        .into_iter()
        .map(|(name, value)| wit::Pair { name, value })
        .collect()
}
