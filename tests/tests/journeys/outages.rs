//! A6: an API that cannot be reached, and its return.

use berth::simulate::fleet::Kind;
use berth_tests::{
    control_plane::{ControlPlane, NetworkPath, everything},
    stage::{Plane, Stage, a1, a2, a6, a6_after_success, deletion_failed, landing_zone, spec},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_kubernetes_is_reported_and_never_takes_back_a_success() {
    let plane = Plane::Own(Box::new(ControlPlane::start().await.unwrap()));
    let stage = Stage::set_with(plane, &[&landing_zone()], &everything()).await;
    let done = stage.cluster(spec("ok")).await;
    let busy = stage.cluster(spec("hang")).await;
    let before = stage.sees(&done, "landing-zone", &a2(1)).await;
    stage.sees(&busy, "landing-zone", &a1(1)).await;

    stage.plane.stop_api_server();
    stage.publish(&done).await;
    stage.publish(&busy).await;
    let row = stage
        .sees(&done, "landing-zone", &a6_after_success(1, "KubernetesApiUnreachable"))
        .await;
    assert_eq!(
        row.of("NetworkReady", "status"),
        before.of("NetworkReady", "status"),
        "{}",
        row.tell()
    );
    assert_eq!(row.0["data"]["region"], before.0["data"]["region"]);
    stage
        .sees(&busy, "landing-zone", &a6(1, "KubernetesApiUnreachable"))
        .await;

    stage.plane.start_api_server().await.unwrap();
    stage.sees(&done, "landing-zone", &a2(1)).await;
    stage.sees(&busy, "landing-zone", &a1(1)).await;

    stage.let_pods_end().await;
    stage.sees(&busy, "landing-zone", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_from_kubernetes_that_nobody_tells_of_is_reported_at_every_event_and_ends_by_itself() {
    let (stage, gate) = Stage::set_behind_gate(&[&landing_zone()]).await;
    let done = stage.cluster(spec("ok")).await;
    let busy = stage.cluster(spec("hang")).await;
    stage.sees(&done, "landing-zone", &a2(1)).await;
    stage.sees(&busy, "landing-zone", &a1(1)).await;

    // Connections stay, and nothing comes back on them.
    gate.set(NetworkPath::Silent);
    let (success, none) = (
        a6_after_success(1, "KubernetesApiUnreachable"),
        a6(1, "KubernetesApiUnreachable"),
    );
    stage.comes_to_see(&done, "landing-zone", &success).await;
    let first = stage.comes_to_see(&busy, "landing-zone", &none).await;
    // A cluster that nobody knows yet is told of as well, and every further event is settled by a further A6.
    let new = stage.create(Kind::Cluster, None, &spec("ok"));
    stage.comes_to_see(&new, "landing-zone", &none).await;
    for _ in 0..2 {
        for (path, wanted) in [(&done, &success), (&busy, &none), (&new, &none)] {
            stage.settle(path).await;
            stage.sees(path, "landing-zone", wanted).await;
        }
    }
    let last = stage.sees(&busy, "landing-zone", &none).await;
    assert_ne!(
        first.0["last_report_time"],
        last.0["last_report_time"],
        "{}",
        last.tell()
    );

    gate.set(NetworkPath::Open);
    for (path, wanted) in [(&done, a2(1)), (&busy, a1(1)), (&new, a2(1))] {
        let row = stage.sees(path, "landing-zone", &wanted).await;
        assert_eq!(row.of("Health", "reason"), "NoErrors", "{}", row.tell());
    }
    stage.let_pods_end().await;
    stage.sees(&busy, "landing-zone", &a2(1)).await;
    assert_eq!(stage.ours("jobs").await.len(), 3, "nothing was made twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_during_an_outage_of_the_hyperfleet_api_is_kept_until_its_return() {
    let stage = Stage::set(&[&landing_zone()]).await;
    stage.server.partition();
    let cluster = stage.cluster(spec("ok")).await;
    let event = stage.events(&cluster).remove(0);
    assert_eq!(stage.post(&event).await, 503, "nobody may think that it is settled");
    assert!(
        stage.ours("jobs").await.is_empty(),
        "nothing is created for a subject that cannot be read"
    );

    stage.server.heal();
    let row = stage.sees(&cluster, "landing-zone", &a2(1)).await;
    assert_eq!(row.of("Health", "reason"), "NoErrors");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_during_an_outage_of_kubernetes_is_never_called_finished() {
    let plane = Plane::Own(Box::new(ControlPlane::start().await.unwrap()));
    let stage = Stage::set_with(plane, &[&landing_zone()], &everything()).await;
    let cluster = stage.cluster(spec("ok")).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;

    stage.plane.stop_api_server();
    stage.delete(&cluster).await;
    let row = stage
        .sees(
            &cluster,
            "landing-zone",
            &deletion_failed(2, "KubernetesApiUnreachable"),
        )
        .await;
    assert_eq!(row.of("Finalized", "status"), "False", "{}", row.tell());

    stage.plane.start_api_server().await.unwrap();
    stage.is_gone(&cluster).await;
    stage.has_none("jobs").await;
    stage.has_none("configmaps").await;
}
