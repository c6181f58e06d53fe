//! What a user, a metric and the log tell of each fault of the HyperFleet API, and that nothing is lost.
//!
//! A whole host between a simulated Kubernetes and a simulated HyperFleet API behind real sockets. What the client
//! alone does about each fault is in `fleet.rs`; the same on a real control plane is in `journeys/outages.rs`.
//!
//! | fault | in the status | in metric and log |
//! |---|---|---|
//! | down, slow beyond the limit | stays as it was | A6 `FleetApiUnreachable`; the event is not settled |
//! | 429 with `Retry-After` | none if a call may wait so long | else A6, tried again after that time |
//! | 500 for reads | A6, success stays | A6 `FleetApiUnreachable` |
//! | 500 for reports | stays as it was | A6, `berth_reports_total{result="failed"}` |
//! | wrong URL: a page, another service | stays; nothing is removed | A6 `FleetApiMisconfigured` |
//! | token expired | stays, until it is rotated | A6 `FleetApiMisconfigured`, without the token |
//! | reports swallowed | right in the end | failed, if swallowed again and again |
//! | reports discarded | right in the end | `berth_reports_total{result="discarded"}` |
//! | clock hours ahead or behind | right, by the API's time; `grace` ends by that of Kubernetes | nothing |
//! | subject deleted between GET and PUT | none; its objects are removed | the subject is gone |
//! | partition from Kubernetes alone | A6, success stays | A6 `KubernetesApiUnreachable` |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a panic fails them"
)]

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{body::Body, extract::Request, http::Response, middleware, middleware::Next};
use berth::{
    config::document,
    dispatch::Listener,
    fleet::{Client, Clock, Settings, SystemClock},
    serve::{Host, Parts},
    simulate::{
        cluster::{self, ImageBehaviour, Kubernetes, Pace, Rule},
        fleet::{Cadence, Fault, FleetState, Kind, Server, Simulation},
    },
    source,
    telemetry::Metrics,
    web,
    world::World,
};
use berth_engine::{
    adapter::{Adapter, Limits},
    reconcile::Outcome,
    subject::SubjectRef,
};
use berth_tests::stage::{client, keep_declarative, quick, sandbox};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

const PATIENCE: Duration = Duration::from_secs(60);
/// For how long a host calls the API, and for how long each time, where that is to be over soon.
const QUICK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(500));
/// The same where the API answers: the machine of a test may be busy.
const PATIENT: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.b2xk.c2lnbmF0dXJl";

const DOCUMENT: &str = r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: validation}
spec:
  subjects: [Cluster]
  namespace: adapters
  serviceAccount: validation
  permits: [{apiVersion: batch/v1, kind: Job}]
  resources:
    - name: validate
      manifest:
        apiVersion: batch/v1
        kind: Job
        metadata: {name: "validate-{{ .subject.id }}"}
        spec:
          template:
            spec:
              restartPolicy: Never
              containers: [{name: validate, image: "registry.example.com/validator:1"}]
  postconditions:
    - {name: validated, expression: 'objects.validate.status.succeeded > 0'}
"#;

/// What becomes of a request on its way to the API.
enum Verdict {
    Pass,
    Answer(Response<Body>),
    Delay(Duration),
}

type Judge = dyn Fn(&str, &str) -> Verdict + Send + Sync;

/// Stands in front of the API.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Option<Arc<Judge>>>>);

impl Gate {
    fn set(&self, judge: impl Fn(&str, &str) -> Verdict + Send + Sync + 'static) {
        *self.0.lock().unwrap() = Some(Arc::new(judge));
    }

    fn open(&self) {
        *self.0.lock().unwrap() = None;
    }

    async fn pass(self, request: Request, next: Next) -> Response<Body> {
        let judge = self.0.lock().unwrap().clone();
        let verdict = judge.map_or(Verdict::Pass, |judge| {
            judge(request.method().as_str(), request.uri().path())
        });
        match verdict {
            Verdict::Pass => next.run(request).await,
            Verdict::Answer(response) => response,
            Verdict::Delay(delay) => {
                tokio::time::sleep(delay).await;
                next.run(request).await
            }
        }
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Verdict {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Verdict::Answer(response.body(Body::from(body.to_owned())).unwrap())
}

/// The machine's clock, plainly wrong.
struct Wrong(SystemClock, SignedDuration);

#[async_trait::async_trait]
impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        Timestamp::now() + self.1
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

/// How reconciles ended: what the log says.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Listener for Told {
    fn ended(&self, _: &Adapter, _: &SubjectRef, outcome: &Outcome, _: Duration) {
        let told = match outcome {
            Outcome::Reported(reported) => {
                let journey = &reported.journey;
                format!("{} {}: {}", journey.name(), journey.reason(), journey.message())
            }
            Outcome::Gone => "gone".to_owned(),
            Outcome::Retry { reason, message, after } => format!("retry {reason} after {after:?}: {message}"),
            Outcome::Refused { reason, message } => format!("refused {reason}: {message}"),
        };
        self.0.lock().unwrap().push(told);
    }
}

struct Stage {
    kubernetes: Kubernetes,
    simulation: Arc<Simulation>,
    server: Server,
    gate: Gate,
    token: PathBuf,
    metrics: Arc<Metrics>,
    told: Arc<Told>,
    host: Arc<Host>,
    events: SocketAddr,
    http: reqwest::Client,
    tasks: Vec<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Stage {
    async fn set() -> Self {
        Self::with(SignedDuration::ZERO, "2m", QUICK).await
    }

    /// For tests in which the API answers.
    async fn set_patient() -> Self {
        Self::with_clock(SignedDuration::ZERO, "2m").await
    }

    /// A host whose clock is wrong by so much, and an adapter with so much grace.
    async fn with_clock(wrong: SignedDuration, grace: &str) -> Self {
        Self::with(wrong, grace, PATIENT).await
    }

    async fn with(wrong: SignedDuration, grace: &str, (timeout, attempt_timeout): (Duration, Duration)) -> Self {
        let http = client();
        let kubernetes = Kubernetes::with_pace(cluster::SystemClock, Pace::default());
        kubernetes.namespace("adapters");
        let jobs = Rule::all_of("batch", &["jobs"], "adapters");
        kubernetes.grant("adapters", "validation", vec![jobs]);
        let state = FleetState::new(&["validation"], &[]);
        let simulation = Simulation::new(state, Arc::new(SystemClock::new()));
        let server = Server::spawn(Arc::clone(&simulation)).await.unwrap();

        let gate = Gate::default();
        let judged = gate.clone();
        let router =
            Server::router(Arc::clone(&simulation)).layer(middleware::from_fn(move |request: Request, next: Next| {
                judged.clone().pass(request, next)
            }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gated = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        let settings = Settings {
            timeout,
            attempt_timeout,
            token_file: Some(token.clone()),
            ..Settings::new(format!("http://{gated}").parse().unwrap())
        };
        let fleet = Client::with_clock(&settings, Arc::new(Wrong(SystemClock::new(), wrong))).unwrap();
        let metrics = Arc::new(Metrics::new("test", "test"));
        let told = Arc::new(Told::default());
        let parts = Parts {
            world: World {
                fleet: Arc::new(fleet),
                cluster: Arc::new(kubernetes.clone()),
                web: Arc::new(web::Client::new().unwrap()),
            },
            runtime: sandbox(),
            metrics: Arc::clone(&metrics),
            clock: Arc::new(move || Timestamp::now() + wrong),
            concurrency: 4,
            rhythms: quick(),
            owns: None,
            listener: Arc::<Told>::clone(&told),
        };
        let caps = Limits {
            // The machine of a test may be busy.
            deadline: Duration::from_secs(60),
            ..Limits::default()
        };
        let text = DOCUMENT.replace("  permits:", &format!("  grace: {grace}\n  permits:"));
        let documents = document::parse("adapter.yaml".as_ref(), &text, &caps).strict().unwrap();
        keep_declarative().await;
        let (host, problems) = Host::start(parts, &documents).await;
        assert!(problems.is_empty(), "{problems:?}");
        let router = host.events(source::http::Settings::default());
        let (events, receiving) = host.listen(([127, 0, 0, 1], 0).into(), router).await.unwrap();
        let running = kubernetes.clone();
        let tasks = vec![serving, receiving, tokio::spawn(async move { running.run().await })];
        Self {
            kubernetes,
            simulation,
            server,
            gate,
            token,
            metrics,
            told,
            host,
            events,
            http,
            tasks,
            _folder: folder,
        }
    }

    fn cluster(&self) -> String {
        let create = |state: &mut FleetState, now| state.create(now, Kind::Cluster, None, "east-1", &json!({}));
        let created = self.simulation.with(create).unwrap();
        created["href"].as_str().unwrap().to_owned()
    }

    /// Publishes everything. Answers with what the sender of the last event was told.
    async fn publish(&self) -> u16 {
        let always = SignedDuration::from_secs(-1);
        let events = self.simulation.sentinel(Cadence {
            reconciled: always,
            unreconciled: always,
        });
        let mut status = 0;
        for event in events {
            let request = self
                .http
                .post(format!("http://{}/events", self.events))
                .header("content-type", "application/cloudevents+json")
                .body(event.to_string());
            status = request.send().await.unwrap().status().as_u16();
        }
        status
    }

    /// GETs past the gate and all faults.
    fn look(&self, path: &str) -> Value {
        let response = self
            .simulation
            .with(|state, now| state.handle(now, "GET", path, None, b""));
        serde_json::from_slice(&response.body).unwrap()
    }

    fn row(&self, cluster: &str) -> Option<Value> {
        self.look(&format!("{cluster}/statuses"))["items"].get(0).cloned()
    }

    /// Applied, Available, Health, and the reason of Health.
    fn case(&self, cluster: &str) -> String {
        let Some(row) = self.row(cluster) else {
            return "no row".to_owned();
        };
        let of = |kind: &str, field: &str| {
            let conditions = row["conditions"].as_array().unwrap();
            let found = conditions.iter().find(|condition| condition["type"] == kind);
            found.and_then(|found| found[field].as_str()).unwrap_or("?").to_owned()
        };
        let statuses = ["Applied", "Available", "Health"].map(|kind| of(kind, "status"));
        format!("{} {}", statuses.join(" "), of("Health", "reason"))
    }

    async fn sees(&self, cluster: &str, case: &str) {
        self.until(case, || self.case(cluster) == case).await;
    }

    async fn until(&self, what: &str, is: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is() {
            assert!(
                Instant::now() < end,
                "awaited {what}; rows: {:#}; told: {:#?}",
                self.simulation.with(|state, now| {
                    let clusters = state.handle(now, "GET", "/api/hyperfleet/v1/clusters", None, b"");
                    String::from_utf8_lossy(&clusters.body).into_owned()
                }),
                self.told.0.lock().unwrap()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Publishes again and again, as Sentinel does, until it is settled.
    async fn settles(&self) {
        let end = Instant::now() + PATIENCE;
        while self.publish().await != 204 {
            assert!(Instant::now() < end, "it is not settled");
        }
    }

    /// Waits for a reconcile that ended so, and answers with what the log says.
    async fn told(&self, begin: &str) -> String {
        self.told_of(begin, "").await
    }

    /// The same of one that says so.
    async fn told_of(&self, begin: &str, says: &str) -> String {
        let find = || {
            let told = self.told.0.lock().unwrap();
            let mut told = told.iter();
            told.find(|told| told.starts_with(begin) && told.contains(says))
                .cloned()
        };
        self.until(begin, || find().is_some()).await;
        find().unwrap()
    }

    /// Forgets what was told.
    fn forget(&self) {
        self.told.0.lock().unwrap().clear();
    }

    /// The value of a metric; 0 where it has not begun.
    fn metric(&self, series: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    fn trouble(&self, reason: &str) -> u64 {
        let labels = format!(r#"adapter="validation",journey="A6",reason="{reason}""#);
        self.metric(&format!("berth_trouble_total{{{labels}}}"))
    }

    fn reports(&self, result: &str) -> u64 {
        let labels = format!(r#"adapter="validation",result="{result}""#);
        self.metric(&format!("berth_reports_total{{{labels}}}"))
    }

    fn jobs(&self) -> usize {
        self.kubernetes.objects("batch/v1", "Job", Some("adapters")).len()
    }

    /// A cluster whose work is done.
    async fn done(&self) -> String {
        let cluster = self.cluster();
        self.publish().await;
        self.sees(&cluster, A2).await;
        cluster
    }

    async fn end(self) {
        self.host.stop().await;
    }
}

const A2: &str = "True True True NoErrors";

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_down_keeps_the_event_and_nothing_is_created() {
    let stage = Stage::set().await;
    let cluster = stage.cluster();
    stage.server.partition();
    assert_eq!(stage.publish().await, 503, "nobody may think that it is settled");
    stage.told("retry FleetApiUnreachable").await;
    assert!(stage.trouble("FleetApiUnreachable") > 0);
    assert!(stage.metric(r#"berth_events_settled_total{result="retry"}"#) > 0);
    assert_eq!((stage.jobs(), stage.row(&cluster)), (0, None));

    stage.server.heal();
    stage.sees(&cluster, A2).await;
    stage.settles().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_api_is_waited_for_and_beyond_the_limit_it_is_told() {
    let stage = Stage::set_patient().await;
    let cluster = stage.cluster();
    stage.gate.set(|_, _| Verdict::Delay(Duration::from_millis(100)));
    stage.publish().await;
    stage.sees(&cluster, A2).await;
    assert_eq!(stage.trouble("FleetApiUnreachable"), 0, "a little slow is no trouble");
    stage.end().await;

    let stage = Stage::set().await;
    let cluster = stage.done().await;
    stage.forget();
    stage.gate.set(|_, _| Verdict::Delay(Duration::from_secs(30)));
    assert_eq!(stage.publish().await, 503);
    let told = stage.told("retry FleetApiUnreachable").await;
    // The last attempt has what the others left it.
    let why = ["no answer within", "no time was left of 2s"];
    assert!(why.iter().any(|why| told.contains(why)), "{told}");
    assert!(stage.trouble("FleetApiUnreachable") > 0);
    assert_eq!(stage.case(&cluster), A2, "the row stays as it was");

    stage.gate.open();
    stage.settles().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_is_waited_out_as_it_says_and_is_no_trouble() {
    let stage = Stage::set_patient().await;
    let cluster = stage.cluster();
    let first = AtomicBool::new(true);
    stage.gate.set(move |_, _| match first.swap(false, Ordering::Relaxed) {
        true => answer(429, &[("retry-after", "1")], "{}"),
        false => Verdict::Pass,
    });
    stage.publish().await;
    stage.sees(&cluster, A2).await;
    assert_eq!(stage.trouble("FleetApiUnreachable"), 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_for_longer_than_a_call_may_take_is_kept_by_the_queue() {
    let stage = Stage::set().await;
    let cluster = stage.cluster();
    stage.gate.set(|_, _| answer(429, &[("retry-after", "3")], "{}"));
    assert_eq!(stage.publish().await, 503);
    let told = stage.told("retry FleetApiUnreachable after Some(3s)").await;
    assert!(told.contains("429"), "{told}");
    assert!(stage.trouble("FleetApiUnreachable") > 0);

    stage.gate.open();
    stage.sees(&cluster, A2).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_that_are_answered_with_500_are_counted_and_sent_after_the_return() {
    let stage = Stage::set().await;
    let cluster = stage.cluster();
    stage.gate.set(|method, _| match method {
        "PUT" => answer(500, &[], r#"{"detail": "the database is away"}"#),
        _ => Verdict::Pass,
    });
    assert_eq!(stage.publish().await, 503);
    let told = stage.told_of("retry FleetApiUnreachable", "the database is away").await;
    assert!(told.contains("500"), "{told}");
    assert!(stage.reports("failed") > 0);
    assert_eq!(stage.row(&cluster), None);
    assert_eq!(stage.jobs(), 1, "the work goes on meanwhile");

    stage.gate.open();
    stage.sees(&cluster, A2).await;
    assert_eq!(stage.jobs(), 1, "it is not done twice");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_are_answered_with_500_are_told_in_the_status_and_take_no_success_back() {
    let stage = Stage::set().await;
    let cluster = stage.done().await;
    let subject = cluster.clone();
    stage.gate.set(move |method, path| match (method, path == subject) {
        ("GET", true) => answer(500, &[], "{}"),
        _ => Verdict::Pass,
    });
    stage.publish().await;
    stage.sees(&cluster, "True True False FleetApiUnreachable").await;
    let says = || stage.row(&cluster).unwrap().to_string().contains("500");
    stage.until("the message that says what it answered", says).await;
    assert!(stage.trouble("FleetApiUnreachable") > 0);
    assert_eq!(
        stage.look(&cluster)["status"]["conditions"][0]["status"],
        "True",
        "the cluster stays reconciled"
    );

    stage.gate.open();
    stage.sees(&cluster, A2).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_url_is_never_taken_for_a_cluster_that_is_gone() {
    let stage = Stage::set_patient().await;
    let cluster = stage.done().await;
    let others: [(u16, &str, &str); 3] = [
        (404, "text/html", "<html><body>default backend - 404</body></html>"),
        (404, "application/json", r#"{"message": "no such route"}"#),
        (200, "text/html", "<html>Welcome to nginx!</html>"),
    ];
    for (count, (status, kind, body)) in others.into_iter().enumerate() {
        let before = stage.trouble("FleetApiMisconfigured");
        stage
            .gate
            .set(move |_, _| answer(status, &[("content-type", kind)], body));
        stage.forget();
        assert_eq!(stage.publish().await, 503, "{body}");
        let told = stage.told("retry FleetApiMisconfigured").await;
        assert!(told.contains("check `url`"), "{told}");
        assert!(stage.trouble("FleetApiMisconfigured") > before);
        assert_eq!(stage.jobs(), 1, "nothing of the cluster is removed, {count}");
    }
    assert_eq!(stage.case(&cluster), A2);

    stage.gate.open();
    assert_eq!(stage.publish().await, 204);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_told_without_itself_and_a_rotated_one_works_without_a_restart() {
    let stage = Stage::set_patient().await;
    stage.simulation.require_token(Some(TOKEN));
    stage.done().await;

    let fresh = TOKEN.replace("b2xk", "bmV3");
    stage.simulation.require_token(Some(&fresh));
    assert_eq!(stage.publish().await, 503);
    let told = stage.told("retry FleetApiMisconfigured").await;
    assert!(told.contains("401") && told.contains("check the token file"), "{told}");
    assert!(stage.trouble("FleetApiMisconfigured") > 0);

    std::fs::write(&stage.token, format!("{fresh}\n")).unwrap();
    assert_eq!(stage.publish().await, 204);
    let everything = format!("{:?} {}", stage.told.0.lock().unwrap(), stage.metrics.encode().unwrap());
    assert!(
        !everything.contains(TOKEN) && !everything.contains(&fresh),
        "{everything}"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swallowed_report_is_noticed_and_the_right_row_is_there_in_the_end() {
    let stage = Stage::set_patient().await;
    let cluster = stage.cluster();
    stage.simulation.inject(&Fault::Swallowed, 2);
    stage.publish().await;
    stage.sees(&cluster, A2).await;
    stage.simulation.take_requests();

    // More than the client itself sends again.
    let stored = stage.reports("stored");
    stage.simulation.inject(&Fault::Swallowed, 5);
    stage.publish().await;
    let told = stage.told("retry FleetApiUnreachable").await;
    assert!(told.contains("another row was kept"), "{told}");
    assert!(stage.reports("failed") > 0);
    stage
        .until("a report that is stored", || stage.reports("stored") > stored)
        .await;
    let requests = stage.simulation.take_requests();
    let sent = requests.iter().filter(|request| request.starts_with("PUT")).count();
    assert!(sent >= 6, "{requests:#?}");
    stage.sees(&cluster, A2).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_report_does_not_settle_the_event() {
    let stage = Stage::set_patient().await;
    let cluster = stage.cluster();
    stage.gate.set(|method, _| match method {
        "PUT" => answer(204, &[], ""),
        _ => Verdict::Pass,
    });
    assert_eq!(stage.publish().await, 503, "no report was stored");
    assert!(stage.reports("discarded") > 0);
    assert_eq!(stage.row(&cluster), None);

    stage.gate.open();
    stage.sees(&cluster, A2).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_hours_wrong_in_either_direction_loses_no_report() {
    for hours in [6, -6] {
        let stage = Stage::with_clock(SignedDuration::from_hours(hours), "2m").await;
        let cluster = stage.done().await;
        let row = stage.row(&cluster).unwrap();
        let time: Timestamp = row["last_report_time"].as_str().unwrap().parse().unwrap();
        let difference = Timestamp::now().duration_since(time).abs();
        assert!(difference < SignedDuration::from_mins(2), "{hours} h: {row:#}");
        assert_eq!(stage.trouble("FleetApiMisconfigured"), 0);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_hours_wrong_neither_ends_grace_early_nor_keeps_it_from_ending() {
    for hours in [6, -6] {
        for (grace, case) in [
            ("10m", "True False True NoErrors"),
            ("1s", "False False False ImagePullFailed"),
        ] {
            let stage = Stage::with_clock(SignedDuration::from_hours(hours), grace).await;
            stage
                .kubernetes
                .image("registry.example.com/validator:1", ImageBehaviour::Missing);
            let cluster = stage.cluster();
            stage.publish().await;
            let told = || stage.told.0.lock().unwrap().join("\n");
            stage
                .until("the pause between two pulls", || told().contains("Back-off"))
                .await;
            stage.sees(&cluster, case).await;
            let is_told = || told().contains("creation-failed");
            if grace == "1s" {
                // The host hears of what was stored after us.
                stage.until("it is told of", is_told).await;
            } else {
                assert!(!is_told(), "{hours} h, {grace}: {}", told());
            }
            stage.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_vanishes_between_get_and_put_leaves_nothing_behind() {
    let stage = Stage::set_patient().await;
    let cluster = stage.cluster();
    let (simulation, path) = (Arc::clone(&stage.simulation), cluster.clone());
    stage.gate.set(move |method, _| {
        if method == "PUT" {
            let force = format!("{path}/force-delete");
            simulation.with(|state, now| {
                drop(state.delete(now, &path));
                state.handle(now, "POST", &force, None, br#"{"reason": "a test"}"#)
            });
        }
        Verdict::Pass
    });
    stage.publish().await;
    stage.told("gone").await;
    stage.until("no Job", || stage.jobs() == 0).await;
    assert_eq!(stage.look(&cluster)["code"], "HYPERFLEET-NTF-001");
    assert_eq!(
        (
            stage.trouble("FleetApiUnreachable"),
            stage.trouble("FleetApiMisconfigured")
        ),
        (0, 0)
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_from_kubernetes_alone_is_told_by_the_api_that_is_left() {
    let stage = Stage::set_patient().await;
    let done = stage.done().await;
    stage.kubernetes.go_away();
    stage.publish().await;
    stage.sees(&done, "True True False KubernetesApiUnreachable").await;
    assert!(stage.trouble("KubernetesApiUnreachable") > 0);
    assert_eq!(stage.trouble("FleetApiUnreachable"), 0);

    stage.kubernetes.come_back();
    stage.sees(&done, A2).await;
    stage.end().await;
}
