//! Tells when pods of a workload are refused: no object of ours changes then, there is only an
//! Event.
//!
//! One watch a namespace (or one for all), and the API server picks the Events by their reason,
//! so that nothing is sent while nothing is refused. An Event is no evidence here: it makes a
//! workload be looked at, which reads the Events about it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use berth_engine::contract::Reference;
use futures::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;

use super::{
    backoff::{self, Backoff},
    fault::Refusal,
    kinds::Kind,
    lists::resource_version,
    watch::{SILENCE, watch_call},
    wire::{Wire, reference},
};

/// The reason of the Events: a controller could not create a pod.
const SELECTOR: &str = "reason=FailedCreate";
/// The pause where Events cannot be watched. Workloads without pods are looked at by time as well.
const PAUSE: Duration = Duration::from_secs(5);

/// Watches for ever, telling the workloads whose pods are refused.
pub(super) async fn run(wire: Arc<Wire>, namespace: Option<String>, tell: impl Fn(&Reference)) {
    let kind = Kind::core("Event", "events", true);
    loop {
        if let Err(refusal) = watch(&wire, &kind, namespace.as_deref(), &tell).await {
            tracing::debug!(namespace, cause = ?refusal, "cannot watch events");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Watches until that ends. What happened before is told first.
async fn watch(wire: &Wire, kind: &Kind, namespace: Option<&str>, tell: &impl Fn(&Reference)) -> Result<(), Refusal> {
    let mut losses = wire.losses();
    let mut version = String::new();
    let mut backoff = Backoff::default();
    loop {
        let call = watch_call(kind, namespace, "", &version).query("fieldSelector", SELECTOR);
        let stream = wire.watch(&call).await?;
        let open = Instant::now();
        tokio::pin!(stream);
        loop {
            let event = tokio::select! {
                event = tokio::time::timeout(SILENCE, stream.next()) => event.ok().flatten(),
                _ = losses.changed() => return Ok(()),
            };
            match event {
                Some(Ok(WatchEvent::Added(event) | WatchEvent::Modified(event))) => {
                    version = resource_version(&event);
                    if let Some(workload) = workload(&event) {
                        tell(&workload);
                    }
                }
                Some(Ok(WatchEvent::Bookmark(bookmark))) => version = bookmark.metadata.resource_version,
                Some(Ok(WatchEvent::Deleted(_))) => {}
                Some(Ok(WatchEvent::Error(_)) | Err(_)) => return Ok(()),
                None => break,
            }
        }
        if let Some(wait) = backoff.ended(open.elapsed()) {
            backoff::pause(wait).await;
        }
    }
}

/// Whose pods an Event is about.
fn workload(event: &Value) -> Option<Reference> {
    let about = &event["involvedObject"];
    let text = |field: &str| about[field].as_str().filter(|text| !text.is_empty());
    Some(reference(
        text("apiVersion")?,
        text("kind")?,
        text("namespace"),
        text("name")?,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_names_the_workload_whose_pods_are_refused() {
        let about = json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": "lz", "name": "validate", "uid": "u"});
        let event = json!({"kind": "Event", "reason": "FailedCreate", "involvedObject": about});
        assert_eq!(
            workload(&event),
            Some(reference("batch/v1", "Job", Some("lz"), "validate"))
        );
        assert_eq!(workload(&json!({"kind": "Event", "reason": "FailedCreate"})), None);
    }
}
