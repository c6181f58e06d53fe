//! What users see when events come by RabbitMQ: a whole host between simulated APIs.

use berth::config::host::{self, Sources};
use berth_tests::{
    rabbitmq::RabbitMq as Broker,
    simulated_stage::{NAMESPACE, SimulatedStage},
    stage::{VALIDATION, a1, a2, a3, a4, a5, a6, landing_zone, not_applicable, replaced, spec},
};

use super::*;

/// What `berth.yaml` says of RabbitMQ.
fn sources(url: &str, topic: &str) -> Sources {
    let base = "fleet: {url: 'http://localhost:1'}\nadapters: a\n";
    let file = format!("{base}sources: {{rabbitmq: {{topic: {topic}, subscription: berth}}}}\n");
    let variables = [("BERTH_SOURCES_RABBITMQ_URL".to_owned(), url.to_owned())];
    let written = host::Written {
        file: Some((std::path::Path::new("berth.yaml"), &file)),
        variables: &variables,
        ..host::Written::default()
    };
    host::load(&written)
        .map_err(|problems| problems.to_string())
        .unwrap()
        .0
        .sources
}

async fn ready(stage: &SimulatedStage) {
    let all_receive = async || {
        let checks = berth::telemetry::admin::Host::checks(stage.host.as_ref()).await;
        checks.iter().all(|check| check.trouble.is_none())
    };
    comes("readiness", all_receive).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_six_journeys_are_reported_through_rabbitmq() {
    let (broker, topic) = (Broker::shared().await, topic());
    let stage = SimulatedStage::set(&[&landing_zone()], &sources(&broker.url(), &topic)).await;
    ready(&stage).await;
    let client = broker.client().await;
    let publish = async |path: &str| {
        let event = stage.event(path);
        let id = event["id"].as_str().unwrap().to_owned();
        assert!(client.publish(&topic, &id, event.to_string().as_bytes()).await);
    };
    let cluster = async |spec: &serde_json::Value| {
        let path = stage.create(spec);
        publish(&path).await;
        path
    };
    let adapter = "landing-zone";
    // A1 and A2.
    let path = cluster(&spec("hang")).await;
    stage.sees(&path, adapter, &a1(1)).await;
    let done = cluster(&spec("ok")).await;
    stage.sees(&done, adapter, &a2(1)).await;
    // A3: no room in the region.
    let mut elsewhere = spec("ok");
    elsewhere["region"] = json!("europe-west4");
    let path = cluster(&elsewhere).await;
    stage.sees(&path, adapter, &a3(1, "PreconditionsNotMet", "")).await;
    // A5: the work fails.
    let path = cluster(&spec("fail")).await;
    stage.sees(&path, adapter, &a5(1, "", "")).await;
    // A4: a quota leaves no room for Jobs.
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"count/jobs.batch": "0"}},
        "metadata": {"name": "none", "namespace": NAMESPACE},
    });
    stage.kubernetes.create("test", quota).unwrap();
    let path = cluster(&spec("ok")).await;
    stage
        .sees(&path, adapter, &a4(1, "QuotaExceeded", "Failed to create workload: "))
        .await;
    // A6: Kubernetes is away.
    stage.kubernetes.go_away();
    let path = cluster(&spec("ok")).await;
    stage.sees(&path, adapter, &a6(1, "KubernetesApiUnreachable")).await;
    stage.kubernetes.come_back();
    // All are reported, so none waits at the broker, not even after the host has gone.
    client.comes_to(&format!("{topic}-berth"), 0, 1).await;
    stage.host.stop().await;
    client.comes_to(&format!("{topic}-berth"), 0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_with_its_own_subscription_gets_those_events_and_no_others() {
    let (broker, topic) = (Broker::shared().await, topic());
    let own = replaced(
        VALIDATION,
        "  subjects: [Cluster]\n",
        "  subjects: [Cluster]\n  events: {rabbitmq: {subscription: validation}}\n",
    );
    let stage = SimulatedStage::set(&[&own, &landing_zone()], &sources(&broker.url(), &topic)).await;
    ready(&stage).await;
    let client = broker.client().await;
    // Straight into each queue, past the exchange that feeds both.
    let send = async |queue: &str, path: &str| {
        let event = stage.event(path);
        let lane = format!("{queue}-lane");
        client.exchange(&lane, lapin::ExchangeKind::Fanout).await;
        client.queue(queue, &lane).await;
        assert!(client.publish(&lane, "e", event.to_string().as_bytes()).await);
    };
    let shared = stage.create(&spec("ok"));
    send(&format!("{topic}-berth"), &shared).await;
    stage.sees(&shared, "landing-zone", &a2(1)).await;
    let its = stage.create(&spec("ok"));
    send(&format!("{topic}-validation"), &its).await;
    stage.sees(&its, "validation", &a2(1)).await;
    for queue in ["berth", "validation"] {
        client.comes_to(&format!("{topic}-{queue}"), 0, 1).await;
    }
    stage.host.stop().await;
    assert!(stage.row(&shared, "validation").await.is_none());
    assert!(stage.row(&its, "landing-zone").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_loses_nothing_and_is_connected_again() {
    let (broker, topic) = (Broker::start(None).await, topic());
    let stage = SimulatedStage::set(&[VALIDATION], &sources(&broker.url(), &topic)).await;
    ready(&stage).await;
    let client = broker.client().await;
    // No report is accepted, so no event may be acknowledged.
    stage.simulation.set_down(true);
    let paths: Vec<String> = (0..20).map(|_| stage.create(&spec("ok"))).collect();
    for path in &paths {
        let event = stage.event(path);
        let id = event["id"].as_str().unwrap();
        assert!(client.publish(&topic, id, event.to_string().as_bytes()).await);
    }
    client.comes_to(&format!("{topic}-berth"), 0, 1).await;
    broker.kill();
    let notices = async || {
        let checks = berth::telemetry::admin::Host::checks(stage.host.as_ref()).await;
        checks
            .iter()
            .any(|check| check.name == "sources" && check.trouble.is_some())
    };
    comes("noticing that the broker is away", notices).await.unwrap();
    broker.run().await;
    ready(&stage).await;
    stage.simulation.set_down(false);
    for path in &paths {
        stage.sees(path, "validation", &a2(1)).await;
    }
    let client = broker.client().await;
    client.comes_to(&format!("{topic}-berth"), 0, 1).await;
    stage.host.stop().await;
    client.comes_to(&format!("{topic}-berth"), 0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_adapters_of_one_event_fetch_its_subject_once() {
    let (broker, topic) = (Broker::shared().await, topic());
    let second = replaced(VALIDATION, "metadata: {name: validation}", "metadata: {name: second}");
    let stage = SimulatedStage::set(&[VALIDATION, &second], &sources(&broker.url(), &topic)).await;
    ready(&stage).await;
    let client = broker.client().await;
    // Not theirs, so nothing is created, and nothing but the event makes them look.
    let path = stage.create(&json!({"provider": "aws", "region": "eu-central-1"}));
    let event = stage.event(&path);
    stage.simulation.take_requests();
    assert!(client.publish(&topic, "e", event.to_string().as_bytes()).await);
    client.comes_to(&format!("{topic}-berth"), 0, 1).await;
    for adapter in ["validation", "second"] {
        stage.sees(&path, adapter, &not_applicable(1, "NotApplicable")).await;
    }
    let requests = stage.simulation.take_requests();
    let fetches = requests
        .iter()
        .filter(|request| **request == format!("GET {path}"))
        .count();
    assert_eq!(fetches, 1, "{requests:#?}");
    stage.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_for_one_subject_ends_in_few_reports() {
    let (broker, topic) = (Broker::shared().await, topic());
    let stage = SimulatedStage::set(&[VALIDATION], &sources(&broker.url(), &topic)).await;
    ready(&stage).await;
    let client = broker.client().await;
    let path = stage.create(&json!({"provider": "aws", "region": "eu-central-1"}));
    stage.simulation.set_down(true);
    for number in 0..60 {
        let id = format!("e{number}");
        let mut event = stage.event(&path);
        event["id"] = json!(id);
        assert!(client.publish(&topic, &id, event.to_string().as_bytes()).await);
    }
    let queue = format!("{topic}-berth");
    client.comes_to(&queue, 0, 1).await;
    stage.simulation.take_requests();
    stage.simulation.set_down(false);
    stage
        .sees(&path, "validation", &not_applicable(1, "NotApplicable"))
        .await;
    stage.host.stop().await;
    client.comes_to(&queue, 0, 0).await;
    let requests = stage.simulation.take_requests();
    let reports = requests.iter().filter(|request| request.starts_with("PUT ")).count();
    assert!((1..=5).contains(&reports), "{reports} reports for one subject");
}
