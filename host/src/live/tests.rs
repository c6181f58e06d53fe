//! A host that follows plugins of a registry in memory, through everything between the two.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use berth_engine::{
    adapter::{Adapter, Limits},
    queue::Rhythms,
};
use berth_runtime::{Pool, Runtime};

use super::*;
use crate::{
    artifacts::Shelf,
    config::{document, host::HostLimits},
    dispatch::Deaf,
    fleet::{self, SystemClock},
    registry::{
        Digest, Needed, Policy, PrivateKey, Registry, Settings, TrustedKey, access, component,
        memory::{Memory, Only},
        push,
        signature::{new_key, sign},
    },
    serve::{Beginning, Host, Parts},
    simulate::{
        cluster::{Kubernetes, SystemClock as ClusterClock},
        fleet::{FleetState, InMemory, Simulation},
    },
    telemetry::admin::{Host as _, PluginState, Standing},
    web,
    world::{Artifact, ArtifactFault, Refresh, World},
};

mod fetches;
mod restarts;

/// How long any one condition is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often tags are resolved again here.
const OFTEN: Duration = Duration::from_millis(50);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

const DOCUMENT: &str = "
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: NAME}
spec:
  subjects: [Cluster]
  namespace: work
  plugins:
    guest: {source: 'oci://SOURCE', config: {v: 1}, limits: {deadline: 60s}}
  preconditions: [{plugin: guest}]
  resources: [{plugin: guest}]
  postconditions: [{plugin: guest}]
  status: {plugin: guest}
";

/// What every document here names.
const REFERENCE: &str = "registry.example.com/partners/guest:1";

/// A plugin that answers in all phases; `copy` tells it from others.
fn guest(copy: &str) -> Vec<u8> {
    numbered("all-phases", copy)
}

/// A plugin that traps as soon as it is tried.
fn trap(copy: &str) -> Vec<u8> {
    numbered("traps-after-setup", copy)
}

fn numbered(name: &str, copy: &str) -> Vec<u8> {
    let mut bytes = berth_test_guests::component(name);
    component::tests::custom(&mut bytes, "copy", copy.as_bytes());
    bytes
}

/// A registry, its plugins' names, and folders that outlive a host.
struct Site {
    remote: Arc<Memory>,
    folder: tempfile::TempDir,
    policy: Policy,
    policies: BTreeMap<String, Policy>,
    refresh: Duration,
    runtime: Arc<Runtime>,
}

/// A host at work; it ends with the value.
struct Stage {
    host: Arc<Host>,
    metrics: Arc<Metrics>,
    problems: Vec<Problem>,
}

/// The adapter `a` with the plugin `guest` from there.
fn adapter(source: &str) -> Adapter {
    let text = DOCUMENT.replace("NAME", "a").replace("SOURCE", source);
    let caps = Limits {
        deadline: Duration::from_secs(60),
        ..Limits::default()
    };
    let read = document::parse(std::path::Path::new("a.yaml"), &text, &caps);
    read.strict().unwrap().remove(0).adapter
}

fn trust(keys: &[&PrivateKey], needed: Needed) -> Policy {
    let keys = keys.iter().enumerate().map(|(index, key)| TrustedKey {
        name: format!("key-{index}"),
        key: key.public().clone(),
    });
    Policy::Signers {
        keys: keys.collect(),
        identities: None,
        needed,
    }
}

impl Site {
    fn new(refresh: Duration) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let settings = berth_runtime::Settings {
            pool: Pool::OnDemand,
            ..berth_runtime::Settings::default()
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("adapters")).unwrap();
        let site = Self {
            remote: Arc::default(),
            folder,
            policy: Policy::Off,
            policies: BTreeMap::new(),
            refresh,
            runtime: Arc::new(Runtime::new(&settings).unwrap()),
        };
        site.document("a", REFERENCE);
        site
    }

    fn document(&self, name: &str, source: &str) {
        let text = DOCUMENT.replace("NAME", name).replace("SOURCE", source);
        std::fs::write(self.folder.path().join(format!("adapters/{name}.yaml")), text).unwrap();
    }

    /// The tag points to these bytes from now on.
    async fn publish(&self, bytes: &[u8]) -> Digest {
        let repository = REFERENCE.parse::<crate::registry::Reference>().unwrap().repository;
        let packed = push(self.remote.as_ref(), &repository, Some("1"), bytes, &|_, _| {}).await;
        packed.unwrap().digest
    }

    async fn sign(&self, digest: &Digest, key: &PrivateKey) {
        let repository = REFERENCE.parse::<crate::registry::Reference>().unwrap().repository;
        sign(self.remote.as_ref(), &repository, digest, key).await.unwrap();
    }

    fn shelf(&self) -> Shelf {
        let settings = Settings {
            policy: self.policy.clone(),
            allow: vec!["registry.example.com/*".parse().unwrap()],
            ..Settings::new(self.folder.path().join("cache"))
        };
        let registry = Registry::new(settings, Arc::new(Only(Arc::clone(&self.remote)))).unwrap();
        let access = access::Access::new(access::Settings::default());
        Shelf::of(registry, access, self.policies.clone())
    }

    fn parts(&self, metrics: &Arc<Metrics>) -> Parts {
        let kubernetes = Kubernetes::new(ClusterClock);
        kubernetes.namespace("work");
        let simulation = Simulation::new(FleetState::new(&[], &[]), Arc::new(SystemClock::new()));
        let settings = fleet::Settings::new("http://fleet.example".parse().unwrap());
        Parts {
            world: World {
                fleet: Arc::new(InMemory::new(&simulation, &settings).unwrap()),
                cluster: Arc::new(kubernetes),
                web: Arc::new(web::Client::new().unwrap()),
            },
            runtime: Arc::clone(&self.runtime),
            metrics: Arc::clone(metrics),
            clock: Arc::new(Timestamp::now),
            concurrency: 2,
            rhythms: Rhythms::default(),
            owns: None,
            listener: Arc::new(Deaf),
        }
    }

    /// Starts a host that follows the folder.
    async fn start(&self) -> Stage {
        let metrics = Arc::new(Metrics::new("test", "test"));
        let documents = self.folder.path().join("adapters");
        let caps = caps();
        let beginning = Beginning {
            loading: document::load_folder(&documents, &caps),
            artifacts: Some(Arc::new(self.shelf())),
            refresh: Some(self.refresh),
        };
        let (host, problems) = Host::begin(self.parts(&metrics), beginning).await;
        host.follow(Following {
            folder: documents,
            caps,
            configuration: None,
            poll: Duration::from_millis(10),
        });
        Stage {
            host,
            metrics,
            problems,
        }
    }
}

impl Stage {
    fn state(&self, adapter: &str) -> Option<AdapterState> {
        let adapters = self.host.board().adapters();
        adapters.into_iter().find(|one| one.name == adapter)
    }

    /// Waits until the plugin of an adapter is as described.
    async fn plugin(&self, adapter: &str, what: &str, is: impl Fn(&PluginState) -> bool) -> PluginState {
        let end = Instant::now() + PATIENCE;
        loop {
            let state = self.state(adapter);
            match state.as_ref().and_then(|state| state.plugins.first()) {
                Some(plugin) if is(plugin) => return plugin.clone(),
                _ => assert!(Instant::now() < end, "{adapter} is not {what}: {state:#?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until an adapter's plugin is this one.
    async fn lives(&self, adapter: &str, digest: &Digest) -> PluginState {
        let live = |plugin: &PluginState| plugin.live.as_deref() == Some(digest.as_str());
        self.plugin(adapter, "live", live).await
    }

    /// Waits until a line of the metrics is this one.
    async fn tells(&self, line: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.metrics.encode().unwrap().lines().any(|one| one == line) {
            assert!(Instant::now() < end, "no `{line}`: {}", self.metrics.encode().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.host.stop().await;
    }
}

/// The sources of one document, at times of the test's choice.
struct Turning {
    sources: Sources,
    loader: Loader,
    adapter: Adapter,
}

impl Site {
    fn loader(&self) -> Loader {
        let metrics = Arc::new(Metrics::new("test", "test"));
        let parts = self.parts(&metrics);
        Loader {
            runtime: parts.runtime,
            world: parts.world,
            metrics,
            variable: Arc::new(|_| None),
        }
    }

    fn sources(&self) -> Turning {
        self.sources_of(Arc::new(self.shelf()))
    }

    fn sources_of(&self, artifacts: Arc<dyn Artifacts>) -> Turning {
        let adapter = adapter(REFERENCE);
        let mut sources = Sources::new(Some(artifacts), self.refresh);
        sources.want([(&adapter, &adapter.plugins["guest"])].into_iter());
        Turning {
            sources,
            loader: self.loader(),
            adapter,
        }
    }
}

impl Turning {
    /// Looks at this time, and takes in what is fetched. Answers whether anything was.
    async fn turn(&mut self, now: Timestamp) -> bool {
        self.look(now, false).await
    }

    /// The same, asked for by hand.
    async fn ask(&mut self, now: Timestamp) -> bool {
        self.look(now, true).await
    }

    async fn look(&mut self, now: Timestamp, all: bool) -> bool {
        self.sources.look(&self.loader, now, all).await;
        let mut any = false;
        while let Some(landed) = self.sources.landed().await {
            any = true;
            self.sources.take_in(landed, now, 0.5);
        }
        any
    }

    /// The digest that can be used, and why there is nothing newer.
    fn stands(&self) -> (Option<String>, Option<String>) {
        let plugin = &self.adapter.plugins["guest"];
        let usable = match self.sources.state(&self.adapter, plugin) {
            State::Usable(usable) => Some(usable.digest.clone()),
            State::Fetching | State::Unusable(_) => None,
        };
        let trouble = self.sources.trouble(&self.adapter, plugin);
        (usable, trouble.map(|trouble| trouble.message.clone()))
    }
}

/// As a host has them, but for a machine that may be busy.
fn caps() -> Limits {
    Limits {
        deadline: PATIENCE,
        ..HostLimits::default_caps()
    }
}

/// So many seconds later.
fn at(begin: Timestamp, seconds: u64) -> Timestamp {
    sources::after(begin, Duration::from_secs(seconds))
}
