//! Many subjects through a whole life while everything goes wrong, in virtual time.
//!
//! Owns a run: the simulated APIs, hosts with the real dispatcher, driver, engine and clients,
//! subjects that are created, changed and deleted, and faults of everything. Who judges at the
//! end knows what was ordered, and nothing of the engine.
//!
//! All that is random comes from one seed, and one thread does everything: the same seed gives
//! the same run.

mod adapters;
mod expect;
mod ledger;
mod link;
mod lives;
mod time;
mod weather;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use berth::{
    dispatch::{Dispatcher, Live, Settings},
    fleet,
    simulate::{
        cluster::{Kubernetes, Pace},
        fleet::{Cadence, FleetState, InMemory, Simulation},
    },
    source::{self, Settled, Sink as _},
    web,
    world::{Change, Cluster as _, World},
};
use berth_engine::{contract::Reference, effect::Ownership, manifest, queue::Rhythms, subject::Event};
use jiff::SignedDuration;
use tokio::sync::{Notify, mpsc};

use self::{
    adapters::{DNS, NAMESPACE, SIZING, VALIDATION},
    ledger::{Ear, HostNumber, Ledger},
    link::Link,
    lives::{Lives, Subject},
    time::Time,
};

/// What the adapters apply.
const KINDS: [(&str, &str); 3] = [("batch/v1", "Job"), ("apps/v1", "Deployment"), ("v1", "ConfigMap")];
/// What Kubernetes makes of it.
const DEPENDENTS: [(&str, &str); 2] = [("apps/v1", "ReplicaSet"), ("v1", "Pod")];
/// How often Sentinel looks.
const POLL: Duration = Duration::from_secs(5);
/// How long everything may take to become right once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_mins(45);
/// How long everything must stay right then.
const CALM: Duration = Duration::from_mins(5);

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// From which all chance comes.
    pub seed: u64,
    /// How many clusters and node pools are created.
    pub subjects: usize,
    /// How many hosts run at a time.
    pub hosts: usize,
    /// For how long things go wrong, in virtual time.
    pub trouble: Duration,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How much virtual time it took.
    pub took: Duration,
    /// How many subjects there were before the last were deleted.
    pub alive: usize,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// What all reports come to, with their times: equal for equal runs.
    pub trace: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} of virtual time, {} subjects alive", self.took, self.alive)?;
        for (what, count) in &self.counts {
            writeln!(f, "{count:>8} {what}")?;
        }
        write!(f, "trace {:016x}", self.trace)
    }
}

impl Scenario {
    /// Runs it.
    ///
    /// # Errors
    /// Whatever is not as it should be at the end, or was not on the way.
    pub fn run(self) -> Result<Summary> {
        let time = Time::new(self.seed);
        let stage = Stage::set(&time)?;
        let told = time.run(stage.clone().play(self))?;
        told.with_context(|| {
            format!(
                "with BERTH_SEED={}; what happened:\n{:?}",
                self.seed,
                stage.ledger.counts()
            )
        })
    }
}

/// Tells which host was given a late list, and of what.
type Lists = mpsc::UnboundedReceiver<(HostNumber, Ownership)>;

/// A host that runs.
#[derive(Clone)]
struct Host {
    link: Arc<Link>,
    dispatcher: Dispatcher,
}

impl Host {
    fn hear_all(&self, changes: Vec<Change>) {
        for change in changes {
            self.dispatcher.changed(change);
        }
    }
}

/// Everything in a run. Clones are the same.
#[derive(Clone)]
struct Stage {
    time: Time,
    ledger: Ledger,
    hyperfleet: Arc<Simulation>,
    kubernetes: Kubernetes,
    lives: Lives,
    adapters: Vec<Live>,
    bell: Arc<Notify>,
    late: mpsc::UnboundedSender<(HostNumber, Ownership)>,
    lists: Arc<Mutex<Option<Lists>>>,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    hosts: Vec<Host>,
    next: HostNumber,
    troubled: bool,
}

impl Stage {
    fn set(time: &Time) -> Result<Self> {
        let pace = Pace {
            start: Duration::from_secs(2),
            run: Duration::from_secs(8),
            stop: Duration::from_secs(1),
            ..Pace::default()
        };
        let kubernetes = Kubernetes::with_pace(time.clone(), pace);
        kubernetes.namespace(NAMESPACE);
        for node in 2..=4 {
            kubernetes.node(&format!("node-{node}"), "64", "256Gi", 500);
        }
        let state = FleetState::new(&[VALIDATION, DNS], &[SIZING]);
        let hyperfleet = Simulation::new(state, Arc::new(time.clone()));
        let world = World {
            fleet: Arc::new(client(&hyperfleet)?),
            cluster: Arc::new(kubernetes.clone()),
            web: Arc::new(web::Client::new()?),
        };
        let (late, lists) = mpsc::unbounded_channel();
        Ok(Self {
            time: time.clone(),
            ledger: Ledger::new(time.clone()),
            lives: Lives::new(time.clone(), Arc::clone(&hyperfleet)),
            hyperfleet,
            kubernetes,
            adapters: adapters::loaded(&world)?,
            bell: Arc::default(),
            late,
            lists: Arc::new(Mutex::new(Some(lists))),
            running: Arc::default(),
        })
    }

    /// From an empty world to the judgement.
    async fn play(self, scenario: Scenario) -> Result<Summary> {
        for account in [VALIDATION, DNS, SIZING] {
            weather::grant(&self, account);
        }
        for live in &self.adapters {
            self.kubernetes.watch(&manifest::kinds(&live.adapter)).await;
        }
        self.begin()?;
        self.running().troubled = true;
        for _ in 0..scenario.hosts {
            self.start_host().await?;
        }
        let lives: Vec<_> = (0..scenario.subjects)
            .map(|number| {
                let lives = self.lives.clone();
                tokio::spawn(async move { lives.live(number, number % 10 < 7, scenario.trouble).await })
            })
            .collect();
        weather::blow(&self, scenario.trouble).await;
        for life in lives {
            life.await??;
        }
        self.calm(scenario.hosts).await?;
        let all = self.lives.all();
        ensure!(all.len() == scenario.subjects, "{} subjects were created", all.len());
        self.becomes_right(&all).await?;
        let written = self.written();
        self.time.sleep(CALM).await;
        self.becomes_right(&all).await.context("it was right before")?;
        ensure!(
            written == self.written(),
            "something was written although all was right: {} writes",
            self.written() - written
        );
        self.judge(&all)?;
        self.end().await?;
        Ok(Summary {
            took: self.time.elapsed(),
            alive: all.iter().filter(|subject| !subject.deleted).count(),
            counts: self.ledger.counts(),
            trace: self.ledger.trace(),
        })
    }

    /// Begins all that goes on by itself: the cluster, its watches, Sentinel.
    fn begin(&self) -> Result<()> {
        let cluster = self.clone();
        tokio::spawn(async move { cluster.run_cluster().await });
        let mut changes = self.kubernetes.changes().context("the changes are taken already")?;
        let told = self.clone();
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                for host in told.hosts() {
                    if host.link.hears(&change) {
                        host.dispatcher.changed(change.clone());
                    }
                }
            }
        });
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut lists = lists.context("the lists are taken already")?;
        let told = self.clone();
        tokio::spawn(async move {
            while let Some((host, ownership)) = lists.recv().await {
                let told = told.clone();
                tokio::spawn(async move { told.catch_up(host, &ownership).await });
            }
        });
        let sentinel = self.clone();
        tokio::spawn(async move { sentinel.watch_over().await });
        Ok(())
    }

    /// Lets happen in the cluster what is due.
    async fn run_cluster(&self) {
        loop {
            let wait = match self.kubernetes.step() {
                Some(due) => Duration::try_from(self.time.now().duration_until(due)).unwrap_or_default(),
                None => Duration::from_secs(60),
            };
            tokio::select! {
                biased;
                () = self.bell.notified() => {}
                () = self.time.sleep(wait.max(Duration::from_millis(1))) => {}
            }
        }
    }

    /// A host whose list was late is told a little later, as its watch would.
    async fn catch_up(&self, number: HostNumber, ownership: &Ownership) {
        self.time.sleep(self.time.between(0.5, 4.0)).await;
        let all = self.lives.all();
        let Some(subject) = all.iter().find(|one| one.id == ownership.subject.id) else {
            return;
        };
        let change = Change {
            adapter: ownership.adapter.clone(),
            subject: subject.reference(),
            object: Reference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: None,
                name: "late".to_owned(),
            },
        };
        if let Some(host) = self.hosts().iter().find(|host| host.link.host == number) {
            host.dispatcher.changed(change);
        }
    }

    /// Publishes what Sentinel publishes.
    async fn watch_over(&self) {
        let cadence = Cadence {
            reconciled: SignedDuration::from_mins(30),
            unreconciled: SignedDuration::from_mins(2),
        };
        loop {
            self.time.sleep(POLL).await;
            self.hyperfleet.take_requests();
            for document in self.hyperfleet.sentinel(cadence) {
                match source::decode(document) {
                    Ok(event) => {
                        self.ledger.count("events published");
                        let broker = self.clone();
                        tokio::spawn(async move { broker.deliver(event).await });
                    }
                    Err(refusal) => self.ledger.broke(format!("an event is refused: {refusal}")),
                }
            }
        }
    }

    /// Delivers an event until some host acknowledges it, as a broker does.
    async fn deliver(&self, event: Event) {
        loop {
            let Some(host) = self.some_host() else {
                self.time.sleep(Duration::from_secs(5)).await;
                continue;
            };
            let given = self.ledger.given();
            let settled = tokio::select! {
                biased;
                () = host.link.death() => None,
                settled = host.dispatcher.accept(event.clone()) => Some(settled),
            };
            match settled {
                Some(Settled::Done) => {
                    self.ledger.acknowledged(host.link.host, given, &event.subject);
                    return;
                }
                Some(Settled::Refused { reason, message }) => {
                    self.ledger.broke(format!("an event is set aside, {reason}: {message}"));
                    return;
                }
                Some(Settled::Retry { after, .. }) => {
                    self.ledger.count("events given back");
                    self.time.sleep(after).await;
                }
                None => self.time.sleep(Duration::from_secs(3)).await,
            }
        }
    }

    async fn start_host(&self) -> Result<()> {
        let (number, troubled) = {
            let mut running = self.running();
            running.next += 1;
            (running.next, running.troubled)
        };
        let link = Link::new(number, self, client(&self.hyperfleet)?, troubled);
        let dispatcher = Dispatcher::spawn(Settings {
            world: World {
                fleet: link.clone(),
                cluster: link.clone(),
                web: Arc::new(web::Client::new()?),
            },
            clock: {
                let time = self.time.clone();
                Arc::new(move || time.now())
            },
            listener: Arc::new(Ear {
                host: number,
                ledger: self.ledger.clone(),
            }),
            concurrency: 16,
            rhythms: Rhythms::default(),
            owns: None,
            waits: self.time.waits(),
        });
        dispatcher.set_adapters(self.adapters.clone(), BTreeSet::new());
        let host = Host { link, dispatcher };
        // A host lists all that there is when it begins to watch.
        for (api_version, kind) in KINDS {
            for object in self.kubernetes.objects(api_version, kind, Some(NAMESPACE)) {
                if let Some((adapter, subject, ..)) = manifest::read(&object) {
                    let change = Change {
                        adapter,
                        subject,
                        object: reference(api_version, kind, &object),
                    };
                    if host.link.hears(&change) {
                        host.dispatcher.changed(change);
                    }
                }
            }
        }
        self.running().hosts.push(host);
        Ok(())
    }

    /// Kills a host wherever it is, and starts another after a while.
    async fn kill_and_restart(&self, after: Duration) {
        let victim = {
            let mut running = self.running();
            if running.hosts.is_empty() {
                return;
            }
            let place = self.time.below(running.hosts.len());
            running.hosts.remove(place)
        };
        victim.link.kill();
        drop(victim);
        self.time.sleep(after).await;
        if let Err(error) = self.start_host().await {
            self.ledger.broke(format!("a host cannot start: {error:#}"));
        }
    }

    /// Nothing goes wrong any more.
    async fn calm(&self, hosts: usize) -> Result<()> {
        self.running().troubled = false;
        // Whatever still lasts ends by itself within this time.
        self.time.sleep(Duration::from_secs(70)).await;
        weather::settle(self);
        for host in self.hosts() {
            host.link.calm();
            host.hear_all(host.link.part_from_cluster(false));
        }
        self.bell.notify_one();
        ensure!(self.hosts().len() == hosts, "there are {} hosts", self.hosts().len());
        Ok(())
    }

    /// Waits until all is as it should be.
    async fn becomes_right(&self, all: &[Subject]) -> Result<()> {
        let judge = client(&self.hyperfleet)?;
        let end = self.time.elapsed() + PATIENCE;
        let mut doubtful: Vec<&Subject> = all.iter().collect();
        loop {
            let mut wrong = Vec::new();
            for subject in doubtful {
                if let Some(problem) = expect::wrong(all, subject, &judge, &self.kubernetes).await? {
                    wrong.push((subject, problem));
                }
            }
            if wrong.is_empty() {
                return Ok(());
            }
            if self.time.elapsed() >= end {
                let lines: Vec<String> = wrong
                    .iter()
                    .take(20)
                    .map(|(subject, problem)| format!("{} {}: {problem}", subject.key(), subject.spec))
                    .collect();
                anyhow::bail!("{} subjects are not right:\n{}", wrong.len(), lines.join("\n"));
            }
            doubtful = wrong.into_iter().map(|(subject, _)| subject).collect();
            self.time.sleep(Duration::from_secs(20)).await;
        }
    }

    /// Deletes all that lives: nothing is left of anything.
    async fn end(&self) -> Result<()> {
        self.lives.end()?;
        let all = self.lives.all();
        ensure!(all.iter().all(|subject| subject.deleted), "not all were deleted");
        self.becomes_right(&all).await.context("at the end all were deleted")?;
        let end = self.time.elapsed() + PATIENCE;
        while let Some(left) = self.left() {
            ensure!(
                self.time.elapsed() < end,
                "at the end all were deleted, and {left} are left"
            );
            self.time.sleep(Duration::from_secs(1)).await;
        }
        self.judge(&all).context("at the end all were deleted")
    }

    /// Counts the objects of the adapters and what Kubernetes made of them; none if there are none.
    fn left(&self) -> Option<String> {
        let counted = KINDS.into_iter().chain(DEPENDENTS).filter_map(|(api_version, kind)| {
            let count = self.kubernetes.objects(api_version, kind, Some(NAMESPACE)).len();
            (count > 0).then(|| format!("{count} {kind}s"))
        });
        let counted: Vec<String> = counted.collect();
        (!counted.is_empty()).then(|| counted.join(", "))
    }

    /// What must hold beside the subjects.
    fn judge(&self, all: &[Subject]) -> Result<()> {
        let broken = self.ledger.broken();
        ensure!(
            broken.is_empty(),
            "{} promises were broken:\n{}",
            broken.len(),
            broken.join("\n")
        );
        for host in self.hosts() {
            let unfinished = self.ledger.unfinished(host.link.host);
            ensure!(unfinished.is_empty(), "never reported: {}", unfinished.join(", "));
        }
        let alive = |id: &str| all.iter().any(|subject| !subject.deleted && subject.id == id);
        for (api_version, kind) in KINDS {
            for object in self.kubernetes.objects(api_version, kind, Some(NAMESPACE)) {
                let id = object["metadata"]["labels"][manifest::LABEL_SUBJECT_ID].as_str();
                let whose = id.map(str::to_owned).unwrap_or_default();
                ensure!(
                    alive(&whose),
                    "{kind} {} is left of {whose}",
                    object["metadata"]["name"]
                );
            }
        }
        Ok(())
    }

    fn written(&self) -> u64 {
        let counts = self.ledger.counts();
        counts.get("applies").copied().unwrap_or_default() + counts.get("deletes").copied().unwrap_or_default()
    }

    fn hosts(&self) -> Vec<Host> {
        self.running().hosts.clone()
    }

    fn some_host(&self) -> Option<Host> {
        let hosts = self.hosts();
        (!hosts.is_empty()).then(|| hosts[self.time.below(hosts.len())].clone())
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reference(api_version: &str, kind: &str, object: &serde_json::Value) -> Reference {
    Reference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
        name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
    }
}

/// A client of its own, as every host has one.
fn client(hyperfleet: &Arc<Simulation>) -> Result<InMemory> {
    let settings = fleet::Settings::new("http://hyperfleet.example".parse()?);
    Ok(InMemory::new(hyperfleet, &settings)?)
}
