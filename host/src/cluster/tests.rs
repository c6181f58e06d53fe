//! What goes on over time, against an API server that answers as each test says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use futures::channel::mpsc as lines;
use http::{Request, Response};

use super::*;

/// What the API server is asked.
struct Asked {
    path: String,
    query: HashMap<String, String>,
}

impl Asked {
    fn is_watch(&self) -> bool {
        self.query.contains_key("watch")
    }
}

fn client(answer: impl Fn(&Asked) -> Response<Body> + Send + Sync + 'static) -> kube::Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let query = request.uri().query().unwrap_or_default();
        let asked = Asked {
            path: request.uri().path().to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        };
        let answer = answer(&asked);
        async move { Ok::<_, kube::Error>(answer) }
    });
    kube::Client::new(service, "default")
}

fn document(document: &Value) -> Response<Body> {
    Response::new(Body::from(document.to_string()))
}

fn refused(code: u16, reason: &str) -> Response<Body> {
    let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason});
    let mut response = document(&status);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
    response
}

/// A watch that tells these events, then what is sent, and goes on until the sender is dropped.
fn watch_that_tells(events: &[Value]) -> (lines::UnboundedSender<Value>, Response<Body>) {
    let (sender, receiver) = lines::unbounded();
    for event in events {
        sender.unbounded_send(event.clone()).unwrap();
    }
    let lines = futures::StreamExt::map(receiver, |event: Value| {
        Ok::<_, std::convert::Infallible>(Bytes::from(format!("{event}\n")))
    });
    (sender, Response::new(Body::from_stream(lines)))
}

/// The kinds of this API server: `Pod` and `Namespace`.
fn kinds_of(asked: &Asked) -> Option<Response<Body>> {
    let kind = |kind: &str, plural: &str, scope: &str| json!({"resource": plural, "scope": scope, "responseKind": {"group": "", "version": "v1", "kind": kind}});
    let core = json!([{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [
        kind("Pod", "pods", "Namespaced"), kind("Namespace", "namespaces", "Cluster"),
    ]}]}]);
    let items = match asked.path.as_str() {
        "/api" => core,
        "/apis" => json!([]),
        _ => return None,
    };
    Some(document(&json!({"kind": "APIGroupDiscoveryList", "items": items})))
}

fn listed(items: &[Value]) -> Response<Body> {
    document(&json!({"metadata": {"resourceVersion": "7"}, "items": items}))
}

/// Notes when something happens, and tells the first few times.
struct Moments {
    sender: mpsc::UnboundedSender<Instant>,
    receiver: mpsc::UnboundedReceiver<Instant>,
}

impl Moments {
    fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }

    /// The times between the first five. A machine that is slow makes them longer.
    async fn between(&mut self) -> Vec<Duration> {
        let mut moments = Vec::new();
        while moments.len() < 5 {
            moments.push(self.receiver.recv().await.unwrap());
        }
        moments.windows(2).map(|two| two[1] - two[0]).collect()
    }
}

/// Pauses of at least 200, 400, 800 and 1,600 ms, less what they are spread by.
fn grow(pauses: &[Duration]) {
    for (pause, least) in pauses.iter().zip([150, 300, 600, 1_200]) {
        assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
    }
}

fn pods() -> KindScope {
    KindScope {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: Some("work".to_owned()),
    }
}

/// An API server without pods, all of whose watches tell of these events and end.
struct Empty {
    kubernetes: Arc<Kubernetes>,
    /// When watches are opened.
    opened: Moments,
    /// When lists are begun.
    begun: Moments,
}

impl Empty {
    fn whose_watches_tell(events: Vec<Value>) -> Self {
        let (opened, begun) = (Moments::new(), Moments::new());
        let (opening, beginning) = (opened.sender.clone(), begun.sender.clone());
        let kubernetes = Kubernetes::over(
            client(move |asked| {
                if let Some(kinds) = kinds_of(asked) {
                    return kinds;
                }
                if asked.is_watch() {
                    let _ = opening.send(Instant::now());
                    return watch_that_tells(&events).1;
                }
                let _ = beginning.send(Instant::now());
                listed(&[])
            }),
            1 << 20,
        );
        Self {
            kubernetes,
            opened,
            begun,
        }
    }
}

#[tokio::test]
async fn watches_that_end_as_soon_as_they_are_open_are_opened_ever_more_slowly() {
    let mut server = Empty::whose_watches_tell(Vec::new());
    server.kubernetes.watch(&[pods()]).await;
    grow(&server.opened.between().await);
}

#[tokio::test]
async fn a_watch_that_tells_of_what_is_no_object_is_opened_again() {
    let mut server = Empty::whose_watches_tell(vec![json!({"type": "ADDED", "object": "text"})]);
    server.kubernetes.watch(&[pods()]).await;
    for _ in 0..2 {
        let opening = tokio::time::timeout(Duration::from_secs(60), server.opened.receiver.recv());
        assert!(opening.await.unwrap().is_some());
    }
}

#[tokio::test]
async fn objects_are_listed_ever_more_slowly_where_every_watch_is_expired() {
    let expired = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
    let mut server = Empty::whose_watches_tell(vec![json!({"type": "ERROR", "object": expired})]);
    server.kubernetes.watch(&[pods()]).await;
    grow(&server.begun.between().await);
}

#[tokio::test]
async fn events_are_watched_ever_more_slowly_where_every_watch_ends() {
    let mut opened = Moments::new();
    let moment = opened.sender.clone();
    let client = client(move |_| {
        let _ = moment.send(Instant::now());
        watch_that_tells(&[]).1
    });
    let watching = tokio::spawn(refusals::run(Arc::new(Wire::new(client)), None, |_: &Reference| {}));
    grow(&opened.between().await);
    watching.abort();
}

#[tokio::test]
async fn namespaces_are_listed_ever_more_slowly_where_every_watch_ends() {
    let mut begun = Moments::new();
    let moment = begun.sender.clone();
    let kubernetes = Kubernetes::over(
        client(move |asked| {
            if asked.is_watch() {
                return watch_that_tells(&[]).1;
            }
            let _ = moment.send(Instant::now());
            listed(&[])
        }),
        1 << 20,
    );
    kubernetes.await_namespace("missing", "lz", &subject("c-1"));
    grow(&begun.between().await);
}

fn subject(id: &str) -> SubjectRef {
    SubjectRef {
        key: SubjectKey {
            kind: "Cluster".to_owned(),
            id: id.to_owned(),
        },
        href: format!("/api/hyperfleet/v1/clusters/{id}"),
        generation: 1,
        owner: None,
    }
}

fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "5"}})
}

/// An API server with the namespace `there`, whose watch of namespaces stays open.
struct Calm {
    kubernetes: Arc<Kubernetes>,
    changes: mpsc::Receiver<Change>,
    lists: Arc<AtomicUsize>,
    /// The open watch.
    watch: mpsc::UnboundedReceiver<lines::UnboundedSender<Value>>,
}

impl Calm {
    fn new() -> Self {
        let lists = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&lists);
        let (opened, watch) = mpsc::unbounded_channel();
        let kubernetes = Kubernetes::over(
            client(move |asked| {
                if asked.is_watch() {
                    let (events, response) = watch_that_tells(&[]);
                    drop(opened.send(events));
                    return response;
                }
                count.fetch_add(1, Ordering::Relaxed);
                listed(&[namespace("there")])
            }),
            1 << 20,
        );
        Self {
            changes: kubernetes.changes().unwrap(),
            kubernetes,
            lists,
            watch,
        }
    }

    /// Whom the next change is for.
    async fn told(&mut self) -> (String, String) {
        let change = self.changes.recv().await.unwrap();
        assert_eq!(change.object.kind, "Namespace");
        (change.subject.key.id, change.object.name)
    }
}

#[tokio::test]
async fn whoever_begins_to_wait_for_a_namespace_costs_no_list() {
    let mut calm = Calm::new();
    calm.kubernetes.await_namespace("missing", "lz", &subject("c-1"));
    let events = calm.watch.recv().await.unwrap();
    // Known to the watch: told without asking.
    calm.kubernetes.await_namespace("there", "lz", &subject("c-2"));
    assert_eq!(calm.told().await, ("c-2".to_owned(), "there".to_owned()));
    for _ in 0..3 {
        calm.kubernetes.await_namespace("missing", "lz", &subject("c-1"));
    }
    let appeared = json!({"type": "ADDED", "object": namespace("missing")});
    events.unbounded_send(appeared).unwrap();
    assert_eq!(calm.told().await, ("c-1".to_owned(), "missing".to_owned()));
    assert_eq!(calm.lists.load(Ordering::Relaxed), 1);
    assert!(lock(&calm.kubernetes.namespaces.waiting).is_empty());
}

#[tokio::test]
async fn whoever_waits_no_more_for_a_namespace_is_forgotten() {
    let mut calm = Calm::new();
    let cluster = &calm.kubernetes;
    for id in ["c-1", "c-2", "c-3"] {
        cluster.await_namespace("missing", "lz", &subject(id));
        cluster.await_namespace("missing", "dns", &subject(id));
    }
    // One subject is done, another waits for something else, and an adapter is removed.
    cluster.await_nothing("lz", Some(&subject("c-1").key));
    cluster.await_namespace("other", "lz", &subject("c-2"));
    cluster.await_nothing("dns", None);
    let events = calm.watch.recv().await.unwrap();
    for name in ["missing", "other"] {
        let appeared = json!({"type": "ADDED", "object": namespace(name)});
        events.unbounded_send(appeared).unwrap();
    }
    assert_eq!(calm.told().await, ("c-3".to_owned(), "missing".to_owned()));
    assert_eq!(calm.told().await, ("c-2".to_owned(), "other".to_owned()));
    assert!(lock(&calm.kubernetes.namespaces.waiting).is_empty());
}

#[tokio::test]
async fn what_could_not_be_announced_is_announced_the_next_time() {
    let posts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&posts);
    let kubernetes = Kubernetes::over(
        client(move |_| match count.fetch_add(1, Ordering::Relaxed) {
            0 => refused(403, "Forbidden"),
            _ => document(&json!({"kind": "Event"})),
        }),
        1 << 20,
    );
    let adapter = adapter();
    for _ in 0..3 {
        let (key, reason) = (subject("c-1").key, "QuotaExceeded");
        kubernetes.announce(&adapter, &key, reason, "no room").await;
    }
    assert_eq!(posts.load(Ordering::Relaxed), 2, "refused, accepted, not repeated");
}

#[tokio::test(start_paused = true)]
async fn events_that_do_not_come_hold_up_no_report() {
    let (endless, answer) = watch_that_tells(&[]);
    let answer = std::sync::Mutex::new(Some(answer));
    let kubernetes = Kubernetes::over(
        client(move |asked| match asked.path.as_str() {
            "/api/v1/namespaces/work/events" => lock(&answer).take().unwrap(),
            _ => document(&json!({})),
        }),
        1 << 20,
    );
    let begin = tokio::time::Instant::now();
    let reading = kubernetes.shared.events(Some("work"), "uid");
    let events = tokio::time::timeout(Duration::from_secs(120), reading).await;
    assert_eq!(events.unwrap(), Vec::<Value>::new());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(endless);
}

fn adapter() -> Adapter {
    Adapter {
        name: "lz".to_owned(),
        subjects: vec!["Cluster".to_owned()],
        events: BTreeMap::new(),
        depends_on: Vec::new(),
        namespace: "work".to_owned(),
        service_account: "lz".to_owned(),
        permits: Vec::new(),
        plugins: Default::default(),
        phases: BTreeMap::new(),
        resources: BTreeMap::new(),
        cleanup: None,
        grace: Duration::ZERO,
        not_applicable: Default::default(),
    }
}
