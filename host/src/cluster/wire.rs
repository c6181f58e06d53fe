//! One request to the API server and its answer.
//!
//! Owns the connection, retries, impersonation and the knowledge of when the API server
//! last answered. A passing failure is tried again for two seconds, not longer: an outage
//! must be told.

use std::{
    collections::HashMap,
    error::Error as _,
    time::{Duration, Instant},
};

use berth_engine::contract::Reference;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt as _;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use kube::{client::Body, core::WatchEvent};
use serde_json::Value;
use tokio::sync::watch;

use super::fault::{Refusal, Status};
use crate::world::Identity;

/// How long passing failures are tried again.
const RETRY_FOR: Duration = Duration::from_secs(2);
/// How long an answer of the past proves that the API server is there.
const FRESH: Duration = Duration::from_secs(2);
/// The longest that one call may take: webhooks may take 30 s.
const CALL_LIMIT: Duration = Duration::from_secs(35);

/// Bytes of one answer at most, so that no answer takes all memory. Lists are asked for in smaller pages instead.
const ANSWER: usize = 16 << 20;
/// Bytes of an answer that refuses which are read.
const REFUSAL: usize = 256 << 10;

/// Names the user as whom a request is made.
const IMPERSONATE: HeaderName = HeaderName::from_static("impersonate-user");

/// What the body of an apply is.
pub(super) const APPLY: &str = "application/apply-patch+yaml";
/// What any other body is.
pub(super) const JSON: &str = "application/json";
/// Asks for the metadata of an object, or of the objects that a watch tells of, only.
pub(super) const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// Asks for the metadata of the objects of a list only.
pub(super) const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// A call to make.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Begins with `/`.
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    pub(super) content_type: &'static str,
    pub(super) accept: &'static str,
    /// As whom; none for the host itself.
    pub(super) identity: Option<&'a Identity>,
    /// Bytes of the answer's body at most.
    pub(super) at_most: usize,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            body: None,
            content_type: JSON,
            accept: JSON,
            identity: None,
            at_most: ANSWER,
        }
    }

    pub(super) fn get(path: String) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub(super) fn body(mut self, content_type: &'static str, body: Value) -> Self {
        self.content_type = content_type;
        self.body = Some(body);
        self
    }

    pub(super) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    pub(super) fn by(mut self, identity: &'a Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    pub(super) fn at_most(mut self, bytes: usize) -> Self {
        self.at_most = bytes.min(ANSWER);
        self
    }

    fn request(&self) -> Result<Request<Vec<u8>>, Refusal> {
        let mut uri = self.path.clone();
        if !self.query.is_empty() {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&self.query)
                .finish();
            uri = format!("{uri}?{query}");
        }
        let request = Request::builder()
            .method(self.method.clone())
            .uri(uri)
            .header(http::header::ACCEPT, self.accept)
            .header(http::header::CONTENT_TYPE, self.content_type);
        let body = match &self.body {
            Some(body) => serde_json::to_vec(body).map_err(|_| invalid("the body"))?,
            None => Vec::new(),
        };
        request.body(body).map_err(|_| invalid("the path"))
    }
}

fn invalid(what: &str) -> Refusal {
    Refusal::Status(Box::new(Status {
        code: 400,
        message: format!("{what} cannot be sent to the API server"),
        ..Status::default()
    }))
}

/// The connection to the API server.
pub(super) struct Wire {
    /// The host's own.
    client: kube::Client,
    /// Over it, one for each service account; they share its connections.
    impersonating: std::sync::Mutex<HashMap<Identity, kube::Client>>,
    contact: Contact,
}

/// When the API server answered, and when it did not.
struct Contact {
    answered: std::sync::Mutex<Option<Instant>>,
    /// The last failed probe. The lock is held while probing, so that one probe serves all.
    probe: tokio::sync::Mutex<Option<(Instant, Refusal)>>,
    /// The time that an answer told, and when that was.
    clock: std::sync::Mutex<Option<(Timestamp, Instant)>>,
    /// Counts the losses of contact.
    losses: watch::Sender<u64>,
}

impl Wire {
    pub(super) fn new(client: kube::Client) -> Self {
        let contact = Contact {
            answered: std::sync::Mutex::default(),
            probe: tokio::sync::Mutex::default(),
            clock: std::sync::Mutex::default(),
            losses: watch::Sender::new(0),
        };
        Self {
            client,
            impersonating: std::sync::Mutex::default(),
            contact,
        }
    }

    /// The host's own client.
    pub(super) fn host_client(&self) -> kube::Client {
        self.client.clone()
    }

    /// The client that makes calls as `identity`.
    fn client(&self, identity: Option<&Identity>) -> Result<kube::Client, Refusal> {
        let Some(identity) = identity else {
            return Ok(self.client.clone());
        };
        let user = HeaderValue::from_str(&user(identity)).map_err(|_| invalid("the service account's name"))?;
        let mut clients = lock(&self.impersonating);
        let client = clients
            .entry(identity.clone())
            .or_insert_with(|| impersonating(self.client.clone(), user));
        Ok(client.clone())
    }

    /// Makes a call; answers with the document that came back.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Value, Refusal> {
        Ok(self.sized(call).await?.0)
    }

    /// Makes a call; answers with the document that came back, and with how many bytes it took.
    pub(super) async fn sized(&self, call: Call<'_>) -> Result<(Value, usize), Refusal> {
        let begin = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let outcome = self.guarded(&call).await;
            match &outcome {
                Err(refusal) if refusal.is_passing() && begin.elapsed() + pause < RETRY_FOR => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(Refusal::Lost(_)) => {
                    self.contact.lose();
                    return outcome;
                }
                Ok(_) | Err(_) => return outcome,
            }
        }
    }

    /// Opens a watch.
    pub(super) async fn watch(
        &self,
        call: &Call<'_>,
    ) -> Result<impl futures::Stream<Item = Result<WatchEvent<Value>, kube::Error>> + use<>, Refusal> {
        let opened = tokio::time::timeout(
            Duration::from_secs(5),
            self.client.request_events::<Value>(call.request()?),
        );
        match opened.await {
            Ok(Ok(stream)) => {
                self.answered();
                Ok(stream.map(|event| event.and_then(about_object)))
            }
            Ok(Err(error)) => Err(refusal_of(error)),
            Err(_) => Err(Refusal::Lost("a watch was not opened within 5 s".to_owned())),
        }
    }

    /// Notes that the API server has just been heard.
    pub(super) fn answered(&self) {
        *lock(&self.contact.answered) = Some(Instant::now());
    }

    /// The API server's time, within a second or two; none before its first answer.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let (told, when) = (*lock(&self.contact.clock))?;
        told.checked_add(when.elapsed()).ok()
    }

    /// Learns the API server's time from the `Date` of an answer that has just come.
    fn learn_time(&self, headers: &HeaderMap) {
        let date = headers.get(http::header::DATE).and_then(|date| date.to_str().ok());
        let told = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        if let Some(told) = told {
            *lock(&self.contact.clock) = Some((told, Instant::now()));
        }
    }

    /// Makes sure that the API server is there: it answered lately, or does so now.
    pub(super) async fn in_contact(&self) -> Result<(), Refusal> {
        if self.contact.is_fresh() {
            return Ok(());
        }
        let mut failed = self.contact.probe.lock().await;
        if self.contact.is_fresh() {
            return Ok(());
        }
        if let Some((when, refusal)) = failed.as_ref()
            && when.elapsed() < Duration::from_millis(500)
        {
            return Err(refusal.clone());
        }
        let begin = Instant::now();
        let refusal = loop {
            match self.probe().await {
                Ok(()) => {
                    *failed = None;
                    return Ok(());
                }
                Err(_) if begin.elapsed() < RETRY_FOR => tokio::time::sleep(Duration::from_millis(200)).await,
                Err(refusal) => break refusal,
            }
        };
        self.contact.lose();
        *failed = Some((Instant::now(), refusal.clone()));
        Err(refusal)
    }

    /// Tells of every loss of contact from now on.
    pub(super) fn losses(&self) -> watch::Receiver<u64> {
        let mut losses = self.contact.losses.subscribe();
        losses.mark_unchanged();
        losses
    }

    /// One attempt. While it waits, the API server is probed: an answer may take long, for
    /// a webhook, but not when nobody is there any more.
    async fn guarded(&self, call: &Call<'_>) -> Result<(Value, usize), Refusal> {
        let end = Instant::now() + CALL_LIMIT;
        let attempt = self.attempt(call);
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                outcome = &mut attempt => return outcome,
                () = tokio::time::sleep(FRESH) => {
                    self.probe().await?;
                    if Instant::now() > end {
                        return Err(Refusal::Lost(format!("no answer within {} s", CALL_LIMIT.as_secs())));
                    }
                }
            }
        }
    }

    async fn probe(&self) -> Result<(), Refusal> {
        let call = Call::get("/readyz".to_owned());
        match tokio::time::timeout(FRESH, self.exchange(&call)).await {
            Ok(outcome) => outcome.map(drop),
            Err(_) => Err(Refusal::Lost(format!("no answer within {} s", FRESH.as_secs()))),
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<(Value, usize), Refusal> {
        let body = self.exchange(call).await?;
        let document: Value =
            serde_json::from_slice(&body).map_err(|error| Refusal::Lost(format!("the answer is not JSON: {error}")))?;
        if document.is_object() {
            Ok((document, body.len()))
        } else {
            Err(Refusal::Lost("the answer is no object".to_owned()))
        }
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<Vec<u8>, Refusal> {
        let response = self
            .client(call.identity)?
            .send(call.request()?.map(Body::from))
            .await
            .map_err(refusal_of)?;
        self.learn_time(response.headers());
        let code = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(http::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let limit = if code < 400 { call.at_most } else { REFUSAL };
        let (body, whole) = read(response.into_body(), limit).await.map_err(refusal_of)?;
        if code < 500 {
            self.answered();
        }
        if code < 400 {
            return if whole { Ok(body) } else { Err(Refusal::TooLarge(limit)) };
        }
        Err(Refusal::Status(Box::new(read_status(code, retry_after, &body))))
    }
}

/// A watch's event, whose object may be relied on to be one.
fn about_object(event: WatchEvent<Value>) -> Result<WatchEvent<Value>, kube::Error> {
    match &event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)
            if !object.is_object() =>
        {
            let error = serde::de::Error::custom("a watch told of what is no object");
            Err(kube::Error::SerdeError(error))
        }
        _ => Ok(event),
    }
}

/// Reads a body up to `limit` bytes, and says whether that was all of it.
async fn read(mut body: Body, limit: usize) -> Result<(Vec<u8>, bool), kube::Error> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = limit - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((read, false));
        }
    }
    Ok((read, true))
}

/// The user name of a service account. It is impersonated by this name alone: the API server adds the groups of service
/// accounts itself, so that the host needs the right to impersonate service accounts and no other.
fn user(identity: &Identity) -> String {
    format!(
        "system:serviceaccount:{}:{}",
        identity.namespace, identity.service_account
    )
}

/// A client over `base` all of whose requests are made as `user`.
fn impersonating(base: kube::Client, user: HeaderValue) -> kube::Client {
    let namespace = base.default_namespace().to_owned();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let base = base.clone();
        request.headers_mut().insert(IMPERSONATE, user.clone());
        async move { base.send(request).await }
    });
    kube::Client::new(service, namespace)
}

impl Contact {
    fn is_fresh(&self) -> bool {
        lock(&self.answered).is_some_and(|when| when.elapsed() < FRESH)
    }

    fn lose(&self) {
        *lock(&self.answered) = None;
        self.losses.send_modify(|count| *count += 1);
    }
}

/// A lock is never held across anything that may panic, so a poisoned one is sound.
pub(super) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn read_status(code: u16, retry_after: Option<Duration>, body: &[u8]) -> Status {
    let mut document: Value = serde_json::from_slice(body).unwrap_or_default();
    if document["kind"] != "Status" {
        let text: String = String::from_utf8_lossy(body).chars().take(300).collect();
        return Status {
            code,
            message: text.trim().to_owned(),
            retry_after,
            ..Status::default()
        };
    }
    let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
    let asked = document["details"]["retryAfterSeconds"]
        .as_u64()
        .map(Duration::from_secs);
    Status {
        code,
        reason: text("reason"),
        message: text("message"),
        retry_after: retry_after.or(asked),
        details: document["details"].take(),
    }
}

fn refusal_of(error: kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) => Refusal::Status(Box::new(Status {
            code: status.code,
            reason: status.reason.clone(),
            message: status.message.clone(),
            details: serde_json::to_value(&status.details).unwrap_or_default(),
            retry_after: None,
        })),
        other => Refusal::Lost(chain(&other)),
    }
}

/// The innermost cause says what happened; the layers around it only that something did.
fn chain(error: &kube::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if error.source().is_none() {
        error.to_string()
    } else {
        innermost.to_string()
    }
}

/// The reference of a kind and a name.
pub(super) fn reference(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Reference {
    Reference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test may fail by panicking")]

    use std::sync::Arc;

    use http::Response;

    use super::*;

    #[tokio::test]
    async fn the_time_of_the_api_server_is_what_its_last_answer_told() {
        let dates = std::sync::Mutex::new(vec!["none at all", "Mon, 23 Nov 2026 10:00:07 GMT"]);
        let dates = Arc::new(dates);
        let service = tower::service_fn(move |_: Request<Body>| {
            let date = lock(&dates).pop().unwrap_or_default();
            let answer = Response::builder().header(http::header::DATE, date);
            async { Ok::<_, kube::Error>(answer.body(Body::from(b"{}".to_vec())).expect("it is an answer")) }
        });
        let wire = Wire::new(kube::Client::new(service, "default"));
        assert_eq!(wire.now(), None);
        for _ in 0..2 {
            wire.call(Call::get("/version".to_owned()))
                .await
                .expect("it is answered");
        }
        let told = "2026-11-23T10:00:07Z".parse().expect("it is a time");
        let passed = wire.now().expect("it is known").duration_since(told);
        assert!(
            passed >= jiff::SignedDuration::ZERO && passed < jiff::SignedDuration::from_mins(5),
            "{passed:?}"
        );
    }

    #[tokio::test]
    async fn every_request_of_an_adapter_is_made_as_its_service_account_and_no_other_is() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let users = Arc::clone(&seen);
        let service = tower::service_fn(move |request: Request<Body>| {
            lock(&users).push(request.headers().get(IMPERSONATE).cloned());
            async { Ok::<_, kube::Error>(Response::new(Body::from(b"{}".to_vec()))) }
        });
        let wire = Wire::new(kube::Client::new(service, "default"));
        let adapter = Identity {
            namespace: "work".to_owned(),
            service_account: "lz".to_owned(),
        };
        let call = Call::get("/version".to_owned());
        for call in [call.clone().by(&adapter), call.clone(), call.by(&adapter)] {
            wire.call(call).await.expect("it is answered");
        }
        let lz = HeaderValue::from_static("system:serviceaccount:work:lz");
        assert_eq!(*lock(&seen), [Some(lz.clone()), None, Some(lz)]);
    }
}
