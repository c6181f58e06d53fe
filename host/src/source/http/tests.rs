#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

/// Settles events by their subject's name, and remembers what it saw.
#[derive(Default)]
struct Adapters {
    seen: Mutex<Vec<String>>,
    refused: Mutex<Vec<&'static str>>,
    aside: Mutex<Vec<&'static str>>,
    released: tokio::sync::Notify,
    finished: tokio::sync::Notify,
}

#[async_trait]
impl Sink for Adapters {
    async fn accept(&self, event: Event) -> Settled {
        self.seen
            .lock()
            .unwrap()
            .push(format!("{} {}", event.id, event.subject.key));
        match event.subject.key.id.as_str() {
            "busy" => Settled::Retry {
                after: Duration::from_millis(2_500),
                counts: false,
            },
            "rejected" => Settled::Refused {
                reason: "ReportRejected",
                message: "answered 400: no such condition".to_owned(),
            },
            "stuck" => std::future::pending().await,
            "slow" => {
                self.released.notified().await;
                self.seen.lock().unwrap().push("slow has settled".to_owned());
                self.finished.notify_one();
                Settled::Done
            }
            "broken" => panic!("a defect"),
            _ => Settled::Done,
        }
    }

    fn refused(&self, reason: &'static str) {
        self.refused.lock().unwrap().push(reason);
    }

    fn set_aside(&self, reason: &'static str) {
        self.aside.lock().unwrap().push(reason);
    }
}

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": format!("e-{id}"), "source": "s",
        "type": "com.redhat.hyperfleet.cluster.reconcile", "data": {"id": id}})
}

async fn send(adapters: &Arc<Adapters>, settings: Settings, headers: &[(&str, &str)], body: impl Into<Body>) -> String {
    let mut request = Request::post("/events");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let sink: Arc<dyn Sink> = Arc::<Adapters>::clone(adapters);
    let response = router(sink, settings)
        .oneshot(request.body(body.into()).unwrap())
        .await
        .unwrap();
    let mut told = response.status().as_u16().to_string();
    for name in ["retry-after", "www-authenticate"] {
        if let Some(value) = response.headers().get(name) {
            told.push_str(&format!(" {name}={}", value.to_str().unwrap()));
        }
    }
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    if !body.is_empty() {
        let problem: Value = serde_json::from_slice(&body).unwrap();
        told.push_str(&format!(
            " {}: {}",
            problem["reason"].as_str().unwrap(),
            problem["detail"].as_str().unwrap()
        ));
        for event in problem["events"].as_array().into_iter().flatten() {
            told.push_str(&format!("\n  {event}"));
        }
    }
    told
}

/// Does not wait long for what never ends. Its tests have a time of their own: a busy machine uses up none of it.
fn impatient() -> Settings {
    let short = Duration::from_millis(50);
    Settings {
        patience: short,
        body_timeout: short,
        ..Settings::default()
    }
}

async fn post(headers: &[(&str, &str)], body: impl Into<Body>) -> String {
    send(&Arc::default(), Settings::default(), headers, body).await
}

#[tokio::test]
async fn an_event_is_acknowledged_when_it_is_settled() {
    let adapters = Arc::default();
    let told = send(&adapters, Settings::default(), &[STRUCTURED], event("c-1").to_string()).await;
    assert_eq!(told, "204");
    assert_eq!(*adapters.seen.lock().unwrap(), ["e-c-1 Cluster/c-1"]);
}

#[tokio::test]
async fn a_binary_event_is_read_from_its_headers() {
    let adapters = Arc::default();
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "e%2D1"),
        ("ce-source", "s"),
        ("ce-type", "com.redhat.hyperfleet.nodepool.reconcile.v1"),
        ("ce-traceparent", "00-0-0-00"),
        ("content-type", "application/json"),
    ];
    let told = send(
        &adapters,
        Settings::default(),
        &headers,
        json!({"id": "n-1"}).to_string(),
    )
    .await;
    assert_eq!(told, "204");
    assert_eq!(*adapters.seen.lock().unwrap(), ["e-1 NodePool/n-1"]);
}

#[tokio::test]
async fn an_event_that_is_not_settled_is_sent_again_later() {
    assert_eq!(
        post(&[STRUCTURED], event("busy").to_string()).await,
        "503 retry-after=3 NotSettled: the event could not be settled"
    );
    assert_eq!(
        post(&[STRUCTURED], event("broken").to_string()).await,
        "503 retry-after=10 NotSettled: the event's task ended early"
    );
}

#[tokio::test(start_paused = true)]
async fn the_work_goes_on_when_the_sender_stops_waiting() {
    let adapters: Arc<Adapters> = Arc::default();
    let told = send(&adapters, impatient(), &[STRUCTURED], event("slow").to_string()).await;
    assert_eq!(
        told,
        "503 retry-after=10 NotSettled: the event is still being worked on"
    );
    adapters.released.notify_one();
    adapters.finished.notified().await;
    assert_eq!(
        *adapters.seen.lock().unwrap(),
        ["e-slow Cluster/slow", "slow has settled"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_says_which_events_did_not_settle() {
    let adapters = Arc::default();
    let batch = json!([event("c-1"), event("busy"), {"specversion": "1.0"}, event("stuck"), event("c-2")]);
    let told = send(&adapters, impatient(), &[BATCH], batch.to_string()).await;
    insta::assert_snapshot!(told, @r#"
    503 retry-after=10 NotSettled: some events of the batch are not settled
      {"detail":"the event could not be settled","index":1,"reason":"NotSettled","retryAfterSeconds":3}
      {"detail":"the attribute `id` is missing or not a text","index":2,"reason":"AttributeMissing"}
      {"detail":"the event is still being worked on","index":3,"reason":"NotSettled","retryAfterSeconds":10}
    "#);
    assert_eq!(adapters.seen.lock().unwrap().len(), 4);
    assert_eq!(*adapters.refused.lock().unwrap(), ["AttributeMissing"]);
    assert_eq!(post(&[BATCH], json!([event("a"), event("b")]).to_string()).await, "204");
    assert_eq!(post(&[BATCH], "[]").await, "204");
    insta::assert_snapshot!(post(&[BATCH], json!([event("a"), 7]).to_string()).await, @r#"
    400 BatchRefused: some events of the batch are refused
      {"detail":"the event is not a JSON object","index":1,"reason":"EventNotAnObject"}
    "#);
}

#[tokio::test]
async fn an_event_that_can_never_be_reported_on_is_answered_so_and_counted_once() {
    let adapters = Arc::default();
    let told = send(
        &adapters,
        Settings::default(),
        &[STRUCTURED],
        event("rejected").to_string(),
    )
    .await;
    assert_eq!(told, "422 ReportRejected: answered 400: no such condition");
    assert_eq!(*adapters.aside.lock().unwrap(), ["ReportRejected"]);
    assert!(adapters.refused.lock().unwrap().is_empty());
    let batch = json!([event("c-1"), event("rejected")]).to_string();
    let told = send(&adapters, Settings::default(), &[BATCH], batch).await;
    assert!(told.starts_with("400 BatchRefused: "), "{told}");
}

#[tokio::test(start_paused = true)]
async fn only_so_many_events_may_be_unsettled() {
    let settings = Settings {
        max_unsettled: 1,
        ..impatient()
    };
    let batch = json!([event("stuck"), event("c-1")]);
    insta::assert_snapshot!(send(&Arc::default(), settings, &[BATCH], batch.to_string()).await, @r#"
    503 retry-after=10 NotSettled: some events of the batch are not settled
      {"detail":"the event is still being worked on","index":0,"reason":"NotSettled","retryAfterSeconds":10}
      {"detail":"too many events are unsettled","index":1,"reason":"NotSettled","retryAfterSeconds":5}
    "#);
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_a_reason() {
    let large = Settings {
        max_bytes: 10,
        ..Settings::default()
    };
    let many = Settings {
        max_batch: 1,
        ..Settings::default()
    };
    let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s")];
    let typed = [
        binary[0],
        binary[1],
        binary[2],
        ("ce-type", "com.redhat.hyperfleet.cluster.reconcile"),
    ];
    let told = [
        post(&[], "{}").await,
        post(&[("content-type", "application/json")], event("c-1").to_string()).await,
        post(&[STRUCTURED], "").await,
        post(&[STRUCTURED], "{\"specversion\": ").await,
        post(&[STRUCTURED], "[]").await,
        post(&[STRUCTURED], json!({"specversion": "0.3"}).to_string()).await,
        post(&binary, "{}").await,
        post(&typed, "").await,
        post(&typed, "not json").await,
        post(
            &[typed[0], typed[1], typed[2], typed[3], ("ce-subject", "\u{e9}")],
            "{}",
        )
        .await,
        post(&[BATCH], "{}").await,
        post(&[BATCH], "nothing").await,
        send(&Arc::default(), large, &[STRUCTURED], event("c-1").to_string()).await,
        send(
            &Arc::default(),
            many,
            &[BATCH],
            json!([event("a"), event("b")]).to_string(),
        )
        .await,
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    415 ContentTypeUnsupported: the content type `` is not that of a CloudEvent: send `application/cloudevents+json`, `application/cloudevents-batch+json`, or `ce-` headers
    415 ContentTypeUnsupported: the content type `application/json` is not that of a CloudEvent: send `application/cloudevents+json`, `application/cloudevents-batch+json`, or `ce-` headers
    400 EventNotJson: the event is not JSON: EOF while parsing a value at line 1 column 0
    400 EventNotJson: the event is not JSON: EOF while parsing a value at line 1 column 16
    400 EventNotAnObject: the event is not a JSON object
    400 SpecVersionUnsupported: `specversion` is "0.3", not "1.0"
    400 AttributeMissing: the attribute `type` is missing or not a text
    400 DataMissing: the event has no `data`
    400 DataNotAnObject: `data` is not a JSON object
    400 HeaderInvalid: the header `ce-subject` is not readable as text
    400 BatchInvalid: the batch is not a JSON array of events
    400 BatchInvalid: the batch is not a JSON array of events
    413 BodyTooLarge: the body has more than 10 bytes
    413 BatchTooLarge: the batch has 2 events, more than 1
    "#);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let told = send(&Arc::default(), impatient(), &[STRUCTURED], body).await;
    assert_eq!(told, "408 BodyTooSlow: the body took too long to arrive");
}

#[tokio::test]
async fn a_token_is_needed_where_one_is_set_and_may_be_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let attempt = async |authorization: Option<&str>| {
        let settings = Settings {
            token: Some(Token::in_file(file.clone())),
            ..Settings::default()
        };
        let mut headers = vec![STRUCTURED];
        headers.extend(authorization.map(|value| ("authorization", value)));
        send(&Arc::default(), settings, &headers, event("c-1").to_string()).await
    };
    let mut told = vec![attempt(Some("Bearer first")).await];
    std::fs::write(&file, "first\n").unwrap();
    told.push(attempt(Some("Bearer first")).await);
    told.push(attempt(Some("bearer first")).await);
    told.push(attempt(None).await);
    told.push(attempt(Some("Basic first")).await);
    told.push(attempt(Some("Bearer firs")).await);
    std::fs::write(&file, "second").unwrap();
    told.push(attempt(Some("Bearer first")).await);
    told.push(attempt(Some("Bearer second")).await);
    std::fs::write(&file, " \n").unwrap();
    told.push(attempt(Some("Bearer ")).await);
    insta::assert_snapshot!(told.join("\n"), @r"
    503 retry-after=10 TokenUnavailable: the expected token cannot be read by this host
    204
    204
    401 www-authenticate=Bearer TokenMissing: no bearer token was presented
    401 www-authenticate=Bearer TokenMissing: no bearer token was presented
    401 www-authenticate=Bearer TokenWrong: the bearer token is not the expected one
    401 www-authenticate=Bearer TokenWrong: the bearer token is not the expected one
    204
    503 retry-after=10 TokenUnavailable: the expected token cannot be read by this host
    ");
}
