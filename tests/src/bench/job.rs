//! How soon a finished Job is a stored status, on a real control plane.
//!
//! The clock starts when a watch of the benchmark's own sees a Job's Complete condition, and
//! stops when the host has the HyperFleet API's answer that the report with Available=True is
//! stored. The host runs in this process, over the real API server and a HyperFleet API that is
//! simulated behind HTTP. The baseline is the least that anybody could do: the same watch sees
//! Complete, and one PUT is made. Jobs of both kinds take turns, one at a time.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use berth::{
    cluster,
    config::{document, host::HostLimits},
    dispatch::Listener,
    fleet,
    serve::{self, Host, Parts},
    simulate::fleet::{FleetState, Kind, Server, Simulation},
    source,
    telemetry::Metrics,
    web, world,
};
use berth_engine::{
    contract::Truth,
    effect::{Answer, Effect, Reported},
    queue::{Pair, Rhythms},
};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, runtime::watcher};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Baseline, Figure, Samples};
use crate::control_plane::{ControlPlane, User, everything};

const NAMESPACE: &str = "bench";
const ADAPTER: &str = "measured";
const WARM_UP: usize = 5;
const JOBS: usize = 40;
const GOAL: Duration = Duration::from_millis(50);
/// How long one Job is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

const DOCUMENT: &str = r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: measured}
spec:
  subjects: [Cluster]
  namespace: bench
  serviceAccount: measured
  permits: [{apiVersion: batch/v1, kind: Job}]
  preconditions:
    - {name: provider, expression: 'subject.spec.provider == "gcp"', message: only GCP clusters}
  resources:
    - name: work
      manifest:
        apiVersion: batch/v1
        kind: Job
        metadata: {name: "{{ .subject.spec.job }}"}
        spec:
          backoffLimit: 0
          template:
            spec:
              restartPolicy: Never
              containers: [{name: work, image: registry.example.com/work:1}]
  postconditions:
    - {name: done, expression: 'objects.work.status.succeeded > 0', message: the work is under way}
  status:
    data: {jobName: "{{ .objects.work.metadata.name }}"}
"#;

/// Measures.
pub(super) async fn to_status() -> Result<Vec<Figure>> {
    let mut bench = Bench::start().await?;
    let mut ours = Vec::with_capacity(JOBS);
    let mut bare = Vec::with_capacity(JOBS);
    for round in 0..WARM_UP + JOBS {
        let measured = bench.through_the_host(&format!("hosted-{round}")).await?;
        let baseline = bench.by_hand(&format!("bare-{round}")).await?;
        if round >= WARM_UP {
            ours.push(measured);
            bare.push(baseline);
        }
    }
    bench.host.stop().await;
    Ok(vec![Figure {
        name: "job-to-status".to_owned(),
        what: "from a watch event with a Job's Complete condition to the HyperFleet API's answer that Available=True is stored",
        samples: Samples::new(ours)?,
        goal_p50: Some(GOAL),
        goal_p99: None,
        baselines: vec![Baseline {
            what: "a watch event, then one PUT",
            samples: Samples::new(bare)?,
            goal: None,
        }],
    }])
}

struct Bench {
    plane: ControlPlane,
    host: Arc<Host>,
    events: String,
    api: Server,
    hyperfleet: Arc<Simulation>,
    http: reqwest::Client,
    /// Jobs by name, once complete.
    complete: mpsc::UnboundedReceiver<(String, Instant)>,
    /// Paths of subjects, once Available=True was stored.
    stored: mpsc::UnboundedReceiver<(String, Instant)>,
    // The documents; removed at the end.
    _folder: tempfile::TempDir,
}

/// Notes when a report with Available=True was stored.
struct Clerk(mpsc::UnboundedSender<(String, Instant)>);

impl Listener for Clerk {
    fn executed(&self, _: &Pair, effect: &Effect, answer: &Answer) {
        let (Effect::Report { path, report }, Answer::Reported(Ok(Reported::Stored))) = (effect, answer) else {
            return;
        };
        let available = |condition: &berth_engine::contract::Condition| {
            condition.kind == "Available" && condition.status == Truth::True
        };
        if report.conditions.iter().any(available) {
            // Nobody listens once the benchmark ends.
            let _ = self.0.send((path.clone(), Instant::now()));
        }
    }
}

impl Bench {
    async fn start() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        plane.namespace(NAMESPACE).await?;
        plane.service_account(NAMESPACE, ADAPTER, everything()).await?;
        let hyperfleet = Simulation::new(
            FleetState::new(&[ADAPTER, "bare"], &[]),
            Arc::new(fleet::SystemClock::new()),
        );
        let api = Server::spawn(Arc::clone(&hyperfleet)).await?;
        let folder = tempfile::tempdir()?;
        let (tell, stored) = mpsc::unbounded_channel();
        let host = host(&plane, &api, folder.path(), Clerk(tell)).await?;
        let local = ([127, 0, 0, 1], 0).into();
        let (address, _) = host
            .listen(local, host.events(source::http::Settings::default()))
            .await?;
        let complete = watch(&plane).await?;
        Ok(Self {
            plane,
            host,
            events: format!("http://{address}/"),
            api,
            hyperfleet,
            http: reqwest::Client::builder().timeout(PATIENCE).build()?,
            complete,
            stored,
            _folder: folder,
        })
    }

    /// A Job that berth creates and reports on.
    async fn through_the_host(&mut self, job: &str) -> Result<Duration> {
        let subject = self.subject(job)?;
        let path = subject["href"].as_str().context("the subject has no href")?;
        let event = json!({
            "specversion": "1.0", "id": uuid::Uuid::new_v4().to_string(), "source": "bench",
            "type": "com.redhat.hyperfleet.cluster.reconcile", "datacontenttype": "application/json",
            "data": {"id": subject["id"], "kind": "Cluster", "href": path, "generation": subject["generation"]},
        });
        let answer = self
            .http
            .post(&self.events)
            .header("content-type", "application/cloudevents+json")
            .body(event.to_string())
            .send()
            .await?;
        ensure!(
            answer.status().is_success(),
            "the event was not accepted: {}",
            answer.status()
        );
        let complete = at(&mut self.complete, job).await?;
        let stored = at(&mut self.stored, path).await?;
        // The host has a watch of its own, which may be told first.
        Ok(stored.saturating_duration_since(complete))
    }

    /// A Job of ours: watch, then PUT.
    async fn by_hand(&mut self, job: &str) -> Result<Duration> {
        let subject = self.subject(job)?;
        let path = subject["href"].as_str().context("the subject has no href")?;
        let url = self.api.url().join(&format!("{path}/statuses"))?;
        let manifest = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job},
            "spec": {"backoffLimit": 0, "template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "work", "image": "registry.example.com/work:1"}],
            }}},
        });
        self.plane
            .create(&format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs"), &manifest)
            .await?;
        let complete = at(&mut self.complete, job).await?;
        let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Done", "message": "done"});
        let report = json!({
            "adapter": "bare", "observed_generation": subject["generation"],
            "observed_time": Timestamp::now().to_string(),
            "conditions": [condition("Available"), condition("Applied"), condition("Health")],
        });
        let answer = self.http.put(url).json(&report).send().await?;
        let took = complete.elapsed();
        ensure!(
            answer.status().as_u16() == 201,
            "the bare report was answered with {}",
            answer.status()
        );
        Ok(took)
    }

    /// Creates a cluster whose spec names its Job.
    fn subject(&self, job: &str) -> Result<Value> {
        let spec = json!({"provider": "gcp", "region": "europe-west1", "job": job});
        let created = self
            .hyperfleet
            .with(|state, now| state.create(now, Kind::Cluster, None, job, &spec));
        created.map_err(|refusal| {
            anyhow::anyhow!(
                "the simulated API refuses {job}: {}",
                String::from_utf8_lossy(&refusal.body)
            )
        })
    }
}

/// The host as it is in production, but for the listener.
async fn host(plane: &ControlPlane, api: &Server, folder: &Path, clerk: Clerk) -> Result<Arc<Host>> {
    std::fs::write(folder.join("measured.yaml"), DOCUMENT)?;
    let documents = document::load_folder(folder, &HostLimits::default_caps())
        .strict()
        .context("the document is wrong")?;
    let cluster = cluster::Kubernetes::connect(cluster::Settings {
        kubeconfig: Some(plane.kubeconfig(User::Berth)),
        ..cluster::Settings::default()
    })
    .await?;
    let parts = Parts {
        world: world::World {
            fleet: Arc::new(fleet::Client::new(&fleet::Settings::new(api.url()))?),
            cluster,
            web: Arc::new(web::Client::new()?),
        },
        runtime: serve::runtime(None)?,
        metrics: Arc::new(Metrics::new(
            env!("CARGO_PKG_VERSION"),
            berth_runtime::cache::WASMTIME_VERSION,
        )),
        clock: Arc::new(Timestamp::now),
        concurrency: 16,
        rhythms: Rhythms::default(),
        owns: None,
        listener: Arc::new(clerk),
    };
    let (host, problems) = Host::start(parts, &documents).await;
    match problems.first() {
        Some(problem) => bail!("{problem}"),
        None => Ok(host),
    }
}

/// Watches Jobs as anybody can; tells each that is seen complete, with the moment, once or more.
async fn watch(plane: &ControlPlane) -> Result<mpsc::UnboundedReceiver<(String, Instant)>> {
    let jobs: Api<Job> = Api::namespaced(plane.client(User::Admin).await?, NAMESPACE);
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut events = std::pin::pin!(watcher(jobs, watcher::Config::default()));
        // The watcher begins again by itself after an error.
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::Apply(job) | watcher::Event::InitApply(job))) => {
                    let now = Instant::now();
                    if let (true, Some(name)) = (is_complete(&job), job.metadata.name)
                        && tell.send((name, now)).is_err()
                    {
                        return;
                    }
                }
                Ok(Some(watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone)) | Err(_) => {}
                Ok(None) => return,
            }
        }
    });
    Ok(told)
}

fn is_complete(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Complete" && condition.status == "True")
}

/// When this was first told.
async fn at(told: &mut mpsc::UnboundedReceiver<(String, Instant)>, awaited: &str) -> Result<Instant> {
    let found = async {
        loop {
            match told.recv().await {
                Some((name, at)) if name == awaited => return Some(at),
                Some(_) => {}
                None => return None,
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .with_context(|| format!("{awaited} was not told within {PATIENCE:?}"))?
        .with_context(|| format!("nobody tells of {awaited} any more"))
}
