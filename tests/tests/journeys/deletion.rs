//! Deletion, up to the end.

use berth_tests::stage::{NODEPOOL_SIZING, Stage, VALIDATION, a1, a2, landing_zone, spec};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_cluster_goes_with_its_nodepool_and_leaves_no_object() {
    let stage = Stage::set(&[VALIDATION, &landing_zone(), NODEPOOL_SIZING]).await;
    let cluster = stage.cluster(spec("ok")).await;
    stage.sees(&cluster, "validation", &a2(1)).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    let pool = stage.nodepool(&cluster, json!({"replicas": 3})).await;
    stage.sees(&pool, "nodepool-sizing", &a2(1)).await;

    stage.delete(&cluster).await;
    stage.is_gone(&pool).await;
    // The cluster's adapters were done before its nodepool was: Sentinel's next event tells them.
    stage.settle_until_gone(&cluster).await;
    assert!(stage.ours("jobs").await.is_empty());
    assert!(stage.ours("configmaps").await.is_empty());
    assert!(stage.ours("pods").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_deleted_while_its_job_runs_goes_without_another_event() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage.cluster(spec("hang")).await;
    stage.sees(&cluster, "landing-zone", &a1(1)).await;
    stage.delete(&cluster).await;
    stage.is_gone(&cluster).await;
    stage.has_none("jobs").await;
    stage.has_none("configmaps").await;
}
