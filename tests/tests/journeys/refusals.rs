//! What an adapter may not do: by Kubernetes' rights and by its own document.

use berth::simulate::fleet::Kind;
use berth_tests::{
    control_plane::ControlPlane,
    stage::{Plane, Stage, a2, a4, landing_zone, replaced, spec},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_adapters_service_account_bounds_what_it_creates() {
    let plane = Plane::Shared(ControlPlane::shared().await);
    let rights = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]);
    let stage = Stage::set_with(plane, &[&landing_zone()], &rights).await;
    let cluster = stage.cluster(spec("ok")).await;
    let row = stage
        .sees(
            &cluster,
            "landing-zone",
            &a4(1, "Forbidden", "Failed to create workload: "),
        )
        .await;
    let account = format!("system:serviceaccount:{}:landing-zone", stage.namespace);
    assert!(row.of("Available", "message").contains(&account), "{}", row.tell());
    assert!(stage.ours("jobs").await.is_empty());
    assert!(stage.ours("configmaps").await.is_empty());

    let role = format!(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles/landing-zone",
        stage.namespace
    );
    let rules = berth_tests::control_plane::everything();
    stage.plane.patch(&role, &json!({"rules": rules})).await.unwrap();
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_outside_the_permits_is_refused_before_anything_is_created() {
    let document = replaced(&landing_zone(), "    - {apiVersion: batch/v1, kind: Job}\n", "");
    let stage = Stage::set(&[&document]).await;
    let cluster = stage.cluster(spec("ok")).await;
    let row = stage
        .sees(&cluster, "landing-zone", &a4(1, "ManifestNotPermitted", ""))
        .await;
    assert!(row.of("Available", "message").contains("Job"), "{}", row.tell());
    assert!(stage.ours("jobs").await.is_empty());
    assert!(stage.ours("configmaps").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_the_cluster_that_refuses_an_object_is_quoted() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let policies = "/apis/admissionregistration.k8s.io/v1";
    let name = format!("no-jobs-{}", stage.namespace);
    let matches = json!({"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}});
    let rules =
        json!([{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}]);
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"namespaceSelector": matches, "resourceRules": rules},
            "validations": [{"expression": "false", "message": "Jobs need a cost centre"}],
        },
    });
    stage
        .plane
        .create(&format!("{policies}/validatingadmissionpolicies"), &policy)
        .await
        .unwrap();
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    stage
        .plane
        .create(&format!("{policies}/validatingadmissionpolicybindings"), &binding)
        .await
        .unwrap();
    in_force(&stage).await;

    let cluster = stage.cluster(spec("ok")).await;
    let row = stage
        .sees(
            &cluster,
            "landing-zone",
            &a4(1, "AdmissionRefused", "Failed to create workload: "),
        )
        .await;
    assert!(
        row.of("Available", "message").contains("Jobs need a cost centre"),
        "{}",
        row.tell()
    );
    assert!(stage.ours("jobs").await.is_empty());

    let binding = format!("{policies}/validatingadmissionpolicybindings/{name}");
    stage.plane.delete(&binding).await.unwrap();
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
}

/// Waits until the API server refuses a Job: it reads its policies anew every second or so.
async fn in_force(stage: &Stage) {
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    });
    let dry = format!("{}?dryRun=All", stage.collection("jobs"));
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while stage.plane.create(&dry, &job).await.is_ok() {
        assert!(std::time::Instant::now() < end, "the policy does not come into force");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_somebody_else_is_not_touched() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage.create(Kind::Cluster, None, &spec("ok"));
    let name = format!("lz-{}", cluster.rsplit('/').next().unwrap());
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"mine": "yes"}});
    stage
        .plane
        .create(&stage.collection("configmaps"), &foreign)
        .await
        .unwrap();
    stage.publish(&cluster).await;
    let row = stage.sees(&cluster, "landing-zone", &a4(1, "ObjectNotOurs", "")).await;
    assert!(row.of("Available", "message").contains(&name), "{}", row.tell());
    assert!(stage.ours("jobs").await.is_empty());

    let path = format!("{}/{name}", stage.collection("configmaps"));
    let untouched = stage.plane.get(&path).await.unwrap().unwrap();
    assert_eq!(untouched["data"], json!({"mine": "yes"}));
    stage.delete(&cluster).await;
    stage.is_gone(&cluster).await;
    assert!(
        stage.plane.get(&path).await.unwrap().is_some(),
        "deletion leaves it as well"
    );
}
