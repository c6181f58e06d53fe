//! What somebody removes by hand, and what a host that starts anew finds.

use berth_tests::{
    control_plane::ControlPlane,
    stage::{Stage, a1, a2, a3, a4, landing_zone, replaced, spec},
};
use serde_json::{Value, json};

use super::documents::{adapter, going};

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

/// A namespace beside the stage's, with a document whose Job and ConfigMap go there. It does not go away before
/// [`Elsewhere::let_go`], so that its end can be watched.
struct Elsewhere {
    stage: Stage,
    namespace: String,
}

impl Elsewhere {
    async fn set() -> Self {
        let plane = ControlPlane::shared().await;
        let namespace = format!("elsewhere-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        plane.namespace(&namespace).await.unwrap();
        let pod = json!({
            "metadata": {"annotations": {"test/outcome": "{{ .subject.spec.outcome }}"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.example.com/work:1"}]},
        });
        let name = "work-{{ .subject.id }}";
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace},
            "spec": {"backoffLimit": 0, "template": pod},
        });
        let parameters = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"a": "b"},
        });
        let permit =
            |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "namespace": namespace});
        let document = adapter(
            &json!([permit("batch/v1", "Job"), permit("v1", "ConfigMap")]),
            &json!([{"name": "job", "manifest": job}, {"name": "parameters", "manifest": parameters}]),
            "10m",
        );
        let stage = Stage::set(&[&document]).await;
        stage.may_do_everything_everywhere("work").await;
        Self { stage, namespace }
    }

    fn held(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps/held", self.namespace)
    }

    /// The uids of the objects of ours in it.
    async fn uids(&self, group: &str, plural: &str) -> Vec<Value> {
        let label = berth_engine::manifest::LABEL_ADAPTER;
        let path = format!("/{group}/namespaces/{}/{plural}?labelSelector={label}", self.namespace);
        let list = self.stage.plane.get(&path).await.unwrap().unwrap();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["uid"].clone()).collect()
    }

    /// Deletes the namespace, in which something stays.
    async fn begin_to_end(&self) {
        let held = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/held"]},
        });
        let maps = format!("/api/v1/namespaces/{}/configmaps", self.namespace);
        self.stage.plane.create(&maps, &held).await.unwrap();
        let namespace = format!("/api/v1/namespaces/{}", self.namespace);
        self.stage.plane.delete(&namespace).await.unwrap();
    }

    async fn let_go(&self) {
        let none = json!({"metadata": {"finalizers": null}});
        self.stage.plane.patch(&self.held(), &none).await.unwrap();
    }

    /// What users see while the namespace ends, and is gone, and before it comes back.
    async fn ends_and_comes_back(&self, cluster: &str) {
        self.begin_to_end().await;
        let terminating = a4(1, "NamespaceTerminating", "Failed to create workload: ");
        let row = self.stage.sees(cluster, "work", &terminating).await;
        assert!(
            row.of("Available", "message").contains(&self.namespace),
            "{}",
            row.tell()
        );
        self.let_go().await;
        let missing = format!("namespace `{}` does not exist", self.namespace);
        self.stage
            .sees(cluster, "work", &a3(1, "NamespaceMissing", &missing))
            .await;
        self.stage.plane.namespace(&self.namespace).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_removed_by_hand_while_work_runs_is_told_and_the_work_begins_anew() {
    let elsewhere = Elsewhere::set().await;
    let cluster = elsewhere.stage.cluster(going("hang")).await;
    elsewhere.stage.sees(&cluster, "work", &a1(1)).await;
    let before = elsewhere.uids("apis/batch/v1", "jobs").await;
    assert_eq!(before.len(), 1);

    elsewhere.ends_and_comes_back(&cluster).await;
    elsewhere.stage.sees(&cluster, "work", &a1(1)).await;
    let after = elsewhere.uids("apis/batch/v1", "jobs").await;
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_removed_by_hand_after_success_comes_back_without_the_finished_job() {
    let elsewhere = Elsewhere::set().await;
    let cluster = elsewhere.stage.cluster(going("ok")).await;
    elsewhere.stage.sees(&cluster, "work", &a2(1)).await;

    elsewhere.ends_and_comes_back(&cluster).await;
    elsewhere.stage.sees(&cluster, "work", &a2(1)).await;
    assert_eq!(elsewhere.uids("api/v1", "configmaps").await.len(), 1);
    elsewhere.stage.settle(&cluster).await;
    assert_eq!(elsewhere.uids("apis/batch/v1", "jobs").await, [Value::Null; 0]);
}
