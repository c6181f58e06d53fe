//! Changes of a cluster while work is under way, and events out of order.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use berth_tests::{
    control_plane::User,
    stage::{Stage, a1, a2, landing_zone, spec},
};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    runtime::watcher::{self, Event},
};
use serde_json::{Value, json};

/// Watches the pods of a stage and remembers how many were there at once.
struct Pods {
    most: Arc<Mutex<usize>>,
    watching: tokio::task::JoinHandle<()>,
}

impl Pods {
    async fn of(stage: &Stage) -> Self {
        let client = stage.plane.client(User::Admin).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(client, &stage.namespace);
        let most = Arc::new(Mutex::new(0));
        let known = Arc::clone(&most);
        let (listed, first) = tokio::sync::oneshot::channel();
        let mut listed = Some(listed);
        let watching = tokio::spawn(async move {
            let mut events = std::pin::pin!(kube::runtime::watcher(pods, watcher::Config::default()));
            let mut there = BTreeSet::new();
            while let Some(event) = events.next().await {
                match event.expect("the watch goes on") {
                    Event::Init => {}
                    Event::InitDone => drop(listed.take().map(|listed| listed.send(()))),
                    Event::InitApply(pod) | Event::Apply(pod) => drop(there.insert(pod.uid())),
                    Event::Delete(pod) => drop(there.remove(&pod.uid())),
                }
                let mut most = known.lock().unwrap();
                *most = there.len().max(*most);
            }
        });
        first.await.expect("the pods can be listed");
        Self { most, watching }
    }

    fn most_at_once(self) -> usize {
        self.watching.abort();
        *self.most.lock().unwrap()
    }
}

fn with_range(outcome: &str, range: &str) -> Value {
    let mut spec = spec(outcome);
    spec["networkCidr"] = json!(range);
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_generation_replaces_the_running_job_and_the_two_never_run_at_once() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let pods = Pods::of(&stage).await;
    let cluster = stage.cluster(with_range("hang", "10.1.0.0/16")).await;
    stage.sees(&cluster, "landing-zone", &a1(1)).await;
    let first = stage.only("jobs", |job| job["status"]["active"] == 1).await;

    stage.change(&cluster, with_range("ok", "10.2.0.0/16")).await;
    stage.sees(&cluster, "landing-zone", &a2(2)).await;
    let second = stage.only("jobs", |job| job["status"]["succeeded"] == 1).await;
    assert_ne!(second["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(pods.most_at_once(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_in_quick_succession_end_at_the_last_generation() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let pods = Pods::of(&stage).await;
    let cluster = stage.cluster(with_range("hang", "10.1.0.0/16")).await;
    for generation in 2..=5 {
        stage
            .change(&cluster, with_range("hang", &format!("10.{generation}.0.0/16")))
            .await;
    }
    stage.change(&cluster, with_range("ok", "10.6.0.0/16")).await;
    stage.sees(&cluster, "landing-zone", &a2(6)).await;
    let parameters = stage.only("configmaps", |_| true).await;
    assert_eq!(
        parameters["metadata"]["annotations"]["berth.hyperfleet.io/generation"],
        "6"
    );
    let name = parameters["metadata"]["name"].as_str().unwrap();
    assert_eq!(parameters["data"]["networkCidr"], "10.6.0.0/16", "{name}");
    assert_eq!(pods.most_at_once(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_and_late_events_change_nothing() {
    let stage = Stage::set(&[&landing_zone()]).await;
    let cluster = stage.cluster(spec("ok")).await;
    stage.sees(&cluster, "landing-zone", &a2(1)).await;
    let late = stage.events(&cluster);
    stage.change(&cluster, with_range("ok", "10.2.0.0/16")).await;
    stage.sees(&cluster, "landing-zone", &a2(2)).await;
    let job = stage.only("jobs", |job| job["status"]["succeeded"] == 1).await;

    let now = stage.events(&cluster);
    for event in late.iter().chain(&now).chain(&now) {
        assert_eq!(stage.post(event).await, 204);
        stage.sees(&cluster, "landing-zone", &a2(2)).await;
    }
    let same = stage.only("jobs", |_| true).await;
    assert_eq!(same["metadata"]["uid"], job["metadata"]["uid"]);
    assert_eq!(same["metadata"]["resourceVersion"], job["metadata"]["resourceVersion"]);
}
