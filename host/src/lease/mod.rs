//! Shares work between hosts by Kubernetes Leases.
//!
//! Owns which subjects' watches and timers this host works on. Subjects are divided into
//! shards, and each shard has a Lease that one host holds. Knows nothing of adapters, events
//! or reconciles: it answers whether a subject is this host's.
//!
//! # Guarantees
//! - At no time do two hosts believe to hold one shard: a host stops believing before its
//!   lease can be taken from it, by its own clock, whether it reaches Kubernetes or not.
//! - A shard of a host that died is held again within [`TAKEN_OVER_WITHIN`].
//! - Nothing depends on clocks of different hosts agreeing.

mod plan;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use berth_engine::subject::SubjectKey;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams, Preconditions},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::plan::{Seen, Step, Terms, View, plan};

/// How long after a host's death all its shards are held again, at most.
pub const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(15);

/// How long a lease is held without being renewed.
const DURATION: Duration = Duration::from_secs(9);
/// How often the leases are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long one call may take.
const CALL: Duration = Duration::from_secs(3);
/// How many shards there are. All hosts must agree, so it is no setting.
const SHARDS: u32 = 12;

/// What all leases of a group carry.
const GROUP: &str = "berth.hyperfleet.io/group";
const KIND: &str = "berth.hyperfleet.io/lease";

/// Which leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where they are.
    pub namespace: String,
    /// Which hosts share work: those of one group.
    pub group: String,
    /// This host's name, which no other host has: the pod's.
    pub host: String,
}

/// What this host holds.
pub struct Shards {
    held: Mutex<BTreeMap<u32, Instant>>,
    /// Counts how often a shard was taken.
    taken: watch::Sender<u64>,
}

impl Shards {
    fn new() -> Self {
        Self {
            held: Mutex::default(),
            taken: watch::Sender::new(0),
        }
    }

    /// Whether a subject's watches and timers are this host's to work on, now.
    #[must_use]
    pub fn owns(&self, subject: &SubjectKey) -> bool {
        let shard = plan::hash(&[subject.kind.as_bytes(), subject.id.as_bytes()]) % u64::from(SHARDS);
        let now = Instant::now();
        let shard = u32::try_from(shard).unwrap_or_default();
        lock(&self.held).get(&shard).is_some_and(|until| now < *until)
    }

    /// How many shards are held now.
    #[must_use]
    pub fn count(&self) -> usize {
        let now = Instant::now();
        lock(&self.held).values().filter(|until| now < **until).count()
    }

    /// Changes whenever a shard was taken: whoever works on subjects looks at all of them then.
    #[must_use]
    pub fn taken(&self) -> watch::Receiver<u64> {
        self.taken.subscribe()
    }
}

impl std::fmt::Debug for Shards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shards").field("held", &self.count()).finish()
    }
}

/// Holds shares until `stop`, then gives them back. Answers at once with what is held, which
/// is nothing yet.
#[must_use]
pub fn share(
    client: kube::Client,
    settings: Settings,
    stop: CancellationToken,
) -> (Arc<Shards>, tokio::task::JoinHandle<()>) {
    let shards = Arc::new(Shards::new());
    let sharing = Sharing {
        api: Api::namespaced(client, &settings.namespace),
        settings,
        shards: Arc::clone(&shards),
        view: View::default(),
    };
    (shards, tokio::spawn(sharing.run(stop)))
}

struct Sharing {
    api: Api<Lease>,
    settings: Settings,
    shards: Arc<Shards>,
    view: View,
}

impl Sharing {
    async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            match self.turn().await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!(held = self.shards.count(), "leases are renewed again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(
                            error = chain(&error),
                            "leases cannot be renewed; watches and timers pause here when they end"
                        );
                    }
                    failing = true;
                }
            }
        }
        self.leave().await;
    }

    async fn turn(&mut self) -> Result<(), kube::Error> {
        self.look().await?;
        let terms = Terms {
            shards: SHARDS,
            duration: DURATION,
        };
        let steps = plan(Instant::now(), &self.settings.host, &self.view, terms);
        let before = self.shards.count();
        let mut taken = 0;
        for step in steps {
            taken += u64::from(self.take(step).await?);
        }
        if taken > 0 {
            self.shards.taken.send_modify(|count| *count += taken);
        }
        let held = self.shards.count();
        if held != before {
            tracing::info!(held, of = SHARDS, "shares of the work changed");
        }
        Ok(())
    }

    /// Lists the leases. What changed since is as old as now.
    async fn look(&mut self) -> Result<(), kube::Error> {
        let selector = format!("{GROUP}={}", self.settings.group);
        let listed = within(self.api.list(&ListParams::default().labels(&selector))).await?;
        let now = Instant::now();
        let mut view = View::default();
        for lease in listed.items {
            let version = lease.metadata.resource_version.unwrap_or_default();
            let holder = lease
                .spec
                .and_then(|spec| spec.holder_identity)
                .filter(|holder| !holder.is_empty());
            let labels = lease.metadata.labels.unwrap_or_default();
            let name = lease.metadata.name.unwrap_or_default();
            let since = |before: Option<&Seen>| {
                before
                    .filter(|seen| seen.version == version)
                    .map_or(now, |seen| seen.since)
            };
            match labels.get(KIND).map(String::as_str) {
                Some("member") => {
                    let Some(member) = name.strip_prefix(&self.prefix("host-")) else {
                        continue;
                    };
                    let since = since(self.view.members.get(member));
                    view.members.insert(member.to_owned(), Seen { holder, version, since });
                }
                Some("shard") => {
                    let number = name
                        .strip_prefix(&self.prefix("shard-"))
                        .and_then(|number| number.parse().ok());
                    let Some(number) = number else { continue };
                    let since = since(self.view.shards.get(&number));
                    view.shards.insert(number, Seen { holder, version, since });
                }
                Some(_) | None => {}
            }
        }
        self.view = view;
        Ok(())
    }

    /// Takes one step; whether a shard was taken that was not held. Losing a race is no failure: the next look tells.
    async fn take(&self, step: Step) -> Result<bool, kube::Error> {
        let begin = Instant::now();
        let host = self.settings.host.as_str();
        match step {
            Step::Beat => {
                let version = self.view.members.get(host).map(|seen| seen.version.clone());
                self.write(self.lease(self.prefix("host-") + host, "member", Some(host), version))
                    .await?;
                Ok(false)
            }
            Step::Take { shard, version } => {
                let written = self
                    .write(self.lease(self.shard_name(shard), "shard", Some(host), version))
                    .await?;
                if written {
                    lock(&self.shards.held).insert(shard, begin + DURATION);
                }
                Ok(written)
            }
            Step::Renew { shard, version } => {
                // Believed by us, or from a former life of this host: either way it is ours now.
                let lease = self.lease(self.shard_name(shard), "shard", Some(host), Some(version));
                let mut new = false;
                if self.write(lease).await? {
                    let before = lock(&self.shards.held).insert(shard, begin + DURATION);
                    new = before.is_none_or(|until| until <= begin);
                }
                Ok(new)
            }
            Step::Release { shard, version } => {
                // First we stop believing, then others may.
                lock(&self.shards.held).remove(&shard);
                self.write(self.lease(self.shard_name(shard), "shard", None, Some(version)))
                    .await?;
                Ok(false)
            }
            Step::Bury { member } => {
                let version = self.view.members.get(&member).map(|seen| seen.version.clone());
                let parameters = DeleteParams {
                    preconditions: Some(Preconditions {
                        resource_version: version,
                        uid: None,
                    }),
                    ..DeleteParams::default()
                };
                let name = self.prefix("host-") + &member;
                settled(within(self.api.delete(&name, &parameters)).await.map(drop))?;
                Ok(false)
            }
        }
    }

    /// Gives everything back, so that others need not wait.
    async fn leave(mut self) {
        lock(&self.shards.held).clear();
        if self.look().await.is_err() {
            return;
        }
        let host = self.settings.host.as_str();
        for (shard, seen) in &self.view.shards {
            if seen.holder.as_deref() == Some(host) {
                let lease = self.lease(self.shard_name(*shard), "shard", None, Some(seen.version.clone()));
                // Whoever leaves cannot try again; the lease ends by itself.
                drop(self.write(lease).await);
            }
        }
        let name = self.prefix("host-") + host;
        drop(within(self.api.delete(&name, &DeleteParams::default())).await);
    }

    /// Writes a lease as it was planned; false if somebody else was faster.
    async fn write(&self, lease: Lease) -> Result<bool, kube::Error> {
        let parameters = PostParams::default();
        let name = lease.metadata.name.clone().unwrap_or_default();
        let written = if lease.metadata.resource_version.is_some() {
            within(self.api.replace(&name, &parameters, &lease)).await
        } else {
            within(self.api.create(&parameters, &lease)).await
        };
        settled(written.map(drop))
    }

    fn lease(&self, name: String, kind: &str, holder: Option<&str>, version: Option<String>) -> Lease {
        let labels = [(GROUP, self.settings.group.as_str()), (KIND, kind)];
        Lease {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(self.settings.namespace.clone()),
                resource_version: version,
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.unwrap_or_default().to_owned()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        }
    }

    fn prefix(&self, of: &str) -> String {
        format!("berth-{}-{of}", self.settings.group)
    }

    fn shard_name(&self, shard: u32) -> String {
        format!("{}{shard}", self.prefix("shard-"))
    }
}

/// Whether a write counts; a conflict and what is gone mean that somebody else was faster.
fn settled(written: Result<(), kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(()) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

async fn within<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    tokio::time::timeout(CALL, call)
        .await
        .unwrap_or_else(|late| Err(kube::Error::Service(late.into())))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
