//! What an event costs, and what is kept in memory, with many adapters and many known subjects.
//!
//! The APIs answer from memory and keep nothing for a subject, so that all that grows is the
//! host's: every document is parsed from JSON text and every report written as JSON, as a
//! client does. CPU time is that of all threads of a process of its own: the dispatcher, the
//! engine, the driver, the sandbox, and these APIs. The baseline makes the same calls in the
//! same order, with the same APIs, and decides nothing.
//!
//! Every subject is one adapter's: with 100 adapters, each takes care of a kind of its own.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use async_trait::async_trait;
use berth::{
    config::{document, host::HostLimits},
    dispatch::{Deaf, Dispatcher, Settings, Waits},
    plugins::{DECLARATIVE, Loader},
    serve,
    source::{Settled, Sink as _},
    telemetry::Metrics,
    web,
    world::{Change, Cluster, Fleet, Identity, World},
};
use berth_engine::{
    adapter::Adapter,
    contract::{AdapterStatus, HttpAction, Query, Reference},
    effect::{
        Apply, ClusterCause, ClusterFault, Delete, Deleted, FleetFault, KindScope, Observed, Ownership, Reported,
    },
    manifest,
    queue::Rhythms,
    report::{Journey, Metadata, Report},
    subject::{Event, SubjectKey, SubjectRef},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    Baseline, Figure, Finding, Samples, Size,
    child::{self, Found},
};

/// Events that are measured, in batches.
const EVENTS: usize = 10_000;
const BATCHES: usize = 20;
/// How many are under way at a time.
const AT_A_TIME: usize = 16;
/// Numbers of adapters and of known subjects.
const CASES: [(usize, usize); 4] = [(1, 1_000), (1, 20_000), (100, 1_000), (100, 20_000)];
const GOAL: Duration = Duration::from_micros(600);

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    adapters: usize,
    subjects: usize,
    events: usize,
    /// Whether the same calls are made without the host.
    bare: bool,
}

/// Measures; everything so many times smaller.
pub(super) fn measure(smaller: usize) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (adapters, subjects) in CASES {
        let task = |bare| Task {
            adapters: (adapters / smaller).max(1),
            subjects: (subjects / smaller).max(10),
            events: (EVENTS / smaller).max(BATCHES),
            bare,
        };
        let host = child::spawn(&child::Task::Known(task(false)))?;
        let bare = child::spawn(&child::Task::Known(task(true)))?;
        let samples = |found: &Found| Samples::new(found.cpu.iter().copied().map(Duration::from_nanos).collect());
        findings.push(Finding::Time(Figure {
            name: format!("event-cpu-{adapters}-adapters-{subjects}"),
            what: "CPU of an event whose Job is done, APIs that answer from memory included; a sample is the mean of a batch",
            samples: samples(&host)?,
            goal_p50: Some(GOAL),
            goal_p99: None,
            baselines: vec![Baseline {
                what: "the same calls in a bare loop",
                samples: samples(&bare)?,
            }],
        }));
        let [empty, loaded, known] = host.resident[..] else {
            bail!("the measurement tells {} sizes", host.resident.len());
        };
        findings.push(Finding::Size(Size {
            name: format!("memory-{adapters}-adapters-{subjects}"),
            what: "resident memory of the host once every subject was worked on, its compiler included",
            bytes: known,
            goal: None,
            baselines: vec![
                ("before an adapter is loaded", empty),
                ("before a subject is known", loaded),
            ],
        }));
    }
    Ok(findings)
}

/// Measures in this process.
pub(super) async fn run(task: &Task) -> Result<Found> {
    let apis = Arc::new(Apis);
    let world = World {
        fleet: apis.clone(),
        cluster: apis,
        web: Arc::new(web::Client::new()?),
    };
    let runtime = serve::runtime(None)?;
    let mut found = Found::default();
    found.resident.push(child::resident()?);

    let folder = tempfile::tempdir()?;
    for number in 0..task.adapters {
        std::fs::write(folder.path().join(format!("{number}.yaml")), text_of(number))?;
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
            bare(&world, &documents, number).await
        } else {
            let settled = dispatcher.accept(event(number, task.adapters)).await;
            match settled {
                Settled::Done => Ok(()),
                Settled::Retry { .. } => bail!("an event was given back"),
            }
        }
    };
    let all = |numbers: Vec<usize>| {
        stream::iter(numbers)
            .map(&ask)
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>()
    };
    all((0..task.subjects).collect()).await?;
    found.resident.push(child::resident()?);
    let batch = task.events / BATCHES;
    for number in 0..BATCHES {
        // A step that has no divisor with the number of subjects meets all of them.
        let numbers = (0..batch)
            .map(|one| (number * batch + one) * 7919 % task.subjects)
            .collect();
        let before = child::cpu()?;
        all(numbers).await?;
        found.cpu.push((child::cpu()? - before) / u64::try_from(batch)?);
    }
    Ok(found)
}

fn text_of(number: usize) -> String {
    format!(
        r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: {name}}}
spec:
  subjects: [{kind}]
  namespace: bench
  serviceAccount: bench
  permits: [{{apiVersion: batch/v1, kind: Job}}]
  preconditions:
    - {{name: provider, expression: 'subject.spec.provider == "gcp"', message: only GCP}}
  resources:
    - name: work
      manifest:
        apiVersion: batch/v1
        kind: Job
        metadata: {{name: "work-{{{{ .subject.id }}}}"}}
        spec:
          backoffLimit: 0
          template:
            spec:
              restartPolicy: Never
              containers: [{{name: work, image: registry.example.com/work:1}}]
  postconditions:
    - {{name: done, expression: 'objects.work.status.succeeded > 0', message: the work is under way}}
"#,
        name = name_of(number),
        kind = kind_of(number),
    )
}

fn name_of(adapter: usize) -> String {
    format!("adapter-{adapter}")
}

fn kind_of(adapter: usize) -> String {
    format!("Kind{adapter}")
}

/// The subject of this number: its kind is its adapter's.
fn subject(number: usize, adapters: usize) -> SubjectRef {
    let adapter = number % adapters;
    let id = format!("0193e0a5-5b1c-7c3e-{adapter:04}-{number:012}");
    SubjectRef {
        href: format!("/api/hyperfleet/v1/kind{adapter}s/{id}"),
        key: SubjectKey {
            kind: kind_of(adapter),
            id,
        },
        generation: 1,
        owner: None,
    }
}

fn event(number: usize, adapters: usize) -> Event {
    let subject = subject(number, adapters);
    let kind = "com.redhat.hyperfleet.bench.reconcile";
    let document = json!({
        "specversion": "1.0", "id": number.to_string(), "source": "bench", "type": kind,
        "data": {"id": subject.key.id, "kind": subject.key.kind, "href": subject.href, "generation": 1},
    });
    Event {
        id: number.to_string(),
        kind: kind.to_owned(),
        subject,
        document,
    }
}

/// What a reconcile of a Job that is done calls, and no more.
async fn bare(world: &World, adapters: &[Arc<Adapter>], number: usize) -> Result<()> {
    let subject = subject(number, adapters.len());
    let name = name_of(number % adapters.len());
    let adapter = adapters.iter().find(|adapter| adapter.name == name);
    let adapter = adapter.context("there is no such adapter")?;
    world.fleet.get(&subject.href).await?;
    world.fleet.statuses(&subject.href).await?;
    let ownership = Ownership {
        adapter: adapter.name.clone(),
        subject: subject.key,
        kinds: manifest::kinds(adapter),
    };
    world.cluster.observe(&ownership).await?;
    let journey = Journey::Achieved {
        message: "Done".to_owned(),
    };
    let report = Report {
        adapter: adapter.name.clone(),
        observed_generation: 1,
        conditions: journey.conditions(),
        data: json!({}),
        metadata: Metadata::default(),
    };
    world.fleet.report(&subject.href, &report).await?;
    Ok(())
}

/// APIs in which every subject exists and has its Job, which is done.
struct Apis;

impl Apis {
    fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, FleetFault> {
        serde_json::from_str(text).map_err(|error| FleetFault::Misconfigured {
            message: error.to_string(),
        })
    }
}

fn refused(what: &str) -> ClusterFault {
    ClusterFault {
        cause: ClusterCause::Other,
        message: format!("{what} is not expected of a Job that exists"),
        retry_after: None,
    }
}

/// The number of the kind, and the id, of a path.
fn parts(path: &str) -> (&str, &str) {
    let mut parts = path.rsplit('/');
    let id = parts.next().unwrap_or_default();
    let kind = parts.next().unwrap_or_default();
    (kind.trim_start_matches("kind").trim_end_matches('s'), id)
}

#[async_trait]
impl Fleet for Apis {
    async fn get(&self, path: &str) -> Result<Value, FleetFault> {
        let (kind, id) = parts(path);
        Self::parsed(&format!(
            r#"{{"kind":"Kind{kind}","id":"{id}","href":"{path}","name":"bench","generation":1,"labels":{{}},
            "spec":{{"provider":"gcp","region":"europe-west1","networkCidr":"10.0.0.0/16"}},
            "created_time":"2026-01-01T00:00:00Z","updated_time":"2026-01-01T00:00:00Z"}}"#
        ))
    }

    async fn statuses(&self, path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        let (kind, id) = parts(path);
        Self::parsed(&format!(
            r#"[{{"adapter":"adapter-{kind}","observed_generation":1,"last_report_time":"2026-01-01T00:00:00Z",
            "conditions":[
            {{"type":"Applied","status":"True","reason":"ResourcesCreated","message":"The adapter's objects exist"}},
            {{"type":"Available","status":"True","reason":"PostconditionsMet","message":"Done"}},
            {{"type":"Health","status":"True","reason":"NoErrors","message":"Nothing unexpected happened"}}],
            "data":{{"berth":{{"finished":["Job bench/work-{id}"]}}}}}}]"#
        ))
    }

    async fn report(&self, _: &str, report: &Report) -> Result<Reported, FleetFault> {
        std::hint::black_box(serde_json::to_vec(report)).map_err(|error| FleetFault::Misconfigured {
            message: error.to_string(),
        })?;
        Ok(Reported::Stored)
    }

    async fn send(&self, _: &HttpAction) -> Result<(u16, Value), FleetFault> {
        Ok((404, Value::Null))
    }
}

#[async_trait]
impl Cluster for Apis {
    async fn observe(&self, ownership: &Ownership) -> Result<Vec<Observed>, ClusterFault> {
        let (adapter, id) = (&ownership.adapter, &ownership.subject.id);
        let kind = &ownership.subject.kind;
        let text = format!(
            r#"{{"apiVersion":"batch/v1","kind":"Job","metadata":{{"name":"work-{id}","namespace":"bench","uid":"{id}",
            "resourceVersion":"7","generation":1,"creationTimestamp":"2026-01-01T00:00:00Z",
            "labels":{{"{adapter_label}":"{adapter}","{kind_label}":"{kind}","{id_label}":"{id}"}},
            "annotations":{{"{generation}":"1","{name}":"work","{hash}":"another","{href}":"/api"}}}},
            "spec":{{"backoffLimit":0,"completions":1,"parallelism":1,"template":{{"spec":{{"restartPolicy":"Never",
            "containers":[{{"name":"work","image":"registry.example.com/work:1"}}]}}}}}},
            "status":{{"succeeded":1,"startTime":"2026-01-01T00:00:00Z","completionTime":"2026-01-01T00:01:00Z",
            "conditions":[{{"type":"Complete","status":"True","lastTransitionTime":"2026-01-01T00:01:00Z"}}]}}}}"#,
            adapter_label = manifest::LABEL_ADAPTER,
            kind_label = manifest::LABEL_SUBJECT_KIND,
            id_label = manifest::LABEL_SUBJECT_ID,
            generation = manifest::ANNOTATION_GENERATION,
            name = manifest::ANNOTATION_NAME,
            hash = manifest::ANNOTATION_HASH,
            href = manifest::ANNOTATION_HREF,
        );
        let document: Value = serde_json::from_str(&text).map_err(|error| refused(&error.to_string()))?;
        Ok(vec![Observed {
            reference: Reference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                namespace: Some("bench".to_owned()),
                name: format!("work-{id}"),
            },
            name: "work".to_owned(),
            generation: 1,
            manifest_hash: "another".to_owned(),
            uid: id.clone(),
            resource_version: "7".to_owned(),
            deleting: false,
            document,
            statusless: false,
            diagnosis: None,
        }])
    }

    async fn find(&self, _: &Identity, _: &Query) -> Result<Vec<Value>, ClusterFault> {
        Ok(Vec::new())
    }

    async fn apply(&self, _: &Identity, _: &Apply) -> Result<Observed, ClusterFault> {
        Err(refused("an apply"))
    }

    async fn delete(&self, _: &Identity, _: &Delete) -> Result<Deleted, ClusterFault> {
        Err(refused("a delete"))
    }

    async fn owned(&self, _: &str, _: &[KindScope]) -> Result<Vec<Observed>, ClusterFault> {
        Err(refused("a list of everything"))
    }

    async fn watch(&self, _: &[KindScope]) {}

    fn await_namespace(&self, _: &str, _: &str, _: &SubjectRef) {}

    fn await_nothing(&self, _: &str, _: Option<&SubjectKey>) {}

    fn changes(&self) -> Option<mpsc::Receiver<Change>> {
        None
    }

    async fn announce(&self, _: &Adapter, _: &SubjectKey, _: &str, _: &str) {}

    async fn reachable(&self) -> bool {
        true
    }
}
