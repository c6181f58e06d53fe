//! Events through a real RabbitMQ, with real Jobs of a real API server, and the HyperFleet API
//! over sockets: how many a second, and how much CPU each takes.
//!
//! The host is the program, built with the same profile, in a process of its own; CPU is that of
//! all its threads. The baseline is another process with the same clients that makes the same
//! calls: it takes a message, GETs subject and statuses, looks at the Job in a watch's store,
//! PUTs a status and acknowledges. Both find all Jobs done. Batches of both take turns.
//!
//! Of very many subjects only a part has Jobs, since each costs the control plane a second;
//! the others are known to the host all the same, as subjects that are not its adapter's.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU16,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    middleware::Next,
    response::Response,
};
use berth::{
    fleet::SystemClock,
    simulate::fleet::{FleetState, Kind, Server, Simulation},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api,
    config::{Config, KubeConfigOptions, Kubeconfig},
    runtime::{reflector, reflector::ObjectRef, watcher},
};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    Baseline, Figure, Finding, Samples, Size,
    child::{self, Found},
};
use crate::{
    control_plane::{ControlPlane, Gate, User, everything},
    kill::host::{Common, Gates, Host},
    rabbitmq::{Client, RabbitMq},
    stage,
};

/// Numbers of adapters and of known subjects.
const CASES: [(usize, usize); 4] = [(1, 1_000), (10, 1_000), (100, 1_000), (1, 100_000)];
/// Subjects with a Job at most.
const WITH_JOB: usize = 1_000;
/// Events that are measured, in batches.
const EVENTS: usize = 10_000;
const BATCHES: usize = 20;
const GOAL: Duration = Duration::from_micros(600);
const FIRST_ADAPTER: u64 = 30 << 20;
const FURTHER_ADAPTER: u64 = 512 << 10;
/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(600);
const PREFETCH: NonZeroU16 = NonZeroU16::new(64).unwrap();

/// The bare loop.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    broker: String,
    queue: String,
    fleet: String,
    kubeconfig: std::path::PathBuf,
    namespace: String,
}

/// Measures; everything so many times smaller.
pub(super) async fn measure(smaller: usize) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut before = None;
    for (adapters, subjects) in CASES {
        let set = Set::new((adapters / smaller).max(1), (subjects / smaller).max(BATCHES)).await?;
        let resident = resident(set.host.process_id().await.context("the host runs")?)?;
        let (mut host, mut bare) = (Taken::default(), Taken::default());
        for number in 0..BATCHES {
            let batch = (EVENTS / smaller / BATCHES).max(1);
            set.batch(number * batch, batch, &set.hosts, &mut host).await?;
            set.batch(number * batch, batch, &set.bares, &mut bare).await?;
        }
        findings.extend(figures(adapters, subjects, host, bare)?);
        let first = *before.get_or_insert(resident);
        let goal = match (adapters, subjects) {
            (1, 1_000) => Some(FIRST_ADAPTER),
            (_, 1_000) => Some(first + (adapters as u64 - 1) * FURTHER_ADAPTER),
            _ => None,
        };
        findings.push(Finding::Size(Size {
            name: format!("events-memory-{adapters}-adapters-{subjects}"),
            what: "resident memory of the program once every subject is known",
            bytes: resident,
            goal,
            baselines: vec![("with one adapter", first)],
        }));
    }
    Ok(findings)
}

fn figures(adapters: usize, subjects: usize, host: Taken, bare: Taken) -> Result<[Finding; 2]> {
    let figure = |name, what, of: Vec<Duration>, bare: Vec<Duration>, goal| {
        let baselines = vec![Baseline {
            what: "the same calls in a bare loop",
            samples: Samples::new(bare)?,
        }];
        Ok::<_, anyhow::Error>(Finding::Time(Figure {
            name: format!("events-{name}-{adapters}-adapters-{subjects}"),
            what,
            samples: Samples::new(of)?,
            goal_p50: goal,
            goal_p99: None,
            baselines,
        }))
    };
    let cpu = "CPU of the program for an event whose Job is done; a sample is the mean of a batch";
    let time = "the part of a second that an event takes: its inverse is events a second";
    Ok([
        figure("cpu", cpu, host.cpu, bare.cpu, Some(GOAL))?,
        figure("time", time, host.time, bare.time, None)?,
    ])
}

/// What events took, the mean of each batch.
#[derive(Debug, Default)]
struct Taken {
    cpu: Vec<Duration>,
    time: Vec<Duration>,
}

/// A process that takes events from a queue.
struct Taker {
    queue: String,
    process: u32,
    /// Whose reports it sends.
    reports_as: Option<&'static str>,
}

struct Set {
    adapters: usize,
    subjects: Vec<Value>,
    simulation: Arc<Simulation>,
    host: Host,
    hosts: Taker,
    bares: Taker,
    channel: Channel,
    client: Client,
    bare: Child,
    _connection: Connection,
    api: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Set {
    fn drop(&mut self) {
        // It ends by nothing else.
        drop(self.bare.kill());
        drop(self.bare.wait());
        self.api.abort();
    }
}

impl Set {
    async fn new(adapters: usize, count: usize) -> Result<Self> {
        let (plane, broker) = tokio::join!(ControlPlane::shared(), RabbitMq::shared());
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let (namespace, topic) = (format!("bench-{}", &unique[..8]), format!("t{unique}"));
        plane.namespace(&namespace).await?;
        plane.service_account(&namespace, "measured", everything()).await?;
        let simulation = Simulation::new(FleetState::new(&[], &[]), Arc::new(SystemClock::new()));
        let create = |number: usize| {
            let (name, spec) = (format!("subject-{number}"), json!({"with_job": number < WITH_JOB}));
            let created = simulation.with(|state, now| state.create(now, Kind::Cluster, None, &name, &spec));
            created.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
        };
        let subjects: Vec<Value> = (0..count).map(create).collect::<Result<_>>()?;

        let kinds = subjects.iter().enumerate().map(|(place, subject)| {
            let href = subject["href"].as_str().unwrap_or_default().to_owned();
            (href, kind_of(place, adapters))
        });
        let (fleet, api) = api(&simulation, kinds.collect()).await?;
        let folder = tempfile::tempdir()?;
        let documents = folder.path().join("adapters");
        std::fs::create_dir(&documents)?;
        for number in 0..adapters {
            std::fs::write(documents.join(format!("{number}.yaml")), document(number, &namespace))?;
        }
        let common = Common {
            folder: folder.path().to_owned(),
            topic: topic.clone(),
            leases: None,
            further: Value::Null,
        };
        let gates = Gates {
            broker: Gate::to(0)?,
            kubernetes: plane.gate(User::Berth)?,
            fleet: Gate::to(fleet)?,
        };
        let host = Host::new(0, common, gates, &broker.url())?;
        let client = broker.client().await;
        let (queue, bare_queue) = (format!("{topic}-berth"), format!("{topic}-bare"));
        client.exchange(&topic, ExchangeKind::Topic).await;
        for queue in [&queue, &bare_queue] {
            client.queue(queue, &topic).await;
        }
        host.start().await?;
        client.comes_to(&queue, 0, 1).await;
        let task = Task {
            broker: format!("{}%2f", broker.url()),
            queue: bare_queue.clone(),
            fleet: format!("http://127.0.0.1:{fleet}"),
            kubeconfig: plane.kubeconfig(User::Berth),
            namespace,
        };
        let bare = Command::new(std::env::current_exe()?)
            .arg("--child")
            .arg(serde_json::to_string(&child::Task::Bare(task))?)
            .stdout(Stdio::null())
            .spawn()?;
        client.comes_to(&bare_queue, 0, 1).await;
        let connection = broker.connect().await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let set = Self {
            adapters,
            subjects,
            simulation,
            hosts: Taker {
                queue,
                process: host.process_id().await.context("the host runs")?,
                reports_as: None,
            },
            bares: Taker {
                queue: bare_queue,
                process: bare.id(),
                reports_as: Some("bare"),
            },
            host,
            channel,
            client,
            bare,
            _connection: connection,
            api,
            _folder: folder,
        };
        set.learn().await?;
        Ok(set)
    }

    /// Has the host know every subject, and waits until their Jobs are done.
    async fn learn(&self) -> Result<()> {
        for begin in (0..self.subjects.len()).step_by(500) {
            let few = 500.min(self.subjects.len() - begin);
            self.publish(&self.hosts.queue, begin, few).await?;
            self.client.comes_to(&self.hosts.queue, 0, 1).await;
        }
        let end = Instant::now() + PATIENCE;
        let of = self.subjects.len().min(WITH_JOB);
        for subject in &self.subjects[..of] {
            while !self.is_available(subject) {
                ensure!(Instant::now() < end, "Jobs do not end: {subject}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    fn is_available(&self, subject: &Value) -> bool {
        let path = format!("{}/statuses", subject["href"].as_str().unwrap_or_default());
        let answer = self
            .simulation
            .with(|state, now| state.handle(now, "GET", &path, None, b""));
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let conditions = body["items"][0]["conditions"].as_array();
        conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["type"] == "Available" && one["status"] == "True")
        })
    }

    /// Has a process take a batch of events, and measures it.
    async fn batch(&self, begin: usize, count: usize, taker: &Taker, taken: &mut Taken) -> Result<()> {
        drop(self.simulation.take_requests());
        let (cpu, time) = (cpu(taker.process)?, Instant::now());
        self.publish(&taker.queue, begin, count).await?;
        let mut reported = 0;
        while reported < count {
            let requests = self.simulation.take_requests();
            reported += requests.iter().filter(|request| request.starts_with("PUT ")).count();
            ensure!(
                time.elapsed() < PATIENCE,
                "{reported} of {count} events were reported on as {:?}",
                taker.reports_as
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let each = u32::try_from(count)?.max(1);
        taken.time.push(time.elapsed() / each);
        // The last acknowledgement is its work too.
        self.client.comes_to(&taker.queue, 0, 1).await;
        taken.cpu.push(self::cpu(taker.process)?.saturating_sub(cpu) / each);
        Ok(())
    }

    /// Publishes events of subjects with a Job in turn, straight into a queue; of others where
    /// there are no Jobs left.
    async fn publish(&self, queue: &str, begin: usize, count: usize) -> Result<()> {
        let publish = async |number: usize| {
            let place = if begin + count > self.subjects.len() {
                number % self.subjects.len().min(WITH_JOB)
            } else {
                number
            };
            let subject = &self.subjects[place];
            let kind = kind_of(place, self.adapters);
            let event = json!({
                "specversion": "1.0", "id": uuid::Uuid::now_v7().to_string(), "source": "hyperfleet-sentinel",
                "type": "com.redhat.hyperfleet.cluster.reconcile", "datacontenttype": "application/json",
                "data": {"id": subject["id"], "kind": kind, "href": subject["href"], "generation": 1},
            });
            let (body, options) = (event.to_string(), BasicPublishOptions::default());
            let sent = self
                .channel
                .basic_publish("".into(), queue.into(), options, body.as_bytes(), properties());
            sent.await?.await?;
            Ok::<_, anyhow::Error>(())
        };
        stream::iter((begin..begin + count).map(publish))
            .buffer_unordered(100)
            .try_collect()
            .await
    }
}

/// Each adapter takes care of a kind of its own, so that an event is one adapter's.
fn kind_of(subject: usize, adapters: usize) -> String {
    format!("Cluster{}", subject % adapters)
}

/// The HyperFleet API with these kinds, by href.
async fn api(simulation: &Arc<Simulation>, kinds: HashMap<String, String>) -> Result<(u16, JoinHandle<()>)> {
    let kinds = Arc::new(kinds);
    let call_so = move |request: Request, next: Next| {
        let kinds = Arc::clone(&kinds);
        async move {
            let kind = kinds.get(request.uri().path()).cloned();
            let answer = next.run(request).await;
            let Some(kind) = kind.filter(|_| answer.status().is_success()) else {
                return answer;
            };
            let (mut head, body) = answer.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
            let mut subject: Value = serde_json::from_slice(&body).unwrap_or_default();
            subject["kind"] = json!(kind);
            head.headers.remove(http::header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from(subject.to_string()))
        }
    };
    let router: Router = Server::router(Arc::clone(simulation)).layer(axum::middleware::from_fn(call_so));
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let served = tokio::spawn(async move {
        // It ends with the benchmark.
        drop(axum::serve(listener, router).await);
    });
    Ok((port, served))
}

fn properties() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

fn document(number: usize, namespace: &str) -> String {
    format!(
        r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: measured-{number}}}
spec:
  subjects: [Cluster{number}]
  namespace: {namespace}
  serviceAccount: measured
  permits: [{{apiVersion: batch/v1, kind: Job}}]
  preconditions:
    - name: mine
      expression: 'subject.spec.with_job'
      otherwise: NotApplicable
      message: nothing to do
  resources:
    - name: work
      manifest:
        apiVersion: batch/v1
        kind: Job
        metadata: {{name: "job-{{{{ .subject.id }}}}"}}
        spec:
          backoffLimit: 0
          template:
            spec:
              restartPolicy: Never
              containers: [{{name: work, image: "registry.example.com/work:1"}}]
  postconditions:
    - {{name: done, expression: 'objects.work.status.succeeded > 0', message: the work is under way}}
"#
    )
}

/// CPU time of all threads of a process.
fn cpu(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).context("the process has ended")? {
        // A thread may have ended meanwhile.
        let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let first = text.split_whitespace().next();
        nanoseconds += first.and_then(|one| one.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident bytes of a process.
fn resident(process: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kibibytes.context("the kernel tells no VmRSS")? * 1024)
}

/// What the bare loop works with.
struct Bare {
    http: reqwest::Client,
    fleet: url::Url,
    jobs: reflector::Store<Job>,
    namespace: String,
}

/// The bare loop, until the process is killed.
pub(super) async fn run(task: &Task) -> Result<Found> {
    let http = stage::client();
    let file = Kubeconfig::read_from(&task.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let api: Api<Job> = Api::namespaced(kube::Client::try_from(config)?, &task.namespace);
    let (jobs, writer) = reflector::store();
    tokio::spawn(async move {
        let watched = reflector(writer, watcher(api, watcher::Config::default()));
        watched.for_each(|_| std::future::ready(())).await;
    });
    jobs.wait_until_ready().await?;
    let connection = Connection::connect(&task.broker, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(PREFETCH.get(), BasicQosOptions::default()).await?;
    let consumer = channel.basic_consume(
        task.queue.as_str().into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let bare = Bare {
        http,
        fleet: task.fleet.parse()?,
        jobs,
        namespace: task.namespace.clone(),
    };
    consumer
        .await?
        .err_into()
        .try_for_each_concurrent(usize::from(PREFETCH.get()), |delivery| bare.handle(delivery))
        .await?;
    Ok(Found::default())
}

impl Bare {
    async fn handle(&self, delivery: Delivery) -> Result<()> {
        let event: Value = serde_json::from_slice(&delivery.data)?;
        let path = event["data"]["href"].as_str().context("an href")?;
        let subject = self.get(path).await?;
        let statuses = format!("{path}/statuses");
        drop(self.get(&statuses).await?);
        let name = format!("job-{}", subject["id"].as_str().unwrap_or_default());
        let job = self.jobs.get(&ObjectRef::new(&name).within(&self.namespace));
        let done = job.and_then(|job| job.status.as_ref()?.succeeded).unwrap_or_default() > 0;
        let status = if done { "True" } else { "False" };
        let kinds: BTreeMap<_, _> = [("Applied", "True"), ("Available", status), ("Health", "True")].into();
        let conditions: Vec<Value> = kinds
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status, "reason": "Bare", "message": "by hand"}))
            .collect();
        let report = json!({
            "adapter": "bare", "observed_generation": subject["generation"],
            "observed_time": Timestamp::now().to_string(), "conditions": conditions,
        });
        let answer = self.http.put(self.fleet.join(&statuses)?).json(&report).send().await?;
        ensure!(answer.status().is_success(), "the report was refused: {answer:?}");
        delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.http.get(self.fleet.join(path)?).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }
}
