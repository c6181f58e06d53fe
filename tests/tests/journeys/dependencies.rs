//! A3, and chains of adapters.

use berth_tests::{
    control_plane::ControlPlane,
    stage::{LANDING_ZONE, NODEPOOL_SIZING, Stage, VALIDATION, a1, a2, a3, landing_zone, replaced, spec},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_waits_while_the_quota_has_no_room_and_nothing_is_created() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage
        .cluster(json!({"provider": "gcp", "region": "europe-west4"}))
        .await;
    let says = "quota: the quota of europe-west4 has room for 0 landing zones";
    stage
        .sees(&cluster, "landing-zone", &a3(1, "PreconditionsNotMet", says))
        .await;
    assert!(stage.ours("jobs").await.is_empty());
    assert!(stage.ours("configmaps").await.is_empty());

    // The quota is nobody's object, so no watch tells: the host looks again by itself.
    let quota = format!("{}/landing-zone-quota", stage.collection("configmaps"));
    stage
        .plane
        .patch(&quota, &json!({"data": {"europe-west4": "1"}}))
        .await
        .unwrap();
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_adapters_waits_link_by_link_until_the_cluster_is_reconciled() {
    let hanging = replaced(VALIDATION, "test/outcome: ok", "test/outcome: hang");
    let stage = Stage::set(&[&hanging, LANDING_ZONE]).await;
    let cluster = stage.cluster(spec("ok")).await;
    stage.sees(&cluster, "validation", &a1(1)).await;
    let row = stage
        .sees(&cluster, "landing-zone", &a3(1, "PreconditionsNotMet", "validation: "))
        .await;
    assert_eq!(row.of("Applied", "status"), "False");
    stage
        .only("jobs", |job| {
            job["metadata"]["name"].as_str().unwrap().starts_with("validate-")
        })
        .await;

    stage.let_pods_end().await;
    stage.sees(&cluster, "validation", &a2(1)).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
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
async fn a_nodepool_waits_for_the_adapter_of_the_cluster_that_owns_it() {
    let stage = Stage::set(&[&landing_zone(), NODEPOOL_SIZING]).await;
    let cluster = stage.cluster(spec("hang")).await;
    stage.sees(&cluster, "landing-zone", &a1(1)).await;
    let pool = stage.nodepool(&cluster, json!({"replicas": 3})).await;
    stage
        .sees(
            &pool,
            "nodepool-sizing",
            &a3(1, "PreconditionsNotMet", "landing-zone: "),
        )
        .await;

    stage.let_pods_end().await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    stage.sees(&pool, "nodepool-sizing", &a2(1)).await;
    let id = pool.rsplit('/').next().unwrap();
    let size = stage
        .plane
        .get(&format!("{}/size-{id}", stage.collection("configmaps")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        size["data"],
        json!({"cluster": cluster.rsplit('/').next().unwrap(), "replicas": "3"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_missing_is_named_and_the_work_goes_on_once_it_is_there() {
    let later = format!("later-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let document = replaced(
        &replaced(
            VALIDATION,
            "metadata: {name: \"validate-{{ .subject.id }}\"}",
            &format!("metadata: {{name: \"validate-{{{{ .subject.id }}}}\", namespace: {later}}}"),
        ),
        "{apiVersion: batch/v1, kind: Job}",
        &format!("{{apiVersion: batch/v1, kind: Job, namespace: {later}}}"),
    );
    // Much longer than the test: only the watch can tell in time.
    let document = format!("{document}  grace: 10m\n");
    let stage = Stage::set(&[&document]).await;
    stage.may_do_everything_everywhere("validation").await;
    let cluster = stage.cluster(spec("ok")).await;
    let row = stage.sees(&cluster, "validation", &a3(1, "NamespaceMissing", "")).await;
    assert!(row.of("Available", "message").contains(&later), "{}", row.tell());

    ControlPlane::namespace(&stage.plane, &later).await.unwrap();
    stage.sees(&cluster, "validation", &a2(1)).await;
}
