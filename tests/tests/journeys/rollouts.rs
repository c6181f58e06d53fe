//! Workloads that are meant to run for ever.

use berth_tests::stage::{Stage, a2, a4, a5, degraded};
use serde_json::json;

use crate::documents::{failing, going, lasting, quota};

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_pods_have_no_room_is_told_by_its_condition() {
    let stage = Stage::set(&[&lasting("Deployment", &json!({"replicas": 2}), "2s")]).await;
    let quota = quota(&stage, "pods", "1").await;
    let cluster = stage.cluster(going("ok")).await;
    let says = "exceeded quota: tight";
    stage.sees(&cluster, "work", &a4(1, "QuotaExceeded", says)).await;

    stage.plane.delete(&quota).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_is_explained_by_how_the_container_ended_and_passes() {
    let stage = Stage::set(&[&lasting("Deployment", &json!({}), "2s")]).await;
    let cluster = stage.cluster(failing("crash-loop", 9, "no licence")).await;
    let says = "started again and again: container main ended with exit code 9: no licence";
    stage.sees(&cluster, "work", &a5(1, "CrashLoop", says)).await;

    stage.let_pods("ok").await;
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_without_a_readiness_probe_is_not_done_between_two_crashes() {
    let stage = Stage::set(&[&lasting("Deployment", &json!({}), "2s")]).await;
    let cluster = stage.cluster(failing("crash-loop", 9, "no licence")).await;
    stage.sees(&cluster, "work", &a5(1, "CrashLoop", "no licence")).await;
    let mut restarts = 0;
    while restarts < 4 {
        // Kubernetes takes it for available while it runs, whatever happened a moment ago.
        stage
            .only("deployments", |one| one["status"]["availableReplicas"] == 1)
            .await;
        stage.settle(&cluster).await;
        let row = stage.row(&cluster, "work").await.unwrap();
        assert_eq!(row.of("Available", "reason"), "CrashLoop", "{}", row.tell());
        let pod = stage.only("pods", |_| true).await;
        restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_runs_out_of_memory_again_and_again_is_told_as_that() {
    let stage = Stage::set(&[&lasting("Deployment", &json!({}), "2s")]).await;
    let cluster = stage.cluster(failing("crash-loop", 137, "")).await;
    let says = "container main ended with exit code 137 (OOMKilled)";
    stage.sees(&cluster, "work", &a5(1, "OutOfMemory", says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_degrades_after_success_is_in_progress_until_it_is_back() {
    let stage = Stage::set(&[&lasting("Deployment", &json!({}), "10m")]).await;
    let cluster = stage.cluster(going("ok")).await;
    stage.sees(&cluster, "work", &a2(1)).await;

    stage.let_pods("crash-loop").await;
    stage.sees(&cluster, "work", &degraded(1)).await;
    stage.let_pods("ok").await;
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_cannot_start_is_not_covered_up_by_the_pods_that_still_run() {
    let stage = Stage::set(&[&lasting("Deployment", &json!({"replicas": 2}), "2s")]).await;
    let cluster = stage.cluster(going("ok")).await;
    stage.sees(&cluster, "work", &a2(1)).await;

    stage.change(&cluster, going("image-pull-backoff")).await;
    stage
        .sees(&cluster, "work", &a4(2, "ImagePullFailed", "Back-off pulling image"))
        .await;
    let deployment = stage.only("deployments", |_| true).await;
    assert!(
        deployment["status"]["availableReplicas"].as_u64() >= Some(1),
        "the earlier pods serve: {:#}",
        deployment["status"]
    );

    stage.change(&cluster, going("ok")).await;
    stage.sees(&cluster, "work", &a2(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_is_done_when_all_its_pods_are_ready_and_events_tell_of_a_missing_one() {
    let more = json!({"replicas": 2, "serviceName": "work"});
    let stage = Stage::set(&[&lasting("StatefulSet", &more, "2s")]).await;
    let quota = quota(&stage, "pods", "1").await;
    let cluster = stage.cluster(going("ok")).await;
    let says = "exceeded quota: tight";
    stage.sees(&cluster, "work", &a4(1, "QuotaExceeded", says)).await;
    let set = stage
        .only("statefulsets", |set| set["status"]["readyReplicas"] == 1)
        .await;

    stage.plane.delete(&quota).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
    let done = stage
        .only("statefulsets", |set| set["status"]["readyReplicas"] == 2)
        .await;
    assert_eq!(done["metadata"]["uid"], set["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_is_done_when_every_node_runs_it() {
    let stage = Stage::set(&[&lasting("DaemonSet", &json!({}), "2s")]).await;
    let cluster = stage.cluster(going("image-pull-backoff")).await;
    stage.sees(&cluster, "work", &a4(1, "ImagePullFailed", "")).await;

    stage.let_pods("ok").await;
    stage.sees(&cluster, "work", &a2(1)).await;
    let set = stage.only("daemonsets", |_| true).await;
    assert_eq!(set["status"]["numberReady"], 1, "{:#}", set["status"]);
}
