//! What is around the hosts, and what users and Sentinel do there.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use berth::{
    fleet::SystemClock,
    simulate::fleet::{Cadence, Fault as FleetFault, FleetState, Kind, Server, Simulation},
};
use berth_engine::manifest::{ANNOTATION_GENERATION, LABEL_ADAPTER, LABEL_SUBJECT_ID};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::Mutex, task::JoinHandle, time::Instant};

use super::{
    PATIENCE,
    host::{Common, Gates, Host},
    plan::{Fates, Fault, HOSTS},
    sentinel::Sentinel,
    verdict::{Seen, Subject},
};
use crate::{
    control_plane::{ControlPlane, Gate, User, everything},
    rabbitmq::RabbitMq,
};

/// The namespace of the adapter's objects.
const NAMESPACE: &str = "work";
/// The namespace of the Leases, as it is deployed.
const LEASES: &str = "berth";
const TOPIC: &str = "clusters";
const DEPLOYED: &str = include_str!("../../../deploy/berth.yaml");

/// One Job a generation: with a name of its own, or in the place of the one before, as the
/// subject says.
const ADAPTER: &str = r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: validation}
spec:
  subjects: [Cluster]
  namespace: work
  serviceAccount: validation
  permits: [{apiVersion: batch/v1, kind: Job}]
  resources:
    - name: validate
      manifest:
        apiVersion: batch/v1
        kind: Job
        metadata: {name: "{{ .subject.spec.job }}"}
        spec:
          backoffLimit: 0
          template:
            spec:
              restartPolicy: Never
              containers:
                - name: validate
                  image: registry.example.com/validator:1
                  args: ["--revision={{ .subject.spec.revision }}"]
  postconditions:
    - name: validated
      expression: 'objects.validate.status.succeeded > 0'
      message: the request is being validated
      failed:
        expression: 'objects.validate.status.failed > 0'
        reason: ValidationFailed
        message: it failed
"#;

/// What faults happen to.
#[derive(Debug)]
pub struct Around {
    /// Kubernetes.
    pub plane: ControlPlane,
    /// The broker.
    pub broker: RabbitMq,
    /// What the HyperFleet API knows.
    pub simulation: Arc<Simulation>,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Held while the broker is away.
    broker_away: Mutex<()>,
    /// Held while the API server and the controllers are away.
    control_plane_away: Mutex<()>,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    /// What faults happen to.
    pub around: Arc<Around>,
    subjects: BTreeMap<u32, Known>,
    /// Subjects that were gone when the run went on, and so were not made anew.
    gone: Vec<u32>,
    sentinel: Sentinel,
    supervisor: JoinHandle<Result<()>>,
    folder: Option<TempDir>,
    _server: Server,
}

#[derive(Debug, Clone)]
struct Known {
    id: String,
    href: String,
    generation: u64,
}

impl World {
    /// Starts all of it.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("berth-kill-").tempdir()?;
        let (plane, broker) = tokio::join!(ControlPlane::start(), RabbitMq::start(None));
        let plane = plane?;
        plane.namespace(NAMESPACE).await?;
        plane.service_account(NAMESPACE, "validation", everything()).await?;
        lease_rights(&plane).await?;
        let simulation = Simulation::new(FleetState::new(&["validation"], &[]), Arc::new(SystemClock::new()));
        let server = Server::spawn(Arc::clone(&simulation)).await?;
        let sentinel = Sentinel::new(&broker, TOPIC).await;
        let adapters = folder.path().join("adapters");
        std::fs::create_dir(&adapters)?;
        std::fs::write(adapters.join("validation.yaml"), ADAPTER)?;
        let common = Common {
            folder: folder.path().to_owned(),
            topic: TOPIC.to_owned(),
            leases: Some(LEASES.to_owned()),
            further: Value::Null,
        };
        let mut hosts = Vec::new();
        for number in 0..HOSTS {
            let mut url: url::Url = broker.url().parse()?;
            let gates = Gates {
                broker: Gate::to(url.port().context("the broker has a port")?),
                kubernetes: plane.gate(User::Berth)?,
                fleet: Gate::to(server.address().port()),
            };
            let moved = url.set_port(Some(gates.broker.port()));
            ensure!(moved.is_ok(), "the broker's URL takes no port");
            hosts.push(Host::new(number, common.clone(), gates, url.as_str())?);
        }
        let around = Arc::new(Around {
            plane,
            broker,
            simulation,
            hosts,
            broker_away: Mutex::default(),
            control_plane_away: Mutex::default(),
        });
        let supervised = Arc::clone(&around);
        let supervisor = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(500)).await;
                for host in &supervised.hosts {
                    host.look_after()?;
                }
            }
        });
        let world = Self {
            around,
            subjects: BTreeMap::new(),
            gone: Vec::new(),
            sentinel,
            supervisor,
            folder: Some(folder),
            _server: server,
        };
        // The first one compiles the plugin for all.
        world.around.hosts[0].start().await?;
        world.consumers(1).await?;
        world.around.start().await?;
        Ok(world)
    }

    /// Makes the subjects that an earlier part of a run left, as they were, and publishes them.
    ///
    /// # Errors
    /// When one cannot be made.
    pub async fn begin_with(&mut self, fates: &Fates) -> Result<()> {
        let deleted = fates.iter().filter(|(_, fate)| fate.deleted);
        self.gone = deleted.map(|(number, _)| *number).collect();
        for (number, fate) in fates.iter().filter(|(_, fate)| !fate.deleted) {
            self.make(*number)?;
            for _ in 0..fate.changes {
                self.alter(*number)?;
            }
            self.publish(*number, false).await?;
        }
        Ok(())
    }

    /// Creates a subject and publishes it.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn create(&mut self, number: u32) -> Result<()> {
        self.make(number)?;
        self.publish(number, false).await
    }

    /// Gives a subject its next generation and publishes it.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn change(&mut self, number: u32) -> Result<()> {
        self.alter(number)?;
        self.publish(number, false).await
    }

    /// Begins to delete a subject and publishes it.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn delete(&mut self, number: u32) -> Result<()> {
        let href = self.known(number)?.href.clone();
        let deleted = self.around.simulation.with(|state, now| state.delete(now, &href));
        self.take(number, deleted)?;
        self.publish(number, false).await
    }

    /// Publishes a subject once more; `late`: as it was at first.
    ///
    /// # Errors
    /// When the broker stays away.
    pub async fn again(&mut self, number: u32, late: bool) -> Result<()> {
        // Subjects that were gone when a run went on were not made anew.
        if self.subjects.contains_key(&number) {
            self.publish(number, late).await?;
        }
        Ok(())
    }

    /// Publishes what a poll of Sentinel finds due. Answers with how many events that were.
    ///
    /// # Errors
    /// When the broker stays away.
    pub async fn poll(&mut self) -> Result<u64> {
        let due = self.around.simulation.sentinel(Cadence::default());
        for event in &due {
            self.sentinel.publish(&self.around.broker, event).await?;
        }
        Ok(due.len() as u64)
    }

    /// What users see; with their Jobs or without.
    ///
    /// # Errors
    /// When Kubernetes does not answer.
    pub async fn seen(&mut self, with_jobs: bool) -> Result<Seen> {
        // It grows otherwise.
        drop(self.around.simulation.take_requests());
        let gone = Subject {
            gone: true,
            ..Subject::default()
        };
        let mut seen: Seen = self.gone.iter().map(|number| (*number, gone.clone())).collect();
        let mut numbers = BTreeMap::new();
        for (number, known) in &self.subjects {
            numbers.insert(known.id.as_str(), *number);
            let (status, body) = self.look(&format!("{}/statuses", known.href));
            let row = &body["items"][0];
            let condition = |kind: &str| {
                let all = row["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
                let one = all.iter().find(|one| one["type"] == kind);
                one.and_then(|one| one["status"].as_str()).unwrap_or("-").to_owned()
            };
            let subject = Subject {
                gone: status == 404,
                reported: row["observed_generation"].as_u64(),
                case: ["Applied", "Available", "Health"].map(condition).join(" "),
                jobs: Vec::new(),
            };
            seen.insert(*number, subject);
        }
        if with_jobs {
            let path = format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs?labelSelector={LABEL_ADAPTER}");
            let jobs = self.around.plane.get(&path).await?.context("there are Jobs")?;
            for job in jobs["items"].as_array().into_iter().flatten() {
                let metadata = &job["metadata"];
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let name = text(&metadata["name"]);
                let Some(number) = numbers.get(text(&metadata["labels"][LABEL_SUBJECT_ID]).as_str()) else {
                    bail!("the Job {name} is of no subject");
                };
                let generation = text(&metadata["annotations"][ANNOTATION_GENERATION]).parse()?;
                let succeeded = job["status"]["succeeded"].as_u64().unwrap_or_default();
                let jobs = &mut seen.entry(*number).or_default().jobs;
                jobs.push((name, generation, succeeded));
            }
        }
        Ok(seen)
    }

    /// Stops all hosts when nothing waits any more, neither in the queue nor in a host: what a
    /// host holds goes back to the queue when it stops.
    ///
    /// # Errors
    /// When something waits for ever.
    pub async fn drained(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.ready(0).await?;
            for host in &self.around.hosts {
                host.stop().await?;
            }
            self.consumers(0).await?;
            let (waiting, _) = self.sentinel.depth(&self.around.broker).await?;
            if waiting == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{waiting} messages wait for ever");
            self.around.start().await?;
            self.consumers(HOSTS).await?;
        }
    }

    /// How often hosts ended by themselves since this was asked last.
    pub fn take_ended(&self) -> u64 {
        self.around.hosts.iter().map(|host| u64::from(host.take_ended())).sum()
    }

    /// Keeps the files and the control plane's logs for whoever wants to know. Answers with where they are.
    pub fn keep(&mut self) -> String {
        let folder = self.folder.take().map(TempDir::keep).unwrap_or_default();
        match self.around.plane.keep_logs(&folder) {
            Ok(()) => folder.display().to_string(),
            Err(error) => format!("{} without those of the control plane: {error:#}", folder.display()),
        }
    }

    /// What Kubernetes made of the Jobs that have not succeeded: their state, that of their pods, and the
    /// Events about both.
    pub async fn unfinished_jobs(&self) -> String {
        let list = async |path: &str| {
            let list = self.around.plane.get(path).await.ok().flatten().unwrap_or_default();
            list["items"].as_array().cloned().unwrap_or_default()
        };
        let jobs = list(&format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs")).await;
        let pods = list(&format!("/api/v1/namespaces/{NAMESPACE}/pods")).await;
        let events = list(&format!("/api/v1/namespaces/{NAMESPACE}/events")).await;
        let mut text = String::new();
        let unfinished = jobs.iter().filter(|job| job["status"]["succeeded"].as_u64() < Some(1));
        for job in unfinished.take(3) {
            let name = job["metadata"]["name"].as_str().unwrap_or_default();
            let metadata = |key: &str| &job["metadata"][key];
            let (created, deleted) = (metadata("creationTimestamp"), metadata("deletionTimestamp"));
            let (held, status) = (metadata("finalizers"), &job["status"]);
            let _ = writeln!(
                text,
                "Job {name}, created {created}, deleted {deleted}, held by {held}: {status}"
            );
            let begins_so = |other: &&Value, place: &str| {
                let found = other.pointer(place).and_then(Value::as_str);
                found.is_some_and(|found| found == name || found.starts_with(&format!("{name}-")))
            };
            for pod in pods.iter().filter(|pod| begins_so(pod, "/metadata/name")) {
                let _ = writeln!(text, "  Pod {}: {}", pod["metadata"], pod["status"]);
            }
            for event in events.iter().filter(|event| begins_so(event, "/involvedObject/name")) {
                let _ = writeln!(
                    text,
                    "  {} {}: {}",
                    event["lastTimestamp"], event["reason"], event["message"]
                );
            }
        }
        text
    }

    async fn consumers(&self, wanted: usize) -> Result<()> {
        self.comes_to("consumers", |(_, consumers)| consumers as usize == wanted)
            .await
    }

    async fn ready(&self, wanted: u32) -> Result<()> {
        self.comes_to("messages", |(waiting, _)| waiting == wanted).await
    }

    async fn comes_to(&self, what: &str, is: impl Fn((u32, u32)) -> bool) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let depth = self.sentinel.depth(&self.around.broker).await;
            if depth.as_ref().is_ok_and(|depth| is(*depth)) {
                return Ok(());
            }
            ensure!(
                Instant::now() < end,
                "the queue does not come to the {what} awaited: {depth:?}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn make(&mut self, number: u32) -> Result<()> {
        let spec = spec(number, 1);
        let created = self.around.simulation.with(|state, now| {
            let name = format!("subject-{number}");
            state.create(now, Kind::Cluster, None, &name, &spec)
        });
        self.take(number, created)
    }

    fn alter(&mut self, number: u32) -> Result<()> {
        let known = self.known(number)?.clone();
        let change = json!({"spec": spec(number, known.generation + 1)});
        let changed = self
            .around
            .simulation
            .with(|state, now| state.patch(now, &known.href, &change));
        self.take(number, changed)
    }

    fn take<E: std::fmt::Debug>(&mut self, number: u32, resource: Result<Value, E>) -> Result<()> {
        let Ok(resource) = resource else {
            bail!("the HyperFleet API refuses: {resource:?}");
        };
        let text = |name: &str| resource[name].as_str().unwrap_or_default().to_owned();
        let known = Known {
            id: text("id"),
            href: text("href"),
            generation: resource["generation"].as_u64().context("it has a generation")?,
        };
        self.subjects.insert(number, known);
        Ok(())
    }

    fn known(&self, number: u32) -> Result<&Known> {
        self.subjects
            .get(&number)
            .with_context(|| format!("subject {number} is not there"))
    }

    async fn publish(&mut self, number: u32, late: bool) -> Result<()> {
        let known = self.known(number)?;
        let event = json!({
            "specversion": "1.0", "id": uuid::Uuid::now_v7().to_string(), "source": "hyperfleet-sentinel",
            "type": "com.redhat.hyperfleet.cluster.reconcile", "datacontenttype": "application/json",
            "data": {
                "id": known.id, "kind": "Cluster", "href": known.href,
                "generation": if late { 1 } else { known.generation },
            },
        });
        self.sentinel.publish(&self.around.broker, &event).await
    }

    fn look(&self, path: &str) -> (u16, Value) {
        let answer = self
            .around
            .simulation
            .with(|state, now| state.handle(now, "GET", path, None, b""));
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Around {
    /// Starts all hosts that do not run.
    ///
    /// # Errors
    /// When one cannot be started.
    pub async fn start(&self) -> Result<()> {
        for host in &self.hosts {
            host.start().await?;
        }
        Ok(())
    }

    /// Lets a fault happen, until it is over.
    ///
    /// # Errors
    /// When what was broken does not come back.
    pub async fn suffer(&self, fault: &Fault) -> Result<()> {
        match fault {
            Fault::Kill {
                host,
                after,
                away,
                replaced,
            } => {
                tokio::time::sleep(*after).await;
                self.hosts[*host].kill(*away, *replaced).await?;
            }
            Fault::Broker(away) => {
                let _away = self.broker_away.lock().await;
                self.broker.kill();
                tokio::time::sleep(*away).await;
                self.broker.run().await;
            }
            Fault::ControlPlane(away) => {
                // With its controllers: those that outlive it miss what happens until they watch again. A Job that is
                // made anew with the same name meanwhile then stays as it is for minutes (expectations of the old
                // one), or its deletion for ever (the collector takes it for the old one's).
                let _away = self.control_plane_away.lock().await;
                self.plane.stop_machine();
                tokio::time::sleep(*away).await;
                self.plane.start_machine().await?;
            }
            Fault::FleetAway(away) => {
                self.simulation.set_down(true);
                tokio::time::sleep(*away).await;
                self.simulation.set_down(false);
            }
            Fault::FleetSlow(times, by) => self.simulation.inject(&FleetFault::Slow(*by), *times),
            Fault::FleetRefuses(times) => {
                let refusal = FleetFault::Status {
                    status: 503,
                    retry_after: None,
                };
                self.simulation.inject(&refusal, *times);
            }
            Fault::AnswersLost(times) => self.simulation.inject(&FleetFault::AnswerLost, *times),
            Fault::Cut { host, .. } => self.hosts[*host].cut(fault).await,
        }
        Ok(())
    }

    /// Nothing is cut off any more.
    pub fn heal(&self) {
        self.simulation.set_down(false);
        for host in &self.hosts {
            host.heal();
        }
    }
}

/// What a subject's owner wants at a revision: every second one has a Job for each revision, the others have one
/// that is made anew.
fn spec(number: u32, revision: u64) -> Value {
    let job = if number.is_multiple_of(2) {
        format!("validate-{number}")
    } else {
        format!("validate-{number}-{revision}")
    };
    json!({"job": job, "revision": revision})
}

/// Gives berth the rights on Leases that it has where it is deployed, and no others.
async fn lease_rights(plane: &ControlPlane) -> Result<()> {
    plane.namespace(LEASES).await?;
    let root = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{LEASES}");
    let role = DEPLOYED
        .split("\n---\n")
        .find(|document| document.contains("kind: Role\n") && document.contains("name: berth-leases\n"))
        .context("deploy/berth.yaml has no Role berth-leases")?;
    plane.create_yaml(&format!("{root}/roles"), role).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "berth-leases"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "berth-leases"},
        "subjects": [{"kind": "User", "name": "berth", "apiGroup": "rbac.authorization.k8s.io"}],
    });
    plane.create(&format!("{root}/rolebindings"), &binding).await?;
    let right = json!({"namespace": LEASES, "group": "coordination.k8s.io", "resource": "leases", "verb": "update"});
    plane.wait_for_right("berth", &right).await
}

/// Where the long run writes its progress.
#[must_use]
pub fn progress_file() -> PathBuf {
    std::env::var_os("BERTH_KILL_PROGRESS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kill/progress.json"),
        PathBuf::from,
    )
}
