//! The six journeys, whichever way the events come.

use serde_json::{Value, json};

use super::until;
use crate::{
    simulated_stage::{NAMESPACE, SimulatedStage},
    stage::{a1, a2, a3, a4, a5, a6, spec},
};

const ADAPTER: &str = "landing-zone";

/// Plays them with the landing zone; `publish` brings an event, as JSON, to the host. Kubernetes is
/// back at the end.
pub async fn play_six_journeys(stage: &SimulatedStage, publish: impl AsyncFn(String)) {
    until("the host receives", async || {
        let checks = berth::telemetry::admin::Host::checks(stage.host.as_ref()).await;
        checks.iter().all(|check| check.trouble.is_none())
    })
    .await;
    let cluster = async |spec: &Value| {
        let path = stage.create(spec);
        publish(stage.event(&path).to_string()).await;
        path
    };
    let under_way = cluster(&spec("hang")).await;
    stage.sees(&under_way, ADAPTER, &a1(1)).await;
    let done = cluster(&spec("ok")).await;
    stage.sees(&done, ADAPTER, &a2(1)).await;
    let mut full = spec("ok");
    full["region"] = json!("europe-west4");
    let waiting = cluster(&full).await;
    stage.sees(&waiting, ADAPTER, &a3(1, "PreconditionsNotMet", "")).await;
    let failing = cluster(&spec("fail")).await;
    stage.sees(&failing, ADAPTER, &a5(1, "", "")).await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"count/jobs.batch": "0"}},
        "metadata": {"name": "none", "namespace": NAMESPACE},
    });
    stage.kubernetes.create("test", quota).unwrap();
    let refused = cluster(&spec("ok")).await;
    let failed = a4(1, "QuotaExceeded", "Failed to create workload: ");
    stage.sees(&refused, ADAPTER, &failed).await;
    stage.kubernetes.go_away();
    let unreachable = cluster(&spec("ok")).await;
    stage
        .sees(&unreachable, ADAPTER, &a6(1, "KubernetesApiUnreachable"))
        .await;
    stage.kubernetes.come_back();
}
