//! How straight-line code asks for effects.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use serde_json::Value;

use crate::{
    contract::{AdapterStatus, HttpAction, PhaseAnswer, PluginFault, Query, Question},
    document::Document,
    effect::{
        Answer, Apply, ClusterCause, ClusterFault, Delete, Deleted, Effect, FleetFault, Observed, Ownership, Reported,
    },
    reason::Reason,
    report::Report,
};

/// The one effect that is asked for, or its answer.
#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Asked(Effect),
    Handed,
    Answered(Answer),
}

/// A handle to the slot; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Io {
    slot: Arc<Mutex<Slot>>,
}

struct Perform {
    io: Io,
    effect: Option<Effect>,
}

impl Future for Perform {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        let effect = self.effect.take();
        let mut slot = self.io.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(effect) = effect {
            *slot = Slot::Asked(effect);
            return Poll::Pending;
        }
        match std::mem::take(&mut *slot) {
            Slot::Answered(answer) => Poll::Ready(answer),
            other => {
                *slot = other;
                Poll::Pending
            }
        }
    }
}

fn no_answer(effect: &str) -> FleetFault {
    FleetFault::Unreachable {
        message: format!("no answer to {effect}"),
        retry_after: None,
    }
}

fn no_cluster_answer(effect: &str) -> ClusterFault {
    ClusterFault {
        cause: ClusterCause::Unreachable,
        message: format!("no answer to {effect}"),
        retry_after: None,
    }
}

impl Io {
    pub(super) fn answer(&self, answer: Answer) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Slot::Answered(answer);
    }

    pub(super) fn asked(&self) -> Option<Effect> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *slot, Slot::Handed) {
            Slot::Asked(effect) => Some(effect),
            other => {
                *slot = other;
                None
            }
        }
    }

    fn perform(&self, effect: Effect) -> Perform {
        Perform {
            io: self.clone(),
            effect: Some(effect),
        }
    }

    pub(super) async fn fetch(&self, path: &str) -> Result<Document, FleetFault> {
        match self.perform(Effect::Fetch { path: path.to_owned() }).await {
            Answer::Fetched(result) => result,
            _ => Err(no_answer("a GET")),
        }
    }

    pub(super) async fn statuses(&self, path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        match self.perform(Effect::Statuses { path: path.to_owned() }).await {
            Answer::Statuses(result) => result,
            _ => Err(no_answer("a GET of statuses")),
        }
    }

    pub(super) async fn ask(&self, plugin: &str, question: Question) -> Result<PhaseAnswer, PluginFault> {
        let phase = question.phase();
        match self
            .perform(Effect::Ask {
                plugin: plugin.to_owned(),
                question: Box::new(question),
            })
            .await
        {
            Answer::Said(result) => result.map(|answer| *answer),
            _ => Err(PluginFault {
                plugin: plugin.to_owned(),
                phase,
                reason: Reason::PluginUnavailable.name().to_owned(),
                message: "no answer".to_owned(),
            }),
        }
    }

    pub(super) async fn observe(&self, ownership: Ownership) -> Result<Vec<Observed>, ClusterFault> {
        match self.perform(Effect::Observe(ownership)).await {
            Answer::Observed(result) => result,
            _ => Err(no_cluster_answer("a list")),
        }
    }

    pub(super) async fn find(&self, query: Query) -> Result<Vec<Value>, ClusterFault> {
        match self.perform(Effect::Find(query)).await {
            Answer::Found(result) => result,
            _ => Err(no_cluster_answer("a query")),
        }
    }

    pub(super) async fn apply(&self, apply: Apply) -> Result<Observed, ClusterFault> {
        match self.perform(Effect::Apply(Box::new(apply))).await {
            Answer::Applied(result) => result.map(|observed| *observed),
            _ => Err(no_cluster_answer("an apply")),
        }
    }

    pub(super) async fn delete(&self, delete: Delete) -> Result<Deleted, ClusterFault> {
        match self.perform(Effect::Delete(delete)).await {
            Answer::Deleted(result) => result,
            _ => Err(no_cluster_answer("a delete")),
        }
    }

    pub(super) async fn report(&self, path: &str, report: Report) -> Result<Reported, FleetFault> {
        match self
            .perform(Effect::Report {
                path: path.to_owned(),
                report: Box::new(report),
            })
            .await
        {
            Answer::Reported(result) => result,
            _ => Err(no_answer("a PUT")),
        }
    }

    pub(super) async fn act(&self, plugin: String, action: HttpAction) -> Result<(), FleetFault> {
        match self.perform(Effect::Act { plugin, action }).await {
            Answer::Acted(result) => result,
            _ => Err(no_answer("an action")),
        }
    }
}
