//! Asks a plugin once for each phase that a document uses, before it takes over.
//!
//! The facts are made up and nothing is behind the imports, so an answer proves little, and a
//! plugin may well answer that it cannot work with them. What is refused is a plugin that does
//! not come to answer at all: it traps, runs into a limit, or cannot be started.

use std::{fmt, sync::Arc};

use berth_engine::{
    adapter::Adapter,
    contract::{Draft, Facts, Phase, Question, Trigger},
    subject::{Subject, SubjectKey},
};
use berth_runtime::{CallContext, Cause, Plugin, hosts::NoHost};
use serde_json::{Value, json};

/// Why a plugin does not take over.
#[derive(Debug)]
pub(super) struct Failed {
    phase: Phase,
    cause: Cause,
}

impl Failed {
    /// A busy machine makes a plugin slow; everything else happens again.
    pub(super) fn may_pass_later(&self) -> bool {
        matches!(self.cause, Cause::DeadlineExceeded { .. } | Cause::Unavailable(_))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (phase, cause) = (self.phase.name(), &self.cause);
        write!(
            f,
            "the plugin was tried on made-up facts and failed in `{phase}`: {cause}"
        )
    }
}

/// Asks in every phase that has a step for this plugin.
pub(super) async fn run(plugin: &Plugin, context: &CallContext, adapter: &Adapter) -> Result<(), Failed> {
    let context = CallContext {
        host: Arc::new(NoHost),
        ..context.clone()
    };
    for phase in Phase::ALL {
        if !adapter.steps(phase).iter().any(|step| *step.plugin == *context.name) {
            continue;
        }
        let asked = plugin.call(&question(phase, adapter), &context).await;
        if let Err(error) = asked
            && is_refused(&error.cause)
        {
            return Err(Failed {
                phase,
                cause: error.cause,
            });
        }
    }
    Ok(())
}

fn is_refused(cause: &Cause) -> bool {
    match cause {
        // Its own failure is an answer; what stands in for a template's value may spoil its output.
        Cause::Failed(_) | Cause::OutputInvalid { .. } => false,
        Cause::Trapped { .. }
        | Cause::FuelExhausted { .. }
        | Cause::DeadlineExceeded { .. }
        | Cause::HostTimeExceeded { .. }
        | Cause::MemoryExceeded { .. }
        | Cause::StackOverflow
        | Cause::OutputTooLarge { .. }
        | Cause::Unavailable(_) => true,
    }
}

/// A new subject of the adapter's first kind, with nothing in it and nothing made for it yet.
fn question(phase: Phase, adapter: &Adapter) -> Question {
    let kind = adapter
        .subjects
        .first()
        .cloned()
        .unwrap_or_else(|| "Cluster".to_owned());
    let id = "00000000-0000-0000-0000-000000000000".to_owned();
    let href = format!("/api/hyperfleet/v1/{}s/{id}", kind.to_lowercase());
    let now = "2026-01-01T00:00:00.000000Z".to_owned();
    let document = json!({
        "id": id, "kind": kind, "href": href, "name": "self-test", "generation": 1, "spec": {}, "labels": {},
        "status": {"conditions": []}, "created_time": now, "updated_time": now,
    });
    let event = json!({
        "specversion": "1.0", "id": "self-test", "source": "berth", "type": "self-test",
        "data": {"id": id, "kind": kind, "href": href, "generation": 1},
    });
    let facts = Arc::new(Facts {
        adapter: adapter.name.clone(),
        trigger: Trigger::Event(event.into()),
        subject: Subject {
            key: SubjectKey { kind, id },
            href,
            generation: 1,
            deleting: false,
            owner: None,
            document: document.into(),
        },
        owner: None,
        statuses: Vec::new(),
        carry: Value::Null,
        now,
    });
    let objects = Vec::new();
    match phase {
        Phase::Preconditions => Question::Preconditions { facts },
        Phase::Resources => Question::Resources { facts, objects },
        Phase::Postconditions => Question::Postconditions { facts, objects },
        Phase::Status => {
            let draft = Draft {
                journey: "in-progress".to_owned(),
                conditions: Vec::new(),
                operations: Vec::new(),
            };
            Question::Status { facts, objects, draft }
        }
    }
}
