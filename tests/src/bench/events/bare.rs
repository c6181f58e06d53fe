//! The baseline: the same calls, in a loop that decides nothing.

use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api,
    config::{Config, KubeConfigOptions, Kubeconfig},
    runtime::{reflector, reflector::ObjectRef, watcher},
};
use lapin::{
    Connection, ConnectionProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{bench::child::Found, stage};

/// What the loop is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::bench) struct Task {
    pub(super) broker: String,
    pub(super) queue: String,
    pub(super) prefetch: NonZeroU16,
    pub(super) fleet: String,
    pub(super) kubeconfig: PathBuf,
    pub(super) namespace: String,
}

struct Bare {
    http: reqwest::Client,
    fleet: url::Url,
    jobs: reflector::Store<Job>,
    namespace: String,
}

/// Runs until the process is killed.
pub(in crate::bench) async fn run(task: &Task) -> Result<Found> {
    let http = stage::client();
    let file = Kubeconfig::read_from(&task.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let api: Api<Job> = Api::namespaced(kube::Client::try_from(config)?, &task.namespace);
    let (jobs, writer) = reflector::store();
    tokio::spawn(async move {
        let watched = reflector(writer, watcher(api, watcher::Config::default()));
        watched.for_each(|_| std::future::ready(())).await;
    });
    jobs.wait_until_ready().await?;
    let connection = Connection::connect(&task.broker, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .basic_qos(task.prefetch.get(), BasicQosOptions::default())
        .await?;
    let consumer = channel.basic_consume(
        task.queue.as_str().into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let bare = Bare {
        http,
        fleet: task.fleet.parse()?,
        jobs,
        namespace: task.namespace.clone(),
    };
    consumer
        .await?
        .err_into()
        .try_for_each_concurrent(usize::from(task.prefetch.get()), |delivery| bare.handle(delivery))
        .await?;
    Ok(Found::default())
}

impl Bare {
    async fn handle(&self, delivery: Delivery) -> Result<()> {
        let event: Value = serde_json::from_slice(&delivery.data)?;
        let path = event["data"]["href"].as_str().context("an href")?;
        let subject = self.get(path).await?;
        let statuses = format!("{path}/statuses");
        drop(self.get(&statuses).await?);
        let name = format!("job-{}", subject["id"].as_str().unwrap_or_default());
        let job = self.jobs.get(&ObjectRef::new(&name).within(&self.namespace));
        let done = job.and_then(|job| job.status.as_ref()?.succeeded).unwrap_or_default() > 0;
        ensure!(done, "{name} is not done");
        let kinds: BTreeMap<_, _> = [("Applied", "True"), ("Available", "True"), ("Health", "True")].into();
        let conditions: Vec<Value> = kinds
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status, "reason": "Bare", "message": "by hand"}))
            .collect();
        let report = json!({
            "adapter": "bare", "observed_generation": subject["generation"],
            "observed_time": Timestamp::now().to_string(), "conditions": conditions,
        });
        let answer = self.http.put(self.fleet.join(&statuses)?).json(&report).send().await?;
        ensure!(answer.status().is_success(), "the report was refused: {answer:?}");
        delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.http.get(self.fleet.join(path)?).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }
}
