//! A HyperFleet API that answers some subjects in two seconds, while more events about them come
//! than it can take, by the same queue and for the same adapter as those about all others.
//!
//! The real program between a real control plane and a real broker, with its default limits. What
//! is published is larger than what the host may grow by, so that a host that keeps events which
//! it has read is found by its memory. How long other subjects take is compared with the same
//! events before the slow ones came.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness may panic: it runs in tests only"
)]

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{Router, extract::Request, middleware::Next};
use berth::{
    fleet::SystemClock,
    simulate::fleet::{FleetState, Kind, Server, Simulation},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    bench::resident_of,
    control_plane::{ControlPlane, Gate, User, everything},
    kill::host::{Common, Gates, Host},
    rabbitmq::{Client, RabbitMq, comes},
    stage,
};

pub use self::told::Told;

mod told;

/// How long the API thinks about slow subjects, before each answer.
const THINKS: Duration = Duration::from_secs(2);
/// Subjects that the API is slow with. Each may have an event that is worked on and one that waits,
/// which is less than the host's bound on messages in flight, and than the part of its slots that
/// slow subjects may have.
const SLOW: usize = 40;
/// Subjects that it is quick with.
const FAST: usize = 60;
/// How often an event about one of either kind is published.
const SLOW_EVERY: Duration = Duration::from_millis(20);
const FAST_EVERY: Duration = Duration::from_millis(50);
/// How large the events about slow subjects are.
const SIZE: usize = 64 << 10;
/// The host's defaults.
const PREFETCH: u64 = 256;
const CONCURRENCY: usize = 64;
/// For how long only events about fast subjects are published, for comparison.
const BASELINE: Duration = Duration::from_secs(8);

/// Publishes for this long, and measures.
///
/// # Errors
/// When something cannot be set up, or the host does not come to an end with fast subjects alone.
pub async fn run(length: Duration) -> Result<Told> {
    let (set, reported) = Set::new().await?;
    let mut times = Times::new(reported, &set.slow);
    let mut told = Told::default();
    // What every host needs once is not counted: code, a place of the pool for each reconcile that runs at once, the first
    // connections, the objects.
    for subject in &set.slow {
        set.publish(subject, 0).await;
    }
    comes("a report on every slow subject", async || {
        times.look();
        times.taken.slow >= SLOW
    })
    .await?;
    set.publish_fast(BASELINE, &mut times).await;
    set.all_are_reported(&mut times).await?;
    drop(times.take());
    set.publish_fast(BASELINE, &mut times).await;
    set.all_are_reported(&mut times).await?;
    told.alone = times.take().fast;
    told.bytes_before = set.resident().await?;

    let begin = Instant::now();
    let mut fast = interval(FAST_EVERY);
    let mut slow = interval(SLOW_EVERY);
    // A late tick is made up for: the rate is what it is.
    for ticks in [&mut fast, &mut slow] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    }
    let mut looks = interval(Duration::from_secs(1));
    let mut next = 0;
    while begin.elapsed() < length {
        tokio::select! {
            _ = slow.tick() => {
                set.publish(&set.slow[told.published % SLOW], SIZE).await;
                told.published += 1;
            }
            _ = fast.tick() => {
                let subject = &set.fast[next % FAST];
                times.published(subject);
                set.publish(subject, 0).await;
                next += 1;
            }
            _ = looks.tick() => {
                told.look(&set, begin.elapsed()).await?;
                told.take_in(&mut times);
            }
        }
    }
    // Whoever is not reported on long after has waited for so long at least.
    let all = timeout(4 * THINKS, set.all_are_reported(&mut times)).await;
    told.look(&set, begin.elapsed()).await?;
    told.take_in(&mut times);
    if all.is_err() {
        told.beside.extend(times.waiting.values().map(Instant::elapsed));
    }
    told.most_at_once = set.gauge.most.load(Ordering::SeqCst);
    Ok(told)
}

impl Told {
    fn take_in(&mut self, times: &mut Times) {
        let reports = times.take();
        self.slow_reports += reports.slow;
        self.beside.extend(reports.fast);
    }

    async fn look(&mut self, set: &Set, at: Duration) -> Result<()> {
        self.bytes.push((at, set.resident().await?));
        // Settled is read first, so that what comes between counts as taken.
        let metrics = set.metrics().await?;
        let settled = counted(&metrics, "berth_events_settled_total");
        let received = counted(&metrics, "berth_events_received_total");
        self.settled = settled;
        self.most_taken = self.most_taken.max(received.saturating_sub(settled));
        Ok(())
    }
}

/// Tells when which subject was reported on.
type Reported = mpsc::UnboundedReceiver<(String, Instant)>;

/// From an event to the report on it.
struct Times {
    reported: Reported,
    slow: HashSet<String>,
    /// Since when something about a fast subject is not reported on.
    waiting: HashMap<String, Instant>,
    taken: Taken,
}

/// What was reported.
#[derive(Debug, Default)]
struct Taken {
    slow: usize,
    fast: Vec<Duration>,
}

impl Times {
    fn new(reported: Reported, slow: &[Value]) -> Self {
        Self {
            reported,
            slow: slow.iter().map(id).collect(),
            waiting: HashMap::new(),
            taken: Taken::default(),
        }
    }

    fn published(&mut self, subject: &Value) {
        // What was reported until now is no report on this event.
        self.look();
        self.waiting.entry(id(subject)).or_insert_with(Instant::now);
    }

    fn look(&mut self) {
        while let Ok((id, at)) = self.reported.try_recv() {
            if self.slow.contains(&id) {
                self.taken.slow += 1;
            } else if let Some(since) = self.waiting.remove(&id) {
                self.taken.fast.push(at.saturating_duration_since(since));
            }
        }
    }

    fn take(&mut self) -> Taken {
        self.look();
        std::mem::take(&mut self.taken)
    }
}

fn id(subject: &Value) -> String {
    subject["id"].as_str().unwrap().to_owned()
}

/// Requests about slow subjects.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    /// Counts a request until the answer is dropped, also where the client has gone meanwhile.
    fn one(gauge: &Arc<Self>) -> One {
        let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
        gauge.most.fetch_max(now, Ordering::SeqCst);
        One(Arc::clone(gauge))
    }
}

struct One(Arc<Gauge>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Set {
    host: Host,
    client: Client,
    slow: Vec<Value>,
    fast: Vec<Value>,
    topic: String,
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
    async fn new() -> Result<(Self, Reported)> {
        let (plane, broker) = tokio::join!(ControlPlane::shared(), RabbitMq::shared());
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let (namespace, topic) = (format!("slow-{}", &unique[..8]), format!("t{unique}"));
        plane.namespace(&namespace).await?;
        plane.service_account(&namespace, "writer", everything()).await?;
        let simulation = Simulation::new(FleetState::new(&["one"], &[]), Arc::new(SystemClock::new()));
        let create = |name: String| {
            let created = simulation.with(|state, now| state.create(now, Kind::Cluster, None, &name, &json!({})));
            created.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
        };
        let slow: Vec<Value> = (0..SLOW)
            .map(|one| create(format!("slow-{one}")))
            .collect::<Result<_>>()?;
        let fast: Vec<Value> = (0..FAST)
            .map(|one| create(format!("fast-{one}")))
            .collect::<Result<_>>()?;
        let gauge = Arc::new(Gauge::default());
        let (tell, reported) = mpsc::unbounded_channel();
        let (port, api) = api(&simulation, &slow, &gauge, tell).await?;

        let folder = tempfile::tempdir()?;
        let adapters = folder.path().join("adapters");
        std::fs::create_dir(&adapters)?;
        std::fs::write(adapters.join("one.yaml"), document(&namespace))?;
        let common = Common {
            folder: folder.path().to_owned(),
            topic: topic.clone(),
            leases: None,
            // One subscription for all, with the defaults of all limits.
            further: json!({"sources": {
                "http": {"listen": "127.0.0.1:0"},
                // `Host` writes the file.
                "rabbitmq": {"urlFile": folder.path().join("broker-0"), "topic": topic, "subscription": "berth"},
            }}),
        };
        let gates = Gates {
            broker: Gate::to(0),
            kubernetes: plane.gate(User::Berth)?,
            fleet: Gate::to(port),
        };
        let host = Host::new(0, common, gates, broker.url().as_str())?;
        let client = broker.client().await;
        let queue = format!("{topic}-berth");
        client.exchange(&topic, lapin::ExchangeKind::Topic).await;
        client.queue(&queue, &topic).await;
        host.start().await?;
        client.comes_to(&queue, 0, 1).await;
        let admin = admin(&host)?;
        let set = Self {
            host,
            client,
            slow,
            fast,
            topic,
            admin,
            gauge,
            http: stage::client(),
            api,
            _folder: folder,
        };
        Ok((set, reported))
    }

    /// Publishes events about fast subjects only.
    async fn publish_fast(&self, length: Duration, times: &mut Times) {
        let begin = Instant::now();
        let mut ticks = interval(FAST_EVERY);
        for subject in self.fast.iter().cycle() {
            ticks.tick().await;
            if begin.elapsed() >= length {
                return;
            }
            times.published(subject);
            self.publish(subject, 0).await;
        }
    }

    /// Waits until every fast subject is reported on.
    async fn all_are_reported(&self, times: &mut Times) -> Result<()> {
        comes("a report on every fast subject", async || {
            times.look();
            times.waiting.is_empty()
        })
        .await
    }

    /// Publishes a subject with so many bytes that nobody knows.
    async fn publish(&self, subject: &Value, size: usize) {
        let event = json!({
            "specversion": "1.0", "id": uuid::Uuid::now_v7().to_string(), "source": "hyperfleet-sentinel",
            "type": "com.redhat.hyperfleet.cluster.reconcile", "datacontenttype": "application/json",
            "data": {
                "id": subject["id"], "kind": "Cluster", "href": subject["href"], "generation": subject["generation"],
                "unknown": "x".repeat(size),
            },
        });
        let id = event["id"].as_str().unwrap().to_owned();
        let body = event.to_string();
        let stored = self.client.publish(&self.topic, &id, body.as_bytes()).await;
        assert!(stored, "no queue took an event");
    }

    async fn resident(&self) -> Result<u64> {
        let id = self.host.process_id().await.context("the host runs")?;
        resident_of(id)
    }

    async fn metrics(&self) -> Result<String> {
        let answer = self.http.get(format!("http://{}/metrics", self.admin)).send().await?;
        Ok(answer.text().await?)
    }
}

/// The sum of a counter over its labels.
fn counted(metrics: &str, name: &str) -> u64 {
    let of = metrics.lines().filter(|line| line.starts_with(name));
    of.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Where the host is administered.
fn admin(host: &Host) -> Result<String> {
    let address = host.ready()?.and_then(|line| line["admin"].as_str().map(str::to_owned));
    address.context("the host is not ready")
}

/// The HyperFleet API, which thinks about some subjects before it does anything, and tells of
/// reports that it answered.
async fn api(
    simulation: &Arc<Simulation>,
    slow: &[Value],
    gauge: &Arc<Gauge>,
    tell: mpsc::UnboundedSender<(String, Instant)>,
) -> Result<(u16, JoinHandle<()>)> {
    let slow: Arc<HashSet<String>> = Arc::new(slow.iter().map(id).collect());
    let (gauge, simulated) = (Arc::clone(gauge), Arc::clone(simulation));
    let think = move |request: Request, next: Next| {
        let (slow, gauge, tell, simulated) = (
            Arc::clone(&slow),
            Arc::clone(&gauge),
            tell.clone(),
            Arc::clone(&simulated),
        );
        async move {
            let about = request.uri().path().trim_end_matches("/statuses").rsplit('/').next();
            let about = about.unwrap_or_default().to_owned();
            let is_report = request.method() == http::Method::PUT;
            if slow.contains(&about) {
                let _one = Gauge::one(&gauge);
                sleep(THINKS).await;
            }
            let answer = next.run(request).await;
            if is_report && answer.status().is_success() {
                // Nobody listens at the end.
                let _ = tell.send((about, Instant::now()));
            }
            // What was asked for is not kept for ever.
            drop(simulated.take_requests());
            answer
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

fn document(namespace: &str) -> String {
    format!(
        r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: one}}
spec:
  subjects: [Cluster]
  namespace: {namespace}
  serviceAccount: writer
  permits: [{{apiVersion: v1, kind: ConfigMap}}]
  resources:
    - name: note
      manifest:
        apiVersion: v1
        kind: ConfigMap
        metadata: {{name: "note-{{{{ .subject.id }}}}"}}
        data: {{of: "{{{{ .subject.id }}}}"}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_their_labels() {
        let metrics = "# TYPE a counter\na_total{x=\"1\"} 3\na_total{x=\"2\"} 4\nab_total 9\n";
        assert_eq!(counted(metrics, "a_total"), 7);
    }
}
