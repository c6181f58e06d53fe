//! A host at work, in this process, between a real control plane and a simulated HyperFleet API.
//!
//! Owns the host, the API's server and a namespace; tests tell what users and Sentinel do, and
//! read what users read: the rows of `/statuses`. Everything between is the real thing: the
//! sockets, the client with berth's few rights, the adapter's service account, the plugins.
//!
//! Nothing happens by a poll of Sentinel unless a test publishes, so that what goes on
//! without an event goes on by watches and timers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness may panic: it runs in tests only"
)]

use std::{
    net::SocketAddr,
    ops::Deref,
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use berth::{
    cluster,
    config::document::{self, Loaded},
    dispatch::Deaf,
    fleet::{self, SystemClock},
    plugins::DECLARATIVE,
    serve::{Host, Parts},
    simulate::fleet::{Cadence, FleetState, Kind, Server, Simulation},
    source,
    telemetry::Metrics,
    web,
    world::World,
};
use berth_engine::{
    adapter::Limits,
    queue::{Rhythm, Rhythms},
    reason::{Case, Reason},
};
use berth_runtime::{Plugin, Runtime, Settings};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, Gate, User, everything};

/// The documents of the demo, with their namespace replaced by the stage's.
pub const VALIDATION: &str = include_str!("../../host/assets/demo/validation.yaml");
/// The adapter whose logic is a component. Clusters say by `jobAnnotations` how its Job goes.
pub const LANDING_ZONE: &str = include_str!("../../host/assets/demo/landing-zone.yaml");
/// The adapter of nodepools that waits for the landing zone of their cluster.
pub const NODEPOOL_SIZING: &str = include_str!("../../host/assets/demo/nodepool-sizing.yaml");

/// How long any one condition is waited for.
const PATIENCE: Duration = Duration::from_secs(90);

/// The landing zone without its dependency, with a single attempt.
#[must_use]
pub fn landing_zone() -> String {
    replaced(LANDING_ZONE, "  dependsOn: [{adapter: validation}]\n", "")
}

/// Replaces a part of a document, which must be there.
///
/// # Panics
/// When it is not.
#[must_use]
pub fn replaced(document: &str, from: &str, to: &str) -> String {
    assert!(document.contains(from), "the document has no `{from}`:\n{document}");
    document.replace(from, to)
}

/// A component that `cargo xtask setup` builds.
///
/// # Panics
/// When it is missing.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let folder = std::env::var_os("BERTH_COMPONENTS").map(PathBuf::from);
    let path = folder.unwrap_or_default().join(name).with_extension("wasm");
    assert!(
        path.is_file(),
        "the component {} is missing. Run `cargo xtask setup`, and the tests by `cargo xtask test`, \
         which sets BERTH_COMPONENTS.",
        path.display()
    );
    path
}

/// The sandbox, which all tests of a process share.
#[must_use]
pub fn sandbox() -> Arc<Runtime> {
    static SANDBOX: LazyLock<Arc<Runtime>> = LazyLock::new(|| Arc::new(Runtime::new(&Settings::default()).unwrap()));
    Arc::clone(&SANDBOX)
}

/// Compiles the plugin of all documents, once, and keeps it: else each test's host would compile it anew, and take it along
/// when it ends.
pub async fn keep_declarative() {
    static KEPT: LazyLock<Arc<Plugin>> = LazyLock::new(|| sandbox().load(DECLARATIVE).unwrap());
    tokio::task::spawn_blocking(|| LazyLock::force(&KEPT)).await.unwrap();
}

/// Keeps the plugins that most tests use compiled.
static COMPILED: LazyLock<Vec<Arc<Plugin>>> = LazyLock::new(|| {
    let landing_zone = std::fs::read(component("landing-zone")).unwrap();
    [DECLARATIVE, &landing_zone]
        .map(|bytes| sandbox().load(bytes).unwrap())
        .into()
});

/// Compiles those plugins, once.
pub(crate) async fn compile() {
    tokio::task::spawn_blocking(|| LazyLock::force(&COMPILED))
        .await
        .unwrap();
}

/// A control plane, for all tests or for one.
#[derive(Debug)]
pub enum Plane {
    /// Of all tests of this process.
    Shared(&'static ControlPlane),
    /// Of one test, which may stop it.
    Own(Box<ControlPlane>),
}

impl Deref for Plane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match self {
            Self::Shared(plane) => plane,
            Self::Own(plane) => plane,
        }
    }
}

/// See the module.
pub struct Stage {
    /// Kubernetes.
    pub plane: Plane,
    /// The HyperFleet API's server.
    pub server: Server,
    /// What the HyperFleet API knows.
    pub simulation: Arc<Simulation>,
    /// The namespace of this stage's adapters.
    pub namespace: String,
    /// The host's way to Kubernetes.
    kubeconfig: PathBuf,
    documents: Mutex<Vec<Loaded>>,
    http: reqwest::Client,
    running: Mutex<Option<(Arc<Host>, SocketAddr)>>,
}

impl Stage {
    /// Starts a host for these documents; their service accounts may do everything in the
    /// stage's namespace.
    pub async fn set(documents: &[&str]) -> Self {
        Self::set_with(Plane::Shared(ControlPlane::shared().await), documents, &everything()).await
    }

    /// The same with a way to Kubernetes of its own, which the test can cut.
    pub async fn set_behind_gate(documents: &[&str]) -> (Self, Gate) {
        let plane = ControlPlane::shared().await;
        let gate = plane.gate(User::Berth).unwrap();
        let stage = Self::set_by(Plane::Shared(plane), documents, &everything(), gate.kubeconfig()).await;
        (stage, gate)
    }

    /// The same on a control plane of the test's choice, with other rights.
    pub async fn set_with(plane: Plane, documents: &[&str], rights: &Value) -> Self {
        let kubeconfig = plane.kubeconfig(User::Berth);
        Self::set_by(plane, documents, rights, kubeconfig).await
    }

    async fn set_by(plane: Plane, documents: &[&str], rights: &Value, kubeconfig: PathBuf) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let namespace = format!("stage-{}", &id[..8]);
        let documents: Vec<Loaded> = documents.iter().map(|text| read(text, &namespace)).collect();
        plane.namespace(&namespace).await.unwrap();
        let takes = |kind: &str| -> Vec<&str> {
            let of_kind = documents
                .iter()
                .filter(|one| one.adapter.subjects.iter().any(|subject| subject == kind));
            of_kind.map(|one| one.adapter.name.as_str()).collect()
        };
        let state = FleetState::new(&takes("Cluster"), &takes("NodePool"));
        let simulation = Simulation::new(state, Arc::new(SystemClock::new()));
        let server = Server::spawn(Arc::clone(&simulation)).await.unwrap();
        for document in &documents {
            let account = &document.adapter.service_account;
            plane
                .service_account(&namespace, account, rights.clone())
                .await
                .unwrap();
        }
        let quota = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "landing-zone-quota"},
            "data": {"europe-west1": "10", "europe-west4": "0"},
        });
        plane
            .create(&format!("/api/v1/namespaces/{namespace}/configmaps"), &quota)
            .await
            .unwrap();
        let stage = Self {
            plane,
            server,
            simulation,
            namespace,
            kubeconfig,
            documents: Mutex::new(documents),
            // Made after the client of the API, which chooses the provider of TLS.
            http: client(),
            running: Mutex::default(),
        };
        stage.start_host().await;
        stage
    }

    /// Starts a host, as a new process would: nothing is known to it but its documents.
    pub async fn start_host(&self) {
        let started = self.another_host().await;
        *self.running.lock().unwrap() = Some(started);
    }

    /// Has the next host that starts read these documents, of the same service accounts.
    pub fn replace_documents(&self, documents: &[&str]) {
        *self.documents.lock().unwrap() = documents.iter().map(|text| read(text, &self.namespace)).collect();
    }

    /// Starts a further host beside the one that events are published to. Answers with where
    /// it receives events.
    pub async fn another_host(&self) -> (Arc<Host>, SocketAddr) {
        compile().await;
        let settings = fleet::Settings {
            // The machine of a test may be busy.
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(5),
            ..fleet::Settings::new(self.server.url())
        };
        let cluster = cluster::Kubernetes::connect(cluster::Settings {
            kubeconfig: Some(self.kubeconfig.clone()),
            ..cluster::Settings::default()
        });
        let world = World {
            fleet: Arc::new(fleet::Client::new(&settings).unwrap()),
            cluster: cluster.await.unwrap(),
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
        let documents = self.documents.lock().unwrap().clone();
        let (host, problems) = Host::start(parts, &documents).await;
        assert!(problems.is_empty(), "{problems:?}");
        let router = host.events(source::http::Settings::default());
        let (address, _) = host.listen(([127, 0, 0, 1], 0).into(), router).await.unwrap();
        (host, address)
    }

    /// Stops the host in an orderly way.
    pub async fn stop_host(&self) {
        let running = self.running.lock().unwrap().take();
        running.expect("a host runs").0.stop().await;
    }

    /// Creates a cluster and publishes it. Answers with its path.
    pub async fn cluster(&self, spec: Value) -> String {
        let path = self.create(Kind::Cluster, None, &spec);
        self.publish(&path).await;
        path
    }

    /// Creates a nodepool of a cluster and publishes it. Answers with its path.
    pub async fn nodepool(&self, cluster: &str, spec: Value) -> String {
        let path = self.create(Kind::NodePool, Some(cluster), &spec);
        self.publish(&path).await;
        path
    }

    /// Creates a resource and tells nobody. Answers with its path.
    pub fn create(&self, kind: Kind, owner: Option<&str>, spec: &Value) -> String {
        let name = format!("n{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let created = self
            .simulation
            .with(|state, now| state.create(now, kind, owner, &name, spec));
        created.unwrap()["href"].as_str().unwrap().to_owned()
    }

    /// Changes a resource's spec, which gives it a new generation, and publishes it.
    pub async fn change(&self, path: &str, spec: Value) {
        let change = json!({"spec": spec});
        self.simulation
            .with(|state, now| state.patch(now, path, &change))
            .unwrap();
        self.publish(path).await;
    }

    /// Begins to delete a resource and publishes it and what it owns.
    pub async fn delete(&self, path: &str) {
        self.simulation.with(|state, now| state.delete(now, path)).unwrap();
        self.publish(path).await;
    }

    /// What Sentinel would publish now, were everything due.
    #[must_use]
    pub fn events(&self, path: &str) -> Vec<Value> {
        let always = SignedDuration::from_secs(-1);
        let mut events = self.simulation.sentinel(Cadence {
            reconciled: always,
            unreconciled: always,
        });
        events.retain(|event| {
            event["data"]["href"]
                .as_str()
                .is_some_and(|href| href.starts_with(path))
        });
        events
    }

    /// Publishes a resource and what it owns without waiting for what comes of it.
    pub async fn publish(&self, path: &str) {
        for event in self.events(path) {
            let sending = self.post(&event);
            tokio::spawn(sending);
        }
    }

    /// Publishes a resource and what it owns, again and again until the host has settled it.
    pub async fn settle(&self, path: &str) {
        let events = self.events(path);
        assert!(!events.is_empty(), "{path} does not exist");
        let end = Instant::now() + PATIENCE;
        join_all(events.iter().map(|event| async move {
            while self.post(event).await != 204 {
                assert!(Instant::now() < end, "the host does not settle {event}");
            }
        }))
        .await;
    }

    /// Publishes a resource again and again until it is gone, as Sentinel does.
    pub async fn settle_until_gone(&self, path: &str) {
        let end = Instant::now() + PATIENCE;
        while self.get(path).await.0 != 404 {
            let (_, rows) = self.get(&format!("{path}/statuses")).await;
            assert!(Instant::now() < end, "{path} stays; its statuses are {rows:#}");
            join_all(self.events(path).iter().map(|event| self.post(event))).await;
        }
    }

    /// POSTs an event. Answers with the HTTP status, 0 without any.
    pub fn post(&self, event: &Value) -> impl Future<Output = u16> + Send + 'static {
        let address = self.running.lock().unwrap().as_ref().expect("a host runs").1;
        self.post_to(address, event)
    }

    /// POSTs an event to a host. Answers with the HTTP status, 0 without any.
    pub fn post_to(&self, host: SocketAddr, event: &Value) -> impl Future<Output = u16> + Send + 'static {
        let request = self
            .http
            .post(format!("http://{host}/events"))
            .header("content-type", "application/cloudevents+json")
            .body(event.to_string());
        async move { request.send().await.map_or(0, |response| response.status().as_u16()) }
    }

    /// GETs a path of the HyperFleet API: status and body.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let url = self.server.url().join(path).unwrap();
        let response = self.http.get(url).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    /// An adapter's row for a resource.
    pub async fn row(&self, path: &str, adapter: &str) -> Option<Row> {
        let (_, body) = self.get(&format!("{path}/statuses")).await;
        let rows = body["items"].as_array()?;
        rows.iter().find(|row| row["adapter"] == adapter).cloned().map(Row)
    }

    /// Waits until an adapter's row is as described.
    pub async fn sees(&self, path: &str, adapter: &str, wanted: &Wanted) -> Row {
        let end = Instant::now() + PATIENCE;
        loop {
            let row = self.row(path, adapter).await;
            match row {
                Some(row) if wanted.fits(&row) => return row,
                row if Instant::now() > end => self.waited_in_vain(adapter, wanted, row).await,
                Some(_) | None => tokio::time::sleep(Duration::from_millis(30)).await,
            }
        }
    }

    /// Publishes again and again, as Sentinel does, until an adapter's row is as described.
    pub async fn comes_to_see(&self, path: &str, adapter: &str, wanted: &Wanted) -> Row {
        let end = Instant::now() + PATIENCE;
        loop {
            // An event that is not settled comes again too.
            join_all(self.events(path).iter().map(|event| self.post(event))).await;
            match self.row(path, adapter).await {
                Some(row) if wanted.fits(&row) => return row,
                row if Instant::now() >= end => self.waited_in_vain(adapter, wanted, row).await,
                Some(_) | None => {}
            }
        }
    }

    /// Fails, and tells what there is in the place of what is wanted.
    async fn waited_in_vain(&self, adapter: &str, wanted: &Wanted, row: Option<Row>) -> ! {
        let found = row.map_or_else(|| "none".to_owned(), |row| row.tell());
        let objects = self.tell_objects().await;
        panic!("{adapter} does not come to report {wanted:?}; its row is\n{found}\n{objects}");
    }

    /// Waits until a resource is gone from the HyperFleet API.
    pub async fn is_gone(&self, path: &str) {
        let end = Instant::now() + PATIENCE;
        while self.get(path).await.0 != 404 {
            let (_, rows) = self.get(&format!("{path}/statuses")).await;
            assert!(Instant::now() < end, "{path} stays; its statuses are {rows:#}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Lets a service account of the stage do everything in every namespace.
    pub async fn may_do_everything_everywhere(&self, account: &str) {
        let rbac = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("{}-{account}", self.namespace)},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}],
        });
        self.plane.create(rbac, &binding).await.unwrap();
    }

    /// The path of a collection in the stage's namespace: `jobs`, `pods`, `configmaps`.
    #[must_use]
    pub fn collection(&self, plural: &str) -> String {
        let group = match plural {
            "jobs" => "apis/batch/v1",
            "deployments" | "statefulsets" | "daemonsets" => "apis/apps/v1",
            _ => "api/v1",
        };
        format!("/{group}/namespaces/{}/{plural}", self.namespace)
    }

    /// The objects of a collection that carry berth's labels.
    pub async fn ours(&self, plural: &str) -> Vec<Value> {
        let label = berth_engine::manifest::LABEL_ADAPTER;
        let path = format!("{}?labelSelector={label}", self.collection(plural));
        let list = self.plane.get(&path).await.unwrap().unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// What Kubernetes says of our objects and of all pods, for whoever looks for a cause.
    async fn tell_objects(&self) -> String {
        let mut lines = Vec::new();
        for plural in ["jobs", "deployments", "statefulsets", "daemonsets", "pods", "events"] {
            let found = self.plane.get(&self.collection(plural)).await;
            let objects = found.ok().flatten().unwrap_or_default();
            for object in objects["items"].as_array().into_iter().flatten() {
                let says = object.get("status").unwrap_or(&object["message"]);
                let name = object.pointer("/metadata/name").and_then(Value::as_str);
                lines.push(format!("{plural} {}: {says}", name.unwrap_or_default()));
            }
        }
        lines.join("\n")
    }

    /// The only object of ours in a collection, once there is exactly one that fulfils the condition.
    pub async fn only(&self, plural: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let objects = self.ours(plural).await;
            match objects.as_slice() {
                [object] if condition(object) => return object.clone(),
                _ => assert!(
                    Instant::now() < end,
                    "not the one among {plural} that is awaited: {objects:#?}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until there is no object of ours in a collection.
    pub async fn has_none(&self, plural: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.ours(plural).await.is_empty() {
            assert!(Instant::now() < end, "there still are {plural}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Lets hanging pods end well: the fake kubelet reads another fate.
    pub async fn let_pods_end(&self) {
        self.let_pods("ok").await;
    }

    /// Gives the pods that are there another fate.
    pub async fn let_pods(&self, outcome: &str) {
        let pods = self.plane.get(&self.collection("pods")).await.unwrap().unwrap();
        for pod in pods["items"].as_array().unwrap() {
            let path = format!(
                "{}/{}",
                self.collection("pods"),
                pod["metadata"]["name"].as_str().unwrap()
            );
            let patch = json!({"metadata": {"annotations": {"test/outcome": outcome}}});
            self.plane.patch(&path, &patch).await.unwrap();
        }
    }
}

/// Waits until something holds.
///
/// # Panics
/// When that takes too long.
pub async fn awaited<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A row of `/statuses`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Value);

impl Row {
    /// A condition's field.
    #[must_use]
    pub fn of(&self, condition: &str, field: &str) -> &str {
        let conditions = self.0["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = conditions.iter().find(|one| one["type"] == condition);
        found.and_then(|one| one[field].as_str()).unwrap_or_default()
    }

    /// Applied, Available, Health.
    #[must_use]
    pub fn case(&self) -> String {
        ["Applied", "Available", "Health"]
            .map(|kind| self.of(kind, "status"))
            .join(" ")
    }

    /// The generation that it is about.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0["observed_generation"].as_u64().unwrap_or_default()
    }

    /// For people.
    #[must_use]
    pub fn tell(&self) -> String {
        let mut told = format!("generation {}", self.generation());
        for condition in self.0["conditions"].as_array().into_iter().flatten() {
            let field = |name: &str| condition[name].as_str().unwrap_or_default();
            let (kind, status, reason, message) = (field("type"), field("status"), field("reason"), field("message"));
            told.push_str(&format!("\n  {kind}={status} {reason}: {message}"));
        }
        told
    }
}

/// Which row is waited for.
#[derive(Debug, Clone)]
pub struct Wanted {
    generation: u64,
    case: &'static str,
    reason: &'static str,
    says: String,
}

impl Wanted {
    fn at(generation: u64, journey: Case, case: &'static str, reason: &'static str, says: &str) -> Self {
        if let Some(reason) = Reason::named(reason) {
            assert!(
                reason.cases().contains(&journey),
                "{reason} does not say that it is told in {}",
                journey.name()
            );
        }
        Self {
            generation,
            case,
            reason,
            says: says.to_owned(),
        }
    }

    /// The same, with a message that contains this.
    #[must_use]
    pub fn saying(self, says: &str) -> Self {
        Self {
            says: says.to_owned(),
            ..self
        }
    }

    /// Whether a row is as described. Whoever has to act is told what to do, always.
    #[must_use]
    pub fn fits(&self, row: &Row) -> bool {
        // After success an outage shows on Health alone.
        let on = if self.case == "True True False" {
            "Health"
        } else {
            "Available"
        };
        row.generation() == self.generation
            && row.case() == self.case
            && (self.reason.is_empty() || row.of(on, "reason") == self.reason)
            && row.of(on, "message").contains(&self.says)
            && (!self.advises() || advises(row.of(on, "reason"), row.of(on, "message")))
    }

    /// Whether it is A4, A5 or A6, of which somebody must do something.
    fn advises(&self) -> bool {
        matches!(self.case, "False False False" | "True False True" | "True True False")
    }
}

/// Whether a message ends with what berth says is to be done about its reason, if it is one of berth's.
fn advises(reason: &str, message: &str) -> bool {
    let remediation = Reason::named(reason).map_or("", Reason::remediation);
    message.ends_with(remediation)
}

/// A1: objects exist, work goes on.
#[must_use]
pub fn a1(generation: u64) -> Wanted {
    Wanted::at(generation, Case::A1, "True False True", "WorkloadInProgress", "")
}

/// Still A1 after this generation had succeeded: what was available is not any more.
#[must_use]
pub fn degraded(generation: u64) -> Wanted {
    Wanted::at(generation, Case::A1, "True False True", "WorkloadDegraded", "")
}

/// A2: the work is done.
#[must_use]
pub fn a2(generation: u64) -> Wanted {
    Wanted::at(generation, Case::A2, "True True True", "PostconditionsMet", "")
}

/// A3: something is awaited.
#[must_use]
pub fn a3(generation: u64, reason: &'static str, says: &str) -> Wanted {
    Wanted::at(
        generation,
        Case::A3,
        "False False True",
        reason,
        &format!("Waiting for dependencies to be met: {says}"),
    )
}

/// A4: the objects cannot be created.
#[must_use]
pub fn a4(generation: u64, reason: &'static str, says: &str) -> Wanted {
    Wanted::at(generation, Case::A4, "False False False", reason, says)
}

/// Being deleted, and something is in the way.
#[must_use]
pub fn deletion_failed(generation: u64, reason: &'static str) -> Wanted {
    // It has the reason that it has in life.
    let journey = Reason::named(reason).map_or(Case::Deleting, |reason| reason.cases()[0]);
    Wanted::at(generation, journey, "True False False", reason, "")
}

/// A5: the work failed.
#[must_use]
pub fn a5(generation: u64, reason: &'static str, says: &str) -> Wanted {
    Wanted::at(generation, Case::A5, "True False True", reason, says)
}

/// A6: an API cannot be reached.
#[must_use]
pub fn a6(generation: u64, reason: &'static str) -> Wanted {
    Wanted::at(generation, Case::A6, "False False False", reason, "")
}

/// A6 after the generation had succeeded.
#[must_use]
pub fn a6_after_success(generation: u64, reason: &'static str) -> Wanted {
    Wanted::at(generation, Case::A6, "True True False", reason, "")
}

/// Not this adapter's.
#[must_use]
pub fn not_applicable(generation: u64, says: &str) -> Wanted {
    Wanted::at(
        generation,
        Case::NotApplicable,
        "False False True",
        "NotApplicable",
        says,
    )
}

/// A cluster whose landing zone's Job goes like this.
#[must_use]
pub fn spec(outcome: &str) -> Value {
    json!({"provider": "gcp", "region": "europe-west1", "jobAnnotations": {"test/outcome": outcome}})
}

fn read(text: &str, namespace: &str) -> Loaded {
    let caps = Limits {
        deadline: Duration::from_secs(60),
        fuel: 10_000_000_000,
        memory: 1 << 30,
        ..Limits::default()
    };
    load(&text.replace("hyperfleet-adapters", namespace), &caps)
}

/// Loads a document without retries, whose plugins may take as long as `caps` says.
pub(crate) fn load(text: &str, caps: &Limits) -> Loaded {
    let text = text.replace("retries: 1", "retries: 0");
    let mut loaded = document::parse(&component("landing-zone"), &text, caps)
        .strict()
        .unwrap();
    assert_eq!(loaded.len(), 1, "one document");
    let mut loaded = loaded.remove(0);
    for plugin in loaded.adapter.plugins.values_mut() {
        // The machine of a test may be busy; limits have tests of their own.
        plugin.limits.deadline = caps.deadline;
    }
    loaded
}

/// Retries that a test can wait for.
#[must_use]
pub fn quick() -> Rhythms {
    let rhythm = Rhythm {
        first: Duration::from_millis(200),
        longest: Duration::from_millis(500),
    };
    Rhythms {
        dependencies: rhythm,
        trouble: rhythm,
        retry: rhythm,
    }
}

/// A client for sockets of this machine; it waits longer than the host takes to answer.
#[must_use]
pub fn client() -> reqwest::Client {
    // It makes the provider of TLS known, without which no client can be made.
    drop(web::Client::new());
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}
