#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step fails the test")]

//! The runtime on guests of one behaviour each.

use std::{
    num::NonZeroU32,
    sync::{Arc, LazyLock},
    time::Duration,
};

use berth_engine::{
    adapter::{Grants, Limits},
    contract::{Facts, PhaseAnswer, Question, Said, Trigger, Verdict},
    subject::{Subject, SubjectKey},
};
use serde_json::{Value, json};

use super::*;
use crate::hosts::NoHost;

mod again;
mod answers;
mod imports;
mod limits;
mod load;
mod seed;
mod wasi;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new(&small()).unwrap());

/// Settings for a test: a small pool, no cache.
fn small() -> Settings {
    let some = |number| NonZeroU32::new(number).unwrap();
    let pool = Pool::Slots {
        memories: some(16),
        max_memory: 256 << 20,
    };
    Settings {
        pool,
        concurrency: some(4),
        ..Settings::default()
    }
}

fn plugin(name: &str) -> Arc<Plugin> {
    RUNTIME.load(&berth_test_guests::component(name)).unwrap()
}

fn facts() -> Facts {
    Facts {
        adapter: "lz".to_owned(),
        trigger: Trigger::Timer,
        subject: Subject {
            key: SubjectKey {
                kind: "Cluster".to_owned(),
                id: "c-1".to_owned(),
            },
            href: "/api/hyperfleet/v1/clusters/c-1".to_owned(),
            generation: 3,
            deleting: false,
            owner: None,
            document: json!({"kind": "Cluster", "id": "c-1", "generation": 3}).into(),
        },
        owner: None,
        statuses: Vec::new(),
        carry: Value::Null,
        now: "2026-01-01T00:00:00.000000Z".to_owned(),
    }
}

/// The defaults, but for a machine that may be busy.
fn patient() -> Limits {
    Limits {
        deadline: Duration::from_secs(60),
        ..Limits::default()
    }
}

fn context() -> CallContext {
    CallContext {
        name: "p".into(),
        adapter: "lz".into(),
        namespace: "own".into(),
        config: "{}".into(),
        prepared: Arc::default(),
        variables: Arc::default(),
        limits: patient(),
        grants: Arc::new(Grants::default()),
        host: Arc::new(NoHost),
        one_instance: false,
        vary: None,
    }
}

/// Asks a guest for its preconditions.
async fn ask(name: &str, context: &CallContext) -> Result<Answered, CallError> {
    plugin(name)
        .call(&Question::Preconditions { facts: facts().into() }, context)
        .await
}

/// Why a guest gives no answer.
async fn cause(name: &str, context: &CallContext) -> Cause {
    match ask(name, context).await {
        Err(error) => error.cause,
        Ok(answered) => panic!("`{name}` answered {:?}", answered.answer),
    }
}

fn proceed(carry: Value) -> PhaseAnswer {
    PhaseAnswer {
        said: Said::Preconditions(Verdict::Proceed),
        carry,
    }
}
