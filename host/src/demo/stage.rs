//! The demo's stage: simulators, a real host over them, and a Sentinel that posts events.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use berth_engine::{
    adapter::Adapter,
    contract::{AdapterStatus, Condition},
    effect::{Answer, Effect, Reported},
    queue::{Pair, Rhythm, Rhythms},
    reconcile::Outcome,
    subject::SubjectRef,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{
    config::document,
    dispatch::Listener,
    fleet,
    serve::{self, Host, Parts},
    simulate::{
        cluster::{Kubernetes, Pace, Rule, SystemClock},
        fleet::{Cadence, FleetState, Kind, Server, Simulation},
    },
    source,
    telemetry::Metrics,
    web,
    world::{self, Fleet as _},
};

use super::world::World;

/// The namespace that the demo's adapters work in.
pub(super) const NAMESPACE: &str = "hyperfleet-adapters";

/// How long the sender of an event waits for its answer.
const POST_TIMEOUT: Duration = Duration::from_secs(30);

const DOCUMENTS: [(&str, &str); 3] = [
    ("validation.yaml", include_str!("../../assets/demo/validation.yaml")),
    ("landing-zone.yaml", include_str!("../../assets/demo/landing-zone.yaml")),
    (
        "nodepool-sizing.yaml",
        include_str!("../../assets/demo/nodepool-sizing.yaml"),
    ),
];
const LANDING_ZONE: &[u8] = include_bytes!(env!("BERTH_LANDING_ZONE_WASM_PATH"));
/// Under which name it is in the demo's folder.
const LANDING_ZONE_FILE: &str = "landing-zone.wasm";

/// Everything that runs during the demo.
pub(super) struct Stage {
    pub(super) kubernetes: Kubernetes,
    pub(super) hyperfleet: Arc<Simulation>,
    fleet: fleet::Client,
    host: Arc<Host>,
    events: String,
    http: reqwest::Client,
    ended: watch::Receiver<u64>,
    stored: Arc<Stored>,
    /// The row that was looked at last, for whoever looks on.
    seen: watch::Sender<Option<AdapterStatus>>,
    patience: Duration,
    tasks: Vec<JoinHandle<()>>,
    folder: PathBuf,
    // Ends with the stage.
    _server: Server,
}

/// Rings whenever a reconcile ends.
struct Bell {
    ring: watch::Sender<u64>,
    stored: Arc<Stored>,
}

/// The last report that was stored, by path and adapter. A subject that is gone has no rows any
/// more, so what was said last can only be remembered.
#[derive(Default)]
struct Stored(Mutex<HashMap<(String, String), AdapterStatus>>);

impl Stored {
    fn last(&self, path: &str, adapter: &str) -> Option<AdapterStatus> {
        let stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stored.get(&(path.to_owned(), adapter.to_owned())).cloned()
    }
}

impl Listener for Bell {
    fn executed(&self, _: &Pair, effect: &Effect, answer: &Answer) {
        if let (Effect::Report { path, report }, Answer::Reported(Ok(Reported::Stored))) = (effect, answer) {
            let row = AdapterStatus {
                adapter: report.adapter.clone(),
                observed_generation: report.observed_generation,
                conditions: report.conditions.clone(),
                data: report.data.clone(),
                last_report_time: String::new(),
            };
            let mut stored = self.stored.0.lock().unwrap_or_else(PoisonError::into_inner);
            stored.insert((path.clone(), report.adapter.clone()), row);
        }
    }

    fn ended(&self, _: &Adapter, _: &SubjectRef, _: &Outcome, _: Duration) {
        self.ring.send_modify(|count| *count += 1);
    }
}

impl Stage {
    /// Sets the stage: an empty fleet, an empty cluster, three adapters.
    pub(super) async fn set(world: &World) -> Result<Self> {
        let seconds = |seconds| Duration::from_secs(seconds);
        let millis = |millis| Duration::from_millis(millis);
        let pace = Pace {
            control: millis(5),
            start: millis(60),
            run: millis(120),
            stop: millis(60),
            retry: millis(100),
        };
        let kubernetes = Kubernetes::with_pace(SystemClock, pace);
        kubernetes.namespace(NAMESPACE);
        for account in ["validation", "landing-zone", "nodepool-sizing"] {
            let core = Rule::all_of("", &["configmaps"], NAMESPACE);
            kubernetes.grant(
                NAMESPACE,
                account,
                vec![Rule::all_of("batch", &["jobs"], NAMESPACE), core],
            );
        }
        let rooms: Value = world
            .regions
            .iter()
            .map(|(region, room)| (region.clone(), json!(room.to_string())))
            .collect();
        let quota = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": rooms,
            "metadata": {"name": "landing-zone-quota", "namespace": NAMESPACE},
        });
        kubernetes
            .create("demo", quota)
            .context("cannot create the regions' quota")?;

        let state = FleetState::new(&["validation", "landing-zone"], &["nodepool-sizing"]);
        let hyperfleet = Simulation::new(state, Arc::new(fleet::SystemClock::new()));
        let server = Server::spawn(Arc::clone(&hyperfleet))
            .await
            .context("cannot serve the simulated API")?;
        let fleet_settings = fleet::Settings::new(server.url());
        let client = || fleet::Client::new(&fleet_settings).context("cannot prepare the HyperFleet client");

        let folder = std::env::temp_dir().join(format!("berth-demo-{}", uuid::Uuid::new_v4()));
        let plugin = match &world.landing_zone {
            Some(file) => std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
            None => LANDING_ZONE.to_vec(),
        };
        let documents = write_documents(&folder, &plugin)?;
        let runtime = serve::runtime(cache_folder().as_deref())?;
        // A start waits for its compilation for a while only, and goes on without; journeys need it.
        let compiler = Arc::clone(&runtime);
        let landing_zone = tokio::task::spawn_blocking(move || compiler.load(&plugin))
            .await
            .context("the landing zone's plugin is not compiled")?
            .context("cannot load the landing zone's plugin")?;
        let (ring, ended) = watch::channel(0);
        let stored = Arc::new(Stored::default());
        let parts = Parts {
            world: world::World {
                fleet: Arc::new(client()?),
                cluster: Arc::new(kubernetes.clone()),
                web: Arc::new(web::Client::new().context("cannot prepare connections")?),
            },
            runtime,
            metrics: Arc::new(Metrics::new(
                env!("CARGO_PKG_VERSION"),
                berth_runtime::cache::WASMTIME_VERSION,
            )),
            clock: Arc::new(Timestamp::now),
            concurrency: 16,
            owns: None,
            rhythms: Rhythms {
                dependencies: Rhythm {
                    first: millis(500),
                    longest: seconds(2),
                },
                trouble: Rhythm {
                    first: millis(500),
                    longest: seconds(2),
                },
                retry: Rhythm {
                    first: millis(200),
                    longest: seconds(2),
                },
            },
            listener: Arc::new(Bell {
                ring,
                stored: Arc::clone(&stored),
            }),
        };
        let (host, problems) = Host::start(parts, &documents).await;
        drop(landing_zone);
        if let Some(problem) = problems.first() {
            bail!("{problem}");
        }
        let local = ([127, 0, 0, 1], 0).into();
        let (address, serving) = host
            .listen(local, host.events(source::http::Settings::default()))
            .await?;
        let http = reqwest::Client::builder()
            .timeout(POST_TIMEOUT)
            .build()
            .context("cannot prepare posting")?;
        let events = format!("http://{address}/");
        let cluster = kubernetes.clone();
        let tasks = vec![
            tokio::spawn(async move { cluster.run().await }),
            tokio::spawn(sentinel(Arc::clone(&hyperfleet), events.clone(), http.clone())),
            serving,
        ];
        Ok(Self {
            kubernetes,
            hyperfleet,
            fleet: client()?,
            host,
            events,
            http,
            ended,
            stored,
            seen: watch::channel(None).0,
            patience: world.patience.unsigned_abs(),
            tasks,
            folder,
            _server: server,
        })
    }

    /// Tells which row is looked at, as it changes.
    pub(super) fn seen(&self) -> watch::Receiver<Option<AdapterStatus>> {
        self.seen.subscribe()
    }

    fn note(&self, row: Option<&AdapterStatus>) {
        let row = row.cloned();
        self.seen.send_if_modified(|seen| {
            let changed = *seen != row;
            *seen = row;
            changed
        });
    }

    /// Creates a cluster, or a nodepool of the cluster at `owner`, and answers with its path.
    pub(super) fn create(&self, kind: Kind, owner: Option<&str>, name: &str, spec: &Value) -> Result<String> {
        let created = self
            .hyperfleet
            .with(|state, now| state.create(now, kind, owner, name, spec));
        let created = created.map_err(|refusal| told(&refusal, "create", name))?;
        created["href"]
            .as_str()
            .map(str::to_owned)
            .context("the created resource has no href")
    }

    /// Changes a subject's spec.
    pub(super) fn change(&self, path: &str, spec: &Value) -> Result<()> {
        let changed = self
            .hyperfleet
            .with(|state, now| state.patch(now, path, &json!({"spec": spec})));
        changed.map(drop).map_err(|refusal| told(&refusal, "change", path))
    }

    /// Asks for a subject's deletion.
    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let deleted = self.hyperfleet.with(|state, now| state.delete(now, path));
        deleted.map(drop).map_err(|refusal| told(&refusal, "delete", path))
    }

    /// What the API says of the subject as a whole; none if it says nothing.
    pub(super) async fn reconciled(&self, path: &str) -> Option<Condition> {
        let subject = self.fleet.get(path).await.ok()?;
        let conditions = subject.pointer("/status/conditions")?.as_array()?;
        let reconciled = conditions.iter().find(|one| one["type"] == "Reconciled")?;
        serde_json::from_value(reconciled.clone()).ok()
    }

    /// Reads an adapter's row until `right` or patience ends; answers with the last one.
    pub(super) async fn row(
        &self,
        path: &str,
        adapter: &str,
        right: impl Fn(&AdapterStatus) -> bool,
    ) -> Option<AdapterStatus> {
        let mut last = None;
        self.until(async || {
            let rows = self.fleet.statuses(path).await.unwrap_or_default();
            let row = rows.into_iter().find(|row| row.adapter == adapter);
            let found = row.as_ref().is_some_and(&right);
            self.note(row.as_ref());
            last = row.or(last.take());
            found
        })
        .await;
        last
    }

    /// Posts an event about the subject now, as Sentinel would at its next look.
    pub(super) async fn nudge(&self, path: &str) -> Result<()> {
        let subject = self.fleet.get(path).await.context("the subject cannot be read")?;
        let kind = subject["kind"].as_str().unwrap_or_default().to_lowercase();
        let event = json!({
            "specversion": "1.0", "id": uuid::Uuid::now_v7().to_string(), "source": "hyperfleet-sentinel",
            "type": format!("com.redhat.hyperfleet.{kind}.reconcile"), "datacontenttype": "application/json",
            "data": {
                "id": subject["id"], "kind": subject["kind"], "href": subject["href"],
                "generation": subject["generation"],
            },
        });
        post(&self.http, &self.events, &event)
            .send()
            .await
            .context("the event cannot be posted")?;
        Ok(())
    }

    /// The last row of an adapter before the subject was gone; none if it stays.
    pub(super) async fn last_before_gone(&self, path: &str, adapter: &str) -> Option<AdapterStatus> {
        let gone = self
            .until(async || {
                self.note(self.stored.last(path, adapter).as_ref());
                self.fleet.statuses(path).await.is_err()
            })
            .await;
        if gone { self.stored.last(path, adapter) } else { None }
    }

    /// Looks whenever a reconcile ended, until `holds` or patience ends.
    pub(super) async fn until(&self, mut holds: impl AsyncFnMut() -> bool) -> bool {
        let deadline = Instant::now() + self.patience;
        let mut ended = self.ended.clone();
        loop {
            ended.mark_unchanged();
            if holds().await {
                return true;
            }
            match tokio::time::timeout_at(deadline, ended.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return holds().await,
            }
        }
    }

    /// Ends everything.
    pub(super) async fn strike(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.host.stop().await;
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::debug!(%error, folder = %self.folder.display(), "the demo's folder stays");
        }
    }
}

fn told(refusal: &crate::fleet::Response, what: &str, name: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "the simulated API refuses to {what} {name}: {}",
        String::from_utf8_lossy(&refusal.body)
    )
}

/// Writes the documents and the landing zone's plugin, and reads them as a host does.
fn write_documents(folder: &std::path::Path, plugin: &[u8]) -> Result<Vec<document::Loaded>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        std::fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))
    };
    write(LANDING_ZONE_FILE, plugin)?;
    for (name, text) in DOCUMENTS {
        write(name, text.as_bytes())?;
    }
    let caps = crate::config::host::HostLimits::default_caps();
    let mut documents = document::load_folder(folder, &caps)
        .strict()
        .context("a document of the demo is wrong")?;
    let plugins = documents
        .iter_mut()
        .flat_map(|loaded| loaded.adapter.plugins.values_mut());
    for plugin in plugins {
        // What is shown are journeys, also on a machine that has other things to do.
        plugin.limits.deadline = caps.deadline;
    }
    ensure!(documents.len() == DOCUMENTS.len(), "a document of the demo is missing");
    Ok(documents)
}

/// Where compiled plugins are kept between demos, so that the second begins at once.
fn cache_folder() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("berth/plugins"))
}

/// Polls and posts as Sentinel does, only more often.
async fn sentinel(hyperfleet: Arc<Simulation>, url: String, http: reqwest::Client) {
    let cadence = Cadence {
        reconciled: SignedDuration::from_mins(30),
        unreconciled: SignedDuration::from_millis(700),
    };
    let mut poll = tokio::time::interval(Duration::from_millis(100));
    loop {
        poll.tick().await;
        for event in hyperfleet.sentinel(cadence) {
            let sent = post(&http, &url, &event);
            // Whoever is not heard publishes again at the next poll.
            tokio::spawn(async move { sent.send().await.map(drop) });
        }
    }
}

fn post(http: &reqwest::Client, url: &str, event: &Value) -> reqwest::RequestBuilder {
    http.post(url)
        .header("content-type", "application/cloudevents+json")
        .body(event.to_string())
}
