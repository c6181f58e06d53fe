//! What a guest is told. Documents become canonical text, once for all calls.

use berth_engine::{canonical, contract as engine};

use crate::{
    bindings::{
        exported::status::{Draft, Effect, OperationResult},
        imported::types as guest,
    },
    call::CallContext,
    plugin::Digest,
    seed,
};

pub(crate) fn facts(facts: &engine::Facts, context: &CallContext, digest: &Digest) -> guest::Facts {
    guest::Facts {
        adapter: facts.adapter.clone(),
        trigger: trigger(&facts.trigger),
        subject: subject(facts),
        statuses: facts.statuses.iter().map(status).collect(),
        config: context.config.to_string(),
        prepared: context.prepared.to_vec(),
        carry: canonical::text(&facts.carry),
        variables: context
            .variables
            .iter()
            .map(|(name, value)| pair(name, value))
            .collect(),
        now: facts.now.clone(),
        seed: seed::seed(facts, &context.config, digest),
        extras: Vec::new(),
    }
}

fn subject(facts: &engine::Facts) -> guest::Subject {
    let subject = &facts.subject;
    let owner = match (&facts.owner, &subject.owner) {
        (Some(owner), _) => Some(guest::Owner {
            kind: owner.reference.key.kind.clone(),
            id: owner.reference.key.id.clone(),
            href: owner.reference.href.clone(),
            document: owner.document.text().to_owned(),
            statuses: owner.statuses.iter().map(status).collect(),
        }),
        (None, Some(owner)) => Some(guest::Owner {
            kind: owner.key.kind.clone(),
            id: owner.key.id.clone(),
            href: owner.href.clone(),
            document: "null".to_owned(),
            statuses: Vec::new(),
        }),
        (None, None) => None,
    };
    guest::Subject {
        kind: subject.key.kind.clone(),
        id: subject.key.id.clone(),
        href: subject.href.clone(),
        generation: subject.generation,
        deleting: subject.deleting,
        owner,
        document: subject.document.text().to_owned(),
    }
}

fn trigger(trigger: &engine::Trigger) -> guest::Trigger {
    match trigger {
        engine::Trigger::Event(event) => guest::Trigger::Event(event.text().to_owned()),
        engine::Trigger::Change(target) => guest::Trigger::Change(reference(target)),
        engine::Trigger::Timer => guest::Trigger::Timer,
    }
}

fn status(status: &engine::AdapterStatus) -> guest::AdapterStatus {
    guest::AdapterStatus {
        adapter: status.adapter.clone(),
        observed_generation: status.observed_generation,
        conditions: status.conditions.iter().map(condition).collect(),
        data: canonical::text(&status.data),
    }
}

fn condition(condition: &engine::Condition) -> guest::Condition {
    guest::Condition {
        type_name: condition.kind.clone(),
        status: match condition.status {
            engine::Truth::True => guest::Truth::True,
            engine::Truth::False => guest::Truth::False,
            engine::Truth::Unknown => guest::Truth::Unknown,
        },
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    }
}

fn reference(reference: &engine::Reference) -> guest::Reference {
    guest::Reference {
        api_version: reference.api_version.clone(),
        kind: reference.kind.clone(),
        namespace: reference.namespace.clone(),
        name: reference.name.clone(),
    }
}

pub(crate) fn pair(name: &str, value: &str) -> guest::Pair {
    guest::Pair {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

pub(crate) fn objects(objects: &[engine::Object]) -> Vec<guest::Object> {
    objects
        .iter()
        .map(|object| guest::Object {
            name: object.name.clone(),
            generation: object.generation,
            document: object.document.text().to_owned(),
            diagnosis: object.diagnosis.as_ref().map(diagnosis),
        })
        .collect()
}

fn diagnosis(diagnosis: &engine::Diagnosis) -> guest::Diagnosis {
    guest::Diagnosis {
        reason: diagnosis.reason.clone(),
        message: diagnosis.message.clone(),
        exit_code: diagnosis.exit_code,
        termination_message: diagnosis.termination_message.clone(),
        attempt: diagnosis.attempt,
        exits: diagnosis
            .exits
            .iter()
            .map(|exit| guest::ContainerExit {
                container: exit.container.clone(),
                exit_code: exit.exit_code,
                reason: exit.reason.clone(),
                message: exit.message.clone(),
            })
            .collect(),
    }
}

pub(crate) fn draft(draft: &engine::Draft) -> Draft {
    Draft {
        journey: draft.journey.clone(),
        conditions: draft.conditions.iter().map(condition).collect(),
        operations: draft
            .operations
            .iter()
            .map(|operation| OperationResult {
                name: operation.name.clone(),
                effect: effect(&operation.effect),
            })
            .collect(),
    }
}

fn effect(effect: &engine::OperationEffect) -> Effect {
    match effect {
        engine::OperationEffect::Created => Effect::Created,
        engine::OperationEffect::Updated => Effect::Updated,
        engine::OperationEffect::Recreated => Effect::Recreated,
        engine::OperationEffect::Unchanged => Effect::Unchanged,
        engine::OperationEffect::Deleted => Effect::Deleted,
        engine::OperationEffect::Absent => Effect::Absent,
        engine::OperationEffect::Found => Effect::Found,
        engine::OperationEffect::Skipped(why) => Effect::Skipped(why.clone()),
        engine::OperationEffect::Failed(failure) => Effect::Failed(guest::Failure {
            reason: failure.reason.clone(),
            message: failure.message.clone(),
        }),
    }
}
