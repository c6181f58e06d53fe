//! Bad input meets a whole host: it is refused with a reason, and everything else goes on.
//!
//! That each check is needed is shown where the checks are: `bad_input.rs` in `host/src/source/http` and in
//! `host/src/config/document`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a panic fails them"
)]

use std::{net::SocketAddr, sync::Arc};

use berth::{
    config::{
        Problems,
        document::{self, Loaded},
    },
    dispatch::Deaf,
    fleet::{Client, Settings, SystemClock},
    serve::{Host, Parts},
    simulate::{
        cluster::{self, Kubernetes, Rule},
        fleet::{Cadence, FleetState, Kind, Server, Simulation},
    },
    source,
    telemetry::Metrics,
    web,
    world::World,
};
use berth_engine::adapter::Limits;
use berth_tests::stage::{client, quick, sandbox};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const SECRET: &str = "s3cr3t-p4ssw0rd";

/// An adapter that makes a Secret with this password.
fn adapter(name: &str, password: &str) -> String {
    format!(
        r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: {name}}}
spec:
  subjects: [Cluster]
  namespace: adapters
  serviceAccount: adapter
  resources:
    - name: keys
      manifest:
        apiVersion: v1
        kind: Secret
        metadata: {{name: "{name}-{{{{ .subject.id }}}}"}}
        stringData: {{password: "{password}", other: {SECRET}}}
  status:
    data: {{note: {SECRET}}}
"#
    )
}

fn read(text: &str) -> Loaded {
    let caps = Limits {
        // The machine of a test may be busy.
        deadline: std::time::Duration::from_secs(60),
        ..Limits::default()
    };
    let mut loaded = document::parse("adapter.yaml".as_ref(), text, &caps).strict().unwrap();
    loaded.remove(0)
}

struct Stage {
    simulation: Arc<Simulation>,
    kubernetes: Kubernetes,
    metrics: Arc<Metrics>,
    host: Arc<Host>,
    problems: String,
    events: SocketAddr,
    http: reqwest::Client,
    _server: Server,
}

impl Stage {
    async fn set(documents: &[String]) -> Self {
        let http = client();
        let kubernetes = Kubernetes::new(cluster::SystemClock);
        kubernetes.namespace("adapters");
        kubernetes.grant("adapters", "adapter", vec![Rule::all_of("", &["secrets"], "adapters")]);
        let state = FleetState::new(&["good"], &[]);
        let simulation = Simulation::new(state, Arc::new(SystemClock::new()));
        let server = Server::spawn(Arc::clone(&simulation)).await.unwrap();
        let metrics = Arc::new(Metrics::new("test", "test"));
        let parts = Parts {
            owns: None,
            world: World {
                fleet: Arc::new(Client::new(&Settings::new(server.url())).unwrap()),
                cluster: Arc::new(kubernetes.clone()),
                web: Arc::new(web::Client::new().unwrap()),
            },
            runtime: sandbox(),
            metrics: Arc::clone(&metrics),
            clock: Arc::new(Timestamp::now),
            concurrency: 4,
            rhythms: quick(),
            listener: Arc::new(Deaf),
        };
        let documents: Vec<Loaded> = documents.iter().map(|text| read(text)).collect();
        let (host, problems) = Host::start(parts, &documents).await;
        let router = host.events(source::http::Settings::default());
        let (events, _) = host.listen(([127, 0, 0, 1], 0).into(), router).await.unwrap();
        Self {
            simulation,
            kubernetes,
            metrics,
            host,
            problems: format!("{0}\n{0:?}", Problems(problems)),
            events,
            http,
            _server: server,
        }
    }

    /// A cluster, and the event that Sentinel publishes about it.
    fn cluster(&self, name: &str) -> (String, Value) {
        let create = |state: &mut FleetState, now| state.create(now, Kind::Cluster, None, name, &json!({}));
        let created = self.simulation.with(create).unwrap();
        let path = created["href"].as_str().unwrap().to_owned();
        let always = SignedDuration::from_secs(-1);
        let events = self.simulation.sentinel(Cadence {
            reconciled: always,
            unreconciled: always,
        });
        let event = events.into_iter().find(|event| event["data"]["href"] == path.as_str());
        (path, event.unwrap())
    }

    async fn post(&self, kind: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let request = self
            .http
            .post(format!("http://{}/events", self.events))
            .header("content-type", kind)
            .header("authorization", format!("Bearer {SECRET}"))
            .body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    fn rows(&self, path: &str) -> Value {
        let path = format!("{path}/statuses");
        let response = self
            .simulation
            .with(|state, now| state.handle(now, "GET", &path, None, b""));
        serde_json::from_slice(&response.body).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_events_are_refused_and_good_ones_beside_them_are_worked_on() {
    let stage = Stage::set(&[adapter("good", "plain")]).await;
    let structured = "application/cloudevents+json";
    let (first, event) = stage.cluster("first");
    let mut malformed = event.clone();
    malformed["data"]["generation"] = json!([SECRET.len()]);
    malformed["data"]["token"] = json!(SECRET);
    let bodies: [(u16, &str, Vec<u8>); 5] = [
        (415, "text/plain", b"hello".to_vec()),
        (400, structured, b"\xff\xfe{".to_vec()),
        (400, structured, format!("{{\"token\": \"{SECRET}\"").into_bytes()),
        (400, structured, "[".repeat(100_000).into_bytes()),
        (400, structured, malformed.to_string().into_bytes()),
    ];
    for (status, kind, body) in bodies {
        let (answered, told) = stage.post(kind, body).await;
        assert_eq!(answered, status, "{told}");
        assert!(told.contains("\"reason\"") && !told.contains(SECRET), "{told}");
    }

    // In a batch the good event is settled, and the sender is told which one is not good.
    let batch = json!([malformed, event]).to_string();
    let (answered, told) = stage.post("application/cloudevents-batch+json", batch).await;
    assert_eq!(answered, 400, "{told}");
    assert!(
        told.contains("GenerationInvalid") && told.contains("\"index\":0"),
        "{told}"
    );
    assert!(!told.contains("\"index\":1"), "{told}");
    assert_eq!(stage.rows(&first)["total"], 1, "the good one was reported about");

    let metrics = stage.metrics.encode().unwrap();
    assert!(
        metrics.contains(r#"berth_events_refused_total{source="http",reason="GenerationInvalid"} 2"#),
        "{metrics}"
    );
    assert!(!metrics.contains(SECRET), "{metrics}");
    stage.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_template_of_a_secret_is_told_without_the_secret_and_the_neighbour_works() {
    let broken = format!("{SECRET}-{{{{ .subjekt.id }}}}-{{{{ nothing \\\"{SECRET}\\\" }}}}");
    let unclosed = format!("{SECRET}-{{{{ .subject.id");
    let documents = [
        adapter("good", "plain"),
        adapter("broken", &broken),
        adapter("unclosed", &unclosed),
    ];
    let stage = Stage::set(&documents).await;
    for place in [
        "spec.resources[0].manifest.stringData.password",
        "adapter.yaml:",
        "unknown",
    ] {
        assert!(stage.problems.contains(place), "{}", stage.problems);
    }
    assert!(!stage.problems.contains(SECRET), "{}", stage.problems);

    let (path, event) = stage.cluster("east-1");
    let (status, told) = stage.post("application/cloudevents+json", event.to_string()).await;
    assert_eq!(status, 204, "{told}");
    let rows = stage.rows(&path);
    assert_eq!(
        (&rows["total"], &rows["items"][0]["adapter"]),
        (&json!(1), &json!("good"))
    );
    assert_eq!(stage.kubernetes.objects("v1", "Secret", Some("adapters")).len(), 1);
    stage.host.stop().await;
}
