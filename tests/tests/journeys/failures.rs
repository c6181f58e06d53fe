//! A4 and A5: what infrastructure refuses, and what ran and failed.

use berth_tests::stage::{Stage, VALIDATION, a1, a2, a4, a5, landing_zone, replaced, spec};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_quota_that_refuses_the_job_is_reported_until_it_is_raised() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let quotas = format!("/api/v1/namespaces/{}/resourcequotas", stage.namespace);
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    });
    stage.plane.create(&quotas, &quota).await.unwrap();
    let quota = format!("{quotas}/none");
    stage
        .plane
        .wait_for(&quota, |quota| quota["status"]["hard"]["count/jobs.batch"] == "0")
        .await
        .unwrap();

    let cluster = stage.cluster(spec("ok")).await;
    let row = stage
        .sees(
            &cluster,
            "landing-zone",
            &a4(1, "QuotaExceeded", "Failed to create workload: "),
        )
        .await;
    let message = row.of("Available", "message");
    assert!(message.contains("exceeded quota: none"), "{message}");
    assert!(
        message.ends_with("Raise the quota of the namespace or free what is in use."),
        "{message}"
    );

    stage.plane.delete(&quota).await.unwrap();
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_pulled_is_in_progress_until_the_grace_is_over() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage.cluster(spec("image-pull-backoff")).await;
    stage.sees(&cluster, "landing-zone", &a1(1)).await;
    let row = stage
        .sees(
            &cluster,
            "landing-zone",
            &a4(1, "ImagePullFailed", "Failed to create workload: "),
        )
        .await;
    let message = row.of("Available", "message");
    assert!(
        message.contains("registry.example.com/hyperfleet/landing-zone:1.4.0"),
        "{message}"
    );

    stage.change(&cluster, spec("ok")).await;
    stage.sees(&cluster, "landing-zone", &a2(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_is_explained_by_its_exit_code_and_message_and_a_new_generation_retries() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let mut failing = spec("fail");
    failing["jobAnnotations"]["test/exit-code"] = json!("10");
    failing["jobAnnotations"]["test/message"] = json!("permission denied on project demo");
    let cluster = stage.cluster(failing).await;
    let says = "The cloud credentials were rejected: permission denied on project demo.";
    let row = stage
        .sees(&cluster, "landing-zone", &a5(1, "CredentialsRejected", says))
        .await;
    assert_eq!(row.of("NetworkReady", "reason"), "CredentialsRejected");
    let failed = stage.only("jobs", |job| job["status"]["failed"] == 1).await;

    // Nothing is tried again for the same generation.
    stage.settle(&cluster).await;
    let same = stage.only("jobs", |_| true).await;
    assert_eq!(same["metadata"]["uid"], failed["metadata"]["uid"]);

    stage.change(&cluster, spec("ok")).await;
    let row = stage.sees(&cluster, "landing-zone", &a2(2)).await;
    assert_eq!(row.of("NetworkReady", "status"), "True");
    let retried = stage.only("jobs", |job| job["status"]["succeeded"] == 1).await;
    assert_ne!(retried["metadata"]["uid"], failed["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_tells_in_its_own_words_why_the_work_failed() {
    let failing = "test/outcome: fail, test/message: \"the region is not known\"";
    let stage = Stage::set(&[&replaced(VALIDATION, "test/outcome: ok", failing)]).await;
    let cluster = stage.cluster(spec("ok")).await;
    let says = "Validation failed: the region is not known";
    stage
        .sees(&cluster, "validation", &a5(1, "ValidationFailed", says))
        .await;
}
