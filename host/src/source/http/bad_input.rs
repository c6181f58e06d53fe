//! Malformed events: one for each check, and every check is needed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Request},
};
use base64::Engine as _;
use berth_engine::subject::Event;
use futures::{StreamExt as _, stream};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Receiver, Settings};
use crate::source::{Settled, Sink, check::Check};

/// Stands in every event where no check looks, and in no answer.
const SECRET: &str = "s3cr3t-t0k3n";

/// A message as it arrives.
#[derive(Debug, Clone)]
struct Message {
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    end: End,
}

/// How the second half of a body comes.
#[derive(Debug, Clone, Copy)]
enum End {
    AtOnce,
    Late,
    Never,
}

/// What a receiver takes, if the test's does.
const MAX_BYTES: usize = 200_000;
const MAX_BATCH: usize = 3;

impl Message {
    fn new(headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let secret = ("authorization", format!("Bearer {SECRET}").into_bytes());
        let others = headers.iter().map(|(name, value)| (*name, value.as_bytes().to_vec()));
        Self {
            headers: others.chain([secret]).collect(),
            body: body.into(),
            end: End::AtOnce,
        }
    }

    fn structured(document: &Value) -> Self {
        let headers = [("content-type", "application/cloudevents+json")];
        Self::new(&headers, document.to_string())
    }

    /// A batch of these events.
    fn batch(events: &Value) -> Self {
        let headers = [("content-type", "application/cloudevents-batch+json")];
        Self::new(&headers, events.to_string())
    }

    fn request(&self) -> Request<Body> {
        let (first, second) = self.body.split_at(self.body.len() / 2);
        let (first, second, end) = (first.to_vec(), second.to_vec(), self.end);
        let rest = async move {
            match end {
                End::AtOnce => {}
                End::Late => tokio::time::sleep(10 * BODY_TIMEOUT).await,
                End::Never => return Err(std::io::Error::other("reset")),
            }
            Ok(second)
        };
        let body = stream::once(async move { Ok(first) }).chain(stream::once(rest));
        let mut request = Request::new(Body::from_stream(body));
        for (name, value) in &self.headers {
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        request
    }

    /// What is told about it; the texts for debugging too, where it is refused.
    fn told(&self) -> (String, String) {
        let settings = Settings {
            max_bytes: MAX_BYTES,
            max_batch: MAX_BATCH,
            body_timeout: BODY_TIMEOUT,
            ..Settings::default()
        };
        let receiver = Receiver {
            sink: Arc::new(Nobody),
            room: Arc::new(Semaphore::new(0)),
            settings,
        };
        // Time passes at once where everybody waits.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let events = runtime.block_on(receiver.read(self.request()));
        match events {
            Err(fault) => (format!("{}: {fault}", fault.reason()), format!("{fault:?}")),
            Ok(events) => {
                let (told, debug): (Vec<String>, Vec<String>) = events
                    .into_iter()
                    .map(|event| match event {
                        Ok(event) => (format!("{:?}", event.subject), String::new()),
                        Err(refusal) => {
                            let source = std::error::Error::source(&refusal).map(|source| format!(": {source}"));
                            let told = format!("{}: {refusal}{}", refusal.reason(), source.unwrap_or_default());
                            (told, format!("{refusal:?}"))
                        }
                    })
                    .unzip();
                (told.join("; "), debug.join("; "))
            }
        }
    }
}

const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Nothing comes so far.
struct Nobody;

#[async_trait]
impl Sink for Nobody {
    async fn accept(&self, event: Event) -> Settled {
        panic!("{event:?} was handed on")
    }

    fn refused(&self, _: &'static str) {}

    fn set_aside(&self, _: &'static str) {}
}

/// A good event with some of its attributes replaced.
fn event(changes: &Value) -> Message {
    Message::structured(&document(changes))
}

fn document(changes: &Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": "e-1", "source": "hyperfleet-sentinel", "partnertoken": SECRET,
        "type": "com.redhat.hyperfleet.cluster.reconcile", "datacontenttype": "application/json",
        "data": {"id": "c-1", "kind": "Cluster", "generation": 3, "password": SECRET}
    });
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            event.as_object_mut().unwrap().remove(key);
        } else {
            event[key] = value.clone();
        }
    }
    event
}

/// A good event with some of its data replaced.
fn data(changes: &Value) -> Message {
    let mut data = json!({"id": "c-1", "kind": "Cluster", "generation": 3, "password": SECRET});
    for (key, value) in changes.as_object().unwrap() {
        data[key] = value.clone();
    }
    event(&json!({"data": data}))
}

const BINARY: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "e-1"),
    ("ce-source", "hyperfleet-sentinel"),
    ("ce-type", "com.redhat.hyperfleet.cluster.reconcile"),
];

fn cases() -> Vec<(Check, Message)> {
    let mut not_a_text = Message::new(&BINARY, r#"{"id": "c-1"}"#);
    not_a_text.headers.push(("ce-subject", vec![0xe9]));
    let base64 = base64::engine::general_purpose::STANDARD.encode(SECRET);
    let api = "/api/hyperfleet/v1";
    let ending = |end| Message {
        end,
        ..event(&json!({}))
    };
    vec![
        (
            Check::ContentType,
            Message::new(&[("content-type", "application/json")], "{}"),
        ),
        (Check::BodySize, event(&json!({"partnertoken": SECRET.repeat(20_000)}))),
        (Check::BodyTime, ending(End::Late)),
        (Check::BodyWhole, ending(End::Never)),
        (Check::HeaderText, not_a_text),
        (
            Check::Json,
            Message::new(
                &[("content-type", "application/cloudevents+json")],
                format!("{{\"token\": \"{SECRET}\""),
            ),
        ),
        (Check::BodyJson, Message::new(&BINARY, SECRET)),
        (Check::BatchList, Message::batch(&json!({"token": SECRET}))),
        (
            Check::BatchSize,
            Message::batch(&json!(vec![document(&json!({})); MAX_BATCH + 1])),
        ),
        (Check::Object, Message::structured(&json!([SECRET]))),
        (Check::SpecVersionGiven, event(&json!({"specversion": null}))),
        (Check::SpecVersionKnown, event(&json!({"specversion": "0.3"}))),
        (Check::IdGiven, event(&json!({"id": ""}))),
        (Check::SourceGiven, event(&json!({"source": null}))),
        (Check::TypeGiven, event(&json!({"type": 7}))),
        (Check::Attributes, event(&json!({"time": "yesterday"}))),
        (
            Check::TypePrefix,
            event(&json!({"type": "com.example.cluster.reconcile"})),
        ),
        (
            Check::TypeSuffix,
            event(&json!({"type": "com.redhat.hyperfleet.cluster.created"})),
        ),
        (
            Check::TypeKind,
            event(&json!({"type": "com.redhat.hyperfleet..reconcile"})),
        ),
        (Check::DataGiven, event(&json!({"data": null}))),
        (
            Check::DataText,
            event(&json!({"data": SECRET, "datacontenttype": "text/plain"})),
        ),
        (
            Check::DataBytes,
            event(&json!({"data": null, "data_base64": base64, "datacontenttype": "application/octet-stream"})),
        ),
        (Check::DataObject, event(&json!({"data": [SECRET]}))),
        (Check::DataIdGiven, data(&json!({"id": ""}))),
        (Check::IdText, data(&json!({"id": 7}))),
        (Check::IdLength, data(&json!({"id": "c".repeat(64)}))),
        (Check::IdEdges, data(&json!({"id": "-c"}))),
        (Check::IdLetters, data(&json!({"id": "c/../1"}))),
        (Check::KindText, data(&json!({"kind": 7}))),
        (Check::KindForm, data(&json!({"kind": "no kind"}))),
        (Check::GenerationNumber, data(&json!({"generation": [1]}))),
        (Check::GenerationWhole, data(&json!({"generation": 1.5}))),
        (Check::HrefText, data(&json!({"href": 7}))),
        (
            Check::HrefPath,
            data(&json!({"href": format!("https://user:{SECRET}@api.example.com")})),
        ),
        (Check::HrefAbsolute, data(&json!({"href": "clusters/c-1"}))),
        (
            Check::HrefSegments,
            data(&json!({"href": format!("{api}/clusters/../c-1")})),
        ),
        (
            Check::HrefLetters,
            data(&json!({"href": format!("{api}/clu?sters/c-1")})),
        ),
        (Check::HrefOwn, data(&json!({"href": format!("{api}/clusters/c-2")}))),
        (
            Check::HrefKind,
            data(&json!({"href": format!("{api}/clusters/c-2/nodepools/c-1")})),
        ),
        (
            Check::OwnerIdGiven,
            data(&json!({"kind": "NodePool", "owner_references": {"kind": "Cluster"}})),
        ),
        (
            Check::OwnerKindGiven,
            data(&json!({"kind": "Channel", "owner_references": {"id": "o-1"}})),
        ),
    ]
}

#[test]
fn every_malformed_event_is_refused_with_its_own_message() {
    let told: Vec<String> = cases()
        .iter()
        .map(|(check, message)| format!("{check:?}\n  {}", message.told().0))
        .collect();
    insta::assert_snapshot!("malformed_events", told.join("\n"));
}

#[test]
fn every_check_has_a_malformed_event_and_only_that_one_passes_without_it() {
    let cases = cases();
    assert!(cases.len() >= 30);
    let checks: Vec<Check> = cases.iter().map(|(check, _)| *check).collect();
    assert_eq!(checks, Check::ALL, "one event for each check, in their order");
    for removed in Check::ALL {
        for (check, message) in &cases {
            let (with, _) = message.told();
            let (without, _) = removed.removed(|| message.told());
            assert_eq!(
                with != without,
                removed == check,
                "{check:?} without {removed:?}: {without}"
            );
        }
    }
}

#[test]
fn no_refusal_of_an_event_tells_a_secret() {
    for (check, message) in cases() {
        let (told, debug) = message.told();
        assert!(!told.contains(SECRET), "{check:?}: {told}");
        // The credentials of a URL are cut off where the text is made for people.
        assert!(
            check == Check::HrefPath || !debug.contains(SECRET),
            "{check:?}: {debug}"
        );
    }
}

#[test]
fn a_long_value_is_not_repeated_in_full() {
    let told = data(&json!({"id": "c".repeat(100_000)})).told().0;
    assert!(told.len() < 300, "{told}");
    assert!(told.contains("100002 bytes"), "{told}");
}

/// Any JSON, and often what an event consists of.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("1.0".to_owned()),
        Just("com.redhat.hyperfleet.nodepool.reconcile".to_owned()),
        Just("/api/hyperfleet/v1/clusters/c-1".to_owned()),
        Just("c-1".to_owned()),
        ".{0,20}",
    ];
    let key = proptest::sample::select(vec![
        "specversion",
        "id",
        "source",
        "type",
        "data",
        "data_base64",
        "datacontenttype",
        "time",
        "kind",
        "href",
        "generation",
        "owner_references",
        "other",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), header in prop::collection::vec(32_u8..255, 0..20)) {
        let header: Vec<u8> = header.into_iter().filter(|byte| *byte != 127).collect();
        for content_type in ["application/cloudevents+json", "application/cloudevents-batch+json", "application/json"] {
            let mut message = Message::new(&BINARY, body.clone());
            message.headers.push(("content-type", content_type.into()));
            message.headers.push(("ce-subject", header.clone()));
            message.told();
        }
    }

    #[test]
    fn no_document_makes_it_panic(document in any_json(), data in any_json()) {
        Message::structured(&document).told();
        event(&json!({"data": data})).told();
    }
}
