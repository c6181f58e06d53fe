//! What an adapter may not do: by Kubernetes' rights and by its own document.

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
