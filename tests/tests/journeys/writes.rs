//! Writes that the API server refuses.

use berth_tests::{
    control_plane::ControlPlane,
    stage::{Stage, a2, a3, a4},
};
use serde_json::json;

use crate::documents::{adapter, going, job};

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
async fn a_field_that_somebody_else_took_over_is_not_taken_back_and_they_are_named() {
    let manifest = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "work-{{ .subject.id }}"},
        "data": {"range": "{{ .subject.spec.range }}"},
    });
    let permits = json!([{"apiVersion": "v1", "kind": "ConfigMap"}]);
    let document = adapter(&permits, &json!([{"name": "work", "manifest": manifest}]), "2s");
    let stage = Stage::set(&[&document]).await;
    let cluster = stage.cluster(json!({"range": "10.1.0.0/16"})).await;
    stage.sees(&cluster, "work", &a2(1)).await;
    let id = cluster.rsplit('/').next().unwrap();
    let path = format!("{}/work-{id}", stage.collection("configmaps"));
    let theirs = format!("{path}?fieldManager=network-team");
    let data = |range: &str| json!({"data": {"range": range}});
    stage.plane.patch(&theirs, &data("10.9.0.0/16")).await.unwrap();

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
    stage.plane.patch(&theirs, &data("10.2.0.0/16")).await.unwrap();
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
