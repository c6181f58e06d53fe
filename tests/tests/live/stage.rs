//! A host over simulated APIs that follows a folder.

use std::{
    os::unix::fs::symlink,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use berth::{
    config::{document, host::HostLimits},
    dispatch::{Deaf, Listener},
    fleet::{self, SystemClock},
    live::Following,
    plugins::DECLARATIVE,
    serve::{Beginning, Host, Parts},
    simulate::{
        cluster::{Kubernetes, Rule, SystemClock as ClusterClock},
        fleet::{Fault, FleetState, InMemory, Kind, Simulation},
    },
    source,
    telemetry::{
        Metrics,
        admin::{AdapterState, Standing},
    },
    web,
    world::{Artifacts, World},
};
use berth_engine::adapter::Limits;
use berth_runtime::Plugin;
use berth_tests::stage::{Row, client, quick, sandbox};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Keeps the plugin of all documents compiled.
static COMPILED: LazyLock<Arc<Plugin>> = LazyLock::new(|| sandbox().load(DECLARATIVE).unwrap());

/// How long any one condition is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(45);

/// See the module.
pub(crate) struct Stage {
    pub(crate) host: Arc<Host>,
    pub(crate) kubernetes: Kubernetes,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) metrics: Arc<Metrics>,
    simulation: Arc<Simulation>,
    url: String,
    http: reqwest::Client,
}

impl Stage {
    /// Writes documents into a folder and starts a host that follows it.
    pub(crate) async fn set(documents: &[(&str, &str)]) -> Self {
        Self::set_with(documents, &[], Arc::new(Deaf), None).await
    }

    pub(crate) async fn set_with(
        documents: &[(&str, &str)],
        plugins: &[(&str, &[u8])],
        listener: Arc<dyn Listener>,
        artifacts: Option<Arc<dyn Artifacts>>,
    ) -> Self {
        Self::set_slow(documents, plugins, listener, artifacts, Duration::from_millis(200)).await
    }

    /// The same; tags are resolved by themselves only now and then.
    pub(crate) async fn set_slow(
        documents: &[(&str, &str)],
        plugins: &[(&str, &[u8])],
        listener: Arc<dyn Listener>,
        artifacts: Option<Arc<dyn Artifacts>>,
        refresh: Duration,
    ) -> Self {
        tokio::task::spawn_blocking(|| LazyLock::force(&COMPILED))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in documents {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        for (name, bytes) in plugins {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let kubernetes = Kubernetes::new(ClusterClock);
        kubernetes.namespace("work");
        kubernetes.grant("work", "adapter", vec![Rule::all_of("", &["configmaps"], "work")]);
        let simulation = Simulation::new(FleetState::new(&[], &[]), Arc::new(SystemClock::new()));
        let settings = fleet::Settings {
            // An answer may be slow for as long as a test wants it to be.
            timeout: Duration::from_secs(60),
            attempt_timeout: Duration::from_secs(30),
            ..fleet::Settings::new("http://fleet.example".parse().unwrap())
        };
        let metrics = Arc::new(Metrics::new("test", "test"));
        let http = client();
        let parts = Parts {
            world: World {
                fleet: Arc::new(InMemory::new(&simulation, &settings).unwrap()),
                cluster: Arc::new(kubernetes.clone()),
                web: Arc::new(web::Client::new().unwrap()),
            },
            runtime: sandbox(),
            metrics: Arc::clone(&metrics),
            clock: Arc::new(Timestamp::now),
            concurrency: 8,
            rhythms: quick(),
            owns: None,
            listener,
        };
        let caps = caps();
        let beginning = Beginning {
            loading: document::load_folder(folder.path(), &caps),
            artifacts,
            refresh: Some(refresh),
        };
        let (host, _) = Host::begin(parts, beginning).await;
        host.follow(Following {
            folder: folder.path().to_owned(),
            caps,
            configuration: None,
            poll: Duration::from_millis(20),
        });
        let router = host.events(source::http::Settings::default()).merge(host.admin());
        let (address, _) = host.listen(([127, 0, 0, 1], 0).into(), router).await.unwrap();
        Self {
            host,
            kubernetes,
            folder,
            metrics,
            simulation,
            url: format!("http://{address}"),
            http,
        }
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), contents).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    /// Lets a link of the folder lead elsewhere, at once.
    pub(crate) fn link(&self, to: &str, name: &str) {
        let new = self.folder.path().join("..new");
        symlink(to, &new).unwrap();
        std::fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    /// How an adapter stands.
    pub(crate) fn state(&self, name: &str) -> Option<AdapterState> {
        self.host.board().adapters().into_iter().find(|one| one.name == name)
    }

    /// Waits until an adapter stands as described.
    pub(crate) async fn stands(&self, name: &str, what: &str, is: impl Fn(&AdapterState) -> bool) -> AdapterState {
        let end = Instant::now() + PATIENCE;
        loop {
            let state = self.state(name);
            match state {
                Some(state) if is(&state) => return state,
                state => assert!(Instant::now() < end, "{name} does not come to be {what}: {state:#?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The same, by its standing alone.
    pub(crate) async fn comes_to(&self, name: &str, standing: Standing) -> AdapterState {
        self.stands(name, standing.name(), |state| state.state == standing)
            .await
    }

    /// Creates a cluster. Answers with its path.
    pub(crate) fn cluster(&self, name: &str) -> String {
        let created = self
            .simulation
            .with(|state, now| state.create(now, Kind::Cluster, None, name, &json!({})));
        created.unwrap()["href"].as_str().unwrap().to_owned()
    }

    /// Publishes an event about a cluster and waits for the answer: 204 once it is settled.
    pub(crate) fn publish(&self, path: &str) -> impl Future<Output = u16> + Send + 'static {
        let cluster = self.get(path);
        let event = json!({
            "specversion": "1.0", "id": uuid::Uuid::new_v4().to_string(), "source": "test",
            "type": "com.redhat.hyperfleet.cluster.reconcile", "datacontenttype": "application/json",
            "data": {
                "id": cluster["id"], "kind": "Cluster", "href": path, "generation": cluster["generation"],
            },
        });
        let request = self
            .http
            .post(&self.url)
            .header("content-type", "application/cloudevents+json")
            .body(event.to_string());
        async move { request.send().await.map_or(0, |response| response.status().as_u16()) }
    }

    fn get(&self, path: &str) -> Value {
        let response = self
            .simulation
            .with(|state, now| state.handle(now, "GET", path, None, b""));
        serde_json::from_slice(&response.body).unwrap()
    }

    /// An adapter's row for a cluster.
    pub(crate) fn row(&self, path: &str, adapter: &str) -> Option<Row> {
        let rows = self.get(&format!("{path}/statuses"));
        let rows = rows["items"].as_array()?;
        rows.iter().find(|row| row["adapter"] == adapter).cloned().map(Row)
    }

    /// Waits until an adapter's data tells of a version.
    pub(crate) async fn reports(&self, path: &str, adapter: &str, version: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let row = self.row(path, adapter);
            if row.as_ref().is_some_and(|row| row.0["data"]["version"] == version) {
                return;
            }
            let told = row.map(|row| row.tell());
            assert!(Instant::now() < end, "{adapter} does not report {version}: {told:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets the next answer of the HyperFleet API take its time.
    pub(crate) fn slow_down(&self, time: Duration) {
        self.simulation.take_requests();
        self.simulation.inject(&Fault::Slow(time), 1);
    }

    /// Waits until the HyperFleet API was asked something since then.
    pub(crate) async fn is_asked(&self) {
        let end = Instant::now() + PATIENCE;
        while self.simulation.take_requests().is_empty() {
            assert!(Instant::now() < end, "nothing is asked");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks the administration endpoint.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> Value {
        let method = method.parse().unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url));
        request.send().await.unwrap().json().await.unwrap()
    }
}

/// As a host has them, but for a machine that may be busy.
pub(crate) fn caps() -> Limits {
    Limits {
        deadline: Duration::from_secs(60),
        ..HostLimits::default_caps()
    }
}
