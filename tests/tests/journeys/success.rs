//! A1 and A2, and what needs no work at all.

use berth_tests::stage::{Stage, VALIDATION, a1, a2, landing_zone, not_applicable, spec};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn work_is_in_progress_until_the_job_completes_and_then_it_is_available() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage.cluster(spec("hang")).await;

    let row = stage.sees(&cluster, "landing-zone", &a1(1)).await;
    assert_eq!(row.of("Applied", "reason"), "ResourcesCreated");
    assert_eq!(
        row.of("NetworkReady", "status"),
        "False",
        "the plugin's own condition\n{}",
        row.tell()
    );
    let job = stage.only("jobs", |job| job["status"]["active"] == 1).await;

    stage.let_pods_end().await;
    let row = stage.sees(&cluster, "landing-zone", &a2(1)).await;
    assert_eq!(row.of("NetworkReady", "status"), "True", "{}", row.tell());
    assert_eq!(row.0["data"]["region"], "europe-west1");
    assert_eq!(row.0["metadata"]["job_name"], job["metadata"]["name"], "{:#}", row.0);
    assert_eq!(row.0["metadata"]["job_namespace"], stage.namespace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_without_a_component_of_its_own_comes_to_success() {
    let stage = Stage::set(&[VALIDATION]).await;
    let cluster = stage.cluster(spec("ok")).await;
    let row = stage.sees(&cluster, "validation", &a2(1)).await;
    assert_eq!(
        row.of("RequestValid", "message"),
        "the request was checked by validation"
    );
    let id = cluster.rsplit('/').next().unwrap();
    assert_eq!(row.0["data"]["jobName"], format!("validate-{id}"));
    let (_, cluster) = stage.get(&cluster).await;
    let conditions = cluster["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|one| one["type"] == "Reconciled" && one["status"] == "True"),
        "{conditions:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_adapters_concern_is_reported_and_nothing_is_created() {
    let stage = Stage::set(&[VALIDATION]).await;
    let cluster = stage
        .cluster(json!({"provider": "aws", "region": "eu-central-1"}))
        .await;
    stage
        .sees(
            &cluster,
            "validation",
            &not_applicable(1, "NotApplicable: only GCP clusters are validated"),
        )
        .await;
    assert!(stage.ours("jobs").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_ends_in_a_fresh_report() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage.cluster(spec("ok")).await;
    let first = stage.sees(&cluster, "landing-zone", &a2(1)).await;
    stage.settle(&cluster).await;
    let second = stage.row(&cluster, "landing-zone").await.unwrap();
    assert!(
        second.0["last_report_time"].as_str() > first.0["last_report_time"].as_str(),
        "{:#} and then {:#}",
        first.0,
        second.0
    );
}
