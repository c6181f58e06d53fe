//! A HyperFleet API that answers some subjects in two seconds, while more events come than it can take.
//!
//! The real program between a real control plane and a real broker. The backlog is larger than
//! what the host may grow by, so a host that takes in more than its bound is found by its memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness may panic: it runs in tests only"
)]

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use axum::{Router, extract::Request, middleware::Next};
use berth::{
    fleet::SystemClock,
    simulate::fleet::{FleetState, Kind, Server, Simulation},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    control_plane::{ControlPlane, Gate, User, everything},
    kill::host::{Common, Gates, Host, PREFETCH},
    rabbitmq::{Client, RabbitMq, comes},
    stage,
};

/// How long the API thinks about slow subjects.
const THINKS: Duration = Duration::from_secs(2);
const SLOW: usize = 200;
const FAST: usize = 20;
/// Events that wait at the broker, about, and how large each is.
const BACKLOG: usize = 1_500;
const SIZE: usize = 64 << 10;
/// By how much the host may grow: half of the backlog.
const GROWTH: u64 = (BACKLOG * SIZE / 2) as u64;
/// Reconciles that run at once: more than the slow subscription can keep busy.
const CONCURRENCY: usize = 4 * PREFETCH;

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Resident bytes before the backlog.
    pub bytes_before: u64,
    /// The most resident bytes in the first half of the time.
    pub bytes_early: u64,
    /// The most resident bytes in the second half.
    pub bytes_late: u64,
    /// The most events that the host had taken and not settled.
    pub most_taken: u64,
    /// The most requests about slow subjects that the API worked on at once.
    pub most_at_once: usize,
    /// Events about slow subjects that were published.
    pub published: usize,
    /// Events that were settled.
    pub settled: u64,
    /// Rounds of all other subjects that were reported while the backlog waited.
    pub rounds: usize,
}

impl Told {
    /// What is not as it must be.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        let most = self.bytes_early.max(self.bytes_late);
        if most > self.bytes_before + GROWTH {
            troubles.push(format!("the host grew by more than {GROWTH} bytes"));
        }
        if self.bytes_late > self.bytes_early + GROWTH / 2 {
            troubles.push("the host goes on growing".to_owned());
        }
        // Two subscriptions.
        if self.most_taken > 2 * PREFETCH as u64 {
            troubles.push("the host took more events than the prefetch allows".to_owned());
        }
        if self.most_at_once > CONCURRENCY {
            troubles.push("more reconciles ran than are allowed".to_owned());
        }
        if self.rounds == 0 || self.settled == 0 {
            troubles.push("nothing went on".to_owned());
        }
        troubles
    }
}

/// Publishes for this long, and measures.
///
/// # Errors
/// When something cannot be set up, or other subjects wait for the slow ones.
pub async fn run(length: Duration) -> Result<Told> {
    let set = Set::new().await?;
    let mut told = Told::default();
    // What every host needs once is not counted: code, pools, the first connections.
    for subject in &set.slow[..PREFETCH] {
        set.publish(subject, 0).await;
    }
    for subject in &set.slow[..PREFETCH] {
        set.reported(subject).await?;
    }
    told.bytes_before = set.resident().await?;

    let end = Instant::now() + length;
    let half = Instant::now() + length / 2;
    let mut next = 0;
    while told.rounds == 0 || Instant::now() < end {
        let (waiting, _) = set.client.depth(&set.slow_queue).await.context("there is a queue")?;
        for _ in (waiting as usize)..BACKLOG {
            set.publish(&set.slow[next % SLOW], SIZE).await;
            next += 1;
        }
        let round = set.round().await?;
        for subject in &round {
            set.publish(subject, 0).await;
        }
        for subject in &round {
            set.reported(subject).await?;
            told.look(&set, half).await?;
        }
        let (waiting, _) = set.client.depth(&set.slow_queue).await.context("there is a queue")?;
        ensure!(waiting > 0, "other subjects were reported only after the slow ones");
        told.rounds += 1;
        // Nothing is to be awaited: the backlog is what lasts.
        sleep(Duration::from_millis(200)).await;
    }
    told.published = next;
    told.most_at_once = set.gauge.most.load(Ordering::SeqCst);
    Ok(told)
}

impl Told {
    async fn look(&mut self, set: &Set, half: Instant) -> Result<()> {
        let bytes = set.resident().await?;
        // On a busy machine the first look may be late.
        let most = if self.bytes_early == 0 || Instant::now() < half {
            &mut self.bytes_early
        } else {
            &mut self.bytes_late
        };
        *most = bytes.max(*most);
        // Settled is read first, so that what comes between counts as taken.
        let metrics = set.metrics().await?;
        let settled = counted(&metrics, "berth_events_settled_total");
        let received = counted(&metrics, "berth_events_received_total");
        self.settled = settled;
        self.most_taken = self.most_taken.max(received.saturating_sub(settled));
        Ok(())
    }
}

/// Requests about slow subjects.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Set {
    host: Host,
    client: Client,
    simulation: Arc<Simulation>,
    slow: Vec<Value>,
    /// Owns the others.
    owner: Value,
    topic: String,
    slow_queue: String,
    admin: String,
    gauge: Arc<Gauge>,
    http: reqwest::Client,
    api: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Set {
    fn drop(&mut self) {
        self.api.abort();
    }
}

impl Set {
    async fn new() -> Result<Self> {
        let (plane, broker) = tokio::join!(ControlPlane::shared(), RabbitMq::shared());
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let (namespace, topic) = (format!("slow-{}", &unique[..8]), format!("t{unique}"));
        plane.namespace(&namespace).await?;
        plane.service_account(&namespace, "writer", everything()).await?;
        let simulation = Simulation::new(FleetState::new(&["slow"], &["fast"]), Arc::new(SystemClock::new()));
        let create = |kind: Kind, owner: Option<&Value>, name: String| {
            let owner = owner.and_then(|owner| owner["href"].as_str());
            let created = simulation.with(|state, now| state.create(now, kind, owner, &name, &json!({})));
            created.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
        };
        let owner = create(Kind::Cluster, None, "owner".to_owned())?;
        let slow = (0..SLOW).map(|number| create(Kind::Cluster, None, format!("slow-{number}")));
        let slow: Vec<Value> = slow.collect::<Result<_>>()?;
        let gauge = Arc::new(Gauge::default());
        let (port, api) = api(&simulation, &slow, &gauge).await?;

        let folder = tempfile::tempdir()?;
        let adapters = folder.path().join("adapters");
        std::fs::create_dir(&adapters)?;
        let own = "  events: {rabbitmq: {subscription: fast}}\n";
        for (name, kind, events) in [("slow", "Cluster", ""), ("fast", "NodePool", own)] {
            let file = adapters.join(name).with_extension("yaml");
            std::fs::write(file, document(name, kind, events, &namespace))?;
        }
        let common = Common {
            folder: folder.path().to_owned(),
            topic: topic.clone(),
            leases: None,
            further: json!({"limits": {"concurrency": CONCURRENCY}}),
        };
        let at: url::Url = broker.url().parse()?;
        let gates = Gates {
            broker: Gate::to(at.port().context("the broker has a port")?)?,
            kubernetes: plane.gate(User::Berth)?,
            fleet: Gate::to(port)?,
        };
        let host = Host::new(0, common, gates, broker.url().as_str())?;
        let client = broker.client().await;
        let slow_queue = format!("{topic}-berth");
        client.exchange(&topic, lapin::ExchangeKind::Topic).await;
        for queue in [&slow_queue, &format!("{topic}-fast")] {
            client.queue(queue, &topic).await;
        }
        host.start().await?;
        for queue in [&slow_queue, &format!("{topic}-fast")] {
            client.comes_to(queue, 0, 1).await;
        }
        let admin = admin(&host.log())?;
        Ok(Self {
            host,
            client,
            simulation,
            slow,
            owner,
            topic,
            slow_queue,
            admin,
            gauge,
            http: stage::client(),
            api,
            _folder: folder,
        })
    }

    /// A further round of subjects that are not slow.
    async fn round(&self) -> Result<Vec<Value>> {
        // What was asked for is not kept for ever.
        drop(self.simulation.take_requests());
        let owner = self.owner["href"].as_str();
        let create = || {
            let name = format!("f{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
            let created = self
                .simulation
                .with(|state, now| state.create(now, Kind::NodePool, owner, &name, &json!({})));
            created.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
        };
        std::iter::repeat_with(create).take(FAST).collect()
    }

    /// Publishes a subject with so many bytes that nobody knows.
    async fn publish(&self, subject: &Value, size: usize) {
        let kind = subject["kind"].as_str().unwrap();
        let mut event = json!({
            "specversion": "1.0", "id": uuid::Uuid::now_v7().to_string(), "source": "hyperfleet-sentinel",
            "type": format!("com.redhat.hyperfleet.{}.reconcile", kind.to_lowercase()),
            "datacontenttype": "application/json",
            "data": {
                "id": subject["id"], "kind": kind, "href": subject["href"], "generation": subject["generation"],
                "unknown": "x".repeat(size),
            },
        });
        if kind == "NodePool" {
            let owner = &self.owner;
            event["data"]["owner_references"] = json!({"id": owner["id"], "kind": "Cluster", "href": owner["href"]});
        }
        let id = event["id"].as_str().unwrap().to_owned();
        let body = event.to_string();
        let stored = self.client.publish(&self.topic, &id, body.as_bytes()).await;
        assert!(stored, "no queue took an event");
    }

    /// Waits until something is reported of a subject.
    async fn reported(&self, subject: &Value) -> Result<()> {
        let path = format!("{}/statuses", subject["href"].as_str().unwrap());
        comes("a report", async || {
            let answer = self
                .simulation
                .with(|state, now| state.handle(now, "GET", &path, None, b""));
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            body["items"].as_array().is_some_and(|rows| !rows.is_empty())
        })
        .await
    }

    async fn resident(&self) -> Result<u64> {
        let id = self.host.process_id().await.context("the host runs")?;
        resident(id)
    }

    async fn metrics(&self) -> Result<String> {
        let answer = self.http.get(format!("http://{}/metrics", self.admin)).send().await?;
        Ok(answer.text().await?)
    }
}

/// Resident bytes of a process.
fn resident(id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")).map(str::trim);
    Ok(kibibytes.context("the kernel tells no VmRSS")?.parse::<u64>()? * 1024)
}

/// The sum of a counter over its labels.
fn counted(metrics: &str, name: &str) -> u64 {
    let of = metrics.lines().filter(|line| line.starts_with(name));
    of.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Where the host that writes this log is administered.
fn admin(log: &Path) -> Result<String> {
    let text = std::fs::read_to_string(log)?;
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ready = lines.find(|line| line["message"] == "berth is ready");
    let address = ready.and_then(|line| line["admin"].as_str().map(str::to_owned));
    address.context("the host is not ready")
}

/// The HyperFleet API, which thinks about some subjects before it does anything.
async fn api(simulation: &Arc<Simulation>, slow: &[Value], gauge: &Arc<Gauge>) -> Result<(u16, JoinHandle<()>)> {
    let slow: Arc<HashSet<String>> = Arc::new(
        slow.iter()
            .filter_map(|subject| subject["id"].as_str().map(str::to_owned))
            .collect(),
    );
    let gauge = Arc::clone(gauge);
    let think = move |request: Request, next: Next| {
        let (slow, gauge) = (Arc::clone(&slow), Arc::clone(&gauge));
        async move {
            if request.uri().path().split('/').any(|part| slow.contains(part)) {
                let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
                gauge.most.fetch_max(now, Ordering::SeqCst);
                sleep(THINKS).await;
                gauge.now.fetch_sub(1, Ordering::SeqCst);
            }
            next.run(request).await
        }
    };
    let router: Router = Server::router(Arc::clone(simulation)).layer(axum::middleware::from_fn(think));
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let served = tokio::spawn(async move {
        // It ends with the test.
        drop(axum::serve(listener, router).await);
    });
    Ok((port, served))
}

fn document(name: &str, kind: &str, events: &str, namespace: &str) -> String {
    format!(
        r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: {name}}}
spec:
  subjects: [{kind}]
{events}  namespace: {namespace}
  serviceAccount: writer
  permits: [{{apiVersion: v1, kind: ConfigMap}}]
  resources:
    - name: note
      manifest:
        apiVersion: v1
        kind: ConfigMap
        metadata: {{name: "{name}-{{{{ .subject.id }}}}"}}
        data: {{of: "{{{{ .subject.id }}}}"}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Told {
        Told {
            bytes_before: 100 << 20,
            bytes_early: 110 << 20,
            bytes_late: 112 << 20,
            most_taken: 20,
            most_at_once: 16,
            published: 100,
            settled: 10,
            rounds: 1,
        }
    }

    #[test]
    fn growth_and_greed_are_troubles() {
        assert_eq!(good().troubles(), Vec::<String>::new());
        let mut grown = good();
        grown.bytes_early = (100 << 20) + GROWTH + 1;
        assert_eq!(grown.troubles().len(), 1);
        let mut growing = good();
        growing.bytes_late = growing.bytes_early + GROWTH / 2 + 1;
        assert!(!growing.troubles().is_empty());
        let mut greedy = good();
        greedy.most_taken = 1_000;
        assert_eq!(greedy.troubles().len(), 1);
        let mut idle = good();
        idle.settled = 0;
        assert_eq!(idle.troubles().len(), 1);
    }

    #[test]
    fn counters_are_summed_over_their_labels() {
        let metrics = "# TYPE a counter\na_total{x=\"1\"} 3\na_total{x=\"2\"} 4\nab_total 9\n";
        assert_eq!(counted(metrics, "a_total"), 7);
    }
}
