//! What a watched object takes of memory, on a real control plane.
//!
//! Jobs as an adapter creates them are watched by the host's own client, until it holds all of
//! them. The baseline is the store of whole objects that `kube` offers, filled by its own watch.
//! Each runs in a process of its own, and has listed another namespace before, so that what a list
//! takes only for a moment is there already: what counts is what resident memory grows by then.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use berth::{
    cluster::{Kubernetes, Settings},
    world::Cluster as _,
};
use berth_engine::{effect::KindScope, manifest};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject},
    runtime::{reflector, watcher},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Size,
    child::{self, Found},
};
use crate::control_plane::{ControlPlane, User};

/// Namespaces with their numbers of objects: the first is the warm-up. It is so much smaller that the room which its list
/// leaves to the second counts little.
const NAMESPACES: [(&str, usize); 2] = [("bench-warm-up", 1_000), ("bench-watch", 9_000)];
/// An object may take so much, in bytes.
const GOAL: u64 = 2 << 10;
/// How long all objects are waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    kubeconfig: PathBuf,
    namespaces: Vec<(String, usize)>,
    /// Whether `kube`'s store is filled instead of the host's.
    plain: bool,
}

/// Measures; with so many times fewer objects.
pub(super) async fn measure(smaller: usize) -> Result<Size> {
    let plane = ControlPlane::start().await?;
    let namespaces = NAMESPACES.map(|(name, objects)| (name.to_owned(), (objects / smaller).max(50)));
    for (name, objects) in &namespaces {
        plane.namespace(name).await?;
        let collection = format!("/apis/batch/v1/namespaces/{name}/jobs");
        stream::iter(0..*objects)
            .map(|number| {
                let (plane, collection) = (&plane, &collection);
                async move { plane.create(collection, &job(number)).await.map(drop) }
            })
            .buffer_unordered(8)
            .try_collect::<()>()
            .await?;
    }
    let count = u64::try_from(namespaces[1].1)?;
    let grown = |sizes: &[u64]| match sizes {
        [before, after] => Ok(after.saturating_sub(*before) / count),
        _ => bail!("the measurement tells {} sizes", sizes.len()),
    };
    let found = |plain| {
        let task = Task {
            kubeconfig: plane.kubeconfig(User::Admin),
            namespaces: namespaces.to_vec(),
            plain,
        };
        tokio::task::block_in_place(|| child::spawn(&child::Task::Watch(task)))
    };
    let (ours, plain) = (found(false)?, found(true)?);
    Ok(Size {
        name: "watch-memory-per-object".to_owned(),
        what: "what resident memory grows by for each Job that is watched on a real control plane",
        bytes: grown(&ours.resident)?,
        goal: Some(GOAL),
        baselines: vec![
            ("kube's store of whole objects", grown(&plain.resident)?),
            ("the packed document alone", grown(&ours.kept)?),
        ],
    })
}

/// Measures in this process.
pub(super) async fn run(task: &Task) -> Result<Found> {
    let full = async {
        if task.plain {
            plain(task).await
        } else {
            ours(task).await
        }
    };
    tokio::time::timeout(PATIENCE, full)
        .await
        .context("not all objects came")?
}

async fn ours(task: &Task) -> Result<Found> {
    let cluster = Kubernetes::connect(Settings {
        kubeconfig: Some(task.kubeconfig.clone()),
        ..Settings::default()
    })
    .await?;
    let mut changes = cluster.changes().context("the changes are taken already")?;
    let mut found = Found::default();
    let mut sum = 0;
    for (namespace, objects) in &task.namespaces {
        let scope = KindScope {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            namespace: Some(namespace.clone()),
        };
        cluster.watch(&[scope]).await;
        sum += objects;
        // Under load the same objects may be told again, so that what is held counts.
        let kept = loop {
            changes.recv().await.context("nobody tells of changes any more")?;
            let (held, kept) = cluster.held();
            if held.get("Job").is_some_and(|held| *held == sum) {
                break kept;
            }
        };
        while changes.try_recv().is_ok() {}
        found.resident.push(child::resident()?);
        found.kept.push(u64::try_from(kept)?);
    }
    Ok(found)
}

async fn plain(task: &Task) -> Result<Found> {
    let kubeconfig = Kubeconfig::read_from(&task.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = kube::Client::try_from(config)?;
    let kind = ApiResource::erase::<Job>(&());
    let mut found = Found::default();
    // They are kept to the end.
    let mut watched = Vec::new();
    for (namespace, objects) in &task.namespaces {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
        let writer = reflector::store::Writer::new(kind.clone());
        let store = writer.as_reader();
        let mut events = reflector(writer, watcher(api, watcher::Config::default())).boxed();
        while !matches!(
            events.next().await.context("the watch ended")??,
            watcher::Event::InitDone
        ) {}
        let held = store.len();
        anyhow::ensure!(held == *objects, "{held} Jobs are held, not {objects}");
        found.resident.push(child::resident()?);
        watched.push(events);
    }
    Ok(found)
}

/// A Job as an adapter creates it, that makes no pods.
fn job(number: usize) -> Value {
    let id = format!("0193e0a5-5b1c-7c3e-9a52-{number:012}");
    let variable = |name: &str| json!({"name": name, "value": "a value as a Job of a landing zone has it"});
    let names = ["PROVIDER", "REGION", "NETWORK_CIDR", "CLUSTER", "GENERATION", "BUCKET"];
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": format!("landing-zone-{id}"),
            "labels": {
                manifest::LABEL_ADAPTER: "landing-zone", manifest::LABEL_SUBJECT_KIND: "Cluster",
                manifest::LABEL_SUBJECT_ID: id,
            },
            "annotations": {
                manifest::ANNOTATION_GENERATION: "1", manifest::ANNOTATION_NAME: "job",
                manifest::ANNOTATION_HASH: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                manifest::ANNOTATION_HREF: format!("/api/hyperfleet/v1/clusters/{id}"),
            },
        },
        "spec": {"suspend": true, "backoffLimit": 2, "template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{
                "name": "work", "image": "registry.example.com/partners/landing-zone-job:1.4.0",
                "env": names.map(variable),
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
            }],
        }}},
    })
}
