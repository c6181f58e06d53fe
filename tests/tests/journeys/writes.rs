//! Writes that the API server refuses.

use berth_tests::{
    control_plane::ControlPlane,
    stage::{Stage, a2, a3, a4},
};
use serde_json::{Value, json};

use crate::documents::{adapter, going, job, one, put};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_on_its_way_out_is_told_from_one_that_is_missing() {
    let plane = ControlPlane::shared().await;
    let place = format!("going-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let path = format!("/api/v1/namespaces/{place}");
    plane.namespace(&place).await.unwrap();
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    plane.create(&format!("{path}/configmaps"), &held).await.unwrap();
    plane.delete(&path).await.unwrap();
    plane
        .wait_for(&path, |one| one["status"]["phase"] == "Terminating")
        .await
        .unwrap();

    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "work-{{ .subject.id }}", "namespace": place},
        "data": {"a": "b"},
    });
    let permits = json!([{"apiVersion": "v1", "kind": "ConfigMap", "namespace": place}]);
    let document = adapter(&permits, &json!([{"name": "work", "manifest": manifest}]), "10m");
    let stage = Stage::set(&[&document]).await;
    stage.may_do_everything_everywhere("work").await;
    let cluster = stage.cluster(json!({})).await;
    let row = stage
        .sees(&cluster, "work", &a4(1, "NamespaceTerminating", &place))
        .await;
    let to_do = "Wait for the namespace's deletion, or find out which finalizer holds it.";
    assert!(row.of("Available", "message").ends_with(to_do), "{}", row.tell());

    let free = json!({"metadata": {"finalizers": []}});
    plane.patch(&format!("{path}/configmaps/held"), &free).await.unwrap();
    let row = stage.sees(&cluster, "work", &a3(1, "NamespaceMissing", "")).await;
    assert!(row.of("Available", "message").contains(&place), "{}", row.tell());
    plane.namespace(&place).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_stays_away_is_trouble_beyond_the_grace() {
    let place = format!("never-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "work-{{ .subject.id }}", "namespace": place},
    });
    let permits = json!([{"apiVersion": "v1", "kind": "ConfigMap", "namespace": place}]);
    let document = adapter(&permits, &json!([{"name": "work", "manifest": manifest}]), "5s");
    let stage = Stage::set(&[&document]).await;
    stage.may_do_everything_everywhere("work").await;
    let cluster = stage.cluster(json!({})).await;
    stage.sees(&cluster, "work", &a3(1, "NamespaceMissing", "")).await;
    stage.sees(&cluster, "work", &a4(1, "NamespaceMissing", &place)).await;
    ControlPlane::namespace(&stage.plane, &place).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
}

/// The adapter with one ConfigMap whose data the cluster's spec gives. Settings of the resource
/// are added.
fn range(settings: &Value) -> String {
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "work-{{ .subject.id }}"},
        "data": {"range": "{{ .subject.spec.range }}"},
    });
    let mut resource = json!({"name": "work", "manifest": manifest});
    for (key, value) in settings.as_object().unwrap() {
        resource[key] = value.clone();
    }
    let permits = json!([{"apiVersion": "v1", "kind": "ConfigMap"}]);
    adapter(&permits, &json!([resource]), "2s")
}

/// Changes the data of a cluster's ConfigMap as somebody else. Answers with its path.
async fn taken_over(stage: &Stage, cluster: &str, range: &str) -> String {
    let id = cluster.rsplit('/').next().unwrap();
    let path = format!("{}/work-{id}", stage.collection("configmaps"));
    let patch = json!({"data": {"range": range}});
    let theirs = format!("{path}?fieldManager=network-team");
    stage.plane.patch(&theirs, &patch).await.unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_somebody_else_took_over_is_not_taken_back_and_they_are_named() {
    let stage = Stage::set(&[&range(&json!({}))]).await;
    let cluster = stage.cluster(json!({"range": "10.1.0.0/16"})).await;
    stage.sees(&cluster, "work", &a2(1)).await;
    let path = taken_over(&stage, &cluster, "10.9.0.0/16").await;

    stage.change(&cluster, json!({"range": "10.2.0.0/16"})).await;
    let row = stage
        .sees(&cluster, "work", &a4(2, "FieldConflict", ".data.range"))
        .await;
    let message = row.of("Available", "message");
    assert!(message.contains("(field manager `network-team`)"), "{message}");
    assert!(
        message.ends_with("Let one manager own the field, or set `force` in the adapter document."),
        "{message}"
    );
    let object = stage.plane.get(&path).await.unwrap().unwrap();
    assert_eq!(object["data"]["range"], "10.9.0.0/16");

    // Where both want the same there is no conflict.
    taken_over(&stage, &cluster, "10.2.0.0/16").await;
    stage.sees(&cluster, "work", &a2(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_says_so_takes_fields_back() {
    let stage = Stage::set(&[&range(&json!({"force": true}))]).await;
    let cluster = stage.cluster(json!({"range": "10.1.0.0/16"})).await;
    stage.sees(&cluster, "work", &a2(1)).await;
    let path = taken_over(&stage, &cluster, "10.9.0.0/16").await;

    stage.change(&cluster, json!({"range": "10.2.0.0/16"})).await;
    stage.sees(&cluster, "work", &a2(2)).await;
    let object = stage.plane.get(&path).await.unwrap().unwrap();
    assert_eq!(object["data"]["range"], "10.2.0.0/16");
}

/// The adapter with a Deployment whose selector, which cannot be changed, follows the cluster's spec.
fn selecting(settings: &Value) -> String {
    let labels = json!({"app": "{{ .subject.spec.app }}"});
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "work-{{ .subject.id }}"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "main"}]}},
        },
    });
    let mut resource = json!({"name": "work", "manifest": manifest});
    for (key, value) in settings.as_object().unwrap() {
        resource[key] = value.clone();
    }
    let permits = json!([{"apiVersion": "apps/v1", "kind": "Deployment"}]);
    adapter(&permits, &json!([resource]), "2s")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_cannot_be_changed_is_told_with_the_way_out() {
    let stage = Stage::set(&[&selecting(&json!({}))]).await;
    let cluster = stage.cluster(json!({"app": "one"})).await;
    stage.sees(&cluster, "work", &a2(1)).await;
    stage.change(&cluster, json!({"app": "two"})).await;
    let row = stage
        .sees(&cluster, "work", &a4(2, "FieldImmutable", "field is immutable"))
        .await;
    assert!(
        row.of("Available", "message").contains("set `recreate`"),
        "{}",
        row.tell()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_may_be_made_anew_is() {
    let stage = Stage::set(&[&selecting(&json!({"recreate": true}))]).await;
    let cluster = stage.cluster(json!({"app": "one"})).await;
    stage.sees(&cluster, "work", &a2(1)).await;
    let before = stage.only("deployments", |_| true).await;
    stage.change(&cluster, json!({"app": "two"})).await;
    stage.sees(&cluster, "work", &a2(2)).await;
    let after = stage.only("deployments", |_| true).await;
    assert_eq!(after["spec"]["selector"]["matchLabels"]["app"], "two");
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_range_that_does_not_allow_the_object_itself_is_told_as_that() {
    let claim = json!({
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "{{ .subject.spec.size }}"}},
    });
    let stage = Stage::set(&[&one("v1", "PersistentVolumeClaim", &claim, "2s")]).await;
    let limits = json!([{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]);
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": limits},
    });
    put(&stage, "limitranges", &range).await;
    let cluster = stage.cluster(json!({"size": "2Gi"})).await;
    let says = "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi";
    stage.sees(&cluster, "work", &a4(1, "OutsideLimitRange", says)).await;

    stage.change(&cluster, json!({"size": "1Gi"})).await;
    stage.sees(&cluster, "work", &a2(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_not_valid_is_told_by_its_field_and_a_correct_one_is_created() {
    let pod = json!({"restartPolicy": "{{ .subject.spec.restart }}"});
    let stage = Stage::set(&[&job(&pod, &json!({}))]).await;
    let with = |restart: &str| {
        let mut spec = going("ok");
        spec["restart"] = json!(restart);
        spec
    };
    let cluster = stage.cluster(with("Always")).await;
    let says = "spec.template.spec.restartPolicy";
    let row = stage.sees(&cluster, "work", &a4(1, "ManifestInvalid", says)).await;
    assert!(
        row.of("Available", "message").ends_with("Correct the manifest."),
        "{}",
        row.tell()
    );
    assert!(stage.ours("jobs").await.is_empty());

    stage.change(&cluster, with("Never")).await;
    stage.sees(&cluster, "work", &a2(2)).await;
}
