//! Jobs whose pods cannot be made, cannot start, or fail.

use berth_tests::stage::{Stage, a1, a2, a4, a5};
use serde_json::json;

use crate::documents::{failing, going, job, put, quota};

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_pods_is_told_although_the_job_could_be_created() {
    let stage = Stage::set(&[&job(&json!({}), &json!({}))]).await;
    let quota = quota(&stage, "pods", "0").await;
    let cluster = stage.cluster(going("ok")).await;
    let row = stage
        .sees(&cluster, "work", &a4(1, "QuotaExceeded", "exceeded quota: tight"))
        .await;
    let message = row.of("Available", "message");
    assert!(message.starts_with("Failed to create workload: Job "), "{message}");
    assert!(
        message.ends_with("Raise the quota of the namespace or free what is in use."),
        "{message}"
    );
    stage.only("jobs", |_| true).await;

    stage.plane.delete(&quota).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_range_that_does_not_allow_the_pod_is_told_from_a_quota() {
    let containers = json!([{"name": "main", "image": "work", "resources": {"limits": {"cpu": "2"}}}]);
    let stage = Stage::set(&[&job(&json!({"containers": containers}), &json!({}))]).await;
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
        "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]},
    });
    let range = put(&stage, "limitranges", &range).await;
    let cluster = stage.cluster(going("ok")).await;
    let says = "maximum cpu usage per Container is 1, but limit is 2";
    let row = stage.sees(&cluster, "work", &a4(1, "OutsideLimitRange", says)).await;
    assert!(
        row.of("Available", "message").contains("limit range"),
        "what to do\n{}",
        row.tell()
    );

    stage.plane.delete(&range).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_tried_again_in_vain_stays_told_at_every_try_and_in_every_pause() {
    let stage = Stage::set(&[&job(&json!({}), &json!({}))]).await;
    let cluster = stage.cluster(going("image-pull-backoff")).await;
    for says in ["Back-off", "failed to pull", "Back-off", "failed to pull"] {
        stage.sees(&cluster, "work", &a4(1, "ImagePullFailed", says)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_can_be_pulled_after_all_lets_the_same_generation_succeed() {
    let stage = Stage::set(&[&job(&json!({}), &json!({}))]).await;
    let cluster = stage.cluster(going("image-pull-backoff")).await;
    let row = stage
        .sees(&cluster, "work", &a4(1, "ImagePullFailed", "container main: Back-off"))
        .await;
    let to_do = "Check the image's name and tag, the pull secret and the registry.";
    assert!(row.of("Available", "message").ends_with(to_do), "{}", row.tell());

    stage.let_pods("hang").await;
    stage.sees(&cluster, "work", &a1(1)).await;
    stage.let_pods("ok").await;
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_a_container_needs_is_named_and_the_work_goes_on_once_it_is_there() {
    let stage = Stage::set(&[&job(&json!({}), &json!({}))]).await;
    let cluster = stage.cluster(going("config-error")).await;
    let says = r#"container main: secret "cloud-credentials" not found"#;
    stage
        .sees(&cluster, "work", &a4(1, "ContainerConfigInvalid", says))
        .await;

    stage.let_pods("ok").await;
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_no_node_takes_is_told_until_one_does() {
    let selector = json!({"nodeSelector": {"test/pool": "{{ .subject.id }}"}});
    let stage = Stage::set(&[&job(&selector, &json!({}))]).await;
    let cluster = stage.cluster(going("ok")).await;
    let says = "1 node(s) didn't match Pod's node affinity/selector";
    stage.sees(&cluster, "work", &a4(1, "Unschedulable", says)).await;

    let labels = json!({"test/pool": cluster.rsplit('/').next().unwrap()});
    let node = json!({"metadata": {"labels": labels}});
    stage.plane.patch("/api/v1/nodes/node", &node).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_the_pods_lack_is_named_until_it_is_there() {
    let stage = Stage::set(&[&job(&json!({"serviceAccountName": "runner"}), &json!({}))]).await;
    let cluster = stage.cluster(going("ok")).await;
    let says = r#"serviceaccount "runner" not found"#;
    stage
        .sees(&cluster, "work", &a4(1, "ServiceAccountMissing", says))
        .await;

    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}});
    put(&stage, "serviceaccounts", &account).await;
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_longer_than_it_may_is_told_as_that() {
    let stage = Stage::set(&[&job(&json!({}), &json!({"activeDeadlineSeconds": 4}))]).await;
    let cluster = stage.cluster(going("hang")).await;
    stage.sees(&cluster, "work", &a1(1)).await;
    let says = "Job was active longer than specified deadline";
    stage.sees(&cluster, "work", &a5(1, "DeadlineExceeded", says)).await;

    stage.change(&cluster, going("ok")).await;
    stage.sees(&cluster, "work", &a2(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_in_progress_until_its_last_attempt_has_failed() {
    let stage = Stage::set(&[&job(&json!({}), &json!({"backoffLimit": 1}))]).await;
    let cluster = stage.cluster(failing("fail", 3, "")).await;
    stage.sees(&cluster, "work", &a1(1).saying("(attempt 2 of 2)")).await;
    let says = "container main ended with exit code 3; Job has reached the specified backoff limit";
    let row = stage.sees(&cluster, "work", &a5(1, "WorkloadFailed", says)).await;
    assert_eq!(row.0["metadata"]["attempt"], 2, "{:#}", row.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ran_out_of_memory_is_told_as_that() {
    let stage = Stage::set(&[&job(&json!({}), &json!({}))]).await;
    let cluster = stage.cluster(going("out-of-memory")).await;
    let says = "container main ended with exit code 137 (OOMKilled)";
    stage.sees(&cluster, "work", &a5(1, "OutOfMemory", says)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_container_that_failed_has_its_say_and_no_other() {
    let containers = json!([
        {"name": "log", "image": "log"}, {"name": "plan", "image": "plan"}, {"name": "network", "image": "network"},
    ]);
    let annotations = json!({
        "test/exit-code.log": "0", "test/message.log": "all is well",
        "test/exit-code.plan": "4", "test/message.plan": "no such zone",
        "test/exit-code.network": "5", "test/message.network": "range in use",
    });
    let template = json!({"template": {"metadata": {"annotations": annotations}}});
    let stage = Stage::set(&[&job(&json!({"containers": containers}), &template)]).await;
    let cluster = stage.cluster(going("fail")).await;
    let says = "container plan ended with exit code 4: no such zone; \
                container network ended with exit code 5: range in use";
    let row = stage.sees(&cluster, "work", &a5(1, "WorkloadFailed", says)).await;
    let message = row.of("Available", "message");
    assert!(!message.contains("all is well"), "{message}");
}
