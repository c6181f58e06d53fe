//! The scenes: what is changed in the world, and what a user should see then.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context as _, Result};
use berth_engine::{
    contract::{AdapterStatus, Propagation, Reference, Truth},
    reason::Reason,
};
use serde_json::{Value, json};

use crate::simulate::fleet::Kind;

use super::{
    Shown,
    stage::{NAMESPACE, Stage},
    world::World,
};

/// One scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    InProgress,
    Done,
    Waiting,
    CreationFails,
    WorkFails,
    Retry,
    KubernetesAway,
    KubernetesAwayAfterSuccess,
    NotApplicable,
    NodePool,
    Chain,
    Deletion,
}

/// What a user should see: the three conditions, and how the message begins.
struct Right {
    adapter: &'static str,
    applied: bool,
    available: bool,
    health: bool,
    /// Where the message stands, and what it has to contain.
    says: (&'static str, &'static str),
}

const LANDING_ZONE: &str = "landing-zone";

impl Scene {
    /// In the order in which they are played.
    pub(super) const ALL: [Self; 12] = [
        Self::InProgress,
        Self::Done,
        Self::Waiting,
        Self::CreationFails,
        Self::WorkFails,
        Self::Retry,
        Self::KubernetesAway,
        Self::KubernetesAwayAfterSuccess,
        Self::NotApplicable,
        Self::NodePool,
        Self::Chain,
        Self::Deletion,
    ];

    /// The names of all.
    pub(super) const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut at = 0;
        while at < names.len() {
            names[at] = Self::ALL[at].name();
            at += 1;
        }
        names
    };

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::InProgress => "A1",
            Self::Done => "A2",
            Self::Waiting => "A3",
            Self::CreationFails => "A4",
            Self::WorkFails => "A5",
            Self::Retry => "A5-retry",
            Self::KubernetesAway => "A6",
            Self::KubernetesAwayAfterSuccess => "A6-after-success",
            Self::NotApplicable => "not-applicable",
            Self::NodePool => "nodepool",
            Self::Chain => "chain",
            Self::Deletion => "deletion",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::InProgress => "the work is under way",
            Self::Done => "the work is done",
            Self::Waiting => "something must happen first",
            Self::CreationFails => "a workload cannot be created",
            Self::WorkFails => "the workload ran and failed",
            Self::Retry => "a new generation tries again",
            Self::KubernetesAway => "the Kubernetes API goes away",
            Self::KubernetesAwayAfterSuccess => "the same, after success",
            Self::NotApplicable => "the cluster is not this adapter's",
            Self::NodePool => "a nodepool waits for its cluster",
            Self::Chain => "two adapters, one after the other, up to Reconciled",
            Self::Deletion => "the cluster is deleted",
        }
    }

    /// The part of the world's file that it begins with.
    pub(super) fn world(self) -> &'static str {
        match self {
            Self::InProgress => "A1",
            Self::Done | Self::KubernetesAwayAfterSuccess | Self::Chain | Self::Deletion => "A2",
            Self::Waiting => "A3",
            Self::CreationFails => "A4",
            Self::WorkFails => "A5",
            Self::Retry => "retry",
            Self::KubernetesAway => "A6",
            Self::NotApplicable => "not-applicable",
            Self::NodePool => "nodepool",
        }
    }

    fn right(self) -> Right {
        let right = |applied, available, health, says| Right {
            adapter: LANDING_ZONE,
            applied,
            available,
            health,
            says: ("Available", says),
        };
        match self {
            Self::InProgress => right(true, false, true, "is running"),
            Self::Done | Self::Retry | Self::Chain => right(true, true, true, "Done: "),
            Self::Waiting => right(false, false, true, "Waiting for dependencies to be met: "),
            Self::CreationFails => right(false, false, false, "Failed to create workload: "),
            Self::WorkFails => right(true, false, true, ": "),
            Self::KubernetesAway => right(false, false, false, "Kubernetes API unreachable"),
            Self::KubernetesAwayAfterSuccess => Right {
                says: ("Health", "Kubernetes API unreachable"),
                ..right(true, true, false, "")
            },
            Self::NotApplicable => Right {
                adapter: "validation",
                ..right(false, false, true, "NotApplicable: ")
            },
            Self::NodePool => Right {
                adapter: "nodepool-sizing",
                ..right(true, true, true, "Done: ")
            },
            Self::Deletion => right(false, false, true, "All objects are gone"),
        }
    }

    /// Changes the world, waits for what should be seen, and tells what was.
    pub(super) async fn play(self, stage: &Stage, world: &World) -> Result<Shown> {
        let scene = world.scenes.get(self.world()).context("the world lacks a scene")?;
        let spec = Value::Object(scene.spec.clone());
        let quota = Quota::set(stage, &scene.quota)?;
        let right = self.right();
        let name = format!("demo-{}", self.name().to_lowercase());
        let began = Instant::now();
        let path = match self {
            Self::NodePool => {
                let owner = world.scenes.get("A2").context("the world lacks scene A2")?;
                let cluster = stage.create(Kind::Cluster, None, "demo-owner", &Value::Object(owner.spec.clone()))?;
                let path = stage.create(Kind::NodePool, Some(&cluster), "workers", &spec)?;
                let _ = stage.row(&path, right.adapter, |row| truth(row, "Available")).await;
                path
            }
            Self::Retry => {
                let failing = world.scenes.get("A5").context("the world lacks scene A5")?;
                let path = stage.create(Kind::Cluster, None, &name, &Value::Object(failing.spec.clone()))?;
                let failed = stage
                    .row(&path, LANDING_ZONE, |row| row.condition("WorkloadSucceeded").is_some())
                    .await;
                if failed.is_none() {
                    tracing::debug!(path, "nothing was reported before the new generation");
                }
                stage.change(&path, &spec)?;
                path
            }
            Self::KubernetesAway | Self::KubernetesAwayAfterSuccess => {
                let path = stage.create(Kind::Cluster, None, &name, &spec)?;
                let after_success = self == Self::KubernetesAwayAfterSuccess;
                let _ = stage
                    .row(&path, LANDING_ZONE, |row| {
                        truth(row, "Applied") && truth(row, "Available") == after_success
                    })
                    .await;
                stage.kubernetes.go_away();
                if after_success {
                    // A reconciled cluster is looked at every half hour; a change of labels comes sooner,
                    // but would be a new generation. So the event is Sentinel's, asked for now.
                    stage.nudge(&path).await?;
                }
                path
            }
            Self::Deletion => {
                let path = stage.create(Kind::Cluster, None, &name, &spec)?;
                let _ = stage.row(&path, LANDING_ZONE, |row| truth(row, "Available")).await;
                stage.delete(&path)?;
                path
            }
            Self::InProgress
            | Self::Done
            | Self::Waiting
            | Self::CreationFails
            | Self::WorkFails
            | Self::NotApplicable
            | Self::Chain => stage.create(Kind::Cluster, None, &name, &spec)?,
        };
        let subject = format!("{}/{}", right.kind(), path.rsplit('/').next().unwrap_or_default());
        let row = if self == Self::Deletion {
            stage.last_before_gone(&path, LANDING_ZONE).await
        } else {
            stage
                .row(&path, right.adapter, |row| right.problem(row).is_none())
                .await
        };
        // Of whom nothing was reported, nothing is shown.
        let mut problem = row
            .as_ref()
            .map_or(Some("nothing was reported".to_owned()), |row| right.problem(row));
        if problem.is_none() {
            problem = self.afterwards(stage, &path).await;
        }
        quota.lift(stage)?;
        if matches!(self, Self::KubernetesAway | Self::KubernetesAwayAfterSuccess) {
            stage.kubernetes.come_back();
            if problem.is_none() && !self.recovers(stage, &path).await {
                problem = Some("it did not recover when the API came back".to_owned());
            }
        }
        let shown = row.as_ref();
        let mut conditions = shown.map(|row| row.conditions.clone()).unwrap_or_default();
        if self == Self::Chain {
            conditions.extend(stage.reconciled(&path).await);
        }
        let message = shown
            .and_then(|row| row.condition(right.says.0))
            .map(|one| one.message.clone());
        Ok(Shown {
            journey: self.name(),
            subject,
            adapter: right.adapter,
            conditions,
            message: message.unwrap_or_default(),
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            problem,
        })
    }

    /// What else must be so.
    async fn afterwards(self, stage: &Stage, path: &str) -> Option<String> {
        match self {
            Self::Chain => {
                let reconciled = stage
                    .until(async || {
                        stage
                            .reconciled(path)
                            .await
                            .is_some_and(|one| one.status == Truth::True)
                    })
                    .await;
                (!reconciled).then(|| "the cluster is not Reconciled".to_owned())
            }
            Self::Waiting | Self::NotApplicable | Self::CreationFails => {
                let id = path.rsplit('/').next().unwrap_or_default();
                let made = stage.kubernetes.objects("batch/v1", "Job", Some(NAMESPACE));
                let name = format!("lz-{id}");
                made.iter()
                    .any(|job| job["metadata"]["name"] == name.as_str())
                    .then(|| format!("Job {name} was created"))
            }
            Self::Deletion => {
                let id = path.rsplit('/').next().unwrap_or_default();
                let left = stage.kubernetes.objects("batch/v1", "Job", Some(NAMESPACE));
                let is_left = |job: &Value| job["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(id));
                left.iter()
                    .any(is_left)
                    .then(|| "a Job of the cluster is left".to_owned())
            }
            Self::InProgress
            | Self::Done
            | Self::WorkFails
            | Self::Retry
            | Self::KubernetesAway
            | Self::KubernetesAwayAfterSuccess
            | Self::NodePool => None,
        }
    }

    async fn recovers(self, stage: &Stage, path: &str) -> bool {
        let available = self == Self::KubernetesAwayAfterSuccess;
        let right =
            |row: &AdapterStatus| truth(row, "Health") && truth(row, "Applied") && truth(row, "Available") == available;
        stage
            .row(path, LANDING_ZONE, right)
            .await
            .is_some_and(|row| right(&row))
    }
}

impl Right {
    fn kind(&self) -> &'static str {
        if self.adapter == "nodepool-sizing" {
            "NodePool"
        } else {
            "Cluster"
        }
    }

    /// Why a row is not as it should be.
    fn problem(&self, row: &AdapterStatus) -> Option<String> {
        for (kind, wanted) in [
            ("Applied", self.applied),
            ("Available", self.available),
            ("Health", self.health),
        ] {
            if truth(row, kind) != wanted {
                let is = if wanted { "False" } else { "True" };
                return Some(format!("{kind} is {is}"));
            }
        }
        let (kind, wanted) = self.says;
        let said = row
            .condition(kind)
            .map(|one| (one.reason.as_str(), one.message.as_str()));
        let (reason, message) = said.unwrap_or_default();
        // Whoever has to act reads what to do.
        let remedy = Reason::named(reason).map_or("", Reason::remediation);
        let missing = [wanted, if self.health { "" } else { remedy }];
        let missing = missing.into_iter().find(|one| !message.contains(one))?;
        Some(format!("the message of {kind} does not say `{missing}`: {message}"))
    }
}

fn truth(row: &AdapterStatus, kind: &str) -> bool {
    row.condition(kind).is_some_and(|one| one.status == Truth::True)
}

/// A ResourceQuota for the time of one scene.
struct Quota {
    set: bool,
}

impl Quota {
    fn set(stage: &Stage, hard: &BTreeMap<String, String>) -> Result<Self> {
        if !hard.is_empty() {
            let quota = json!({
                "apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": hard},
                "metadata": {"name": "scene", "namespace": NAMESPACE},
            });
            stage
                .kubernetes
                .create("demo", quota)
                .context("cannot set the scene's quota")?;
        }
        Ok(Self { set: !hard.is_empty() })
    }

    fn lift(self, stage: &Stage) -> Result<()> {
        if self.set {
            let reference = Reference {
                api_version: "v1".to_owned(),
                kind: "ResourceQuota".to_owned(),
                namespace: Some(NAMESPACE.to_owned()),
                name: "scene".to_owned(),
            };
            stage
                .kubernetes
                .remove(&reference, Propagation::Background)
                .context("cannot lift the scene's quota")?;
        }
        Ok(())
    }
}
