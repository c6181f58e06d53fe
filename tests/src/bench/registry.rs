//! What plugins of a registry cost: from a tag to live, step by step; from the cache; and a thousand at once.
//!
//! The registry is the real one, on this machine. Every plugin is the reference plugin with a custom section of its
//! own, signed with a key that the host trusts. The baseline of loads is wasmtime alone, mapping the same code without
//! verifying anything.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use berth::{
    artifacts::Shelf,
    config::{
        document,
        host::{HostLimits, Registries, Written, load_registries},
    },
    dispatch::Deaf,
    fleet::{self, SystemClock},
    registry::{
        Connect as _, Digest, Policy, PrivateKey, Reference, Registry, push,
        remote::Remote,
        signature::{self, sign},
    },
    serve::{self, Beginning, Host, Parts},
    simulate::{
        cluster::{Kubernetes, SystemClock as ClusterClock},
        fleet::{FleetState, InMemory, Simulation},
    },
    telemetry::{Metrics, admin::Host as _},
    web,
    world::{Artifacts as _, Refresh, World},
};
use berth_engine::queue::Rhythms;
use berth_runtime::{LoadError, Plugin, Runtime, plain::Plain};
use jiff::Timestamp;
use serde_json::json;

use super::{Baseline, Figure, Finding, Samples, Size, Tell, child::resident, component};

const TAGS: usize = 20;
const LOADS: usize = 100;
const STARTS: usize = 10;
const MANY: usize = 1000;
const MANY_BYTES: u64 = 512 << 20;
/// How long one swap is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A private key of Ed25519 that is made for this run, and its public half, both PEM.
struct Key {
    private: String,
    public: String,
}

const DOCUMENT: &str = "
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: measured}
spec:
  subjects: [Cluster]
  namespace: work
  permits: [{apiVersion: batch/v1, kind: Job}, {apiVersion: v1, kind: ConfigMap}]
  plugins:
    lz:
      source: 'oci://REFERENCE'
      config:
        provider: gcp
        regions: [europe-west1]
        image: registry.example.com/hyperfleet/landing-zone:1.4.0
        quota: {namespace: work, name: landing-zone-quota}
        retries: 1
      grants: {cluster: [{apiVersion: v1, kind: ConfigMap, namespace: work, name: landing-zone-quota}]}
  preconditions: [{plugin: lz}]
  resources: [{plugin: lz}]
  postconditions: [{plugin: lz}]
  status: {plugin: lz}
";

/// Everything, so many times less often.
pub(super) async fn all(smaller: usize, tell: Tell<'_>) -> Result<()> {
    let times = |all: usize| (all / smaller).max(1);
    for figure in tag_to_live(times(TAGS), times(STARTS)).await? {
        tell(Finding::Time(figure))?;
    }
    for (name, goal) in [("landing-zone", 2), ("landing-zone-go", 5), ("landing-zone-python", 12)] {
        let figure = cold_load(name, Duration::from_millis(goal), times(LOADS)).await?;
        tell(Finding::Time(figure))?;
    }
    let (time, size) = many(times(MANY)).await?;
    tell(Finding::Time(time))?;
    tell(Finding::Size(size))
}

/// The registry as a child process. It ends with the value.
struct Running {
    process: Child,
    address: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Running {
    fn start(folder: &Path) -> Result<Self> {
        let tools = std::env::var_os("BERTH_TOOLS").context("BERTH_TOOLS is not set; run `cargo xtask bench`")?;
        let binary = PathBuf::from(tools).join("registry-v3.1.2/registry");
        let config = folder.join("registry.yml");
        let settings = json!({
            "version": 0.1,
            "log": {"level": "info", "formatter": "json"},
            "storage": {"filesystem": {"rootdirectory": folder.join("registry")}},
            "http": {"addr": "127.0.0.1:0"},
        });
        // JSON is YAML.
        std::fs::write(&config, settings.to_string())?;
        let mut process = Command::new(&binary)
            .arg("serve")
            .arg(&config)
            .env_clear()
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}; run `cargo xtask tools`", binary.display()))?;
        let log = process.stderr.take().context("there is no log")?;
        let mut running = Self {
            process,
            address: String::new(),
        };
        let mut lines = BufReader::new(log).lines();
        for line in lines.by_ref() {
            let line = line?;
            if let Some((_, rest)) = line.split_once("listening on ") {
                running.address = rest.split(['"', ',']).next().unwrap_or_default().to_owned();
                break;
            }
        }
        ensure!(!running.address.is_empty(), "the registry ended");
        // What nobody reads would stop it once the pipe is full.
        std::thread::spawn(move || lines.map_while(std::result::Result::ok).for_each(drop));
        Ok(running)
    }
}

/// A registry, and a host's settings for it.
struct Site {
    running: Option<Running>,
    folder: tempfile::TempDir,
    address: String,
    key: Arc<PrivateKey>,
    settings: Registries,
}

impl Site {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let running = Running::start(folder.path())?;
        let address = running.address.clone();
        let key = Key::new()?;
        let public = folder.path().join("bench.pub");
        std::fs::write(&public, &key.public)?;
        let settings = json!({"registries": {
            "allow": [format!("{address}/*")], "insecure": [address], "keys": [public], "refresh": "1h",
        }})
        .to_string();
        let file = folder.path().join("berth.yaml");
        let settings = load_registries(&Written {
            file: Some((&file, &settings)),
            ..Written::default()
        });
        Ok(Self {
            running: Some(running),
            address,
            key: Arc::new(PrivateKey::read(key.private.as_bytes(), b"")?),
            settings: settings.map_err(|problems| anyhow!("{problems:?}"))?,
            folder,
        })
    }

    fn reference(&self) -> Result<Reference> {
        Ok(format!("{}/partners/lz:1", self.address).parse()?)
    }

    fn remote(&self) -> Result<Arc<dyn Remote>> {
        Ok(berth::artifacts::access(&self.settings).remote(&self.address)?)
    }

    /// Pushes and signs; the tag points there then.
    async fn publish(&self, bytes: &[u8]) -> Result<Digest> {
        let (remote, reference) = (self.remote()?, self.reference()?);
        let repository = &reference.repository;
        let packed = push(remote.as_ref(), repository, reference.tag.as_deref(), bytes, &|_, _| {}).await?;
        sign(remote.as_ref(), repository, &packed.digest, &self.key).await?;
        Ok(packed.digest)
    }

    /// A host's registry with a cache of its own.
    fn registry(&self, cache: &str) -> Result<Registry> {
        berth::artifacts::registry(&self.settings, self.folder.path().join(cache))
    }

    /// A host between simulated APIs with an adapter whose plugin comes from here.
    async fn host(&self, cache: &str) -> Result<Arc<Host>> {
        let folder = self.folder.path();
        let documents = folder.join("adapters");
        std::fs::create_dir_all(&documents)?;
        let text = DOCUMENT.replace("REFERENCE", &self.reference()?.to_string());
        std::fs::write(documents.join("measured.yaml"), text)?;
        let kubernetes = Kubernetes::new(ClusterClock);
        kubernetes.namespace("work");
        let simulation = Simulation::new(FleetState::new(&[], &[]), Arc::new(SystemClock::new()));
        let settings = fleet::Settings::new("http://fleet.example".parse()?);
        let caps = HostLimits::default_caps();
        let parts = Parts {
            world: World {
                fleet: Arc::new(InMemory::new(&simulation, &settings)?),
                cluster: Arc::new(kubernetes),
                web: Arc::new(web::Client::new()?),
            },
            runtime: serve::runtime(Some(folder.join(cache).as_path()))?,
            metrics: Arc::new(Metrics::new("bench", "bench")),
            clock: Arc::new(Timestamp::now),
            concurrency: 2,
            rhythms: Rhythms::default(),
            owns: None,
            listener: Arc::new(Deaf),
        };
        let shelf = Shelf::new(&self.settings, folder.join(cache).join("plugins"))?;
        let beginning = Beginning {
            loading: document::load_folder(&documents, &caps),
            artifacts: Some(Arc::new(shelf)),
            refresh: Some(self.settings.refresh),
        };
        let (host, problems) = Host::begin(parts, beginning).await;
        ensure!(problems.is_empty(), "{problems:?}");
        host.follow(berth::live::Following {
            folder: documents,
            caps,
            configuration: None,
            poll: Duration::from_secs(1),
        });
        Ok(host)
    }
}

impl Key {
    fn new() -> Result<Self> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};

        // The seed is random enough: what it signs lives as long as this run.
        let seed = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat();
        let private = [
            b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".as_slice(),
            &seed,
        ]
        .concat();
        let pem = |label: &str, der: &[u8]| {
            format!(
                "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
                STANDARD.encode(der)
            )
        };
        let private = pem("PRIVATE KEY", &private);
        let public = PrivateKey::read(private.as_bytes(), b"")?.public().pem();
        Ok(Self { private, public })
    }
}

/// Several figures: the whole way, and each of its steps.
async fn tag_to_live(tags: usize, times: usize) -> Result<Vec<Figure>> {
    let mut site = Site::start()?;
    let bytes = component("landing-zone.wasm")?;
    let (reference, remote) = (site.reference()?, site.remote()?);
    let policy = berth::artifacts::policy(&site.settings)?;
    let mut next = (0..).map(|number: u32| numbered(&bytes, number));
    let mut copy = || next.next().unwrap_or_default();

    let (mut resolving, mut verifying, mut fetching, mut compiling) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let runtime = serve::runtime(None)?;
    for round in 0..tags {
        site.publish(&copy()).await?;
        let registry = site.registry(&format!("steps-{round}"))?;
        let begin = Instant::now();
        let digest = registry.resolve(&reference).await?;
        resolving.push(begin.elapsed());
        let begin = Instant::now();
        let found = signature::find(remote.as_ref(), &reference.repository, &digest).await;
        signature::verify(&policy, &digest, &found.attachments)?;
        verifying.push(begin.elapsed());
        let begin = Instant::now();
        let fetched = registry.fetch_under(&reference, &Policy::Off).await?;
        fetching.push(begin.elapsed());
        let begin = Instant::now();
        drop(load(&runtime, fetched.plugin.bytes).await?);
        compiling.push(begin.elapsed());
    }

    site.publish(&copy()).await?;
    let host = site.host("live").await?;
    let mut living = Vec::new();
    for _ in 0..tags {
        // Calls in one second share a question; this is not what is measured.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let digest = site.publish(&copy()).await?;
        let begin = Instant::now();
        while live(&host).as_deref() != Some(digest.as_str()) {
            ensure!(begin.elapsed() < PATIENCE, "the plugin does not become live");
            host.refresh().await;
        }
        living.push(begin.elapsed());
    }
    host.stop().await;
    let starting = starts(&mut site, times).await?;
    let baseline = Samples::new(compiling.clone())?;
    let step = |name: &str, what, times| {
        Ok::<_, anyhow::Error>(Figure {
            name: name.to_owned(),
            what,
            samples: Samples::new(times)?,
            goal_p50: None,
            goal_p99: None,
            baselines: Vec::new(),
        })
    };
    let mut whole = step(
        "tag-to-live",
        "from asking for a refresh after the tag moved until the new digest is live: resolved, verified, pulled, compiled, tried, swapped",
        living,
    )?;
    whole.baselines.push(Baseline {
        what: "compiling it alone",
        samples: baseline,
        goal: None,
    });
    Ok(vec![
        whole,
        step("tag-to-live-resolve", "asking what the tag points to", resolving)?,
        step(
            "tag-to-live-signatures",
            "finding the signatures and verifying them",
            verifying,
        )?,
        step(
            "tag-to-live-pull",
            "resolving again, manifest, config and layer with all checks, written to the cache",
            fetching,
        )?,
        step("tag-to-live-compile", "compiling, without a cache", compiling)?,
        starting,
    ])
}

/// The digest that is live.
fn live(host: &Host) -> Option<String> {
    let adapters = host.board().adapters();
    let plugins = adapters.into_iter().flat_map(|adapter| adapter.plugins);
    plugins
        .filter(|plugin| plugin.plugin == "lz")
        .find_map(|plugin| plugin.live)
}

/// Starts with a warm cache whose registry is gone.
async fn starts(site: &mut Site, times: usize) -> Result<Figure> {
    site.running = None;
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let begin = Instant::now();
        let host = site.host("live").await?;
        ensure!(live(&host).is_some(), "nothing is live");
        took.push(begin.elapsed());
        host.stop().await;
    }
    Ok(Figure {
        name: "start-without-registry".to_owned(),
        what: "from nothing to a live adapter, its plugin verified and loaded from the caches, while its registry is gone",
        samples: Samples::new(took)?,
        goal_p50: Some(Duration::from_secs(2)),
        goal_p99: Some(Duration::from_secs(2)),
        baselines: Vec::new(),
    })
}

/// From a reference to a plugin that can be called, by both caches alone.
async fn cold_load(name: &str, goal: Duration, loads: usize) -> Result<Figure> {
    let site = Site::start()?;
    let bytes = component(&format!("{name}.wasm"))?;
    let reference = site.reference()?.to_string();
    site.publish(&bytes).await?;
    let shelf = Shelf::new(&site.settings, site.folder.path().join("plugins"))?;
    let fetched = shelf.fetch(&reference, Refresh::Resolve).await?;
    shelf.took_over(&reference, &fetched.digest).await;
    let runtime = serve::runtime(Some(site.folder.path().join("code").as_path()))?;
    drop(load(&runtime, bytes.clone()).await?);
    let mut times = Vec::with_capacity(loads);
    for _ in 0..loads {
        let begin = Instant::now();
        let known = shelf.known(None, &reference).await.context("it is not in the cache")?;
        let (runtime, digest) = (Arc::clone(&runtime), known.component.try_into()?);
        let plugin = tokio::task::spawn_blocking(move || runtime.known(&digest)).await?;
        times.push(begin.elapsed());
        ensure!(plugin.is_some(), "its code is not in the cache");
    }
    let plain = Plain::new(&runtime, &bytes, site.folder.path().join("plain"))?;
    let mut alone = Vec::with_capacity(loads);
    for _ in 0..loads {
        let begin = Instant::now();
        let loaded = plain.load()?;
        alone.push(begin.elapsed());
        drop(loaded);
    }
    Ok(Figure {
        name: format!("cold-load-{name}"),
        what: "from a reference to a plugin that can be called, by the caches: manifest, signatures and code verified",
        samples: Samples::new(times)?,
        goal_p50: Some(goal),
        goal_p99: None,
        baselines: vec![Baseline {
            what: "wasmtime alone, nothing verified",
            samples: Samples::new(alone)?,
            goal: None,
        }],
    })
}

/// Many distinct plugins whose code is in the cache, until all can be called.
async fn many(count: usize) -> Result<(Figure, Size)> {
    let folder = tempfile::tempdir()?;
    let cache = folder.path().join("code");
    let bytes = component("landing-zone.wasm")?;
    let copies: Vec<Vec<u8>> = (0..).take(count).map(|number: u32| numbered(&bytes, number)).collect();
    let copies = Arc::new(copies);
    let filling = serve::runtime(Some(cache.as_path()))?;
    let (plugins, _) = all_at_once(&copies, load_into(&filling)).await?;
    drop((plugins, filling));

    let runtime = serve::runtime(Some(cache.as_path()))?;
    let before = resident()?;
    let (plugins, took) = all_at_once(&copies, load_into(&runtime)).await?;
    ensure!(plugins.len() == count, "{} plugins were loaded", plugins.len());
    let grown = resident()?.saturating_sub(before);
    drop((plugins, copies));

    // Their code is the same but for the number, which says nothing to who runs it.
    let first = Plain::new(&runtime, &bytes, folder.path().join("plain"))?;
    let files = (0..count).map(|number| first.copy(folder.path().join(format!("plain-{number}"))));
    let files = Arc::new(files.collect::<Result<Vec<_>, _>>()?);
    let before = resident()?;
    let (loaded, alone) = all_at_once(&files, |file: &Plain| file.load()).await?;
    ensure!(loaded.len() == count, "{} were loaded", loaded.len());
    let grown_alone = resident()?.saturating_sub(before);
    drop(loaded);
    let time = Figure {
        name: format!("cached-{count}-ready"),
        what: "so many distinct plugins of the cache until all can be called",
        samples: Samples::new(vec![took])?,
        goal_p50: Some(Duration::from_secs(2)),
        goal_p99: None,
        baselines: vec![Baseline {
            what: "wasmtime alone, nothing verified",
            samples: Samples::new(vec![alone])?,
            goal: None,
        }],
    };
    let size = Size {
        name: format!("cached-{count}-memory"),
        what: "by how much the resident memory of the process grew meanwhile",
        bytes: grown,
        goal: Some(MANY_BYTES),
        baselines: vec![("wasmtime alone, nothing verified", grown_alone)],
    };
    Ok((time, size))
}

fn load_into(runtime: &Arc<Runtime>) -> impl Fn(&Vec<u8>) -> Result<Arc<Plugin>, LoadError> + Clone + Send + 'static {
    let runtime = Arc::clone(runtime);
    move |bytes| runtime.load(bytes)
}

/// Loads all on as many threads as there are cores, and keeps what was loaded.
async fn all_at_once<F, L>(
    files: &Arc<Vec<F>>,
    load: impl Fn(&F) -> Result<L, LoadError> + Clone + Send + 'static,
) -> Result<(Vec<L>, Duration)>
where
    F: Send + Sync + 'static,
    L: Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let workers = (0..std::thread::available_parallelism()?.get()).map(|_| {
        let (files, load, next) = (Arc::clone(files), load.clone(), Arc::clone(&next));
        tokio::task::spawn_blocking(move || {
            let mut loaded = Vec::new();
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                loaded.push(load(file)?);
            }
            Ok::<_, LoadError>(loaded)
        })
    });
    let mut loaded = Vec::new();
    for worker in futures::future::join_all(workers).await {
        loaded.extend(worker??);
    }
    Ok((loaded, begin.elapsed()))
}

async fn load(runtime: &Arc<Runtime>, bytes: Vec<u8>) -> Result<Arc<Plugin>> {
    let runtime = Arc::clone(runtime);
    let plugin = tokio::task::spawn_blocking(move || runtime.load(&bytes)).await?;
    plugin.context("cannot load the plugin")
}

/// The same component with another digest: a custom section says nothing to who runs it.
fn numbered(bytes: &[u8], number: u32) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    // Section 0, its size, the size of its name, its name, and what it says.
    copy.extend([0, 9, 4]);
    copy.extend(b"copy");
    copy.extend(number.to_be_bytes());
    copy
}
