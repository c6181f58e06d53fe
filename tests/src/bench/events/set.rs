//! What is measured, and what is around it.

use std::{
    collections::BTreeSet,
    num::NonZeroU16,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use lapin::{
    BasicProperties, Channel, Connection, ExchangeKind,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use serde_json::{Value, json};

use super::{bare, wire::Way};
use crate::{
    bench::{
        child,
        fleet::{Api, href_of, kind_of},
    },
    control_plane::{ControlPlane, Gate, User, everything},
    kill::host::{Common, Gates, Host},
    rabbitmq::RabbitMq,
};

/// Subjects with a Job at most.
const WITH_JOB: usize = 1_000;
/// Messages in flight, of both: the host's default.
const PREFETCH: NonZeroU16 = NonZeroU16::new(256).unwrap();
/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Events about subjects that are not known yet go to the host by so many.
const LESSON: usize = 500;

/// What events took, the mean of each batch.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) cpu: Vec<Duration>,
    pub(super) time: Vec<Duration>,
}

/// How much memory a process takes, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Each page once.
    pub(super) taken: u64,
    /// As the kernel counts resident memory: a page for each place where it is mapped.
    pub(super) resident: u64,
}

impl Room {
    fn of(process: u32) -> Result<Self> {
        Ok(Self {
            taken: child::taken_of(process)?,
            resident: child::resident_of(process)?,
        })
    }
}

/// A process that takes events from a queue.
pub(super) struct Taker {
    queue: String,
    /// The way that its process takes to the broker.
    way: Way,
    process: u32,
}

/// The program and the bare loop, beside the same APIs and the same broker.
pub(super) struct Set {
    pub(super) hosts: Taker,
    pub(super) bares: Taker,
    /// What the program takes before it has an adapter.
    pub(super) without_adapters: Room,
    adapters: usize,
    subjects: Vec<Value>,
    api: Api,
    channel: Channel,
    bare: Child,
    // They end with the set.
    _host: Host,
    _gates: [Gate; 2],
    _connection: Connection,
    _folder: tempfile::TempDir,
}

impl Drop for Set {
    fn drop(&mut self) {
        // It ends by nothing else.
        drop(self.bare.kill());
        drop(self.bare.wait());
    }
}

impl Set {
    /// Both running, with so many adapters, and no subject known.
    pub(super) async fn new(adapters: usize) -> Result<Self> {
        let (plane, broker) = tokio::join!(ControlPlane::shared(), RabbitMq::shared());
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let (namespace, topic) = (format!("bench-{}", &unique[..8]), format!("t{unique}"));
        plane.namespace(&namespace).await?;
        plane.service_account(&namespace, "measured", everything()).await?;
        let api = Api::serve(adapters).await?;
        let folder = tempfile::tempdir()?;
        let documents = folder.path().join("adapters");
        std::fs::create_dir(&documents)?;
        let mut url: url::Url = broker.url().parse()?;
        let port = url.port().context("the broker has a port")?;
        let (way, bare_way) = (Way::to(port).await?, Way::to(port).await?);
        let mut broker_by = |way: &Way| {
            let set = url.set_port(Some(way.port()));
            set.map(|()| url.to_string()).ok().context("the broker has a host")
        };
        let (host_url, bare_url) = (broker_by(&way)?, broker_by(&bare_way)?);
        let (queue, bare_queue) = (format!("{topic}-berth"), format!("{topic}-bare"));
        let common = Common {
            folder: folder.path().to_owned(),
            topic: topic.clone(),
            leases: None,
            further: json!({"sources": {
                "http": {"listen": "127.0.0.1:0"},
                "rabbitmq": {
                    // `Host` writes it.
                    "urlFile": folder.path().join("broker-0"), "topic": topic, "subscription": "berth",
                    "prefetch": PREFETCH,
                },
            }}),
        };
        // Both reach the APIs by gates: what they cost is theirs, and the same.
        let gates = Gates {
            broker: Gate::to(0),
            kubernetes: plane.gate(User::Berth)?,
            fleet: Gate::to(api.port),
        };
        let (bare_fleet, bare_kubernetes) = (Gate::to(api.port), plane.gate(User::Berth)?);
        let host = Host::new(0, common, gates, &host_url)?;
        let without_adapters = room_when_ready(&host).await?;
        for number in 0..adapters {
            std::fs::write(documents.join(format!("{number}.yaml")), document(number, &namespace))?;
        }
        let client = broker.client().await;
        client.exchange(&topic, ExchangeKind::Topic).await;
        for queue in [&queue, &bare_queue] {
            client.queue(queue, &topic).await;
        }
        host.start().await?;
        client.comes_to(&queue, 0, 1).await;
        let task = bare::Task {
            // This client takes an empty path for a virtual host without a name.
            broker: format!("{bare_url}%2f"),
            queue: bare_queue.clone(),
            prefetch: PREFETCH,
            fleet: format!("http://127.0.0.1:{}", bare_fleet.port()),
            kubeconfig: bare_kubernetes.kubeconfig(),
            namespace,
        };
        let bare = Command::new(std::env::current_exe()?)
            .arg("--child")
            .arg(serde_json::to_string(&child::Task::Bare(task))?)
            .stdout(Stdio::null())
            .spawn()?;
        client.comes_to(&bare_queue, 0, 1).await;
        let connection = broker.connect().await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let taker = |queue, way, process| Taker { queue, way, process };
        Ok(Self {
            hosts: taker(queue, way, host.process_id().await.context("the host runs")?),
            bares: taker(bare_queue, bare_way, bare.id()),
            without_adapters,
            adapters,
            subjects: Vec::new(),
            api,
            channel,
            bare,
            _host: host,
            _gates: [bare_fleet, bare_kubernetes],
            _connection: connection,
            _folder: folder,
        })
    }

    /// What the program takes.
    pub(super) fn room(&self) -> Result<Room> {
        Room::of(self.hosts.process)
    }

    /// What of it is mapped from files, in bytes.
    pub(super) fn mapped(&self) -> Result<u64> {
        child::mapped_of(self.hosts.process)
    }

    /// Has the host know so many subjects, and waits until their Jobs are done.
    pub(super) async fn learn(&mut self, count: usize) -> Result<()> {
        for number in self.subjects.len()..count {
            let subject = self.api.create(number, &json!({"with_job": number < WITH_JOB}))?;
            self.subjects.push(subject);
            if (number + 1) % LESSON == 0 || number + 1 == count {
                let begin = number - number % LESSON;
                let known = self.hosts.way.acknowledged();
                self.publish(&self.hosts.queue, begin..=number).await?;
                self.hosts.way.comes_to(known + number + 1 - begin, PATIENCE).await?;
                drop(self.api.simulation.take_requests());
            }
        }
        let end = Instant::now() + PATIENCE;
        for subject in &self.subjects[..count.min(WITH_JOB)] {
            while !self.is_available(subject) {
                ensure!(Instant::now() < end, "Jobs do not end: {subject}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    fn is_available(&self, subject: &Value) -> bool {
        let path = format!("{}/statuses", subject["href"].as_str().unwrap_or_default());
        let answer = self
            .api
            .simulation
            .with(|state, now| state.handle(now, "GET", &path, None, b""));
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let conditions = body["items"][0]["conditions"].as_array();
        conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one["type"] == "Available" && one["status"] == "True")
        })
    }

    /// Has a process take a batch of events about subjects whose Jobs are done, and measures it.
    pub(super) async fn batch(&self, number: usize, count: usize, taker: &Taker, taken: &mut Taken) -> Result<()> {
        drop(self.api.simulation.take_requests());
        let places = measured(number, count, self.subjects.len());
        let before = taker.way.acknowledged();
        let (cpu, time) = (child::cpu_of(taker.process)?, Instant::now());
        self.publish(&taker.queue, places.clone()).await?;
        // The last acknowledgement is its work too.
        taker.way.comes_to(before + count, PATIENCE).await?;
        let each = u32::try_from(count)?.max(1);
        taken.time.push(time.elapsed() / each);
        let spent = child::cpu_of(taker.process)?.saturating_sub(cpu);
        taken.cpu.push(Duration::from_nanos(spent) / each);

        let reported: BTreeSet<String> = self.api.simulation.take_requests().into_iter().collect();
        for place in places {
            let subject = &self.subjects[place];
            let path = subject["href"].as_str().unwrap_or_default();
            let report = format!("PUT {path}/statuses");
            ensure!(
                reported.contains(&report) && self.is_available(subject),
                "an event of {} was acknowledged, and no finished Job reported of {path}",
                taker.queue
            );
        }
        Ok(())
    }

    /// Publishes events about the subjects in these places, straight into a queue.
    async fn publish(&self, queue: &str, places: impl IntoIterator<Item = usize>) -> Result<()> {
        let publish = async |place: usize| {
            let subject = &self.subjects[place];
            let event = json!({
                "specversion": "1.0", "id": uuid::Uuid::now_v7().to_string(), "source": "hyperfleet-sentinel",
                "type": "com.redhat.hyperfleet.cluster.reconcile", "datacontenttype": "application/json",
                "data": {
                    "id": subject["id"], "kind": kind_of(place, self.adapters),
                    "href": href_of(place, self.adapters, subject), "generation": 1,
                },
            });
            let (body, options) = (event.to_string(), BasicPublishOptions::default());
            let properties = BasicProperties::default().with_delivery_mode(2);
            let sent = self
                .channel
                .basic_publish("".into(), queue.into(), options, body.as_bytes(), properties);
            sent.await?.await?;
            Ok::<_, anyhow::Error>(())
        };
        stream::iter(places.into_iter().map(publish))
            .buffer_unordered(100)
            .try_collect()
            .await
    }
}

/// What a host takes that has just started. It is stopped again.
async fn room_when_ready(host: &Host) -> Result<Room> {
    host.start().await?;
    let end = Instant::now() + PATIENCE;
    while host.ready()?.is_none() {
        ensure!(Instant::now() < end, "the host is not ready: {}", host.log().display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let process = host.process_id().await.context("the host runs")?;
    let room = Room::of(process)?;
    host.stop().await?;
    Ok(room)
}

/// The places of the subjects that the events of a batch are about: those with a Job, in turn,
/// however many others are known.
fn measured(batch: usize, count: usize, subjects: usize) -> Vec<usize> {
    let of = subjects.clamp(1, WITH_JOB);
    (batch * count..(batch + 1) * count).map(|number| number % of).collect()
}

fn document(number: usize, namespace: &str) -> String {
    format!(
        r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: measured-{number}}}
spec:
  subjects: [Cluster{number}]
  namespace: {namespace}
  serviceAccount: measured
  permits: [{{apiVersion: batch/v1, kind: Job}}]
  preconditions:
    - name: mine
      expression: 'subject.spec.with_job'
      otherwise: NotApplicable
      message: nothing to do
  resources:
    - name: work
      manifest:
        apiVersion: batch/v1
        kind: Job
        metadata: {{name: "job-{{{{ .subject.id }}}}"}}
        spec:
          backoffLimit: 0
          template:
            spec:
              restartPolicy: Never
              containers: [{{name: work, image: "registry.example.com/work:1"}}]
  postconditions:
    - {{name: done, expression: 'objects.work.status.succeeded > 0', message: the work is under way}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_events_are_about_subjects_with_jobs_however_many_are_known() {
        for subjects in [100, 1_000, 100_000] {
            let all: Vec<usize> = (0..20).flat_map(|batch| measured(batch, 500, subjects)).collect();
            assert_eq!(all.len(), 10_000);
            let distinct: BTreeSet<usize> = all.into_iter().collect();
            assert_eq!(distinct, (0..subjects.min(WITH_JOB)).collect());
        }
    }
}
