//! What a watched object takes of memory, on a real control plane.
//!
//! Jobs as an adapter creates them are watched by the host's own client, until it holds all of
//! them. The baseline is the store of whole objects that `kube` offers, filled by its own watch.
//! Each runs in a process of its own; what it takes is what its resident memory grows by.

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
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Finding, Size,
    child::{self, Found},
};
use crate::control_plane::{ControlPlane, User};

const NAMESPACE: &str = "bench-watch";
const OBJECTS: usize = 5_000;
/// An object may take so much, in bytes.
const GOAL: u64 = 2 << 10;
/// How long all objects are waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    kubeconfig: PathBuf,
    objects: usize,
    /// Whether `kube`'s store is filled instead of the host's.
    plain: bool,
}

/// Measures; with so many times fewer objects.
pub(super) async fn measure(smaller: usize) -> Result<Vec<Finding>> {
    let plane = ControlPlane::start().await?;
    plane.namespace(NAMESPACE).await?;
    let objects = (OBJECTS / smaller).max(100);
    let collection = format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs");
    stream::iter(0..objects)
        .map(|number| {
            let (plane, collection) = (&plane, &collection);
            async move { plane.create(collection, &job(number)).await.map(drop) }
        })
        .buffer_unordered(8)
        .try_collect::<()>()
        .await?;
    let of_one = |plain| -> Result<u64> {
        let task = Task {
            kubeconfig: plane.kubeconfig(User::Admin),
            objects,
            plain,
        };
        let found = child::spawn(&child::Task::Watch(task))?;
        let [before, after] = found.resident[..] else {
            bail!("the measurement tells {} sizes", found.resident.len());
        };
        Ok(after.saturating_sub(before) / u64::try_from(objects)?)
    };
    let of_one = |plain| tokio::task::block_in_place(|| of_one(plain));
    Ok(vec![Finding::Size(Size {
        name: "watch-memory-per-object".to_owned(),
        what: "what resident memory grows by for each Job that is watched on a real control plane",
        bytes: of_one(false)?,
        goal: Some(GOAL),
        baselines: vec![("kube's store of whole objects", of_one(true)?)],
    })])
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
    let resident = tokio::time::timeout(PATIENCE, full)
        .await
        .context("not all objects came")??;
    Ok(Found {
        resident,
        cpu: Vec::new(),
    })
}

async fn ours(task: &Task) -> Result<Vec<u64>> {
    let cluster = Kubernetes::connect(Settings {
        kubeconfig: Some(task.kubeconfig.clone()),
        ..Settings::default()
    })
    .await?;
    let mut changes = cluster.changes().context("the changes are taken already")?;
    let before = child::resident()?;
    let scope = KindScope {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
    };
    cluster.watch(&[scope]).await;
    for _ in 0..task.objects {
        changes.recv().await.context("nobody tells of changes any more")?;
    }
    let held = cluster.held().0.get("Job").copied().unwrap_or_default();
    anyhow::ensure!(held == task.objects, "{held} Jobs are held, not {}", task.objects);
    Ok(vec![before, child::resident()?])
}

async fn plain(task: &Task) -> Result<Vec<u64>> {
    let kubeconfig = Kubeconfig::read_from(&task.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = kube::Client::try_from(config)?;
    // One call, so that the connection stands.
    client.apiserver_version().await?;
    let kind = ApiResource::erase::<Job>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &kind);
    let before = child::resident()?;
    let writer = reflector::store::Writer::new(kind);
    let store = writer.as_reader();
    let mut seen = 0;
    let mut events = std::pin::pin!(reflector(writer, watcher(api, watcher::Config::default())).applied_objects());
    while seen < task.objects {
        events.next().await.context("the watch ended")??;
        seen += 1;
    }
    // What is told as applied stands in the store once the first list is complete.
    while store.state().len() < task.objects {
        tokio::select! {
            _ = events.next() => {}
            () = store_ready(&store) => {}
        }
    }
    Ok(vec![before, child::resident()?])
}

async fn store_ready(store: &reflector::Store<DynamicObject>) {
    // The writer lives as long as the stream that drives it.
    let _ = store.wait_until_ready().await;
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
