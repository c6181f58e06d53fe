//! Cases about what becomes of Jobs and Deployments.

use berth_engine::{
    contract::{Nature, Propagation},
    effect::{Deleted, Observed},
};
use serde_json::json;

use super::{
    Fixture,
    corner::{Corner, condition, diagnosed, holds},
};

pub async fn a_job_that_succeeds_is_complete(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "ok"}), &json!({})))
        .await;
    let job = corner
        .job_until("the Job is complete", |job| holds(job, "Complete"))
        .await;
    let status = &job.document["status"];
    assert_eq!(status["succeeded"], 1, "{status:#}");
    assert!(
        status["startTime"].is_string() && status["completionTime"].is_string(),
        "{status:#}"
    );
    assert_eq!(condition(&job, "Failed"), None);
}

pub async fn a_job_that_fails_tells_its_exit_code_and_message(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let ends = json!({"test/outcome": "fail", "test/exit-code": "3", "test/message": "no such project"});
    corner
        .create(corner.job("one", &ends, &json!({"backoffLimit": 1})))
        .await;
    // How it ended is of the pods, which may be told after the Job's failure.
    let told = |job: &Observed| {
        holds(job, "Failed") && diagnosed(job, Nature::Failure).is_some_and(|one| one.exit_code == Some(3))
    };
    let job = corner
        .job_until("the Job has failed, and with which exit code", told)
        .await;
    assert_eq!(job.document["status"]["failed"], 2, "{:#}", job.document["status"]);
    let said = job.diagnosis.and_then(|diagnosis| diagnosis.termination_message);
    assert_eq!(said.as_deref(), Some("no such project"));
}

pub async fn a_job_with_retries_left_is_under_way(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "fail"}), &json!({"backoffLimit": 4})))
        .await;
    let job = corner
        .job_until("a pod has failed", |job| job.document["status"]["failed"] == 1)
        .await;
    assert_eq!(condition(&job, "Failed"), None);
    let diagnosis = diagnosed(&job, Nature::Progress).unwrap_or_else(|| panic!("{job:#?}"));
    assert_eq!(diagnosis.attempts, Some(5));
}

pub async fn a_job_that_hangs_stays_under_way(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "hang"}), &json!({})))
        .await;
    let job = corner
        .job_until("its pod runs", |job| job.document["status"]["ready"] == 1)
        .await;
    assert_eq!(job.document["status"]["active"], 1);
    assert_eq!((condition(&job, "Complete"), condition(&job, "Failed")), (None, None));
    assert!(diagnosed(&job, Nature::Failure).is_none(), "{job:#?}");
}

pub async fn a_job_beyond_its_deadline_fails(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let spec = json!({"activeDeadlineSeconds": 2});
    corner
        .create(corner.job("one", &json!({"test/outcome": "hang"}), &spec))
        .await;
    let job = corner.job_until("the Job has failed", |job| holds(job, "Failed")).await;
    let diagnosis = diagnosed(&job, Nature::Failure).unwrap_or_else(|| panic!("{job:#?}"));
    assert_eq!(diagnosis.reason, "DeadlineExceeded");
}

pub async fn an_image_that_cannot_be_pulled_is_told_in_the_diagnosis(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "image-pull-backoff"}), &json!({})))
        .await;
    // The diagnosis is of the pod, which may be told before the Job counts it.
    let told =
        |job: &Observed| diagnosed(job, Nature::Infrastructure).is_some() && job.document["status"]["active"] == 1;
    let job = corner.job_until("the image cannot be pulled", told).await;
    assert_eq!(job.diagnosis.unwrap().reason, "ImagePullFailed");
}

pub async fn a_deployment_becomes_available(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let labels = json!({"app": "one"});
    let body = json!({"spec": {
        "replicas": 2, "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": "registry.example.com/server:1"}]},
        },
    }});
    corner.create(corner.ours("apps/v1", "Deployment", "one", &body)).await;
    let available = |all: &[Observed]| all.iter().any(|deployment| holds(deployment, "Available"));
    let deployment = corner
        .until("apps/v1", "Deployment", "it is available", available)
        .await
        .remove(0);
    assert_eq!(
        deployment.document["status"]["observedGeneration"],
        deployment.document["metadata"]["generation"]
    );
}

pub async fn a_foreground_deletion_ends_and_then_nothing_is_there(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let job = corner
        .create(corner.job("one", &json!({"test/outcome": "hang"}), &json!({})))
        .await;
    corner
        .job_until("its pod runs", |job| job.document["status"]["ready"] == 1)
        .await;
    assert_eq!(
        corner.delete_latest("batch/v1", "Job", Propagation::Foreground).await,
        Deleted::Begun
    );
    corner.until("batch/v1", "Job", "it is gone", <[_]>::is_empty).await;
    assert_eq!(
        corner.delete(&corner.delete_of(&job, Propagation::Foreground)).await,
        Ok(Deleted::Absent)
    );
}
