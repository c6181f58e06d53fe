//! Changes of a cluster while work is under way, and events out of order.

use berth_tests::stage::{Stage, VALIDATION, Wanted, a1, a2, a3, landing_zone, replaced, spec};
use serde_json::{Value, json};

use crate::pods::Pods;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_must_not_be_interrupted_ends_before_the_next_generation_begins() {
    let document = replaced(VALIDATION, "test/outcome: ok", "test/outcome: hang");
    let step = "  resources:\n    - name: validate\n";
    let document = replaced(&document, step, &format!("{step}      onUpdate: WaitForCompletion\n"));
    let stage = Stage::set(&[&document]).await;
    let pods = Pods::of(&stage).await;
    let cluster = stage.cluster(spec("ok")).await;
    stage.sees(&cluster, "validation", &a1(1)).await;
    let first = stage.only("jobs", |job| job["status"]["active"] == 1).await;

    let mut elsewhere = spec("ok");
    elsewhere["region"] = json!("europe-west4");
    stage.change(&cluster, elsewhere).await;
    stage.sees(&cluster, "validation", &waits_for_the_earlier(2)).await;
    let same = stage.only("jobs", |_| true).await;
    assert_eq!(same["metadata"]["uid"], first["metadata"]["uid"]);

    stage.let_pods_end().await;
    let uid = &first["metadata"]["uid"];
    stage
        .only("jobs", |job| {
            job["metadata"]["uid"] != *uid && job["status"]["active"] == 1
        })
        .await;
    stage.let_pods_end().await;
    stage.sees(&cluster, "validation", &a2(2)).await;
    assert_eq!(pods.most_at_once(), 1);
}

fn waits_for_the_earlier(generation: u64) -> Wanted {
    a3(generation, "WaitingForEarlierGeneration", "")
}
