//! What somebody removes by hand, and what a host that starts anew finds.

use berth_tests::stage::{Stage, a1, a2, landing_zone, replaced, spec};

fn path(stage: &Stage, plural: &str, object: &serde_json::Value) -> String {
    format!(
        "{}/{}",
        stage.collection(plural),
        object["metadata"]["name"].as_str().unwrap()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_that_is_deleted_by_hand_is_created_again() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage.cluster(spec("hang")).await;
    stage.sees(&cluster, "landing-zone", &a1(1)).await;
    let job = stage.only("jobs", |job| job["status"]["active"] == 1).await;
    stage.plane.delete(&path(&stage, "jobs", &job)).await.unwrap();
    stage
        .only("jobs", |again| again["metadata"]["uid"] != job["metadata"]["uid"])
        .await;
    stage.sees(&cluster, "landing-zone", &a1(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_that_is_deleted_by_hand_stays_away_and_other_objects_come_back() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage.cluster(spec("ok")).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    let job = stage.only("jobs", |_| true).await;
    stage.plane.delete(&path(&stage, "jobs", &job)).await.unwrap();
    stage.has_none("jobs").await;
    let parameters = stage.only("configmaps", |_| true).await;
    stage
        .plane
        .delete(&path(&stage, "configmaps", &parameters))
        .await
        .unwrap();
    stage
        .only("configmaps", |again| {
            again["metadata"]["uid"] != parameters["metadata"]["uid"]
        })
        .await;

    stage.settle(&cluster).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    assert!(stage.ours("jobs").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_starts_anew_finds_its_objects_and_goes_on_without_an_event() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage.cluster(spec("hang")).await;
    stage.sees(&cluster, "landing-zone", &a1(1)).await;
    let before = stage.only("jobs", |job| job["status"]["active"] == 1).await;

    stage.stop_host().await;
    stage.let_pods_end().await;
    stage.only("jobs", |job| job["status"]["succeeded"] == 1).await;
    stage.start_host().await;

    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    let after = stage.only("jobs", |_| true).await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleanup_outlives_a_restart_and_what_was_cleaned_up_is_not_created_again() {
    let document = replaced(
        &landing_zone(),
        "  grace: 2s",
        "  grace: 2s\n  cleanup: {when: Succeeded, after: 3s}",
    );
    let stage = Stage::set(&[&document]).await;
    let cluster = stage.cluster(spec("ok")).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    stage.stop_host().await;
    stage.only("jobs", |job| job["status"]["succeeded"] == 1).await;

    stage.start_host().await;
    stage.has_none("jobs").await;
    stage.settle(&cluster).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    assert!(stage.ours("jobs").await.is_empty());

    stage.stop_host().await;
    stage.start_host().await;
    stage.settle(&cluster).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    assert!(stage.ours("jobs").await.is_empty());
}
