//! What an event costs, and what is kept in memory, with many adapters and many known subjects.
//!
//! The simulated APIs answer, from another process, so that neither their CPU nor their memory is
//! counted: the HyperFleet API over HTTP, by the host's own client, and Kubernetes over a socket
//! in the place of the host's store. What is counted is a process of its own with dispatcher,
//! engine, driver, sandbox and clients. The baseline makes the same calls in the same order, by
//! the same clients, and decides nothing.
//!
//! With many adapters each takes care of a kind of its own, so that an event is one adapter's,
//! or all take care of one kind, so that an event is all adapters'.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use berth::{
    config::{document, host::HostLimits},
    dispatch::{Deaf, Dispatcher, Settings, Waits},
    fleet,
    plugins::{DECLARATIVE, Loader},
    serve,
    source::{Settled, Sink as _},
    telemetry::Metrics,
    web,
    world::World,
};
use berth_engine::{
    adapter::Adapter,
    effect::{Ownership, Reported},
    manifest,
    queue::Rhythms,
    report::{Journey, Metadata, Report},
    subject::{Event, SubjectKey, SubjectRef},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::remote::{NAMESPACE, Remote, Served};
use super::{
    Baseline, Figure, Finding, Samples, Size, Tell,
    child::{self, Found},
    fleet::{Api, kind_of},
};

mod remote;

/// Reports that are measured, in batches of events.
const REPORTS: usize = 10_000;
const BATCHES: usize = 20;
/// How many are under way at a time.
const AT_A_TIME: usize = 16;
/// How long all Jobs may take.
const PATIENCE: Duration = Duration::from_secs(600);
const GOAL: Duration = Duration::from_micros(600);

/// What is varied.
#[derive(Debug, Clone, Copy)]
struct Case {
    adapters: usize,
    subjects: usize,
    /// Whether all adapters take care of all subjects.
    fans_out: bool,
}

const CASES: [Case; 5] = [
    of(1, 1_000, false),
    of(1, 20_000, false),
    of(100, 1_000, false),
    of(100, 20_000, false),
    // As many Jobs as can be had in a few minutes.
    of(100, 100, true),
];

const fn of(adapters: usize, subjects: usize, fans_out: bool) -> Case {
    Case {
        adapters,
        subjects,
        fans_out,
    }
}

impl Case {
    fn smaller(self, times: usize) -> Self {
        Self {
            adapters: (self.adapters / times).max(1),
            subjects: (self.subjects / times).max(10),
            ..self
        }
    }

    /// How many kinds of subjects there are.
    fn kinds(self) -> usize {
        if self.fans_out { 1 } else { self.adapters }
    }

    /// How many adapters report on an event.
    fn reports(self) -> usize {
        self.adapters / self.kinds()
    }
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    adapters: usize,
    kinds: usize,
    /// The file with paths and identifiers of all subjects, by number.
    subjects: PathBuf,
    /// Events of a batch.
    batch: usize,
    fleet: url::Url,
    kubernetes: PathBuf,
    /// Whether the same calls are made without the host.
    bare: bool,
}

/// Measures; everything so many times smaller.
pub(super) async fn measure(smaller: usize, tell: Tell<'_>) -> Result<()> {
    for case in CASES {
        for finding in one(case, case.smaller(smaller), smaller).await? {
            tell(finding)?;
        }
    }
    Ok(())
}

/// Measures a case, which is told as `told`.
async fn one(told: Case, case: Case, smaller: usize) -> Result<[Finding; 2]> {
    let (api, kubernetes) = (Api::serve(case.kinds()).await?, Served::begin()?);
    let text = |subject: &Value, field: &str| subject[field].as_str().unwrap_or_default().to_owned();
    let create = |number| {
        let subject = api.create(number, &json!({"provider": "gcp"}))?;
        Ok((text(&subject, "href"), text(&subject, "id")))
    };
    let subjects = (0..case.subjects).map(create).collect::<Result<Vec<_>>>()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("subjects.json");
    std::fs::write(&file, serde_json::to_vec(&subjects)?)?;
    let task = Task {
        adapters: case.adapters,
        kinds: case.kinds(),
        subjects: file,
        batch: (REPORTS / case.reports() / smaller / BATCHES).max(1),
        fleet: format!("http://127.0.0.1:{}", api.port).parse()?,
        kubernetes: kubernetes.socket().to_owned(),
        bare: false,
    };
    let spawn = |task: &Task| tokio::task::block_in_place(|| child::spawn(&child::Task::Known(task.clone())));
    let host = spawn(&task)?;
    for (path, _) in &subjects {
        let done = achieved(&api, path);
        ensure!(
            done == case.reports(),
            "{done} of {} adapters are done with {path}",
            case.reports()
        );
    }
    let bare = spawn(&Task { bare: true, ..task })?;

    let Case { adapters, subjects, .. } = told;
    let (kinds, cpu) = if told.fans_out {
        (
            "-of-one-kind",
            "CPU of an event that all adapters report on, their Jobs done",
        )
    } else {
        ("", "CPU of an event whose Job is done")
    };
    let samples = |found: &Found| Samples::new(found.cpu.iter().copied().map(Duration::from_nanos).collect());
    let [empty, loaded, known] = host.resident[..] else {
        bail!("the measurement tells {} sizes", host.resident.len());
    };
    Ok([
        Finding::Time(Figure {
            name: format!("event-cpu-{adapters}-adapters{kinds}-{subjects}"),
            what: cpu,
            samples: samples(&host)?,
            goal_p50: (!told.fans_out).then_some(GOAL),
            goal_p99: None,
            baselines: vec![Baseline {
                what: "the same calls in a bare loop",
                samples: samples(&bare)?,
                goal: None,
            }],
        }),
        Finding::Size(Size {
            name: format!("memory-{adapters}-adapters{kinds}-{subjects}"),
            what: "resident memory of the host once every subject was worked on, its compiler included",
            bytes: known,
            goal: None,
            baselines: vec![
                ("before an adapter is loaded", empty),
                ("before a subject is known", loaded),
            ],
        }),
    ])
}

/// How many adapters have told that they are done with a subject.
fn achieved(api: &Api, path: &str) -> usize {
    let path = format!("{path}/statuses");
    let answer = api
        .simulation
        .with(|state, now| state.handle(now, "GET", &path, Some("size=100"), b""));
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let rows = body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_available = |condition: &Value| condition["type"] == "Available" && condition["status"] == "True";
    let is_done = |row: &&Value| {
        row["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(is_available))
    };
    rows.iter().filter(is_done).count()
}

/// Measures in this process.
pub(super) async fn run(task: &Task) -> Result<Found> {
    let subjects = Subjects {
        kinds: task.kinds,
        known: serde_json::from_slice(&std::fs::read(&task.subjects)?)?,
    };
    let kubernetes = Remote::new(&task.kubernetes);
    let world = World {
        fleet: Arc::new(fleet::Client::new(&fleet::Settings::new(task.fleet.clone()))?),
        cluster: kubernetes.clone(),
        web: Arc::new(web::Client::new()?),
    };
    let runtime = serve::runtime(None)?;
    let mut found = Found::default();
    found.resident.push(child::resident()?);

    let folder = tempfile::tempdir()?;
    for number in 0..task.adapters {
        std::fs::write(
            folder.path().join(format!("{number}.yaml")),
            document(number, task.kinds),
        )?;
    }
    let documents = document::load_folder(folder.path(), &HostLimits::default_caps())
        .strict()
        .context("a document is wrong")?;
    let loader = Loader {
        runtime,
        world: world.clone(),
        metrics: Arc::new(Metrics::new("bench", "bench")),
        variable: Arc::new(|_| None),
    };
    let compiled = loader.compile(DECLARATIVE.into()).await;
    let compiled = compiled.map_err(|problem| anyhow!("the plugin cannot be compiled: {problem}"))?;
    let mut adapters = Vec::new();
    for document in &documents {
        let names = document.adapter.plugins.keys().cloned();
        let plugins = names.map(|name| (name, Arc::clone(&compiled))).collect();
        let live = loader.load(document, &plugins, &BTreeSet::new()).await;
        adapters.push(live.map_err(|problems| anyhow!("a document cannot be loaded: {problems:?}"))?);
    }
    let documents: Vec<Arc<Adapter>> = adapters.iter().map(|live| Arc::clone(&live.adapter)).collect();
    let dispatcher = Dispatcher::spawn(Settings {
        world: world.clone(),
        clock: Arc::new(Timestamp::now),
        listener: Arc::new(Deaf),
        concurrency: AT_A_TIME,
        rhythms: Rhythms::default(),
        owns: None,
        waits: Waits::default(),
    });
    dispatcher.set_adapters(adapters, BTreeSet::new());
    found.resident.push(child::resident()?);

    let ask = async |number: usize| {
        if task.bare {
            bare(&world, &documents, subjects.subject(number)).await
        } else {
            let settled = dispatcher.accept(subjects.event(number)).await;
            ensure!(settled == Settled::Done, "an event was not settled: {settled:?}");
            Ok(())
        }
    };
    let all = |numbers: Vec<usize>| {
        stream::iter(numbers)
            .map(&ask)
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>()
    };
    let everything = || (0..subjects.known.len()).collect();
    if !task.bare {
        // Jobs are made, and their ends are seen by another event.
        all(everything()).await?;
        let finished = async {
            while kubernetes.unfinished().await? > 0 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        tokio::time::timeout(PATIENCE, finished)
            .await
            .context("Jobs do not end")??;
    }
    all(everything()).await?;
    found.resident.push(child::resident()?);
    for number in 0..BATCHES {
        // A step that has no divisor with the number of subjects meets all of them.
        let numbers = (0..task.batch)
            .map(|one| (number * task.batch + one) * 7919 % subjects.known.len())
            .collect();
        let before = child::cpu()?;
        all(numbers).await?;
        found.cpu.push((child::cpu()? - before) / u64::try_from(task.batch)?);
    }
    Ok(found)
}

fn document(number: usize, kinds: usize) -> String {
    format!(
        r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: adapter-{number}}}
spec:
  subjects: [{kind}]
  namespace: {NAMESPACE}
  serviceAccount: {NAMESPACE}
  permits: [{{apiVersion: batch/v1, kind: Job}}]
  preconditions:
    - {{name: provider, expression: 'subject.spec.provider == "gcp"', message: only GCP}}
  resources:
    - name: work
      manifest:
        apiVersion: batch/v1
        kind: Job
        metadata: {{name: "work-{number}-{{{{ .subject.id }}}}"}}
        spec:
          backoffLimit: 0
          template:
            spec:
              restartPolicy: Never
              containers: [{{name: work, image: registry.example.com/work:1}}]
  postconditions:
    - {{name: done, expression: 'objects.work.status.succeeded > 0', message: the work is under way}}
"#,
        kind = kind_of(number, kinds),
    )
}

/// All subjects, in a process of its own.
struct Subjects {
    kinds: usize,
    /// Paths and identifiers.
    known: Vec<(String, String)>,
}

impl Subjects {
    fn subject(&self, number: usize) -> SubjectRef {
        let (href, id) = &self.known[number];
        SubjectRef {
            href: href.clone(),
            key: SubjectKey {
                kind: kind_of(number, self.kinds),
                id: id.clone(),
            },
            generation: 1,
            owner: None,
        }
    }

    fn event(&self, number: usize) -> Event {
        let subject = self.subject(number);
        let id = uuid::Uuid::now_v7().to_string();
        let kind = "com.redhat.hyperfleet.bench.reconcile";
        let document = json!({
            "specversion": "1.0", "id": id, "source": "bench", "type": kind,
            "data": {"id": subject.key.id, "kind": subject.key.kind, "href": subject.href, "generation": 1},
        });
        Event {
            id,
            kind: kind.to_owned(),
            subject,
            document: document.into(),
        }
    }
}

/// What reconciles of Jobs that are done call, and no more.
async fn bare(world: &World, adapters: &[Arc<Adapter>], subject: SubjectRef) -> Result<()> {
    world.fleet.get(&subject.href).await?;
    for adapter in adapters.iter().filter(|one| one.subjects.contains(&subject.key.kind)) {
        world.fleet.statuses(&subject.href).await?;
        let ownership = Ownership {
            adapter: adapter.name.clone(),
            subject: subject.key.clone(),
            kinds: manifest::kinds(adapter),
        };
        let observed = world.cluster.observe(&ownership).await?;
        let [job] = &observed[..] else {
            bail!("{} has {} Jobs", subject.key, observed.len());
        };
        ensure!(
            job.document["status"]["succeeded"] == 1,
            "{} is not done",
            job.reference
        );
        let journey = Journey::Achieved {
            message: "Done".to_owned(),
        };
        let report = Report {
            as_of: Timestamp::now(),
            replaces: None,
            adapter: adapter.name.clone(),
            observed_generation: 1,
            conditions: journey.conditions(),
            data: json!({}),
            metadata: Metadata::default(),
        };
        let reported = world.fleet.report(&subject.href, &report).await?;
        ensure!(
            reported == Reported::Stored,
            "a report about {} was discarded",
            subject.key
        );
    }
    Ok(())
}
