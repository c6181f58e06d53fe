//! A host between simulated APIs that receives from a broker: quick, and as many as wanted.
//!
//! Owns the host, both simulators and the namespace of the adapters. Events go the way that a
//! test gives them; what comes of them is read as users read it, from `/statuses`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness may panic: it runs in tests only"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use berth::{
    config::host::{HostLimits, Sources},
    dispatch::Deaf,
    fleet,
    serve::{Host, Parts},
    simulate::{
        cluster::{self, Kubernetes, Pace, Rule},
        fleet::{Cadence, FleetState, Kind, Server, Simulation},
    },
    telemetry::Metrics,
    web,
    world::World,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::stage::{Row, Wanted, compile, load, quick, sandbox};

/// The namespace that adapters work in.
pub const NAMESPACE: &str = "hyperfleet-adapters";

const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct SimulatedStage {
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    /// What the HyperFleet API knows.
    pub simulation: Arc<Simulation>,
    /// The host.
    pub host: Arc<Host>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    server: Server,
    cluster: JoinHandle<()>,
}

impl Drop for SimulatedStage {
    fn drop(&mut self) {
        self.cluster.abort();
    }
}

impl SimulatedStage {
    /// Starts a host for these documents, that receives from these sources.
    pub async fn set(documents: &[&str], sources: &Sources) -> Self {
        compile().await;
        let millis = Duration::from_millis;
        let pace = Pace {
            control: millis(5),
            start: millis(40),
            run: millis(80),
            stop: millis(40),
            retry: millis(50),
        };
        let kubernetes = Kubernetes::with_pace(cluster::SystemClock, pace);
        kubernetes.namespace(NAMESPACE);
        let mut caps = HostLimits::default_caps();
        caps.deadline = Duration::from_secs(60);
        let documents: Vec<_> = documents.iter().map(|text| load(text, &caps)).collect();
        for document in &documents {
            let account = &document.adapter.service_account;
            let rules = vec![
                Rule::all_of("batch", &["jobs"], NAMESPACE),
                Rule::all_of("", &["configmaps"], NAMESPACE),
            ];
            kubernetes.grant(NAMESPACE, account, rules);
        }
        let quota = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"europe-west1": "100", "europe-west4": "0"},
            "metadata": {"name": "landing-zone-quota", "namespace": NAMESPACE},
        });
        kubernetes.create("test", quota).unwrap();
        let names: Vec<&str> = documents.iter().map(|one| one.adapter.name.as_str()).collect();
        let simulation = Simulation::new(FleetState::new(&names, &[]), Arc::new(fleet::SystemClock::new()));
        let server = Server::spawn(Arc::clone(&simulation)).await.unwrap();
        let settings = fleet::Settings {
            // As above.
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(5),
            ..fleet::Settings::new(server.url())
        };
        // Made first: it chooses the provider of TLS.
        let web = Arc::new(web::Client::new().unwrap());
        let metrics = Arc::new(Metrics::new("test", "test"));
        let parts = Parts {
            world: World {
                fleet: Arc::new(fleet::Client::new(&settings).unwrap()),
                cluster: Arc::new(kubernetes.clone()),
                web,
            },
            runtime: sandbox(),
            metrics: Arc::clone(&metrics),
            clock: Arc::new(Timestamp::now),
            concurrency: 8,
            rhythms: quick(),
            owns: None,
            listener: Arc::new(Deaf),
        };
        let (host, problems) = Host::start(parts, &documents).await;
        assert!(problems.is_empty(), "{problems:?}");
        host.receive(sources, 1 << 20);
        let running = kubernetes.clone();
        Self {
            kubernetes,
            simulation,
            host,
            metrics,
            server,
            cluster: tokio::spawn(async move { running.run().await }),
        }
    }

    /// Creates a cluster and tells nobody. Answers with its path.
    #[must_use]
    pub fn create(&self, spec: &Value) -> String {
        let name = format!("n{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let created = self
            .simulation
            .with(|state, now| state.create(now, Kind::Cluster, None, &name, spec));
        created.unwrap()["href"].as_str().unwrap().to_owned()
    }

    /// What Sentinel would publish about a cluster now, were it due.
    #[must_use]
    pub fn event(&self, path: &str) -> Value {
        let always = SignedDuration::from_secs(-1);
        let events = self.simulation.sentinel(Cadence {
            reconciled: always,
            unreconciled: always,
        });
        let of_path = events.into_iter().find(|event| event["data"]["href"] == path);
        of_path.expect("the cluster exists")
    }

    /// An adapter's row for a resource.
    pub async fn row(&self, path: &str, adapter: &str) -> Option<Row> {
        let url = self.server.url().join(&format!("{path}/statuses")).unwrap();
        let body: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let rows = body["items"].as_array()?;
        rows.iter().find(|row| row["adapter"] == adapter).cloned().map(Row)
    }

    /// Waits until an adapter's row is as described.
    pub async fn sees(&self, path: &str, adapter: &str, wanted: &Wanted) -> Row {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.row(path, adapter).await {
                Some(row) if wanted.fits(&row) => return row,
                row if Instant::now() > end => {
                    let found = row.map_or_else(|| "none".to_owned(), |row| row.tell());
                    panic!("{adapter} does not come to report {wanted:?}; its row is\n{found}");
                }
                Some(_) | None => tokio::time::sleep(Duration::from_millis(30)).await,
            }
        }
    }
}
