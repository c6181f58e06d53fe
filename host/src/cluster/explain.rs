//! What pods and events say about the objects of a holder.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use berth_engine::{
    contract::Reference,
    diagnose::diagnose,
    effect::{ClusterCause, ClusterFault, KindScope, Observed},
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Shared, ended,
    found::{Found, Held},
    kinds::{Kind, is_pod},
    lists::items_of,
    objects::{Holder, created, has_pods, needs_events, workloads},
    packed::Packed,
    wire::{Call, lock},
};

/// How long events about an object are waited for.
const EVENTS_LIMIT: Duration = Duration::from_secs(3);

/// The pods of a holder in a namespace.
struct Pods {
    /// As a watch keeps them.
    kept: Option<Vec<Packed>>,
    read: Vec<Value>,
}

impl Shared {
    /// Adds what pods and events say.
    pub(super) async fn explain(&self, holder: &Holder, all: &mut [Found]) -> Result<(), ClusterFault> {
        let mut pods: HashMap<Option<String>, Pods> = HashMap::new();
        for Found {
            object,
            kept: of_watch,
            known,
        } in all
        {
            let Reference {
                api_version,
                kind,
                namespace,
                ..
            } = &object.reference;
            object.statusless = self.kinds.is_statusless(api_version, kind);
            if has_pods(api_version, kind) {
                let kept = self.kept_pods(namespace.as_deref(), holder);
                if let (Some(known), Some(pods)) = (known, &kept)
                    && known.has(pods)
                {
                    continue;
                }
                let Pods { kept, read } = match pods.entry(namespace.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    // Read after they were kept: where they changed between, these are not found to be the same later.
                    Entry::Vacant(place) => {
                        let read = self.pods(namespace.clone(), holder).await?;
                        place.insert(Pods { kept, read })
                    }
                };
                let belongs = |pod: &Value| {
                    workloads(pod)
                        .iter()
                        .any(|workload| workload.is(object.document.outline()))
                };
                let (mut own, others): (Vec<Value>, Vec<Value>) = std::mem::take(read).into_iter().partition(belongs);
                own.sort_by(|one, other| created(other).cmp(created(one)));
                let events = self.events_about(object, own.len()).await;
                object.diagnosis = diagnose(object.document.outline(), &own, &events, self.now());
                // A pod may explain other objects too.
                read.extend(own.into_iter().chain(others));
                if let (Some((place, packed)), Some(pods)) = (of_watch, kept) {
                    self.ended.remember(object, place, packed, pods);
                }
            } else if is_pod(api_version, kind) {
                let events = self.events_about(object, 1).await;
                object.diagnosis = diagnose(
                    &object.document,
                    std::slice::from_ref(&object.document),
                    &events,
                    self.now(),
                );
            }
        }
        Ok(())
    }

    /// The API server's time, as far as it is known.
    fn now(&self) -> Timestamp {
        self.wire.now().unwrap_or_else(Timestamp::now)
    }

    /// The pods that carry a holder's labels, as a live watch keeps them.
    fn kept_pods(&self, namespace: Option<&str>, holder: &Holder) -> Option<Vec<Packed>> {
        let live = self.live(&of_pods(namespace.map(str::to_owned)))?;
        let kept = lock(&live.store).held_by(holder, namespace);
        ended::pods(kept)
    }

    /// The pods that carry a holder's labels.
    async fn pods(&self, namespace: Option<String>, holder: &Holder) -> Result<Vec<Value>, ClusterFault> {
        let scope = of_pods(namespace);
        match self.held(&scope, holder).await {
            // Without the right to read pods less is known, which is no reason to fail.
            Err(fault) if fault.cause == ClusterCause::Forbidden => Ok(Vec::new()),
            held => Ok(held?.into_iter().map(Held::into_value).collect()),
        }
    }

    /// The events about an object with so many pods, where nothing else explains it.
    async fn events_about(&self, object: &Observed, pods: usize) -> Vec<Value> {
        if needs_events(object.document.outline(), pods) {
            self.events(object.reference.namespace.as_deref(), &object.uid).await
        } else {
            Vec::new()
        }
    }

    /// The events about an object. They only explain, so a failure to read them is none, and they are not waited for
    /// as long as what a report needs.
    pub(super) async fn events(&self, namespace: Option<&str>, uid: &str) -> Vec<Value> {
        let Some(namespace) = namespace else { return Vec::new() };
        let kind = Kind::core("Event", "events", true);
        let call = Call::get(kind.collection(Some(namespace)))
            .query("fieldSelector", format!("involvedObject.uid={uid}"))
            .query("limit", "50");
        let Ok(list) = tokio::time::timeout(EVENTS_LIMIT, self.wire.call(call)).await else {
            tracing::debug!(limit = ?EVENTS_LIMIT, "events were not read in time");
            return Vec::new();
        };
        match list.and_then(|mut list| Ok(items_of(&mut list)?.collect())) {
            Ok(events) => events,
            Err(refusal) => {
                tracing::debug!(cause = ?refusal, "cannot read events");
                Vec::new()
            }
        }
    }
}

fn of_pods(namespace: Option<String>) -> KindScope {
    KindScope {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace,
    }
}
