//! Real brokers on free ports of loopback, and what tests of sources have in common.
//!
//! Owns the processes and their folders. A broker that is missing fails the test and says how to
//! get it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness may panic: it runs in tests only"
)]

mod journeys;
pub mod nats;
pub mod pubsub;
mod recorder;

use std::{sync::Arc, time::Duration};

use berth::source::{Intake, Policy, Source};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use journeys::play_six_journeys;
pub use recorder::Recorder;

/// How long any one condition is waited for.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// A subscription at work, connected again when it breaks. Killed when dropped: nothing that it
/// has in flight is answered.
pub struct Running {
    /// What it hands messages to.
    pub intake: Arc<Intake>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Runs a source for this sink.
    #[must_use]
    pub fn start(source: impl Source, policy: Policy, sink: &Arc<Recorder>) -> Self {
        let stop = CancellationToken::new();
        let sink = Arc::clone(sink);
        let intake = Arc::new(Intake::new(sink, policy, stop.clone()));
        let (handed, stopped) = (Arc::clone(&intake), stop.clone());
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                if let Err(error) = source.run(Arc::clone(&handed), stopped.clone()).await {
                    handed.broken(error.to_string());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        });
        Self { intake, stop, task }
    }

    /// Stops it in an orderly way, and waits for it.
    pub async fn stop(mut self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, &mut self.task)
            .await
            .expect("the source stops")
            .unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "it does not come to be: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A message as Sentinel publishes it by default, byte for byte.
#[must_use]
pub fn sentinel_message(id: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"0198c7a2-0000-7000-8000-{id:0>12}","source":"hyperfleet-sentinel","type":"com.redhat.hyperfleet.cluster.reconcile","datacontenttype":"application/json","data":{{"generation":1,"href":"/api/hyperfleet/v1/clusters/{id}","id":"{id}","kind":"Cluster"}}}}"#
    )
}

/// The same of a nodepool with its owner, traced, with fields that nobody knows, and of the type
/// that the documentation shows.
#[must_use]
pub fn rich_message(id: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"rich-{id}","source":"hyperfleet-sentinel","type":"com.redhat.hyperfleet.nodepool.reconcile.v1","datacontenttype":"application/json","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","somethingnew":"x","data":{{"generation":3,"href":"/api/hyperfleet/v1/clusters/c1/nodepools/{id}","id":"{id}","kind":"NodePool","owner_references":{{"href":"/api/hyperfleet/v1/clusters/c1","id":"c1","kind":"Cluster"}},"region":"eu","unknown":{{"deep":[1,2]}}}}}}"#
    )
}
