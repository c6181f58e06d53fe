//! A plugin that misbehaves harms nobody else, and its report says which limit it hit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics fails"
)]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use berth::{
    config::document::{self, Loaded},
    dispatch::Deaf,
    fleet::{self, SystemClock},
    serve::{Host, Parts},
    simulate::{
        cluster::{Kubernetes, SystemClock as ClusterClock},
        fleet::{FleetState, InMemory, Kind, Simulation},
    },
    source,
    telemetry::Metrics,
    web,
    world::World,
};
use berth_engine::adapter::Limits;
use berth_tests::stage::{Row, client, quick, sandbox};
use jiff::Timestamp;
use serde_json::json;

/// A host with two adapters for clusters: `hostile` asks a guest, `neighbour` has only expressions.
struct Pair {
    simulation: Arc<Simulation>,
    url: String,
    http: reqwest::Client,
    /// The host works as long as there is one.
    _host: Arc<Host>,
    _folder: tempfile::TempDir,
}

/// How long any one report is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

impl Pair {
    async fn with(guest: &str, config: &str, limits: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("guest.wasm"), berth_test_guests::component(guest)).unwrap();
        let documents = [
            format!(
                "\
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: hostile}}
spec:
  subjects: [Cluster]
  namespace: adapters
  permits: [{{apiVersion: v1, kind: ConfigMap}}]
  plugins:
    guest: {{source: 'file:guest.wasm', config: {config}, limits: {limits}}}
  preconditions: [{{plugin: guest}}]
"
            ),
            "\
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: neighbour}
spec:
  subjects: [Cluster]
  namespace: adapters
  permits: [{apiVersion: v1, kind: ConfigMap}]
  preconditions:
    - {name: large, expression: 'subject.spec.size > 10', message: too small}
"
            .to_owned(),
        ];
        let documents: Vec<Loaded> = documents.iter().map(|text| read(folder.path(), text)).collect();
        let state = FleetState::new(&["hostile", "neighbour"], &[]);
        let simulation = Simulation::new(state, Arc::new(SystemClock::new()));
        let settings = fleet::Settings::new("http://fleet.example".parse().unwrap());
        let world = World {
            fleet: Arc::new(InMemory::new(&simulation, &settings).unwrap()),
            cluster: Arc::new(Kubernetes::new(ClusterClock)),
            web: Arc::new(web::Client::new().unwrap()),
        };
        let parts = Parts {
            world,
            runtime: sandbox(),
            metrics: Arc::new(Metrics::new("test", "test")),
            clock: Arc::new(Timestamp::now),
            concurrency: 8,
            rhythms: quick(),
            owns: None,
            listener: Arc::new(Deaf),
        };
        let (host, problems) = Host::start(parts, &documents).await;
        assert!(problems.is_empty(), "{problems:?}");
        let router = host.events(source::http::Settings::default());
        let (address, _) = host.listen(([127, 0, 0, 1], 0).into(), router).await.unwrap();
        let http = client();
        Self {
            simulation,
            url: format!("http://{address}/events"),
            http,
            _host: host,
            _folder: folder,
        }
    }

    /// Creates a cluster and publishes it, without waiting for what comes of it.
    fn cluster(&self, name: &str) -> String {
        let spec = json!({"size": 11});
        let created = self
            .simulation
            .with(|state, now| state.create(now, Kind::Cluster, None, name, &spec))
            .unwrap();
        let event = json!({
            "specversion": "1.0", "id": name, "source": "test", "type": "com.redhat.hyperfleet.cluster.reconcile",
            "datacontenttype": "application/json",
            "data": {"id": created["id"], "kind": "Cluster", "href": created["href"], "generation": 1},
        });
        let request = self
            .http
            .post(&self.url)
            .header("content-type", "application/cloudevents+json");
        tokio::spawn(request.body(event.to_string()).send());
        created["href"].as_str().unwrap().to_owned()
    }

    fn row(&self, cluster: &str, adapter: &str) -> Option<Row> {
        let path = format!("{cluster}/statuses");
        let response = self
            .simulation
            .with(|state, now| state.handle(now, "GET", &path, None, b""));
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        let rows = body["items"].as_array()?;
        rows.iter().find(|row| row["adapter"] == adapter).cloned().map(Row)
    }

    async fn reported(&self, cluster: &str, adapter: &str) -> Row {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(row) = self.row(cluster, adapter) {
                return row;
            }
            assert!(Instant::now() < end, "{adapter} does not report");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Several clusters at once: the neighbour succeeds with each, and each report of the
    /// hostile adapter has this reason.
    async fn come_to(self, reason: &str) -> Vec<String> {
        let clusters = ["one", "two", "three"].map(|name| self.cluster(name));
        let mut messages = Vec::new();
        for cluster in &clusters {
            let row = self.reported(cluster, "neighbour").await;
            assert_eq!(row.case(), "True True True", "{}", row.tell());
            let row = self.reported(cluster, "hostile").await;
            assert_eq!(
                (row.case().as_str(), row.of("Health", "reason")),
                ("False False False", reason),
                "{}",
                row.tell()
            );
            messages.push(row.of("Health", "message").to_owned());
        }
        // After the trouble as well.
        let row = self.reported(&self.cluster("later"), "neighbour").await;
        assert_eq!(row.case(), "True True True", "{}", row.tell());
        messages
    }
}

fn read(folder: &Path, text: &str) -> Loaded {
    let caps = Limits {
        fuel: u64::MAX,
        memory: 1 << 30,
        // The machine of a test may be busy.
        deadline: Duration::from_secs(60),
        ..Limits::default()
    };
    let mut loaded = document::parse(&folder.join("adapter.yaml"), text, &caps)
        .strict()
        .unwrap();
    loaded.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_loops_for_ever_runs_out_of_fuel() {
    let messages = Pair::with("loops", "{}", "{fuel: 10M, deadline: 60s}")
        .await
        .come_to("PluginFuelExhausted")
        .await;
    assert!(messages[0].contains("guest"), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_loops_for_ever_runs_out_of_time_and_the_neighbour_reports_meanwhile() {
    // So long that the neighbour has reported by then, on a busy machine too.
    let pair = Pair::with("loops", "{}", "{fuel: 900G, deadline: 15s}").await;
    let cluster = pair.cluster("meanwhile");
    pair.reported(&cluster, "neighbour").await;
    assert_eq!(
        pair.row(&cluster, "hostile"),
        None,
        "the neighbour waited for the plugin that loops"
    );
    let row = pair.reported(&cluster, "hostile").await;
    assert_eq!(row.of("Health", "reason"), "PluginDeadlineExceeded", "{}", row.tell());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_traps_is_named() {
    let messages = Pair::with("traps", "{}", "{deadline: 60s}")
        .await
        .come_to("PluginTrapped")
        .await;
    assert!(messages[0].contains("guest"), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_eats_memory_is_stopped_at_its_limit() {
    Pair::with("grows", "{}", "{memory: 16MiB, deadline: 60s}")
        .await
        .come_to("PluginMemoryExceeded")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_answers_with_a_hundred_megabytes_is_not_listened_to() {
    let limits = "{memory: 256MiB, fuel: 10G, deadline: 60s}";
    Pair::with("answers-large", "100000000", limits)
        .await
        .come_to("PluginOutputTooLarge")
        .await;
}
