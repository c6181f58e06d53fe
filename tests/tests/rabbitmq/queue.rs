//! What berth does at the broker, and how it takes messages.

use berth_tests::rabbitmq::RabbitMq as Broker;
use lapin::{ExchangeKind, types::AMQPValue};

use super::*;

const HOLD: Duration = Duration::from_secs(60);

/// As Sentinel's library writes them, byte for byte: with and without `traceparent`, with fields that nobody
/// knows, and with both spellings of the type.
const SENTINEL: [&str; 4] = [
    r#"{"specversion":"1.0","id":"0198a4c2-1111-7000-8000-000000000001","source":"hyperfleet-sentinel","type":"com.redhat.hyperfleet.cluster.reconcile","datacontenttype":"application/json","data":{"generation":3,"href":"/api/hyperfleet/v1/clusters/0198a4c2-0000-7000-8000-00000000000c","id":"0198a4c2-0000-7000-8000-00000000000c","kind":"Cluster"}}"#,
    r#"{"specversion":"1.0","id":"0198a4c2-1111-7000-8000-000000000002","source":"hyperfleet-sentinel","type":"com.redhat.hyperfleet.cluster.reconcile.v1","datacontenttype":"application/json","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"generation":3,"href":"/api/hyperfleet/v1/clusters/0198a4c2-0000-7000-8000-00000000000c","id":"0198a4c2-0000-7000-8000-00000000000c","kind":"Cluster"}}"#,
    r#"{"specversion":"1.0","id":"0198a4c2-1111-7000-8000-000000000003","source":"hyperfleet-sentinel","type":"com.redhat.hyperfleet.nodepool.reconcile","datacontenttype":"application/json","data":{"generation":1,"href":"/api/hyperfleet/v1/clusters/0198a4c2-0000-7000-8000-00000000000c/nodepools/0198a4c2-0000-7000-8000-00000000000d","id":"0198a4c2-0000-7000-8000-00000000000d","kind":"NodePool","owner_references":{"href":"/api/hyperfleet/v1/clusters/0198a4c2-0000-7000-8000-00000000000c","id":"0198a4c2-0000-7000-8000-00000000000c","kind":"Cluster"}}}"#,
    r#"{"specversion":"1.0","id":"0198a4c2-1111-7000-8000-000000000004","source":"hyperfleet-sentinel","type":"com.redhat.hyperfleet.nodepool.reconcile.v1","datacontenttype":"application/json","newattribute":"later","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"generation":1,"href":"/api/hyperfleet/v1/clusters/0198a4c2-0000-7000-8000-00000000000c/nodepools/0198a4c2-0000-7000-8000-00000000000d","id":"0198a4c2-0000-7000-8000-00000000000d","kind":"NodePool","reason":"drift","nested":{"unknown":[1,2]}}}"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn what_sentinel_writes_is_read_and_acknowledged() {
    let (broker, topic) = (Broker::shared().await, topic());
    let client = broker.client().await;
    let receiving = receive(settings(broker.url(), &topic), SENTINEL.len(), &[], HOLD);
    receiving.connected().await;
    for body in SENTINEL {
        let id = &body[27..63];
        assert!(client.publish(&topic, id, body.as_bytes()).await, "no queue took it");
    }
    receiving.sees(SENTINEL.len()).await;
    let queue = format!("{topic}-berth");
    client.comes_to(&queue, 0, 1).await;
    let adapters = receiving.stop().await;
    // What was not acknowledged would be back.
    client.comes_to(&queue, 0, 0).await;
    let mut seen = adapters.seen.lock().unwrap();
    seen.sort_by(|left, right| left.id.cmp(&right.id));
    for (event, body) in seen.iter().zip(SENTINEL) {
        assert_eq!(
            *event.document,
            serde_json::from_str::<serde_json::Value>(body).unwrap()
        );
    }
    let kinds: Vec<_> = seen.iter().map(|event| event.subject.key.kind.as_str()).collect();
    assert_eq!(kinds, ["Cluster", "Cluster", "NodePool", "NodePool"]);
    assert!(adapters.aside.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_hyperfleet_declared_is_used_with_what_waits_in_it() {
    let (broker, topic) = (Broker::shared().await, topic());
    let queue = format!("{topic}-berth");
    let client = broker.client().await;
    client.exchange(&topic, ExchangeKind::Topic).await;
    client.queue(&queue, &topic).await;
    assert!(client.publish(&topic, "before", &event("before")).await);
    let receiving = receive(settings(broker.url(), &topic), 2, &[], HOLD);
    assert_eq!(receiving.sees(1).await, ["before"]);
    // HyperFleet's service may come back and declares the same again.
    client.exchange(&topic, ExchangeKind::Topic).await;
    client.queue(&queue, &topic).await;
    assert!(client.publish(&topic, "after", &event("after")).await);
    assert_eq!(receiving.sees(2).await, ["before", "after"]);
    receiving.stop().await;
    client.comes_to(&queue, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_messages_are_in_flight_than_the_prefetch() {
    let (broker, topic) = (Broker::shared().await, topic());
    let queue = format!("{topic}-berth");
    let client = broker.client().await;
    let receiving = receive(settings(broker.url(), &topic), 0, &[], HOLD);
    receiving.connected().await;
    for number in 0..50 {
        let id = format!("e{number}");
        client.publish(&topic, &id, &event(&id)).await;
    }
    receiving.sees(5).await;
    client.comes_to(&queue, 45, 1).await;
    // Each that is settled makes room for one.
    receiving.adapters.may_settle.add_permits(7);
    receiving.sees(12).await;
    client.comes_to(&queue, 38, 1).await;
    receiving.adapters.may_settle.add_permits(38);
    receiving.sees(50).await;
    client.comes_to(&queue, 0, 1).await;
    // Five are not settled. Whoever stops waits for them.
    receiving.adapters.may_settle.add_permits(5);
    let adapters = receiving.stop().await;
    client.comes_to(&queue, 0, 0).await;
    assert_eq!(adapters.seen.lock().unwrap().len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_goes_back_when_the_host_stops() {
    let (broker, topic) = (Broker::shared().await, topic());
    let queue = format!("{topic}-berth");
    let client = broker.client().await;
    let receiving = receive(settings(broker.url(), &topic), 0, &["poison"], HOLD);
    receiving.connected().await;
    client.publish(&topic, "poison", &event("poison")).await;
    let again = async || receiving.ids().len() >= 3;
    comes("another attempt", again).await.unwrap();
    // It never left this host meanwhile.
    client.comes_to(&queue, 0, 1).await;
    receiving.stop().await;
    client.comes_to(&queue, 1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_message_is_set_aside_once_and_keeps_nobody() {
    let (broker, topic) = (Broker::shared().await, topic());
    let client = broker.client().await;
    let dead = format!("{topic}-dead");
    let receiving = receive(
        Settings {
            dead_letter_exchange: Some(dead.clone()),
            ..settings(broker.url(), &topic)
        },
        1,
        &[],
        HOLD,
    );
    receiving.connected().await;
    client.publish(&topic, "broken", b"{ no event").await;
    client.publish(&topic, "good", &event("good")).await;
    assert_eq!(receiving.sees(1).await, ["good"]);
    client.comes_to(&dead, 1, 0).await;
    let adapters = receiving.stop().await;
    assert_eq!(*adapters.aside.lock().unwrap(), ["EventNotJson"]);
    client.comes_to(&format!("{topic}-berth"), 0, 0).await;
    let message = client.take(&dead).await.unwrap();
    assert_eq!(message.delivery.data, b"{ no event");
    let headers = message.delivery.properties.headers().clone().unwrap();
    let header = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name} is {other:?}"),
    };
    assert_eq!(header("x-berth-reason"), "EventNotJson");
    assert!(header("x-berth-message").starts_with("the event is not JSON: "));
    assert_eq!(header("_watermill_message_uuid"), "broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_dead_letter_exchange_it_is_acknowledged_and_counted() {
    let (broker, topic) = (Broker::shared().await, topic());
    let client = broker.client().await;
    let receiving = receive(settings(broker.url(), &topic), 0, &[], HOLD);
    receiving.connected().await;
    client.publish(&topic, "broken", b"[]").await;
    let aside = async || receiving.adapters.aside.lock().unwrap().len() == 1;
    comes("setting it aside", aside).await.unwrap();
    let adapters = receiving.stop().await;
    client.comes_to(&format!("{topic}-berth"), 0, 0).await;
    assert_eq!(*adapters.aside.lock().unwrap(), ["EventNotAnObject"]);
    assert!(adapters.seen.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_exhausts_no_deliveries_of_a_quorum_queue() {
    let (broker, topic) = (Broker::shared().await, topic());
    let client = broker.client().await;
    let dead = format!("{topic}-dead");
    let settings = Settings {
        quorum: quorum(3),
        dead_letter_exchange: Some(dead.clone()),
        ..settings(broker.url(), &topic)
    };
    let receiving = receive_during(false, settings, 1, &["kept"], Duration::ZERO);
    receiving.connected().await;
    client.publish(&topic, "kept", &event("kept")).await;
    let again = async || receiving.ids().len() >= 12;
    comes("more deliveries than are allowed", again).await.unwrap();
    let adapters = receiving.stop().await;
    assert!(adapters.aside.lock().unwrap().is_empty());
    client.comes_to(&format!("{topic}-berth"), 1, 0).await;
    client.comes_to(&dead, 0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_queue_sets_aside_what_fails_at_every_attempt() {
    let (broker, topic) = (Broker::shared().await, topic());
    let client = broker.client().await;
    let dead = format!("{topic}-dead");
    let receiving = receive(
        Settings {
            quorum: quorum(3),
            dead_letter_exchange: Some(dead.clone()),
            ..settings(broker.url(), &topic)
        },
        1,
        &["poison"],
        Duration::ZERO,
    );
    receiving.connected().await;
    client.publish(&topic, "poison", &event("poison")).await;
    client.comes_to(&dead, 1, 0).await;
    client.publish(&topic, "good", &event("good")).await;
    assert_eq!(receiving.sees(4).await, ["poison", "poison", "poison", "good"]);
    let adapters = receiving.stop().await;
    assert_eq!(*adapters.aside.lock().unwrap(), ["AttemptsExhausted"]);
    client.comes_to(&format!("{topic}-berth"), 0, 0).await;
}
