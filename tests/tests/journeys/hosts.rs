//! Several hosts, and hosts that die.

use berth::simulate::fleet::Kind;
use berth_tests::stage::{Stage, a2, landing_zone, spec};
use futures::future::join_all;

use crate::pods::Pods;

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_that_get_the_same_events_run_the_work_once() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let (_host, other) = stage.another_host().await;
    let pods = Pods::of(&stage).await;
    let cluster = stage.create(Kind::Cluster, None, &spec("ok"));
    let event = stage.events(&cluster).remove(0);
    let mut posts = Vec::new();
    for _ in 0..3 {
        posts.push(tokio::spawn(stage.post(&event)));
        posts.push(tokio::spawn(stage.post_to(other, &event)));
    }
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    let job = stage.only("jobs", |job| job["status"]["succeeded"] == 1).await;
    join_all(posts).await;

    stage.settle(&cluster).await;
    assert_eq!(stage.post_to(other, &event).await, 204);
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    let same = stage.only("jobs", |_| true).await;
    assert_eq!(same["metadata"]["uid"], job["metadata"]["uid"]);
    assert_eq!(pods.most_at_once(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_at_any_moment_leaves_nothing_that_the_next_one_cannot_finish() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let pods = Pods::of(&stage).await;
    stage.stop_host().await;
    let cluster = stage.create(Kind::Cluster, None, &spec("ok"));
    let event = stage.events(&cluster).remove(0);
    let stage = std::sync::Arc::new(stage);
    for milliseconds in [5, 20, 60, 120] {
        // All of the host's tasks end with its runtime, wherever they are.
        let doomed = tokio::runtime::Runtime::new().unwrap();
        let (starting, event) = (std::sync::Arc::clone(&stage), event.clone());
        let sent = doomed.spawn(async move {
            let (_host, address) = starting.another_host().await;
            let answer = starting.post_to(address, &event);
            tokio::time::timeout(std::time::Duration::from_millis(milliseconds), answer).await
        });
        drop(sent.await);
        doomed.shutdown_background();
    }
    stage.start_host().await;
    stage.settle(&cluster).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    stage.only("jobs", |job| job["status"]["succeeded"] == 1).await;
    stage.only("configmaps", |_| true).await;
    assert_eq!(pods.most_at_once(), 1);
}
